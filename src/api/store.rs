//! `/v1/store`, `/v1/export` and `/v1/backup`: the whole store.

use std::convert::Infallible;

use axum::Json;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, future, stream};

use super::Api;
use super::error::ApiError;
use super::extract::Params;
use super::stream::{NDJSON, last_line};
use crate::node::{CallError, ExportQuery, StoreStats};

/// The media type of a backup.
const BACKUP: &str = "application/octet-stream";

pub(super) async fn stats(api: Api, params: Params) -> Result<Json<StoreStats>, ApiError> {
    params.finish()?;
    let _permit = api.waiting()?;
    Ok(Json(api.handle.store_stats().await?))
}

/// A backup. One that breaks off ends without its trailer, and where it can says why: whoever reads
/// it knows.
pub(super) async fn backup(api: Api, params: Params) -> Result<Response, ApiError> {
    params.finish()?;
    let permit = api.waiting()?;
    let pieces = api.handle.backup().await?.take_until(api.stopping.clone().cancelled_owned());
    let pieces = pieces.filter_map(move |piece| {
        // Held for as long as the stream lives.
        let _permit = &permit;
        // The bytes before an error say it.
        future::ready(piece.ok().map(Ok::<_, Infallible>))
    });
    Ok(([(CONTENT_TYPE, BACKUP)], Body::from_stream(pieces)).into_response())
}

pub(super) fn query(params: &mut Params) -> Result<ExportQuery, ApiError> {
    let (job, from, to) = (params.take("job")?, params.take("from")?, params.take("to")?);
    Ok(ExportQuery { job, from, to })
}

/// An export. One that breaks off ends with an error line in place of its trailer.
pub(super) async fn export(api: Api, mut params: Params) -> Result<Response, ApiError> {
    let query = query(&mut params)?;
    params.finish()?;
    let permit = api.waiting()?;
    let pieces = api.handle.export(query).await?;
    let stopping = api.stopping.clone().cancelled_owned();
    let stopped = stream::once(stopping).map(|()| Err(CallError::Stopped));
    // Whichever comes first; after an error nothing follows.
    let both = stream::select(
        pieces.map(Some).chain(stream::once(future::ready(None))),
        stopped.map(Some),
    );
    let lines = both.scan(false, move |ended, piece: Option<Result<Bytes, CallError>>| {
        let _permit = &permit;
        let piece = piece.filter(|_| !*ended);
        *ended |= piece.as_ref().is_none_or(Result::is_err);
        let line = piece.map(|piece| piece.unwrap_or_else(|error| last_line(error.into())));
        future::ready(line.map(Ok::<_, Infallible>))
    });
    Ok(([(CONTENT_TYPE, NDJSON)], Body::from_stream(lines)).into_response())
}
