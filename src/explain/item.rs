//! What is told: firings, deliveries, absences, and the sums at the end.

use serde::{Deserialize, Serialize};

use super::fate::Fate;
use super::sums::Sums;
use crate::actor::Actor;
use crate::id::{ClientId, CommandName, JobId, JobName, Serial};
use crate::job::CatchUp;
use crate::live::Progress;
use crate::run::{Cause, Counts, DeliveryState};
use crate::target::Target;
use crate::time::Timestamp;

/// One thing that is told, in the order of time; the last are the sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Item {
    /// A firing of a job, or another run of it.
    Firing(Box<Firing>),
    /// A delivery.
    Delivery(Box<OneDelivery>),
    /// Firings that did not happen, of a job that is for the client.
    Missed(Box<MissedFirings>),
    /// A time for which a client was away.
    Away(Away),
    /// What is to be known of the answer as a whole.
    Note(Note),
    /// The sums: the last.
    Sums(Box<Sums>),
}

/// A firing that was to be, or another run of the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// When it was due; of a run that nobody scheduled, when it was asked for.
    pub at: Timestamp,
    /// The job: of several that have had the name, which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The serial that its run has, or would have.
    pub serial: Serial,
    /// Why the run came to be; of a firing without one, `scheduled`.
    pub cause: Cause,
    /// Whether the rule has it.
    pub expected: bool,
    /// The revision of the job by which it was due; `None`: no rule has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
    /// Whether it did not do what it was to do.
    pub problem: bool,
    /// When it fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired_at: Option<Timestamp>,
    /// How long after it was due, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<u64>,
    /// Why it was made up for so late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_because: Option<LateBecause>,
    /// Whom it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// How its deliveries ended: of those that are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// Those that did not succeed, or the one that is asked for;
    /// [`SHOWN_CLIENTS`](super::SHOWN_CLIENTS) at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<Delivery>,
    /// How many more did not succeed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives the signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A time for which the server was down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Down {
    /// The last moment that the ledger knows of the server before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// When it started again.
    pub to: Timestamp,
    /// Whether it had stopped in order.
    pub in_order: bool,
}

/// Why a firing was made up for later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateBecause {
    /// The server was down.
    Down(Down),
    /// The job was paused.
    Paused {
        /// When it was resumed.
        resumed_at: Timestamp,
    },
    /// The server was late, or the moment had passed when the job was defined.
    Late,
}

/// What became of a run at one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The client.
    pub client: ClientId,
    /// Where it stands.
    pub state: DeliveryState,
    /// When its end was recorded; `None`: it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// How long after the run was due that was, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// Which attempt ended, or is at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How long the command ran, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_ms: Option<u64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The first line of what the client gave as its result, if it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The run that stood in the way, or took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Serial>,
    /// Who cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<Actor>,
    /// What an open one waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
}

/// What an open delivery waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// How many deliveries the client gets before it.
    pub ahead: u64,
    /// Since when the client is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away_since: Option<Timestamp>,
    /// Whether the client is away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
    /// Why it is not sent though the client is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// It is not sent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// How far its command is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// A delivery with its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneDelivery {
    /// The run.
    pub serial: Serial,
    /// The job; `None`: a submit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// The command.
    pub command: CommandName,
    /// Why the run came to be.
    pub cause: Cause,
    /// When it was due.
    pub scheduled_at: Timestamp,
    /// When it fired.
    pub fired_at: Timestamp,
    /// Whether it did not do what it was to do.
    pub problem: bool,
    /// What became of it.
    #[serde(flatten)]
    pub delivery: Delivery,
}

/// Firings that did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedFirings {
    /// The job.
    pub job: JobName,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// How many.
    pub count: u64,
    /// Why.
    pub reason: String,
    /// The job's policy at that time.
    pub policy: CatchUp,
}

/// A time for which a client was away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Away {
    /// The client.
    pub client: ClientId,
    /// Since when; `None`: since before what is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Until when; `None`: it still was at the end of the span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Why its connection had ended.
    pub reason: String,
    /// Deliveries that had waited for its return.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub queued: u64,
}

/// What is to be known of the answer as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// In a sentence.
    pub note: String,
}

impl Item {
    /// A note.
    pub(super) fn note(note: impl Into<String>) -> Self {
        Self::Note(Note { note: note.into() })
    }
}
