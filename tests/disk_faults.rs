//! A disk that is full, hangs, becomes read-only or fails under a server at work: what is new is
//! refused with the cause, what is asked is answered, what is due comes late or is recorded as
//! missed, and nothing that was acknowledged is lost or done twice.
//!
//! The disks are mounted by the tests, see [`common::disk`].

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::print_stdout, reason = "it tells how much was looked at")]

mod common;

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use fleetcron::client::Context;
use fleetcron::engine::{NewClient, Page};
use fleetcron::history::RunQuery;
use fleetcron::node::CallError;
use fleetcron::remote::{Remote, RemoteError};
use fleetcron::store::{Batch, Layer, MemoryStore, Obstacle, Store, StoreError};
use fleetcron::time::{Clock as _, SystemClock};
use fleetcron::{Node, Serial, Submission};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use common::disk::{Disk, is_skipped};
use common::fleet::{News, Record, apply, client, connect, ended, job, runs_of, work};
use common::server::{Place, Process, Server};
use common::{eventually, run, within};

const TICK: Duration = Duration::from_millis(200);

/// How long the disk stays full: longer than a firing may be late without being missed.
const FULL: Duration = Duration::from_secs(12);

/// A server on a disk of its own, with a client that works.
struct World {
    disk: Disk,
    place: Place,
    server: Server,
    record: Record,
    news: News,
    /// Lets a command `late` end.
    gate: Arc<Semaphore>,
}

impl World {
    async fn new(disk: Disk, store: &str) -> Self {
        let place = Place::with_data(disk.path().join("data"));
        let server = place.start_with(&options(store)).await;
        let (record, news) = Record::new();
        let gate = Arc::new(Semaphore::new(0));
        server.define("c-1", &["crew"]).await;
        let (noted, opened) = (record.clone(), Arc::clone(&gate));
        let builder = client(&server.listen, "c-1", &record);
        connect(builder.on("late", move |cx: Context, params: Value| {
            noted.note(&cx, &params);
            let opened = Arc::clone(&opened);
            async move {
                opened.acquire().await.unwrap().forget();
                // More than fits where there is room by chance.
                Ok(json!("x".repeat(300_000)))
            }
        }))
        .await;
        Self { disk, place, server, record, news, gate }
    }

    fn remote(&self) -> Remote {
        self.server.remote()
    }

    /// What can be read is read, and quickly.
    async fn is_read(&self, known: Serial) {
        self.is_asked().await;
        let remote = self.remote();
        let all = async {
            assert_eq!(remote.run(known).await.unwrap().serial, known);
            assert!(!remote.runs(RunQuery::default()).await.unwrap().is_empty());
            remote.response(known, "c-1".parse().unwrap()).await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("reads go on");
    }

    /// What is in memory is answered, and quickly.
    async fn is_asked(&self) {
        let remote = self.remote();
        let all = async {
            assert_eq!(remote.status().await.unwrap().clients_defined, 1);
            remote.list(Page::first()).await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("answers go on");
    }

    /// Waits until a submit is refused with these words, and gives the kind of the refusal.
    async fn is_refused(&self, words: &str) -> String {
        let remote = self.remote();
        eventually(&format!("a refusal with {words:?}"), async || {
            match soon(remote.submit(work("client:c-1", 0))).await? {
                Err(RemoteError::Refused { kind, message }) if message.contains(words) => {
                    assert!(message.ends_with("nothing new is taken in until then"), "{message}");
                    Some(kind)
                }
                Err(RemoteError::Refused { kind, .. }) if kind == "full" => None,
                Err(error) => panic!("{error}"),
                Ok(_) => None,
            }
        })
        .await
    }

    /// Waits until a submit is taken.
    async fn is_taken(&self) -> Serial {
        let remote = self.remote();
        eventually("a submit that is taken", async || {
            Some(soon(remote.submit(work("client:c-1", 1))).await?.ok()?.serial)
        })
        .await
    }

    /// Begins a command that does not end before its gate is opened.
    async fn late(&mut self) -> Serial {
        let submission = Submission::new("client:c-1".parse().unwrap(), "late".parse().unwrap());
        let serial = self.remote().submit(submission).await.unwrap().serial;
        loop {
            if within("the late command", self.news.recv()).await.unwrap().serial == serial {
                return serial;
            }
        }
    }

    /// Stops the server, and finds its store sound and its decisions repeatable.
    async fn is_sound(&mut self) {
        self.server.process.signal(Signal::SIGTERM);
        assert_eq!(within("the server's end", self.server.process.ended()).await, Some(0));
        let data = self.server.data.to_str().unwrap();
        run(self.server.home(), &["store", "check", "--data", data]).await.ok();
        run(self.server.home(), &["verify", "--data", data]).await.ok();
    }

    /// Each has run once, and its end is known.
    async fn once_each(&self, serials: &[Serial]) {
        for serial in serials {
            let run = ended(&self.remote(), *serial).await;
            assert_eq!((run.counts.total, run.counts.succeeded), (1, 1), "{run:?}");
        }
        let mut times = HashMap::<Serial, usize>::new();
        for serial in self.record.serials("c-1") {
            *times.entry(serial).or_default() += 1;
        }
        for serial in serials {
            assert_eq!(times.get(serial), Some(&1), "{serial}");
        }
    }
}

fn options(store: &str) -> [&str; 4] {
    ["--store", store, "--disk-reserve", "16MiB"]
}

/// Submits until it is refused for want of room, or has no answer yet, as one whose commit waits;
/// gives what was taken.
async fn submit_on(remote: Remote) -> Vec<Serial> {
    let mut taken = Vec::new();
    while let Some(answer) = soon(remote.submit(work("client:c-1", taken.len()))).await {
        match answer {
            Ok(run) => taken.push(run.serial),
            Err(RemoteError::Refused { kind, message }) => {
                assert_eq!(kind, "full", "{message}");
                assert!(message.starts_with("the disk is "), "{message}");
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    taken
}

/// What comes before a while is over.
async fn soon<T>(answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(2), answer).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_sled() {
    is_filled("sled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_fjall() {
    is_filled("fjall").await;
}

async fn is_filled(store: &str) {
    if is_skipped() {
        return;
    }
    let mut world = World::new(Disk::tmpfs(96), store).await;
    let remote = world.remote();
    let ticks = |name: &str, catch_up: &str, target: &str| {
        let every = json!({ "every": "200ms" });
        job(json!({
            "name": name, "target": target, "command": "work", "overlap": "allow",
            "catch_up": catch_up, "rule": every,
        }))
    };
    let jobs = vec![ticks("all", "all", "client:c-1"), ticks("skip", "skip", "client:c-1")];
    apply(&remote, jobs).await;
    let late = world.late().await;
    let mut submitters = JoinSet::new();
    for _ in 0..3 {
        submitters.spawn(submit_on(world.remote()));
    }
    let filled = world.disk.fill();
    let taken = within("all to be refused", submitters.join_all()).await.concat();
    assert_eq!(world.is_refused("the disk is ").await, "full");
    let body = json!({ "target": "client:c-1", "command": "work" });
    let url = format!("{}/v1/runs", world.server.access.server);
    let http = reqwest::Client::new();
    let sent = http.post(url).bearer_auth(&world.server.access.token).json(&body).send();
    let answer = sent.await.unwrap();
    assert_eq!(answer.status().as_u16(), 507);
    assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
    let ran = world.server.cli(&["run", "work", "--to", "client:c-1"]).await;
    assert!(ran.code == 4 && ran.stderr.contains("the disk is "), "{ran:?}");
    world.is_read(late).await;

    // An answer comes in for which there is no room: it waits, and what is asked does not.
    world.gate.add_permits(1);
    world.is_refused("a commit waits for room").await;
    world.is_read(late).await;
    eventually("firings that are too late", async || {
        let due = remote.get("all".parse().unwrap()).await.unwrap().state.next_due?;
        (SystemClock.now().since(due) > FULL).then_some(())
    })
    .await;
    assert!(world.server.process.is_alive());
    drop(filled);

    let again = world.is_taken().await;
    world.once_each(&[&taken[..], &[late, again]].concat()).await;
    let skip = eventually("missed firings", async || {
        remote.get("skip".parse().unwrap()).await.unwrap().state.missed
    })
    .await;
    assert_eq!(skip.reason, "the server was late");
    assert!(skip.total > 5, "{skip:?}");
    remote.pause("all".parse().unwrap()).await.unwrap();
    remote.pause("skip".parse().unwrap()).await.unwrap();
    let runs = runs_of(&remote, "all").await;
    for pair in runs.windows(2) {
        assert_eq!(pair[1].scheduled_at.since(pair[0].scheduled_at), TICK, "{pair:?}");
    }
    let most_late = runs.iter().map(|run| run.fired_at.since(run.scheduled_at)).max().unwrap();
    assert!(most_late > Duration::from_secs(10), "{most_late:?}");
    world.once_each(&runs.iter().map(|run| run.serial).collect::<Vec<_>>()).await;
    let (taken, runs) = (taken.len(), runs.len());
    println!("{store}: {taken} submits, {runs} firings, {} missed", skip.total);
    world.is_sound().await;
}

/// A server that is started on a disk without room waits, and does not end and begin again.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_room() {
    if is_skipped() {
        return;
    }
    for store in ["sled", "fjall"] {
        let mut world = World::new(Disk::tmpfs(96), store).await;
        let taken = world.is_taken().await;
        world.once_each(&[taken]).await;
        world.server.process.kill();
        let filled = world.disk.fill();
        let home = tempfile::tempdir().unwrap();
        let mut waits = Process::start(home.path(), &world.place.args(&options(store)));
        let line = waits.stderr.json("the start waits", &[]).await;
        let words = line["obstacle"].as_str().unwrap();
        assert!(words.starts_with("the disk is nearly full: 0 MiB are free"), "{words}");
        waits.signal(Signal::SIGTERM);
        assert_eq!(within("its end", waits.ended()).await, Some(0));
        let waits = Process::start(home.path(), &world.place.args(&options(store)));
        waits.stderr.json("the start waits", &[]).await;
        drop(filled);
        waits.stderr.json("serving", &[]).await;
        world.server.process = waits;
        world.once_each(&[taken]).await;
        let again = world.is_taken().await;
        world.once_each(&[again]).await;
        world.is_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_for_a_while() {
    if is_skipped() {
        return;
    }
    for store in ["sled", "fjall"] {
        let mut world = World::new(Disk::ext4(96, "defaults"), store).await;
        let before = world.is_taken().await;
        world.once_each(&[before]).await;
        world.disk.freeze();
        let remote = world.remote();
        let waits = tokio::spawn(async move { remote.submit(work("client:c-1", 2)).await });
        // Those that come before it is noticed wait too; each has a time of its own to do so.
        let kind = eventually("a refusal", async || {
            let remote = world.remote();
            match soon(remote.submit(work("client:c-1", 3))).await? {
                Err(RemoteError::Refused { kind, message }) => {
                    assert!(message.contains("a commit has been under way for "), "{message}");
                    Some(kind)
                }
                Err(error) => panic!("{error}"),
                Ok(run) => panic!("acknowledged while nothing can be written: {run:?}"),
            }
        })
        .await;
        assert_eq!(kind, "unwritable");
        world.is_read(before).await;
        assert!(!waits.is_finished());
        world.disk.thaw();
        let waited = within("the submit that waited", waits).await.unwrap().unwrap().serial;
        let again = world.is_taken().await;
        world.once_each(&[waited, again]).await;
        world.is_sound().await;
    }
}

/// Each file system that finds itself damaged does this.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_becomes_read_only() {
    if is_skipped() {
        return;
    }
    for store in ["sled", "fjall"] {
        let mut world = World::new(Disk::ext4(96, "errors=remount-ro"), store).await;
        let taken = world.is_taken().await;
        world.once_each(&[taken]).await;
        let device = world.disk.device();
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "on purpose").unwrap();
        assert_eq!(world.is_refused("is read-only").await, "unwritable");
        // Linux does not tell before something is written, and after that sled reads no more.
        world.is_asked().await;
        if store == "fjall" {
            world.is_read(taken).await;
        }
        assert!(world.server.process.is_alive());
        // It cannot note that it stops, and says so.
        world.server.process.signal(Signal::SIGTERM);
        assert_eq!(within("the server's end", world.server.process.ended()).await, Some(5));
        let told = world.server.log().text();
        assert!(told.contains("read-only"), "{told}");

        let home = tempfile::tempdir().unwrap();
        let waits = Process::start(home.path(), &world.place.args(&options(store)));
        let line = waits.stderr.json("the start waits", &[]).await;
        assert!(line["obstacle"].as_str().unwrap().contains("is read-only"), "{line}");
        drop(waits);
        world.disk.remount();
        world.server = world.place.start_with(&options(store)).await;
        world.once_each(&[taken]).await;
        world.is_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_ends_the_server_with_the_cause() {
    if is_skipped() {
        return;
    }
    for store in ["sled", "fjall"] {
        let mut world = World::new(Disk::ext4(96, "defaults"), store).await;
        let taken = world.is_taken().await;
        world.once_each(&[taken]).await;
        world.disk.cut();
        let remote = world.remote();
        assert!(remote.submit(work("client:c-1", 2)).await.is_err());
        assert_eq!(within("the server's end", world.server.process.ended()).await, Some(5));
        let told = world.server.log().text();
        let data = world.server.data.to_str().unwrap();
        let words = format!("{data}: the store failed, so the node stops; restart it to recover");
        assert!(told.contains(&words) && told.contains("Input/output error"), "{told}");
        world.disk.remount();
        world.server = world.place.start_with(&options(store)).await;
        world.once_each(&[taken]).await;
        let again = world.is_taken().await;
        world.once_each(&[again]).await;
        world.is_sound().await;
    }
}

/// A store that says what hinders it, and whose commits wait at a gate.
struct Hindered {
    inner: MemoryStore,
    obstacle: Mutex<Option<Obstacle>>,
    open: Mutex<bool>,
    opened: Condvar,
    waits: AtomicBool,
}

impl Hindered {
    fn set(&self, obstacle: Option<Obstacle>, open: bool) {
        *self.obstacle.lock().unwrap() = obstacle;
        *self.open.lock().unwrap() = open;
        self.opened.notify_all();
    }
}

impl Layer for Hindered {
    fn below(&self) -> &dyn Store {
        &self.inner
    }

    fn commit_through(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        let mut open = self.open.lock().unwrap();
        while !*open {
            self.waits.store(true, Ordering::SeqCst);
            open = self.opened.wait(open).unwrap();
        }
        self.inner.commit(batches)
    }

    fn hindered_by(&self) -> Option<Obstacle> {
        self.obstacle.lock().unwrap().clone()
    }
}

/// Needs no disk: what the node does when its store says that it is hindered.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_is_refused_and_questions_are_answered() {
    let store = Arc::new(Hindered {
        inner: MemoryStore::new(),
        obstacle: Mutex::new(None),
        open: Mutex::new(true),
        opened: Condvar::new(),
        waits: AtomicBool::new(false),
    });
    let node = Node::start(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let handle = node.handle();
    let new = NewClient { id: "c-1".parse().unwrap(), groups: [].into(), token: None };
    handle.add_client(new).await.unwrap();
    let first = handle.submit(work("client:c-1", 1)).await.unwrap().serial;
    let second = handle.submit(work("client:c-1", 2)).await.unwrap().serial;
    let refused = async |submission| {
        let end = eventually("a refusal", async || {
            soon(handle.submit(work("client:c-1", submission))).await?.err()
        });
        end.await
    };

    let path = std::path::PathBuf::from("/store");
    let nearly = Obstacle::NearlyFull { path: path.clone(), free: 1 << 20, reserve: 64 << 20 };
    store.set(Some(nearly.clone()), true);
    let error = refused(3).await;
    assert!(matches!(&error, CallError::Hindered(obstacle) if *obstacle == nearly), "{error}");
    let words = "the disk is nearly full: 1 MiB are free at /store, 64 MiB are kept in reserve";
    assert!(error.to_string().starts_with(words), "{error}");
    // What makes an end of something is taken.
    assert!(handle.cancel(first).await.unwrap().ended_at.is_some());

    // A commit is under way when the last room goes.
    let full = Obstacle::Full { path };
    store.set(None, true);
    let third = eventually("a submit", async || handle.submit(work("client:c-1", 3)).await.ok());
    let third = third.await.serial;
    store.set(None, false);
    let waits = tokio::spawn({
        let handle = handle.clone();
        async move { handle.cancel(second).await }
    });
    eventually("a commit that waits", async || store.waits.load(Ordering::SeqCst).then_some(()))
        .await;
    store.set(Some(full.clone()), false);
    let error = refused(4).await;
    assert!(matches!(&error, CallError::Hindered(obstacle) if *obstacle == full), "{error}");
    assert!(matches!(handle.cancel(third).await, Err(CallError::Hindered(_))));
    assert_eq!(within("an answer", handle.status()).await.unwrap().clients_defined, 1);
    assert_eq!(within("an answer", handle.run(third)).await.unwrap().serial, third);
    assert!(!waits.is_finished(), "nothing is acknowledged before it is durable");
    store.set(None, true);
    assert!(within("the cancel", waits).await.unwrap().unwrap().ended_at.is_some());
    assert!(handle.run(third).await.unwrap().ended_at.is_none());
    node.stop().await.unwrap();
}
