//! Replays: what belongs to one is there with it.

use super::report::LEFTOVER;
use super::{Known, Report};
use crate::store::{Order, Store, StoreError, key, walk};

const RULE: &str = "parts of a replay";

pub(super) fn check(
    store: &dyn Store,
    _: &mut Known,
    report: &mut Report,
) -> Result<(), StoreError> {
    let mut last = None;
    for entry in walk(store, key::replays().end..key::all(key::REPLAY).end, Order::Up) {
        let (key, _) = entry?;
        // What cannot be read is told by itself.
        let Some(id) = key::replay_in(&key) else { continue };
        if last.replace(id) != Some(id) && store.get(&key::replay(id))?.is_none() {
            report.fault(&key, RULE, format!("replay {id} is missing"), LEFTOVER);
        }
    }
    Ok(())
}
