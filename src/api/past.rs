//! `/v1/jobs/{name}/revisions` and `…/missed`: what a job keeps of its past.

use std::str::FromStr;

use axum::Json;

use super::Api;
use super::error::ApiError;
use super::extract::{Params, Segment, Segments};
use crate::history::PastQuery;
use crate::id::JobName;
use crate::job_past::{JobRevision, MissedRow};

/// How much of a bad number an error message repeats.
const SHOWN: usize = 160;

/// A revision's number in a path.
pub(super) struct RevisionNo(u32);

impl FromStr for RevisionNo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(no @ 1..) = text.parse() {
            return Ok(Self(no));
        }
        let shown: String = text.chars().take(SHOWN).collect();
        Err(format!("revision {shown:?} is not a number from 1 to {}", u32::MAX))
    }
}

pub(super) fn query(params: &mut Params) -> Result<PastQuery, ApiError> {
    Ok(PastQuery { before: params.take("before")?, limit: params.limit()? })
}

pub(super) async fn revisions(
    api: Api,
    Segment(name): Segment<JobName>,
    mut params: Params,
) -> Result<Json<Vec<JobRevision>>, ApiError> {
    let query = query(&mut params)?;
    params.finish()?;
    Ok(Json(api.handle.revisions(name, query).await?))
}

pub(super) async fn revision(
    api: Api,
    Segments(name, RevisionNo(no)): Segments<JobName, RevisionNo>,
    mut params: Params,
) -> Result<Json<JobRevision>, ApiError> {
    let id = params.take("job")?;
    params.finish()?;
    Ok(Json(api.handle.revision(name, no, id).await?))
}

pub(super) async fn missed(
    api: Api,
    Segment(name): Segment<JobName>,
    mut params: Params,
) -> Result<Json<Vec<MissedRow>>, ApiError> {
    let query = query(&mut params)?;
    params.finish()?;
    Ok(Json(api.handle.missed(name, query).await?))
}
