//! Retention and statistics of a whole server: what is too old or too much goes, what it came to
//! stays, and a kill in between leaves nothing half forgotten.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::fleet::{Record, client, connect, job, work};
use common::server::Place;
use common::{eventually, within};
use fleetcron::history::RunQuery;
use fleetcron::remote::Remote;
use fleetcron::{Apply, DeliveryState, Run, Serial};
use serde_json::{Value, json};

const RUNS: usize = 12;

async fn runs(remote: &Remote, name: &str) -> Vec<Serial> {
    let query = RunQuery { job: Some(name.parse().unwrap()), limit: 1_000, ..RunQuery::default() };
    remote.runs(query).await.unwrap().iter().map(|run: &Run| run.serial).collect()
}

/// Triggers a job and waits for its end, so many times.
async fn trigger(remote: &Remote, name: &str, times: usize) -> Vec<Serial> {
    let mut serials = Vec::new();
    for _ in 0..times {
        let run = remote.trigger(name.parse().unwrap()).await.unwrap();
        let run = within("a run's end", remote.wait(run.serial)).await.unwrap();
        assert!(run.all_succeeded());
        serials.push(run.serial);
    }
    serials.reverse();
    serials
}

/// Waits until a look at the server's runs of a job tells what is expected.
async fn until(remote: &Remote, name: &str, expected: impl Fn(&[Serial]) -> bool) {
    eventually("retention", async || expected(&runs(remote, name).await).then_some(())).await;
}

#[tokio::test]
async fn what_is_too_much_or_too_old_goes_and_what_it_came_to_stays() {
    let place = Place::new();
    let keeps = ["--keep", "1h", "--retention-every", "1s"];
    let mut server = place.start_with(&keeps).await;
    server.define("web-01", &[]).await;
    let (record, _news) = Record::new();
    let _web = connect(client(&server.listen, "web-01", &record)).await;
    let remote = server.remote();
    let of = |name: &str, history: Value| {
        let mut spec = json!({
            "name": name, "target": "all", "command": "work",
            "rule": { "at": "2999-01-01T00:00:00Z" },
        });
        if !history.is_null() {
            spec["history"] = history;
        }
        job(spec)
    };
    let jobs = vec![
        of("few", json!({ "runs": 3 })),
        of("short", json!({ "for": "1s" })),
        of("all", Value::Null),
    ];
    remote.apply(Apply { jobs, ..Apply::default() }).await.unwrap();
    let few = trigger(&remote, "few", RUNS).await;
    let short = trigger(&remote, "short", RUNS).await;
    let all = trigger(&remote, "all", RUNS).await;

    until(&remote, "few", |left| left == &few[..3]).await;
    until(&remote, "short", <[Serial]>::is_empty).await;
    assert_eq!(runs(&remote, "all").await, all);
    let gone = remote.run(short[0]).await.unwrap_err().to_string();
    assert!(gone.contains(&short[0].to_string()), "{gone}");
    assert_eq!(record.all().len(), 3 * RUNS);

    // What it came to stays, also after a kill.
    for _ in 0..2 {
        for name in ["few", "short", "all"] {
            let told = server.remote().job_statistics(name.parse().unwrap()).await.unwrap();
            let week = &told.periods.week;
            let runs = week.runs.unwrap();
            assert_eq!((runs.fired, runs.succeeded), (RUNS as u64, RUNS as u64), "{name}");
            assert_eq!(week.states[&DeliveryState::Succeeded], RUNS as u64);
            assert_eq!(week.success_rate, Some(1.0));
        }
        let told = server.remote().client_statistics("web-01".parse().unwrap()).await.unwrap();
        assert_eq!(told.periods.day.deliveries, 3 * RUNS as u64);
        server.process.kill();
        server = place.start_with(&keeps).await;
    }
    assert_eq!(runs(&server.remote(), "all").await, all);
    assert_eq!(runs(&server.remote(), "few").await, few[..3]);

    let shown = server.cli(&["jobs", "show", "few"]).await;
    assert!(shown.stdout.contains("keeps 3 runs"), "{}", shown.stdout);
    assert!(shown.stdout.contains("RECORDED LATE"), "{}", shown.stdout);
    assert!(shown.stdout.contains("24 h, succeeded"), "{}", shown.stdout);
    let shown = server.cli(&["clients", "show", "web-01", "--output", "json"]).await;
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["statistics"]["day"]["deliveries"], 3 * RUNS);
    assert_eq!(shown["id"], "web-01");
}

#[tokio::test]
async fn the_limits_of_all_hold() {
    let place = Place::new();
    let keeps = ["--keep-runs", "5", "--keep-bytes", "1MiB", "--retention-every", "1s"];
    let server = place.start_with(&keeps).await;
    server.define("web-01", &[]).await;
    let (record, _news) = Record::new();
    let _web = connect(client(&server.listen, "web-01", &record)).await;
    let remote = server.remote();
    let mut serials = Vec::new();
    for n in 0..20 {
        let run = remote.submit(work("all", n)).await.unwrap();
        within("a run's end", remote.wait(run.serial)).await.unwrap();
        serials.push(run.serial);
    }
    serials.reverse();
    let left = async || -> Vec<Serial> {
        let runs = remote.runs(RunQuery::default()).await.unwrap();
        runs.iter().map(|run| run.serial).collect()
    };
    eventually("retention", async || (left().await == serials[..5]).then_some(())).await;
}

#[tokio::test]
async fn a_limit_that_cannot_be_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for (flag, value, told) in [
        ("--keep-runs", "0", "0"),
        ("--keep-bytes", "lots", "size \"lots\" is not valid"),
        ("--retention-every", "10ms", "write 1s to 1d"),
        ("--keep-inputs", "soon", "duration \"soon\" is not valid"),
    ] {
        let ran = common::run(dir.path(), &["serve", flag, value]).await;
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(told), "{flag}: {}", ran.stderr);
    }
}
