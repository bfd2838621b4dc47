//! `/v1/store` and `/v1/backup`: the whole store.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, future};

use super::Api;
use super::error::ApiError;
use super::extract::Params;
use crate::node::{ByteStream, StoreStats};

/// The media type of a backup.
const BACKUP: &str = "application/octet-stream";

pub(super) async fn stats(
    State(api): State<Api>,
    params: Params,
) -> Result<Json<StoreStats>, ApiError> {
    params.finish()?;
    let _permit = api.waiting()?;
    Ok(Json(api.handle.store_stats().await?))
}

/// A backup. One that breaks off ends without its trailer, and where it can says why: whoever reads
/// it knows.
pub(super) async fn backup(State(api): State<Api>, params: Params) -> Result<Response, ApiError> {
    params.finish()?;
    let permit = api.waiting()?;
    let pieces = until_stopping(api.handle.backup().await?, &api);
    // Held for as long as the stream lives; an error has been written into the bytes before it.
    let pieces = pieces.filter_map(move |piece| {
        let _permit = &permit;
        future::ready(piece.ok().map(Ok::<_, std::convert::Infallible>))
    });
    Ok(([(CONTENT_TYPE, BACKUP)], Body::from_stream(pieces)).into_response())
}

fn until_stopping(pieces: ByteStream, api: &Api) -> ByteStream {
    pieces.take_until(api.stopping.clone().cancelled_owned()).boxed()
}
