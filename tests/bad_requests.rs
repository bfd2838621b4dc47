//! Bad requests to every endpoint of the HTTP interface: the status, the kind and a message that
//! names the thing and the value.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use fleetcron::Page;
use fleetcron::api::{MAX_BODY, MAX_WAIT};
use reqwest::Method;
use serde_json::{Value, json};

use common::fleet::{apply, job, work};
use common::server::Server;

const JSON: &str = "application/json";
const SERIAL: &str = "01JD0000000000000000000000";

/// A request and its refusal.
struct Case {
    method: Method,
    path: String,
    body: Option<(&'static str, String)>,
    status: u16,
    kind: &'static str,
    message: &'static str,
}

fn case(
    (method, path): (Method, &str),
    body: Option<(&'static str, &str)>,
    (status, kind, message): (u16, &'static str, &'static str),
) -> Case {
    let body = body.map(|(media, text)| (media, text.to_owned()));
    Case { method, path: path.replace("SERIAL", SERIAL), body, status, kind, message }
}

fn get(path: &str, refusal: (u16, &'static str, &'static str)) -> Case {
    case((Method::GET, path), None, refusal)
}

fn delete(path: &str, refusal: (u16, &'static str, &'static str)) -> Case {
    case((Method::DELETE, path), None, refusal)
}

fn post(path: &str, body: &str, refusal: (u16, &'static str, &'static str)) -> Case {
    case((Method::POST, path), Some((JSON, body)), refusal)
}

fn put(path: &str, body: &str, refusal: (u16, &'static str, &'static str)) -> Case {
    case((Method::PUT, path), Some((JSON, body)), refusal)
}

/// A path whose body was forgotten.
fn empty(path: &str, refusal: (u16, &'static str, &'static str)) -> Case {
    case((Method::POST, path), None, refusal)
}

/// A server with a job, a calendar, a client, a group and a run.
async fn server() -> Server {
    let server = Server::new().await;
    server.define("web-01", &["web"]).await;
    let backup = json!({
        "name": "backup", "target": "group:web", "command": "work", "rule": { "every": "1h" },
    });
    apply(&server.remote(), vec![job(backup)]).await;
    let holidays = json!({ "name": "holidays-se", "dates": ["2026-12-24"] });
    server.remote().put_calendar(serde_json::from_value(holidays).unwrap()).await.unwrap();
    server.remote().submit(work("client:web-01", 0)).await.unwrap();
    server
}

async fn check(server: &Server, cases: Vec<Case>) {
    let http = reqwest::Client::new();
    let mut wrong = Vec::new();
    for Case { method, path, body, status, kind, message } in cases {
        let url = format!("{}{path}", server.access.server);
        let mut request = http.request(method.clone(), url).bearer_auth(&server.access.token);
        let sent = body.as_ref().map(|(_, text)| text.chars().take(80).collect::<String>());
        if let Some((media, text)) = body {
            request = request.header("content-type", media).body(text);
        }
        let answer = request.send().await.unwrap();
        let got = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let answer = serde_json::from_str::<Value>(&text).unwrap_or_default();
        let error = answer.get("error").cloned().unwrap_or_default();
        let says = error["message"].as_str().unwrap_or_default();
        if got != status || error["kind"] != kind || !says.contains(message) {
            wrong.push(format!(
                "{method} {path} {sent:?}\n  wanted {status} {kind}: {message}\n  got {got} {text}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // None of it has changed anything.
    let calendars = server.remote().calendars(Page::first()).await.unwrap();
    assert_eq!(calendars.iter().map(|view| view.record.revision).collect::<Vec<_>>(), [1]);
    let status = server.remote().status().await.unwrap();
    assert_eq!((status.jobs, status.jobs_active, status.clients_defined), (1, 1, 1));
    assert_eq!((status.runs_open, status.deliveries_open), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_named_with_a_suggestion() {
    let near_job = (404, "not_found", "no job named \"backpu\"; did you mean \"backup\"?");
    let near_calendar =
        (404, "not_found", "no calendar named \"holidays-es\"; did you mean \"holidays-se\"?");
    let near_client = (404, "not_found", "no client named \"web-1\"; did you mean \"web-01\"?");
    let near_group = (404, "not_found", "no group named \"wep\"; did you mean \"web\"?");
    let no_run = (404, "not_found", "no run named \"01JD0000000000000000000000\"");
    let submit = |target: &str| format!(r#"{{"target": "{target}", "command": "work"}}"#);
    let cases = vec![
        get("/v1/jobs/backpu", near_job),
        delete("/v1/jobs/backpu", near_job),
        empty("/v1/jobs/backpu/pause", near_job),
        post("/v1/jobs/backpu/pause", r#"{"reason": "moving"}"#, near_job),
        post(
            "/v1/pause",
            r#"{"jobs": "db/"}"#,
            (404, "not_found", "no group of jobs named \"db/\""),
        ),
        empty("/v1/jobs/backpu/resume", near_job),
        empty("/v1/jobs/backpu/trigger", near_job),
        get("/v1/jobs/backpu/next", near_job),
        empty(
            "/v1/jobs/backup/next",
            (405, "method_not_allowed", "path \"/v1/jobs/backup/next\" has no method POST"),
        ),
        get("/v1/forecast?target=group:wep", near_group),
        get("/v1/forecast?target=client:web-1", near_client),
        get("/v1/calendars/holidays-es", near_calendar),
        delete("/v1/calendars/holidays-es", near_calendar),
        delete(
            "/v1/calendars",
            (405, "method_not_allowed", "path \"/v1/calendars\" has no method DELETE"),
        ),
        empty(
            "/v1/calendars/holidays-se",
            (405, "method_not_allowed", "path \"/v1/calendars/holidays-se\" has no method POST"),
        ),
        get("/v1/clients/web-1", near_client),
        delete("/v1/clients/web-1", near_client),
        post("/v1/clients/web-1/groups", r#"{"add": ["web"]}"#, near_client),
        post("/v1/clients/web-1/limit", r#"{"max_running": 4}"#, near_client),
        get("/v1/clients?group=wep", near_group),
        post("/v1/clients/web-1/labels", r#"{"set": {"a": "b"}}"#, near_client),
        post(
            "/v1/clients/web-01/labels",
            r#"{"remove": ["rack"]}"#,
            (404, "not_found", "no label set at the client named \"rack\""),
        ),
        post("/v1/runs", &submit("all and not group:wep"), near_group),
        post("/v1/runs", &submit("10% of client:web-1"), near_client),
        post("/v1/runs", &submit("client:web-1"), near_client),
        get("/v1/runs/SERIAL", no_run),
        get("/v1/runs/SERIAL?wait=1s", no_run),
        get("/v1/runs/SERIAL/responses", no_run),
        get("/v1/runs/SERIAL/responses?follow=true", no_run),
        get("/v1/runs/SERIAL/responses/web-01", no_run),
        get("/v1/runs/SERIAL/open", no_run),
        empty("/v1/runs/SERIAL/cancel", no_run),
        get("/v1/nothing", (404, "not_found", "no path \"/v1/nothing\"")),
        get("/", (404, "not_found", "no path \"/\"")),
        delete("/v1/jobs", (405, "method_not_allowed", "path \"/v1/jobs\" has no method DELETE")),
        get("/v1/apply", (405, "method_not_allowed", "path \"/v1/apply\" has no method GET")),
    ];
    check(&server().await, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_query_parameters_are_checked() {
    let cases = vec![
        get("/v1/jobs/a%20b", (422, "invalid", "job name \"a b\" is not valid")),
        get("/v1/clients/a%20b", (422, "invalid", "client id \"a b\" is not valid")),
        get("/v1/runs/17", (422, "invalid", "\"17\" is not a ULID")),
        get("/v1/runs/SERIAL/responses/a%20b", (422, "invalid", "\"a b\" is not valid")),
        get("/v1/jobs/%ff", (400, "bad_request", "UTF-8")),
        get("/v1/jobs?limit=0", (400, "bad_request", "limit=\"0\" is not valid: it is 1 to 1000")),
        get("/v1/jobs?limit=many", (400, "bad_request", "query parameter limit=\"many\"")),
        get("/v1/jobs?after=a%20b", (400, "bad_request", "query parameter after=\"a b\"")),
        get("/v1/jobs/a%20b/next", (422, "invalid", "job name \"a b\" is not valid")),
        get(
            "/v1/jobs/backup/next?count=0",
            (400, "bad_request", "count=\"0\" is not valid: it is"),
        ),
        get("/v1/jobs/backup/next?count=1001", (400, "bad_request", "it is 1 to 1000")),
        get("/v1/jobs/backup/next?count=few", (400, "bad_request", "parameter count=\"few\"")),
        get("/v1/jobs/backup/next?n=1", (400, "bad_request", "\"n\"; this path has count")),
        get("/v1/forecast?from=soon", (400, "bad_request", "query parameter from=\"soon\"")),
        get("/v1/forecast?to=2027-01-01", (400, "bad_request", "parameter to=\"2027-01-01\"")),
        get("/v1/forecast?target=web", (400, "bad_request", "query parameter target=\"web\"")),
        get("/v1/forecast?prefix=a%20b", (400, "bad_request", "query parameter prefix=\"a b\"")),
        get("/v1/forecast?limit=0", (400, "bad_request", "it is 1 to 10000")),
        get("/v1/forecast?limit=10001", (400, "bad_request", "limit=\"10001\" is not valid")),
        get("/v1/forecast?until=1", (400, "bad_request", "has from, to, target, prefix, limit")),
        get(
            "/v1/forecast?from=2200-02-01T00:00:00Z&to=2200-01-01T00:00:00Z",
            (422, "invalid", "from 2200-02-01T00:00:00.000Z is not before to 2200-01-01T00:00"),
        ),
        get("/v1/forecast?to=2020-01-01T00:00:00Z", (422, "invalid", "00.000Z has passed: a")),
        get(
            "/v1/forecast?from=2200-01-01T00:00:00Z&to=2201-01-03T00:00:00Z",
            (422, "invalid", "is too long: the longest span is 366 days"),
        ),
        get("/v1/jobs?limt=5", (400, "bad_request", "no query parameter \"limt\"; this path has")),
        get("/v1/status?x=1", (400, "bad_request", "no query parameter \"x\"; this path has none")),
        get("/v1/events?x=1", (400, "bad_request", "no query parameter \"x\"")),
        get("/v1/runs?job=a%20b", (400, "bad_request", "query parameter job=\"a b\"")),
        get("/v1/runs?before=17", (400, "bad_request", "query parameter before=\"17\"")),
        get("/v1/runs?after=17", (400, "bad_request", "query parameter after=\"17\"")),
        get("/v1/runs?limit=1&limit=2", (400, "bad_request", "limit is given twice")),
        get("/v1/runs/SERIAL?wait=soon", (400, "bad_request", "query parameter wait=\"soon\"")),
        get("/v1/runs/SERIAL?wait=2m", (400, "bad_request", "the longest is 1m")),
        get("/v1/runs/SERIAL/responses?follow=y", (400, "bad_request", "follow=\"y\"")),
        get("/v1/calendars?limit=0", (400, "bad_request", "it is 1 to 1000")),
        get("/v1/calendars?after=a%20b", (400, "bad_request", "query parameter after=\"a b\"")),
        get("/v1/calendars?name=x", (400, "bad_request", "\"name\"; this path has after, limit")),
        get("/v1/calendars/a%20b", (422, "invalid", "calendar name \"a b\" is not valid")),
        put("/v1/calendars/a%20b", "{}", (422, "invalid", "calendar name \"a b\" is not valid")),
        get("/v1/clients?group=a%20b", (400, "bad_request", "query parameter group=\"a b\"")),
    ];
    assert_eq!(MAX_WAIT.as_secs(), 60);
    check(&server().await, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_checked_field_by_field() {
    let job = |field: &str| {
        let base = json!({
            "name": "new", "target": "all", "command": "work", "rule": { "every": "1h" },
        });
        let mut base = base.as_object().unwrap().clone();
        let change: Value = serde_json::from_str(&format!("{{{field}}}")).unwrap();
        base.extend(change.as_object().unwrap().clone());
        Value::Object(base).to_string()
    };
    let jobs = |field: &str| format!(r#"{{"jobs": [{}]}}"#, job(field));
    let submit = |field: &str| format!(r#"{{"target": "all", "command": "work", {field}}}"#);
    let long = format!(r#""params": "{}""#, "x".repeat(50_000));
    let twice = format!(r#"{{"jobs": [{0}, {0}]}}"#, job(""));
    let huge = "x".repeat(MAX_BODY + 1);
    let cases = vec![
        post("/v1/jobs", "{", (400, "bad_request", "the body is not JSON: ")),
        post("/v1/jobs", "{\n \"name\": }", (400, "bad_request", "at line 2 column")),
        post("/v1/jobs", &huge, (413, "too_large", "the most is 1048576 bytes")),
        case(
            (Method::POST, "/v1/jobs"),
            Some(("text/plain", "{}")),
            (415, "unsupported_type", "content type \"text/plain\" is not supported"),
        ),
        empty("/v1/jobs", (415, "unsupported_type", "the request has no content type")),
        empty("/v1/apply", (415, "unsupported_type", "the request has no content type")),
        empty("/v1/runs", (415, "unsupported_type", "the request has no content type")),
        empty("/v1/clients", (415, "unsupported_type", "the request has no content type")),
        post("/v1/jobs", &job(r#""target": "web""#), (422, "invalid", "target: target \"web\"")),
        post("/v1/jobs", &job(r#""comand": 1"#), (422, "invalid", "unknown field `comand`")),
        post(
            "/v1/jobs",
            &job(r#""offline": "keep""#),
            (422, "invalid", "offline: unknown variant"),
        ),
        post(
            "/v1/jobs",
            &job(r#""pause_on_failure": 0"#),
            (
                422,
                "invalid",
                "pause_on_failure: 0 failed runs in a row is not valid: it is 1 to 1000",
            ),
        ),
        post("/v1/jobs", &job(r#""rule": "never""#), (422, "invalid", "rule: ")),
        post(
            "/v1/apply",
            &jobs(r#""rule": {"cron": "61 * * * *"}"#),
            (422, "invalid", "jobs[0].rule.cron: cron expression \"61 * * * *\" is not valid"),
        ),
        post(
            "/v1/apply",
            &jobs(r#""rule": {"every": "5 parsecs"}"#),
            (422, "invalid", "jobs[0].rule.every: duration \"5 parsecs\" is not valid"),
        ),
        post("/v1/apply", &jobs(&long), (422, "invalid", "50002 bytes; the most is 49152")),
        post("/v1/apply", &twice, (422, "invalid", "\"new\"")),
        post("/v1/apply", r#"{"jobs": [], "prun": 1}"#, (422, "invalid", "unknown field `prun`")),
        post("/v1/runs", &submit(r#""target2": 1"#), (422, "invalid", "unknown field `target2`")),
        post("/v1/runs", &submit(&long), (422, "invalid", "50002 bytes; the most is 49152")),
        post("/v1/runs", &submit(r#""offline": 5"#), (422, "invalid", "offline: ")),
        post("/v1/runs", r#"{"command": "work"}"#, (422, "invalid", "missing field `target`")),
        post("/v1/runs", r#"{"target": "all", "command": "a b"}"#, (422, "invalid", "\"a b\"")),
        post("/v1/runs", &submit(r#""params": {"a": }"#), (400, "bad_request", "at line 1 column")),
        post("/v1/clients", r#"{"id": "a b"}"#, (422, "invalid", "id: client id \"a b\"")),
        post("/v1/clients", r#"{"id": "web-01"}"#, (409, "conflict", "\"web-01\"")),
        post("/v1/clients", r#"{"id": "x", "groups": ["a b"]}"#, (422, "invalid", "\"a b\"")),
        post(
            "/v1/clients",
            r#"{"id": "x", "token": "short"}"#,
            (422, "invalid", "token: it has 5 characters; allowed are 16 to 256"),
        ),
        post(
            "/v1/clients/web-01/groups",
            r#"{"add": ["a"], "remove": ["a"]}"#,
            (422, "invalid", "group \"a\" is both in add and in remove"),
        ),
        post(
            "/v1/jobs/backup/pause",
            r#"{"until": "2001-01-01T00:00:00Z"}"#,
            (422, "invalid", "until 2001-01-01T00:00:00.000Z has passed; it is "),
        ),
        post(
            "/v1/jobs/backup/pause",
            r#"{"until": "2999-01-01T00:00:00Z", "for": "1h"}"#,
            (422, "invalid", "until 2999-01-01T00:00:00.000Z and for 1h: give one of them"),
        ),
        post(
            "/v1/jobs/backup/pause",
            r#"{"for": "soon"}"#,
            (422, "invalid", "for: duration \"soon\""),
        ),
        post("/v1/jobs/backup/pause", r#"{"why": "x"}"#, (422, "invalid", "unknown field `why`")),
        post("/v1/pause", r#"{"jobs": "db"}"#, (422, "invalid", "jobs: jobs \"db\" is not valid")),
        post("/v1/pause", r#"{"jobs": "all", "for": "0s"}"#, (422, "invalid", "for 0s: ")),
        post("/v1/resume", r#"{"reason": "x"}"#, (422, "invalid", "unknown field `reason`")),
        post("/v1/clients/web-01/limit", r#"{"max_running": 0}"#, (422, "invalid", "\"0\" comm")),
        post("/v1/clients/web-01/groups", "[]", (422, "invalid", "the body is not a JSON object")),
    ];
    check(&server().await, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calendars_are_checked_field_by_field() {
    let path = "/v1/calendars/holidays-se";
    let job = |exclude: &str| {
        let rule = format!(r#"{{"cron": "0 6 * * *", "exclude": {exclude}}}"#);
        format!(r#"{{"name": "new", "target": "all", "command": "work", "rule": {rule}}}"#)
    };
    let dates = format!(r#"{{"dates": {:?}}}"#, vec!["2026-12-24"; 1_001]);
    let names: Vec<String> = (0..17).map(|n| format!("c{n}")).collect();
    let closed = r#"{"calendars": [{"name": "all", "weekdays": ["mon-sun"]}],
        "jobs": [{"name": "new", "target": "all", "command": "work",
                  "rule": {"cron": "0 6 * * *", "exclude": {"calendars": ["all"]}}}]}"#;
    let no_day = "calendar \"holidays-se\": it has no day; write dates or weekdays";
    let cases = vec![
        put(path, "{", (400, "bad_request", "the body is not JSON: ")),
        put(path, "{}", (422, "invalid", no_day)),
        put(path, r#"{"dates": []}"#, (422, "invalid", no_day)),
        put(path, r#"{"weekdays": []}"#, (422, "invalid", "weekdays: weekdays is empty")),
        put(path, r#"{"weekdays": ["any"]}"#, (422, "invalid", "weekdays: weekday \"any\"")),
        put(path, r#"{"dates": ["2026-13-01"]}"#, (422, "invalid", "dates[0]: date \"2026-13-")),
        put(path, r#"{"date": ["2026-12-01"]}"#, (422, "invalid", "unknown field `date`")),
        put(path, &dates, (422, "invalid", "it has 1001 dates; the most is 1000")),
        put(
            path,
            r#"{"name": "other", "dates": ["2026-12-01"]}"#,
            (422, "invalid", "name \"other\" is not that of the path, \"holidays-se\""),
        ),
        put("/v1/calendars", "{}", (405, "method_not_allowed", "has no method PUT")),
        post(
            "/v1/jobs",
            &job(r#"{"calendars": ["holidays-es"]}"#),
            (422, "invalid", "job \"new\": rule.exclude: no calendar named \"holidays-es\"; did"),
        ),
        post(
            "/v1/jobs",
            &job(&format!(r#"{{"calendars": {names:?}}}"#)),
            (422, "invalid", "rule.exclude: exclude has 17 calendars; the most is 16"),
        ),
        post("/v1/apply", closed, (422, "invalid", "job \"new\": with the days of its calendars")),
        post(
            "/v1/apply",
            r#"{"calendars": [{"name": "x"}], "jobs": []}"#,
            (422, "invalid", "calendars[0]: calendar \"x\": it has no day"),
        ),
    ];
    check(&server().await, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_targets_are_checked() {
    let cases = vec![
        post(
            "/v1/clients/web-01/labels",
            r#"{"set": {"Rack": "r7"}}"#,
            (422, "invalid", "label key \"Rack\" is not valid"),
        ),
        post(
            "/v1/clients/web-01/labels",
            r#"{"set": {"rack": "r7"}, "remove": ["rack"]}"#,
            (422, "invalid", "label rack is both in set and in remove"),
        ),
        post(
            "/v1/clients/web-01/labels",
            r#"{"add": {}}"#,
            (422, "invalid", "unknown field `add`"),
        ),
        post(
            "/v1/runs",
            r#"{"target": "all or grop:web", "command": "work"}"#,
            (422, "invalid", "at 8: unknown word \"grop\"; did you mean \"group\"?"),
        ),
        post(
            "/v1/runs",
            r#"{"target": "all", "command": "work", "membership": "closed"}"#,
            (422, "invalid", "`closed`"),
        ),
    ];
    check(&server().await, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_without_the_token() {
    let server = server().await;
    let http = reqwest::Client::new();
    let bearer = format!("Bearer {}", server.access.token);
    let longer = format!("{bearer}x");
    let needed = "a token is needed: send the header \"Authorization: Bearer TOKEN\"";
    let not_known = "the token is not known to this server";
    let basic = bearer.replace("Bearer", "Basic");
    for path in ["/v1/status", "/v1/events", "/v1/nothing", "/"] {
        for (header, message) in [
            (None, needed),
            (Some("Bearer wrong"), not_known),
            (Some(longer.as_str()), not_known),
            (Some(basic.as_str()), needed),
        ] {
            let mut request = http.get(format!("{}{path}", server.access.server));
            if let Some(header) = header {
                request = request.header("authorization", header);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 401, "{path} {header:?}");
            assert!(answer.headers().contains_key("www-authenticate"));
            let body: Value = answer.json().await.unwrap();
            let expected = json!({ "error": { "kind": "unauthorized", "message": message } });
            assert_eq!(body, expected, "{path} {header:?}");
        }
    }
}
