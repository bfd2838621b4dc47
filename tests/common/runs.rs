//! Every run of a store.

use fleetcron::store::MemoryStore;
use fleetcron::{Run, history};

/// The newest first.
pub(crate) fn all_runs(store: &MemoryStore) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    loop {
        let before = runs.last().map(|run| run.serial);
        let query = history::RunQuery { before, limit: 1_000, ..Default::default() };
        let page = history::runs(store, &query).unwrap();
        if page.is_empty() {
            return runs;
        }
        runs.extend(page);
    }
}
