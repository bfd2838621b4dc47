//! `/v1/jobs` and `/v1/apply`.

use axum::Json;
use axum::http::StatusCode;

use super::Api;
use super::error::{ApiError, ErrorKind};
use super::extract::{Body, MAX_APPLY_BODY, OptionalBody, Params, Segment};
use super::message::{PauseRequest, ResumeRequest};
use crate::engine::{Applied, Apply, JobChange, Pause};
use crate::id::JobName;
use crate::job::{JobSpec, JobView};
use crate::pause::{PauseTerms, SelectionChange};
use crate::run::Run;

pub(super) async fn list(api: Api, mut params: Params) -> Result<Json<Vec<JobView>>, ApiError> {
    let page = params.page()?;
    params.finish()?;
    Ok(Json(api.handle.list(page).await?))
}

/// Creates or changes one job: an apply of one, without prune.
pub(super) async fn put(api: Api, Body(spec): Body<JobSpec>) -> Result<Json<JobChange>, ApiError> {
    let name = spec.name.clone();
    let apply = Apply { jobs: vec![spec], ..Apply::default() };
    let applied = api.handle.apply(apply).await?;
    let change = applied.jobs.into_iter().find(|change| change.name == name);
    change.map(Json).ok_or_else(|| {
        let message = format!("the apply of job {name:?} tells no change of it");
        ApiError::new(ErrorKind::Internal, message)
    })
}

pub(super) async fn apply(
    api: Api,
    Body(apply): Body<Apply, MAX_APPLY_BODY>,
) -> Result<Json<Applied>, ApiError> {
    Ok(Json(api.handle.apply(apply).await?))
}

pub(super) async fn get(
    api: Api,
    Segment(name): Segment<JobName>,
) -> Result<Json<JobView>, ApiError> {
    Ok(Json(api.handle.get(name).await?))
}

pub(super) async fn remove(
    api: Api,
    Segment(name): Segment<JobName>,
) -> Result<StatusCode, ApiError> {
    api.handle.remove(name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(
    api: Api,
    Segment(job): Segment<JobName>,
    OptionalBody(terms): OptionalBody<PauseTerms>,
) -> Result<Json<JobView>, ApiError> {
    Ok(Json(api.handle.pause_with(Pause { job, terms }).await?))
}

pub(super) async fn pause_all(
    api: Api,
    Body(request): Body<PauseRequest>,
) -> Result<Json<SelectionChange>, ApiError> {
    let (jobs, terms) = request.parts();
    Ok(Json(api.handle.pause_all(jobs, terms).await?))
}

pub(super) async fn resume_all(
    api: Api,
    Body(request): Body<ResumeRequest>,
) -> Result<Json<SelectionChange>, ApiError> {
    Ok(Json(api.handle.resume_all(request.jobs).await?))
}

pub(super) async fn resume(
    api: Api,
    Segment(name): Segment<JobName>,
) -> Result<Json<JobView>, ApiError> {
    Ok(Json(api.handle.resume(name).await?))
}

pub(super) async fn trigger(
    api: Api,
    Segment(name): Segment<JobName>,
) -> Result<(StatusCode, Json<Run>), ApiError> {
    Ok((StatusCode::CREATED, Json(api.handle.trigger(name).await?)))
}

pub(super) async fn cancel(
    api: Api,
    Segment(name): Segment<JobName>,
) -> Result<Json<Vec<Run>>, ApiError> {
    Ok(Json(api.handle.cancel_job(name).await?))
}
