//! The guard and the extractors over real HTTP, around routes that need no node.

use super::error::ApiError;
use super::extract::{Body, Segment};
use super::*;
use crate::id::JobName;
use crate::run::Submission;

/// A server that is stopped when the test ends.
struct Served {
    base: String,
    _stop: tokio_util::sync::DropGuard,
}

async fn serve_routes(routes: Router) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stopping = CancellationToken::new();
    // The node itself is not asked; a door tells it who came in.
    let node = crate::Node::start(Arc::new(crate::store::MemoryStore::new())).unwrap();
    let guarded = guard::guard(routes, auth::Door::new(Tokens::new(["secret"]), node.handle()));
    tokio::spawn(serve(listener, guarded, stopping.clone()));
    Served { base, _stop: stopping.drop_guard() }
}

async fn small() -> Served {
    async fn name(Segment(name): Segment<JobName>) -> String {
        name.to_string()
    }
    async fn submit(Body(submission): Body<Submission, 100>) -> Result<String, ApiError> {
        Ok(submission.command.to_string())
    }
    async fn list(mut params: Params) -> Result<String, ApiError> {
        let limit = params.limit()?;
        params.finish()?;
        Ok(limit.to_string())
    }
    let routes =
        Router::new().route("/v1/jobs/{name}", get(name)).route("/v1/runs", get(list).post(submit));
    serve_routes(routes).await
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.text().await.unwrap())
}

/// The kind and the message of an error body.
fn error(text: &str) -> (String, String) {
    let body: message::ErrorBody = serde_json::from_str(text).unwrap();
    (body.error.kind, body.error.message)
}

#[tokio::test]
async fn nothing_is_answered_without_a_known_token() {
    let served = small().await;
    let http = reqwest::Client::new();
    for path in ["/v1/runs", "/v1/jobs/a", "/nowhere"] {
        let url = format!("{}{path}", served.base);
        for request in [
            http.get(&url),
            http.get(&url).bearer_auth("wrong"),
            http.get(&url).header("authorization", "Basic secret"),
            http.put(&url),
        ] {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 401, "{path}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"fleetcron\"");
            assert_eq!(error(&response.text().await.unwrap()).0, "unauthorized");
        }
    }
    let (status, _) =
        answer(http.get(format!("{}/v1/runs", served.base)).bearer_auth("secret")).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_json_errors_that_name_them() {
    let served = small().await;
    let http = reqwest::Client::new();
    let url = format!("{}/v1/jbos?x=1", served.base);
    let (status, text) = answer(http.get(url).bearer_auth("secret")).await;
    assert_eq!((status, error(&text)), (404, ("not_found".into(), "no path \"/v1/jbos\"".into())));

    let request = http.put(format!("{}/v1/runs", served.base)).bearer_auth("secret");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "GET,HEAD,POST");
    let (kind, message) = error(&response.text().await.unwrap());
    assert_eq!(kind, "method_not_allowed");
    assert_eq!(message, "path \"/v1/runs\" has no method PUT");
}

#[tokio::test]
async fn a_slash_in_a_name_is_written_with_an_escape() {
    let served = small().await;
    let http = reqwest::Client::new();
    let url = format!("{}/v1/jobs/db%2Fbackup", served.base);
    assert_eq!(answer(http.get(url).bearer_auth("secret")).await, (200, "db/backup".into()));

    let url = format!("{}/v1/jobs/db%20backup", served.base);
    let (status, text) = answer(http.get(url).bearer_auth("secret")).await;
    assert_eq!(status, 422);
    assert!(error(&text).1.starts_with("job name \"db backup\" is not valid"), "{text}");

    let url = format!("{}/v1/jobs/%FF", served.base);
    let (status, text) = answer(http.get(url).bearer_auth("secret")).await;
    assert_eq!((status, error(&text).0.as_str()), (400, "bad_request"));
}

#[tokio::test]
async fn bodies_and_queries_are_checked() {
    let served = small().await;
    let url = format!("{}/v1/runs", served.base);
    let http = reqwest::Client::new();
    let post = |body: &str, content_type: &str| {
        let request = http.post(&url).bearer_auth("secret").header("content-type", content_type);
        answer(request.body(body.to_owned()))
    };
    let json = "application/json";
    let good = r#"{"target":"all","command":"ping"}"#;
    assert_eq!(post(good, json).await, (200, "ping".into()));
    assert_eq!(post(good, "text/plain").await.0, 415);
    assert_eq!(post("{", json).await.0, 400);
    let (status, text) = post(r#"{"target":"al","command":"ping"}"#, json).await;
    assert_eq!(status, 422);
    assert!(error(&text).1.starts_with("target: target \"al\" is not valid"), "{text}");
    let (status, text) = post(&" ".repeat(101), json).await;
    assert_eq!(status, 413);
    assert_eq!(error(&text).1, "the body is too large; the most is 100 bytes");

    let query = http.get(format!("{url}?limit=many")).bearer_auth("secret");
    let (status, text) = answer(query).await;
    assert_eq!((status, error(&text).0.as_str()), (400, "bad_request"));
}

#[tokio::test]
async fn every_endpoint_has_a_place_in_the_router() {
    // Building the router panics when two paths collide.
    drop(routes());
}

#[tokio::test]
async fn a_stop_ends_the_service() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stopping = CancellationToken::new();
    let served = tokio::spawn(serve(listener, Router::new(), stopping.clone()));
    stopping.cancel();
    served.await.unwrap().unwrap();
}
