//! Answers without a known length: NDJSON, one JSON object a line.
//!
//! An empty line is sent when there is nothing else for a while, so that both ends notice a dead
//! connection. An error after the first byte comes as a last line with an error body.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream, ReadyChunks};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use crate::node::CallError;

/// How often an empty line is sent when there is nothing else.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// Lines that go out in one piece when they are there already.
const TOGETHER: usize = 256;

/// The media type of one JSON value a line.
pub(super) const NDJSON: &str = "application/x-ndjson";

struct Lines<T> {
    items: ReadyChunks<BoxStream<'static, Result<T, CallError>>>,
    stopping: CancellationToken,
    ended: bool,
    // Held so that the number of streams stays bounded for as long as this one lives.
    _permit: OwnedSemaphorePermit,
}

/// Answers with the items as they come, until they end, one is an error, or the server stops.
pub(super) fn ndjson<T: Serialize + Send + 'static>(
    items: BoxStream<'static, Result<T, CallError>>,
    stopping: CancellationToken,
    permit: OwnedSemaphorePermit,
) -> Response {
    let items = items.ready_chunks(TOGETHER);
    let lines = Lines { items, stopping, ended: false, _permit: permit };
    let body = stream::unfold(lines, |mut lines| async {
        let piece = lines.next().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), lines))
    });
    ([(CONTENT_TYPE, NDJSON)], Body::from_stream(body)).into_response()
}

impl<T: Serialize> Lines<T> {
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let items = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Some(self.fail(ApiError::stopped())),
            items = tokio::time::timeout(HEARTBEAT, self.items.next()) => items,
        };
        match items {
            Err(_) => Some(Bytes::from_static(b"\n")),
            Ok(None) => None,
            Ok(Some(items)) => Some(self.lines(items)),
        }
    }

    fn lines(&mut self, items: Vec<Result<T, CallError>>) -> Bytes {
        let mut piece = Vec::new();
        for item in items {
            let start = piece.len();
            let written = item.map_err(ApiError::from).and_then(|item| {
                serde_json::to_writer(&mut piece, &item).map_err(|error| {
                    ApiError::new(super::ErrorKind::Internal, format!("cannot write JSON: {error}"))
                })
            });
            if let Err(error) = written {
                piece.truncate(start);
                piece.extend_from_slice(&self.fail(error));
                break;
            }
            piece.push(b'\n');
        }
        piece.into()
    }

    fn fail(&mut self, error: ApiError) -> Bytes {
        self.ended = true;
        last_line(error)
    }
}

/// The last line: why a stream ends.
pub(super) fn last_line(error: ApiError) -> Bytes {
    // An error body is two strings: writing it cannot fail.
    let mut line = serde_json::to_vec(&error.body()).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    fn permit() -> OwnedSemaphorePermit {
        Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap()
    }

    async fn text(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_error_is_the_last_line() {
        let items = stream::iter([Ok(1), Ok(2), Err(CallError::Stopped), Ok(3)]).boxed();
        let response = ndjson(items, CancellationToken::new(), permit());
        assert_eq!(response.headers()[CONTENT_TYPE], NDJSON);
        let expected =
            "1\n2\n{\"error\":{\"kind\":\"stopped\",\"message\":\"the node has stopped\"}}\n";
        assert_eq!(text(response).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_by_empty_lines_until_the_server_stops() {
        let stopping = CancellationToken::new();
        let response =
            ndjson(stream::pending::<Result<i32, _>>().boxed(), stopping.clone(), permit());
        let mut body = response.into_body().into_data_stream();
        assert_eq!(body.next().await.unwrap().unwrap(), "\n");
        assert_eq!(body.next().await.unwrap().unwrap(), "\n");
        stopping.cancel();
        assert!(
            body.next().await.unwrap().unwrap().starts_with(b"{\"error\":{\"kind\":\"stopped\"")
        );
        assert!(body.next().await.is_none());
    }

    #[tokio::test]
    async fn the_permit_is_free_once_the_stream_is_gone() {
        let permits = Arc::new(Semaphore::new(1));
        let permit = permits.clone().try_acquire_owned().unwrap();
        let items = stream::pending::<Result<i32, _>>().boxed();
        let response = ndjson(items, CancellationToken::new(), permit);
        assert_eq!(permits.available_permits(), 0);
        drop(response);
        assert_eq!(permits.available_permits(), 1);
    }
}
