//! The keys of replays and of what belongs to them. Imports identifiers only.

use std::ops::Range;

use super::{REPLAY, of, under};
use crate::id::ReplayId;

/// What a key of a replay is for: its second byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum OfReplay {
    /// The replay itself.
    Record = 0,
    /// A page of its items.
    Items = 1,
    /// What its runs are made of.
    Template = 2,
    /// A set of clients.
    Clients = 3,
    /// The run of an item.
    Run = 4,
}

/// The key of a replay.
#[must_use]
pub fn replay(id: ReplayId) -> Vec<u8> {
    of(REPLAY, &[&[OfReplay::Record as u8], &id.to_bytes()])
}

/// The key of a numbered part of a replay: a page of items, a template or an item's run.
#[must_use]
pub fn replay_part(kind: OfReplay, id: ReplayId, no: u32) -> Vec<u8> {
    of(REPLAY, &[&[kind as u8], &id.to_bytes(), &no.to_be_bytes()])
}

/// The key of a chunk of a replay's set of clients.
#[must_use]
pub fn replay_clients(id: ReplayId, set: u32, chunk: u32) -> Vec<u8> {
    let kind = OfReplay::Clients as u8;
    of(REPLAY, &[&[kind], &id.to_bytes(), &set.to_be_bytes(), &chunk.to_be_bytes()])
}

/// Every replay.
#[must_use]
pub fn replays() -> Range<Vec<u8>> {
    under(of(REPLAY, &[&[OfReplay::Record as u8]]))
}

/// Every key of a kind that belongs to a replay.
#[must_use]
pub fn of_replay(kind: OfReplay, id: ReplayId) -> Range<Vec<u8>> {
    under(of(REPLAY, &[&[kind as u8], &id.to_bytes()]))
}

/// The replay in a key of one, and of what belongs to it.
#[must_use]
pub fn replay_in(key: &[u8]) -> Option<ReplayId> {
    Some(ReplayId::from_bytes(key.get(2..18)?.try_into().ok()?))
}

/// The number in a key of a part of a replay.
#[must_use]
pub fn replay_part_in(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(18..22)?.try_into().ok()?))
}

/// The chunk in a key of a replay's set of clients.
#[must_use]
pub fn replay_chunk_in(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(22..)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::all;
    use super::*;

    proptest! {
        #[test]
        fn order_in_memory_is_order_on_disk_and_a_key_gives_back_what_it_was_made_of(
            a in (any::<[u8; 16]>(), any::<u32>(), any::<u32>()),
            b in (any::<[u8; 16]>(), any::<u32>(), any::<u32>()),
        ) {
            let (ia, ib) = (ReplayId::from_bytes(a.0), ReplayId::from_bytes(b.0));
            prop_assert_eq!(replay(ia).cmp(&replay(ib)), ia.cmp(&ib));
            let item = |id, no| replay_part(OfReplay::Items, id, no);
            prop_assert_eq!(item(ia, a.1).cmp(&item(ib, b.1)), (ia, a.1).cmp(&(ib, b.1)));
            let clients = replay_clients(ia, a.1, a.2);
            prop_assert_eq!(
                clients.cmp(&replay_clients(ib, b.1, b.2)), (ia, a.1, a.2).cmp(&(ib, b.1, b.2))
            );
            prop_assert_eq!(replay_in(&clients), Some(ia));
            let parts = (replay_part_in(&clients), replay_chunk_in(&clients));
            prop_assert_eq!(parts, (Some(a.1), Some(a.2)));
            prop_assert!(replays().contains(&replay(ia)) && all(REPLAY).contains(&clients));
            prop_assert!(!replays().contains(&clients));
            prop_assert!(of_replay(OfReplay::Clients, ia).contains(&clients));
            prop_assert!(ia == ib || !of_replay(OfReplay::Clients, ib).contains(&clients));
        }

        #[test]
        fn reading_any_key_never_panics(key in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (replay_in(&key), replay_part_in(&key), replay_chunk_in(&key));
        }
    }
}
