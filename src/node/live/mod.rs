//! What running commands let be seen: the last progress and a tail of the output of each open
//! delivery, and those who watch.
//!
//! Nothing here is decided or recorded, so neither the engine nor the store knows of it, and no
//! piece of output takes a place in the node's inbox: the connection of a client asks once for a
//! delivery, and writes to it from then on. Promises: what is held is bounded ([`TAIL`],
//! [`TAILS`], [`DELIVERIES`], [`BEHIND`]), and nobody who writes waits for those who watch.
//! Imports the domain types.

mod tail;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use self::tail::Tail;
use self::watch::Watcher;
use crate::id::{ClientId, Serial};
use crate::live::{Live, Piece, Progress};

pub use watch::{Watch, WatchEnd};

/// What is kept of one delivery's output, in bytes; the oldest goes first.
pub const TAIL: usize = 16 * 1024;

/// What is kept of all deliveries' output, in bytes; the tail that was begun first goes first.
pub const TAILS: usize = 64 * 1024 * 1024;

/// Open deliveries of which something is seen; of further ones nothing is.
pub const DELIVERIES: usize = 65_536;

/// What a watcher may be behind, in bytes; it misses what comes then, and is told how much.
pub const BEHIND: usize = 256 * 1024;

/// All that can be seen of open deliveries. Cheap to clone.
///
/// Locks are taken in this order: the board's, a delivery's, a watcher's.
#[derive(Debug, Clone, Default)]
pub struct LiveBoard(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    board: Mutex<Board>,
    /// Runs on the board: most of the time there are none, and then nobody takes its lock.
    runs: AtomicUsize,
    /// Bytes of all tails.
    bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Board {
    runs: HashMap<Serial, RunLive>,
    deliveries: usize,
    /// Deliveries with a tail, in the order in which these were begun.
    tails: BTreeMap<u64, Arc<LiveDelivery>>,
    last_tail: u64,
    stopped: bool,
}

/// What is seen of a run, and by whom.
#[derive(Debug, Default)]
struct RunLive {
    deliveries: BTreeMap<ClientId, Arc<LiveDelivery>>,
    watchers: Vec<Weak<Watcher>>,
}

/// Where a client's connection puts what is seen of one delivery.
#[derive(Debug)]
pub struct LiveDelivery {
    client: ClientId,
    attempt: u32,
    shared: Weak<Shared>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    progress: Option<Progress>,
    tail: Tail,
    /// The place among the tails.
    place: Option<u64>,
    watchers: Vec<Weak<Watcher>>,
    closed: bool,
}

/// Locks; no code that holds one of these locks panics half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LiveBoard {
    /// The place of a delivery that is in flight; `None`: there are [`DELIVERIES`] already. A
    /// further attempt takes the place of the one before.
    #[must_use]
    pub fn open(
        &self,
        serial: Serial,
        client: &ClientId,
        attempt: u32,
    ) -> Option<Arc<LiveDelivery>> {
        let mut board = lock(&self.0.board);
        let known = board.runs.get(&serial).and_then(|run| run.deliveries.get(client)).cloned();
        match known {
            Some(known) if known.attempt == attempt => return Some(known),
            Some(_) => self.0.remove(&mut board, serial, client),
            None => {}
        }
        if board.deliveries >= DELIVERIES || board.stopped {
            return None;
        }
        board.deliveries += 1;
        let run = board.runs.entry(serial).or_default();
        let wants = |watcher: &&Weak<Watcher>| {
            watcher.upgrade().is_some_and(|watcher| watcher.wants(client))
        };
        let watchers = run.watchers.iter().filter(wants).cloned().collect();
        let delivery = Arc::new(LiveDelivery {
            client: client.clone(),
            attempt,
            shared: Arc::downgrade(&self.0),
            state: Mutex::new(State { watchers, ..State::default() }),
        });
        run.deliveries.insert(client.clone(), Arc::clone(&delivery));
        self.0.count_runs(&board);
        Some(delivery)
    }

    /// A delivery's attempt has ended: what was seen of it is forgotten.
    pub fn close(&self, serial: Serial, client: &ClientId) {
        if self.0.runs.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut board = lock(&self.0.board);
        self.0.remove(&mut board, serial, client);
        board.forget_if_empty(serial);
        self.0.count_runs(&board);
    }

    /// A run has ended, and with it those who watch it.
    pub fn close_run(&self, serial: Serial) {
        if self.0.runs.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut board = lock(&self.0.board);
        let clients = |run: &RunLive| run.deliveries.keys().cloned().collect::<Vec<_>>();
        for client in board.runs.get(&serial).map(clients).unwrap_or_default() {
            self.0.remove(&mut board, serial, &client);
        }
        if let Some(run) = board.runs.remove(&serial) {
            run.end(WatchEnd::RunEnded);
        }
        self.0.count_runs(&board);
    }

    /// The node stops: everything is forgotten, and everybody who watches is told.
    pub fn stop(&self) {
        let mut board = lock(&self.0.board);
        let runs = std::mem::take(&mut *board).runs;
        board.stopped = true;
        self.0.count_runs(&board);
        drop(board);
        for run in runs.into_values() {
            for delivery in run.deliveries.values() {
                lock(&delivery.state).forget(&self.0);
            }
            run.end(WatchEnd::Stopped);
        }
    }

    /// The last progress of each delivery of a run that has told one.
    #[must_use]
    pub fn progress(&self, serial: Serial) -> BTreeMap<ClientId, Progress> {
        let board = lock(&self.0.board);
        let Some(run) = board.runs.get(&serial) else { return BTreeMap::new() };
        let progress = |(client, delivery): (&ClientId, &Arc<LiveDelivery>)| {
            Some((client.clone(), lock(&delivery.state).progress.clone()?))
        };
        run.deliveries.iter().filter_map(progress).collect()
    }

    /// Bytes of output that are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.0.bytes.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn count_runs(&self, board: &Board) {
        self.runs.store(board.runs.len(), Ordering::SeqCst);
    }

    fn remove(&self, board: &mut Board, serial: Serial, client: &ClientId) {
        let run = board.runs.get_mut(&serial);
        let Some(delivery) = run.and_then(|run| run.deliveries.remove(client)) else { return };
        board.deliveries -= 1;
        let place = delivery.close(self);
        place.and_then(|place| board.tails.remove(&place));
    }

    /// Gives a tail its place, and makes room for it if need be.
    fn tail_begins(&self, delivery: &Arc<LiveDelivery>) {
        let mut board = lock(&self.board);
        let mut state = lock(&delivery.state);
        if !state.closed && state.place.is_none() {
            board.last_tail += 1;
            let place = board.last_tail;
            state.place = Some(place);
            board.tails.insert(place, Arc::clone(delivery));
        }
    }

    fn make_room(&self, most: usize) {
        let mut board = lock(&self.board);
        while self.bytes.load(Ordering::SeqCst) > most {
            let Some((_, oldest)) = board.tails.pop_first() else { return };
            let mut state = lock(&oldest.state);
            state.place = None;
            self.bytes.fetch_sub(state.tail.clear(), Ordering::SeqCst);
        }
    }
}

impl Board {
    fn forget_if_empty(&mut self, serial: Serial) {
        let Some(run) = self.runs.get_mut(&serial) else { return };
        run.watchers.retain(|watcher| watcher.strong_count() > 0);
        if run.deliveries.is_empty() && run.watchers.is_empty() {
            self.runs.remove(&serial);
        }
    }
}

impl RunLive {
    fn end(&self, end: WatchEnd) {
        self.watchers.iter().filter_map(Weak::upgrade).for_each(|watcher| watcher.end(end));
    }
}

impl LiveDelivery {
    /// The command is so far. `false`: the delivery has ended.
    pub fn progress(&self, progress: Progress) -> bool {
        let mut state = lock(&self.state);
        if state.closed {
            return false;
        }
        let (client, attempt) = (self.client.clone(), self.attempt);
        state.progress = Some(progress.clone());
        state.show(|| Live::Progress { client, attempt, progress });
        true
    }

    /// The command printed something. `false`: the delivery has ended.
    pub fn output(self: &Arc<Self>, piece: Piece) -> bool {
        let Some(shared) = self.shared.upgrade() else { return false };
        let mut state = lock(&self.state);
        if state.closed {
            return false;
        }
        state.show(|| self.shown(piece.clone()));
        let before = state.tail.cost();
        state.tail.push(piece, TAIL);
        let after = state.tail.cost();
        let begins = state.place.is_none();
        // Under the delivery's lock, so that a count never goes below what was added to it.
        let all = match after.checked_sub(before) {
            Some(more) => shared.bytes.fetch_add(more, Ordering::SeqCst) + more,
            None => shared.bytes.fetch_sub(before - after, Ordering::SeqCst),
        };
        drop(state);
        if begins {
            shared.tail_begins(self);
        }
        if all > TAILS {
            shared.make_room(TAILS);
        }
        true
    }

    /// Whether the delivery has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    fn shown(&self, piece: Piece) -> Live {
        Live::Output { client: self.client.clone(), attempt: self.attempt, piece }
    }

    /// Shows a watcher what is kept, and from then on what comes.
    fn join(&self, watcher: &Arc<Watcher>) {
        let mut state = lock(&self.state);
        if state.closed {
            return;
        }
        let (client, attempt) = (self.client.clone(), self.attempt);
        if let Some(progress) = state.progress.clone() {
            watcher.push(Arc::new(Live::Progress { client, attempt, progress }));
        }
        for piece in state.tail.pieces() {
            watcher.push(Arc::new(self.shown(piece.clone())));
        }
        state.watchers.push(Arc::downgrade(watcher));
    }

    /// Ends it, and gives its place among the tails.
    fn close(&self, shared: &Shared) -> Option<u64> {
        let mut state = lock(&self.state);
        let (client, attempt) = (self.client.clone(), self.attempt);
        state.show(|| Live::Ended { client, attempt });
        state.forget(shared)
    }
}

impl State {
    /// Takes nothing more in, and gives its place among the tails.
    fn forget(&mut self, shared: &Shared) -> Option<u64> {
        self.closed = true;
        self.watchers = Vec::new();
        shared.bytes.fetch_sub(self.tail.clear(), Ordering::SeqCst);
        self.place.take()
    }

    /// Hands something to all who watch; it is made only if there are such.
    fn show(&mut self, live: impl FnOnce() -> Live) {
        self.watchers.retain(|watcher| watcher.strong_count() > 0);
        if self.watchers.is_empty() {
            return;
        }
        let live = Arc::new(live());
        for watcher in self.watchers.iter().filter_map(Weak::upgrade) {
            watcher.push(Arc::clone(&live));
        }
    }
}
