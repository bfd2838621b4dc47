//! A store in memory for re-enacting: it keeps what an engine is restored from, and nothing of
//! what has ended.

use super::ReenactError;
use crate::engine::{Change, Engine};
use crate::id::Serial;
use crate::recording::{Found, Restored};
use crate::store::ledger::Head;
use crate::store::writer::{Commit, Writer};
use crate::store::{Entry, MemoryStore, Op, Order, Store, StoreError, key, records, walk};
use crate::time::Timestamp;

/// Entries that are copied at a time.
const COPIED: usize = 200;

/// The kinds of keys that an engine is restored from, beside those of open runs.
const RESTORED_FROM: [u8; 11] = [
    key::META,
    key::JOB,
    key::JOB_STATE,
    key::CLIENT,
    key::CLIENT_ID,
    key::PRESENCE,
    key::CALENDAR,
    key::REPEAT,
    key::REPLAY,
    key::OPEN,
    key::MARK,
];

/// A store in memory and the writer of its ledger.
pub(super) struct Scratch {
    store: MemoryStore,
    writer: Writer,
    /// The highest serial that an ended run has had: its record stays, since an engine goes on
    /// above it.
    highest: Option<Serial>,
}

impl Scratch {
    /// An empty one, or one with what an engine needs of another store.
    pub(super) fn of(base: Option<&dyn Store>) -> Result<Self, StoreError> {
        let store = MemoryStore::new();
        crate::store::prepare(&store)?;
        if let Some(base) = base {
            copy(base, &store)?;
        }
        let writer = Writer::open(&store)?;
        Ok(Self { store, writer, highest: None })
    }

    /// Where the ledger goes on.
    pub(super) fn head(&self) -> Head {
        self.writer.head()
    }

    /// An engine that goes on from what is here, which must be what the recorded one found.
    pub(super) fn restart(
        &mut self,
        commit: u64,
        how: &Restored,
        now: Timestamp,
    ) -> Result<Engine, ReenactError> {
        let snapshot = records::load(&self.store)?;
        self.writer = Writer::open(&self.store)?;
        let (recorded, here) = (how.found, Found::of(&snapshot));
        if recorded != here {
            return Err(ReenactError::Elsewhere { commit, recorded, here });
        }
        Ok(how.engine(snapshot, now))
    }

    /// The same, where what happened may have been something else.
    pub(super) fn restart_anyhow(
        &mut self,
        how: &Restored,
        now: Timestamp,
    ) -> Result<Engine, StoreError> {
        let snapshot = records::load(&self.store)?;
        self.writer = Writer::open(&self.store)?;
        Ok(how.engine(snapshot, now))
    }

    /// Writes the first parts of a commit; gives its pages of the ledger, and how many parts it
    /// has in all.
    pub(super) fn write(
        &mut self,
        commit: &Commit,
        most: usize,
    ) -> Result<(Vec<Entry>, usize), StoreError> {
        let first = self.head().next_event;
        let parts = self.writer.write_parts(&self.store, commit, most)?;
        let pages = pages_from(&self.store, first)?;
        self.tidy(commit, &pages)?;
        Ok((pages, parts))
    }

    /// Forgets what no engine is restored from.
    fn tidy(&mut self, commit: &Commit, pages: &[Entry]) -> Result<(), StoreError> {
        let mut ops = Vec::new();
        let all = key::all(key::INPUTS);
        for (key, _) in self.store.scan(&all.start..&all.end, Order::Up, usize::MAX)? {
            ops.push(Op::Delete(key));
        }
        // The last page is kept: the ledger goes on from it.
        if let Some((last, _)) = pages.last() {
            let before = key::all(key::LEDGER).start..last.clone();
            for entry in walk(&self.store, before, Order::Up) {
                ops.push(Op::Delete(entry?.0));
            }
        }
        for change in commit.units.iter().flatten() {
            if let Change::PutRun(run) = change
                && run.ended_at.is_some()
            {
                ops.push(Op::Delete(key::ended(run.job_id, run.serial)));
                self.forget(run.serial, &mut ops)?;
            }
        }
        self.store.commit(vec![ops])
    }

    fn forget(&mut self, serial: Serial, ops: &mut Vec<Op>) -> Result<(), StoreError> {
        for kind in [key::PAGE, key::RESULT, key::LATE] {
            for entry in walk(&self.store, key::of_run(kind, serial), Order::Up) {
                ops.push(Op::Delete(entry?.0));
            }
        }
        let lower = match self.highest {
            Some(highest) if highest > serial => Some(serial),
            before => {
                self.highest = Some(serial);
                before.filter(|before| *before != serial)
            }
        };
        ops.extend(lower.map(|lower| Op::Delete(key::run(lower))));
        Ok(())
    }
}

/// The pages of a store's ledger from an event on.
fn pages_from(store: &dyn Store, first: u64) -> Result<Vec<Entry>, StoreError> {
    let end = key::all(key::LEDGER).end;
    store.scan(&key::ledger(first)..&end, Order::Up, usize::MAX)
}

/// Copies what an engine is restored from, and the end of the ledger.
fn copy(from: &dyn Store, to: &MemoryStore) -> Result<(), StoreError> {
    let mut batch = Vec::new();
    let mut put = |(key, value): Entry, last: bool| {
        batch.push(Op::Put(key, value));
        if batch.len() >= COPIED || last {
            to.commit(vec![std::mem::take(&mut batch)])
        } else {
            Ok(())
        }
    };
    for kind in RESTORED_FROM {
        for entry in walk(from, key::all(kind), Order::Up) {
            put(entry?, false)?;
        }
    }
    for serial in records::open_serials(from)? {
        for kind in [key::RUN, key::PAGE, key::RESULT, key::LATE] {
            for entry in walk(from, key::of_run(kind, serial), Order::Up) {
                put(entry?, false)?;
            }
        }
    }
    for kind in [key::RUN, key::LEDGER] {
        let all = key::all(kind);
        for entry in from.scan(&all.start..&all.end, Order::Down, 1)? {
            put(entry, true)?;
        }
    }
    Ok(())
}
