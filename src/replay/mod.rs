//! Replays: past runs that run again, and firings of the past that are made up for.
//!
//! Promises: a replay that was accepted runs each of its items once, whatever crashes; what it
//! runs was settled when it was made. Imports the domain types.

mod ask;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, CommandName, JobName, ReplayId, Serial};
use crate::policy::is_default;
use crate::run::{Cause, Counts, Run};
use crate::target::Target;
use crate::time::Timestamp;

pub use ask::{
    Backfill, InvalidMaxOpen, InvalidReplay, MaxOpen, ReplayTerms, RunAgain, RunSelection,
};

/// Runs that one replay makes, at most; a larger one is refused, with the number.
pub const MAX_REPLAY_ITEMS: usize = 10_000;

/// Deliveries of one replay's runs, at most; as its targets stand when it is made.
pub const MAX_REPLAY_DELIVERIES: u64 = 1_000_000;

/// Bytes of what one replay has to keep of its originals (commands, parameters, policies; what is
/// the same is kept once), at most.
pub const MAX_REPLAY_BYTES: usize = 16 * 1024 * 1024;

/// Replays that are open at a time, at most; one more is refused.
pub const MAX_REPLAYS: usize = 64;

/// Runs that all open replays have still to make, at most; a replay that would go above is refused.
pub const MAX_WAITING_ITEMS: usize = 100_000;

/// Serials that one selection names, at most.
pub const MAX_SELECTED_SERIALS: usize = 1_000;

/// Clients that one plan names, at most; of further ones it has the number alone.
pub const PLAN_CLIENTS: usize = 100_000;

/// What a replay repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayKind {
    /// Runs that were, with what they had then.
    Again,
    /// Occurrences of a job's rule, with what the job has now.
    Backfill,
}

impl ReplayKind {
    /// The cause of its runs.
    #[must_use]
    pub fn cause(self) -> Cause {
        match self {
            Self::Again => Cause::Replay,
            Self::Backfill => Cause::Backfill,
        }
    }
}

impl fmt::Display for ReplayKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Again => "again",
            Self::Backfill => "backfill",
        })
    }
}

/// Which replay made a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayOf {
    /// The replay.
    pub replay: ReplayId,
    /// Which of its items; 0 is the first.
    pub item: u32,
    /// The run that this one repeats; a back-fill has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<Serial>,
}

/// What was chosen and does not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftOut {
    /// Deliveries to clients that were removed since.
    #[serde(skip_serializing_if = "is_default")]
    pub removed: u64,
    /// Deliveries that have not ended.
    #[serde(skip_serializing_if = "is_default")]
    pub open: u64,
    /// Occurrences that have a run.
    #[serde(skip_serializing_if = "is_default")]
    pub had_run: u64,
}

/// A replay: durable, and kept as long as runs are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Its number.
    pub id: ReplayId,
    /// What it repeats.
    pub kind: ReplayKind,
    /// When it was made.
    pub created_at: Timestamp,
    /// The job that was asked for, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// The begin of the span that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The end of that span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// How it goes about it.
    #[serde(default)]
    pub terms: ReplayTerms,
    /// Runs that it makes.
    pub items: u32,
    /// Deliveries of these, as its targets stood when it was made.
    pub deliveries: u64,
    /// What was chosen and does not run.
    #[serde(default)]
    pub left_out: LeftOut,
    /// Runs that it has made; also the number of the item that is next.
    pub started: u32,
    /// Those of them that have ended.
    pub ended: u32,
    /// How the deliveries of those ended.
    pub counts: Counts,
    /// When its cancellation was asked for: no further run is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<Timestamp>,
    /// Why it was cancelled, if nobody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When its last run ended, and none was to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

impl Replay {
    /// Whether nothing is to come of it: every run was made, or none is made any more, and those
    /// that were have ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        (self.started == self.items || self.cancelled_at.is_some()) && self.ended == self.started
    }

    /// Whether it has ended, not cancelled, with every delivery succeeded.
    #[must_use]
    pub fn all_succeeded(&self) -> bool {
        self.ended_at.is_some()
            && self.cancelled_at.is_none()
            && self.counts.succeeded == self.counts.total
    }

    /// When an item's turn comes, by its place in time after the first.
    #[must_use]
    pub fn due(&self, offset: Duration) -> Timestamp {
        let Some(speed) = self.terms.speed else { return self.created_at };
        let millis = offset.as_millis().saturating_mul(1_000) / u128::from(speed.millis().max(1));
        self.created_at.plus(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }
}

/// One run that a replay is to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayItem {
    /// Which of the replay's templates it is made of.
    pub template: u32,
    /// Which of the replay's sets of clients it goes to; `None`: whom its target means then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<u32>,
    /// The run that it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Serial>,
    /// What its run has as `scheduled_at`: that of the original, or the occurrence.
    pub scheduled_at: Timestamp,
    /// How long after the first of the replay it was, in milliseconds.
    pub offset_ms: u64,
}

impl ReplayItem {
    /// How long after the first of the replay it was.
    #[must_use]
    pub fn offset(&self) -> Duration {
        Duration::from_millis(self.offset_ms)
    }
}

impl Run {
    /// What is the same for every run like it: without its serial, its times and what came of it.
    /// `expires_at` is counted from 1970.
    #[must_use]
    pub fn template(&self) -> Self {
        let epoch = Timestamp::from_millis(0);
        Self {
            serial: Serial::from_bytes([0; 16]),
            // Whatever a replay's run was, its own is another.
            cause: Cause::Replay,
            scheduled_at: epoch,
            fired_at: epoch,
            expires_at: self.expires_at.map(|at| epoch.plus(at.since(self.expiry_begins()))),
            rollout_state: None,
            cancelled_at: None,
            ended_at: None,
            reason: None,
            counts: Counts::default(),
            replay_of: None,
            ..self.clone()
        }
    }

    /// The moment from which its expiry is counted.
    fn expiry_begins(&self) -> Timestamp {
        if self.replay_of.is_some() { self.fired_at } else { self.scheduled_at }
    }
}

/// What a replay would run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayPlan {
    /// What it repeats.
    pub kind: ReplayKind,
    /// The runs that it would make, in their order.
    pub runs: Vec<PlannedRun>,
    /// Their deliveries.
    pub deliveries: u64,
    /// What was chosen and would not run.
    #[serde(default)]
    pub left_out: LeftOut,
}

/// A run that a replay would make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRun {
    /// The run that it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<Serial>,
    /// Its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// Its command.
    pub command: CommandName,
    /// Its target.
    pub target: Target,
    /// What it would have as `scheduled_at`.
    pub scheduled_at: Timestamp,
    /// How long after the replay's begin its turn comes, in milliseconds; `None`: when there is
    /// room for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// How many clients it would go to.
    pub deliveries: u64,
    /// Their names; of a plan with more than [`PLAN_CLIENTS`] the first.
    pub clients: Vec<ClientId>,
}

/// A run that a replay has made, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRun {
    /// Which item of the replay it is; 0 is the first.
    pub item: u32,
    /// The run.
    pub run: Run,
}
