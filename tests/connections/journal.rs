//! A client with a journal and its successor, in one process: time runs as it does, for the
//! journal has a thread of its own.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fleetcron::client::journal::Medium;
use fleetcron::client::{ClientBuilder, Context, End, JournalError, JournalOptions, StartError};
use fleetcron::node::ToSession;
use fleetcron::{DeliveryState, HandlerError, Outcome, Serial};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use crate::fleet::{Told, command, serial};
use crate::pair::World;

/// How long an answer may take: far more than a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a connection was told: what the client had taken, and its answers.
fn of_session(told: &[Told], session: u64) -> (Vec<Serial>, Vec<(Serial, Outcome)>) {
    let mut taken = Vec::new();
    let mut answers = Vec::new();
    for one in told {
        match one {
            Told::Connected { session: of, taken: has, .. } if *of == session => {
                taken.clone_from(has);
            }
            Told::Responded(of, serial, outcome) if *of == session => {
                answers.push((*serial, outcome.clone()));
            }
            _ => {}
        }
    }
    answers.sort_by_key(|answer| answer.0);
    (taken, answers)
}

/// Waits, in a time that is not paused, until a session has given so many answers.
async fn answered(world: &World, session: u64, count: usize) -> Vec<(Serial, Outcome)> {
    let answered = world.fleet.until(|told| of_session(told, session).1.len() >= count);
    let told = timeout(PATIENCE, answered).await;
    let told =
        told.unwrap_or_else(|_| panic!("{count} answers never came: {:?}", world.fleet.told()));
    of_session(&told, session).1
}

#[tokio::test]
async fn a_successor_answers_what_had_ended_and_what_was_cut_short() {
    let world = World::new(|server| server);
    let directory = tempfile::tempdir().unwrap();
    let (runs, stuck) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
    let client = || -> ClientBuilder {
        let (counted, begun) = (runs.clone(), stuck.clone());
        world
            .client("web-01")
            .journal(directory.path())
            .stop_limit(Duration::ZERO)
            .on("count", move |_: Context, (): ()| {
                let n = counted.fetch_add(1, Ordering::SeqCst);
                async move { Ok(n) }
            })
            .on("stick", move |_: Context, (): ()| {
                begun.notify_one();
                async move { std::future::pending::<Result<(), HandlerError>>().await }
            })
    };
    world.fleet.acking(false);
    let first = client().start().unwrap();
    world.connected(1).await;
    world.fleet.send(1, command(1, "count", "null"));
    let before = answered(&world, 1, 1).await;
    world.fleet.send(1, command(2, "stick", "null"));
    stuck.notified().await;
    assert_eq!(first.stop().await, End::Stopped);

    world.fleet.acking(true);
    let second = client().stop_limit(Duration::from_secs(30)).start().unwrap();
    let answers = answered(&world, 2, 2).await;
    let (taken, _) = of_session(&world.fleet.told(), 2);
    assert_eq!(taken, [serial(1), serial(2)], "so that neither is sent again");
    assert_eq!(answers[0], before[0]);
    assert_eq!(answers[1].1.state, DeliveryState::Failed);
    let reason = "interrupted: the client ended while it ran";
    assert_eq!(answers[1].1.reason.as_deref(), Some(reason));
    assert_eq!(second.stop().await, End::Stopped, "when all is acknowledged");

    let _third = client().start().unwrap();
    world.connected(3).await;
    assert_eq!(of_session(&world.fleet.told(), 3).0, [], "it was forgotten");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_full_journal_refuses_and_keeps_results() {
    let world = World::new(|server| server);
    world.fleet.acking(false);
    let directory = tempfile::tempdir().unwrap();
    let journal = JournalOptions::new(directory.path()).max_entries(1);
    let client = world.client("web-01").journal(journal);
    let _client = client.on("a", |_: Context, (): ()| async { Ok(()) }).start().unwrap();
    world.connected(1).await;
    world.fleet.send(1, command(1, "a", "null"));
    answered(&world, 1, 1).await;
    world.fleet.send(1, command(2, "a", "null"));
    let answers = answered(&world, 1, 2).await;
    assert_eq!(answers[0].1.state, DeliveryState::Succeeded);
    assert_eq!(answers[1].1.state, DeliveryState::Rejected);
    let reason = answers[1].1.reason.as_deref().unwrap();
    assert!(reason.ends_with("is full: 1 commands are not acknowledged, the most allowed"));
}

#[tokio::test]
async fn a_client_whose_journal_cannot_be_opened_does_not_start() {
    let world = World::new(|server| server);
    let directory = tempfile::tempdir().unwrap();
    let _first = world.client("web-01").journal(directory.path()).start().unwrap();
    let second = world.client("web-01").journal(directory.path()).start();
    let held = |error: &StartError| {
        matches!(error, StartError::Journal(JournalError::Locked { pid: Some(pid), .. })
            if *pid == std::process::id())
    };
    assert!(second.as_ref().is_err_and(held), "{second:?}");
    let file = directory.path().join("journal");
    let error = world.client("web-01").journal(&file).start().unwrap_err();
    assert!(
        matches!(error, StartError::Journal(JournalError::Unusable { path, .. }) if path == file)
    );
}

/// A journal in memory that writes nothing before it is let.
struct Gate {
    bytes: Vec<u8>,
    let_through: Arc<Semaphore>,
}

impl Medium for Gate {
    fn path(&self) -> &Path {
        Path::new("memory/journal")
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.bytes.clone())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn cut(&mut self, length: u64, _: bool) -> io::Result<()> {
        self.bytes.truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn replace(&mut self, pieces: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> io::Result<()> {
        self.bytes = pieces.collect::<io::Result<Vec<_>>>()?.concat();
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn before_write(&mut self) -> BoxFuture<'static, ()> {
        let gate = Arc::clone(&self.let_through);
        async move { gate.acquire().await.unwrap().forget() }.boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_cancelled_while_it_is_written_down_is_not_run() {
    let world = World::new(|server| server);
    let (runs, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Semaphore::new(0)));
    let let_through = gate.clone();
    let journal = JournalOptions::on_medium(move || {
        Box::new(Gate { bytes: Vec::new(), let_through: let_through.clone() })
    });
    let counted = runs.clone();
    let count = move |_: Context, (): ()| {
        let n = counted.fetch_add(1, Ordering::SeqCst);
        async move { Ok(n) }
    };
    let client = world.client("web-01").journal(journal).concurrency(1).on("count", count);
    let client = client.start().unwrap();
    world.connected(1).await;
    world.fleet.send(1, command(1, "count", "null"));
    world.fleet.until(|told| told.contains(&Told::Accepted(1, serial(1)))).await;
    world.fleet.send(1, ToSession::Cancel(serial(1)));
    // That this one is accepted tells that the cancel has come.
    world.fleet.send(1, command(2, "count", "null"));
    world.fleet.until(|told| told.contains(&Told::Accepted(1, serial(2)))).await;
    gate.add_permits(Semaphore::MAX_PERMITS);
    let answers = answered(&world, 1, 2).await;
    assert_eq!(answers[0].1.state, DeliveryState::Cancelled);
    assert_eq!(answers[0].1.reason.as_deref(), Some("cancelled before it began"));
    assert_eq!(answers[1].1.state, DeliveryState::Succeeded);
    assert_eq!(runs.load(Ordering::SeqCst), 1, "the second alone");
    assert_eq!(client.stop().await, End::Stopped);
}
