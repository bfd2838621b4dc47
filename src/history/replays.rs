//! Replays: one, many, those that have ended, and the runs that they have made.

use crate::engine::Page;
use crate::id::{ReplayId, Serial};
use crate::replay::Replay;
use crate::store::{Order, Store, StoreError, key, records, walk};
use crate::time::Timestamp;

const WHAT: &str = "replay";

/// A replay as it stands.
pub fn replay(store: &dyn Store, id: ReplayId) -> Result<Option<Replay>, StoreError> {
    records::replay(store, id)
}

/// Replays, the newest first, at most [`Page::MAX`]; `after` is the last of the part before.
pub fn replays(store: &dyn Store, page: &Page<ReplayId>) -> Result<Vec<Replay>, StoreError> {
    let mut keys = key::replays();
    if let Some(after) = page.after {
        keys.end = key::replay(after);
    }
    let limit = page.limit.min(Page::<()>::MAX);
    let found = store.scan(&keys.start..&keys.end, Order::Down, limit)?;
    found.iter().map(|(key, value)| records::read(WHAT, key, value)).collect()
}

/// Replays that ended before a moment, the earliest made first, at most `limit`.
pub fn replays_ended_before(
    store: &dyn Store,
    moment: Timestamp,
    limit: usize,
) -> Result<Vec<ReplayId>, StoreError> {
    // None ends before it is made.
    let keys = key::replays().start..key::replay(ReplayId::from_parts(moment, 0));
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    for entry in walk(store, keys, Order::Up) {
        let (key, value) = entry?;
        let replay: Replay = records::read(WHAT, &key, &value)?;
        if replay.ended_at.is_some_and(|ended| ended < moment) {
            found.push(replay.id);
            if found.len() == limit {
                break;
            }
        }
    }
    Ok(found)
}

/// The run that an item of a replay has become; `None`: its turn has not come, or it never was.
pub fn replay_run(
    store: &dyn Store,
    id: ReplayId,
    item: u32,
) -> Result<Option<Serial>, StoreError> {
    records::replay_run(store, id, item)
}
