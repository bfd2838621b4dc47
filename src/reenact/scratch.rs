//! What a re-enacted engine writes to and is restored from: a store in memory with its ledger.

use super::ReenactError;
use super::kept::Kept;
use crate::engine::Engine;
use crate::recording::{Found, Restored};
use crate::store::ledger::Head;
use crate::store::writer::{Commit, Writer};
use crate::store::{Entry, Op, Order, Store, StoreError, key, records, walk};
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
    store: Kept,
    writer: Writer,
}

impl Scratch {
    /// An empty one, or one with what an engine needs of another store.
    pub(super) fn of(base: Option<&dyn Store>) -> Result<Self, StoreError> {
        let store = Kept::default();
        crate::store::prepare(&store)?;
        if let Some(base) = base {
            copy(base, &store)?;
        }
        let writer = Writer::open(&store)?;
        // Pages of the other store are none of a commit.
        store.take_pages();
        Ok(Self { store, writer })
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
        self.store.expect(&commit.units);
        let parts = self.writer.write_parts(&self.store, commit, most)?;
        Ok((self.store.take_pages(), parts))
    }
}

/// Copies what an engine is restored from, and the end of the ledger.
fn copy(from: &dyn Store, to: &Kept) -> Result<(), StoreError> {
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
