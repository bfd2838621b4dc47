//! The loop and the store's thread: decide, commit, act.
//!
//! One commit is made durable while the engine works on the next, so that throughput does not
//! wait for the disk; an effect waits for its own commit and no other.

use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::task::Wake;
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::core::Core;
use super::link::Letter;
use super::turns::{Commits, Next, Turns};
use crate::engine::Unread;
use crate::store::writer::{Commit, Writer};
use crate::store::{Obstacle, Store, StoreError};
use crate::time::{Clock, Timestamp};

/// How long a commit may take before nothing new is taken in.
const SLOW: Duration = Duration::from_secs(10);

/// What was decided waits for a firing that is due within this time, at most.
const COMPANY: Duration = Duration::from_micros(500);

/// Wakes the loop's thread.
pub(super) struct Unpark(pub(super) Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// The store's thread, seen from the loop.
struct Committer {
    work: std_mpsc::Sender<Commit>,
    done: std_mpsc::Receiver<Result<(), StoreError>>,
    thread: JoinHandle<()>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// When the commit under way was begun.
    begun: Option<Instant>,
    /// How long a commit took lately, the last of them a little more than those before.
    usual: Duration,
}

impl Committer {
    fn start(store: Arc<dyn Store>, clock: Arc<dyn Clock>, wake: Thread) -> Result<Self, Fatal> {
        let mut writer = Writer::open(store.as_ref())?;
        let (work, orders) = std_mpsc::channel::<Commit>();
        let (report, done) = std_mpsc::channel();
        let of_thread = Arc::clone(&store);
        let thread = thread::Builder::new().name("store".into()).spawn(move || {
            while let Ok(commit) = orders.recv() {
                let result = writer.write(of_thread.as_ref(), &commit);
                let failed = result.is_err();
                let gone = report.send(result).is_err();
                wake.unpark();
                if gone || failed {
                    return;
                }
            }
        })?;
        Ok(Self { work, done, thread, store, clock, begun: None, usual: Duration::ZERO })
    }
}

impl Commits for Committer {
    fn begin(&mut self, commit: Commit) -> Result<(), Fatal> {
        self.begun = Some(Instant::now());
        self.work.send(commit).map_err(|_| Fatal::ThreadEnded)
    }

    fn ended(&mut self) -> Result<Option<Result<(), StoreError>>, Fatal> {
        match self.done.try_recv() {
            Ok(result) => {
                if let Some(begun) = self.begun.take() {
                    self.usual = (self.usual * 7 + begun.elapsed()) / 8;
                }
                Ok(Some(result))
            }
            Err(std_mpsc::TryRecvError::Empty) => Ok(None),
            Err(std_mpsc::TryRecvError::Disconnected) => Err(Fatal::ThreadEnded),
        }
    }

    fn obstacle(&mut self) -> Option<Obstacle> {
        let slow = || {
            let lasts = self.begun?.elapsed();
            (lasts >= SLOW).then_some(Obstacle::Slow { seconds: lasts.as_secs() })
        };
        self.store.obstacle().or_else(slow)
    }

    fn patience(&self) -> Option<Duration> {
        // A little more: it is looked at then.
        self.begun.map(|begun| SLOW.saturating_sub(begun.elapsed()) + Duration::from_millis(1))
    }

    fn would_delay(&self, at: Timestamp) -> bool {
        self.clock.until(at) < self.usual.min(COMPANY)
    }
}

/// Why a node cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// A commit failed: what is durable is known again only after a restart.
    #[error("the store failed, so the node stops; restart it to recover: {0}")]
    Store(#[from] StoreError),
    /// A stored job could not be read: what was decided since is not let out.
    #[error("a stored job cannot be read, so the node stops: {0}")]
    Unread(#[from] Unread),
    /// A thread could not be started.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
    /// A thread has ended by itself: a fault in fleetcron.
    #[error("a thread of the node has ended; this is a fault in fleetcron")]
    ThreadEnded,
}

/// Lets the timers of this thread be on time. Linux makes them up to 50 µs late otherwise, so that it
/// can let several expire together.
fn be_punctual() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
        tracing::debug!(%error, "timers may be 50 µs late");
    }
}

/// The loop and all it owns.
pub(super) struct Loop {
    turns: Turns<Committer>,
    clock: Arc<dyn Clock>,
}

impl Loop {
    pub(super) fn new(
        core: Core,
        inbox: mpsc::Receiver<Letter>,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
    ) -> Result<Self, Fatal> {
        let committer = Committer::start(store, Arc::clone(&clock), thread::current())?;
        let turns = Turns::new(core, inbox, (clock.now(), Instant::now()), committer);
        Ok(Self { turns, clock })
    }

    /// Runs until a letter says stop, or every handle is gone, or the store fails.
    pub(super) fn run(mut self) -> Result<(), Fatal> {
        be_punctual();
        loop {
            match self.turns.turn(self.clock.now(), Instant::now())? {
                Next::Again => {}
                Next::Wait(until) => self.sleep(until),
                Next::End => return self.end(),
            }
        }
    }

    /// Sleeps until something is due, or a letter or the end of a commit wakes it.
    fn sleep(&self, until: Option<Timestamp>) {
        let wait = Next::wait(until.map(|at| self.clock.until(at)));
        if !wait.is_zero() {
            thread::park_timeout(wait);
        }
    }

    fn end(self) -> Result<(), Fatal> {
        drop(self.turns.commits.work);
        self.turns.commits.thread.join().map_err(|_| Fatal::ThreadEnded)
    }
}
