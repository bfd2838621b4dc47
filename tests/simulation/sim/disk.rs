//! The server's store and the clients' journals, as far as they are durable.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetcron::client::journal::Medium;
use fleetcron::store::{Batch, Layer, MemoryStore, Store, StoreError};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::random::Random;
use super::world::lock;

/// The server's disk: what is here survives every crash.
pub(super) struct ServerDisk {
    pub(super) durable: MemoryStore,
    state: Arc<Mutex<DiskState>>,
}

struct DiskState {
    random: Random,
    /// No commit succeeds.
    full: bool,
    /// After so many batches, the machine dies.
    dies_after: Option<usize>,
    /// After so many batches, a commit fails.
    fails_after: Option<usize>,
    /// Until then commits take long.
    slow: Duration,
    /// It has died, and nothing is written any more until the next start.
    dead: bool,
}

impl ServerDisk {
    pub(super) fn new(random: Random) -> Self {
        let state = DiskState {
            random,
            full: false,
            dies_after: None,
            fails_after: None,
            slow: Duration::ZERO,
            dead: false,
        };
        Self { durable: MemoryStore::new(), state: Arc::new(Mutex::new(state)) }
    }

    /// The store as a process opens it.
    pub(super) fn open(&self) -> Arc<dyn Store> {
        lock(&self.state).dead = false;
        Arc::new(OpenStore { durable: self.durable.clone(), state: Arc::clone(&self.state) })
    }

    pub(super) fn set_full(&self, full: bool) {
        lock(&self.state).full = full;
    }

    pub(super) fn dies_after(&self, batches: usize) {
        lock(&self.state).dies_after = Some(batches);
    }

    pub(super) fn fails_after(&self, batches: usize) {
        lock(&self.state).fails_after = Some(batches);
    }

    /// From now on commits take up to so much longer.
    pub(super) fn slow_down(&self, most: Duration) {
        lock(&self.state).slow = most;
    }

    pub(super) fn heal(&self) {
        let mut state = lock(&self.state);
        (state.full, state.dies_after, state.fails_after) = (false, None, None);
        state.slow = Duration::ZERO;
    }

    /// Nothing dies any more by what was asked for before.
    pub(super) fn heal_death(&self) {
        lock(&self.state).dies_after = None;
    }

    /// Whether the machine has died in the middle of writing.
    pub(super) fn is_dead(&self) -> bool {
        lock(&self.state).dead
    }

    /// How long the next commit takes.
    pub(super) fn latency(&self) -> Duration {
        let mut state = lock(&self.state);
        let most = state.slow.max(Duration::from_millis(4));
        let most = usize::try_from(most.as_millis()).unwrap_or(usize::MAX);
        Duration::from_millis(state.random.below(most) as u64)
    }
}

/// A store of one process.
struct OpenStore {
    durable: MemoryStore,
    state: Arc<Mutex<DiskState>>,
}

/// Counts one down; tells whether it has come to its end.
fn comes(countdown: &mut Option<usize>) -> bool {
    match countdown {
        None => false,
        Some(0) => {
            *countdown = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
    }
}

impl Layer for OpenStore {
    fn below(&self) -> &dyn Store {
        &self.durable
    }

    fn commit_through(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        for batch in batches {
            if state.dead {
                return Err(StoreError::failed("commit", "the machine is dead"));
            }
            if comes(&mut state.dies_after) {
                state.dead = true;
                return Err(StoreError::failed("commit", "the machine died"));
            }
            if state.full {
                return Err(StoreError::failed("commit", "no space left on device"));
            }
            if comes(&mut state.fails_after) {
                // What failed may be there all the same.
                if state.random.chance(50) {
                    self.durable.commit(vec![batch])?;
                }
                return Err(StoreError::failed("commit", "input/output error"));
            }
            self.durable.commit(vec![batch])?;
        }
        Ok(())
    }
}

/// A client's disk with its journal.
#[derive(Clone)]
pub(super) struct JournalDisk(Arc<Mutex<JournalState>>);

struct JournalState {
    random: Random,
    /// What survives the loss of power.
    durable: Vec<u8>,
    /// What was written and not synced.
    written: Vec<u8>,
    /// The file before the last one was put in its place, while it is not sure to survive.
    before: Option<Vec<u8>>,
    /// The process that may write.
    process: u64,
    full: bool,
}

impl JournalDisk {
    pub(super) fn new(random: Random) -> Self {
        Self(Arc::new(Mutex::new(JournalState {
            random,
            durable: Vec::new(),
            written: Vec::new(),
            before: None,
            process: 0,
            full: false,
        })))
    }

    /// The journal as a new process opens it.
    pub(super) fn open(&self) -> Box<dyn Medium> {
        let mut state = lock(&self.0);
        state.process += 1;
        Box::new(OpenJournal { disk: self.clone(), process: state.process })
    }

    pub(super) fn set_full(&self, full: bool) {
        lock(&self.0).full = full;
    }

    /// The process has ended: what it has written is there.
    pub(super) fn process_ended(&self) {
        lock(&self.0).process += 1;
    }

    /// The machine has lost its power: of what was not synced, a part is there.
    pub(super) fn power_lost(&self) {
        let mut state = lock(&self.0);
        state.process += 1;
        let state = &mut *state;
        if let Some(before) = state.before.take()
            && state.random.chance(50)
        {
            state.durable = before;
            state.written.clear();
        }
        let kept = state.random.below(state.written.len() + 1);
        let kept = if state.random.chance(50) { 0 } else { kept };
        state.durable.extend_from_slice(&state.written[..kept]);
        state.written.clear();
    }
}

struct OpenJournal {
    disk: JournalDisk,
    process: u64,
}

impl OpenJournal {
    fn with<T>(&self, work: impl FnOnce(&mut JournalState) -> io::Result<T>) -> io::Result<T> {
        let mut state = lock(&self.disk.0);
        if state.process != self.process {
            return Err(io::Error::other("the process has ended"));
        }
        work(&mut state)
    }
}

fn no_space() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "no space left on device")
}

impl Medium for OpenJournal {
    fn path(&self) -> &Path {
        Path::new("simulated/journal")
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        self.with(|state| Ok([&state.durable[..], &state.written[..]].concat()))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|state| {
            if state.full {
                // A part of it may have found room.
                let part = state.random.below(bytes.len() + 1);
                state.written.extend_from_slice(&bytes[..part]);
                return Err(no_space());
            }
            state.written.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.with(|state| {
            let written = std::mem::take(&mut state.written);
            state.durable.extend(written);
            Ok(())
        })
    }

    fn cut(&mut self, length: u64, _: bool) -> io::Result<()> {
        self.with(|state| {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let durable = state.durable.len();
            state.written.truncate(length.saturating_sub(durable));
            state.durable.truncate(length);
            Ok(())
        })
    }

    fn replace(&mut self, pieces: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for piece in pieces {
            bytes.extend(piece?);
        }
        self.with(|state| {
            if state.full {
                return Err(no_space());
            }
            let old = std::mem::replace(&mut state.durable, bytes);
            state.before.get_or_insert(old);
            state.written.clear();
            Ok(())
        })
    }

    fn settle(&mut self) -> io::Result<()> {
        self.with(|state| {
            state.before = None;
            Ok(())
        })
    }

    fn before_write(&mut self) -> BoxFuture<'static, ()> {
        let latency = lock(&self.disk.0).random.below(6) as u64;
        tokio::time::sleep(Duration::from_millis(latency)).boxed()
    }
}
