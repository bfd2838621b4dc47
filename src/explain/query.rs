//! What can be asked, and what cannot.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, GroupName, JobName};
use crate::time::Timestamp;

/// The span when the question does not say: one day.
pub const DEFAULT_SPAN: Duration = Duration::from_secs(86_400);

/// The longest span: 366 days.
pub const MAX_SPAN: Duration = Duration::from_secs(366 * 86_400);

/// Which firings and deliveries are given; the sums are over all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Only {
    /// All.
    #[default]
    All,
    /// Those that did not do what they were to do.
    Problems,
}

/// A word that is no [`Only`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not valid: write all or problems")]
pub struct InvalidOnly(String);

impl FromStr for Only {
    type Err = InvalidOnly;

    fn from_str(text: &str) -> Result<Self, InvalidOnly> {
        match text {
            "all" => Ok(Self::All),
            "problems" => Ok(Self::Problems),
            other => Err(InvalidOnly(other.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::All => "all",
            Self::Problems => "problems",
        })
    }
}

/// Which firings of a job to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobQuery {
    /// The job's name; it may be that of a removed job.
    pub job: JobName,
    /// Only what was for this client: one delivery a firing.
    pub client: Option<ClientId>,
    /// Only what was for clients that are in this group now.
    pub group: Option<GroupName>,
    /// The begin of the span, which is part of it. Default: a day before the end.
    pub since: Option<Timestamp>,
    /// The end of the span, which is not part of it. Default, and the latest: now.
    pub until: Option<Timestamp>,
    /// Which of them.
    pub only: Only,
    /// Every delivery, not only the first of those that did not succeed.
    pub all_clients: bool,
}

impl JobQuery {
    /// All of the last day.
    #[must_use]
    pub fn new(job: JobName) -> Self {
        let (client, group, since, until) = (None, None, None, None);
        Self { job, client, group, since, until, only: Only::All, all_clients: false }
    }
}

/// Which deliveries of a client to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientQuery {
    /// The client; it may be a removed one.
    pub client: ClientId,
    /// The begin of the span, which is part of it. Default: a day before the end.
    pub since: Option<Timestamp>,
    /// The end of the span, which is not part of it. Default, and the latest: now.
    pub until: Option<Timestamp>,
    /// Which of them.
    pub only: Only,
}

impl ClientQuery {
    /// All of the last day.
    #[must_use]
    pub fn new(client: ClientId) -> Self {
        Self { client, since: None, until: None, only: Only::All }
    }
}

/// A span: `since` is part of it, `until` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The begin.
    pub since: Timestamp,
    /// The end, after the begin.
    pub until: Timestamp,
}

/// A question that cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExplain {
    /// A begin at the end or after it.
    #[error("since {since} is not before until {until}")]
    Order {
        /// The begin.
        since: Timestamp,
        /// The end.
        until: Timestamp,
    },
    /// An end that is still to come.
    #[error("until {until} is still to come: it is {now}; forecast tells what will fire")]
    Future {
        /// The end.
        until: Timestamp,
        /// The moment of asking.
        now: Timestamp,
    },
    /// A span above [`MAX_SPAN`].
    #[error("since {since} to {until} is too long: the longest span is {} days", MAX_SPAN.as_secs() / 86_400)]
    Long {
        /// The begin.
        since: Timestamp,
        /// The end.
        until: Timestamp,
    },
    /// A client and a group at once.
    #[error("client {client} and group {group}: give one of them")]
    Both {
        /// The client.
        client: ClientId,
        /// The group.
        group: GroupName,
    },
}

impl Span {
    /// The span that is asked for at a moment.
    pub fn of(
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Self, InvalidExplain> {
        if let Some(until) = until.filter(|until| *until > now) {
            return Err(InvalidExplain::Future { until, now });
        }
        // What is due at this very moment is part of the day.
        let until = until.unwrap_or_else(|| now.plus(Duration::from_millis(1)));
        let since = since.unwrap_or_else(|| until.minus(DEFAULT_SPAN));
        if since >= until {
            return Err(InvalidExplain::Order { since, until });
        }
        if until.since(since) > MAX_SPAN {
            return Err(InvalidExplain::Long { since, until });
        }
        Ok(Self { since, until })
    }

    /// Whether a moment is in it.
    #[must_use]
    pub fn has(&self, at: Timestamp) -> bool {
        at >= self.since && at < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_span_is_a_day_unless_it_is_said_otherwise() {
        let now = at(1_000_000);
        let day = Span::of(None, None, now).unwrap();
        assert!(day.has(now) && day.has(at(1_000_000 - 86_399)) && !day.has(at(1_000_001)));
        let span = Span::of(None, Some(at(500_000)), now).unwrap();
        assert_eq!((span.since, span.until), (at(500_000 - 86_400), at(500_000)));
        assert!(!span.has(at(500_000)));
    }

    #[test]
    fn a_span_that_cannot_be_is_told_with_its_ends() {
        let now = at(100);
        let problem = |since, until| Span::of(since, until, now).unwrap_err().to_string();
        assert!(
            problem(Some(at(100).plus(Duration::from_secs(1))), None).contains("is not before")
        );
        assert!(problem(None, Some(at(101))).contains("00:01:41.000Z is still to come"));
        let now = at(400 * 86_400);
        let long = Span::of(Some(at(0)), None, now).unwrap_err().to_string();
        assert!(long.contains("the longest span is 366 days"), "{long}");
        assert_eq!("problems".parse(), Ok(Only::Problems));
        assert!("some".parse::<Only>().unwrap_err().to_string().contains("\"some\""));
    }
}
