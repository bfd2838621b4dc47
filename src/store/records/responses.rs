//! How a delivery ended, from the row of a page and what lies outside of it.

use super::{Store, StoreError, key};
use crate::id::{ClientNo, Serial};
use crate::run::Outcome;
use crate::store::page::{RESULT_PART, Row, StoredResult};

/// The outcome that a row of a page tells, its result whole. `key` is the page's, for errors.
pub fn outcome(
    store: &dyn Store,
    serial: Serial,
    key: &[u8],
    row: &Row<'_>,
) -> Result<Outcome, StoreError> {
    let outside;
    let text = match row.result {
        None => None,
        Some(StoredResult::Inline(text)) => Some(text),
        Some(StoredResult::Outside { bytes }) => {
            outside = result_text(store, serial, row.client, bytes)?;
            Some(outside.as_str())
        }
    };
    row.outcome(text).map_err(|problem| StoreError::corrupt("page of responses", key, problem))
}

/// A large result of `bytes` bytes, from its pieces.
pub fn result_text(
    store: &dyn Store,
    serial: Serial,
    client: ClientNo,
    bytes: u64,
) -> Result<String, StoreError> {
    const WHAT: &str = "result";
    let mut joined = Vec::new();
    for part in 0..bytes.div_ceil(RESULT_PART as u64) {
        let part = u16::try_from(part).unwrap_or(u16::MAX);
        let key = key::result(serial, client, part);
        let piece = store.get(&key)?;
        joined.extend(piece.ok_or_else(|| StoreError::corrupt(WHAT, &key, "it is missing"))?);
    }
    let key = key::result(serial, client, 0);
    if joined.len() as u64 != bytes {
        let problem = format!("it has {} bytes where {bytes} were written", joined.len());
        return Err(StoreError::corrupt(WHAT, &key, problem));
    }
    String::from_utf8(joined).map_err(|error| StoreError::corrupt(WHAT, &key, error))
}
