//! Times: UTC milliseconds inside, RFC 3339 outside, and the one place that reads the clock.
//!
//! Promises: nothing else in the crate asks the system what time it is (clippy enforces it).
//! Imports nothing of fleetcron.

mod iso8601;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// A moment: milliseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 in UTC.
///
/// ```
/// # use fleetcron::Timestamp;
/// let at: Timestamp = "2026-11-22T07:00:00+01:00".parse()?;
/// assert_eq!(at.to_string(), "2026-11-22T06:00:00.000Z");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

/// A text that is not a moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "time {value:?} is not valid: {problem}; write RFC 3339 with an offset, such as 2026-11-22T06:00:00Z"
)]
pub struct InvalidTime {
    value: String,
    problem: String,
}

impl Timestamp {
    /// The earliest moment, before every other.
    pub const MIN: Self = Self(i64::MIN);

    /// The latest moment that can be written and read again: the end of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// From milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This moment and `duration` more; [`Timestamp::MAX`] at most, so that it can be stored.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis)).min(Self::MAX)
    }

    /// This moment less `duration`; stays at the start of time rather than wrap.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The same moment for `chrono`; `None` outside its range of some 262,000 years.
    #[must_use]
    pub fn to_chrono(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.0)
    }
}

impl<Tz: chrono::TimeZone> From<DateTime<Tz>> for Timestamp {
    fn from(value: DateTime<Tz>) -> Self {
        Self(value.timestamp_millis())
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTime;
    fn from_str(value: &str) -> Result<Self, InvalidTime> {
        let bad =
            |problem: String| InvalidTime { value: value.chars().take(80).collect(), problem };
        let at = DateTime::parse_from_rfc3339(value).map_err(|error| bad(error.to_string()))?;
        if at.timestamp_millis() < 0 {
            return Err(bad("it is before 1970".into()));
        }
        // An offset can carry it into the year 10000, which no one could read back.
        if at.timestamp_millis() > Self::MAX.0 {
            return Err(bad("it is after the year 9999 in UTC".into()));
        }
        Ok(at.into())
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidTime;
    fn try_from(value: String) -> Result<Self, InvalidTime> {
        value.parse()
    }
}

impl From<Timestamp> for String {
    fn from(value: Timestamp) -> Self {
        value.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_chrono() {
            Some(at) => f.pad(&at.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => write!(f, "{} ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// How long it is until a moment; zero if it has come. Whoever sleeps until then goes by this:
    /// [`Clock::now`] is the last whole millisecond, so the time since it is up to one too long.
    ///
    /// Default: the time since [`Clock::now`], for clocks that know whole milliseconds only.
    fn until(&self, at: Timestamp) -> Duration {
        at.since(self.now())
    }
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        Utc::now().into()
    }

    #[expect(clippy::disallowed_methods, reason = "the other one")]
    fn until(&self, at: Timestamp) -> Duration {
        let left = at.to_chrono().map(|at| (at - Utc::now()).to_std().unwrap_or_default());
        // Nobody waits for a moment that is beyond the calendar.
        left.unwrap_or_else(|| at.since(self.now()))
    }
}

/// Durations as people write them, `90s`, `5m`, `1h 30m`, `1d`, or as ISO 8601 does, `PT90S`,
/// `PT1H30M`, `P1D`; written back in the first form. For `#[serde(with = …)]`.
pub mod duration {
    use super::{Duration, iso8601};
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    /// Reads a duration, naming the value when it is not one. ISO 8601's years and months are
    /// refused: they have no fixed length.
    pub fn parse(value: &str) -> Result<Duration, String> {
        let read = match value.strip_prefix('P') {
            Some(body) => iso8601::parse(body),
            None => humantime::parse_duration(value).map_err(|error| error.to_string()),
        };
        let duration = read.map_err(|problem| {
            format!("duration {value:?} is not valid: {problem}; write a number and a unit, such as 90s, 5m or 1h 30m, or ISO 8601 such as PT1H30M")
        })?;
        if duration.subsec_nanos() % 1_000_000 != 0 {
            return Err(format!("duration {value:?} is not valid: the smallest unit is 1ms"));
        }
        if duration > Duration::from_secs(100 * 365 * 86_400) {
            return Err(format!("duration {value:?} is not valid: the longest is 100 years"));
        }
        Ok(duration)
    }

    /// Writes a duration as `parse` reads it.
    #[must_use]
    pub fn format(duration: Duration) -> String {
        humantime::format_duration(duration).to_string()
    }

    /// Serializes as text.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format(*value))
    }

    /// Deserializes from text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map_err(D::Error::custom)
    }

    /// The same for an optional duration.
    pub mod optional {
        use super::{Deserialize, Deserializer, Duration, Serializer, format, parse};
        use serde::de::Error as _;

        /// Serializes as text or null.
        pub fn serialize<S: Serializer>(
            value: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(duration) => serializer.serialize_some(&format(*duration)),
                None => serializer.serialize_none(),
            }
        }

        /// Deserializes from text or null.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            Option::<String>::deserialize(deserializer)?
                .map(|text| parse(&text).map_err(D::Error::custom))
                .transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_that_can_come_about_is_read_back_as_it_was_written() {
        let last: Timestamp = "9999-12-31T23:59:59.999Z".parse().unwrap();
        assert_eq!(last, Timestamp::MAX);
        assert_eq!(last.plus(Duration::from_millis(1)), last);
        assert_eq!(last.to_string().parse(), Ok(last));
        let beyond = "9999-12-31T23:59:59-12:00".parse::<Timestamp>().unwrap_err().to_string();
        assert!(beyond.contains("after the year 9999"), "{beyond}");
    }

    #[test]
    fn what_is_left_until_a_moment_is_told_to_less_than_a_millisecond() {
        let at = SystemClock.now().plus(Duration::from_secs(60));
        let looks = || {
            let (before, left) = (SystemClock.now(), SystemClock.until(at));
            (at.since(before), left, at.since(SystemClock.now()))
        };
        let looks: Vec<_> = (0..1_000).map(|_| looks()).collect();
        for (most, left, least) in &looks {
            let millisecond = Duration::from_millis(1);
            assert!(left <= most && *left + millisecond >= *least, "{left:?} of {most:?}");
        }
        assert!(looks.iter().any(|(_, left, _)| left.subsec_nanos() % 1_000_000 != 0));
        assert_eq!(SystemClock.until(Timestamp::MIN), Duration::ZERO);
        assert!(SystemClock.until(Timestamp::MAX) > Duration::from_secs(86_400 * 365));
    }

    #[test]
    fn durations_are_read_in_two_forms_and_written_in_one() {
        for (text, written) in [
            ("90s", "1m 30s"),
            ("PT90S", "1m 30s"),
            ("P1D", "1day"),
            ("PT1H30M", "1h 30m"),
            ("PT0.1S", "100ms"),
        ] {
            let read = duration::parse(text).unwrap();
            assert_eq!(duration::format(read), written, "{text}");
            assert_eq!(duration::parse(written), Ok(read));
        }
        let error = duration::parse("P1M").unwrap_err();
        assert!(error.starts_with("duration \"P1M\" is not valid: years and months"), "{error}");
        assert!(duration::parse("P36501D").unwrap_err().ends_with("the longest is 100 years"));
    }
}
