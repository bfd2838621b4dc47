//! The index of the ledger, kept up with what has happened.

use crate::node::{CallError, Handle};

/// Segments of one round, at most; the rest waits for the next round. A new index of a large
/// ledger takes several, between which other chores come.
const SEGMENTS: usize = 64;

/// Indexes what can be; whether that is all.
pub(super) async fn index(handle: &Handle) -> Result<bool, CallError> {
    let segments = handle.index_history(SEGMENTS).await?;
    if segments > 0 {
        tracing::debug!(segments, "a part of the ledger was indexed");
    }
    Ok(segments < SEGMENTS)
}
