//! Slot numbers in an order that the caller compares by.
//!
//! They are in blocks of bounded size: to find one is a search among blocks and one in a block, to
//! insert or remove one moves the rest of a block.

use std::cmp::Ordering;

/// Numbers in a block, at most. A block with a quarter of that is joined with one beside it.
const BLOCK: usize = 512;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// None is empty.
    blocks: Vec<Vec<u32>>,
    len: usize,
}

/// Where a number is, or where it would have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    block: usize,
    at: usize,
}

impl Place {
    /// Of the first number.
    pub(super) const START: Self = Self { block: 0, at: 0 };
}

impl Sorted {
    /// Of numbers in their order.
    pub(super) fn of(sorted: &[u32]) -> Self {
        Self { blocks: sorted.chunks(BLOCK).map(<[u32]>::to_vec).collect(), len: sorted.len() }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, place: Place) -> Option<u32> {
        self.blocks.get(place.block)?.get(place.at).copied()
    }

    /// Where the number is whose comparison with what is sought is equal, or where it would have to
    /// be.
    pub(super) fn find(&self, compare: impl Fn(u32) -> Ordering) -> Result<Place, Place> {
        let after = |block: &Vec<u32>| block.first().is_none_or(|first| compare(*first).is_le());
        let block = self.blocks.partition_point(after).saturating_sub(1);
        let Some(numbers) = self.blocks.get(block) else { return Err(Place::START) };
        match numbers.binary_search_by(|number| compare(*number)) {
            Ok(at) => Ok(Place { block, at }),
            Err(at) => Err(Place { block, at }),
        }
    }

    /// Puts a number where it has to be.
    pub(super) fn insert(&mut self, place: Place, number: u32) {
        self.len += 1;
        let Some(block) = self.blocks.get_mut(place.block) else {
            return self.blocks.push(vec![number]);
        };
        block.insert(place.at, number);
        if block.len() > BLOCK {
            // The last one is filled in order: little room is left behind.
            let is_last = place.at + 1 == block.len() && place.block + 1 == self.blocks.len();
            let block = &mut self.blocks[place.block];
            let half = block.split_off(if is_last { BLOCK } else { BLOCK / 2 });
            self.blocks.insert(place.block + 1, half);
        }
    }

    /// Puts another number in the place of one that compares alike.
    pub(super) fn replace(&mut self, place: Place, number: u32) {
        if let Some(old) = self.blocks.get_mut(place.block).and_then(|it| it.get_mut(place.at)) {
            *old = number;
        }
    }

    pub(super) fn remove(&mut self, place: Place) {
        let Place { block, at } = place;
        if self.get(place).is_none() {
            return;
        }
        self.len -= 1;
        self.blocks[block].remove(at);
        match self.blocks[block].len() {
            0 => {
                self.blocks.remove(block);
            }
            few if few <= BLOCK / 4 => self.join(block),
            _ => {}
        }
    }

    /// Joins a block with the next or the one before, if they fit together with room to spare.
    fn join(&mut self, block: usize) {
        let fits = |first: usize| {
            let both = self.blocks.get(first..first + 2)?;
            (both[0].len() + both[1].len() <= BLOCK / 4 * 3).then_some(first)
        };
        if let Some(first) = fits(block).or_else(|| fits(block.checked_sub(1)?)) {
            let second = self.blocks.remove(first + 1);
            self.blocks[first].extend(second);
        }
    }

    /// The numbers from a place on.
    pub(super) fn iter_from(&self, place: Place) -> impl Iterator<Item = u32> {
        let (within, behind) = match self.blocks.get(place.block..) {
            Some([first, behind @ ..]) => (first.get(place.at..).unwrap_or_default(), behind),
            _ => (&[][..], &[][..]),
        };
        within.iter().chain(behind.iter().flatten()).copied()
    }
}
