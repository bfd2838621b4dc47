//! What is in some keys, for those who read all of a kind.

use super::{PAGE, of, under};
use crate::id::{ClientNo, Serial};

/// The first key after those of a page of a run's responses.
#[must_use]
pub fn page_end(serial: Serial, page: u32) -> Vec<u8> {
    under(of(PAGE, &[&serial.to_bytes(), &page.to_be_bytes()])).end
}

/// The client's number and the part in a key of a large result.
#[must_use]
pub fn result_in(key: &[u8]) -> Option<(ClientNo, u16)> {
    let client = u32::from_be_bytes(key.get(17..21)?.try_into().ok()?);
    Some((ClientNo(client), u16::from_be_bytes(key.get(21..)?.try_into().ok()?)))
}

/// The client's number in a key of a late answer.
#[must_use]
pub fn late_in(key: &[u8]) -> Option<ClientNo> {
    Some(ClientNo(u32::from_be_bytes(key.get(17..)?.try_into().ok()?)))
}

/// The number in a key of a revision.
#[must_use]
pub fn revision_in(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(17..)?.try_into().ok()?))
}

/// The number in a key of a row of missed firings.
#[must_use]
pub fn missed_in(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(17..)?.try_into().ok()?))
}
