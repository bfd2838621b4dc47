//! A node without threads, for simulations: whoever holds it takes its turns and makes its
//! commits, on a clock and a store of his own.
//!
//! Promises: it is the node of [`Node`](super::Node) in all that it decides, stores and sends; it
//! does nothing between two calls; with the same seed, the same clock and the same letters in the
//! same order it does the same.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::entropy::Entropy;
use super::handle::Place;
use super::turns::{Commits, Next, Turns};
use super::{Assembled, Fatal, Handle, Options, assemble};
use crate::store::writer::{Commit, Writer};
use crate::store::{Store, StoreError};
use crate::time::Clock;

/// What a turn comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// There may be more to do at once: take the next turn.
    Again,
    /// Take the next turn when the waker was called, after a commit, or after this time, whichever
    /// comes first.
    Wait(Duration),
    /// The node has stopped in order.
    Ended,
}

/// A node that does nothing by itself. Dropped, it ends as a process that is killed does: what
/// was not committed is gone, and whoever waits for an answer gets
/// [`CallError::Stopped`](super::CallError::Stopped).
///
/// ```
/// use std::sync::Arc;
/// use std::task::Waker;
/// use std::time::Instant;
///
/// use fleetcron::node::{Options, Stepped, Turn};
/// use fleetcron::store::MemoryStore;
/// use fleetcron::time::SystemClock;
///
/// let store = Arc::new(MemoryStore::new());
/// let clocks = (Arc::new(SystemClock) as Arc<_>, Instant::now());
/// let (mut node, handle) = Stepped::start(store, clocks, Options::default(), 7, Waker::noop())?;
/// drop(handle);
/// node.stop();
/// loop {
///     match node.turn(Instant::now())? {
///         Turn::Again => {}
///         Turn::Wait(_) if node.is_committing() => node.commit(),
///         Turn::Wait(_) => unreachable!("nothing else is to come"),
///         Turn::Ended => break,
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Stepped {
    turns: Turns<Held>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

/// A commit that waits to be made, or was made.
struct Held {
    writer: Writer,
    commit: Option<Commit>,
    ended: Option<Result<(), StoreError>>,
}

impl Commits for Held {
    fn begin(&mut self, commit: Commit) -> Result<(), Fatal> {
        self.commit = Some(commit);
        Ok(())
    }

    fn ended(&mut self) -> Result<Option<Result<(), StoreError>>, Fatal> {
        Ok(self.ended.take())
    }
}

impl std::fmt::Debug for Stepped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stepped").finish_non_exhaustive()
    }
}

impl Stepped {
    /// A node on a store, which is made ready and read here. Serials and job numbers take their
    /// random bits from `seed`: give each start another one. `steady` is the time by a clock that
    /// nobody sets, as in [`Stepped::turn`]. `waker` is called when a letter comes. What its handle
    /// reads, it reads where it is asked, and blocks for it.
    pub fn start(
        store: Arc<dyn Store>,
        (clock, steady): (Arc<dyn Clock>, Instant),
        options: Options,
        seed: u64,
        waker: &Waker,
    ) -> Result<(Self, Handle), StoreError> {
        let entropy = Entropy::seeded(seed);
        let Assembled { core, letters, mut handle } =
            assemble(store, Arc::clone(&clock), options, entropy)?;
        handle.waker.clone_from(waker);
        handle.place = Place::Here;
        let store = Arc::clone(&handle.store);
        let writer = Writer::open(store.as_ref())?;
        let held = Held { writer, commit: None, ended: None };
        let turns = Turns::new(core, letters, (clock.now(), steady), held);
        Ok((Self { turns, store, clock }, handle))
    }

    /// One turn; `steady` is the time by a clock that nobody sets.
    pub fn turn(&mut self, steady: Instant) -> Result<Turn, Fatal> {
        let now = self.clock.now();
        Ok(match self.turns.turn(now, steady)? {
            Next::Again => Turn::Again,
            Next::Wait(until) => Turn::Wait(Next::wait(until.map(|at| at.since(now)))),
            Next::End => Turn::Ended,
        })
    }

    /// Whether a commit is to be made, or was made and the next turn deals with it.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        self.turns.is_committing()
    }

    /// Makes the commit, if there is one to be made. What waits for it leaves with the next turn,
    /// which also tells if it has failed.
    pub fn commit(&mut self) {
        let held = &mut self.turns.commits;
        if let Some(commit) = held.commit.take() {
            held.ended = Some(held.writer.write(self.store.as_ref(), &commit));
        }
    }

    /// Stops in order: takes in what has arrived, and ends once that is durable. Go on with turns
    /// and commits until [`Turn::Ended`].
    pub fn stop(&mut self) {
        self.turns.stop();
    }
}
