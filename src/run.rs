//! Runs, deliveries and responses.
//!
//! Imports identifiers, times, targets and commands.

mod size;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::delivery_state::DeliveryState;
use crate::id::{ClientId, JobId, JobName, Serial};
use crate::idempotency::IdempotencyKey;
use crate::job::{Command, Offline, OnClientCrash, Overlap, OverlapScope};
use crate::json::Json;
use crate::policy::{DeliveryMode, Policy, Priority, Retry, Timeout, is_default};
use crate::replay::ReplayOf;
use crate::rollout::{Rollout, RolloutState};
use crate::target::{Membership, Target};
use crate::time::{Timestamp, duration};

/// How a client ended a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// An end state that [`DeliveryState::is_answer`].
    pub state: DeliveryState,
    /// Why, where the state alone does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the handler returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
    /// How long the handler ran, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_ms: Option<u64>,
}

impl Outcome {
    /// An end without a result.
    #[must_use]
    pub fn ended(state: DeliveryState, reason: impl Into<String>) -> Self {
        Self { state, reason: Some(reason.into()), result: None, ran_ms: None }
    }

    /// A success with its result.
    #[must_use]
    pub fn succeeded(result: Json) -> Self {
        Self { state: DeliveryState::Succeeded, reason: None, result: Some(result), ran_ms: None }
    }
}

/// The recorded end of one delivery, or of one of its attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FlatResponse")]
pub struct Response {
    /// The run.
    pub serial: Serial,
    /// The client.
    pub client: ClientId,
    /// When the server recorded it.
    pub at: Timestamp,
    /// Which attempt ended; 1 is the first.
    #[serde(skip_serializing_if = "is_first_attempt")]
    pub attempt: u32,
    /// Whether another attempt follows: then this is not the delivery's end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retried: bool,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A [`Response`] as it is written. Read without `flatten`, which would lose the result's text.
#[derive(Deserialize)]
struct FlatResponse {
    serial: Serial,
    client: ClientId,
    at: Timestamp,
    #[serde(default = "first_attempt")]
    attempt: u32,
    #[serde(default)]
    retried: bool,
    state: DeliveryState,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    result: Option<Json>,
    #[serde(default)]
    ran_ms: Option<u64>,
}

impl From<FlatResponse> for Response {
    fn from(flat: FlatResponse) -> Self {
        let FlatResponse { serial, client, at, attempt, retried, state, reason, result, ran_ms } =
            flat;
        let outcome = Outcome { state, reason, result, ran_ms };
        Self { serial, client, at, attempt, retried, outcome }
    }
}

/// What a client answered to a delivery that the server had ended itself, or to an attempt that it
/// had given up. It changes nothing: the first end stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateAnswer {
    /// The client.
    pub client: ClientId,
    /// When the server recorded it.
    pub at: Timestamp,
    /// Which attempt it was for; 1 is the first.
    pub attempt: u32,
    /// How it ended there. A result above [`EVENT_RESULT`](crate::engine::EVENT_RESULT) is left
    /// out, a long reason is cut.
    pub outcome: Outcome,
}

/// One try of a delivery: the run, and which try it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt {
    /// The run.
    pub serial: Serial,
    /// 1 for the first.
    pub number: u32,
}

impl From<Serial> for Attempt {
    /// The first attempt.
    fn from(serial: Serial) -> Self {
        Self { serial, number: 1 }
    }
}

/// The attempt of a delivery that was not told.
pub(crate) fn first_attempt() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives the signature")]
pub(crate) fn is_first_attempt(attempt: &u32) -> bool {
    *attempt == 1
}

/// Why a run came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The job's rule was due.
    Scheduled,
    /// The job's rule was due while the server was down or the job paused.
    CatchUp,
    /// Somebody triggered the job.
    Trigger,
    /// Somebody submitted a command without a job.
    Submit,
    /// A replay ran an earlier run again.
    Replay,
    /// A replay made up for an occurrence of the job's rule.
    Backfill,
}

impl Cause {
    /// All causes, in the order of their codes.
    pub const ALL: [Self; 6] =
        [Self::Scheduled, Self::CatchUp, Self::Trigger, Self::Submit, Self::Replay, Self::Backfill];

    /// Whether a job's rule brought it about, in time or later.
    #[must_use]
    pub fn is_by_rule(self) -> bool {
        matches!(self, Self::Scheduled | Self::CatchUp)
    }

    /// The cause's number in stored pages.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The cause of a number in stored pages.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Scheduled => "scheduled",
            Self::CatchUp => "catch_up",
            Self::Trigger => "trigger",
            Self::Submit => "submit",
            Self::Replay => "replay",
            Self::Backfill => "backfill",
        })
    }
}

/// A command to run at once, without a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Whom it is for.
    pub target: Target,
    /// The command's name.
    pub command: crate::id::CommandName,
    /// The command's parameters. Default `{}`.
    #[serde(default)]
    pub params: Json,
    /// What a client that is away gets. Default `queue`.
    #[serde(default)]
    pub offline: Offline,
    /// How long a delivery that no client has accepted is still worth sending. Default: for ever.
    #[serde(default, with = "duration::optional")]
    pub expires_after: Option<Duration>,
    /// What becomes of it when a client's process ends while it runs there. Default `fail`.
    #[serde(default, skip_serializing_if = "OnClientCrash::is_default")]
    pub on_client_crash: OnClientCrash,
    /// How often a delivery is tried. Default: once.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: Retry,
    /// How long a client may take. Default: 30 s to accept, for ever to run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeout: Timeout,
    /// Whether a delivery may be sent twice. Default `at_least_once`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delivery: DeliveryMode,
    /// Whether clients that come into the target while the run is open get it too. Default
    /// `snapshot`: they do not.
    #[serde(default, skip_serializing_if = "is_default")]
    pub membership: Membership,
    /// What it overtakes and what overtakes it, among the commands that wait for a client.
    /// Default `normal`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: Priority,
    /// How it reaches its clients. Default: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// By this a submit that is made again is known for
    /// [`IDEMPOTENCY_WINDOW`](crate::IDEMPOTENCY_WINDOW): it gives back the first run. Default:
    /// every submit is a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<IdempotencyKey>,
    /// A submit with the same command, target and parameters within this time of one that was
    /// unique, too, gives back that one's run; at most
    /// [`MAX_UNIQUE_WITHIN`](crate::MAX_UNIQUE_WITHIN). Default: every submit is a run.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional")]
    pub unique_within: Option<Duration>,
}

impl Submission {
    /// A command with empty parameters, queued for those who are away.
    #[must_use]
    pub fn new(target: Target, command: crate::id::CommandName) -> Self {
        Self {
            target,
            command,
            params: Json::empty(),
            offline: Offline::Queue,
            expires_after: None,
            on_client_crash: OnClientCrash::default(),
            retry: Retry::default(),
            timeout: Timeout::default(),
            delivery: DeliveryMode::default(),
            membership: Membership::default(),
            priority: Priority::default(),
            rollout: None,
            idempotency_key: None,
            unique_within: None,
        }
    }

    /// The policies that its run keeps.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let Self { retry, timeout, delivery, priority, .. } = *self;
        Policy { retry, timeout, delivery, priority, per_client: None }
    }
}

/// How many deliveries of a run ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// All deliveries of the run.
    pub total: u32,
    /// Ended as [`DeliveryState::Succeeded`].
    pub succeeded: u32,
    /// Ended as [`DeliveryState::Failed`].
    pub failed: u32,
    /// Ended as [`DeliveryState::Rejected`].
    pub rejected: u32,
    /// Ended as [`DeliveryState::TimedOut`].
    pub timed_out: u32,
    /// Ended as [`DeliveryState::Expired`].
    pub expired: u32,
    /// Ended as [`DeliveryState::Cancelled`].
    pub cancelled: u32,
    /// Ended as [`DeliveryState::Superseded`].
    pub superseded: u32,
    /// Ended as [`DeliveryState::Skipped`].
    pub skipped: u32,
    /// Ended as [`DeliveryState::Removed`].
    pub removed: u32,
    /// Attempts that were followed by another; they are no ends.
    #[serde(skip_serializing_if = "is_default")]
    pub retried: u32,
}

impl Counts {
    /// Counts one end. Open states count nothing.
    pub fn add(&mut self, state: DeliveryState) {
        self.set(state, self.of(state) + 1);
    }

    /// How many ended so; of open states none.
    #[must_use]
    pub fn of(&self, state: DeliveryState) -> u32 {
        let mut counts = *self;
        counts.place(state).map_or(0, |count| *count)
    }

    /// Says how many ended so. Of open states none can.
    pub fn set(&mut self, state: DeliveryState, count: u32) {
        if let Some(place) = self.place(state) {
            *place = count;
        }
    }

    fn place(&mut self, state: DeliveryState) -> Option<&mut u32> {
        Some(match state {
            DeliveryState::Queued | DeliveryState::Sent | DeliveryState::Accepted => return None,
            DeliveryState::Succeeded => &mut self.succeeded,
            DeliveryState::Failed => &mut self.failed,
            DeliveryState::Rejected => &mut self.rejected,
            DeliveryState::TimedOut => &mut self.timed_out,
            DeliveryState::Expired => &mut self.expired,
            DeliveryState::Cancelled => &mut self.cancelled,
            DeliveryState::Superseded => &mut self.superseded,
            DeliveryState::Skipped => &mut self.skipped,
            DeliveryState::Removed => &mut self.removed,
        })
    }

    /// Adds those of another run.
    pub fn sum(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        self.succeeded = self.succeeded.saturating_add(other.succeeded);
        self.failed = self.failed.saturating_add(other.failed);
        self.rejected = self.rejected.saturating_add(other.rejected);
        self.timed_out = self.timed_out.saturating_add(other.timed_out);
        self.expired = self.expired.saturating_add(other.expired);
        self.cancelled = self.cancelled.saturating_add(other.cancelled);
        self.superseded = self.superseded.saturating_add(other.superseded);
        self.skipped = self.skipped.saturating_add(other.skipped);
        self.removed = self.removed.saturating_add(other.removed);
        self.retried = self.retried.saturating_add(other.retried);
    }

    /// Deliveries that have ended.
    #[must_use]
    pub fn ended(&self) -> u32 {
        self.succeeded
            + self.failed
            + self.rejected
            + self.timed_out
            + self.expired
            + self.cancelled
            + self.superseded
            + self.skipped
            + self.removed
    }

    /// Deliveries that have not ended.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.total.saturating_sub(self.ended())
    }
}

/// One firing, to all its targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its serial number.
    pub serial: Serial,
    /// The job's number; `None` for a submitted command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The job's name when it fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// Why it came to be.
    pub cause: Cause,
    /// What was delivered.
    pub command: Command,
    /// Whom it was for.
    pub target: Target,
    /// When it was due.
    pub scheduled_at: Timestamp,
    /// When it fired.
    pub fired_at: Timestamp,
    /// What clients that were away get.
    #[serde(default)]
    pub offline: Offline,
    /// When deliveries that no client has accepted end as `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What earlier runs of the job mean for it; a submitted command has none.
    #[serde(default = "overlap_of_none", skip_serializing_if = "is_overlap_of_none")]
    pub overlap: Overlap,
    /// Where they must still run for that.
    #[serde(default, skip_serializing_if = "is_scope_of_none")]
    pub overlap_scope: OverlapScope,
    /// Over how long a time its clients' starts are spread.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional")]
    pub spread: Option<Duration>,
    /// How much later than it fired it is delivered, at most.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional")]
    pub jitter: Option<Duration>,
    /// What becomes of it when a client's process ends while it runs there.
    #[serde(default, skip_serializing_if = "OnClientCrash::is_default")]
    pub on_client_crash: OnClientCrash,
    /// How its deliveries are tried.
    #[serde(default, skip_serializing_if = "is_default")]
    pub policy: Policy,
    /// How it reaches its clients; `None`: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// How far that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_state: Option<RolloutState>,
    /// When its cancellation was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<Timestamp>,
    /// When its last delivery ended; `None`: it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why it ended without deliveries, or its rollout was aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How its deliveries ended.
    pub counts: Counts,
    /// Whether clients that come into its target while it is open get it too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub membership: Membership,
    /// About how many bytes of the store it takes, with the responses so far: see
    /// [`Run::kept_bytes`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub bytes: u64,
    /// Whether it is being forgotten: a part of its responses may be gone, and it is shown to
    /// nobody.
    #[serde(default, skip_serializing_if = "is_default")]
    pub forgotten: bool,
    /// The replay that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<ReplayOf>,
}

fn overlap_of_none() -> Overlap {
    Overlap::Allow
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives the signature")]
fn is_overlap_of_none(overlap: &Overlap) -> bool {
    *overlap == Overlap::Allow
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives the signature")]
fn is_scope_of_none(scope: &OverlapScope) -> bool {
    *scope == OverlapScope::Client
}

impl Run {
    /// The job whose deliveries a client runs one after the other; `None`: they may overlap.
    #[must_use]
    pub fn in_turn(&self) -> Option<JobId> {
        self.job_id.filter(|_| self.overlap != Overlap::Allow)
    }

    /// Whether it has ended with every delivery succeeded, and at least one.
    #[must_use]
    pub fn all_succeeded(&self) -> bool {
        self.ended_at.is_some()
            && self.counts.total > 0
            && self.counts.succeeded == self.counts.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_keeps_the_text_of_its_result() {
        let text = r#"{"serial":"01JD0000000000000000000000","client":"web-01","at":"2026-11-22T06:00:00.000Z","state":"succeeded","result":{"z":1.50,"a":1e400},"ran_ms":12}"#;
        let response: Response = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&response).unwrap(), text);
    }
}
