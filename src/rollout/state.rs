//! Where a rollout stands: what is stored with its run, and the rules that it follows.
//!
//! Imports the rest of the rollout and the words of runs.

use serde::{Deserialize, Serialize};

use super::{AbortRule, AbortState, Percent, Rollout, Wave};
use crate::run::{Counts, DeliveryState};
use crate::time::Timestamp;

/// Where a rollout stands. It is stored in the same unit as the decision that it tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutState {
    /// How many clients have had their turn, counted in the rollout's order; those that had ended
    /// before or were away among them.
    pub released: u32,
    /// The wave at hand; 1 is the first.
    pub wave: u32,
    /// Whether it goes on.
    #[serde(flatten)]
    pub standing: Standing,
}

impl Default for RolloutState {
    fn default() -> Self {
        Self { released: 0, wave: 1, standing: Standing::Going }
    }
}

/// Whether a rollout goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    /// It does.
    Going,
    /// The wave at hand has succeeded; what follows waits.
    Waiting {
        /// Until then.
        until: Timestamp,
    },
    /// The wave at hand has succeeded; the next one waits for an approval.
    Approval {
        /// Since when.
        since: Timestamp,
    },
    /// The wave at hand can no longer succeed. Nothing more is released until somebody approves
    /// the next one.
    Held {
        /// Why.
        reason: String,
    },
    /// Nothing more is released, and what nobody had was cancelled.
    Aborted {
        /// Why.
        reason: String,
    },
}

impl Standing {
    /// Whether it goes on when somebody approves.
    #[must_use]
    pub fn wants_approval(&self) -> bool {
        matches!(self, Self::Approval { .. } | Self::Held { .. })
    }
}

/// How the deliveries of one wave stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that count, see [`RolloutState::leaves_out`].
    pub counted: u64,
    /// Those that have succeeded.
    pub succeeded: u64,
    /// Those that have not ended.
    pub open: u64,
}

/// What a wave has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough have ended.
    Open,
    /// Enough have succeeded.
    Reached,
    /// Too few can still succeed.
    OutOfReach,
}

impl Tally {
    /// What a wave has come to that wants so much success.
    #[must_use]
    pub fn verdict(&self, success: Percent) -> Verdict {
        if success.is_reached(self.succeeded, self.counted) {
            Verdict::Reached
        } else if success.is_reached(self.succeeded + self.open, self.counted) {
            Verdict::Open
        } else {
            Verdict::OutOfReach
        }
    }
}

impl RolloutState {
    /// Whether a delivery that ended like this counts neither for its wave nor against it: nobody
    /// tried it, and nobody was to.
    #[must_use]
    pub fn leaves_out(state: DeliveryState) -> bool {
        matches!(
            state,
            DeliveryState::Cancelled
                | DeliveryState::Superseded
                | DeliveryState::Skipped
                | DeliveryState::Removed
        )
    }

    /// Whether it was aborted, and why.
    #[must_use]
    pub fn aborted(&self) -> Option<&str> {
        match &self.standing {
            Standing::Aborted { reason } => Some(reason),
            _ => None,
        }
    }
}

impl Rollout {
    /// How many waves there are, of so many clients. One that would have no client of its own is
    /// not begun.
    #[must_use]
    pub fn wave_count(&self) -> u32 {
        u32::try_from(self.waves.len()).unwrap_or(u32::MAX).max(1)
    }

    /// A wave by its number, from 1.
    #[must_use]
    pub fn wave(&self, number: u32) -> Option<&Wave> {
        self.waves.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// How many clients a wave and those before it have; wave 0 has none.
    #[must_use]
    pub fn wave_end(&self, number: u32, total: u32) -> u32 {
        match number {
            0 => 0,
            _ => self.wave(number).map_or(total, |wave| wave.share.of(total)),
        }
    }

    /// Why it is to be aborted, once its deliveries have ended so; `None`: it is not.
    ///
    /// A share is of the deliveries that clients have ended: succeeded, failed, rejected and timed
    /// out. Others would hide failures: a fleet half of which is away has not half succeeded.
    #[must_use]
    pub fn why_abort(&self, counts: &Counts) -> Option<String> {
        let ended = counts.succeeded + counts.failed + counts.rejected + counts.timed_out;
        self.abort_on.iter().find_map(|rule| {
            let bad = rule.count(counts);
            let hit = ended >= rule.minimum
                && bad > 0
                && rule.percent.is_reached(u64::from(bad), u64::from(ended));
            let AbortRule { state, percent, .. } = rule;
            hit.then(|| {
                let verb = state.verb();
                format!("the rollout was aborted: {bad} of {ended} ended deliveries {verb}, the limit is {percent}")
            })
        })
    }
}

impl AbortRule {
    fn count(self, counts: &Counts) -> u32 {
        match self.state {
            AbortState::Failed => counts.failed,
            AbortState::TimedOut => counts.timed_out,
            AbortState::Rejected => counts.rejected,
            AbortState::Any => counts.failed + counts.timed_out + counts.rejected,
        }
    }
}
