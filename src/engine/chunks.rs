//! Sets of client numbers by chunks of [`CHUNK`], as they are stored.
//!
//! Promises: neither looks at every client of a large set by itself. Imports the chunk's size.

use std::collections::BTreeSet;

use roaring::RoaringBitmap;

use super::change::CHUNK;

/// The chunks that have a client of a set.
pub(super) fn chunks(clients: &RoaringBitmap) -> BTreeSet<u32> {
    let mut rest = clients.iter();
    let mut chunks = BTreeSet::new();
    while let Some(no) = rest.next() {
        let chunk = no / CHUNK;
        chunks.insert(chunk);
        match (chunk + 1).checked_mul(CHUNK) {
            Some(next) => rest.advance_to(next),
            None => break,
        }
    }
    chunks
}

/// The clients of a set that are in a chunk.
pub(super) fn of_chunk(clients: &RoaringBitmap, chunk: u32) -> RoaringBitmap {
    let first = chunk * CHUNK;
    let mut all = RoaringBitmap::new();
    all.insert_range(first..=first + (CHUNK - 1));
    all & clients
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LAST: u32 = u32::MAX / CHUNK;

    proptest! {
        #[test]
        fn the_chunks_of_a_set_make_the_set(
            few in proptest::collection::btree_set(any::<u32>(), 0..20),
            near in proptest::collection::btree_set(0..4 * CHUNK, 0..200),
            (from, count) in (0..3 * CHUNK, 0..2 * CHUNK),
        ) {
            let mut clients: RoaringBitmap = few.iter().chain(&near).copied().collect();
            clients.insert_range(from..from + count);
            let found = chunks(&clients);
            prop_assert_eq!(&found, &clients.iter().map(|no| no / CHUNK).collect::<BTreeSet<_>>());
            let mut all = RoaringBitmap::new();
            for chunk in found {
                let part = of_chunk(&clients, chunk);
                prop_assert!(part.iter().all(|no| no / CHUNK == chunk));
                all |= part;
            }
            prop_assert_eq!(all, clients);
        }
    }

    #[test]
    fn the_last_chunk_is_one_as_others_are() {
        let clients: RoaringBitmap = [0, CHUNK - 1, u32::MAX].into_iter().collect();
        assert_eq!(chunks(&clients), [0, LAST].into());
        assert_eq!(of_chunk(&clients, LAST).iter().collect::<Vec<_>>(), [u32::MAX]);
        assert_eq!(of_chunk(&clients, 0).len(), 2);
    }
}
