//! `/v1/replays` and `/v1/jobs/{name}/backfill`: past runs again, and firings made up for.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response as HttpResponse};

use super::Api;
use super::error::ApiError;
use super::extract::{Body, Params, Segment};
use super::runs::parse_wait;
use super::stream::ndjson;
use crate::id::{JobName, ReplayId};
use crate::replay::{Backfill, Replay, RunAgain};

/// Makes a replay of past runs; with `dry_run`, tells what it would run.
pub(super) async fn again(
    api: Api,
    params: Params,
    Body(again): Body<RunAgain>,
) -> Result<HttpResponse, ApiError> {
    if dry_run(params)? {
        return Ok(Json(api.handle.plan_again(again).await?).into_response());
    }
    Ok((StatusCode::CREATED, Json(api.handle.run_again(again).await?)).into_response())
}

/// Makes a back-fill of a job; with `dry_run`, tells what it would run.
pub(super) async fn backfill(
    api: Api,
    Segment(job): Segment<JobName>,
    params: Params,
    Body(fill): Body<Backfill>,
) -> Result<HttpResponse, ApiError> {
    if dry_run(params)? {
        return Ok(Json(api.handle.plan_backfill(job, fill).await?).into_response());
    }
    Ok((StatusCode::CREATED, Json(api.handle.backfill(job, fill).await?)).into_response())
}

fn dry_run(mut params: Params) -> Result<bool, ApiError> {
    let dry_run = params.take("dry_run")?.unwrap_or(false);
    params.finish()?;
    Ok(dry_run)
}

pub(super) async fn list(api: Api, mut params: Params) -> Result<Json<Vec<Replay>>, ApiError> {
    let page = params.page()?;
    params.finish()?;
    Ok(Json(api.handle.replays(page).await?))
}

/// One replay; with `wait`, once it has ended or that time has passed.
pub(super) async fn get(
    api: Api,
    Segment(id): Segment<ReplayId>,
    mut params: Params,
) -> Result<Json<Replay>, ApiError> {
    let wait = params.take_with("wait", parse_wait)?;
    params.finish()?;
    let Some(wait) = wait else { return Ok(Json(api.handle.replay(id).await?)) };
    let _permit = api.waiting()?;
    tokio::select! {
        ended = tokio::time::timeout(wait, api.handle.wait_replay(id)) => {
            if let Ok(replay) = ended {
                return Ok(Json(replay?));
            }
        }
        () = api.stopping.cancelled() => return Err(ApiError::stopped()),
    }
    Ok(Json(api.handle.replay(id).await?))
}

pub(super) async fn runs(
    api: Api,
    Segment(id): Segment<ReplayId>,
    mut params: Params,
) -> Result<HttpResponse, ApiError> {
    let follow = params.take("follow")?.unwrap_or(false);
    params.finish()?;
    let permit = api.waiting()?;
    // A replay that does not exist is a 404, not an error in the stream.
    api.handle.replay(id).await?;
    Ok(ndjson(api.handle.replay_runs(id, follow), api.stopping.clone(), permit))
}

pub(super) async fn cancel(
    api: Api,
    Segment(id): Segment<ReplayId>,
) -> Result<Json<Replay>, ApiError> {
    // The engine knows open replays alone: tell one that never was from one that has ended.
    api.handle.replay(id).await?;
    Ok(Json(api.handle.cancel_replay(id).await?))
}
