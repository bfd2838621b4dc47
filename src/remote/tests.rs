//! The remote against servers that answer as a node's interface does, or worse.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::routing::{get, post};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

const SERIAL: &str = "01JD0000000000000000000000";
const AT: &str = "2026-11-22T06:00:00.000Z";

async fn serve(routes: Router) -> Remote {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Remote::new(&url, "secret").unwrap()
}

fn run(ended: bool) -> Value {
    json!({
        "serial": SERIAL, "cause": "submit", "command": {"name": "ping", "params": {}},
        "target": "all", "scheduled_at": AT, "fired_at": AT,
        "ended_at": ended.then_some(AT), "counts": {"total": 2, "succeeded": 1},
    })
}

fn response(client: &str) -> String {
    format!(
        r#"{{"serial":"{SERIAL}","client":"{client}","at":"{AT}","state":"succeeded","result":{{"b":1.0,"a":2}}}}"#
    )
}

fn serial() -> Serial {
    SERIAL.parse().unwrap()
}

/// A server whose stream of responses is cut after one of two, with the run open or ended.
async fn short_stream(ended: bool) -> Remote {
    let routes = Router::new()
        .route("/v1/runs/{serial}", get(move || async move { axum::Json(run(ended)) }))
        .route(
            "/v1/runs/{serial}/responses",
            get(|RawQuery(query): RawQuery| async move {
                assert_eq!(query.as_deref(), Some("follow=true"));
                Body::from(format!("\n{}\n\n", response("web-01")))
            }),
        );
    serve(routes).await
}

#[tokio::test]
async fn a_stream_that_ends_before_its_run_is_an_error() {
    let got: Vec<_> = short_stream(false).await.follow(serial()).collect().await;
    assert_eq!(got.len(), 2);
    assert!(got[0].is_ok());
    let error = got[1].as_ref().unwrap_err();
    assert!(error.is_connection());
    assert!(error.to_string().ends_with("run 01JD0000000000000000000000 has 1 open deliveries"));
}

#[tokio::test]
async fn a_stream_ends_well_with_its_run_and_keeps_results_as_they_are() {
    let got: Vec<_> = short_stream(true).await.follow(serial()).collect().await;
    assert_eq!(got.len(), 1);
    let response = got[0].as_ref().unwrap();
    assert_eq!(response.outcome.result.as_ref().unwrap().text(), r#"{"b":1.0,"a":2}"#);
}

#[tokio::test]
async fn events_with_responses_can_be_read() {
    let line = format!(
        r#"{{"at":"{AT}","event":"delivery_ended","job":null,"command":"ping","response":{}}}"#,
        response("web-01")
    );
    let remote =
        serve(Router::new().route("/v1/events", get(move || async move { line + "\n" }))).await;
    let events: Vec<_> = remote.events().collect().await;
    assert_eq!(events.len(), 1);
    let crate::engine::What::DeliveryEnded { response, .. } = &events[0].as_ref().unwrap().what
    else {
        panic!("{events:?}");
    };
    assert_eq!(response.client.as_str(), "web-01");
}

#[tokio::test]
async fn names_are_escaped_and_the_servers_words_kept() {
    let routes = Router::new().route(
        "/v1/jobs/{name}",
        get(|Path(name): Path<String>| async move {
            let error = json!({"kind": "not_found", "message": format!("no job named {name:?}")});
            (StatusCode::NOT_FOUND, axum::Json(json!({ "error": error })))
        }),
    );
    let remote = serve(routes).await;
    let error = remote.get("db/backup".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "no job named \"db/backup\"");
    assert!(matches!(error, RemoteError::Refused { kind, .. } if kind == "not_found"));
    let error = remote.get("..".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, RemoteError::Name(_)), "{error}");
}

#[tokio::test]
async fn a_wait_outlives_failures_of_the_server() {
    let tries = Arc::new(AtomicU32::new(0));
    let counted = tries.clone();
    let answer = move || {
        let earlier = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let stopped = json!({"error": {"kind": "stopped", "message": "the node has stopped"}});
            match earlier {
                0 => (StatusCode::SERVICE_UNAVAILABLE, axum::Json(stopped)),
                earlier => (StatusCode::OK, axum::Json(run(earlier > 1))),
            }
        }
    };
    let remote = serve(Router::new().route("/v1/runs/{serial}", get(answer))).await;
    let run = remote.wait(serial()).await.unwrap();
    assert!(run.ended_at.is_some());
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn who_cannot_be_reached_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Remote::new(&url, "secret").unwrap().status().await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot connect to {url}: ")), "{error}");
    assert!(error.is_connection());
}

#[tokio::test]
async fn a_refused_token_and_a_foreign_server_are_told() {
    let refused = json!({"error": {"kind": "unauthorized", "message": "the token is not known"}});
    let routes = Router::new()
        .route("/v1/status", get(|| async move { (StatusCode::UNAUTHORIZED, axum::Json(refused)) }))
        .route("/v1/runs", post(|| async { (StatusCode::BAD_GATEWAY, "<html>") }));
    let remote = serve(routes).await;
    let error = remote.status().await.unwrap_err();
    assert!(matches!(error, RemoteError::Unauthorized { .. }));
    assert!(error.to_string().contains("does not accept the token"));
    let submission = Submission::new(crate::Target::All, "ping".parse().unwrap());
    let error = remote.submit(submission).await.unwrap_err().to_string();
    assert!(error.contains("502 Bad Gateway with \"<html>\""), "{error}");
}

#[test]
fn a_bad_url_is_told_with_its_value() {
    for url in ["127.0.0.1:7401", "https://x", "http://x/api", "http://x?y", ""] {
        let error = Remote::new(url, "t").unwrap_err().to_string();
        assert!(error.starts_with(&format!("server URL {url:?} is not valid")), "{error}");
    }
    assert!(Remote::new("http://127.0.0.1:7401/", "t").is_ok());
}
