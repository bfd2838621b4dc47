//! The demonstration, as somebody sees it who starts it for the first time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::path::Path;

use tempfile::TempDir;

use common::eventually;
use common::server::Process;

/// Starts a demonstration on `dir/data` with the jobs that come with the package.
fn demo(dir: &TempDir, more: &[&str]) -> Process {
    let jobs = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs");
    let data = dir.path().join("data");
    let args = ["demo", "--data", data.to_str().unwrap(), "--jobs", jobs];
    Process::start(dir.path(), &[&args[..], more].concat())
}

/// The agents that a demonstration on `dir` has running.
fn agents(dir: &Path) -> Vec<u32> {
    let list = dir.join("data/agents/commands.toml");
    let list = list.to_str().unwrap().as_bytes();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let entry = entry.ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        line.windows(list.len()).any(|part| part == list).then_some(pid)
    });
    processes.collect()
}

/// The place of the first line after `from` that has all these parts.
fn place(lines: &[&str], from: usize, parts: &[&str]) -> usize {
    let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
    let found = lines[from..].iter().position(has_all);
    from + found.unwrap_or_else(|| panic!("no line with {parts:?}:\n{}", lines.join("\n")))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_a_client_taken_away_and_its_queued_delivery_and_goes_on_at_the_second_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = demo(&dir, &["--for", "8s"]);
    assert_eq!(first.ended().await, Some(0), "{}", first.stderr.text());
    let text = first.stdout.text();
    let lines: Vec<&str> = text.lines().collect();
    place(&lines, 0, &["Jobs: ", " created, 0 updated"]);
    let taken = place(&lines, 0, &["* db-01 is taken away"]);
    let away = place(&lines, taken, &["db-01 is away"]);
    let submitted = place(&lines, away, &["submitted maintenance.announce", "1 away: queued"]);
    let back = place(&lines, submitted, &["* db-01 comes back"]);
    let connected = place(&lines, back, &["db-01 is connected", "waited for it"]);
    place(&lines, connected, &["db-01", "maintenance.announce", "succeeded"]);
    let summary = place(&lines, connected, &["Summary"]);
    place(&lines, summary, &["Deliveries that waited in the store"]);
    assert!(!text.contains("It goes on where it stopped"), "{text}");
    assert_eq!(first.stderr.text(), "");
    assert_eq!(agents(dir.path()), [0; 0]);

    let mut second = demo(&dir, &[]);
    second.stdout.line(&["It goes on where it stopped: ", " jobs, "]).await;
    second.stdout.line(&["Jobs: 0 created, 0 updated, "]).await;
    for client in ["web-01", "web-02", "db-01"] {
        second.stdout.line(&[client, "is connected"]).await;
    }
    second.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(second.ended().await, Some(0), "{}", second.stderr.text());
    assert!(second.stdout.text().contains("Summary"));
    assert_eq!(agents(dir.path()), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_agents_end_when_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = demo(&dir, &[]);
    for client in ["web-01", "web-02", "db-01"] {
        demo.stdout.line(&[client, "is connected"]).await;
    }
    assert_eq!(agents(dir.path()).len(), 3);
    demo.kill();
    eventually("the end of the agents", async || agents(dir.path()).is_empty().then_some(())).await;
}
