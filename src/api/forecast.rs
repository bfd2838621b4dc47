//! `/v1/forecast` and `/v1/jobs/{name}/next`: what is to come.

use axum::Json;

use super::Api;
use super::error::ApiError;
use super::extract::{Params, Segment};
use crate::forecast::{DEFAULT_NEXT, Forecast, ForecastQuery, MAX_LISTED, MAX_NEXT, NextFirings};
use crate::id::JobName;

pub(super) async fn next(
    api: Api,
    Segment(name): Segment<JobName>,
    mut params: Params,
) -> Result<Json<NextFirings>, ApiError> {
    let count = params.number("count", MAX_NEXT)?.unwrap_or(DEFAULT_NEXT);
    params.finish()?;
    Ok(Json(api.handle.next_firings(name, count).await?))
}

pub(super) async fn forecast(api: Api, mut params: Params) -> Result<Json<Forecast>, ApiError> {
    let query = query(&mut params)?;
    params.finish()?;
    Ok(Json(api.handle.forecast(query).await?))
}

pub(super) fn query(params: &mut Params) -> Result<ForecastQuery, ApiError> {
    Ok(ForecastQuery {
        from: params.take("from")?,
        to: params.take("to")?,
        target: params.take("target")?,
        prefix: params.take("prefix")?,
        limit: params.number("limit", MAX_LISTED)?,
    })
}
