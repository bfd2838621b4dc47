//! What the server's settings say of how long things are kept.

use std::collections::BTreeMap;

use crate::store::{Store, StoreError, key, records};
use crate::time::{Timestamp, duration};

/// Before which moment ended runs are forgotten, by the setting of the last start; `None`: it is
/// not told, as where the server is embedded.
pub(super) fn forgotten_before(
    store: &dyn Store,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let key = key::settings();
    let Some(value) = store.get(&key)? else { return Ok(None) };
    let settings: BTreeMap<String, String> = records::read("settings", &key, &value)?;
    let keep = settings.get("keep").and_then(|keep| duration::parse(keep).ok());
    Ok(keep.map(|keep| now.minus(keep)))
}
