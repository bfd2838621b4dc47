//! Counts what the ledger tells into the statistics, in small steps, off the path of firings.
//!
//! Promises: every event is counted once, wherever a crash comes: a part of the ledger is begun by
//! noting where it ends, each record says up to where it counts, and the part is done when all of
//! its records are written.

use super::steps::Pace;
use crate::node::{CallError, Handle, Uncounted};
use crate::statistics::{Counted, DAYS_KEPT, HOURS_KEPT, Record, Slot, Span};
use crate::time::Timestamp;

/// Records that one step writes, at most.
const STEP: usize = 48;

/// Events of no matter after which it is noted all the same that they were seen.
const NOTED: u64 = 20_000;

/// Counting at work.
#[derive(Debug)]
pub(super) struct Counting {
    handle: Handle,
    pace: Pace,
    /// Events before this one are counted, or of no matter.
    seen: u64,
    /// The hour in which old statistics were last looked for.
    looked_in: u32,
}

impl Counting {
    pub(super) fn new(handle: Handle, pace: Pace) -> Self {
        Self { handle, pace, seen: 0, looked_in: 0 }
    }

    /// Counts all that there is, and forgets what is older than is kept.
    pub(super) async fn round(&mut self, now: Timestamp) -> Result<(), CallError> {
        self.pace.begin();
        while !self.pace.is_stopping() {
            let Uncounted { counted, delta } =
                self.pace.step(self.handle.uncounted(self.seen)).await?;
            let done = Counted { done: delta.until, until: delta.until, at: delta.at };
            if !delta.records.is_empty() {
                let begun = Counted { until: delta.until, ..counted };
                let records: Vec<_> = delta.records.into_iter().collect();
                if !self.put(records, begun, done).await? {
                    return Ok(());
                }
            } else if delta.until > counted.done.saturating_add(NOTED)
                || counted.done < counted.until
            {
                self.handle.put_statistics(Vec::new(), done).await?;
            }
            self.seen = delta.until;
            if delta.is_last {
                break;
            }
        }
        self.forget_old(now).await
    }

    /// Writes what a part of the ledger comes to; `false`: the pace has stopped before.
    async fn put(
        &self,
        records: Vec<(Slot, Record)>,
        begun: Counted,
        done: Counted,
    ) -> Result<bool, CallError> {
        let steps = records.len().div_ceil(STEP);
        for (n, step) in records.chunks(STEP).enumerate() {
            if self.pace.is_stopping() {
                return Ok(false);
            }
            let counted = if n + 1 == steps { done } else { begun };
            self.pace.step(self.handle.put_statistics(step.to_vec(), counted)).await?;
        }
        Ok(true)
    }

    async fn forget_old(&mut self, now: Timestamp) -> Result<(), CallError> {
        let hour = Span::hour_of(now);
        if self.looked_in == hour {
            return Ok(());
        }
        let hours = hour.saturating_sub(HOURS_KEPT);
        let days = Span::day_of(now).saturating_sub(DAYS_KEPT);
        while !self.pace.is_stopping() {
            if !self.pace.step(self.handle.forget_statistics(hours, days)).await? {
                self.looked_in = hour;
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
