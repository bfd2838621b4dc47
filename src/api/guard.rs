//! What every request passes: the log line, the bound on requests, the token, and JSON answers
//! for paths and methods that do not exist.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;

use super::auth::{self, Door};
use super::error::{ApiError, ErrorKind};

/// The most requests at a time, streams not counted once they have begun; further ones are
/// refused with 429.
pub const MAX_REQUESTS: usize = 1_536;

/// Puts the guard around routes.
pub(super) fn guard(routes: Router, door: Arc<Door>) -> Router {
    let requests = Arc::new(Semaphore::new(MAX_REQUESTS));
    routes
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(door, auth::check))
        .layer(middleware::from_fn_with_state(requests, bound))
        .layer(middleware::from_fn(log))
}

async fn no_path(uri: Uri) -> ApiError {
    ApiError::new(ErrorKind::NotFound, format!("no path {:?}", uri.path()))
}

async fn no_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("path {:?} has no method {method}", uri.path());
    ApiError::new(ErrorKind::MethodNotAllowed, message)
}

async fn bound(State(requests): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let Ok(_permit) = requests.try_acquire() else {
        let message = format!("{MAX_REQUESTS} requests are under way, which is the most");
        return ApiError::new(ErrorKind::Limit, message).into_response();
    };
    next.run(request).await
}

async fn log(request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let began = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let took = began.elapsed();
    tracing::debug!(%method, path = uri.path(), status, ?took, "answered a request");
    response
}
