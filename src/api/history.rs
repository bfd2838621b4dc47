//! `/v1/history`: the events of the ledger, a page or all of them as a stream.

use std::str::FromStr;

use axum::Json;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::Api;
use super::error::ApiError;
use super::extract::{Params, bad_param};
use super::stream::ndjson;
use crate::history::{
    CsvLines, EventOrder, EventPage, EventQuery, MAX_EVENTS, Recorded, end_state, words,
};
use crate::node::CallError;

/// Events of a CSV stream that go out in one piece when they are there already.
const TOGETHER: usize = 256;

/// In what form a stream comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Ndjson,
    Csv,
}

impl FromStr for Form {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "ndjson" => Ok(Self::Ndjson),
            "csv" => Ok(Self::Csv),
            _ => Err("a stream is one of ndjson, csv"),
        }
    }
}

pub(super) async fn history(api: Api, mut params: Params) -> Result<Response, ApiError> {
    let (form, follow): (Option<Form>, Option<bool>) =
        (params.take("stream")?, params.take("follow")?);
    let follow = follow.unwrap_or(false);
    let query = query(&mut params, form.is_none(), follow)?;
    params.finish()?;
    // What nothing can meet is refused before a stream begins.
    query.check().map_err(|problem| ApiError::bad_request(problem.to_string()))?;
    let Some(form) = form else {
        if follow {
            let problem = "only a stream is followed: say stream=ndjson, too";
            return Err(bad_param("follow", "true", problem));
        }
        let page: EventPage = api.handle.history(query).await?;
        return Ok(Json(page).into_response());
    };
    let permit = api.waiting()?;
    // A refusal is an answer of its own, not a line of a stream.
    api.handle.check_history(&query).await?;
    let (handle, stopping) = (&api.handle, api.stopping.clone());
    match form {
        Form::Csv if follow => {
            let problem = "a stream that is followed has empty lines between, so it is ndjson";
            Err(bad_param("stream", "csv", problem))
        }
        Form::Csv => Ok(csv(handle.export_history(query), stopping, permit)),
        Form::Ndjson if follow => Ok(ndjson(handle.follow_history(query), stopping, permit)),
        Form::Ndjson => Ok(ndjson(handle.export_history(query), stopping, permit)),
    }
}

pub(super) fn query(
    params: &mut Params,
    is_page: bool,
    follow: bool,
) -> Result<EventQuery, ApiError> {
    let states = params.take_with("states", |text| {
        words(text, end_state).map_err(|problem| bad_param("states", text, &problem.to_string()))
    })?;
    let kinds = params.take_with("kinds", |text| {
        words(text, str::parse).map_err(|problem: crate::history::UnknownWord| {
            bad_param("kinds", text, &problem.to_string())
        })
    })?;
    let order = if follow { EventOrder::Oldest } else { EventOrder::default() };
    let most = if is_page { MAX_EVENTS } else { usize::MAX };
    Ok(EventQuery {
        from: params.take("from")?,
        to: params.take("to")?,
        job: params.take("job")?,
        client: params.take("client")?,
        group: params.take("group")?,
        serial: params.take("serial")?,
        states: states.unwrap_or_default(),
        kinds: kinds.unwrap_or_default(),
        actor: params.take("actor")?,
        text: params.take("text")?,
        order: params.take("order")?.unwrap_or(order),
        after: params.take("after")?,
        limit: params.number("limit", most)?,
        results: params.take("results")?.unwrap_or_default(),
    })
}

/// Answers with lines of CSV. CSV has no place for an error: then the answer breaks off, which
/// whoever reads it can tell from its end.
fn csv(
    items: BoxStream<'static, Result<Recorded, CallError>>,
    stopping: CancellationToken,
    permit: OwnedSemaphorePermit,
) -> Response {
    let items = items.ready_chunks(TOGETHER);
    let mut lines = CsvLines::new();
    let names = lines.lines([]).map_err(broken);
    let state = (items, lines, stopping, permit);
    let pieces = stream::try_unfold(state, |(mut items, mut lines, stopping, permit)| async {
        let some = tokio::select! {
            biased;
            () = stopping.cancelled() => return Err(broken(CallError::Stopped)),
            some = items.next() => some,
        };
        let Some(some) = some else { return Ok(None) };
        let some = some.into_iter().collect::<Result<Vec<_>, _>>().map_err(broken)?;
        let piece = Bytes::from(lines.lines(&some).map_err(broken)?);
        Ok(Some((piece, (items, lines, stopping, permit))))
    });
    let names = stream::iter([names.map(Bytes::from)]);
    let body = Body::from_stream(names.chain(pieces));
    ([(CONTENT_TYPE, "text/csv; charset=utf-8; header=present")], body).into_response()
}

fn broken(error: impl std::fmt::Display) -> std::io::Error {
    let error = std::io::Error::other(error.to_string());
    tracing::warn!(%error, "an export of the history has broken off");
    error
}
