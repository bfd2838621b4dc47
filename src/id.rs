//! Identifiers: validated names, serial numbers and registry numbers.
//!
//! Promises: a value of these types is always valid, compares and sorts as its text (names) or
//! its number (serials, registry numbers) does, and is cheap to clone.
//! Imports nothing of fleetcron but [`crate::time`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::time::Timestamp;

/// A name that breaks its rule. The message holds the kind, the value and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {problem}; allowed are 1 to {max} characters of {allowed}")]
pub struct InvalidName {
    what: &'static str,
    value: String,
    problem: String,
    max: usize,
    allowed: &'static str,
}

/// A text that is not a ULID where one is needed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not a ULID (26 characters of 0-9 and A-Z without I, L, O, U)")]
pub struct InvalidUlid {
    what: &'static str,
    value: String,
}

/// How much of a bad value an error message repeats.
const SHOWN: usize = 160;

fn check(
    what: &'static str,
    value: &str,
    max: usize,
    allowed: &'static str,
    extra: &str,
) -> Result<(), InvalidName> {
    let bad = |problem: String| InvalidName {
        what,
        value: value.chars().take(SHOWN).collect(),
        problem,
        max,
        allowed,
    };
    if value.is_empty() {
        return Err(bad("it is empty".into()));
    }
    for (at, c) in value.chars().enumerate() {
        if !(c.is_ascii_alphanumeric() || extra.contains(c)) {
            return Err(bad(format!("character {c:?} at position {}", at + 1)));
        }
    }
    if value.len() > max {
        return Err(bad(format!("it has {} characters", value.len())));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $extra:literal, $allowed:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest allowed name, in characters.
            pub const MAX: usize = $max;

            /// Checks and takes a name.
            pub fn new(value: impl AsRef<str>) -> Result<Self, InvalidName> {
                let value = value.as_ref();
                check($what, value, $max, $allowed, $extra)?;
                Ok(Self(value.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(value: &str) -> Result<Self, InvalidName> {
                Self::new(value)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(value: String) -> Result<Self, InvalidName> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.as_ref().into()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name! {
    /// The name of a client: 1 to 64 characters of `[A-Za-z0-9._:-]`.
    ClientId, "client id", 64, "._:-", "[A-Za-z0-9._:-]"
}
name! {
    /// The name of a group of clients: 1 to 64 characters of `[A-Za-z0-9._:-]`.
    GroupName, "group name", 64, "._:-", "[A-Za-z0-9._:-]"
}
name! {
    /// The unique name of a job: 1 to 128 characters of `[A-Za-z0-9._/-]`.
    JobName, "job name", 128, "._/-", "[A-Za-z0-9._/-]"
}
name! {
    /// The name of a calendar: 1 to 64 characters of `[A-Za-z0-9._:-]`.
    CalendarName, "calendar name", 64, "._:-", "[A-Za-z0-9._:-]"
}
name! {
    /// The name of a command, by which both ends find its handler: 1 to 128 characters of
    /// `[A-Za-z0-9._/-]`.
    CommandName, "command name", 128, "._/-", "[A-Za-z0-9._/-]"
}

macro_rules! ulid_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Ulid);

        impl $name {
            /// From its 16 bytes, big-endian; their order is the order of the values.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Ulid::from_bytes(bytes))
            }

            /// Its 16 bytes, big-endian; their order is the order of the values.
            #[must_use]
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_bytes()
            }

            /// The time in its first 48 bits.
            #[must_use]
            pub fn time(self) -> Timestamp {
                // 48 bits always fit.
                Timestamp::from_millis(i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX))
            }

            /// A value with the time bits of `at` and the lower 80 bits of `entropy`.
            #[must_use]
            pub fn from_parts(at: Timestamp, entropy: u128) -> Self {
                Self(Ulid::from_parts(u64::try_from(at.millis()).unwrap_or(0), entropy))
            }
        }

        impl FromStr for $name {
            type Err = InvalidUlid;
            fn from_str(value: &str) -> Result<Self, InvalidUlid> {
                Ulid::from_string(value).map(Self).map_err(|_| InvalidUlid {
                    what: $what,
                    value: value.chars().take(SHOWN).collect(),
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidUlid;
            fn try_from(value: String) -> Result<Self, InvalidUlid> {
                value.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0.to_string())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

ulid_type! {
    /// The lasting number of a job. It survives changes of the job's definition.
    JobId, "job id"
}
ulid_type! {
    /// The serial number of a run. Its order is the order in which a client gets its deliveries.
    Serial, "serial"
}

ulid_type! {
    /// The number of a replay. Its order is the order in which replays were made.
    ReplayId, "replay"
}

impl Serial {
    /// The serial of a job's firing. The same occurrence has the same serial whenever and
    /// wherever it is computed: the time bits are the scheduled time, the other 80 bits the start
    /// of SHA-256 over job id and scheduled time.
    ///
    /// ```
    /// # use fleetcron::{JobId, Serial, Timestamp};
    /// let job: JobId = "01JD0000000000000000000000".parse()?;
    /// let at: Timestamp = "2026-11-22T06:00:00Z".parse()?;
    /// assert_eq!(Serial::of_firing(job, at), Serial::of_firing(job, at));
    /// assert_eq!(Serial::of_firing(job, at).time(), at);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of_firing(job: JobId, scheduled: Timestamp) -> Self {
        let mut hash = Sha256::new();
        hash.update(job.to_bytes());
        hash.update(scheduled.millis().to_be_bytes());
        let digest = hash.finalize();
        let mut low = [0_u8; 16];
        low[6..].copy_from_slice(&digest[..10]);
        Self::from_parts(scheduled, u128::from_be_bytes(low))
    }

    /// The smallest serial above this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(Ulid(self.0.0.saturating_add(1)))
    }
}

/// A client's number in the registry: small, given once and never reused, so that sets of
/// clients are bitmaps. It is local to one store and never leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientNo(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_name_is_told_with_its_value_and_the_rule() {
        let error = JobName::new("nightly backup").unwrap_err().to_string();
        assert_eq!(
            error,
            "job name \"nightly backup\" is not valid: character ' ' at position 8; \
             allowed are 1 to 128 characters of [A-Za-z0-9._/-]"
        );
        assert!(JobName::new("").is_err());
        assert!(JobName::new("a".repeat(128)).is_ok());
        assert!(JobName::new("a".repeat(129)).is_err());
        assert!(ClientId::new("web-01:eu.a_b").is_ok());
        assert!(ClientId::new("web/01").is_err());
    }

    #[test]
    fn serials_sort_by_time_first() {
        let job = JobId::from_parts(Timestamp::from_millis(1), 7);
        let early = Serial::of_firing(job, Timestamp::from_millis(1_000));
        let late = Serial::of_firing(job, Timestamp::from_millis(1_001));
        assert!(early < late);
        assert!(early < early.next());
        assert_eq!(early.to_string().parse::<Serial>(), Ok(early));
    }
}
