//! Queries with the index, whole, partial and damaged, beside a filter by hand.

use proptest::prelude::*;

use super::*;
use crate::history::events::tests::{Random, World, by_hand, numbers, whole};
use crate::history::{EventQuery, EventReader, Recorded};
use crate::store::{Batch, MAX_OPS, MAX_VALUE, MemoryStore, Op, Order};

/// A segment so small that a test has many.
const SIZE: u64 = 64;

fn index(store: &MemoryStore, most: usize) -> usize {
    let mut made = 0;
    while made < most {
        let Some(step) = IndexStep::next_of(store, SIZE).unwrap() else { break };
        assert!(step.batches.iter().all(|batch| (1..=MAX_OPS).contains(&batch.len())));
        store.commit(step.batches).unwrap();
        made += 1;
    }
    made
}

fn read_all(
    store: &MemoryStore,
    query: &EventQuery,
    members: Option<&roaring::RoaringBitmap>,
) -> (Vec<Recorded>, u64) {
    let mut reader =
        EventReader::with_segments(store, query.clone(), members.cloned(), SIZE).unwrap();
    let (mut found, mut looked_at) = (Vec::new(), 0);
    loop {
        let page = reader.read(store).unwrap();
        looked_at += page.looked_at;
        found.extend(page.events);
        if page.next.is_none() {
            return (found, looked_at);
        }
    }
}

fn entries(store: &MemoryStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    let keys = key::all(key::INDEX);
    store.scan(&keys.start..&keys.end, Order::Up, usize::MAX).unwrap()
}

/// Takes away, cuts or changes some values of the index.
fn damage(store: &MemoryStore, random: &mut Random) {
    let all = entries(store);
    if all.is_empty() {
        return;
    }
    let mut batch: Batch = Vec::new();
    for _ in 0..8 {
        let at = usize::try_from(random.below(all.len() as u64)).unwrap();
        let (key, mut value) = all[at].clone();
        let byte = usize::try_from(random.below(value.len() as u64)).unwrap();
        batch.push(match random.below(3) {
            0 => Op::Delete(key),
            1 => {
                value.truncate(byte);
                Op::Put(key, value)
            }
            _ => {
                value[byte] ^= 1 + u8::try_from(random.below(255)).unwrap();
                Op::Put(key, value)
            }
        });
    }
    store.commit(vec![batch]).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn the_index_never_changes_what_a_query_answers(seed in any::<u64>(), most in 0_usize..40) {
        let mut world = World::new(seed);
        world.go_on(30);
        index(&world.store, most);
        // Some of it is indexed before it is forgotten.
        world.go_on(15);
        index(&world.store, most);
        let all = whole(&world.store);
        let queries: Vec<_> = (0..10).map(|_| world.query()).collect();
        let damaged = world.store.copy();
        damage(&damaged, &mut Random(seed));
        for (query, members) in queries {
            let expected = by_hand(&all, &query, members.as_ref());
            let (found, _) = read_all(&world.store, &query, members.as_ref());
            prop_assert_eq!(numbers(&found), expected.clone(), "{:?} {:?}", query, members);
            let (found, _) = read_all(&damaged, &query, members.as_ref());
            prop_assert_eq!(numbers(&found), expected, "damaged: {:?} {:?}", query, members);
        }
    }
}

#[test]
fn the_index_saves_looks() {
    let mut world = World::new(7);
    world.go_on(150);
    let query = EventQuery { kinds: vec![EventKind::LateAnswer], ..EventQuery::default() };
    let (without, all) = read_all(&world.store, &query, None);
    assert!(index(&world.store, usize::MAX) > 10);
    let (with, few) = read_all(&world.store, &query, None);
    assert_eq!(numbers(&with), numbers(&without));
    assert!(with.len() > 5 && few * 3 < all, "{few} of {all} looked at");
    assert!(entries(&world.store).iter().all(|(_, value)| value.len() <= MAX_VALUE));
}

#[test]
fn an_index_of_another_form_is_made_anew() {
    let mut world = World::new(9);
    world.go_on(60);
    let made = index(&world.store, usize::MAX);
    assert_eq!(index(&world.store, usize::MAX), 0, "it is complete");
    let keys = entries(&world.store);
    for strange in [vec![9, 64, 3], vec![VERSION], position(SIZE + 1, 3)] {
        world.store.commit(vec![vec![Op::Put(key::index_position(), strange)]]).unwrap();
        assert_eq!(index(&world.store, usize::MAX), made);
        assert_eq!(entries(&world.store), keys, "it is made of what is stored alone");
    }
}
