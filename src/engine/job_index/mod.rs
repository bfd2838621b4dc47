//! The numbers, names and due times of all jobs, in little memory.
//!
//! A store may hold ten million jobs, of which few are due soon. What is in memory of each of them
//! decides how many a machine can hold, so it is packed: a job has a slot in columns of fixed pieces
//! ([`slots`]), and three orders of slot numbers of 4 bytes ([`sorted`]) find it by its number, its
//! name and its due time. A job takes some 45 bytes beside its name.
//!
//! Promises: the same answers as ordered maps of these three would give; no operation takes longer
//! than moving some thousand slot numbers. Imports the identifiers.

use std::cmp::Ordering;
use std::ops::Bound::{self, Excluded, Included, Unbounded};

use crate::id::JobId;
use crate::time::Timestamp;

mod slots;
mod sorted;
#[cfg(test)]
mod tests;

pub(super) use slots::Slots;
use sorted::{Place, Sorted};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct JobIndex {
    slots: Slots,
    by_id: Sorted,
    by_name: Sorted,
    /// Those that are due at some time.
    by_due: Sorted,
}

impl JobIndex {
    /// Takes in many jobs at once; it has none of them.
    pub(super) fn restore(&mut self, mut slots: Slots) {
        for slot in self.by_id.iter_from(Place::START) {
            slots.add(self.slots.id(slot), self.slots.name(slot), self.slots.due(slot));
        }
        // They come rising, and from the middle on falling, which a stable sort finds.
        let all = || (0..slots.len()).collect::<Vec<u32>>();
        let mut by_id = all();
        by_id.sort_by_key(|slot| slots.id(*slot));
        self.by_id = Sorted::of(&by_id);
        by_id.retain(|slot| slots.due(*slot).is_some());
        by_id.sort_by_key(|slot| (slots.due(*slot), slots.id(*slot)));
        self.by_due = Sorted::of(&by_id);
        drop(by_id);
        let mut by_name = all();
        by_name.sort_by_key(|slot| slots.name(*slot));
        self.by_name = Sorted::of(&by_name);
        self.slots = slots;
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many are due at some time.
    pub(super) fn active(&self) -> usize {
        self.by_due.len()
    }

    pub(super) fn contains(&self, id: JobId) -> bool {
        self.slot(id).is_some()
    }

    /// The job of a name.
    pub(super) fn find(&self, name: &str) -> Option<JobId> {
        let at = self.by_name.find(|slot| self.slots.name(slot).cmp(name)).ok()?;
        self.by_name.get(at).map(|slot| self.slots.id(slot))
    }

    /// Jobs in the order of their names.
    pub(super) fn from(&self, start: Bound<&str>) -> impl Iterator<Item = (&str, JobId)> {
        let at = match start {
            Unbounded => Place::START,
            Included(first) => self.first_from(|name| name.cmp(first)),
            Excluded(last) => self.first_from(|name| name.cmp(last).then(Ordering::Less)),
        };
        self.by_name.iter_from(at).map(|slot| (self.slots.name(slot), self.slots.id(slot)))
    }

    /// The place of the first name that is not less than what is sought.
    fn first_from(&self, compare: impl Fn(&str) -> Ordering) -> Place {
        let found = self.by_name.find(|slot| compare(self.slots.name(slot)));
        found.unwrap_or_else(|place| place)
    }

    /// Puts a job that is new or due at another time.
    pub(super) fn put(&mut self, id: JobId, name: &str, due: Option<Timestamp>) {
        match self.slot(id) {
            Some(slot) if self.slots.name(slot) == name => self.set_due(id, due),
            Some(_) => {
                self.remove(id);
                self.insert(id, name, due);
            }
            None => self.insert(id, name, due),
        }
    }

    /// Puts when a job is due, if it is there.
    pub(super) fn set_due(&mut self, id: JobId, due: Option<Timestamp>) {
        let Some(slot) = self.slot(id) else { return };
        let before = self.slots.due(slot);
        if before != due {
            self.unlist(slot);
            self.slots.set_due(slot, due);
            self.list(slot);
        }
    }

    /// Takes a job out; whether it was there.
    pub(super) fn remove(&mut self, id: JobId) -> bool {
        let Ok(place) = self.by_id.find(|slot| self.slots.id(slot).cmp(&id)) else { return false };
        let Some(slot) = self.by_id.get(place) else { return false };
        self.unlist(slot);
        self.by_id.remove(place);
        let name = self.slots.name(slot);
        // Another may have taken its name.
        if let Ok(place) = self.by_name.find(|other| self.slots.name(other).cmp(name))
            && self.by_name.get(place) == Some(slot)
        {
            self.by_name.remove(place);
        }
        self.slots.free(slot);
        true
    }

    /// When the first job is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.by_due.iter_from(Place::START).next().and_then(|slot| self.slots.due(slot))
    }

    /// The jobs that are due by `now`, the earliest first.
    pub(super) fn due(&self, now: Timestamp) -> impl Iterator<Item = JobId> {
        let all = self.by_due.iter_from(Place::START);
        all.take_while(move |slot| self.slots.due(*slot).is_some_and(|at| at <= now))
            .map(|slot| self.slots.id(slot))
    }

    fn slot(&self, id: JobId) -> Option<u32> {
        let place = self.by_id.find(|slot| self.slots.id(slot).cmp(&id)).ok()?;
        self.by_id.get(place)
    }

    fn insert(&mut self, id: JobId, name: &str, due: Option<Timestamp>) {
        let slot = self.slots.add(id, name, due);
        if let Err(place) = self.by_id.find(|other| self.slots.id(other).cmp(&id)) {
            self.by_id.insert(place, slot);
        }
        match self.by_name.find(|other| self.slots.name(other).cmp(name)) {
            Err(place) => self.by_name.insert(place, slot),
            // The name is its own now.
            Ok(place) => self.by_name.replace(place, slot),
        }
        self.list(slot);
    }

    /// Puts a job among those that are due, if it is.
    fn list(&mut self, slot: u32) {
        if self.slots.due(slot).is_some()
            && let Err(place) = self.find_due(slot)
        {
            self.by_due.insert(place, slot);
        }
    }

    fn unlist(&mut self, slot: u32) {
        if self.slots.due(slot).is_some()
            && let Ok(place) = self.find_due(slot)
        {
            self.by_due.remove(place);
        }
    }

    fn find_due(&self, slot: u32) -> Result<Place, Place> {
        let key = |slot| (self.slots.due(slot), self.slots.id(slot));
        let sought = key(slot);
        self.by_due.find(|other| key(other).cmp(&sought))
    }
}
