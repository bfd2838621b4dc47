//! The frames as types. Their meaning is told in [`crate::wire`].

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::command_limit::CommandLimit;
use crate::id::{ClientId, CommandName, JobName, Serial};
use crate::job::OnClientCrash;
use crate::json::Json;
use crate::label::Facts;
use crate::live::{Piece, Progress};
use crate::policy::{Priority, is_default};
use crate::run::{Attempt, Outcome, first_attempt, is_first_attempt};
use crate::time::Timestamp;

/// One direction's set of frames.
pub trait Frame: Serialize + DeserializeOwned {
    /// The types of this direction, as they stand in the JSON.
    const TYPES: &'static [&'static str];
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientFrame {
    /// Who it is; the first frame.
    Hello(Box<Hello>),
    /// It has taken a command.
    Accepted(Accepted),
    /// It has begun to run a command that may run for a limited time.
    Started(Started),
    /// A command is so far.
    Progress(ProgressFrame),
    /// A command has printed something.
    Output(OutputFrame),
    /// A command has ended.
    Response(ResponseFrame),
    /// A command for the server.
    Call(Call),
    /// It is there.
    Heartbeat(Empty),
    /// It takes no more commands, and ends those that it has.
    Stopping(Empty),
    /// It ends the connection.
    Bye(ClientBye),
}

impl Frame for ClientFrame {
    const TYPES: &'static [&'static str] = &[
        "hello",
        "accepted",
        "started",
        "progress",
        "output",
        "response",
        "call",
        "heartbeat",
        "stopping",
        "bye",
    ];
}

/// What the server sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerFrame {
    /// The client is in.
    Welcome(Welcome),
    /// The client is not in.
    Refused(Refused),
    /// A command to run.
    Command(CommandFrame),
    /// Responses are durable.
    Ack(Ack),
    /// A command to stop.
    Cancel(Cancel),
    /// The answer to a call.
    Reply(ReplyFrame),
    /// It is there.
    Heartbeat(Empty),
    /// It ends the connection.
    Bye(ServerBye),
}

impl Frame for ServerFrame {
    const TYPES: &'static [&'static str] =
        &["welcome", "refused", "command", "ack", "cancel", "reply", "heartbeat", "bye"];
}

/// Attempts as frames have them: the runs, and which attempt where it is not the first.
#[must_use]
pub fn apart(attempts: &[Attempt]) -> (Vec<Serial>, BTreeMap<Serial, u32>) {
    let later = attempts.iter().filter(|attempt| attempt.number != 1);
    let later = later.map(|attempt| (attempt.serial, attempt.number)).collect();
    (attempts.iter().map(|attempt| attempt.serial).collect(), later)
}

/// The attempts that [`apart`] has taken apart.
#[must_use]
pub fn together(serials: Vec<Serial>, later: &BTreeMap<Serial, u32>) -> Vec<Attempt> {
    let number = |serial| later.get(&serial).copied().unwrap_or(1);
    serials.into_iter().map(|serial| Attempt { serial, number: number(serial) }).collect()
}

/// A frame without fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A client's first frame. Its `Debug` does not show the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol's version.
    pub version: u32,
    /// Who the client says it is.
    pub client: ClientId,
    /// Its secret, for those who let it in by token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What it has taken and has no acknowledgement for.
    #[serde(default)]
    pub taken: Vec<Serial>,
    /// Which attempt it has taken, where it is not the first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attempts: BTreeMap<Serial, u32>,
    /// The commands it has handlers for.
    #[serde(default)]
    pub commands: Vec<CommandName>,
    /// What it says of itself; `None`: nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("version", &self.version)
            .field("client", &self.client)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("taken", &self.taken)
            .field("attempts", &self.attempts)
            .field("commands", &self.commands)
            .field("facts", &self.facts)
            .finish()
    }
}

/// The client has taken a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The run.
    pub serial: Serial,
    /// Which attempt. Default 1.
    #[serde(default = "first_attempt", skip_serializing_if = "is_first_attempt")]
    pub attempt: u32,
}

/// The client has begun to run a command that has a `timeout_ms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The run.
    pub serial: Serial,
    /// Which attempt. Default 1.
    #[serde(default = "first_attempt", skip_serializing_if = "is_first_attempt")]
    pub attempt: u32,
}

/// How far a command is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressFrame {
    /// The run.
    pub serial: Serial,
    /// Which attempt. Default 1.
    #[serde(default = "first_attempt", skip_serializing_if = "is_first_attempt")]
    pub attempt: u32,
    /// How far.
    #[serde(flatten)]
    pub progress: Progress,
}

/// A piece of what a command prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFrame {
    /// The run.
    pub serial: Serial,
    /// Which attempt. Default 1.
    #[serde(default = "first_attempt", skip_serializing_if = "is_first_attempt")]
    pub attempt: u32,
    /// What.
    #[serde(flatten)]
    pub piece: Piece,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseFrame {
    /// The run.
    pub serial: Serial,
    /// Which attempt. Default 1.
    #[serde(default = "first_attempt", skip_serializing_if = "is_first_attempt")]
    pub attempt: u32,
    /// An end state that a client may answer with.
    pub state: crate::run::DeliveryState,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the handler returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
    /// How long the handler ran, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_ms: Option<u64>,
}

impl ResponseFrame {
    /// The frame of an outcome.
    #[must_use]
    pub fn new(attempt: Attempt, outcome: Outcome) -> Self {
        let Attempt { serial, number } = attempt;
        let Outcome { state, reason, result, ran_ms } = outcome;
        Self { serial, attempt: number, state, reason, result, ran_ms }
    }

    /// The outcome in the frame.
    #[must_use]
    pub fn into_outcome(self) -> Outcome {
        let Self { state, reason, result, ran_ms, .. } = self;
        Outcome { state, reason, result, ran_ms }
    }
}

/// A command for the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The client's number for it.
    pub id: u64,
    /// The handler's name.
    pub command: CommandName,
    /// What the handler gets. Default `{}`.
    #[serde(default)]
    pub params: Json,
}

/// The client ends the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientBye {
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// The client is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol's version.
    pub version: u32,
    /// After how many idle milliseconds a side sends a heartbeat.
    pub heartbeat_ms: u64,
    /// The longest frame that the server reads, in bytes of JSON.
    pub max_frame: usize,
    /// The server's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_time: Option<Timestamp>,
    /// Whether the server wants progress and output of running commands. Default false, so that
    /// one that does not know them is not sent any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub live: bool,
    /// Whether the server knows `stopping`. Default false, so that one that does not is not sent it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
    /// How many commands the client may run at once. Default: as many as it is set up for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<CommandLimit>,
}

/// The client is not in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub reason: String,
    /// How many milliseconds to stay away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandFrame {
    /// The run.
    pub serial: Serial,
    /// Which attempt. Default 1.
    #[serde(default = "first_attempt", skip_serializing_if = "is_first_attempt")]
    pub attempt: u32,
    /// The handler's name.
    pub command: CommandName,
    /// What the handler gets. Default `{}`.
    #[serde(default)]
    pub params: Json,
    /// The job's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// When it was due.
    pub scheduled_at: Timestamp,
    /// Whether the client runs it only after those of the same job that it took before. Default
    /// false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_turn: bool,
    /// How many milliseconds it may run; the client ends it then. Default: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What becomes of it when the client's process ends while it runs. Default `fail`.
    #[serde(default, skip_serializing_if = "OnClientCrash::is_default")]
    pub on_client_crash: OnClientCrash,
    /// What it overtakes among the commands that wait at the client. Default `normal`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: Priority,
    /// How many commands of the job the client runs at once. Default: 1 with `in_turn`, or else
    /// as many as there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_client: Option<CommandLimit>,
}

/// Responses are durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The runs.
    pub serials: Vec<Serial>,
    /// Which attempt of each, where it is not the first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attempts: BTreeMap<Serial, u32>,
}

/// A command to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The run.
    pub serial: Serial,
}

/// The answer to a call: `error`, or else `result`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyFrame {
    /// The call's number.
    pub id: u64,
    /// What the handler returned; `None` stands for null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
    /// Why there is no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The server ends the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerBye {
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Whether the client may come back. Default `true`.
    #[serde(default = "yes")]
    pub reconnect: bool,
    /// How many milliseconds to stay away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

fn yes() -> bool {
    true
}
