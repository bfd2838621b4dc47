//! How a delivery is tried: how often, for how long, and whether it may be sent twice.
//!
//! Promises: a policy that exists is valid. Imports times.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command_limit::CommandLimit;
use crate::job::Overlap;
use crate::time::duration;

/// The most attempts of a delivery.
pub const MAX_ATTEMPTS: u32 = 100;

/// The default of `retry.backoff`.
pub const BACKOFF: Duration = Duration::from_secs(10);

/// The default of `retry.max_backoff`.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(3_600);

/// The shortest `retry.backoff`.
pub const MIN_BACKOFF: Duration = Duration::from_millis(100);

/// The longest `retry.max_backoff`.
pub const MAX_BACKOFF: Duration = Duration::from_secs(7 * 86_400);

/// The default of `timeout.accept`.
pub const ACCEPT_TIMEOUT: Duration = Duration::from_secs(30);

/// The shortest of the two timeouts.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// The longest of the two timeouts.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 86_400);

/// How often a delivery is tried that ends as `failed` or `timed_out`. One that the client rejects
/// is never tried again.
///
/// Before the attempt after the n-th there is a pause of random length, 0 to `backoff` × 2ⁿ⁻¹, at
/// most `max_backoff`: exponential backoff with full jitter, as AWS's builders' library describes
/// it. The randomness is a hash of run, client and attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenRetry")]
pub struct Retry {
    attempts: u32,
    #[serde(with = "duration")]
    backoff: Duration,
    #[serde(with = "duration")]
    max_backoff: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRetry {
    attempts: u32,
    #[serde(default, with = "duration::optional")]
    backoff: Option<Duration>,
    #[serde(default, with = "duration::optional")]
    max_backoff: Option<Duration>,
}

/// A policy that cannot be. The message names the field and the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// No attempt, or more than [`MAX_ATTEMPTS`].
    #[error("attempts {0} is not valid: write 1 to {MAX_ATTEMPTS}")]
    Attempts(u32),
    /// A duration that is too short or too long.
    #[error("{field} {} is not valid: write {} to {}", duration::format(*.value),
        duration::format(*.least), duration::format(*.most))]
    Duration {
        /// The field.
        field: &'static str,
        /// What it has.
        value: Duration,
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// Attempts that `at_most_once` forbids.
    #[error("retry has {0} attempts, but delivery is at_most_once: it is never sent again")]
    SentOnce(u32),
    /// Several commands of a job at once on a client, whose overlap does not allow it.
    #[error(
        "per_client {0} needs overlap \"allow\": otherwise a client runs one of the job's \
             commands at a time"
    )]
    PerClient(CommandLimit),
}

fn within(
    field: &'static str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<Duration, InvalidPolicy> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(InvalidPolicy::Duration { field, value, least, most })
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, backoff: BACKOFF, max_backoff: LONGEST_BACKOFF }
    }
}

impl TryFrom<WrittenRetry> for Retry {
    type Error = InvalidPolicy;

    fn try_from(written: WrittenRetry) -> Result<Self, InvalidPolicy> {
        let backoff = written.backoff.unwrap_or(BACKOFF);
        let longest = written.max_backoff.unwrap_or(LONGEST_BACKOFF.max(backoff));
        Self::new(written.attempts, backoff, longest)
    }
}

impl Retry {
    /// So many attempts, the first included, and the pauses between them.
    pub fn new(
        attempts: u32,
        backoff: Duration,
        max_backoff: Duration,
    ) -> Result<Self, InvalidPolicy> {
        if !(1..=MAX_ATTEMPTS).contains(&attempts) {
            return Err(InvalidPolicy::Attempts(attempts));
        }
        let backoff = within("backoff", backoff, MIN_BACKOFF, MAX_BACKOFF)?;
        let max_backoff = within("max_backoff", max_backoff, backoff, MAX_BACKOFF)?;
        Ok(Self { attempts, backoff, max_backoff })
    }

    /// How often a delivery is tried, the first time included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The longest pause after an attempt; the first attempt is 1.
    #[must_use]
    pub fn longest_pause(&self, attempt: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        self.backoff.saturating_mul(doubled).min(self.max_backoff)
    }
}

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenTimeout")]
pub struct Timeout {
    #[serde(with = "duration")]
    accept: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional")]
    run: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTimeout {
    #[serde(default, with = "duration::optional")]
    accept: Option<Duration>,
    #[serde(default, with = "duration::optional")]
    run: Option<Duration>,
}

impl Default for Timeout {
    fn default() -> Self {
        Self { accept: ACCEPT_TIMEOUT, run: None }
    }
}

impl TryFrom<WrittenTimeout> for Timeout {
    type Error = InvalidPolicy;

    fn try_from(written: WrittenTimeout) -> Result<Self, InvalidPolicy> {
        Self::new(written.accept.unwrap_or(ACCEPT_TIMEOUT), written.run)
    }
}

impl Timeout {
    /// The time to say that a command was taken, and the time to run it; both 100 ms to a year.
    pub fn new(accept: Duration, run: Option<Duration>) -> Result<Self, InvalidPolicy> {
        let accept = within("accept", accept, MIN_TIMEOUT, MAX_TIMEOUT)?;
        let run = run.map(|run| within("run", run, MIN_TIMEOUT, MAX_TIMEOUT)).transpose()?;
        Ok(Self { accept, run })
    }

    /// How long a connected client may take to say that it has taken a command.
    #[must_use]
    pub fn accept(&self) -> Duration {
        self.accept
    }

    /// How long a command may run from when it begins; `None`: for ever.
    #[must_use]
    pub fn run(&self) -> Option<Duration> {
        self.run
    }
}

/// Whether a delivery may be sent twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryMode {
    /// It is sent again until the client answers; the client drops what it has taken already.
    #[default]
    AtLeastOnce,
    /// That it is sent is stored before it is sent, and it is never sent again. One that its
    /// client does not have afterwards ends as `failed`.
    AtMostOnce,
}

/// The class of a command: one of a higher class overtakes those of a lower one that wait, at the
/// server and at the client. Within a class the order is that of the serials.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before all others. A part of each client's window, and one slot above the client's
    /// concurrency, are kept for these.
    Urgent,
    /// After those that are urgent.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

impl Priority {
    /// Every class, the highest first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Normal, Self::Low];

    /// Its name, as it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The policies of a delivery that a run keeps as they were when it fired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// How often it is tried. Default: once.
    #[serde(skip_serializing_if = "is_default")]
    pub retry: Retry,
    /// How long a client may take. Default: 30 s to accept, for ever to run.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: Timeout,
    /// Whether it may be sent twice. Default `at_least_once`.
    #[serde(skip_serializing_if = "is_default")]
    pub delivery: DeliveryMode,
    /// What it overtakes and what overtakes it. Default `normal`.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: Priority,
    /// How many of the job's commands one client runs at once. Default: 1, or with overlap
    /// `allow` as many as there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_client: Option<CommandLimit>,
}

impl Policy {
    /// That the parts agree with each other.
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        match (self.delivery, self.retry.attempts) {
            (DeliveryMode::AtMostOnce, attempts @ 2..) => Err(InvalidPolicy::SentOnce(attempts)),
            _ => Ok(()),
        }
    }

    /// That a limit of commands at once agrees with what the job does when it overlaps.
    pub fn check_overlap(&self, overlap: Overlap) -> Result<(), InvalidPolicy> {
        match self.per_client {
            Some(limit) if limit > CommandLimit::ONE && overlap != Overlap::Allow => {
                Err(InvalidPolicy::PerClient(limit))
            }
            _ => Ok(()),
        }
    }
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(text: &str) -> Result<Retry, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retry = retry(r#"{"attempts": 5, "backoff": "10s", "max_backoff": "1m"}"#).unwrap();
        let pauses: Vec<u64> = (1..=5).map(|n| retry.longest_pause(n).as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 60, 60]);
        assert_eq!(retry.longest_pause(u32::MAX).as_secs(), 60, "no overflow");
    }

    #[test]
    fn what_cannot_be_is_named_with_its_value() {
        for (text, problem) in [
            (r#"{"attempts": 0}"#, "attempts 0 is not valid: write 1 to 100"),
            (r#"{"attempts": 101}"#, "attempts 101 is not valid"),
            (r#"{"attempts": 2, "backoff": "1ms"}"#, "backoff 1ms is not valid: write 100ms to"),
            (r#"{"attempts": 2, "max_backoff": "1s"}"#, "max_backoff 1s is not valid: write 10s"),
            (r#"{"attempts": 2, "pause": "1s"}"#, "unknown field `pause`"),
            (r#"{"backoff": "1s"}"#, "missing field `attempts`"),
        ] {
            let error = retry(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
        let timeout = serde_json::from_str::<Timeout>(r#"{"run": "0s"}"#).unwrap_err();
        assert!(timeout.to_string().contains("run 0s is not valid"), "{timeout}");
    }

    #[test]
    fn policies_come_back_as_they_were_written() {
        let policy: Policy = serde_json::from_str(
            r#"{"retry": {"attempts": 3}, "timeout": {"run": "1h"}, "delivery": "at_least_once",
                "priority": "urgent"}"#,
        )
        .unwrap();
        assert_eq!(policy.priority, Priority::Urgent);
        let text = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), policy);
        assert!(!text.contains("delivery"), "the default is left out: {text}");
        assert_eq!(serde_json::to_string(&Policy::default()).unwrap(), "{}");
    }

    #[test]
    fn classes_are_in_order_and_named_as_they_are_written() {
        assert!(Priority::ALL.is_sorted());
        for class in Priority::ALL {
            assert_eq!(serde_json::to_string(&class).unwrap(), format!("\"{class}\""));
        }
        let error = serde_json::from_str::<Priority>("\"high\"").unwrap_err().to_string();
        assert!(error.contains("`high`, expected one of `urgent`, `normal`, `low`"), "{error}");
    }

    #[test]
    fn several_at_once_need_an_overlap_that_allows_it() {
        let per_client = |n| Policy { per_client: Some(n), ..Policy::default() };
        let two = "2".parse().unwrap();
        for overlap in [Overlap::Skip, Overlap::Queue, Overlap::Replace] {
            let refused = per_client(two).check_overlap(overlap);
            assert_eq!(refused, Err(InvalidPolicy::PerClient(two)));
            assert_eq!(per_client(CommandLimit::ONE).check_overlap(overlap), Ok(()));
        }
        assert_eq!(per_client(two).check_overlap(Overlap::Allow), Ok(()));
        assert_eq!(Policy::default().check_overlap(Overlap::Skip), Ok(()));
    }

    #[test]
    fn what_is_sent_once_is_not_tried_again() {
        let retry = Retry::new(3, BACKOFF, LONGEST_BACKOFF).unwrap();
        let mut policy = Policy { retry, ..Policy::default() };
        assert_eq!(policy.check(), Ok(()));
        policy.delivery = DeliveryMode::AtMostOnce;
        assert_eq!(policy.check(), Err(InvalidPolicy::SentOnce(3)));
    }
}
