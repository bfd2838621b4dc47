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
    let backup = json.as_array().unwrap().iter().find(|change| change["name"] == "backup").unwrap();
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
