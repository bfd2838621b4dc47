//! The loop and the store's thread: decide, commit, act.
//!
//! One commit is made durable while the engine works on the next, so that throughput does not
//! wait for the disk; an effect waits for its own commit and no other.

use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::core::{Core, Released};
use super::drift::Drift;
use super::link::Letter;
use crate::store::writer::{Commit, Writer};
use crate::store::{Store, StoreError};
use crate::time::{Clock, Timestamp};

/// Letters that one turn of the loop takes in, at most.
const LETTERS: usize = 2_048;

/// Calls of the engine's deadline in one turn, at most.
const DEADLINES: usize = 8;

/// What may be decided while a commit is under way, in units, runs and effects: the next decision
/// waits for the commit, so that a slow disk slows the callers down and does not fill the memory.
const PENDING: usize = 65_536;

/// The longest sleep: after it the clock is looked at again, in case somebody has set it.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// The store's thread, seen from the loop.
struct Committer {
    work: std_mpsc::Sender<Commit>,
    done: std_mpsc::Receiver<Result<(), StoreError>>,
    thread: JoinHandle<()>,
    /// What waits for the commit that is under way.
    waiting: Option<Released>,
}

impl Committer {
    fn start(store: Arc<dyn Store>, wake: Thread) -> Result<Self, Fatal> {
        let mut writer = Writer::open(store.as_ref())?;
        let (work, orders) = std_mpsc::channel::<Commit>();
        let (report, done) = std_mpsc::channel();
        let thread = thread::Builder::new().name("store".into()).spawn(move || {
            while let Ok(commit) = orders.recv() {
                let result = writer.write(store.as_ref(), &commit);
                let failed = result.is_err();
                let gone = report.send(result).is_err();
                wake.unpark();
                if gone || failed {
                    return;
                }
            }
        })?;
        Ok(Self { work, done, thread, waiting: None })
    }

    /// Hands over a commit, and what waits for it.
    fn commit(&mut self, commit: Commit, released: Released) -> Result<(), Fatal> {
        self.work.send(commit).map_err(|_| Fatal::ThreadEnded)?;
        self.waiting = Some(released);
        Ok(())
    }

    /// What the finished commit lets out, if it has finished.
    fn finished(&mut self) -> Result<Option<Released>, Fatal> {
        if self.waiting.is_none() {
            return Ok(None);
        }
        match self.done.try_recv() {
            Ok(result) => {
                result?;
                Ok(self.waiting.take())
            }
            Err(std_mpsc::TryRecvError::Empty) => Ok(None),
            Err(std_mpsc::TryRecvError::Disconnected) => Err(Fatal::ThreadEnded),
        }
    }
}

/// Why a node cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// A commit failed: what is durable is known again only after a restart.
    #[error("the store failed, so the node stops; restart it to recover: {0}")]
    Store(#[from] StoreError),
    /// A thread could not be started.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
    /// A thread has ended by itself: a fault in fleetcron.
    #[error("a thread of the node has ended; this is a fault in fleetcron")]
    ThreadEnded,
}

/// The loop and all it owns.
pub(super) struct Loop {
    core: Core,
    inbox: mpsc::Receiver<Letter>,
    clock: Arc<dyn Clock>,
    drift: Drift,
    committer: Committer,
    stopping: bool,
    /// The engine was told that the node stops, as the last of all.
    told_stop: bool,
}

impl Loop {
    pub(super) fn new(
        core: Core,
        inbox: mpsc::Receiver<Letter>,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
    ) -> Result<Self, Fatal> {
        let committer = Committer::start(store, thread::current())?;
        let drift = Drift::new(clock.now(), Instant::now());
        Ok(Self { core, inbox, clock, drift, committer, stopping: false, told_stop: false })
    }

    /// Runs until a letter says stop, or every handle is gone, or the store fails.
    pub(super) fn run(mut self) -> Result<(), Fatal> {
        loop {
            let now = self.look();
            let full = self.committer.waiting.is_some() && self.core.pending() >= PENDING;
            let due = !full && self.deadlines(now);
            let letters = !full && self.letters(now);
            let released = self.act(now)?;
            let idle = !due && !letters && !released;
            if self.stopping && idle && self.committer.waiting.is_none() {
                if self.told_stop {
                    return self.end();
                }
                self.told_stop = true;
                self.core.stopping(now);
            } else if idle {
                self.sleep(full);
            }
        }
    }

    /// The time now. That the clock was set since the last turn is told and counted.
    fn look(&mut self) -> Timestamp {
        let now = self.clock.now();
        if let Some(jump_ms) = self.drift.look(now, Instant::now()) {
            tracing::warn!(jump_ms, %now, "the clock has jumped");
            self.core.clock_jumped(now);
        }
        now
    }

    fn deadlines(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        for _ in 0..DEADLINES {
            if self.stopping || self.core.next_deadline().is_none_or(|at| at > now) {
                break;
            }
            self.core.deadline(now);
            any = true;
        }
        any
    }

    fn letters(&mut self, now: Timestamp) -> bool {
        for taken in 0..LETTERS {
            match self.inbox.try_recv() {
                Ok(Letter::Stop) | Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.stopping = true;
                    self.inbox.close();
                    return taken > 0;
                }
                Ok(letter) => self.core.receive(now, letter),
                Err(mpsc::error::TryRecvError::Empty) => return taken > 0,
            }
        }
        true
    }

    /// Releases what has become durable, and begins the next commit if none is under way.
    fn act(&mut self, now: Timestamp) -> Result<bool, Fatal> {
        let mut any = false;
        if let Some(released) = self.committer.finished()? {
            self.core.release(now, released);
            any = true;
        }
        if self.committer.waiting.is_some() {
            return Ok(any);
        }
        let (commit, released) = self.core.take();
        if commit.is_empty() {
            any |= !released.is_empty();
            self.core.release(now, released);
        } else {
            self.committer.commit(commit, released)?;
        }
        Ok(any)
    }

    /// Sleeps until something is due, or a letter or the end of a commit wakes it; with `full`
    /// until the end of the commit alone.
    fn sleep(&self, full: bool) {
        let now = self.clock.now();
        let until = self.core.next_deadline().filter(|_| !self.stopping && !full);
        let wait = until.map_or(LONGEST_SLEEP, |at| at.since(now).min(LONGEST_SLEEP));
        if !wait.is_zero() {
            thread::park_timeout(wait);
        }
    }

    fn end(mut self) -> Result<(), Fatal> {
        self.core.close_all();
        drop(self.committer.work);
        self.committer.thread.join().map_err(|_| Fatal::ThreadEnded)
    }
}
