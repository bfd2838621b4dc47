//! Jobs: what an owner writes, and what the store keeps.
//!
//! Promises: a [`JobSpec`] that exists is valid. Imports identifiers, times, targets and rules.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command_limit::CommandLimit;
use crate::id::{CommandName, JobId, JobName, Serial};
use crate::json::Json;
use crate::keep::Keep;
use crate::pause::{FailureLimit, Paused};
use crate::policy::{DeliveryMode, Policy, Priority, Retry, Timeout, is_default};
use crate::rollout::Rollout;
use crate::schedule::Rule;
use crate::target::{Membership, Target};
use crate::time::{Timestamp, duration};

/// The most bytes that a command's parameters may have, as JSON text.
pub const MAX_PARAMS: usize = 48 * 1024;

/// The most bytes that a job's description may have.
pub const MAX_DESCRIPTION: usize = 1_024;

/// The most bytes that a job's definition may have, as JSON text: less than a value of the store.
pub const MAX_DEFINITION: usize = 60 * 1024;

/// The longest `spread` and the longest `jitter`: one day.
pub const MAX_SPREAD: Duration = Duration::from_secs(86_400);

/// The default reach back of `catch_up`: one day.
pub const CATCH_UP_WINDOW: Duration = Duration::from_secs(86_400);

/// A command: a name, by which the client finds its handler, and a JSON parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The handler's name.
    pub name: CommandName,
    /// What the handler gets.
    #[serde(default)]
    pub params: Json,
}

impl Command {
    /// A command; the parameters are checked against [`MAX_PARAMS`].
    pub fn new(name: CommandName, params: Json) -> Result<Self, ParamsTooLarge> {
        match params.text().len() {
            size if size > MAX_PARAMS => Err(ParamsTooLarge { command: name, size }),
            _ => Ok(Self { name, params }),
        }
    }
}

/// A definition above [`MAX_DEFINITION`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the definition has {0} bytes as JSON; the most is {MAX_DEFINITION}")]
pub struct DefinitionTooLarge(usize);

/// Parameters above [`MAX_PARAMS`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("params of command {command} have {size} bytes; the most is {MAX_PARAMS}")]
pub struct ParamsTooLarge {
    command: CommandName,
    size: usize,
}

/// What happens to firings missed while the server was down or the job was paused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// The latest missed one fires, the others are recorded as missed.
    #[default]
    Latest,
    /// All missed ones fire, in order.
    All,
    /// None fires; all are recorded as missed.
    Skip,
}

/// What a client that is away gets when it returns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offline {
    /// Every delivery, in serial order.
    #[default]
    Queue,
    /// Only the job's latest; earlier ones end as `superseded`.
    Latest,
    /// Nothing; deliveries to a client that is away end as `skipped`.
    Drop,
}

/// What happens when a job fires while a client still runs it. A delivery runs from when it is sent
/// until it has ended; one that waits for a client that is away does not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The new delivery ends as `skipped`, with the serial that stood in its way.
    #[default]
    Skip,
    /// The new delivery waits at the client until the earlier one has ended. One waits; a further
    /// one is skipped.
    Queue,
    /// The earlier delivery ends as `superseded`, its client is asked to stop it, and the new one
    /// is sent.
    Replace,
    /// Both run.
    Allow,
}

/// Where an earlier run of a job stands in the way of a new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverlapScope {
    /// On the clients on which it runs.
    #[default]
    Client,
    /// Everywhere, while it runs on any client.
    Job,
}

/// What becomes of a command that a client was running when its process ended. It needs a client
/// with a journal; one without has forgotten the command, and gets it again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnClientCrash {
    /// It ends as `failed`, for whether it had its effect is not known. The job's `retry` counts
    /// it as an attempt.
    #[default]
    Fail,
    /// The client runs it again.
    Retry,
}

impl OnClientCrash {
    /// Whether it is the default, which is not written.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for OnClientCrash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fail => "fail",
            Self::Retry => "retry",
        })
    }
}

/// A job as its owner writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// The job's unique name.
    pub name: JobName,
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whom it is for.
    pub target: Target,
    /// The command to deliver.
    pub command: CommandName,
    /// The command's parameters. Default `{}`.
    #[serde(default, deserialize_with = "Json::from_any")]
    pub params: Json,
    /// When it fires.
    pub rule: Rule,
    /// What happens to missed firings. Default `latest`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub catch_up: CatchUp,
    /// How far back missed firings are caught up. Default 1 day.
    #[serde(
        default = "catch_up_window",
        skip_serializing_if = "is_catch_up_window",
        with = "duration"
    )]
    pub catch_up_window: Duration,
    /// What a client that is away gets. Default `queue`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub offline: Offline,
    /// How long after its scheduled time a delivery that no client has accepted is still worth
    /// sending. Default: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional")]
    pub expires_after: Option<Duration>,
    /// What happens when it fires while it still runs. Default `skip`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub overlap: Overlap,
    /// Where it must still run for that. Default `client`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub overlap_scope: OverlapScope,
    /// Over how long a time the clients' starts are spread: each has its own fixed offset, from a
    /// hash of client and job. Default: all start at once.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional")]
    pub spread: Option<Duration>,
    /// How much later a firing is delivered, at most: each has its own delay, from a hash of its
    /// serial. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional")]
    pub jitter: Option<Duration>,
    /// How often a delivery is tried. Default: once.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: Retry,
    /// How long a client may take. Default: 30 s to accept, for ever to run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeout: Timeout,
    /// Whether a delivery may be sent twice. Default `at_least_once`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delivery: DeliveryMode,
    /// After how many runs in a row with a delivery that failed or timed out the job pauses
    /// itself. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_on_failure: Option<FailureLimit>,
    /// What becomes of a command that was running when its client's process ended. Default
    /// `fail`.
    #[serde(default, skip_serializing_if = "OnClientCrash::is_default")]
    pub on_client_crash: OnClientCrash,
    /// Whether clients that come into the target while a run is open get it too. Default
    /// `snapshot`: they do not.
    #[serde(default, skip_serializing_if = "is_default")]
    pub membership: Membership,
    /// What it overtakes and what overtakes it, among the commands that wait for a client.
    /// Default `normal`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: Priority,
    /// How a run reaches its clients. Default: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// How many of its commands one client runs at once. Default: 1, or with overlap `allow` as
    /// many as there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_client: Option<CommandLimit>,
    /// What of its ended runs is kept. Default: what the server keeps of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Keep>,
}

impl JobSpec {
    /// A job with the default policies.
    #[must_use]
    pub fn new(name: JobName, target: Target, command: CommandName, rule: Rule) -> Self {
        Self {
            name,
            description: None,
            target,
            command,
            params: Json::empty(),
            rule,
            catch_up: CatchUp::default(),
            catch_up_window: CATCH_UP_WINDOW,
            offline: Offline::default(),
            expires_after: None,
            overlap: Overlap::default(),
            overlap_scope: OverlapScope::default(),
            spread: None,
            jitter: None,
            retry: Retry::default(),
            timeout: Timeout::default(),
            delivery: DeliveryMode::default(),
            pause_on_failure: None,
            on_client_crash: OnClientCrash::default(),
            membership: Membership::default(),
            priority: Priority::default(),
            rollout: None,
            per_client: None,
            history: None,
        }
    }

    /// The policies that its runs keep.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let Self { retry, timeout, delivery, priority, per_client, .. } = *self;
        Policy { retry, timeout, delivery, priority, per_client }
    }

    /// That the definition as a whole is within [`MAX_DEFINITION`]: each field has its limit, but
    /// a rule's lists can be many.
    pub fn check_size(&self) -> Result<(), DefinitionTooLarge> {
        // What a type of our own holds can be written as JSON.
        match serde_json::to_vec(self).map_or(usize::MAX, |text| text.len()) {
            size if size > MAX_DEFINITION => Err(DefinitionTooLarge(size)),
            _ => Ok(()),
        }
    }

    /// The command with its parameters, within the limit.
    pub fn command(&self) -> Result<Command, ParamsTooLarge> {
        Command::new(self.command.clone(), self.params.clone())
    }
}

fn catch_up_window() -> Duration {
    CATCH_UP_WINDOW
}

fn is_catch_up_window(window: &Duration) -> bool {
    *window == CATCH_UP_WINDOW
}

/// A job as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its lasting number.
    pub id: JobId,
    /// 1 at first, one more with each change of the definition.
    pub revision: u32,
    /// When it was first defined; the phase of an `every` rule without `from`.
    pub created_at: Timestamp,
    /// When its definition last changed.
    pub updated_at: Timestamp,
    /// What its owner wrote.
    pub spec: JobSpec,
}

/// Firings that were due and did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// How many, since the job was defined.
    pub total: u64,
    /// The first of the last row of missed firings.
    pub first: Timestamp,
    /// The last one missed.
    pub last: Timestamp,
    /// Why.
    pub reason: String,
    /// The number of that row, see [`MissedRow`](crate::MissedRow); 0: it was recorded before
    /// rows were kept.
    #[serde(default)]
    pub row: u64,
}

/// Where a job stands: what changes with every firing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobState {
    /// Since when it is paused, why and until when; `None`: it runs.
    #[serde(default, alias = "paused_at", skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// Occurrences of the rule up to this moment are dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_until: Option<Timestamp>,
    /// Occurrences dealt with, fired or missed: what the rule's count counts.
    #[serde(default)]
    pub occurrences: u64,
    /// When it is due next; `None`: its rule has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_due: Option<Timestamp>,
    /// Its last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_serial: Option<Serial>,
    /// Firings that were due and did not happen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<Missed>,
    /// Single moments (`at`) that have fired, the latest [`SHOTS_KEPT`]: a definition that is set
    /// back to one of them does not fire it again, for it would be the same run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shots: Vec<Timestamp>,
    /// Runs in a row that ended with a delivery failed or timed out; counted with
    /// `pause_on_failure` alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub failures: u32,
}

/// Single moments of a job that are remembered as fired.
pub const SHOTS_KEPT: usize = 32;

/// A job as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// The stored definition.
    #[serde(flatten)]
    pub job: Job,
    /// Where it stands.
    pub state: JobState,
}

/// A job's standing in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    /// It has a next firing.
    Active,
    /// It waits for `resume`, or for its pause to end.
    Paused,
    /// Its rule has no further firing.
    Ended,
}

impl JobState {
    /// When its pause ends by itself.
    #[must_use]
    pub fn wakes(&self) -> Option<Timestamp> {
        self.paused.as_ref()?.until
    }

    /// The job's standing in one word.
    #[must_use]
    pub fn status(&self) -> JobStatus {
        match (&self.paused, self.next_due) {
            (Some(_), _) => JobStatus::Paused,
            (None, Some(_)) => JobStatus::Active,
            (None, None) => JobStatus::Ended,
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Ended => "ended",
        })
    }
}
