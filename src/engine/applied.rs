//! What a set of definitions changes, calendars first: the answers to an apply.

use serde::{Deserialize, Serialize};

use super::effect::{JobAction, JobChange, NextChange, Plan};
use crate::forecast::Outlook;
use crate::id::{CalendarName, JobName};
use crate::job_diff::FieldChange;
use crate::time::Timestamp;

/// What an apply changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The calendars, in the order of the request.
    #[serde(default)]
    pub calendars: Vec<CalendarChange>,
    /// The jobs, in the order of the request, then those that are removed.
    pub jobs: Vec<JobChange>,
}

/// What becomes of one calendar, and of the jobs that use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalendarChange {
    /// The calendar.
    pub name: CalendarName,
    /// What happens to it; never `remove`.
    pub action: JobAction,
    /// The fields that differ.
    #[serde(default)]
    pub fields: Vec<FieldChange>,
    /// How many stored jobs use it.
    #[serde(default)]
    pub jobs: u64,
    /// Jobs whose next firing moves by it, those that end by it first, then by name; at most
    /// [`MAX_MOVED`](super::MAX_MOVED). Jobs whose rule changes in the same apply are not among
    /// them, and one that uses several calendars that change is told of under the first.
    #[serde(default)]
    pub moved: Vec<Moved>,
    /// Jobs that move and are not named.
    #[serde(default)]
    pub more: u64,
}

impl CalendarChange {
    /// How many jobs have another next firing by it, or none any more.
    #[must_use]
    pub fn moves(&self) -> u64 {
        self.more.saturating_add(self.moved.len() as u64)
    }
}

/// A job whose next firing a change of a calendar moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The job.
    pub job: JobName,
    /// Its next firing until now; `None`: its rule had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
    /// Its next firing from now on; `None`: its rule has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Timestamp>,
    /// In a dry run: how its next firings change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextChange>,
}

/// What an apply would change.
#[derive(Debug, Clone, Default)]
pub struct Planned {
    /// The calendars.
    pub calendars: Vec<CalendarPlan>,
    /// The jobs.
    pub jobs: Vec<Plan>,
}

/// What would become of one calendar, and where its jobs would then stand.
#[derive(Debug, Clone)]
pub struct CalendarPlan {
    /// The change, without the next firings: whoever asked computes them.
    pub change: CalendarChange,
    /// For each job that moves, in the same order: where it stands, and where it would.
    pub outlooks: Vec<(Outlook, Outlook)>,
    /// The moment that the outlooks are of.
    pub now: Timestamp,
}
