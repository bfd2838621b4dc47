//! What is in keys: the numbers and names of which they are made. Imports identifiers only.

use super::{PAGE, of, under};
use crate::id::{ClientNo, JobId, Serial};

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

/// The serial in a key of a run, of open deliveries, of a page or of a result.
#[must_use]
pub fn serial_in(key: &[u8]) -> Option<Serial> {
    Some(Serial::from_bytes(key.get(1..17)?.try_into().ok()?))
}

/// The job id in a key of a definition or a standing.
#[must_use]
pub fn job_in(key: &[u8]) -> Option<JobId> {
    Some(JobId::from_bytes(key.get(1..)?.try_into().ok()?))
}

/// The client's number in a key of a client or of when it was last here.
#[must_use]
pub fn client_in(key: &[u8]) -> Option<ClientNo> {
    Some(ClientNo(u32::from_be_bytes(key.get(1..)?.try_into().ok()?)))
}

/// The chunk in a key of open deliveries.
#[must_use]
pub fn chunk_in(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(17..)?.try_into().ok()?))
}

/// Mark and chunk in a key of open deliveries with a mark.
#[must_use]
pub fn mark_in(key: &[u8]) -> Option<(u8, u32)> {
    Some((*key.get(17)?, u32::from_be_bytes(key.get(18..)?.try_into().ok()?)))
}

/// Page and part in a key of responses.
#[must_use]
pub fn page_in(key: &[u8]) -> Option<(u32, u16)> {
    let page = u32::from_be_bytes(key.get(17..21)?.try_into().ok()?);
    Some((page, u16::from_be_bytes(key.get(21..)?.try_into().ok()?)))
}
