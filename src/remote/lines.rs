//! NDJSON as it arrives: pieces of bytes in, one value a line out.

use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde::de::DeserializeOwned;

use super::RemoteError;
use crate::api::message::ErrorBody;

/// The most bytes of one line; a longer one ends the stream with an error.
pub const MAX_LINE: usize = 4 * 1024 * 1024;

/// The values of an NDJSON body. Empty lines mean nothing; a line with an error body is the
/// stream's last item, and so is every other error.
pub(super) fn decode<T: DeserializeOwned + Send + 'static>(
    url: String,
    pieces: BoxStream<'static, Result<Bytes, RemoteError>>,
) -> BoxStream<'static, Result<T, RemoteError>> {
    let lines = Lines { url, pieces, buffer: BytesMut::new(), searched: 0, ended: false };
    let values = Values { lines, kind: PhantomData };
    stream::unfold(values, |mut values| async {
        let item = values.next().await?;
        values.lines.ended |= item.is_err();
        Some((item, values))
    })
    .boxed()
}

struct Values<T> {
    lines: Lines,
    kind: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Values<T> {
    async fn next(&mut self) -> Option<Result<T, RemoteError>> {
        loop {
            match self.lines.next().await? {
                Ok(line) if line.trim_ascii().is_empty() => {}
                Ok(line) => return Some(self.value(&line)),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn value(&self, line: &[u8]) -> Result<T, RemoteError> {
        serde_json::from_slice(line).map_err(|error| {
            match serde_json::from_slice::<ErrorBody>(line) {
                Ok(body) => body.into(),
                Err(_) => self.lines.bad(format!("a line of the stream: {error}")),
            }
        })
    }
}

struct Lines {
    url: String,
    pieces: BoxStream<'static, Result<Bytes, RemoteError>>,
    buffer: BytesMut,
    /// Bytes of the buffer that are known to hold no line end.
    searched: usize,
    ended: bool,
}

impl Lines {
    async fn next(&mut self) -> Option<Result<Bytes, RemoteError>> {
        loop {
            if self.ended {
                return None;
            }
            let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            if let Some(at) = found {
                let line = self.buffer.split_to(self.searched + at + 1).freeze();
                self.searched = 0;
                return Some(Ok(line));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_LINE {
                return Some(Err(self.bad(format!("a line has more than {MAX_LINE} bytes"))));
            }
            match self.pieces.next().await {
                Some(Ok(piece)) => self.buffer.extend_from_slice(&piece),
                Some(Err(error)) => return Some(Err(error)),
                None if self.buffer.is_empty() => return None,
                None => return Some(Err(self.bad("it ends within a line".to_owned()))),
            }
        }
    }

    fn bad(&self, problem: String) -> RemoteError {
        RemoteError::Answer { url: self.url.clone(), problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn values(pieces: &[&str]) -> Vec<Result<u32, String>> {
        let pieces: Vec<_> =
            pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece.as_bytes()))).collect();
        let values = decode::<u32>("http://x".into(), stream::iter(pieces).boxed());
        values.map(|item| item.map_err(|error| error.to_string())).collect().await
    }

    #[tokio::test]
    async fn lines_may_come_in_any_pieces() {
        assert_eq!(values(&["1\n2", "3\n\n", "\n", "4\n"]).await, [Ok(1), Ok(23), Ok(4)]);
    }

    #[tokio::test]
    async fn an_error_ends_the_stream() {
        let error = r#"{"error":{"kind":"stopped","message":"the node has stopped"}}"#;
        let got = values(&["1\n", error, "\n2\n"]).await;
        assert_eq!(got, [Ok(1), Err("the node has stopped".to_owned())]);

        let got = values(&["1\nx\n2\n"]).await;
        assert_eq!(got.len(), 2);
        assert!(got[1].as_ref().unwrap_err().contains("http://x"));
    }

    #[tokio::test]
    async fn a_line_that_is_cut_off_or_too_long_is_an_error() {
        let got = values(&["1\n2"]).await;
        assert!(got[1].as_ref().unwrap_err().contains("ends within a line"), "{got:?}");
        let long = "1".repeat(MAX_LINE + 1);
        let got = values(&[&long]).await;
        assert!(got[0].as_ref().unwrap_err().contains("a line has more than"));
    }
}
