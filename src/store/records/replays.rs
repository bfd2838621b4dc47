//! Replays: their keys and values.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::ended::FORGOTTEN_AT_ONCE;
use super::{Op, Order, Store, StoreError, get, key, part_of, put, put_set, read, walk};
use crate::engine::{CHUNK, Change, ReplayParts, ReplayRecord};
use crate::id::{JobId, ReplayId, Serial};
use crate::replay::{MAX_REPLAY_ITEMS, Replay, ReplayItem};
use crate::run::Run;
use crate::store::{key::OfReplay, open_set};

const WHAT: &str = "replay";
const ITEMS: &str = "items of a replay";
const CLIENTS: &str = "clients of a replay";
const RUN: &str = "run of a replay";

/// Items of one page: at most some 40 KiB.
const ITEMS_PAGE: usize = 256;

/// The operations of a change of this kind; of others there are none.
pub(super) fn encode(
    store: &dyn Store,
    ops: &mut Vec<Op>,
    change: &Change,
) -> Result<(), StoreError> {
    match change {
        Change::PutReplay(replay) => ops.push(put(WHAT, key::replay(replay.id), &**replay)?),
        Change::PutReplayParts(id, parts) => put_parts(ops, *id, parts)?,
        Change::PutReplayRun { replay, item, serial } => {
            let key = key::replay_part(OfReplay::Run, *replay, *item);
            ops.push(Op::Put(key, serial.to_bytes().to_vec()));
        }
        Change::ForgetReplay(id) => forget(store, ops, *id)?,
        _ => {}
    }
    Ok(())
}

fn put_parts(ops: &mut Vec<Op>, id: ReplayId, parts: &ReplayParts) -> Result<(), StoreError> {
    for (page, items) in (0_u32..).zip(parts.items.chunks(ITEMS_PAGE)) {
        ops.push(put(ITEMS, key::replay_part(OfReplay::Items, id, page), &items)?);
    }
    for (no, template) in (0_u32..).zip(&parts.templates) {
        ops.push(put(WHAT, key::replay_part(OfReplay::Template, id, no), &**template)?);
    }
    for (no, set) in (0_u32..).zip(&parts.sets) {
        for (chunk, clients) in chunks(set) {
            ops.push(put_set(key::replay_clients(id, no, chunk), chunk, &clients)?);
        }
    }
    Ok(())
}

/// The parts of a set that are not empty, by their chunk.
fn chunks(set: &RoaringBitmap) -> Vec<(u32, RoaringBitmap)> {
    let mut chunks: Vec<(u32, RoaringBitmap)> = Vec::new();
    for no in set {
        match chunks.last_mut() {
            Some((chunk, clients)) if *chunk == no / CHUNK => _ = clients.insert(no),
            _ => chunks.push((no / CHUNK, [no].into_iter().collect())),
        }
    }
    chunks
}

/// What belongs to it first, and the replay last: until then it is found again.
fn forget(store: &dyn Store, ops: &mut Vec<Op>, id: ReplayId) -> Result<(), StoreError> {
    let parts = [OfReplay::Items, OfReplay::Template, OfReplay::Clients, OfReplay::Run]
        .into_iter()
        .flat_map(|kind| walk(store, key::of_replay(kind, id), Order::Up));
    let Some(mut left) = FORGOTTEN_AT_ONCE.checked_sub(ops.len() + 1) else { return Ok(()) };
    for entry in parts {
        if left == 0 {
            return Ok(());
        }
        ops.push(Op::Delete(entry?.0));
        left -= 1;
    }
    ops.push(Op::Delete(key::replay(id)));
    Ok(())
}

/// Every replay that has not ended.
pub(super) fn load(store: &dyn Store) -> Result<Vec<ReplayRecord>, StoreError> {
    let mut open = Vec::new();
    for entry in walk(store, key::replays(), Order::Up) {
        let (key, value) = entry?;
        let replay: Replay = read(WHAT, &key, &value)?;
        if replay.ended_at.is_none() {
            let parts = parts(store, replay.id)?;
            open.push(ReplayRecord { replay, parts });
        }
    }
    Ok(open)
}

fn parts(store: &dyn Store, id: ReplayId) -> Result<ReplayParts, StoreError> {
    let mut parts = ReplayParts { items: replay_items(store, id)?, ..ReplayParts::default() };
    for entry in walk(store, key::of_replay(OfReplay::Template, id), Order::Up) {
        let (key, value) = entry?;
        parts.templates.push(Arc::new(read::<Run>(WHAT, &key, &value)?));
    }
    for entry in walk(store, key::of_replay(OfReplay::Clients, id), Order::Up) {
        let (key, value) = entry?;
        let set = part_of(CLIENTS, &key, key::replay_part_in)?;
        let chunk = part_of(CLIENTS, &key, key::replay_chunk_in)?;
        let set = usize::try_from(set).unwrap_or(usize::MAX);
        // Sets that nobody is in have no keys. There are no more of them than items can be.
        while parts.sets.len() <= set.min(MAX_REPLAY_ITEMS) {
            parts.sets.push(RoaringBitmap::new());
        }
        let into = parts.sets.get_mut(set).ok_or_else(|| {
            StoreError::corrupt(CLIENTS, &key, format!("set {set} is above {MAX_REPLAY_ITEMS}"))
        })?;
        open_set::decode(chunk, &value, into)
            .map_err(|problem| StoreError::corrupt(CLIENTS, &key, problem))?;
    }
    Ok(parts)
}

/// A replay as last put.
pub fn replay(store: &dyn Store, id: ReplayId) -> Result<Option<Replay>, StoreError> {
    get(store, WHAT, &key::replay(id))
}

/// The job of a back-fill, all of whose runs are of one.
pub fn replay_job(store: &dyn Store, id: ReplayId) -> Result<Option<JobId>, StoreError> {
    let first: Option<Run> = get(store, WHAT, &key::replay_part(OfReplay::Template, id, 0))?;
    Ok(first.and_then(|run| run.job_id))
}

/// What a replay is to run, in its order.
pub fn replay_items(store: &dyn Store, id: ReplayId) -> Result<Vec<ReplayItem>, StoreError> {
    let mut items = Vec::new();
    for entry in walk(store, key::of_replay(OfReplay::Items, id), Order::Up) {
        let (key, value) = entry?;
        items.append(&mut read::<Vec<ReplayItem>>(ITEMS, &key, &value)?);
    }
    Ok(items)
}

/// The run that an item of a replay has become; `None`: its turn has not come.
pub fn replay_run(
    store: &dyn Store,
    id: ReplayId,
    item: u32,
) -> Result<Option<Serial>, StoreError> {
    let key = key::replay_part(OfReplay::Run, id, item);
    let Some(value) = store.get(&key)? else { return Ok(None) };
    let bytes = value
        .as_slice()
        .try_into()
        .map_err(|_| StoreError::corrupt(RUN, &key, format!("{} bytes, not 16", value.len())))?;
    Ok(Some(Serial::from_bytes(bytes)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use crate::store::records::tests::{a_run, at, serial};
    use crate::store::records::{load, write};

    fn a_replay(id: ReplayId, items: u32) -> Replay {
        let json = serde_json::json!({
            "id": id, "kind": "again", "created_at": at(0), "items": items, "deliveries": 9,
            "started": 0, "ended": 0, "counts": {},
        });
        serde_json::from_value(json).unwrap()
    }

    fn parts() -> ReplayParts {
        let item = |n: u32| ReplayItem {
            template: n % 2,
            clients: Some(n % 3),
            of: Some(serial(n.into())),
            scheduled_at: at(n.into()),
            offset_ms: n.into(),
        };
        let sets = vec![
            RoaringBitmap::from([0, 5, 4_095, 4_096, 1_000_000]),
            RoaringBitmap::new(),
            (0..100_000).collect(),
        ];
        let templates = [1, 2].map(|n| Arc::new(a_run(n, 0)));
        ReplayParts { templates: templates.to_vec(), sets, items: (0..1_000).map(item).collect() }
    }

    pub(crate) fn unit(id: ReplayId) -> Vec<Change> {
        vec![
            Change::PutReplay(Box::new(a_replay(id, 1_000))),
            Change::PutReplayParts(id, Arc::new(parts())),
        ]
    }

    fn id(n: u128) -> ReplayId {
        ReplayId::from_parts(at(0), n)
    }

    #[test]
    fn an_open_replay_comes_back_and_one_that_has_ended_does_not() {
        let store = MemoryStore::new();
        crate::store::prepare(&store).unwrap();
        let mut ended = a_replay(id(2), 0);
        ended.ended_at = Some(at(5));
        let units = [unit(id(1)), vec![Change::PutReplay(Box::new(ended.clone()))]];
        write(&store, &units).unwrap();
        let [back] = &load(&store).unwrap().replays[..] else { panic!("one is open") };
        assert_eq!((&back.replay, &back.parts), (&a_replay(id(1), 1_000), &parts()));
        assert_eq!(replay(&store, id(2)).unwrap(), Some(ended));
        assert_eq!(replay_run(&store, id(1), 7).unwrap(), None);
        let change = Change::PutReplayRun { replay: id(1), item: 7, serial: serial(3) };
        write(&store, &[vec![change]]).unwrap();
        assert_eq!(replay_run(&store, id(1), 7).unwrap(), Some(serial(3)));
    }

    #[test]
    fn all_of_a_replay_is_forgotten_part_by_part_and_nothing_of_another() {
        let store = MemoryStore::new();
        crate::store::prepare(&store).unwrap();
        write(&store, &[unit(id(1)), unit(id(2))]).unwrap();
        let runs = (0..500)
            .map(|item| vec![Change::PutReplayRun { replay: id(1), item, serial: serial(3) }]);
        write(&store, &runs.collect::<Vec<_>>()).unwrap();
        let mut rounds = 0;
        while replay(&store, id(1)).unwrap().is_some() {
            write(&store, &[vec![Change::ForgetReplay(id(1))]]).unwrap();
            rounds += 1;
        }
        assert_eq!(rounds, 5, "each is one batch");
        let left: Vec<_> = walk(&store, key::all(key::REPLAY), Order::Up)
            .map(|entry| key::replay_in(&entry.unwrap().0).unwrap())
            .collect();
        assert!(left.iter().all(|left| *left == id(2)), "{left:?}");
        assert_eq!(load(&store).unwrap().replays[0].parts, parts());
    }
}
