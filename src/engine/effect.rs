//! What the engine wants done once its changes are durable: one enum, in the domain's words.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::applied::{Applied, CalendarChange, Planned};
use super::event::Event;
use super::input::{CallId, SessionId};
use super::waits::Wait;
use crate::calendar::CalendarView;
use crate::client_record::ClientView;
use crate::command_limit::CommandLimit;
use crate::forecast::{Outlook, Span};
use crate::id::{ClientId, JobId, JobName, Serial};
use crate::job::{Command, JobView, OnClientCrash};
use crate::job_diff::FieldChange;
use crate::keep::Keep;
use crate::live::Progress;
use crate::pause::SelectionChange;
use crate::policy::Priority;
use crate::replay::{Replay, ReplayPlan};
use crate::rollout::RunProgress;
use crate::run::{Attempt, DeliveryState, Run};
use crate::store_kind::StoreKind;
use crate::time::Timestamp;

/// Something to do outside, after the commit.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Answer a caller.
    Reply {
        /// The caller.
        call: CallId,
        /// The answer.
        answer: Result<Reply, RequestError>,
    },
    /// Send a command over a connection.
    Send {
        /// The connection.
        session: SessionId,
        /// The command, shared by all who get it.
        dispatch: Arc<Dispatch>,
    },
    /// Tell a client that its answer is recorded.
    Ack {
        /// The connection.
        session: SessionId,
        /// The run, and which attempt.
        attempt: Attempt,
    },
    /// Ask a client to stop a command.
    Cancel {
        /// The connection.
        session: SessionId,
        /// The run.
        serial: Serial,
    },
    /// End a connection.
    Close {
        /// The connection.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// Tell those who watch.
    Notify(Arc<Event>),
}

/// A command on its way, the same for every client of the run and of the attempt.
#[derive(Debug)]
pub struct Dispatch {
    /// The run.
    pub serial: Serial,
    /// Which attempt.
    pub attempt: u32,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// What to run.
    pub command: Command,
    /// The job's name.
    pub job: Option<JobName>,
    /// When it was due.
    pub scheduled_at: Timestamp,
    /// Whether a client runs the job's commands one after the other.
    pub in_turn: bool,
    /// What becomes of it when a client's process ends while it runs there.
    pub on_client_crash: OnClientCrash,
    /// What it overtakes at a client.
    pub priority: Priority,
    /// How many of the job's commands a client runs at once; `None`: `in_turn` alone tells.
    pub per_client: Option<CommandLimit>,
    /// The encoded frame, filled by the connection layer once for all.
    pub frame: OnceLock<Bytes>,
}

/// Why the server ends a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The client has connected anew under the same id.
    Displaced,
    /// The client was removed from the registry.
    Removed,
    /// The node stops.
    Stopping,
    /// The client does not take what it is sent.
    TooSlow,
}

/// The answer to a caller.
#[derive(Debug, Clone)]
pub enum Reply {
    /// It is done.
    Done,
    /// What changed.
    Applied(Applied),
    /// What would change.
    Planned(Planned),
    /// One job.
    Job(Box<JobView>),
    /// Jobs.
    Jobs(Vec<JobView>),
    /// What became of the jobs of a selection.
    Selection(SelectionChange),
    /// Runs that are being forgotten.
    Forgetting(Vec<Serial>),
    /// Jobs that say what of their history is kept.
    Keeping(Vec<(JobId, Keep)>),
    /// One run.
    Run(Box<Run>),
    /// Runs.
    Runs(Vec<Run>),
    /// How far a run is; `None`: it is not open.
    Progress(Option<Box<RunProgress>>),
    /// Open deliveries of a run, in the order of their clients' names.
    Deliveries(Vec<OpenDelivery>),
    /// What deliveries wait for at that moment; `None`: one is not open.
    Waits(Timestamp, Vec<Option<Wait>>),
    /// One client.
    Client(Box<ClientView>),
    /// Clients.
    Clients(Vec<ClientView>),
    /// Counts of everything.
    Status(Status),
    /// What time it is.
    Time(Timestamp),
    /// Where a job stands, for a forecast at that moment.
    Outlook(Timestamp, Outlook),
    /// Where jobs stand, for a forecast.
    Outlooks(Outlooks),
    /// The connection stands; and how many commands the client may run at once, if the registry
    /// says so.
    Connected(Option<CommandLimit>),
    /// What a calendar's change does.
    CalendarPut(Box<CalendarChange>),
    /// One calendar.
    Calendar(Box<CalendarView>),
    /// Calendars.
    Calendars(Vec<CalendarView>),
    /// The numbers of a group's members.
    Members(RoaringBitmap),
    /// The submit was made before: the run of the first, which may have ended.
    Repeated(Serial),
    /// A replay.
    Replay(Box<Replay>),
    /// What a replay would run.
    ReplayPlan(Box<ReplayPlan>),
}

/// What would become of one job, and where it would then stand.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The change, without the next firings: whoever asked computes them, so that the engine
    /// need not.
    pub change: JobChange,
    /// For a job that is new or whose rule changes: where it stands, if it is there, and where
    /// it would.
    pub outlooks: Option<(Option<Outlook>, Outlook)>,
    /// The moment that the outlooks are of.
    pub now: Timestamp,
}

/// Where a part of the jobs stands, for a forecast.
#[derive(Debug, Clone)]
pub struct Outlooks {
    /// The span that is asked for.
    pub span: Span,
    /// Those that may fire in it.
    pub outlooks: Vec<Outlook>,
    /// How many were left out because they are paused.
    pub paused: u64,
    /// Where to go on: the last name that was looked at; `None`: these were the last.
    pub after: Option<JobName>,
}

/// A delivery that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDelivery {
    /// The client.
    pub client: ClientId,
    /// Where it stands: queued, sent or accepted.
    pub state: DeliveryState,
    /// How far its command is, if the client has said so. The engine does not know it: the node's
    /// handle fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// Counts of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Clients in the registry.
    pub clients_defined: u64,
    /// Clients that hold a connection.
    pub clients_connected: u64,
    /// Jobs stored.
    pub jobs: u64,
    /// Jobs that have a next firing and are not paused.
    pub jobs_active: u64,
    /// Runs with open deliveries.
    pub runs_open: u64,
    /// Open deliveries.
    pub deliveries_open: u64,
    /// When the next job is due.
    pub next_due: Option<Timestamp>,
    /// How often the server's wall clock has jumped by more than 5 s since the start.
    #[serde(default)]
    pub clock_jumps: u64,
    /// The kind of the store; `None`: it is not on disk. The engine does not know it: the node's
    /// handle fills it in.
    #[serde(default)]
    pub store: Option<StoreKind>,
}

/// What an apply does to one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobChange {
    /// The job.
    pub name: JobName,
    /// What happens to it.
    pub action: JobAction,
    /// The fields that differ; empty for a removal.
    #[serde(default)]
    pub fields: Vec<FieldChange>,
    /// What its owner should know: a target that nobody has, a time that has passed.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// In a dry run: how its next firings change, if it is new or its rule changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextChange>,
}

/// How the next firings of a job change: [`NextChange::SHOWN`] of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextChange {
    /// Those that it has; none when it is new.
    pub before: Vec<Timestamp>,
    /// Those that it would have.
    pub after: Vec<Timestamp>,
}

impl NextChange {
    /// Firings that are shown, before and after.
    pub const SHOWN: usize = 3;
}

/// What happens to a job in an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobAction {
    /// It is new.
    Create,
    /// Its definition changes.
    Update,
    /// It is no longer among the definitions.
    Remove,
    /// It stays as it is.
    Keep,
}

/// A request that cannot be met. The message names the thing and the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such job, client, group, run or calendar.
    #[error("no {what} named {name:?}{}", crate::suggest::hint(.suggestion.as_deref()))]
    NotFound {
        /// `job`, `client`, `group`, `run`, `group of jobs` or `calendar`.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
    },
    /// The thing is there already, or not in a state for this.
    #[error("{0}")]
    Conflict(String),
    /// The client may not connect.
    #[error("{0}")]
    Denied(String),
    /// The request is not valid.
    #[error("{0}")]
    Invalid(String),
    /// A limit is reached.
    #[error("{0}")]
    Limit(String),
}
