//! The commands for the whole store: what they say, their exit codes, and what they refuse.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::fs;
use std::path::Path;

use fleetcron::node::ExportQuery;
use fleetcron::store::{Op, StoreKind, backup, key, open_at};
use fleetcron::{RequestError, node::CallError};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;

use common::fleet::{apply, job, work};
use common::run;
use common::server::{Place, Server};

/// A server with a job, a client and a run that is open, at an address that stays.
async fn furnished(place: &Place, kind: StoreKind) -> Server {
    let server = place.start_with(&["--store", kind.name()]).await;
    server.define("web-01", &["web"]).await;
    let spec = json!({ "name": "backup", "target": "all", "command": "work", "rule": "now" });
    apply(&server.remote(), vec![job(spec)]).await;
    server.remote().submit(work("all", 1)).await.unwrap();
    server
}

/// Each command line, run in `home`, its exit code and words of its complaint.
async fn refused(home: &Path, cases: &[(&[&str], i32, &str)]) {
    for (args, code, words) in cases {
        let ran = run(home, args).await;
        assert_eq!(ran.code, *code, "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(words) && ran.stdout.is_empty(), "{args:?}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_refuses_what_cannot_be_and_says_why() {
    let place = Place::new();
    let mut server = furnished(&place, StoreKind::Sled).await;
    let home = place.dir.path();
    server.cli(&["backup", "whole"]).await.ok();
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(home.join("whole")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "it holds the hashes of tokens");
    let again = server.cli(&["backup", "whole"]).await;
    assert!(again.code == 2 && again.stderr.contains("--force replaces it"), "{again:?}");
    server.cli(&["backup", "whole", "--force"]).await.ok();
    let export = server.cli(&["export"]).await.ok().stdout;
    fs::write(home.join("lines"), &export).unwrap();
    fs::write(home.join("cut-lines"), &export[..export.len() - 20]).unwrap();
    let backup = fs::read(home.join("whole")).unwrap();
    fs::write(home.join("cut"), &backup[..backup.len() - 10]).unwrap();
    let mut damaged = backup;
    damaged[200] ^= 1;
    fs::write(home.join("damaged"), damaged).unwrap();
    let pid = format!("in use by process {}", server.process.pid());
    refused(
        home,
        &[
            (
                &["backup", "x", "--server", "http://127.0.0.1:1", "--token", "t"],
                3,
                "cannot connect",
            ),
            (&["store", "backup", "x", "--data", "data"], 5, &pid),
            (&["store", "check", "--data", "data"], 5, &pid),
            (&["store", "import", "lines", "--data", "data"], 5, &pid),
            (&["store", "check"], 5, "there is no store in fleetcron-data"),
            (&["store", "stats", "--data", "none"], 5, "there is no store in none"),
            (&["store", "export", "--data", "none"], 5, "there is no store in none"),
            (&["store", "backup", "x", "--data", "none"], 5, "there is no store in none"),
            (&["store", "backup", "data", "--data", "none"], 5, "there is no store in none"),
            (&["store", "restore", "none", "--data", "new"], 2, "cannot read none: No such file"),
            (&["store", "restore", "lines", "--data", "new"], 2, "lines: it is not a backup"),
            (
                &["store", "restore", "cut", "--data", "new"],
                2,
                "cut: it is cut short: it ends after",
            ),
            (
                &["store", "restore", "damaged", "--data", "new"],
                2,
                "damaged: it is damaged: block 0",
            ),
            (&["store", "restore", "whole", "--data", "data"], 5, "data is not empty: it has "),
            (&["store", "import", "none", "--data", "new"], 2, "cannot read none: No such file"),
            (&["store", "import", "whole", "--data", "new"], 2, "whole, line 1: "),
            (&["store", "import", "cut-lines", "--data", "new"], 2, "the file ends within it"),
            (&["export", "--to", "tomorrow"], 2, "'tomorrow'"),
        ],
    )
    .await;
    assert!(
        !home.join("new").exists() && !home.join("x").exists() && !home.join("x.partial").exists()
    );
    server.process.kill();

    let data = ["--data", "data"];
    let with = |args: &[&'static str]| [args, &data].concat();
    let same = with(&[
        "store",
        "export",
        "--from",
        "2026-01-01T00:00:00Z",
        "--to",
        "2026-01-01T00:00:00Z",
    ]);
    refused(
        home,
        &[
            (&with(&["store", "export", "--job", "backp"]), 4, "did you mean \"backup\"?"),
            (&same, 2, "is no span"),
            (&with(&["store", "import", "lines"]), 4, "is open, and the store is not empty"),
        ],
    )
    .await;
    // What is there already is passed over, open runs are left out.
    let ran = run(home, &with(&["store", "import", "lines", "--ended-only"])).await.ok();
    assert!(ran.stdout.contains("client") && !ran.stderr.contains("error"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_sound_is_exit_code_1_with_each_fault() {
    for kind in StoreKind::ALL {
        is_not_sound(kind).await;
    }
}

async fn is_not_sound(kind: StoreKind) {
    let place = Place::new();
    let mut server = furnished(&place, kind).await;
    let serial = server.remote().submit(work("all", 2)).await.unwrap().serial;
    server.process.kill();
    let home = place.dir.path();
    let check = ["store", "check", "--data", "data"];
    assert_eq!(run(home, &check).await.ok().stdout.lines().last(), Some("sound"));
    {
        let store = open_at(home.join("data"), Some(kind).into()).unwrap();
        let odd = Op::Put(b"?odd".to_vec(), vec![]);
        store.commit(vec![vec![odd, Op::Delete(key::open(serial, 0))]]).unwrap();
    }
    let ran = run(home, &check).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let run_key = key::show(&key::run(serial));
    for words in [
        "?:6f6464  kinds of keys: no kind of keys has its first byte",
        "use the version of fleetcron that wrote it",
        &format!("{run_key}  open deliveries of a run: the run is open, and none"),
        "not sound: 3 faults",
    ] {
        assert!(ran.stdout.contains(words), "{words}: {ran:?}");
    }
    let ran = run(home, &[&check[..], &["--output", "json"]].concat()).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let report = ran.json();
    assert_eq!((&report["sound"], &report["faults_total"]), (&json!(false), &json!(3)));
    assert_eq!(report["faults"][0]["key"], "?:6f6464");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_the_whole_store_is_asked_for_as_a_handle_is() {
    let place = Place::new();
    let server = furnished(&place, StoreKind::Fjall).await;
    let remote = server.remote();
    let stats = remote.store_stats().await.unwrap();
    assert!(stats.records >= 9 && stats.bytes_on_disk.is_some(), "{stats:?}");
    assert_eq!(stats.store, Some(StoreKind::Fjall));
    assert_eq!(stats.oldest_run.is_some(), stats.newest_run.is_some());
    let file = remote.backup().await.unwrap().try_collect::<Vec<_>>().await.unwrap().concat();
    assert_eq!(backup::verify(&file[..]).unwrap().entries, stats.records);
    let job = Some("backup".parse().unwrap());
    let query = ExportQuery { job, ..ExportQuery::default() };
    let text = remote.export(query).await.unwrap().try_collect::<Vec<_>>().await.unwrap().concat();
    let text = String::from_utf8(text).unwrap();
    assert!(text.lines().last().unwrap().starts_with("{\"record\":\"trailer\""), "{text}");
    let wrong = |text: &str| ExportQuery { job: Some(text.parse().unwrap()), ..Default::default() };
    let error = remote.export(wrong("backp")).await.err().unwrap().to_string();
    assert_eq!(error, "no job named \"backp\"; did you mean \"backup\"?");

    let http = reqwest::Client::new();
    let get = async |path: &str| {
        let url = format!("{}/v1/{path}", server.access.server);
        let answer = http.get(url).bearer_auth(&server.access.token).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    for (path, status, words) in [
        ("export?job=a%20b", 400, "query parameter job="),
        ("export?from=now", 400, "query parameter from="),
        ("export?form=x", 400, "this path has job, from, to"),
        ("export?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 422, "is no span"),
        ("backup?x=1", 400, "this path has none"),
        ("store?x=1", 400, "this path has none"),
    ] {
        let (found, text) = get(path).await;
        assert!(found == status && text.contains(words), "{path}: {found} {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_backup_is_taken_at_a_time_and_one_that_nobody_reads_on_ends() {
    let directory = tempfile::tempdir().unwrap();
    let node = fleetcron::Node::open(directory.path()).unwrap();
    let handle = node.handle();
    // Far more than waits to be taken.
    for batch in 0..20 {
        let jobs = (0..100).map(|n| {
            let params = json!({ "text": "x".repeat(2_000) });
            job(json!({
                "name": format!("job/{batch}/{n}"), "target": "all", "command": "work",
                "params": params, "rule": { "cron": "0 0 1 1 *" },
            }))
        });
        let jobs = jobs.collect();
        handle.apply(fleetcron::Apply { jobs, ..Default::default() }).await.unwrap();
    }
    let mut first = handle.backup().await.unwrap();
    let begun = first.next().await.unwrap().unwrap();
    let busy = handle.backup().await.err().unwrap();
    let is_limit = matches!(&busy, CallError::Refused(RequestError::Limit(_)));
    assert!(is_limit && busy.to_string().contains("under way already"), "{busy}");
    // What is committed meanwhile is in it.
    handle.submit(work("all", 1)).await.unwrap();
    let rest = first.try_collect::<Vec<_>>().await.unwrap().concat();
    let file = [&begun[..], &rest].concat();
    let summary = backup::verify(&file[..]).unwrap();
    assert!(summary.puts > 0, "{summary:?}");

    let mut left = handle.backup().await.unwrap();
    left.next().await.unwrap().unwrap();
    drop(left);
    let next = common::eventually("the end of the backup that is read no more", async || {
        handle.backup().await.ok()
    });
    next.await.try_collect::<Vec<_>>().await.unwrap();

    let exports = [(); fleetcron::node::READINGS].map(|()| handle.export(ExportQuery::default()));
    let held = futures_util::future::try_join_all(exports).await.unwrap();
    let refused = handle.export(ExportQuery::default()).await.err().unwrap();
    assert!(matches!(refused, CallError::Refused(RequestError::Limit(_))), "{refused}");
    drop(held);
    node.stop().await.unwrap();
}
