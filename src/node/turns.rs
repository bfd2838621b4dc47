//! What one turn of the loop does, whoever drives it: look at the clock, do what is due, take in
//! letters, release what has become durable, begin the next commit.
//!
//! Nothing here waits, so that a thread ([`super::run_loop`]) and a simulation
//! ([`super::stepped`]) run the same.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::core::{Core, Released};
use super::drift::Drift;
use super::link::Letter;
use super::run_loop::Fatal;
use crate::store::StoreError;
use crate::store::writer::Commit;
use crate::time::Timestamp;

/// Letters that one turn takes in, at most.
const LETTERS: usize = 2_048;

/// Calls of the engine's deadline in one turn, at most.
const DEADLINES: usize = 8;

/// What may be decided while a commit is under way, in units, runs and effects: the next decision
/// waits for the commit, so that a slow disk slows the callers down and does not fill the memory.
const PENDING: usize = 65_536;

/// The longest wait: after it the clock is looked at again, in case somebody has set it.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Where commits are made durable, one at a time.
pub(super) trait Commits {
    /// Begins a commit; none is under way.
    fn begin(&mut self, commit: Commit) -> Result<(), Fatal>;

    /// How the commit under way has ended, if it has; it is told once.
    fn ended(&mut self) -> Result<Option<Result<(), StoreError>>, Fatal>;
}

/// What a turn comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// There may be more to do at once.
    Again,
    /// Nothing is to do before a letter comes, the commit ends, or this moment.
    Wait(Option<Timestamp>),
    /// All is done: the node has stopped.
    End,
}

impl Next {
    /// How long to wait at `now`; at most until the clock is to be looked at again.
    pub(super) fn wait(until: Option<Timestamp>, now: Timestamp) -> Duration {
        until.map_or(LONGEST_WAIT, |at| at.since(now).min(LONGEST_WAIT))
    }
}

/// The loop's state.
pub(super) struct Turns<C> {
    core: Core,
    inbox: mpsc::Receiver<Letter>,
    drift: Drift,
    pub(super) commits: C,
    /// What waits for the commit that is under way.
    waiting: Option<Released>,
    stopping: bool,
    /// The engine was told that the node stops, as the last of all.
    told_stop: bool,
}

impl<C: Commits> Turns<C> {
    pub(super) fn new(
        core: Core,
        inbox: mpsc::Receiver<Letter>,
        (now, steady): (Timestamp, Instant),
        commits: C,
    ) -> Self {
        let drift = Drift::new(now, steady);
        Self { core, inbox, drift, commits, waiting: None, stopping: false, told_stop: false }
    }

    /// One turn at a moment of both clocks.
    pub(super) fn turn(&mut self, now: Timestamp, steady: Instant) -> Result<Next, Fatal> {
        self.look(now, steady);
        let full = self.waiting.is_some() && self.core.pending() >= PENDING;
        let due = !full && self.deadlines(now);
        let letters = !full && self.letters(now);
        let released = self.act(now)?;
        if due || letters || released {
            return Ok(Next::Again);
        }
        if self.stopping && self.waiting.is_none() {
            if self.told_stop {
                self.core.close_all();
                return Ok(Next::End);
            }
            self.told_stop = true;
            self.core.stopping(now);
            return Ok(Next::Again);
        }
        // With too much decided, only the end of the commit is waited for.
        Ok(Next::Wait(self.core.next_deadline().filter(|_| !self.stopping && !full)))
    }

    /// Takes in no more than what has arrived, makes it durable and ends.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.inbox.close();
    }

    /// Whether a commit is under way.
    pub(super) fn is_committing(&self) -> bool {
        self.waiting.is_some()
    }

    /// That the clock was set since the last turn is told and counted.
    fn look(&mut self, now: Timestamp, steady: Instant) {
        if let Some(jump_ms) = self.drift.look(now, steady) {
            tracing::warn!(jump_ms, %now, "the clock has jumped");
            self.core.clock_jumped(now);
        }
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
                    self.stop();
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
        if self.waiting.is_some() {
            let Some(ended) = self.commits.ended()? else { return Ok(false) };
            ended?;
            if let Some(released) = self.waiting.take() {
                self.core.release(now, released);
            }
            any = true;
        }
        let (commit, released) = self.core.take();
        if commit.is_empty() {
            any |= !released.is_empty();
            self.core.release(now, released);
        } else {
            self.commits.begin(commit)?;
            self.waiting = Some(if bug!(ReleasedBeforeCommit) {
                self.core.release(now, released);
                Released::default()
            } else {
                released
            });
        }
        Ok(any)
    }
}
