//! `/v1/runs/{serial}/progress` and `…/approve`: how far a run is, and the next wave's approval.

use axum::Json;

use super::Api;
use super::error::ApiError;
use super::extract::{Params, Segment};
use crate::id::Serial;
use crate::rollout::RunProgress;
use crate::run::Run;

pub(super) async fn progress(
    api: Api,
    Segment(serial): Segment<Serial>,
    params: Params,
) -> Result<Json<RunProgress>, ApiError> {
    params.finish()?;
    Ok(Json(api.handle.progress(serial).await?))
}

pub(super) async fn approve(
    api: Api,
    Segment(serial): Segment<Serial>,
) -> Result<Json<Run>, ApiError> {
    // The engine knows open runs alone: tell one that never was from one that has ended.
    api.handle.run(serial).await?;
    Ok(Json(api.handle.approve(serial).await?))
}
