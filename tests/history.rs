//! The ledger from outside: everything that was done is told once, with its time and who did it;
//! pages, streams and files of it agree, and a killed server has lost none of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use fleetcron::client::Context;
use fleetcron::engine::{ClientLimit, Regroup, Relabel, What};
use fleetcron::history::{COLUMNS, Cursor, EventKind, EventOrder, EventQuery, Recorded, RunQuery};
use fleetcron::remote::Remote;
use fleetcron::time::{Clock as _, SystemClock};
use fleetcron::{Actor, CommandLimit, DeliveryState, Serial, Timestamp};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use common::fleet::{Record, apply, bare, client, connect, ended, job, leave, work};
use common::server::{Place, Server};
use common::within;

/// All events after a place, the oldest first.
async fn all(remote: &Remote, after: Option<Cursor>) -> Vec<Recorded> {
    let query = EventQuery { order: EventOrder::Oldest, after, ..EventQuery::default() };
    within("all events", remote.export_history(query).try_collect()).await.unwrap()
}

async fn last(remote: &Remote) -> Cursor {
    let query = EventQuery { limit: Some(1), ..EventQuery::default() };
    Cursor(remote.history(query).await.unwrap().events[0].no)
}

/// A server, and clients that are connected to it.
async fn fleet(server: &Server, ids: &[&str]) -> Record {
    let (record, _) = Record::new();
    for id in ids {
        server.define(id, &["crew"]).await;
        connect(client(&server.listen, id, &record)).await;
    }
    record
}

/// An event as its kind and what tells it apart from others of the kind.
fn told(event: &Recorded) -> String {
    let kind = EventKind::of(&event.event.what);
    let more = match &event.event.what {
        What::Job { job, change, .. } => format!("{job} {change}"),
        What::Client { client, change, .. } => format!("{client} {change}"),
        What::RunStarted { job, cause, .. } => format!("{job:?} {cause}"),
        What::DeliveryEnded { response, .. } => {
            format!("{} {}", response.client, response.outcome.state)
        }
        What::Server { change, .. } | What::RunChanged { change, .. } => change.clone(),
        What::Connected { client, .. } | What::Disconnected { client, .. } => client.to_string(),
        _ => String::new(),
    };
    format!("{} {kind} {more}", event.event.actor).trim_end().to_owned()
}

fn backup(every: &str) -> fleetcron::JobSpec {
    let rule = json!({ "every": every });
    job(json!({ "name": "backup", "target": "all", "command": "work", "rule": rule }))
}

/// Does one of everything, and tells what the ledger must have of it.
async fn do_everything(server: &Server) -> Vec<&'static str> {
    let (remote, name) = (server.remote(), || "backup".parse().unwrap());
    let (record, _) = Record::new();
    let id = |text: &str| text.parse().unwrap();
    server.define("a", &["crew"]).await;
    server.define("away", &[]).await;
    let a = connect(client(&server.listen, "a", &record)).await;
    apply(&remote, vec![backup("12h")]).await;
    apply(&remote, vec![backup("24h")]).await;
    remote.pause(name()).await.unwrap();
    remote.resume(name()).await.unwrap();
    let triggered = remote.trigger(name()).await.unwrap().serial;
    let submitted = remote.submit(work("client:a", 1)).await.unwrap().serial;
    ended(&remote, submitted).await;
    remote.cancel(triggered).await.unwrap();
    ended(&remote, triggered).await;
    let add = ["night".parse().unwrap()].into();
    remote.regroup(Regroup { id: id("a"), add, remove: [].into() }).await.unwrap();
    let set = serde_json::from_value(json!({ "rack": "7" })).unwrap();
    remote.label_client(Relabel { id: id("a"), set, remove: [].into() }).await.unwrap();
    let max_running: Option<CommandLimit> = serde_json::from_value(json!(4)).unwrap();
    remote.limit_client(ClientLimit { id: id("a"), max_running }).await.unwrap();
    leave(server, &a).await;
    remote.remove(name()).await.unwrap();
    remote.remove_client(id("away")).await.unwrap();
    vec![
        "server server started",
        "token:access client a added",
        "token:access client away added",
        "client:a connected a",
        "token:access job backup created",
        "token:access job backup updated",
        "token:access job backup paused",
        "token:access job backup resumed",
        r#"token:access run_started Some("backup") trigger"#,
        "token:access run_started None submit",
        "client:a delivery_ended a succeeded",
        "client:a delivery_ended a succeeded",
        "token:access run_changed cancelled",
        "server delivery_ended away cancelled",
        "token:access client a grouped",
        "token:access client a labelled",
        "token:access client a limited",
        "client:a disconnected a",
        "token:access job backup removed",
        "token:access client away removed",
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_was_done_is_told_once_with_its_time_and_who_did_it() {
    let before = SystemClock.now();
    let server = Server::new().await;
    let expected = do_everything(&server).await;
    let after = SystemClock.now();
    let events = all(&server.remote(), None).await;
    assert!(events.windows(2).all(|pair| pair[0].no < pair[1].no));
    assert!(events.windows(2).all(|pair| pair[0].event.at <= pair[1].event.at));
    assert!(events.iter().all(|it| (before..=after).contains(&it.event.at)), "{events:?}");
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for event in &events {
        *found.entry(told(event)).or_default() += 1;
    }
    for line in &expected {
        let times = expected.iter().filter(|other| *other == line).count();
        assert_eq!(found.get(*line), Some(&times), "{line}: {found:#?}");
    }
    // Each by what it is about, and nothing else.
    let remote = server.remote();
    let count = async |query: EventQuery| remote.history(query).await.unwrap().events.len();
    let all_of = |wanted: &dyn Fn(&Recorded) -> bool| events.iter().filter(|it| wanted(it)).count();
    let about = EventQuery { client: Some("away".parse().unwrap()), ..EventQuery::default() };
    assert_eq!(count(about).await, all_of(&|it| told(it).contains(" away ")), "{found:#?}");
    let actor: Actor = "token:access".parse().unwrap();
    let by = EventQuery { actor: Some(actor.clone()), ..EventQuery::default() };
    assert_eq!(count(by).await, all_of(&|it| it.event.actor == actor));
    let states = vec![DeliveryState::Cancelled];
    assert_eq!(count(EventQuery { states, ..EventQuery::default() }).await, 1);
    let job = EventQuery { job: Some("backup".parse().unwrap()), ..EventQuery::default() };
    let of_job = |it: &Recorded| serde_json::to_value(it).unwrap()["job"] == "backup";
    assert_eq!(count(job).await, all_of(&of_job));
    let text = EventQuery { text: Some("RACK".into()), ..EventQuery::default() };
    assert_eq!(count(text).await, 1);
    let span = EventQuery { from: Some(before), to: Some(after), ..EventQuery::default() };
    let within = all_of(&|it| it.event.at < after);
    assert_eq!(count(EventQuery { limit: Some(1_000), ..span }).await, within);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_give_each_event_once_in_both_orders_while_new_ones_arrive() {
    let server = Server::new().await;
    fleet(&server, &["a", "b"]).await;
    let remote = server.remote();
    for number in 0..20 {
        remote.submit(work("all", number)).await.unwrap();
    }
    for order in [EventOrder::Oldest, EventOrder::Newest] {
        let begun = last(&remote).await;
        let mut query = EventQuery { order, limit: Some(7), ..EventQuery::default() };
        let mut found = Vec::new();
        let mut pages = 0;
        loop {
            let page = remote.history(query.clone()).await.unwrap();
            found.extend(page.events.iter().map(|event| event.no));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
            pages += 1;
            if pages <= 10 {
                remote.submit(work("all", pages)).await.unwrap();
            }
        }
        let mut sorted = found.clone();
        sorted.sort_unstable();
        if order == EventOrder::Newest {
            found.reverse();
        }
        assert_eq!(found, sorted, "in order");
        sorted.dedup();
        assert_eq!(found.len(), sorted.len(), "none twice");
        let there: Vec<u64> = all(&remote, None).await.iter().map(|event| event.no).collect();
        let there: Vec<u64> = there.into_iter().filter(|no| *no <= begun.0).collect();
        assert!(there.len() > 60 && there.iter().all(|no| found.contains(no)), "none left out");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_followed_without_a_gap() {
    const BURST: usize = 400;
    let server = Server::new().await;
    fleet(&server, &["a", "b"]).await;
    let remote = server.remote();
    let after = Some(last(&remote).await);
    let query = EventQuery { order: EventOrder::Oldest, after, ..EventQuery::default() };
    let mut followed = remote.follow_history(query);
    let submits = stream::iter(0..BURST).for_each_concurrent(50, |number| {
        let remote = remote.clone();
        async move {
            remote.submit(work("all", number)).await.unwrap();
        }
    });
    let follow = async {
        let (mut ends, mut found) = (0, Vec::new());
        while ends < BURST {
            let event = followed.next().await.unwrap().unwrap();
            ends += usize::from(matches!(event.event.what, What::RunEnded { .. }));
            found.push(event.no);
        }
        found
    };
    let ((), found) = within("the burst", async { tokio::join!(submits, follow) }).await;
    let mut exported: Vec<u64> = all(&remote, after).await.iter().map(|event| event.no).collect();
    exported.retain(|no| no <= found.last().unwrap());
    assert_eq!(found, exported);
    assert!(found.len() >= 4 * BURST);

    // A limit ends it.
    let query =
        EventQuery { limit: Some(3), order: EventOrder::Oldest, after, ..Default::default() };
    let three: Vec<_> = within("three", remote.follow_history(query).try_collect()).await.unwrap();
    assert_eq!(three.iter().map(|event: &Recorded| event.no).collect::<Vec<_>>(), found[..3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_reads_back_as_what_the_events_are() {
    let server = Server::new().await;
    server.define("a", &[]).await;
    let strange = "quote \" comma , line\r\nand 'ü' =1+1";
    let builder = bare(&server.listen, "a")
        .on("work", move |_: Context, _: Value| async move { Ok(json!({ "said": strange })) });
    connect(builder).await;
    let remote = server.remote();
    for number in 0..3 {
        let run = remote.submit(work("client:a", number)).await.unwrap();
        ended(&remote, run.serial).await;
    }
    let url = format!("{}/v1/history?stream=csv&order=oldest", server.access.server);
    let request = reqwest::Client::new().get(url).bearer_auth(&server.access.token);
    let answer = request.send().await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, "text/csv; charset=utf-8; header=present");
    let text = answer.text().await.unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap(), &COLUMNS[..]);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let events = all(&remote, None).await;
    assert_eq!(rows.len(), events.len());
    for (row, event) in rows.iter().zip(&events) {
        assert_eq!(row[0], event.no.to_string());
        assert_eq!(row[1].parse::<Timestamp>().unwrap(), event.event.at);
        assert_eq!(row[2].parse::<Actor>().unwrap(), event.event.actor);
        assert_eq!(&row[3], EventKind::of(&event.event.what).name());
        match &event.event.what {
            What::DeliveryEnded { response, .. } => {
                assert_eq!(&row[5], "a");
                assert_eq!(row[6].parse::<Serial>().unwrap(), response.serial);
                let result: Value = serde_json::from_str(&row[12]).unwrap();
                assert_eq!(result["said"], strange);
            }
            What::ClockJumped => {}
            what => {
                let details: What = serde_json::from_str(&row[13]).unwrap();
                assert_eq!(told_json(&details), told_json(what));
            }
        }
    }
    let ran = server.cli(&["history", "--oldest", "--output", "csv"]).await.ok();
    assert_eq!(ran.stdout, text, "the command line writes the same");
    let ran = server.cli(&["history", "--oldest", "--output", "ndjson", "--limit", "4"]).await.ok();
    let read: Vec<Recorded> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        read.iter().map(told).collect::<Vec<_>>(),
        events[..4].iter().map(told).collect::<Vec<_>>()
    );
}

fn told_json(what: &What) -> String {
    serde_json::to_string(what).unwrap()
}

/// The ends that the runs' own records have, and those that the ledger tells.
async fn ends(remote: &Remote) -> (Vec<(Serial, String)>, Vec<(Serial, String)>) {
    let runs = remote.runs(RunQuery { limit: 1_000, ..RunQuery::default() }).await.unwrap();
    let mut recorded = Vec::new();
    for run in &runs {
        let responses: Vec<_> = remote.responses(run.serial).try_collect().await.unwrap();
        recorded
            .extend(responses.iter().map(|it| (run.serial, serde_json::to_string(it).unwrap())));
    }
    let mut told: Vec<(Serial, String)> = Vec::new();
    for event in all(remote, None).await {
        if let What::DeliveryEnded { response, .. } = event.event.what {
            told.push((response.serial, serde_json::to_string(&response).unwrap()));
        }
    }
    recorded.sort();
    told.sort();
    (recorded, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_ledger_agrees_with_the_runs() {
    let place = Place::new();
    let mut server = place.start().await;
    let record = fleet(&server, &["a", "b", "c"]).await;
    for life in 0..3 {
        let remote = server.remote();
        // Some of them are under way when it is killed.
        let submits = stream::iter(0..60).map(|number| {
            let remote = remote.clone();
            async move { remote.submit(work("group:crew", life * 100 + number)).await.unwrap() }
        });
        let runs: Vec<_> = submits.buffer_unordered(20).collect().await;
        ended(&remote, runs[0].serial).await;
        server.process.kill();
        server = place.start().await;
        let started = EventQuery { kinds: vec![EventKind::Server], ..EventQuery::default() };
        let events = server.remote().history(started).await.unwrap().events;
        let What::Server { change, stopped_in_order, .. } = &events[0].event.what else {
            panic!("{events:?}")
        };
        assert_eq!((change.as_str(), *stopped_in_order), ("started", Some(false)));
        assert_eq!(events.len(), life + 2, "each start is told");
        let (recorded, told) = ends(&server.remote()).await;
        // Those that are open end meanwhile: the ledger, read later, has what the runs have.
        let told: BTreeSet<_> = told.into_iter().collect();
        assert!(recorded.iter().all(|end| told.contains(end)), "each end is told");
    }
    let remote = server.remote();
    for run in remote.runs(RunQuery { limit: 1_000, ..RunQuery::default() }).await.unwrap() {
        ended(&remote, run.serial).await;
    }
    let (recorded, told) = ends(&remote).await;
    assert_eq!(recorded.len(), 3 * 3 * 60);
    assert_eq!(recorded, told, "each end is told exactly once");
    assert!(record.all().len() >= recorded.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_what_happened_and_names_what_is_wrong() {
    let server = Server::new().await;
    fleet(&server, &["web-01"]).await;
    let remote = server.remote();
    apply(&remote, vec![backup("12h")]).await;
    let run = remote.trigger("backup".parse().unwrap()).await.unwrap();
    ended(&remote, run.serial).await;
    let ran = server.cli(&["history", "--job", "backup", "--oldest"]).await.ok();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    for (line, parts) in lines.iter().zip([
        &["WHEN", "WHO", "WHAT", "JOB / CLIENT", "DETAILS"][..],
        &["token:access", "job created", "backup", "revision 1"],
        &["token:access", "run started", "backup", "work to 1 client; triggered; run "],
        &["client:web-01", "delivery succeeded", "backup → web-01", "work ran ", "; run "],
        &["run ended", "backup", "1 succeeded"],
    ]) {
        assert!(parts.iter().all(|part| line.contains(part)), "{line} has not {parts:?}");
    }
    assert_eq!(lines.len(), 5, "{}", ran.stdout);
    let ran = server.cli(&["history", "--limit", "2", "--output", "json"]).await.ok();
    assert_eq!(ran.json().as_array().unwrap().len(), 2);
    assert!(ran.stderr.contains("there are more than 2 events"), "{}", ran.stderr);
    let ran = server.cli(&["history", "--since", "1h", "--state", "failed,timed_out"]).await.ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.trim()), ("", "no events"));
    for (args, code, part) in [
        (&["--state", "faild"][..], 2, "did you mean \"failed\""),
        (&["--kind", "run_stated"], 2, "did you mean \"run_started\""),
        (&["--client", "web-1"], 4, "no client named \"web-1\"; did you mean \"web-01\"?"),
        (&["--group", "crow"], 4, "no group named \"crow\"; did you mean \"crew\"?"),
        (&["--job", "backpu"], 4, "no job named \"backpu\"; did you mean \"backup\"?"),
        (&["--since", "soon"], 2, "--since \"soon\" is neither a time"),
        (&["--since", "1h", "--until", "2h"], 2, "is no span"),
        (&["--actor", "root"], 2, "\"root\" is not an actor"),
        (&["--text", ""], 2, "text of 0 bytes"),
        (&["--limit", "0"], 2, "write a number from 1 on"),
        (&["--follow", "--newest"], 2, "--newest"),
    ] {
        let ran = server.cli(&[&["history"], args].concat()).await;
        assert_eq!((ran.code, ran.stderr.contains(part)), (code, true), "{args:?}: {ran:?}");
    }
    let ran = server.cli(&["runs", "--output", "csv"]).await;
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("--output csv is for history alone"), "{}", ran.stderr);
    for (query, part) in [
        (
            "states=lost",
            "query parameter states=\\\"lost\\\" is not valid: \\\"lost\\\" is no state",
        ),
        ("kinds=run", "is no kind of event"),
        ("stream=xml", "a stream is one of ndjson, csv"),
        ("follow=true", "only a stream is followed"),
        ("stream=csv&follow=true", "so it is ndjson"),
        ("after=x", "\\\"x\\\" is no place in the ledger"),
        ("limit=1001", "it is 1 to 1000"),
        ("stream=ndjson&client=nobody", "no client named"),
        ("stat=failed", "no query parameter \\\"stat\\\""),
    ] {
        let url = format!("{}/v1/history?{query}", server.access.server);
        let request = reqwest::Client::new().get(url).bearer_auth(&server.access.token);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.text().await.unwrap();
        assert!((400..500).contains(&status) && body.contains(part), "{query}: {status} {body}");
    }
}
