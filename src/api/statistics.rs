//! `/v1/jobs/{name}/statistics` and `/v1/clients/{id}/statistics`.

use axum::Json;

use super::Api;
use super::error::ApiError;
use super::extract::{Params, Segment};
use crate::id::{ClientId, JobName};
use crate::statistics::{ClientStatistics, JobStatistics};

pub(super) async fn of_job(
    api: Api,
    Segment(name): Segment<JobName>,
    params: Params,
) -> Result<Json<JobStatistics>, ApiError> {
    params.finish()?;
    Ok(Json(api.handle.job_statistics(name).await?))
}

pub(super) async fn of_client(
    api: Api,
    Segment(id): Segment<ClientId>,
    params: Params,
) -> Result<Json<ClientStatistics>, ApiError> {
    params.finish()?;
    Ok(Json(api.handle.client_statistics(id).await?))
}
