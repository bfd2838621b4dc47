//! The kinds of store, as processes: which one a directory is opened as, and `store migrate`, killed
//! at any moment.
//!
//! `FLEETCRON_SEED=123 cargo test --test store_kinds` kills at the moments of one seed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;
#[path = "common/random.rs"]
mod random;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fleetcron::store::{
    Entry, Op, Order, StoreKind, StoreOptions, everything, kind_at, look_at, open_at, walk,
};
use nix::sys::signal::Signal;
use serde_json::json;

use common::fleet::{apply, job, work};
use common::server::{Place, Process, Server};
use common::{Ran, run, within};
use random::Random;

/// How often a migration is killed.
const KILLS: usize = 8;

async fn stopped(mut server: Server) -> PathBuf {
    server.process.signal(Signal::SIGTERM);
    assert_eq!(within("the server's end", server.process.ended()).await, Some(0));
    server.data.clone()
}

fn told(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{ran:?}");
    for words in words {
        assert!(ran.stderr.contains(words), "{words}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_opened_as_what_it_is_and_nothing_else() {
    let place = Place::new();
    let home = place.dir.path();
    for (n, kind) in StoreKind::ALL.into_iter().enumerate() {
        let other = StoreKind::ALL[1 - n];
        let server = place.start_with(&["--store", kind.name()]).await;
        server.define("web-01", &[]).await;
        let status = server.cli(&["status"]).await.ok().stdout;
        let row = status.lines().find(|line| line.starts_with("store ")).unwrap();
        assert!(row.ends_with(kind.name()), "{status}");
        stopped(server).await;

        // Without the flag it is opened as it is; the ledger tells the setting.
        let server = place.start().await;
        let serving = server.log().json("serving", &[]).await;
        assert_eq!(serving["store"], kind.name());
        assert_eq!(server.remote().status().await.unwrap().store, Some(kind));
        assert_eq!(
            server.remote().clients(fleetcron::engine::Page::first(), None).await.unwrap().len(),
            1
        );
        stopped(server).await;

        let wanted = format!("is a {kind} store, not {other}");
        let way_out = format!("fleetcron store migrate --data data --to {other}");
        let words = [wanted.as_str(), way_out.as_str()];
        let flag = ["--store", other.name()];
        let serve = ["serve", "--data", "data", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
        told(&run(home, &[&serve[..], &flag].concat()).await, 2, &words);
        let demo = ["demo", "--data", "data", "--for", "1s"];
        let jobs = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs");
        told(&run(home, &[&demo[..], &["--jobs", jobs], &flag].concat()).await, 2, &words);
        let lines = run(home, &["store", "export", "--data", "data"]).await.ok().stdout;
        common::write(home, "lines", &lines);
        let import = ["store", "import", "lines", "--data", "data"];
        told(&run(home, &[&import[..], &flag].concat()).await, 2, &words);
        run(home, &[&import[..], &["--store", kind.name()]].concat()).await.ok();
        let lines = run(home, &["store", "stats", "--data", "data"]).await.ok().stdout;
        assert!(
            lines.lines().any(|line| line.starts_with("store ") && line.ends_with(kind.name()))
        );
        std::fs::remove_dir_all(home.join("data")).unwrap();
    }
    let ran = run(home, &["serve", "--store", "rocks"]).await;
    told(&ran, 2, &["'rocks'", "[possible values: sled, fjall]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_on_on_a_migrated_store() {
    goes_on(StoreKind::Sled, StoreKind::Fjall).await;
    goes_on(StoreKind::Fjall, StoreKind::Sled).await;
}

async fn goes_on(from: StoreKind, to: StoreKind) {
    let place = Place::new();
    let home = place.dir.path();
    let server = place.start_with(&["--store", from.name()]).await;
    server.define("web-01", &["web"]).await;
    let spec = json!({ "name": "backup", "target": "all", "command": "work", "rule": "now" });
    apply(&server.remote(), vec![job(spec)]).await;
    let serial = server.remote().submit(work("all", 1)).await.unwrap().serial;
    let pid = format!("in use by process {}", server.process.pid());
    let migrate = ["store", "migrate", "--data", "data", "--to", to.name()];
    told(&run(home, &migrate).await, 5, &[&pid, "store data is as it was"]);
    stopped(server).await;

    let exported = async || run(home, &["store", "export", "--data", "data"]).await.ok().stdout;
    let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let before = lines(&exported().await);
    let ran = run(home, &migrate).await.ok();
    let what = format!("migrated data from {from} to {to}: ");
    assert!(ran.stdout.starts_with(&what) && ran.stdout.contains(" records, "), "{ran:?}");
    let same = format!("store data is a {to} store already; nothing was changed");
    told(&run(home, &migrate).await, 4, &[&same]);
    assert_eq!(lines(&exported().await), before);
    let is_right = async |data: &str| {
        run(home, &["store", "check", "--data", data]).await.ok();
        let ran = run(home, &["verify", "--data", data, "--output", "json"]).await.ok().json();
        assert_eq!(ran["difference"], json!(null), "{ran}");
    };
    is_right("data").await;

    let server = place.start().await;
    assert_eq!(server.remote().run(serial).await.unwrap().counts.total, 1);
    server.remote().submit(work("all", 2)).await.unwrap();
    stopped(server).await;
    let copy = ["store", "migrate", "--data", "data", "--to", from.name(), "--into", "copy"];
    let ran = run(home, &[&copy[..], &["--output", "json"]].concat()).await.ok().json();
    assert_eq!((&ran["place"], &ran["migrated"]["to"]), (&json!("copy"), &json!(from.name())));
    assert_eq!(ran["migrated"]["digest"].as_str().unwrap().len(), 64);
    is_right("copy").await;
    is_right("data").await;
    assert_eq!(kind_at(home.join("data")).unwrap(), Some(to));
}

/// A bit that has changed, a log that was cut, and one that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_not_served_and_the_way_out_is_told() {
    for kind in StoreKind::ALL {
        let place = Place::new();
        let home = place.dir.path();
        let server = place.start_with(&["--store", kind.name()]).await;
        for n in 0..40 {
            server.define(&format!("web-{n:02}"), &["web"]).await;
        }
        stopped(server).await;
        run(home, &["store", "check", "--data", "data"]).await.ok();
        let (name, log) = match kind {
            StoreKind::Sled => ("its file db", home.join("data/db")),
            StoreKind::Fjall => ("the journal 0.jnl", home.join("data/fjall/0.jnl")),
        };
        let whole = std::fs::read(&log).unwrap();
        let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
        for damage in 0..3 {
            let mut bytes = whole.clone();
            let name = match damage {
                0 => {
                    bytes[end / 2] ^= 1;
                    name
                }
                1 => {
                    bytes.truncate(end / 3);
                    name
                }
                // The start after that begins no new store.
                _ => match kind {
                    StoreKind::Sled => "the file db is missing",
                    StoreKind::Fjall => "there is no journal",
                },
            };
            std::fs::write(&log, bytes).unwrap();
            if damage == 2 {
                std::fs::remove_file(&log).unwrap();
            }
            let words = ["store data is damaged: ", name, "fleetcron store restore FILE --data"];
            told(&run(home, &["store", "check", "--data", "data"]).await, 5, &words);
            let address = ["--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
            let serve = [&["serve", "--data", "data"][..], &address].concat();
            told(&run(home, &serve).await, 5, &words);
        }
        // Nothing was written over: with what it was, it is whole again.
        std::fs::write(&log, &whole).unwrap();
        run(home, &["store", "check", "--data", "data"]).await.ok();
        run(home, &["verify", "--data", "data"]).await.ok();
    }
}

fn all(path: &Path) -> Vec<Entry> {
    let store = look_at(path, StoreOptions::default()).unwrap();
    walk(store.as_ref(), everything(), Order::Up).map(Result::unwrap).collect()
}

fn migrating(home: &Path, to: StoreKind) -> Process {
    Process::start(home, &["store", "migrate", "--data", "data", "--to", to.name()])
}

fn other(kind: StoreKind) -> StoreKind {
    if kind == StoreKind::Sled { StoreKind::Fjall } else { StoreKind::Sled }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_killed_leaves_one_store_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (home, data) = (dir.path(), dir.path().join("data"));
    let seed = std::env::var("FLEETCRON_SEED").map_or(std::process::id().into(), |seed| {
        seed.parse().expect("FLEETCRON_SEED is a number")
    });
    println!("FLEETCRON_SEED={seed}");
    let mut random = Random(seed);
    {
        let store = open_at(&data, StoreOptions::default()).unwrap();
        for batch in 0..60_u32 {
            let put = |n: u32| {
                let key = [&b"x"[..], &batch.to_be_bytes(), &n.to_be_bytes()].concat();
                Op::Put(key, random.next().to_be_bytes().repeat(40))
            };
            store.commit(vec![(0..100).map(put).collect()]).unwrap();
        }
    }
    let entries = all(&data);
    let mut kind = StoreKind::Sled;
    let mut took = Duration::ZERO;
    // Undisturbed, there and back: so long it takes.
    for _ in 0..2 {
        let begun = Instant::now();
        let mut process = migrating(home, other(kind));
        assert_eq!(within("the migration", process.ended()).await, Some(0));
        (kind, took) = (other(kind), took.max(begun.elapsed()));
        assert_eq!(all(&data), entries);
    }
    let mut swapped = 0;
    for kill in 0..KILLS {
        let mut process = migrating(home, other(kind));
        let micros = usize::try_from(took.as_micros()).unwrap();
        // The moment is what is varied; nothing waits for it.
        tokio::time::sleep(Duration::from_micros(random.below(micros) as u64)).await;
        process.kill();
        let found = kind_at(&data).unwrap().unwrap();
        swapped += usize::from(found != kind);
        kind = found;
        assert!(all(&data) == entries, "after kill {kill}: {kind} has other entries");
        if kill % 2 == 0 {
            drop(open_at(&data, StoreOptions::default()).unwrap());
        }
    }
    assert!(swapped < KILLS, "no kill came before the end");
}
