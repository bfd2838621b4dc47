//! Answers that came after the server had ended their deliveries itself.

use crate::engine::Page;
use crate::id::{ClientId, Serial};
use crate::run::LateAnswer;
use crate::store::{Order, Store, StoreError, key, records};

const WHAT: &str = "late answer";

/// One client's late answer to a run, the last if there were several.
pub fn late_answer(
    store: &dyn Store,
    serial: Serial,
    client: &ClientId,
) -> Result<Option<LateAnswer>, StoreError> {
    let Some(no) = records::client_no(store, client)? else { return Ok(None) };
    let key = key::late(serial, no);
    store.get(&key)?.map(|value| records::read(WHAT, &key, &value)).transpose()
}

/// The late answers to a run, in the order in which their clients were defined, at most
/// [`Page::MAX`]. After a client that is not known there are none.
pub fn late_answers(
    store: &dyn Store,
    serial: Serial,
    page: &Page<ClientId>,
) -> Result<Vec<LateAnswer>, StoreError> {
    let mut keys = key::of_run(key::LATE, serial);
    if let Some(after) = &page.after {
        let Some(no) = records::client_no(store, after)? else { return Ok(Vec::new()) };
        keys.start = key::late(serial, no);
        // The next key there can be.
        keys.start.push(0);
    }
    let limit = page.limit.min(Page::<()>::MAX);
    let found = store.scan(&keys.start..&keys.end, Order::Up, limit)?;
    found.iter().map(|(key, value)| records::read(WHAT, key, value)).collect()
}
