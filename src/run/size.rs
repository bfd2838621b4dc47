//! What runs and responses take in the store, about: what the limits of bytes count.
//!
//! Imports nothing of fleetcron but runs.

use super::{Outcome, Run};

impl Run {
    /// What a run takes by itself, without parameters and responses, in bytes: about as much.
    const OWN_BYTES: u64 = 512;

    /// About how many bytes it takes before any response is recorded: its record with the
    /// command's parameters.
    #[must_use]
    pub fn own_bytes(&self) -> u64 {
        Self::OWN_BYTES + self.command.params.text().len() as u64
    }

    /// About how many bytes of the store it takes, with its responses: what `history.bytes` and
    /// `serve --keep-bytes` count. The sum of [`Run::own_bytes`] and of [`Outcome::kept_bytes`] of
    /// each recorded attempt; late answers are not counted. A run from before this was noted is
    /// taken to have responses without results.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        if self.bytes > 0 {
            return self.bytes;
        }
        self.own_bytes() + u64::from(self.counts.ended()) * Outcome::OWN_BYTES
    }
}

impl Outcome {
    /// What a recorded response takes by itself, without reason and result, in bytes.
    pub const OWN_BYTES: u64 = 24;

    /// Bytes of a reason that are counted; the store cuts longer ones.
    const REASON_BYTES: usize = 4_000;

    /// About how many bytes a response takes with a reason and a result of these lengths.
    #[must_use]
    pub fn bytes_of(reason: Option<usize>, result: Option<usize>) -> u64 {
        let reason = reason.unwrap_or(0).min(Self::REASON_BYTES);
        Self::OWN_BYTES.saturating_add(result.unwrap_or(0).saturating_add(reason) as u64)
    }

    /// About how many bytes of the store its record takes.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        let result = self.result.as_ref().map(|result| result.text().len());
        Self::bytes_of(self.reason.as_ref().map(String::len), result)
    }
}
