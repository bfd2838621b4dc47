//! Going through several kinds at once, by the job or the run that their keys belong to.
//!
//! Promises: one step of each kind is in memory. Imports the store's walk and kinds.

use crate::store::kinds::owner;
use crate::store::{Entry, Order, Store, StoreError, Walk, key, walk};

/// The entries of one kind, by owner. Keys that are too short to have one are passed over: they
/// are told elsewhere.
pub(super) struct Cursor<'a> {
    walk: Walk<'a>,
    next: Option<([u8; 16], Entry)>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(store: &'a dyn Store, kind: u8) -> Result<Self, StoreError> {
        let walk = walk(store, key::all(kind), Order::Up);
        let mut cursor = Self { walk, next: None };
        cursor.advance()?;
        Ok(cursor)
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        loop {
            self.next = None;
            let Some(entry) = self.walk.next() else { return Ok(()) };
            let entry = entry?;
            if let Some(owner) = owner(&entry.0) {
                self.next = Some((owner, entry));
                return Ok(());
            }
        }
    }

    /// Whom the next entry belongs to.
    pub(super) fn owner(&self) -> Option<[u8; 16]> {
        self.next.as_ref().map(|(owner, _)| *owner)
    }

    /// The next entry, if it belongs to `owner`.
    pub(super) fn take(&mut self, owner: [u8; 16]) -> Result<Option<Entry>, StoreError> {
        let taken = self.next.take_if(|(next, _)| *next == owner).map(|(_, entry)| entry);
        if taken.is_some() {
            self.advance()?;
        }
        Ok(taken)
    }

    /// Passes over what belongs to `owner`; gives the first key and how many there were.
    pub(super) fn pass(&mut self, owner: [u8; 16]) -> Result<Option<(Vec<u8>, u64)>, StoreError> {
        let Some((first, _)) = self.take(owner)? else { return Ok(None) };
        let mut count = 1;
        while self.take(owner)?.is_some() {
            count += 1;
        }
        Ok(Some((first, count)))
    }
}
