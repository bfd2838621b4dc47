//! The store in memory below a re-enacted engine: of what is written to it it keeps what an engine
//! is restored from and what the ledger goes on from, and drops the rest at once.
//!
//! Promises: recorded inputs, lists of ended runs and pages of the ledger before the last are not
//! kept, nor is what there is of a run once it has ended, but for the record of the highest of
//! these, since an engine goes on above it. Pages of the ledger are handed out before. Imports the
//! store and the engine's changes.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::Change;
use crate::id::Serial;
use crate::store::{Batch, Entry, Layer, MemoryStore, Op, Order, Store, StoreError, key, walk};

/// The kinds of keys under which lie the responses of a run.
const RESPONSES: [u8; 3] = [key::PAGE, key::RESULT, key::LATE];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Kept {
    store: MemoryStore,
    seen: Mutex<Seen>,
}

/// What went by.
#[derive(Debug, Default)]
struct Seen {
    /// Pages of the ledger since they were last taken.
    pages: Vec<Entry>,
    /// The last page of the ledger that is kept.
    last_page: Option<Vec<u8>>,
    /// The runs whose records are about to be put, in this order: whether each has ended.
    ends: VecDeque<(Serial, bool)>,
    /// Runs of which there are responses.
    answered: HashSet<Serial>,
    /// The highest serial that an ended run has had.
    highest: Option<Serial>,
}

impl Kept {
    /// Units are about to be written: which of their runs have ended is not told by the keys.
    pub(super) fn expect(&self, units: &[Vec<Change>]) {
        let ends = units.iter().flatten().filter_map(|change| match change {
            Change::PutRun(run) => Some((run.serial, run.ended_at.is_some())),
            _ => None,
        });
        self.seen().ends = ends.collect();
    }

    /// The pages of the ledger that were written since they were last taken, the first first.
    pub(super) fn take_pages(&self) -> Vec<Entry> {
        std::mem::take(&mut self.seen().pages)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layer for Kept {
    fn below(&self) -> &dyn Store {
        &self.store
    }

    fn commit_through(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        let mut seen = self.seen();
        let (mut kept, mut ended) = (Vec::new(), Vec::new());
        for op in batches.into_iter().flatten() {
            seen.sort(op, &mut kept, &mut ended);
        }
        seen.keep_last_page(&mut kept);
        self.store.commit(vec![kept])?;
        let mut gone = Vec::new();
        for serial in ended.into_iter().filter(|serial| seen.answered.remove(serial)) {
            for kind in RESPONSES {
                for entry in walk(&self.store, key::of_run(kind, serial), Order::Up) {
                    gone.push(Op::Delete(entry?.0));
                }
            }
        }
        if gone.is_empty() { Ok(()) } else { self.store.commit(vec![gone]) }
    }
}

impl Seen {
    /// Keeps an operation or drops it, and notes runs that have ended.
    fn sort(&mut self, op: Op, kept: &mut Vec<Op>, ended: &mut Vec<Serial>) {
        let Op::Put(key, value) = op else { return kept.push(op) };
        match key.first().copied() {
            Some(key::INPUTS) => return,
            Some(key::DERIVED) if key::ended_in(&key).is_some() => return,
            Some(key::LEDGER) => return self.pages.push((key, value)),
            Some(key::RUN) => {
                if let Some(serial) = self.ended(&key) {
                    ended.push(serial);
                    return self.place(serial, Op::Put(key, value), kept);
                }
            }
            Some(kind) if RESPONSES.contains(&kind) => self.answered.extend(key::serial_in(&key)),
            _ => {}
        }
        kept.push(Op::Put(key, value));
    }

    /// The run whose record is put, if it has ended.
    fn ended(&mut self, key: &[u8]) -> Option<Serial> {
        let (serial, ended) = *self.ends.front()?;
        // What forgets a part of a run puts its record, too.
        if key::serial_in(key) != Some(serial) {
            return None;
        }
        self.ends.pop_front();
        ended.then_some(serial)
    }

    /// What becomes of the record of an ended run, and of the one that was the highest.
    fn place(&mut self, serial: Serial, put: Op, kept: &mut Vec<Op>) {
        if self.highest.is_some_and(|highest| highest > serial) {
            return kept.push(Op::Delete(key::run(serial)));
        }
        kept.push(put);
        let lower = self.highest.replace(serial).filter(|lower| *lower != serial);
        kept.extend(lower.map(|lower| Op::Delete(key::run(lower))));
    }

    /// The ledger goes on from its last page.
    fn keep_last_page(&mut self, kept: &mut Vec<Op>) {
        if let Some((key, value)) = self.pages.last().cloned() {
            let before = self.last_page.replace(key.clone());
            kept.extend(before.filter(|before| *before != key).map(Op::Delete));
            kept.push(Op::Put(key, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::PageEntry;
    use crate::id::ClientNo;
    use crate::run::{Outcome, Run};
    use crate::store::records::tests::{a_run, at, serial};
    use crate::store::writer::{Commit, Writer};

    fn put(n: i64, ended: bool) -> Change {
        let own = a_run(n, 3);
        Change::PutRun(Arc::new(Run { ended_at: ended.then(|| at(n + 5)), ..own }))
    }

    fn answered(n: i64) -> Change {
        let outcome = Outcome::succeeded(crate::Json::empty());
        let entry =
            PageEntry { client: ClientNo(1), at: at(n), attempt: 1, retried: false, outcome };
        Change::PutPage { serial: serial(n), page: 0, entries: vec![entry] }
    }

    /// Writes the first parts of a commit, and tells the pages of the ledger.
    fn write(kept: &Kept, writer: &mut Writer, units: Vec<Vec<Change>>, most: usize) -> usize {
        kept.expect(&units);
        let commit = Commit { units, inputs: vec![1; 100], ..Commit::default() };
        writer.write_parts(kept, &commit, most).unwrap();
        kept.take_pages().len()
    }

    fn count(kept: &Kept, kind: u8) -> usize {
        walk(kept, key::all(kind), Order::Up).count()
    }

    fn runs(kept: &Kept) -> Vec<Serial> {
        let keys = walk(kept, key::all(key::RUN), Order::Up);
        keys.filter_map(|entry| key::serial_in(&entry.unwrap().0)).collect()
    }

    #[test]
    fn nothing_is_kept_of_what_has_ended_but_the_highest_record() {
        let kept = Kept::default();
        let mut writer = Writer::open(&kept).unwrap();
        let open = (1..=4).map(|n| vec![put(n, false), answered(n)]).collect();
        assert_eq!(write(&kept, &mut writer, open, usize::MAX), 1);
        assert_eq!((count(&kept, key::RUN), count(&kept, key::PAGE)), (4, 4));
        let ended = vec![vec![put(3, true), answered(3)], vec![put(1, true)], vec![put(2, true)]];
        assert_eq!(write(&kept, &mut writer, ended, usize::MAX), 1);
        assert_eq!(runs(&kept), [serial(3), serial(4)]);
        assert_eq!(count(&kept, key::PAGE), 1);
        assert_eq!(write(&kept, &mut writer, vec![vec![put(4, true)]], usize::MAX), 1);
        assert_eq!(runs(&kept), [serial(4)]);
        let kinds = [key::PAGE, key::INPUTS, key::DERIVED, key::LEDGER];
        assert_eq!(kinds.map(|kind| count(&kept, kind)), [0, 0, 0, 1]);
        assert_eq!(Writer::open(&kept).unwrap().head(), writer.head());
    }

    #[test]
    fn a_run_whose_end_a_crash_has_cut_off_stays_open() {
        let kept = Kept::default();
        let mut writer = Writer::open(&kept).unwrap();
        let open = (1..=2).map(|n| vec![put(n, false), answered(n)]).collect();
        write(&kept, &mut writer, open, usize::MAX);
        // What forgets is a part of its own.
        let forget = Change::ForgetRun(serial(0));
        let units = vec![vec![put(1, true)], vec![forget], vec![put(2, true)]];
        assert_eq!(write(&kept, &mut writer, units, 2), 2);
        assert_eq!(runs(&kept), [serial(1), serial(2)]);
        assert_eq!(count(&kept, key::PAGE), 1);
    }
}
