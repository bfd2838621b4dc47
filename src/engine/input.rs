//! What the engine is told: one enum, in the domain's words.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::replays::NewReplay;
use crate::actor::{Actor, TokenName};
use crate::calendar::Calendar;
use crate::client_record::{Proof, TokenHash};
use crate::command_limit::CommandLimit;
use crate::forecast::ForecastQuery;
use crate::id::{CalendarName, ClientId, GroupName, JobId, JobName, ReplayId, Serial};
use crate::job::JobSpec;
use crate::job_past::RemovedJob;
use crate::label::{Facts, LabelKey, Labels};
use crate::pause::{JobSelection, PauseTerms};
use crate::run::{Attempt, Outcome, Submission};
use crate::time::Timestamp;

/// A caller's number, by which the answer finds its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(pub u64);

/// A connection's number. Never reused while the node lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// Something that happened outside.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "an input is moved a few times and never kept; a box for each call would cost more"
)]
pub enum Input {
    /// A caller asks for something; the answer is an [`Effect::Reply`](super::Effect::Reply).
    Call {
        /// The caller.
        call: CallId,
        /// Who asks.
        actor: Actor,
        /// What is asked.
        request: Request,
        /// Random bits for the serials and job numbers that the request may need.
        entropy: u128,
    },
    /// A client said hello; the answer is an [`Effect::Reply`](super::Effect::Reply) with
    /// [`Reply::Connected`](super::Reply::Connected).
    Connect {
        /// The caller.
        call: CallId,
        /// The connection.
        session: SessionId,
        /// Who it says it is.
        client: ClientId,
        /// How it proves it.
        proof: Proof,
        /// What it has taken and not answered.
        taken: Vec<Attempt>,
    },
    /// A connection has ended.
    Disconnect {
        /// The connection.
        session: SessionId,
        /// Why.
        reason: String,
    },
    /// A client has taken a delivery.
    Accepted {
        /// The connection.
        session: SessionId,
        /// The run, and which attempt.
        attempt: Attempt,
    },
    /// A client has begun to run what it has taken.
    Started {
        /// The connection.
        session: SessionId,
        /// The run, and which attempt.
        attempt: Attempt,
    },
    /// A client has ended a delivery.
    Responded {
        /// The connection.
        session: SessionId,
        /// The run, and which attempt.
        attempt: Attempt,
        /// How.
        outcome: Outcome,
    },
    /// A client stops in order: it takes nothing more over this connection, and ends what it has.
    Leaving {
        /// The connection.
        session: SessionId,
    },
    /// The server has started: the first input after a restore. What is other than at the start
    /// before is told.
    Boot {
        /// The version of fleetcron.
        version: String,
        /// The server's settings, as the flags of `serve` have them.
        settings: BTreeMap<String, String>,
    },
    /// The server stops in order: the last input.
    Stopping,
    /// An HTTP token was used.
    TokenUsed {
        /// The token's name.
        token: TokenName,
        /// From which address.
        from: String,
    },
    /// The wall clock was set, forward or back. Whatever it tells then, the engine's own time
    /// never goes back.
    ClockJumped,
    /// A client has said of itself what it is.
    Facts {
        /// The connection.
        session: SessionId,
        /// What it said.
        facts: Box<Facts>,
    },
}

/// What a caller can ask.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Create and change calendars and jobs and, with `prune`, remove jobs: all or nothing.
    Apply(Apply),
    /// Remove a job; its queued deliveries end as `removed`.
    RemoveJob(JobName),
    /// Stop a job's rule from firing, for a time or until it is resumed.
    PauseJob(Pause),
    /// Stop the rules of many jobs from firing: all or nothing.
    PauseJobs {
        /// Which.
        jobs: JobSelection,
        /// Why, and until when.
        terms: PauseTerms,
    },
    /// Let a paused job's rule fire again; missed firings follow its `catch_up`.
    ResumeJob(JobName),
    /// Let the rules of many paused jobs fire again: all or nothing.
    ResumeJobs(JobSelection),
    /// Run a job now, whatever its rule says.
    TriggerJob(JobName),
    /// One job.
    GetJob(JobName),
    /// Jobs in the order of their names.
    ListJobs(Page<JobName>),
    /// Run a command now, without a job.
    Submit(Submission),
    /// End a run: queued deliveries as `cancelled`, those at clients are asked to stop.
    CancelRun(Serial),
    /// End one client's delivery of a run in the same way.
    CancelDelivery(Serial, ClientId),
    /// End all open runs of a job in the same way.
    CancelJob(JobName),
    /// Let the next wave of a run's rollout begin.
    ApproveRun(Serial),
    /// How far a run is, if it is open.
    RunProgress(Serial),
    /// Those of the runs that are open, with counts as they stand.
    OpenRuns(Vec<Serial>),
    /// The open runs of some jobs, the newest first, with counts as they stand.
    OpenRunsOfJobs {
        /// The jobs, which may be removed ones.
        jobs: Vec<JobId>,
        /// Only those above this serial.
        after: Option<Serial>,
        /// Only those below this serial.
        before: Option<Serial>,
        /// The most.
        limit: usize,
    },
    /// The open deliveries of a run.
    OpenDeliveries(Serial),
    /// What open deliveries wait for, of [`WAITS`](super::WAITS) at most.
    Waits(Vec<(Serial, ClientId)>),
    /// Define a client, or revive a removed one.
    AddClient(NewClient),
    /// Remove a client; its queued deliveries end as `removed`.
    RemoveClient(ClientId),
    /// Put a client into groups and take it out of others.
    GroupClient(Regroup),
    /// One client.
    GetClient(ClientId),
    /// Clients in the order of their names, those of one group if `group` is given.
    ListClients {
        /// Which part of the list.
        page: Page<ClientId>,
        /// Only members of this group.
        group: Option<GroupName>,
    },
    /// Counts of everything.
    Status,
    /// What time it is for the engine.
    Time,
    /// Where a job stands, for a forecast.
    Outlook(JobName),
    /// Where jobs stand, for a forecast: a bounded part of them, in the order of their names.
    Outlooks {
        /// What is to be foreseen.
        query: ForecastQuery,
        /// The last name of the part before; `None`: from the start.
        after: Option<JobName>,
    },
    /// Forget a bounded part of these ended runs and their responses, the first first. The latest
    /// run of all stays.
    ForgetRuns(Vec<Serial>),
    /// The jobs that say what of their history is kept, in the order of their numbers.
    Keeping(Page<JobId>),
    /// Tell those who watch what a round of retention has forgotten.
    NoteForgotten(Forgotten),
    /// Forget a part of the past of each of these removed jobs.
    ForgetJobs(Vec<RemovedJob>),
    /// Create or change a calendar.
    PutCalendar(Calendar),
    /// Remove a calendar that no job uses.
    RemoveCalendar(CalendarName),
    /// One calendar.
    Calendar(CalendarName),
    /// Calendars in the order of their names.
    Calendars(Page<CalendarName>),
    /// The numbers of the clients that are in a group.
    Members(GroupName),
    /// Set labels of a client and take others away.
    LabelClient(Relabel),
    /// Say how many commands a client may run at once, from its next connection on.
    LimitClient(ClientLimit),
    /// Run past runs again, or make up for firings of the past.
    Replay(Box<NewReplay>),
    /// What that would run.
    PlanReplay(Box<NewReplay>),
    /// Make no further run of a replay, and end those that are open.
    CancelReplay(ReplayId),
    /// Forget a part of each of these replays that have ended.
    ForgetReplays(Vec<ReplayId>),
}

impl Request {
    /// Whether it only asks: then its answer changes nothing, now or later.
    #[must_use]
    pub fn is_question(&self) -> bool {
        match self {
            Self::GetJob(_)
            | Self::ListJobs(_)
            | Self::Keeping(_)
            | Self::RunProgress(_)
            | Self::OpenRuns(_)
            | Self::OpenRunsOfJobs { .. }
            | Self::OpenDeliveries(_)
            | Self::Waits(_)
            | Self::GetClient(_)
            | Self::ListClients { .. }
            | Self::Status
            | Self::PlanReplay(_)
            | Self::Time
            | Self::Outlook(_)
            | Self::Outlooks { .. }
            | Self::Calendar(_)
            | Self::Calendars(_)
            | Self::Members(_) => true,
            Self::Apply(apply) => apply.dry_run,
            _ => false,
        }
    }

    /// Whether it only ends, stops or forgets: no new work comes of it.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(
            self,
            Self::RemoveJob(_)
                | Self::PauseJob(_)
                | Self::PauseJobs { .. }
                | Self::CancelRun(_)
                | Self::CancelDelivery(..)
                | Self::CancelJob(_)
                | Self::CancelReplay(_)
                | Self::RemoveClient(_)
                | Self::ForgetRuns(_)
                | Self::NoteForgotten(_)
                | Self::ForgetJobs(_)
                | Self::ForgetReplays(_)
        )
    }
}

/// A set of definitions to bring about.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The jobs; each name once.
    pub jobs: Vec<JobSpec>,
    /// Remove every job that is not among them.
    #[serde(default)]
    pub prune: bool,
    /// Only tell what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Calendars; each name once. They are there before the jobs, and are never removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calendars: Vec<Calendar>,
}

/// What a round of retention has forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Ended runs.
    pub runs: u64,
    /// Their deliveries.
    pub deliveries: u64,
    /// About how many bytes they took, see [`Run::kept_bytes`](crate::Run::kept_bytes).
    pub bytes: u64,
    /// By age, runs that ended before this moment are forgotten, where their jobs do not say
    /// otherwise.
    pub before: Timestamp,
}

/// A job to pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The job.
    pub job: JobName,
    /// Why, and until when.
    pub terms: PauseTerms,
}

impl Pause {
    /// A pause without a reason, until the job is resumed.
    #[must_use]
    pub fn new(job: JobName) -> Self {
        Self { job, terms: PauseTerms::default() }
    }
}

/// A client to define.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewClient {
    /// Its name.
    pub id: ClientId,
    /// Its groups.
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// The hash of its token; `None`: only the server's own hook can let it in.
    #[serde(default)]
    pub token: Option<TokenHash>,
}

/// A change of a client's groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regroup {
    /// The client.
    pub id: ClientId,
    /// Groups to be in.
    #[serde(default)]
    pub add: BTreeSet<GroupName>,
    /// Groups to be in no longer.
    #[serde(default)]
    pub remove: BTreeSet<GroupName>,
}

/// A change of the labels that the server's owner has set at a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relabel {
    /// The client.
    pub id: ClientId,
    /// Labels to have, in place of those of the same keys.
    pub set: Labels,
    /// Labels to have no longer.
    pub remove: BTreeSet<LabelKey>,
}

/// How many commands a client may run at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientLimit {
    /// The client.
    pub id: ClientId,
    /// The limit; `None`: as many as the client is set up for.
    pub max_running: Option<CommandLimit>,
}

/// A part of a sorted list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<K> {
    /// The last key of the part before; `None`: from the start.
    pub after: Option<K>,
    /// The most items; the engine gives at most [`Page::MAX`].
    pub limit: usize,
}

impl<K> Page<K> {
    /// The most items that one part can have.
    pub const MAX: usize = 1_000;

    /// The first part, as large as it can be.
    #[must_use]
    pub fn first() -> Self {
        Self { after: None, limit: Self::MAX }
    }
}
