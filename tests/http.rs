//! A node behind its HTTP interface, asked by the remote: the same answers as from its handle.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleetcron::api::message::ClientRequest;
use fleetcron::api::{self, Tokens};
use fleetcron::engine::{Apply, JobAction, Page, Regroup, What};
use fleetcron::forecast::ForecastQuery;
use fleetcron::history::RunQuery;
use fleetcron::node::{OUTBOUND, ToSession, outbox};
use fleetcron::remote::{Remote, RemoteError};
use fleetcron::store::MemoryStore;
use fleetcron::{
    Calendar, CalendarName, DeliveryState, Handle, JobName, JobSelection, JobSpec, JobStatus, Json,
    Node, Outcome, Pause, PauseTerms, Proof, Rule, Submission, Timestamp, TokenHash,
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

struct World {
    node: Node,
    url: String,
    remote: Remote,
    stopping: CancellationToken,
    _stop: DropGuard,
}

async fn world() -> World {
    let node = Node::start(Arc::new(MemoryStore::new())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stopping = CancellationToken::new();
    let router = api::router(node.handle(), Tokens::new(["secret"]), stopping.clone());
    tokio::spawn(api::serve(listener, router, stopping.clone()));
    let remote = Remote::new(&url, "secret").unwrap();
    World { node, url, remote, stopping: stopping.clone(), _stop: stopping.drop_guard() }
}

/// Connects a client that answers every command with its parameters.
async fn echo(handle: &Handle, id: &str, token: &str) {
    let (outbound, mut inbound) = outbox(OUTBOUND);
    let proof = Proof::Token(TokenHash::of(token));
    let session = handle.connect(id.parse().unwrap(), proof, Vec::new(), outbound).await.unwrap();
    let handle = handle.clone();
    tokio::spawn(async move {
        while let Some(message) = inbound.recv().await {
            if let ToSession::Command(dispatch) = message {
                let outcome = Outcome::succeeded(dispatch.command.params.clone());
                handle.responded(session, dispatch.serial.into(), outcome).await.unwrap();
            }
        }
    });
}

async fn add(remote: &Remote, id: &str, groups: &[&str]) -> String {
    let groups: BTreeSet<_> = groups.iter().map(|group| group.parse().unwrap()).collect();
    let request = ClientRequest { id: id.parse().unwrap(), groups, token: None };
    remote.add_client(request).await.unwrap().token
}

fn name(text: &str) -> JobName {
    text.parse().unwrap()
}

fn job(text: &str) -> JobSpec {
    let rule = Rule::every(Duration::from_secs(3_600)).unwrap();
    JobSpec::new(name(text), "all".parse().unwrap(), "ping".parse().unwrap(), rule)
}

fn kind(error: RemoteError) -> String {
    match error {
        RemoteError::Refused { kind, .. } => kind,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_run_is_submitted_followed_and_read_back() {
    let World { node, remote, .. } = &world().await;
    for id in ["a", "b"] {
        let token = add(remote, id, &["web"]).await;
        echo(&node.handle(), id, &token).await;
    }
    let mut submission = Submission::new("group:web".parse().unwrap(), "echo".parse().unwrap());
    submission.params = r#"{"z": 1.50, "a": [1e400]}"#.parse::<Json>().unwrap();
    let run = remote.submit(submission.clone()).await.unwrap();
    let followed: Vec<_> = remote.follow(run.serial).try_collect().await.unwrap();
    assert_eq!(followed.len(), 2);
    for response in &followed {
        assert_eq!(response.outcome.state, DeliveryState::Succeeded);
        let result = response.outcome.result.as_ref().unwrap();
        assert_eq!(result, &submission.params, "the text is that which was given");
    }
    let ended = remote.wait(run.serial).await.unwrap();
    assert!(ended.all_succeeded());
    assert_eq!(ended, node.handle().run(run.serial).await.unwrap());
    let read: Vec<_> = remote.responses(run.serial).try_collect().await.unwrap();
    assert_eq!(read, followed);
    let one = remote.response(run.serial, "a".parse().unwrap()).await.unwrap();
    assert!(followed.contains(&one.unwrap()));
    assert_eq!(remote.runs(RunQuery::default()).await.unwrap(), [ended]);
}

#[tokio::test]
async fn open_deliveries_are_shown_and_cancelled() {
    let World { remote, .. } = &world().await;
    add(remote, "away", &[]).await;
    let submission = Submission::new("all".parse().unwrap(), "ping".parse().unwrap());
    let run = remote.submit(submission).await.unwrap();
    let open = remote.open_deliveries(run.serial).await.unwrap();
    assert_eq!((open.len(), open[0].state), (1, DeliveryState::Queued));
    assert_eq!(remote.response(run.serial, "away".parse().unwrap()).await.unwrap(), None);
    let cancelled = remote.cancel(run.serial).await.unwrap();
    assert_eq!((cancelled.counts.cancelled, cancelled.counts.open()), (1, 0));
    assert!(remote.wait(run.serial).await.unwrap().ended_at.is_some());
}

#[tokio::test]
async fn jobs_are_applied_listed_paused_and_removed() {
    let World { node, remote, .. } = &world().await;
    let jobs = vec![job("db/backup"), job("cleanup")];
    let apply = Apply { jobs: jobs.clone(), dry_run: true, ..Apply::default() };
    let planned = remote.apply(apply.clone()).await.unwrap().jobs;
    assert!(planned.iter().all(|change| change.action == JobAction::Create));
    assert!(remote.list(Page::first()).await.unwrap().is_empty(), "a dry run does nothing");
    remote.apply(Apply { dry_run: false, ..apply }).await.unwrap();

    let view = remote.get(name("db/backup")).await.unwrap();
    assert_eq!(view, node.handle().get(name("db/backup")).await.unwrap());
    let after = Page { after: Some(name("cleanup")), limit: 1 };
    assert_eq!(remote.list(after).await.unwrap(), [view]);

    let paused = remote.pause(name("db/backup")).await.unwrap();
    assert_eq!(paused.state.status(), JobStatus::Paused);
    let terms = PauseTerms { reason: Some("moving".into()), ..PauseTerms::default() };
    let lasting = Some(std::time::Duration::from_secs(7_200));
    let pause = Pause { job: name("db/backup"), terms: PauseTerms { lasting, ..terms.clone() } };
    let again = remote.pause_with(pause).await.unwrap().state.paused.unwrap();
    assert_eq!(
        (Some(again.at), again.reason),
        (paused.state.paused.map(|p| p.at), terms.reason.clone())
    );
    assert!(again.until.unwrap() > again.at);
    let change = remote.pause_all(JobSelection::All, terms).await.unwrap();
    assert_eq!(change.changed, [name("cleanup")]);
    assert_eq!(change.unchanged, [name("db/backup")]);
    let change = remote.resume_all("db/".parse().unwrap()).await.unwrap();
    assert_eq!(change.changed, [name("db/backup")]);
    let resumed = remote.resume(name("db/backup")).await.unwrap();
    assert_eq!(resumed.state.status(), JobStatus::Active);
    let run = remote.trigger(name("db/backup")).await.unwrap();
    assert_eq!(run.job, Some(name("db/backup")));
    remote.remove(name("db/backup")).await.unwrap();

    let error = remote.get(name("clenup")).await.unwrap_err();
    assert_eq!(error.to_string(), "no job named \"clenup\"; did you mean \"cleanup\"?");
    assert_eq!(kind(error), "not_found");
}

#[tokio::test]
async fn what_is_to_come_is_told_alike_by_the_handle_and_over_http() {
    let World { node, remote, .. } = &world().await;
    add(remote, "a", &["web"]).await;
    let mut hourly = job("db/backup");
    hourly.target = "group:web".parse().unwrap();
    let mut cron = job("report");
    cron.rule = Rule::cron("30 6 * * *", "Europe/Stockholm").unwrap();
    let apply = Apply { jobs: vec![hourly, cron], ..Apply::default() };
    remote.apply(apply).await.unwrap();
    remote.pause(name("report")).await.unwrap();

    let next = remote.next_firings(name("db/backup"), 3).await.unwrap();
    let view = remote.get(name("db/backup")).await.unwrap();
    assert_eq!((next.firings.len(), next.firings.first().copied()), (3, view.state.next_due));
    assert_eq!(next, node.handle().next_firings(name("db/backup"), 3).await.unwrap());
    let paused = remote.next_firings(name("report"), 1_000).await.unwrap();
    assert_eq!(
        (paused.firings.len(), paused.time_zone.as_deref()),
        (1_000, Some("Europe/Stockholm"))
    );
    assert!(paused.paused_at.is_some());
    let error = node.handle().next_firings(name("report"), 0).await.unwrap_err();
    assert_eq!(error.to_string(), "count 0 is not valid: it is 1 to 1000");

    let (from, to) = (next.firings[0], next.firings[2]);
    let query = ForecastQuery {
        from: Some(from),
        to: Some(to),
        target: Some("client:a".parse().unwrap()),
        prefix: Some(name("db/")),
        limit: Some(1),
    };
    let seen = remote.forecast(query.clone()).await.unwrap();
    assert_eq!(seen, node.handle().forecast(query.clone()).await.unwrap());
    assert_eq!((seen.from, seen.to, seen.jobs, seen.paused), (from, to, 1, 0));
    assert_eq!((seen.total.firings, seen.total.deliveries, seen.firings.len()), (2, 2, 1));
    assert_eq!((seen.firings[0].at, &seen.firings[0].job), (from, &name("db/backup")));
    let all = remote.forecast(ForecastQuery::default()).await.unwrap();
    assert_eq!((all.jobs, all.paused), (1, 1));
}

#[tokio::test]
async fn a_dry_run_tells_how_the_next_firings_change() {
    let World { node, remote, .. } = &world().await;
    let with = |text: &str, minute: u64| {
        let mut job = job(text);
        job.rule = Rule::cron(&format!("{minute} * * * *"), "UTC").unwrap();
        // Far away, so that none of it comes while the test runs.
        job.rule.start = Some("2100-01-01T00:00:00Z".parse().unwrap());
        job
    };
    let apply = |jobs: Vec<JobSpec>, dry_run| Apply { jobs, dry_run, ..Apply::default() };
    let jobs = vec![with("same", 1), with("other", 1)];
    let done = remote.apply(apply(jobs, false)).await.unwrap().jobs;
    assert!(done.iter().all(|change| change.next.is_none()), "what is done needs no forecast");

    let mut described = with("same", 1);
    described.description = Some("as before".to_owned());
    let jobs = vec![with("new", 7), described, with("other", 9)];
    let before = remote.next_firings(name("other"), 3).await.unwrap().firings;
    let planned = remote.apply(apply(jobs.clone(), true)).await.unwrap().jobs;
    let next = |at: usize| planned[at].next.clone();
    let minutes = |firings: &[Timestamp]| {
        firings.iter().map(|at| at.to_string()[14..16].to_owned()).collect::<Vec<_>>()
    };
    let new = next(0).unwrap();
    assert_eq!((new.before.len(), minutes(&new.after)), (0, vec!["07".to_owned(); 3]));
    assert_eq!((planned[1].action, next(1)), (JobAction::Update, None), "its rule stays");
    let other = next(2).unwrap();
    assert_eq!((&other.before, minutes(&other.after)), (&before, vec!["09".to_owned(); 3]));
    node.handle().apply(apply(jobs, false)).await.unwrap();
    let after = remote.next_firings(name("other"), 3).await.unwrap().firings;
    assert_eq!(after, other.after, "what was planned is what comes");
}

#[tokio::test]
async fn calendars_are_put_used_listed_and_removed() {
    let World { node, remote, .. } = &world().await;
    let calendar = |dates: &[&str]| -> Calendar {
        serde_json::from_value(json!({ "name": "holidays", "dates": dates })).unwrap()
    };
    let holidays: CalendarName = "holidays".parse().unwrap();
    let change = remote.put_calendar(calendar(&["2100-01-01"])).await.unwrap();
    assert_eq!((change.action, change.jobs), (JobAction::Create, 0));
    let mut report = job("report");
    let rule = json!({
        "cron": "0 6 * * *", "start": "2100-01-01T00:00:00Z",
        "exclude": { "calendars": ["holidays"] },
    });
    report.rule = serde_json::from_value(rule).unwrap();
    let jobs = vec![report];
    remote.apply(Apply { jobs: jobs.clone(), ..Apply::default() }).await.unwrap();
    let next = async || remote.next_firings(name("report"), 1).await.unwrap().firings;
    let at = |text: &str| -> Timestamp { text.parse().unwrap() };
    assert_eq!(next().await, [at("2100-01-02T06:00:00Z")], "the first is left out");

    let calendars = vec![calendar(&["2100-01-01..2100-01-05"])];
    let mut apply = Apply { calendars, jobs, dry_run: true, ..Apply::default() };
    let planned = remote.apply(apply.clone()).await.unwrap();
    assert_eq!(planned, node.handle().apply(apply.clone()).await.unwrap());
    let moved = &planned.calendars[0].moved[0];
    let after = moved.next.as_ref().unwrap().after.clone();
    assert_eq!((moved.job.as_str(), after[0]), ("report", at("2100-01-06T06:00:00Z")));
    assert_eq!(planned.jobs[0].action, JobAction::Keep);
    assert_eq!(next().await, [at("2100-01-02T06:00:00Z")], "a dry run changes nothing");
    apply.dry_run = false;
    let applied = remote.apply(apply).await.unwrap();
    assert_eq!((applied.calendars[0].moves(), &applied.calendars[0].moved[0].next), (1, &None));
    assert_eq!(remote.next_firings(name("report"), 3).await.unwrap().firings, after);
    let query = ForecastQuery {
        from: Some(at("2100-01-01T00:00:00Z")),
        to: Some(at("2100-01-08T00:00:00Z")),
        ..ForecastQuery::default()
    };
    let foreseen = remote.forecast(query).await.unwrap();
    assert_eq!(foreseen.total.firings, 2, "a forecast leaves the days out as well");

    let view = remote.calendar(holidays.clone()).await.unwrap();
    assert_eq!((view.record.revision, view.jobs), (2, 1));
    assert_eq!(remote.calendars(Page::first()).await.unwrap(), std::slice::from_ref(&view));
    let after = Page { after: Some(holidays.clone()), limit: 1 };
    assert!(node.handle().calendars(after).await.unwrap().is_empty());
    let error = remote.remove_calendar(holidays.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), "calendar \"holidays\" is used by 1 job: report");
    assert_eq!(kind(error), "conflict");
    remote.remove(name("report")).await.unwrap();
    remote.remove_calendar(holidays.clone()).await.unwrap();
    assert_eq!(kind(remote.calendar(holidays).await.unwrap_err()), "not_found");
}

#[tokio::test]
async fn clients_are_added_grouped_listed_and_removed() {
    let World { remote, .. } = &world().await;
    let token = add(remote, "a", &["web"]).await;
    assert_eq!(token.len(), 64);
    add(remote, "b", &[]).await;
    let request = ClientRequest { id: "a".parse().unwrap(), groups: [].into(), token: None };
    assert_eq!(kind(remote.add_client(request).await.unwrap_err()), "conflict");
    let change = Regroup {
        id: "b".parse().unwrap(),
        add: ["web".parse().unwrap()].into(),
        remove: [].into(),
    };
    assert_eq!(remote.regroup(change).await.unwrap().groups.len(), 1);
    let web = remote.clients(Page::first(), Some("web".parse().unwrap())).await.unwrap();
    assert_eq!(web.len(), 2);
    remote.remove_client("a".parse().unwrap()).await.unwrap();
    assert_eq!(kind(remote.client("a".parse().unwrap()).await.unwrap_err()), "not_found");
    assert_eq!(remote.status().await.unwrap().clients_defined, 1);
}

/// One request as any program may make it: its status and its JSON.
async fn ask(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.bearer_auth("secret").send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

#[tokio::test]
async fn statuses_tell_what_became_of_a_request() {
    let World { url, .. } = &world().await;
    let http = reqwest::Client::new();
    let jobs = format!("{url}/v1/jobs");
    let job = json!({"name": "a/b", "target": "all", "command": "ping", "rule": {"every": "1h"}});
    let (status, change) = ask(http.post(&jobs).json(&job)).await;
    assert_eq!((status, &change["action"]), (200, &json!("create")));
    let (status, change) = ask(http.post(&jobs).json(&job)).await;
    assert_eq!((status, &change["action"]), (200, &json!("keep")));
    assert_eq!(ask(http.post(format!("{jobs}/a%2Fb/trigger"))).await.0, 201);
    assert_eq!(ask(http.delete(format!("{jobs}/a%2Fb"))).await, (204, Value::Null));
    assert_eq!(ask(http.delete(format!("{jobs}/a%2Fb"))).await.0, 404);

    let clients = format!("{url}/v1/clients");
    let client = json!({"id": "a", "token": "0123456789abcdef"});
    let (status, added) = ask(http.post(&clients).json(&client)).await;
    assert_eq!((status, &added["token"]), (201, &client["token"]));
    assert_eq!(ask(http.post(&clients).json(&client)).await.0, 409);
    let groups = json!({"add": ["web"], "remove": ["web"]});
    let (status, error) = ask(http.post(format!("{clients}/a/groups")).json(&groups)).await;
    assert_eq!((status, &error["error"]["kind"]), (422, &json!("invalid")));
    assert!(!ask(http.get(&clients)).await.1.to_string().contains("0123456789abcdef"));
}

#[tokio::test]
async fn what_happens_is_told_to_those_who_watch() {
    let World { remote, stopping, .. } = &world().await;
    let mut events = remote.events();
    // The stream is open once the first piece of it has come: an event that it does not miss.
    let remote = remote.clone();
    let adding = tokio::spawn(async move {
        for number in 0.. {
            let job = job(&format!("job-{number}"));
            let apply = Apply { jobs: vec![job], ..Apply::default() };
            if remote.apply(apply).await.is_err() {
                return;
            }
        }
    });
    let created = loop {
        // The start and the use of the token are told, too.
        let event = events.next().await.unwrap().unwrap();
        if let What::Job { change, .. } = &event.what {
            break (change.clone(), event.actor.to_string());
        }
    };
    assert_eq!(created, ("created".to_owned(), "token:access".to_owned()));
    adding.abort();
    stopping.cancel();
    let last = events.collect::<Vec<_>>().await.pop().unwrap();
    assert_eq!(kind(last.unwrap_err()), "stopped");
}

#[tokio::test]
async fn a_run_that_does_not_exist_is_not_found_everywhere() {
    let World { remote, .. } = &world().await;
    let serial = "01JD0000000000000000000000".parse().unwrap();
    assert_eq!(kind(remote.run(serial).await.unwrap_err()), "not_found");
    assert_eq!(kind(remote.wait(serial).await.unwrap_err()), "not_found");
    assert_eq!(kind(remote.cancel(serial).await.unwrap_err()), "not_found");
    assert_eq!(kind(remote.open_deliveries(serial).await.unwrap_err()), "not_found");
    assert_eq!(kind(remote.follow(serial).next().await.unwrap().unwrap_err()), "not_found");
    assert_eq!(kind(remote.responses(serial).next().await.unwrap().unwrap_err()), "not_found");
}

#[tokio::test]
async fn after_the_node_has_stopped_every_request_says_so() {
    let World { node, remote, _stop, .. } = world().await;
    node.stop().await.unwrap();
    assert_eq!(kind(remote.status().await.unwrap_err()), "stopped");
}

#[tokio::test]
async fn a_submit_that_is_made_again_gives_back_its_run() {
    let world = world().await;
    let token = add(&world.remote, "web-01", &["web"]).await;
    let http = reqwest::Client::new();
    let post = async |key: Option<&str>, body: Value| {
        let request = http.post(format!("{}/v1/runs", world.url)).bearer_auth("secret");
        let request = key.into_iter().fold(request, |it, key| it.header("Idempotency-Key", key));
        let response = request.json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let body = json!({"target": "client:web-01", "command": "ping"});
    let (status, first) = post(Some("order 7"), body.clone()).await;
    assert_eq!(status, 201);
    let serial = first["serial"].as_str().unwrap();
    let in_body =
        json!({"target": "client:web-01", "command": "ping", "idempotency_key": "order 7"});
    for (key, body) in [(Some("order 7"), &body), (None, &in_body), (Some("order 7"), &in_body)] {
        let (status, run) = post(key, body.clone()).await;
        assert_eq!((status, run["serial"].as_str()), (200, Some(serial)));
        assert!(run["ended_at"].is_null(), "it is open: {run}");
    }

    echo(&world.node.handle(), "web-01", &token).await;
    world.remote.wait(serial.parse().unwrap()).await.unwrap();
    let (status, run) = post(Some("order 7"), body.clone()).await;
    assert_eq!((status, run["serial"].as_str()), (200, Some(serial)));
    assert_eq!(run["counts"]["succeeded"], 1, "as it stands now: {run}");
    let submission: Submission = serde_json::from_value(in_body.clone()).unwrap();
    let again = world.remote.submit_once(submission).await.unwrap();
    assert!(again.repeated && again.run.serial.to_string() == serial);

    let (status, error) = post(Some("order 7"), json!({"target": "all", "command": "ping"})).await;
    assert_eq!((status, &error["error"]["kind"]), (409, &json!("conflict")));
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("\"order 7\"") && message.contains(serial), "{message}");
    let (status, error) = post(Some("order 8"), in_body).await;
    assert_eq!(status, 422, "{error}");
    let (status, error) = post(Some(&"k".repeat(129)), body.clone()).await;
    assert_eq!(status, 422);
    assert!(error["error"]["message"].as_str().unwrap().contains("129 characters"), "{error}");

    // The latest run of all is not forgotten.
    let other = Submission::new("all".parse().unwrap(), "ping".parse().unwrap());
    world.remote.submit(other).await.unwrap();
    world.node.handle().forget(vec![serial.parse().unwrap()]).await.unwrap();
    let (status, error) = post(Some("order 7"), body).await;
    assert_eq!(status, 409, "it does not run twice: {error}");
}

#[tokio::test]
async fn a_late_answer_is_told_with_the_response() {
    let world = world().await;
    let token = add(&world.remote, "web-01", &[]).await;
    let handle = world.node.handle();
    let (outbound, mut inbound) = outbox(OUTBOUND);
    let proof = Proof::Token(TokenHash::of(&token));
    let id: fleetcron::ClientId = "web-01".parse().unwrap();
    let session = handle.connect(id.clone(), proof, Vec::new(), outbound).await.unwrap();
    let body = json!({"target": "client:web-01", "command": "ping", "expires_after": "1ms"});
    let run = world.remote.submit(serde_json::from_value(body).unwrap()).await.unwrap();
    world.remote.wait(run.serial).await.unwrap();
    // The command comes first, then that it has expired.
    while !matches!(inbound.recv().await.unwrap(), ToSession::Cancel(_)) {}
    let mut events = handle.subscribe();
    let outcome = Outcome::succeeded("[1, 2]".parse().unwrap());
    handle.responded(session, run.serial.into(), outcome).await.unwrap();
    loop {
        if let What::LateAnswer { serial, .. } = &events.recv().await.unwrap().what {
            assert_eq!(*serial, run.serial);
            break;
        }
    }
    let url = format!("{}/v1/runs/{}/responses/web-01", world.url, run.serial);
    let asked = reqwest::Client::new().get(url).bearer_auth("secret").send().await.unwrap();
    let response: Value = asked.json().await.unwrap();
    assert_eq!(response["state"], "expired", "{response}");
    assert_eq!(response["late"]["outcome"]["state"], "succeeded", "{response}");
    assert_eq!(response["late"]["outcome"]["result"], json!([1, 2]));
    let late = world.remote.late_answers(run.serial, Page::first()).await.unwrap();
    assert_eq!(late.len(), 1);
    assert_eq!((&late[0].client, late[0].attempt), (&id, 1));
    let after = Page { after: Some(id.clone()), limit: 10 };
    assert!(world.remote.late_answers(run.serial, after).await.unwrap().is_empty());
    let response = world.remote.response(run.serial, id).await.unwrap().unwrap();
    assert_eq!(response.outcome.state, DeliveryState::Expired);
}
