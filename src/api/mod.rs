//! The HTTP interface, version 1, under `/v1`.
//!
//! Promises: every request needs a bearer token; every refusal has a JSON body
//! (`{"error": {"kind": …, "message": …}}`) whose message names the thing and the value; an
//! answer is given after what it tells is durable; requests, streams, connections, bodies and
//! lists are bounded. The only place that knows status codes.
//!
//! | path | methods |
//! | --- | --- |
//! | `/v1/status` | `GET` |
//! | `/v1/jobs` | `GET` (`after`, `limit`), `POST` (one definition) |
//! | `/v1/jobs/{name}` | `GET`, `DELETE`; a `/` in the name is written `%2F` |
//! | `/v1/jobs/{name}/next` | `GET` (`count`): when it fires next |
//! | `/v1/jobs/{name}/revisions` | `GET` (`before`, `limit`): its definitions, newest first, of removed jobs too |
//! | `/v1/jobs/{name}/revisions/{n}` | `GET` (`job`: the id of one of several that had the name) |
//! | `/v1/jobs/{name}/missed` | `GET` (`before`, `limit`): rows of missed firings, newest first |
//! | `/v1/jobs/{name}/statistics` | `GET`: counts and times of its last hour, day and week |
//! | `/v1/jobs/{name}/explain` | `GET` (`client` or `group`, `since`, `until`, `only`, `all_clients`), NDJSON: each firing that was to be and what became of it, then the sums |
//! | `/v1/forecast` | `GET` (`from`, `to`, `target`, `prefix`, `limit`): all that fires in a span |
//! | `/v1/jobs/{name}/pause` | `POST` (`reason`, `until` or `for`; or no body) |
//! | `/v1/jobs/{name}/resume`, `…/trigger`, `…/cancel` | `POST` |
//! | `/v1/pause` | `POST` (`jobs`: `all` or `db/`; `reason`, `until` or `for`) |
//! | `/v1/resume` | `POST` (`jobs`) |
//! | `/v1/apply` | `POST` (`calendars`, `jobs`, `prune`, `dry_run`) |
//! | `/v1/calendars` | `GET` (`after`, `limit`) |
//! | `/v1/calendars/{name}` | `GET`, `PUT` (`description`, `dates`, `weekdays`), `DELETE` |
//! | `/v1/runs` | `GET` (`job`, `before`, `after`, `limit`), `POST` (a submission) |
//! | `/v1/runs/{serial}` | `GET` (`wait`, up to 1 minute: answers when the run has ended) |
//! | `/v1/runs/{serial}/responses` | `GET` (`follow`), NDJSON |
//! | `/v1/runs/{serial}/responses/{client}` | `GET`; `null` while the delivery is open |
//! | `/v1/runs/{serial}/open` | `GET`: its open deliveries, with the last progress of each |
//! | `/v1/runs/{serial}/output` | `GET` (`client`, `follow`), NDJSON: progress and output of its open deliveries |
//! | `/v1/runs/{serial}/progress` | `GET`: how far it is |
//! | `/v1/runs/{serial}/approve` | `POST`: let its rollout's next wave begin |
//! | `/v1/runs/{serial}/cancel`, `…/cancel/{client}` | `POST` |
//! | `/v1/jobs/{name}/backfill` | `POST` (`from`, `to`, `again`, `terms`; parameter `dry_run`): make up for occurrences that have no run |
//! | `/v1/replays` | `GET` (`after`, `limit`): newest first; `POST` (`select`, `terms`; parameter `dry_run`): run past runs again |
//! | `/v1/replays/{id}` | `GET` (`wait`, up to 1 minute: answers when the replay has ended) |
//! | `/v1/replays/{id}/runs` | `GET` (`follow`), NDJSON: the runs that it has made; with `follow`, each once it has ended |
//! | `/v1/replays/{id}/cancel` | `POST` |
//! | `/v1/clients` | `GET` (`group`, `after`, `limit`), `POST` (`id`, `groups`, `token`) |
//! | `/v1/clients/{id}` | `GET`, `DELETE` |
//! | `/v1/clients/{id}/statistics` | `GET`: the same of a client |
//! | `/v1/clients/{id}/explain` | `GET` (`since`, `until`, `only`), NDJSON: each delivery that it was to get, when it was away, then the sums |
//! | `/v1/clients/{id}/groups` | `POST` (`add`, `remove`) |
//! | `/v1/clients/{id}/labels` | `POST` (`set`, `remove`) |
//! | `/v1/clients/{id}/limit` | `POST` (`max_running`) |
//! | `/v1/events` | `GET`, NDJSON |
//! | `/v1/store` | `GET`: how much there is of what in the store |
//! | `/v1/export` | `GET` (`job`, `from`, `to`), NDJSON: jobs, runs and clients; one that is not whole has no trailer |
//! | `/v1/backup` | `GET`: a backup as of one commit; one that breaks off has no trailer |
//! | `/v1/history` | `GET` (`from`, `to`, `job`, `client`, `group`, `serial`, `states`, `kinds`, `actor`, `text`, `order`: `newest` or `oldest`, `after`, `limit`, `results`: `cut` or `whole`): a page of the ledger's events, its `next` is the `after` of the page that follows; with `stream`, `ndjson` or `csv`, all of them; with `follow=true` those to come, too |
//!
//! May import the domain types, `engine`, `explain`, `history`, `node` and `access`.

mod auth;
mod calendars;
mod clients;
mod error;
mod explain;
mod extract;
mod forecast;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod guard;
mod history;
mod jobs;
mod limit;
pub mod message;
mod past;
mod replays;
mod rollout;
mod runs;
mod statistics;
mod store;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

pub use auth::Tokens;
pub use clients::TOKEN_LENGTH;
pub use error::ErrorKind;
pub use extract::{MAX_APPLY_BODY, MAX_BODY};
pub use guard::MAX_REQUESTS;
pub use runs::MAX_WAIT;
pub use stream::HEARTBEAT;

use crate::actor::Actor;
use crate::engine::Status;
use crate::node::Handle;
use error::ApiError;
use extract::Params;

/// The most connections at a time; further ones wait to be taken.
pub const MAX_CONNECTIONS: usize = 4_096;

/// The most streams and waits at a time; further ones are refused with 429.
pub const MAX_WAITING: usize = 1_024;

/// How long a stop waits for answers under way.
const DRAIN: Duration = Duration::from_secs(5);

/// What every endpoint has at hand.
#[derive(Clone)]
struct Api {
    handle: Handle,
    waiting: Arc<Semaphore>,
    stopping: CancellationToken,
}

/// What an endpoint has at hand for a request: the handle asks in the name of its token.
impl FromRequestParts<Api> for Api {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Self::Rejection> {
        let mut api = api.clone();
        if let Some(actor) = parts.extensions.get::<Actor>() {
            api.handle = api.handle.with_actor(actor.clone());
        }
        Ok(api)
    }
}

impl Api {
    /// A place among those who wait; held for as long as the stream or the wait lasts.
    fn waiting(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        self.waiting.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{MAX_WAITING} streams and waits are open, which is the most");
            ApiError::new(ErrorKind::Limit, message)
        })
    }
}

/// The interface to a node. Streams end with an error line when `stopping` is cancelled.
pub fn router(handle: Handle, tokens: Tokens, stopping: CancellationToken) -> Router {
    let door = auth::Door::new(tokens, handle.clone());
    let api = Api { handle, waiting: Arc::new(Semaphore::new(MAX_WAITING)), stopping };
    guard::guard(routes().with_state(api), door)
}

fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/jobs", get(jobs::list).post(jobs::put))
        .route("/v1/jobs/{name}", get(jobs::get).delete(jobs::remove))
        .route("/v1/jobs/{name}/pause", post(jobs::pause))
        .route("/v1/jobs/{name}/resume", post(jobs::resume))
        .route("/v1/jobs/{name}/trigger", post(jobs::trigger))
        .route("/v1/jobs/{name}/cancel", post(jobs::cancel))
        .route("/v1/jobs/{name}/next", get(forecast::next))
        .route("/v1/jobs/{name}/revisions", get(past::revisions))
        .route("/v1/jobs/{name}/revisions/{n}", get(past::revision))
        .route("/v1/jobs/{name}/missed", get(past::missed))
        .route("/v1/jobs/{name}/statistics", get(statistics::of_job))
        .route("/v1/jobs/{name}/explain", get(explain::job))
        .route("/v1/forecast", get(forecast::forecast))
        .route("/v1/pause", post(jobs::pause_all))
        .route("/v1/resume", post(jobs::resume_all))
        .route("/v1/apply", post(jobs::apply))
        .route("/v1/calendars", get(calendars::list))
        .route(
            "/v1/calendars/{name}",
            get(calendars::get).put(calendars::put).delete(calendars::remove),
        )
        .route("/v1/runs", get(runs::list).post(runs::submit))
        .route("/v1/runs/{serial}", get(runs::get))
        .route("/v1/runs/{serial}/responses", get(runs::responses))
        .route("/v1/runs/{serial}/responses/{client}", get(runs::response))
        .route("/v1/runs/{serial}/late", get(runs::late))
        .route("/v1/runs/{serial}/open", get(runs::open))
        .route("/v1/runs/{serial}/output", get(runs::output))
        .route("/v1/runs/{serial}/progress", get(rollout::progress))
        .route("/v1/runs/{serial}/approve", post(rollout::approve))
        .route("/v1/runs/{serial}/cancel", post(runs::cancel))
        .route("/v1/runs/{serial}/cancel/{client}", post(runs::cancel_delivery))
        .route("/v1/jobs/{name}/backfill", post(replays::backfill))
        .route("/v1/replays", get(replays::list).post(replays::again))
        .route("/v1/replays/{id}", get(replays::get))
        .route("/v1/replays/{id}/runs", get(replays::runs))
        .route("/v1/replays/{id}/cancel", post(replays::cancel))
        .route("/v1/clients", get(clients::list).post(clients::add))
        .route("/v1/clients/{id}", get(clients::get).delete(clients::remove))
        .route("/v1/clients/{id}/statistics", get(statistics::of_client))
        .route("/v1/clients/{id}/explain", get(explain::client))
        .route("/v1/clients/{id}/groups", post(clients::regroup))
        .route("/v1/clients/{id}/labels", post(clients::relabel))
        .route("/v1/clients/{id}/limit", post(clients::limit))
        .route("/v1/events", get(events))
        .route("/v1/store", get(store::stats))
        .route("/v1/export", get(store::export))
        .route("/v1/backup", get(store::backup))
        .route("/v1/history", get(history::history))
}

/// Serves until `stopping` is cancelled: then no connection is taken any more, streams end, and
/// answers under way have 5 s to go out.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stopping: CancellationToken,
) -> std::io::Result<()> {
    let limited = limit::Limited::new(listener, MAX_CONNECTIONS);
    let served = axum::serve(limited, router.into_make_service_with_connect_info::<limit::Peer>())
        .with_graceful_shutdown(stopping.clone().cancelled_owned())
        .into_future();
    tokio::select! {
        ended = served => ended,
        () = drained(&stopping) => {
            tracing::debug!("answers were still under way when the HTTP interface stopped");
            Ok(())
        }
    }
}

async fn drained(stopping: &CancellationToken) {
    stopping.cancelled().await;
    tokio::time::sleep(DRAIN).await;
}

async fn status(api: Api, params: Params) -> Result<Json<Status>, ApiError> {
    params.finish()?;
    Ok(Json(api.handle.status().await?))
}

async fn events(api: Api, params: Params) -> Result<axum::response::Response, ApiError> {
    params.finish()?;
    let permit = api.waiting()?;
    Ok(stream::ndjson(api.handle.events(), api.stopping.clone(), permit))
}
