//! The bodies that only the HTTP interface has; all others are the domain's own types.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::calendar::Calendar;
use crate::client_record::ClientView;
use crate::command_limit::CommandLimit;
use crate::id::{CalendarName, ClientId, GroupName};
use crate::label::{LabelKey, Labels};
use crate::pause::{JobSelection, PauseTerms};
use crate::schedule::{DateRange, Weekdays};
use crate::time::{Timestamp, duration};

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// A word for programs, such as `not_found`; see [`super::ErrorKind`].
    pub kind: String,
    /// A sentence for people, which names the thing and the value.
    pub message: String,
}

/// A client to define, with its token in the clear.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientRequest {
    /// Its name.
    pub id: ClientId,
    /// Its groups.
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// Its token, 16 to 256 visible ASCII characters; `None`: the server makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl fmt::Debug for ClientRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRequest")
            .field("id", &self.id)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

/// A client that was just defined. The only answer that ever holds a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewClientView {
    /// The client.
    pub client: ClientView,
    /// Its token; the server keeps the hash alone.
    pub token: String,
}

impl fmt::Debug for NewClientView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewClientView").field("client", &self.client).finish_non_exhaustive()
    }
}

/// A change of the groups of the client that the path names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupsChange {
    /// Groups to be in.
    #[serde(default)]
    pub add: BTreeSet<GroupName>,
    /// Groups to be in no longer.
    #[serde(default)]
    pub remove: BTreeSet<GroupName>,
}

/// How many commands the client that the path names may run at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitChange {
    /// The limit; `None`: as many as the client is set up for.
    pub max_running: Option<CommandLimit>,
}

/// A calendar under the name in the path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarRequest {
    /// That name again; it may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<CalendarName>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Days, and ranges of days.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dates: Vec<DateRange>,
    /// Weekdays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekdays: Option<Weekdays>,
}

impl CalendarRequest {
    /// The calendar, under a name that must be its own if it has one.
    pub(super) fn named(self, path: CalendarName) -> Result<Calendar, String> {
        let Self { name, description, dates, weekdays } = self;
        match name.filter(|name| *name != path) {
            Some(name) => Err(format!("name {name:?} is not that of the path, {path:?}")),
            None => {
                Calendar::new(path, description, dates, weekdays).map_err(|error| error.to_string())
            }
        }
    }
}

/// A change of the labels that are set at the client that the path names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelsChange {
    /// Labels to have, in place of those of the same keys.
    #[serde(default)]
    pub set: Labels,
    /// Labels to have no longer.
    #[serde(default)]
    pub remove: BTreeSet<LabelKey>,
}

/// Jobs to pause, and on which terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// Which: `all`, or the beginning of names up to a `/`.
    pub jobs: JobSelection,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When they resume by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// After how long they resume by themselves; not with `until`.
    #[serde(
        default,
        rename = "for",
        skip_serializing_if = "Option::is_none",
        with = "duration::optional"
    )]
    pub lasting: Option<Duration>,
}

impl PauseRequest {
    /// The jobs, and the terms.
    #[must_use]
    pub fn parts(self) -> (JobSelection, PauseTerms) {
        let Self { jobs, reason, until, lasting } = self;
        (jobs, PauseTerms { reason, until, lasting })
    }
}

/// Jobs to resume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {
    /// Which: `all`, or the beginning of names up to a `/`.
    pub jobs: JobSelection,
}
