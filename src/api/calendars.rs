//! `/v1/calendars`.

use axum::Json;
use axum::http::StatusCode;

use super::Api;
use super::error::ApiError;
use super::extract::{Body, Params, Segment};
use super::message::CalendarRequest;
use crate::calendar::CalendarView;
use crate::engine::CalendarChange;
use crate::id::CalendarName;

pub(super) async fn list(
    api: Api,
    mut params: Params,
) -> Result<Json<Vec<CalendarView>>, ApiError> {
    let page = params.page()?;
    params.finish()?;
    Ok(Json(api.handle.calendars(page).await?))
}

pub(super) async fn get(
    api: Api,
    Segment(name): Segment<CalendarName>,
) -> Result<Json<CalendarView>, ApiError> {
    Ok(Json(api.handle.calendar(name).await?))
}

pub(super) async fn put(
    api: Api,
    Segment(name): Segment<CalendarName>,
    Body(request): Body<CalendarRequest>,
) -> Result<Json<CalendarChange>, ApiError> {
    let calendar = request.named(name).map_err(ApiError::invalid)?;
    Ok(Json(api.handle.put_calendar(calendar).await?))
}

pub(super) async fn remove(
    api: Api,
    Segment(name): Segment<CalendarName>,
) -> Result<StatusCode, ApiError> {
    api.handle.remove_calendar(name).await?;
    Ok(StatusCode::NO_CONTENT)
}
