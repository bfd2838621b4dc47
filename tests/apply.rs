//! `apply`, as an owner of job files uses it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use fleetcron::JobView;
use fleetcron::engine::Page;
use serde_json::json;

use common::server::Server;
use common::write;

const BACKUP: &str = r#"
name = "backup"
target = "group:db"
command = "db.backup"
rule.cron = "0 3 * * *"
"#;

const OTHERS: &str = r#"[
    { "name": "report", "target": "all", "command": "disk.report", "rule": { "every": "1h" } },
    { "name": "uptime", "target": "all", "command": "host.uptime", "rule": { "every": "5m" } }
]"#;

async fn jobs(server: &Server) -> Vec<JobView> {
    server.remote().list(Page::first()).await.unwrap()
}

async fn names(server: &Server) -> Vec<String> {
    jobs(server).await.into_iter().map(|view| view.job.spec.name.to_string()).collect()
}

/// A server with the jobs of a directory, and the directory's path.
async fn applied() -> (Server, String) {
    let server = Server::new().await;
    server.define("db-01", &["db"]).await;
    write(server.home(), "jobs/backup.toml", BACKUP);
    let others = write(server.home(), "jobs/others.json", OTHERS);
    let directory = others.parent().unwrap().to_str().unwrap().to_owned();
    let ran = server.cli(&["apply", &directory]).await.ok();
    assert!(ran.stdout.ends_with("3 created, 0 updated, 0 removed; 0 unchanged\n"), "{ran:?}");
    (server, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_the_same_files_again_changes_nothing() {
    let (server, directory) = applied().await;
    let before = jobs(&server).await;
    let ran = server.cli(&["apply", &directory]).await.ok();
    assert_eq!(ran.stdout, "0 created, 0 updated, 0 removed; 3 unchanged\n");
    let ran = server.cli(&["apply", &directory, "--prune"]).await.ok();
    assert_eq!(ran.stdout, "0 created, 0 updated, 0 removed; 3 unchanged\n");
    assert_eq!(jobs(&server).await, before, "revision, phase and times are as they were");
    assert!(before.iter().all(|view| view.job.revision == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_each_field_before_and_after_and_changes_nothing() {
    let (server, directory) = applied().await;
    let before = jobs(&server).await;
    let changed = BACKUP.replace("0 3", "30 4") + "offline = \"latest\"\n";
    write(server.home(), "jobs/backup.toml", &changed.replace("group:db", "client:db-01"));
    std::fs::remove_file(server.home().join("jobs/others.json")).unwrap();
    let new = BACKUP.replace("\"backup\"", "\"vacuum\"");
    write(server.home(), "jobs/vacuum.toml", &new);

    let ran = server.cli(&["apply", &directory, "--dry-run", "--prune"]).await.ok();
    for line in [
        "~ backup",
        "    rule.cron: \"0 3 * * *\" → \"30 4 * * *\"",
        "    target: \"group:db\" → \"client:db-01\"",
        "    offline: (none) → \"latest\"",
        "+ vacuum",
        "- report",
        "- uptime",
        "dry run: 1 to create, 1 to update, 2 to remove; 0 unchanged",
    ] {
        assert!(ran.stdout.lines().any(|shown| shown == line), "{line}\n{}", ran.stdout);
    }
    assert_eq!(jobs(&server).await, before);

    let json =
        server.cli(&["apply", &directory, "--dry-run", "--output", "json"]).await.ok().json();
    let backup =
        json["jobs"].as_array().unwrap().iter().find(|change| change["name"] == "backup").unwrap();
    let cron = backup["fields"].as_array().unwrap().iter().find(|it| it["field"] == "rule.cron");
    let expected = json!({
        "field": "rule.cron", "before": "\"0 3 * * *\"", "after": "\"30 4 * * *\"",
    });
    assert_eq!(cron, Some(&expected), "{backup}");
    assert_eq!(jobs(&server).await, before);

    let ran = server.cli(&["apply", &directory]).await.ok();
    assert!(ran.stdout.ends_with("1 created, 1 updated, 0 removed; 0 unchanged\n"), "{ran:?}");
    let view = server.remote().get("backup".parse().unwrap()).await.unwrap();
    assert_eq!((view.job.revision, view.job.id), (2, before[0].job.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_removes_what_the_files_do_not_define_and_only_then() {
    let (server, directory) = applied().await;
    std::fs::remove_file(server.home().join("jobs/others.json")).unwrap();
    server.cli(&["apply", &directory]).await.ok();
    assert_eq!(names(&server).await, ["backup", "report", "uptime"]);
    let ran = server.cli(&["apply", &directory, "--prune"]).await.ok();
    assert!(ran.stdout.contains("- report\n- uptime\n"), "{ran:?}");
    assert!(ran.stdout.ends_with("0 created, 0 updated, 2 removed; 1 unchanged\n"), "{ran:?}");
    assert_eq!(names(&server).await, ["backup"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_file_keeps_all_from_being_applied() {
    let (server, directory) = applied().await;
    let before = jobs(&server).await;
    write(server.home(), "jobs/new.toml", &BACKUP.replace("\"backup\"", "\"new\""));
    write(server.home(), "jobs/wrong.toml", &BACKUP.replace("0 3 * *", "0 25 * *"));
    let ran = server.cli(&["apply", &directory, "--prune"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert_eq!(jobs(&server).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_nobody_has_is_warned_of() {
    let (server, _) = applied().await;
    let text = BACKUP.replace("group:db", "group:bd").replace("\"backup\"", "\"lost\"");
    let file = write(server.home(), "lost.toml", &text);
    let ran = server.cli(&["apply", file.to_str().unwrap()]).await.ok();
    assert!(ran.stderr.contains("warning: job lost: "), "{ran:?}");
    assert!(ran.stderr.contains("bd"), "{ran:?}");
}

const HOLIDAYS: &str = r#"
[[calendar]]
name = "holidays"
description = "Days off"
dates = ["2100-01-01"]

[[job]]
name = "daily"
target = "all"
command = "disk.report"
[job.rule]
cron = "0 6 * * *"
start = 2100-01-01T00:00:00Z
exclude = { calendars = ["holidays"] }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn calendars_are_applied_with_the_jobs_that_name_them() {
    let (server, directory) = applied().await;
    write(server.home(), "jobs/holidays.toml", HOLIDAYS);
    let ran = server.cli(&["apply", &directory]).await.ok();
    let summary = "calendars: 1 created, 0 updated; 0 unchanged. \
                   Jobs: 1 created, 0 updated, 0 removed; 3 unchanged\n";
    assert!(
        ran.stdout.contains("+ calendar holidays\n") && ran.stdout.ends_with(summary),
        "{ran:?}"
    );
    let ran = server.cli(&["jobs", "show", "daily"]).await.ok();
    assert!(ran.stdout.contains("except calendar:holidays UTC"), "{ran:?}");

    write(server.home(), "jobs/holidays.toml", &HOLIDAYS.replace("01-01\"", "01-01..2100-01-02\""));
    let ran = server.cli(&["apply", &directory, "--dry-run"]).await.ok();
    for line in [
        "~ calendar holidays",
        "    dates: [\"2100-01-01\"] → [\"2100-01-01..2100-01-02\"]",
        "    daily: 2100-01-02 06:00:00Z, 2100-01-03 06:00:00Z, 2100-01-04 06:00:00Z → \
         2100-01-03 06:00:00Z, 2100-01-04 06:00:00Z, 2100-01-05 06:00:00Z",
    ] {
        assert!(ran.stdout.lines().any(|shown| shown == line), "{line}\n{}", ran.stdout);
    }
    // Its files gone, a calendar stays, even when the jobs are pruned.
    server.cli(&["apply", &directory]).await.ok();
    std::fs::remove_file(server.home().join("jobs/holidays.toml")).unwrap();
    server.cli(&["apply", &directory, "--prune"]).await.ok();
    assert_eq!(names(&server).await, ["backup", "report", "uptime"]);
    let ran = server.cli(&["calendars"]).await.ok();
    let row: Vec<&str> = ran.stdout.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..2], ["holidays", "0"], "{ran:?}");
    assert_eq!(row[3..], ["2100-01-01..2100-01-02", "Days", "off"], "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_is_shown_and_removed_unless_a_job_names_it() {
    let server = Server::new().await;
    let file = write(server.home(), "holidays.toml", HOLIDAYS);
    let file = file.to_str().unwrap();
    server.cli(&["apply", file]).await.ok();
    let ran = server.cli(&["calendars", "show", "holidays"]).await.ok();
    for part in ["holidays", "Days off", "2100-01-01", "revision"] {
        assert!(ran.stdout.contains(part), "{part}: {ran:?}");
    }
    let json = server.cli(&["calendars", "list", "--output", "json"]).await.ok().json();
    assert_eq!((&json[0]["spec"]["name"], &json[0]["jobs"]), (&json!("holidays"), &json!(1)));
    let ran = server.cli(&["calendars", "remove", "holidays"]).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.stderr.contains("calendar \"holidays\" is used by 1 job: daily"), "{ran:?}");
    let ran = server.cli(&["calendars", "show", "holiday"]).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.stderr.contains("did you mean \"holidays\"?"), "{ran:?}");

    // A day that ends a job for good is told.
    let once = HOLIDAYS.replace("cron = \"0 6 * * *\"", "at = 2100-01-02T06:00:00Z");
    std::fs::write(file, &once).unwrap();
    server.cli(&["apply", file]).await.ok();
    let calendar = once.split("[[job]]").next().unwrap().replace("01-01", "01-02");
    let alone = write(server.home(), "calendar.toml", &calendar);
    let ran = server.cli(&["apply", alone.to_str().unwrap()]).await.ok();
    assert!(ran.stdout.contains("    daily ends\n"), "{ran:?}");

    let unknown = HOLIDAYS.split("[[job]]").nth(1).unwrap().replace("holidays", "holydays");
    let unknown = write(server.home(), "unknown.toml", &format!("[[job]]{unknown}"));
    let ran = server.cli(&["apply", unknown.to_str().unwrap()]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("no calendar named \"holydays\"; did you mean"), "{ran:?}");

    server.cli(&["jobs", "remove", "daily"]).await.ok();
    let ran = server.cli(&["calendars", "remove", "holidays"]).await.ok();
    assert_eq!(ran.stdout, "removed holidays\n");
}
