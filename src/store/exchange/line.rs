//! A line of an export, written and read.
//!
//! Promises: a line has no line end within; parameters and results come back as they were, but for
//! line ends between their tokens. Imports the domain types.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::ExportQuery;
use crate::calendar::CalendarRecord;
use crate::client_record::{ClientRecord, Presence, TokenHash};
use crate::command_limit::CommandLimit;
use crate::engine::Mark;
use crate::id::{ClientId, ClientNo, GroupName, Serial};
use crate::idempotency::Repeat;
use crate::job::{Job, JobState};
use crate::job_past::{JobRevision, MissedRow, RemovedJob};
use crate::json::Json;
use crate::label::{Facts, Labels};
use crate::run::{LateAnswer, Response, Run};
use crate::store::FORMAT;
use crate::time::Timestamp;

/// The version of the form that is written.
pub const EXPORT_VERSION: u32 = 1;

/// Clients that one line names, at most.
pub const CLIENTS_A_LINE: usize = 1_000;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) store_format: u32,
    pub(super) fleetcron: String,
    pub(super) at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) job: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<Timestamp>,
}

impl Header {
    pub(super) fn new(query: &ExportQuery, at: Timestamp) -> Self {
        let job = query.job.as_ref().map(ToString::to_string);
        let (version, store_format) = (EXPORT_VERSION, FORMAT);
        let fleetcron = env!("CARGO_PKG_VERSION").to_owned();
        Self { version, store_format, fleetcron, at, job, from: query.from, to: query.to }
    }
}

/// A client without its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Client {
    pub(super) id: ClientId,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    groups: BTreeSet<GroupName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<TokenHash>,
    defined_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    labels: Labels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    facts: Option<Box<Facts>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_running: Option<CommandLimit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) presence: Option<Presence>,
}

impl Client {
    pub(super) fn new(record: ClientRecord, presence: Option<Presence>, with_token: bool) -> Self {
        let ClientRecord { no: _, id, groups, token, defined_at, removed_at, .. } = record;
        let ClientRecord { labels, facts, max_running, .. } = record;
        let token = token.filter(|_| with_token);
        Self { id, groups, token, defined_at, removed_at, labels, facts, max_running, presence }
    }

    /// The record of a client that gets a number.
    pub(super) fn record(self, no: ClientNo) -> ClientRecord {
        let Self { id, groups, token, defined_at, removed_at, labels, facts, max_running, .. } =
            self;
        ClientRecord { no, id, groups, token, defined_at, removed_at, labels, facts, max_running }
    }
}

/// Clients at which a run is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) serial: Serial,
    pub(super) clients: Vec<ClientId>,
}

/// Those of them that have a mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marked {
    pub(super) serial: Serial,
    #[serde(with = "mark")]
    pub(super) mark: Mark,
    pub(super) clients: Vec<ClientId>,
}

/// How marks are written.
mod mark {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::engine::Mark;

    fn name(mark: Mark) -> &'static str {
        match mark {
            Mark::Sent => "sent",
            Mark::Cancelled => "cancelled",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives the signature")]
    pub(super) fn serialize<S: Serializer>(mark: &Mark, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name(*mark))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Mark, D::Error> {
        let text = String::deserialize(from)?;
        let mark = Mark::ALL.into_iter().find(|mark| name(*mark) == text);
        mark.ok_or_else(|| D::Error::custom(format!("mark {text:?} is not known")))
    }
}

/// The last line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trailer {
    /// How many lines of each record, header and trailer left out.
    pub(super) counts: BTreeMap<String, u64>,
}

/// A late answer with its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Late {
    pub(super) serial: Serial,
    #[serde(flatten)]
    pub(super) answer: LateAnswer,
}

/// A job with its standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct JobLine {
    #[serde(flatten)]
    pub(super) job: Job,
    pub(super) state: JobState,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    Header(Header),
    Client(Box<Client>),
    Calendar(Box<CalendarRecord>),
    Job(Box<JobLine>),
    Removed(RemovedJob),
    Revision(Box<JobRevision>),
    Missed(MissedRow),
    Run(Box<Run>),
    Response(Box<Response>),
    Late(Box<Late>),
    Open(Open),
    Marked(Marked),
    Repeat(Box<Repeat>),
    Trailer(Trailer),
}

/// The one field that every line has.
#[derive(Deserialize)]
struct Tag {
    record: String,
}

#[derive(Serialize)]
struct Tagged<'a, T> {
    record: &'static str,
    #[serde(flatten)]
    value: &'a T,
}

// Read one by one: a flattened or tagged form would lose the text of parameters and results.

#[derive(Deserialize)]
struct OnlyState {
    state: JobState,
}

#[derive(Deserialize)]
struct OnlySerial {
    serial: Serial,
}

#[derive(Deserialize)]
struct OnlyResult {
    #[serde(default, deserialize_with = "there")]
    result: Option<Json>,
}

/// A result that is there, `null` too: the handler returned it.
fn there<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(from).map(Some)
}

impl Line {
    /// What it is, as the field `record` says.
    pub(super) fn record(&self) -> &'static str {
        match self {
            Self::Header(_) => "header",
            Self::Client(_) => "client",
            Self::Calendar(_) => "calendar",
            Self::Job(_) => "job",
            Self::Removed(_) => "removed_job",
            Self::Revision(_) => "revision",
            Self::Missed(_) => "missed",
            Self::Run(_) => "run",
            Self::Response(_) => "response",
            Self::Late(_) => "late",
            Self::Open(_) => "open",
            Self::Marked(_) => "mark",
            Self::Repeat(_) => "repeat",
            Self::Trailer(_) => "trailer",
        }
    }

    /// The run that it belongs to, if it belongs to one.
    pub(super) fn of_run(&self) -> Option<Serial> {
        match self {
            Self::Response(response) => Some(response.serial),
            Self::Late(late) => Some(late.serial),
            Self::Open(open) => Some(open.serial),
            Self::Marked(marked) => Some(marked.serial),
            _ => None,
        }
    }

    /// The line as text, with its end.
    pub(super) fn text(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = match self {
            Self::Header(it) => self.tagged(it),
            Self::Client(it) => self.tagged(it),
            Self::Calendar(it) => self.tagged(it),
            Self::Job(it) => self.tagged(it),
            Self::Removed(it) => self.tagged(it),
            Self::Revision(it) => self.tagged(it),
            Self::Missed(it) => self.tagged(it),
            Self::Run(it) => self.tagged(it),
            Self::Response(it) => self.tagged(it),
            Self::Late(it) => self.tagged(it),
            Self::Open(it) => self.tagged(it),
            Self::Marked(it) => self.tagged(it),
            Self::Repeat(it) => self.tagged(it),
            Self::Trailer(it) => self.tagged(it),
        }?;
        // What clients wrote is passed through as it is. Within JSON text a line end stands between
        // tokens alone: in a string it would be escaped.
        for byte in &mut text {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        text.push(b'\n');
        Ok(text)
    }

    fn tagged<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Tagged { record: self.record(), value })
    }

    /// Reads a line; the error says what is wrong with it.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        fn part<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
            serde_json::from_slice(text).map_err(|error| error.to_string())
        }
        let Tag { record } = part(text)?;
        Ok(match record.as_str() {
            "header" => Self::Header(part(text)?),
            "client" => Self::Client(Box::new(part(text)?)),
            "calendar" => Self::Calendar(Box::new(part(text)?)),
            "job" => {
                let state = part::<OnlyState>(text)?.state;
                Self::Job(Box::new(JobLine { job: part(text)?, state }))
            }
            "removed_job" => Self::Removed(part(text)?),
            "revision" => Self::Revision(Box::new(part(text)?)),
            "missed" => Self::Missed(part(text)?),
            "run" => Self::Run(Box::new(part(text)?)),
            "response" => {
                let mut response: Response = part(text)?;
                response.outcome.result = part::<OnlyResult>(text)?.result;
                Self::Response(Box::new(response))
            }
            "late" => {
                let serial = part::<OnlySerial>(text)?.serial;
                Self::Late(Box::new(Late { serial, answer: part(text)? }))
            }
            "open" => Self::Open(part(text)?),
            "mark" => Self::Marked(part(text)?),
            "repeat" => Self::Repeat(Box::new(part(text)?)),
            "trailer" => Self::Trailer(part(text)?),
            other => return Err(format!("record {other:?} is not known")),
        })
    }
}
