//! What happened: told to those who watch, and kept in the ledger, in the same words.
//!
//! Imports domain types.

use serde::{Deserialize, Serialize};

use super::input::Forgotten;
use crate::actor::Actor;
use crate::id::{CalendarName, ClientId, CommandName, JobId, JobName, ReplayId, Serial};
use crate::job::Missed;
use crate::job_diff::FieldChange;
use crate::replay::ReplayKind;
use crate::rollout::Standing;
use crate::run::{Cause, Counts, LateAnswer, Response};
use crate::time::Timestamp;

/// The most characters of a field's value that an event shows; the revision has the whole.
pub const EVENT_FIELD: usize = 200;

/// The most fields that an event shows; the revision has all.
pub const EVENT_FIELDS: usize = 16;

/// Something that happened, for those who watch and for the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Who brought it about.
    #[serde(default)]
    pub actor: Actor,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A job's definition or standing changed.
    Job {
        /// The job.
        job: JobName,
        /// Its number.
        id: JobId,
        /// `created`, `updated`, `removed`, `paused`, `resumed` or `ended`.
        change: String,
        /// The revision that its definition has since then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u32>,
        /// The fields that an update changed, at most [`EVENT_FIELDS`], their values cut at
        /// [`EVENT_FIELD`] characters.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        fields: Vec<FieldChange>,
        /// Why it is paused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// When it resumes by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// A job's firings were missed.
    Missed {
        /// The job.
        job: JobName,
        /// Which, and why.
        missed: Missed,
    },
    /// A run fired.
    RunStarted {
        /// The run.
        serial: Serial,
        /// The job.
        job: Option<JobName>,
        /// The command.
        command: CommandName,
        /// Why it came to be.
        cause: Cause,
        /// When it was due.
        scheduled_at: Timestamp,
        /// Deliveries.
        total: u32,
        /// Deliveries queued for clients that are away.
        away: u32,
    },
    /// A run's rollout goes on to a wave, waits, is held or is aborted.
    Rollout {
        /// The run.
        serial: Serial,
        /// The job.
        job: Option<JobName>,
        /// The wave at hand, from 1.
        wave: u32,
        /// How many waves there are.
        of: u32,
        /// Whether it goes on.
        rollout: Standing,
    },
    /// A run's last delivery ended.
    RunEnded {
        /// The run.
        serial: Serial,
        /// The job.
        job: Option<JobName>,
        /// How its deliveries ended.
        counts: Counts,
    },
    /// A delivery ended.
    DeliveryEnded {
        /// The job.
        job: Option<JobName>,
        /// The command.
        command: CommandName,
        /// How. A result above [`EVENT_RESULT`](super::EVENT_RESULT) is left out: the response
        /// that was recorded has it.
        response: Response,
    },
    /// An attempt of a delivery has ended, and another follows.
    AttemptEnded {
        /// The job, if there is one.
        job: Option<JobName>,
        /// The command.
        command: CommandName,
        /// How it ended; a result of more than [`EVENT_RESULT`](super::EVENT_RESULT) bytes is
        /// left out.
        response: Response,
        /// When it is tried again.
        next_at: Timestamp,
    },
    /// Somebody cancelled a run, or one of its deliveries, or approved its next wave.
    RunChanged {
        /// The run.
        serial: Serial,
        /// The job.
        job: Option<JobName>,
        /// `cancelled` or `approved`.
        change: String,
        /// The client whose delivery alone was cancelled.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<ClientId>,
    },
    /// The registry's record of a client changed.
    Client {
        /// The client.
        client: ClientId,
        /// `added`, `removed`, `grouped`, `labelled`, `limited` or `described` (by itself).
        change: String,
        /// What differs: groups, labels or the limit.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        fields: Vec<FieldChange>,
    },
    /// The server started or stopped.
    Server {
        /// `started` or `stopped`.
        change: String,
        /// The version of fleetcron.
        version: String,
        /// At a start: the last moment that the ledger knows of the server before; `None`: the
        /// store is new.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        down_since: Option<Timestamp>,
        /// At a start: whether the server before had stopped in order.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped_in_order: Option<bool>,
    },
    /// A setting of the server is another than at its last start.
    Setting {
        /// The setting's name, as the flag of `serve` has it.
        name: String,
        /// Its value before; `None`: it was not there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        /// Its value now; `None`: it is no longer there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// An HTTP token was used, for the first time in an hour from this address.
    TokenUsed {
        /// The token's name.
        token: String,
        /// The address from which.
        from: String,
    },
    /// The server's wall clock was set.
    ClockJumped,
    /// A client connected.
    Connected {
        /// The client.
        client: ClientId,
        /// Deliveries that waited for it.
        queued: u64,
    },
    /// A client's connection ended.
    Disconnected {
        /// The client.
        client: ClientId,
        /// Why.
        reason: String,
    },
    /// A round of retention has forgotten ended runs.
    Forgotten {
        /// How much.
        #[serde(flatten)]
        forgotten: Forgotten,
    },
    /// A calendar's definition changed.
    Calendar {
        /// The calendar.
        calendar: CalendarName,
        /// `created`, `updated` or `removed`.
        change: String,
        /// How many jobs have another next firing by it, or none any more.
        moved: u64,
    },
    /// A replay was made or cancelled, or has ended.
    Replay {
        /// The replay.
        replay: ReplayId,
        /// What it repeats.
        kind: ReplayKind,
        /// The job that was asked for, if it was one.
        job: Option<JobName>,
        /// `created`, `cancelled` or `ended`.
        change: String,
        /// Runs that it has made.
        started: u32,
        /// Runs that it makes if it is not cancelled.
        items: u32,
        /// How the deliveries of those that have ended did.
        counts: Counts,
    },
    /// A client answered what the server had ended itself; the first end stands.
    LateAnswer {
        /// The run.
        serial: Serial,
        /// What it answered.
        answer: LateAnswer,
    },
}

/// A value as an event shows it.
fn shorten(value: String) -> String {
    match value.char_indices().nth(EVENT_FIELD) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value,
    }
}

/// Changes of fields as an event shows them.
pub(super) fn glimpse_of(fields: &[FieldChange]) -> Vec<FieldChange> {
    let short = |change: &FieldChange| FieldChange {
        field: shorten(change.field.clone()),
        before: change.before.clone().map(shorten),
        after: change.after.clone().map(shorten),
    };
    fields.iter().take(EVENT_FIELDS).map(short).collect()
}
