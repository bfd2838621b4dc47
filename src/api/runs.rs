//! `/v1/runs`: submissions, runs and their responses.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::Response as HttpResponse;
use serde::Serialize;

use super::Api;
use super::error::ApiError;
use super::extract::{Body, IdempotencyHeader, Params, Segment, Segments, bad_param};
use super::stream::ndjson;
use crate::engine::OpenDelivery;
use crate::history::RunQuery;
use crate::id::{ClientId, Serial};
use crate::run::{LateAnswer, Response, Run, Submission};
use crate::time::duration;

/// The longest that one request may wait for a run's end.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

pub(super) async fn submit(
    api: Api,
    IdempotencyHeader(key): IdempotencyHeader,
    Body(mut submission): Body<Submission>,
) -> Result<(StatusCode, Json<Run>), ApiError> {
    if let (Some(header), Some(body)) = (&key, &submission.idempotency_key)
        && header != body
    {
        return Err(ApiError::invalid(format!(
            "idempotency_key {:?} is not the header's, {:?}",
            body.as_str(),
            header.as_str()
        )));
    }
    submission.idempotency_key = key.or(submission.idempotency_key);
    let submitted = api.handle.submit_once(submission).await?;
    let status = if submitted.repeated { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(submitted.run)))
}

pub(super) async fn list(api: Api, mut params: Params) -> Result<Json<Vec<Run>>, ApiError> {
    let query = query(&mut params)?;
    params.finish()?;
    Ok(Json(api.handle.runs(query).await?))
}

pub(super) fn query(params: &mut Params) -> Result<RunQuery, ApiError> {
    Ok(RunQuery {
        job: params.take("job")?,
        before: params.take("before")?,
        after: params.take("after")?,
        limit: params.limit()?,
    })
}

/// One run; with `wait`, once it has ended or that time has passed.
pub(super) async fn get(
    api: Api,
    Segment(serial): Segment<Serial>,
    mut params: Params,
) -> Result<Json<Run>, ApiError> {
    let wait = params.take_with("wait", parse_wait)?;
    params.finish()?;
    let Some(wait) = wait else { return Ok(Json(api.handle.run(serial).await?)) };
    let _permit = api.waiting()?;
    tokio::select! {
        ended = tokio::time::timeout(wait, api.handle.wait(serial)) => {
            if let Ok(run) = ended {
                return Ok(Json(run?));
            }
        }
        () = api.stopping.cancelled() => return Err(ApiError::stopped()),
    }
    Ok(Json(api.handle.run(serial).await?))
}

pub(super) fn parse_wait(text: &str) -> Result<Duration, ApiError> {
    let wait = duration::parse(text).map_err(|error| bad_param("wait", text, &error))?;
    if wait > MAX_WAIT {
        let problem = format!("the longest is {}", duration::format(MAX_WAIT));
        return Err(bad_param("wait", text, &problem));
    }
    Ok(wait)
}

pub(super) async fn responses(
    api: Api,
    Segment(serial): Segment<Serial>,
    mut params: Params,
) -> Result<HttpResponse, ApiError> {
    let follow = params.take("follow")?.unwrap_or(false);
    params.finish()?;
    let permit = api.waiting()?;
    // A run that does not exist is a 404, not an error in the stream.
    api.handle.run(serial).await?;
    let items = if follow { api.handle.follow(serial) } else { api.handle.responses(serial) };
    Ok(ndjson(items, api.stopping.clone(), permit))
}

/// What is seen of the open deliveries: what is kept, and with `follow` what comes.
pub(super) async fn output(
    api: Api,
    Segment(serial): Segment<Serial>,
    mut params: Params,
) -> Result<HttpResponse, ApiError> {
    let client = params.take("client")?;
    let follow = params.take("follow")?.unwrap_or(false);
    params.finish()?;
    let permit = api.waiting()?;
    // As above.
    api.handle.run(serial).await?;
    let items = api.handle.output(serial, client, follow);
    Ok(ndjson(items, api.stopping.clone(), permit))
}

/// A response, with what the client answered late.
#[derive(Debug, Serialize)]
pub(super) struct ResponseView {
    #[serde(flatten)]
    response: Response,
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<LateAnswer>,
}

/// One client's response, or `null` while its delivery is open.
pub(super) async fn response(
    api: Api,
    Segments(serial, client): Segments<Serial, ClientId>,
) -> Result<Json<Option<ResponseView>>, ApiError> {
    let Some(response) = api.handle.response(serial, client.clone()).await? else {
        return Ok(Json(None));
    };
    let late = api.handle.late_answer(serial, client).await?;
    Ok(Json(Some(ResponseView { response, late })))
}

/// The late answers to a run.
pub(super) async fn late(
    api: Api,
    Segment(serial): Segment<Serial>,
    mut params: Params,
) -> Result<Json<Vec<LateAnswer>>, ApiError> {
    let page = params.page()?;
    params.finish()?;
    Ok(Json(api.handle.late_answers(serial, page).await?))
}

pub(super) async fn open(
    api: Api,
    Segment(serial): Segment<Serial>,
) -> Result<Json<Vec<OpenDelivery>>, ApiError> {
    // The engine knows open runs alone: tell one that never was from one that has ended.
    api.handle.run(serial).await?;
    Ok(Json(api.handle.open_deliveries(serial).await?))
}

pub(super) async fn cancel(
    api: Api,
    Segment(serial): Segment<Serial>,
) -> Result<Json<Run>, ApiError> {
    // As above.
    api.handle.run(serial).await?;
    Ok(Json(api.handle.cancel(serial).await?))
}

pub(super) async fn cancel_delivery(
    api: Api,
    Segments(serial, client): Segments<Serial, ClientId>,
) -> Result<Json<Run>, ApiError> {
    // As above.
    api.handle.run(serial).await?;
    Ok(Json(api.handle.cancel_delivery(serial, client).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_has_a_limit() {
        assert_eq!(parse_wait("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(
            parse_wait("2m").unwrap_err().message,
            "query parameter wait=\"2m\" is not valid: the longest is 1m"
        );
        assert!(parse_wait("soon").unwrap_err().message.contains("\"soon\""));
    }
}
