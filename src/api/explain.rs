//! `/v1/jobs/{name}/explain` and `/v1/clients/{id}/explain`: what was to be, and what became of
//! it.

use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::Api;
use super::error::ApiError;
use super::extract::{Params, Segment};
use super::stream::ndjson;
use crate::explain::{ClientQuery, Item, JobQuery};
use crate::id::{ClientId, JobName};
use crate::node::CallError;

pub(super) async fn job(
    api: Api,
    Segment(job): Segment<JobName>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let query = JobQuery {
        job,
        client: params.take("client")?,
        group: params.take("group")?,
        since: params.take("since")?,
        until: params.take("until")?,
        only: params.take("only")?.unwrap_or_default(),
        all_clients: params.take("all_clients")?.unwrap_or(false),
    };
    params.finish()?;
    let items = api.handle.explain_job(query);
    answer(&api, items).await
}

pub(super) async fn client(
    api: Api,
    Segment(client): Segment<ClientId>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let query = ClientQuery {
        client,
        since: params.take("since")?,
        until: params.take("until")?,
        only: params.take("only")?.unwrap_or_default(),
    };
    params.finish()?;
    let items = api.handle.explain_client(query);
    answer(&api, items).await
}

async fn answer(
    api: &Api,
    mut items: BoxStream<'static, Result<Item, CallError>>,
) -> Result<Response, ApiError> {
    let permit = api.waiting()?;
    // What cannot be asked for is a refusal, not an error in the stream.
    let first = tokio::select! {
        first = items.next() => first.transpose()?,
        () = api.stopping.cancelled() => return Err(ApiError::stopped()),
    };
    let items = stream::iter(first.map(Ok)).chain(items).boxed();
    Ok(ndjson(items, api.stopping.clone(), permit))
}
