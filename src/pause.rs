//! Pauses: which jobs, why, and until when.
//!
//! Promises: a standing stored before a pause had a reason and an end is read as it was meant.
//! Imports domain types.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::JobName;
use crate::time::{Timestamp, duration};

/// The most characters of the reason of a pause.
pub const MAX_PAUSE_REASON: usize = 500;

/// That a job is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Paused {
    /// Since when.
    pub at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it resumes by itself; `None`: when somebody says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What a store may hold: at first it was the moment alone, in a field `paused_at`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Moment(Timestamp),
    Whole {
        at: Timestamp,
        #[serde(default)]
        reason: Option<String>,
        #[serde(default)]
        until: Option<Timestamp>,
    },
}

impl From<Stored> for Paused {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Moment(at) => Self { at, reason: None, until: None },
            Stored::Whole { at, reason, until } => Self { at, reason, until },
        }
    }
}

/// On which terms jobs are paused. Without `until` and `for`, until they are resumed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseTerms {
    /// Why; at most [`MAX_PAUSE_REASON`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When they resume by themselves; a time to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// After how long they resume by themselves, by the server's clock; not with `until`.
    #[serde(
        default,
        rename = "for",
        skip_serializing_if = "Option::is_none",
        with = "duration::optional"
    )]
    pub lasting: Option<Duration>,
}

/// Terms that cannot be met. The message names the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPause {
    /// It has two ends.
    #[error("until {until} and for {}: give one of them", duration::format(*.lasting))]
    TwoEnds {
        /// The one.
        until: Timestamp,
        /// The other.
        lasting: Duration,
    },
    /// It would be over at once.
    #[error("until {until} has passed; it is {now}")]
    Passed {
        /// The end asked for.
        until: Timestamp,
        /// The server's time.
        now: Timestamp,
    },
    /// It would be over at once.
    #[error("for {}: a pause is at least 1ms long", duration::format(Duration::ZERO))]
    NoTime,
    /// The reason is too long.
    #[error("reason {start:?}… has {length} characters; the most is {MAX_PAUSE_REASON}")]
    LongReason {
        /// How it begins.
        start: String,
        /// Its characters.
        length: usize,
    },
}

impl PauseTerms {
    /// A pause that begins at `now`.
    pub fn begin(&self, now: Timestamp) -> Result<Paused, InvalidPause> {
        let until = match (self.until, self.lasting) {
            (Some(until), Some(lasting)) => {
                return Err(InvalidPause::TwoEnds { until, lasting });
            }
            (Some(until), None) if until <= now => {
                return Err(InvalidPause::Passed { until, now });
            }
            (None, Some(Duration::ZERO)) => return Err(InvalidPause::NoTime),
            (until, lasting) => until.or(lasting.map(|lasting| now.plus(lasting))),
        };
        let length = self.reason.as_ref().map_or(0, |reason| reason.chars().count());
        if length > MAX_PAUSE_REASON {
            let start = self.reason.iter().flat_map(|reason| reason.chars()).take(40).collect();
            return Err(InvalidPause::LongReason { start, length });
        }
        Ok(Paused { at: now, reason: self.reason.clone(), until })
    }
}

/// After how many runs in a row with a failed delivery a job pauses itself: 1 to 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct FailureLimit(u32);

/// A number that is no [`FailureLimit`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} failed runs in a row is not valid: it is 1 to {max}", max = FailureLimit::MAX)]
pub struct InvalidFailureLimit(i64);

impl FailureLimit {
    /// The most.
    pub const MAX: u32 = 1_000;

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for FailureLimit {
    type Error = InvalidFailureLimit;
    fn try_from(value: i64) -> Result<Self, InvalidFailureLimit> {
        let number = u32::try_from(value).ok().filter(|number| (1..=Self::MAX).contains(number));
        number.map(Self).ok_or(InvalidFailureLimit(value))
    }
}

impl From<FailureLimit> for i64 {
    fn from(value: FailureLimit) -> Self {
        value.0.into()
    }
}

/// Jobs by the beginning of their names: written `all`, or as a beginning with its `/`, such as
/// `db/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum JobSelection {
    /// Every job.
    All,
    /// Those whose names begin so; it ends in `/`.
    Under(JobName),
}

/// A text that selects no jobs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("jobs {0:?} is not valid: write all, or the beginning of names up to a \"/\", such as db/")]
pub struct InvalidSelection(String);

impl JobSelection {
    /// What the names of the jobs begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        match self {
            Self::All => "",
            Self::Under(prefix) => prefix.as_str(),
        }
    }
}

impl FromStr for JobSelection {
    type Err = InvalidSelection;
    fn from_str(value: &str) -> Result<Self, InvalidSelection> {
        if value == "all" {
            return Ok(Self::All);
        }
        let prefix = JobName::new(value).ok().filter(|_| value.ends_with('/'));
        prefix
            .map(Self::Under)
            .ok_or_else(|| InvalidSelection(value.chars().take(JobName::MAX).collect()))
    }
}

impl TryFrom<String> for JobSelection {
    type Error = InvalidSelection;
    fn try_from(value: String) -> Result<Self, InvalidSelection> {
        value.parse()
    }
}

impl From<JobSelection> for String {
    fn from(value: JobSelection) -> Self {
        value.to_string()
    }
}

impl fmt::Display for JobSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::All => "all",
            Self::Under(prefix) => prefix.as_str(),
        })
    }
}

/// What became of the jobs of a selection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectionChange {
    /// Those that were paused or resumed, in the order of their names.
    pub changed: Vec<JobName>,
    /// Those that were so already, and stay as they were.
    pub unchanged: Vec<JobName>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobState, JobStatus};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_state_stored_with_the_moment_alone_is_read_and_written_anew() {
        let old = r#"{"paused_at":"2026-11-22T06:00:00.000Z","occurrences":4}"#;
        let state: JobState = serde_json::from_str(old).unwrap();
        assert_eq!((state.status(), state.occurrences), (JobStatus::Paused, 4));
        let paused = state.paused.clone().unwrap();
        assert_eq!(
            (paused.at.to_string().as_str(), paused.until),
            ("2026-11-22T06:00:00.000Z", None)
        );
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<JobState>(&text).unwrap(), state);
        let state: JobState = serde_json::from_str(r#"{"occurrences":4}"#).unwrap();
        assert_eq!(state.paused, None);
    }

    #[test]
    fn a_pause_with_its_terms_is_read_back() {
        let paused = Paused { at: at(1), reason: Some("moving".into()), until: Some(at(9)) };
        let state = JobState { paused: Some(paused), ..JobState::default() };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<JobState>(&text).unwrap(), state);
    }

    #[test]
    fn terms_that_cannot_be_met_are_told_with_their_values() {
        let terms = |text: &str| serde_json::from_str::<PauseTerms>(text).unwrap();
        let problem = |text: &str| terms(text).begin(at(100)).unwrap_err().to_string();
        assert_eq!(
            problem(r#"{"until": "1970-01-01T00:01:40Z"}"#),
            "until 1970-01-01T00:01:40.000Z has passed; it is 1970-01-01T00:01:40.000Z"
        );
        assert_eq!(
            problem(r#"{"until": "1970-01-01T00:02:00Z", "for": "2h"}"#),
            "until 1970-01-01T00:02:00.000Z and for 2h: give one of them"
        );
        assert!(problem(r#"{"for": "0s"}"#).starts_with("for 0s: "));
        let most = "ä".repeat(MAX_PAUSE_REASON);
        let mut terms = PauseTerms { reason: Some(most.clone()), ..PauseTerms::default() };
        assert_eq!(terms.begin(at(1)).unwrap().reason, Some(most.clone()));
        terms.reason = Some(most + "b");
        let problem = terms.begin(at(1)).unwrap_err().to_string();
        assert!(problem.contains("has 501 characters; the most is 500"), "{problem}");
        let error = serde_json::from_str::<PauseTerms>(r#"{"for": "soon"}"#).unwrap_err();
        assert!(error.to_string().contains("\"soon\""), "{error}");
    }

    #[test]
    fn a_failure_limit_is_1_to_1000() {
        for (bad, text) in [("0", "0"), ("1001", "1001"), ("-1", "-1")] {
            let error = serde_json::from_str::<FailureLimit>(bad).unwrap_err().to_string();
            let expected = format!("{text} failed runs in a row is not valid: it is 1 to 1000");
            assert!(error.starts_with(&expected), "{error}");
        }
        for good in ["1", "1000"] {
            let limit = serde_json::from_str::<FailureLimit>(good).unwrap();
            assert_eq!(serde_json::to_string(&limit).unwrap(), good);
        }
    }

    #[test]
    fn a_length_ends_by_the_clock_that_begins_it() {
        let terms = PauseTerms { lasting: Some(Duration::from_secs(5)), ..PauseTerms::default() };
        assert_eq!(terms.begin(at(100)).unwrap().until, Some(at(105)));
    }

    #[test]
    fn a_selection_is_all_or_ends_in_a_slash() {
        assert_eq!("all".parse(), Ok(JobSelection::All));
        let selection: JobSelection = "db/eu/".parse().unwrap();
        assert_eq!((selection.prefix(), selection.to_string().as_str()), ("db/eu/", "db/eu/"));
        for bad in ["db", "", "a b/"] {
            let problem = bad.parse::<JobSelection>().unwrap_err().to_string();
            assert!(problem.starts_with(&format!("jobs {bad:?} is not valid")), "{problem}");
        }
    }
}
