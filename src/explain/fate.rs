//! What became of a firing that has no run: the decision, over what was read.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::expected::{Ended, Occurrence};
use super::facts::{Facts, Standing, Started};
use super::item::Down;
use crate::id::{CalendarName, Serial};
use crate::job::{CatchUp, JobState};
use crate::job_past::MissedRow;
use crate::run::Counts;
use crate::time::Timestamp;

/// How long after its moment a firing that is still to be dealt with is told as due. After that,
/// it is unexplained.
pub const DUE_GRACE: Duration = Duration::from_secs(60);

/// What became of a firing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// It ran, and every delivery succeeded.
    Succeeded,
    /// It ran, and a delivery ended otherwise.
    NotSucceeded,
    /// It runs.
    Open,
    /// It fired and had nobody to go to.
    Nobody {
        /// Why.
        reason: String,
    },
    /// It fired, and was not for the client or group that is asked for.
    NotForClient,
    /// It did not happen, and that was recorded.
    Missed {
        /// Why.
        reason: String,
        /// The job's policy at that time, where the row is still kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<CatchUp>,
        /// How many did not happen for this reason, where the row is still kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
        /// When it was recorded.
        recorded_at: Timestamp,
        /// For how long the server was down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        down: Option<Down>,
    },
    /// It waits for the end of the job's pause: then it follows `catch_up`.
    Paused {
        /// Since when the job is paused.
        since: Timestamp,
        /// When it resumes by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// Why it is paused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The job was paused, and before it was resumed its rule was changed or it was removed.
    Dropped {
        /// Since when the job was paused; `None`: since before what was looked at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        paused_since: Option<Timestamp>,
        /// When the rule was changed or the job removed.
        at: Timestamp,
        /// The revision that did so; `None`: the job was removed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u32>,
    },
    /// It is due now.
    Due,
    /// A calendar of the rule was changed since: whether it closed the day is not known.
    Calendar {
        /// The calendar.
        calendar: CalendarName,
        /// When it was changed last; `None`: it was removed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        changed_at: Option<Timestamp>,
    },
    /// Retention has forgotten the run.
    Forgotten {
        /// When it fired; `None`: that is from before the ledger.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fired_at: Option<Timestamp>,
        /// When it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended_at: Option<Timestamp>,
        /// How its deliveries had ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends: Option<Counts>,
    },
    /// Nothing tells what became of it: a fault in fleetcron, or in its store.
    Unexplained {
        /// What is odd about it.
        reason: String,
    },
}

impl Fate {
    /// Whether the firing did not do what it was to do. Of a run, its deliveries say that.
    pub(super) fn is_problem(&self) -> bool {
        match self {
            Self::NotSucceeded
            | Self::Nobody { .. }
            | Self::Missed { .. }
            | Self::Dropped { .. }
            | Self::Unexplained { .. } => true,
            Self::Forgotten { ends, .. } => {
                ends.is_some_and(|ends| ends.succeeded != ends.total || ends.total == 0)
            }
            Self::Succeeded
            | Self::Open
            | Self::NotForClient
            | Self::Paused { .. }
            | Self::Due
            | Self::Calendar { .. } => false,
        }
    }
}

/// What is known of one of the jobs that have had the name.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Where it stands, if it is still there.
    pub(super) state: Option<JobState>,
    /// Its rows of missed firings that are kept.
    pub(super) rows: Vec<MissedRow>,
}

impl Known {
    pub(super) fn row(&self, at: Timestamp) -> Option<&MissedRow> {
        self.rows.iter().find(|row| row.first <= at && at <= row.last)
    }
}

/// What a firing without a run is, as far as the records tell; `None`: the ledger has to be asked.
pub(super) fn by_records(known: &Known, due: &Occurrence, now: Timestamp) -> Option<Fate> {
    let at = due.at;
    if let Some(row) = known.row(at) {
        return Some(missed(row));
    }
    let state = known.state.as_ref()?;
    if let Some(paused) = state.paused.as_ref().filter(|paused| paused.at < at) {
        return Some(match due.ended {
            None => Fate::Paused {
                since: paused.at,
                until: paused.until,
                reason: paused.reason.clone(),
            },
            Some(ended) => dropped(Some(paused.at), ended),
        });
    }
    // In the very moment: the engine has not come to it, or not written it.
    let waits = due.ended.is_none() && state.next_due.is_some_and(|next| next <= at);
    (waits && now.since(at) <= DUE_GRACE).then_some(Fate::Due)
}

fn missed(row: &MissedRow) -> Fate {
    Fate::Missed {
        reason: row.reason.clone(),
        policy: Some(row.policy),
        count: Some(row.count),
        recorded_at: row.at,
        down: None,
    }
}

fn dropped(paused_since: Option<Timestamp>, ended: Ended) -> Fate {
    Fate::Dropped { paused_since, at: ended.at, revision: ended.revision }
}

/// What is known of retention.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    /// What ended before is forgotten, by the server's setting.
    pub(super) since: Option<Timestamp>,
    /// The earliest end among the runs of the job that are still there.
    pub(super) earliest: Option<Timestamp>,
}

impl Kept {
    /// Whether a run that ended then may have been forgotten.
    fn has_forgotten(&self, ended: Timestamp) -> bool {
        let by_setting = self.since.is_some_and(|since| ended < since);
        by_setting || self.earliest.is_none_or(|earliest| ended <= earliest)
    }
}

/// What a firing without a run is, as far as the ledger tells.
pub(super) fn by_ledger(facts: &Facts, due: &Occurrence, kept: Kept) -> Fate {
    let (job, serial) = (due.job, due.serial);
    if let Some(started) = facts.started(serial) {
        return gone(started, serial, kept);
    }
    if let Some((recorded_at, row)) = facts.row_no_longer_kept(job, due.at) {
        let reason = row.reason.clone();
        return Fate::Missed { reason, policy: None, count: None, recorded_at, down: None };
    }
    if let Some(ended) = due.ended {
        match facts.standing_at_end(job, ended.revision) {
            Standing::Paused(since) if since < due.at => return dropped(Some(since), ended),
            Standing::PausedBefore => return dropped(None, ended),
            Standing::Paused(_) | Standing::Runs | Standing::Unknown => {}
        }
    }
    if facts.begins.is_none_or(|begins| due.at < begins) {
        return Fate::Forgotten { fired_at: None, ended_at: None, ends: None };
    }
    if let Some((calendar, changed_at)) = due.moved_calendar() {
        return Fate::Calendar { calendar, changed_at };
    }
    Fate::Unexplained { reason: "no run, no row of missed firings and no pause tells of it".into() }
}

/// A run that the ledger has, and the store has not.
fn gone(started: &Started, serial: Serial, kept: Kept) -> Fate {
    let ended = started.ended.as_ref();
    if let Some((ended_at, ends)) = ended.filter(|(at, _)| kept.has_forgotten(*at)) {
        let (fired_at, ended_at) = (Some(started.at), Some(*ended_at));
        return Fate::Forgotten { fired_at, ended_at, ends: Some(*ends) };
    }
    let how = match ended {
        Some((at, _)) => format!("ended at {at}, later than what retention forgets"),
        None => "has not ended".to_owned(),
    };
    let fired = started.at;
    let reason = format!(
        "the ledger tells that run {serial} fired at {fired} and {how}, but its record is not there"
    );
    Fate::Unexplained { reason }
}
