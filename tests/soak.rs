//! `fleetcron soak`: short ones with each kind of fault have a good verdict, and an outside ledger
//! that does not fit the history has a bad one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use common::server::Process;
use common::{Ran, eventually, run, within};

/// A small soak in `home/data`; its report is `home/soak.html`.
const SMALL: [&str; 14] = [
    "soak",
    "--clients",
    "6",
    "--jobs",
    "8",
    "--processes",
    "2",
    "--submit-every",
    "200ms",
    "--data",
    "data",
    "--report",
    "soak.html",
    "--json",
];

/// Runs a small soak to its end.
async fn soak(home: &Path, more: &[&str]) -> Ran {
    run(home, &[&SMALL[..], more].concat()).await
}

/// What must hold of each soak that went well.
fn is_good(home: &Path, ran: &Ran, fault: &str) {
    let offenders = std::fs::read_to_string(home.join("soak.offenders.ndjson"));
    assert_eq!(ran.code, 0, "{offenders:?} {ran:?}");
    let verdict = ran.json();
    assert_eq!(verdict["verdict"], "good");
    assert_eq!(verdict["problems"], serde_json::json!([]));
    for none in ["lost", "doubled", "unexplained"] {
        assert_eq!(verdict[none], 0, "{verdict}");
    }
    let counted = |field: &str| verdict[field].as_u64().unwrap();
    assert!(counted("firings_ran") > 0 && counted("executions") > 0, "{verdict}");
    assert!(counted("submits_acknowledged") > 0, "{verdict}");
    assert_eq!(verdict["ended_early"], false);
    assert_eq!(verdict["store_sound"], true);
    match fault {
        "none" => assert_eq!(verdict["faults"], serde_json::json!({})),
        fault => assert!(verdict["faults"][fault].as_u64().unwrap() > 0, "{verdict}"),
    }
    let report = std::fs::read_to_string(home.join("soak.html")).unwrap();
    assert!(report.contains("<span class=\"good\">good</span>") && report.contains("</html>"));
    assert!(report.contains("<svg") && !report.contains("<script"), "it needs no script");
    assert!(!report.contains("http://") || !report.contains("src="), "it needs nothing else");
    assert!(home.join("data/store").exists(), "a directory that was given stays");
}

async fn with(fault: &str) {
    let home = tempfile::tempdir().unwrap();
    let more = ["--duration", "8s", "--fault-every", "700ms", "--seed", "1", "--faults", fault];
    let ran = soak(home.path(), &more).await;
    is_good(home.path(), &ran, fault);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_faults_nothing_is_lost() {
    with("none").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing() {
    with("kill").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_network_loses_nothing() {
    with("disconnect").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_stand_still_lose_nothing() {
    with("pause").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_loses_nothing() {
    with("clock").await;
}

/// Adds lines to the outside ledger behind the soak's back.
fn add(path: &Path, lines: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(lines.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outside_ledger_that_does_not_fit_the_history_is_told_item_by_item() {
    let home = tempfile::tempdir().unwrap();
    let more = ["--duration", "60s", "--faults", "none"];
    let mut process = Process::start(home.path(), &[&SMALL[..], &more].concat());
    let ledger = home.path().join("data/ledger");
    let submits = ledger.join("submits");
    let acknowledged = eventually("a submit to one client that was executed", async || {
        let submits = std::fs::read_to_string(&submits).ok()?;
        let line = submits.lines().find(|line| line.split(' ').nth(3) == Some("1"))?;
        let serial = line.split(' ').nth(2)?.to_owned();
        let done = std::fs::read_to_string(ledger.join("clients-01-00000")).ok()?;
        let end = done.lines().find(|it| it.starts_with("E ") && it.contains(&serial))?;
        Some((serial, end.split(' ').nth(3)?.to_owned()))
    });
    let (serial, client) = acknowledged.await;
    // Acknowledged, and the server knows nothing of it; executed once more; executed out of
    // nothing.
    add(&submits, "A 1 01JD0000000000000000000001 70001 false\n");
    add(&ledger.join("clients-01-00000"), &format!("B 2 {serial} {client} 1\n"));
    add(&ledger.join("clients-00-00000"), "B 3 01JD0000000000000000000002 c-00000 -\n");
    process.signal(Signal::SIGINT);
    assert_eq!(within("the verdict", process.ended()).await, Some(1), "{}", process.stderr.text());
    let verdict: Value = serde_json::from_str(&process.stdout.text()).unwrap();
    assert_eq!((&verdict["verdict"], &verdict["ended_early"]), (&"bad".into(), &true.into()));
    for one in ["lost", "doubled", "unexplained"] {
        assert_eq!(verdict[one], 1, "{verdict}");
    }
    let offenders = std::fs::read_to_string(home.path().join("soak.offenders.ndjson")).unwrap();
    let offenders: Vec<Value> =
        offenders.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |fault: &str| offenders.iter().find(|it| it["fault"] == fault).unwrap();
    assert_eq!(of("lost")["submit"], 70_001);
    assert_eq!(
        (&of("doubled")["serial"], &of("doubled")["client"]),
        (&serial.into(), &client.into())
    );
    assert_eq!(of("unexplained")["serial"], "01JD0000000000000000000002");
    let report = std::fs::read_to_string(home.path().join("soak.html")).unwrap();
    assert!(report.contains("Offenders") && report.contains("submit 70001"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_its_own_goes_when_the_verdict_is_good() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("tmp");
    std::fs::create_dir(&place).unwrap();
    let args = ["soak", "--clients", "2", "--jobs", "2", "--duration", "4s", "--faults", "none"];
    let mut command = common::binary(home.path());
    let ran = within("a soak", command.args(args).env("TMPDIR", &place).output()).await.unwrap();
    let told = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{told} {}", String::from_utf8_lossy(&ran.stderr));
    assert!(told.starts_with("verdict: good\n") && told.contains("unexplained  0"), "{told}");
    let seen = String::from_utf8(ran.stderr).unwrap();
    assert!(seen.contains("2/2 clients") && seen.contains("no more faults"), "{seen}");
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_not_empty_and_a_report_that_cannot_be_written_are_named() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("data/old")).unwrap();
    let ran = run(home.path(), &["soak", "--data", "data"]).await;
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("--data data is not empty"), "{ran:?}");
    let ran = run(home.path(), &["soak", "--report", "none/soak.html"]).await;
    assert_eq!(ran.code, 5);
    assert!(ran.stderr.contains("cannot write none/soak.html"), "{ran:?}");
}
