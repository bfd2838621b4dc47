//! What of its history a job keeps: so many runs, for a time, up to a size.
//!
//! Promises: a [`Keep`] that exists says something, and is within its limits. Imports times and
//! sizes.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::size;
use crate::time::duration;

/// The most runs that `history.runs` can name.
pub const MAX_KEEP_RUNS: u64 = 1_000_000;

/// The shortest time that `history.for` can name.
pub const MIN_KEEP_FOR: Duration = Duration::from_secs(1);

/// The least size that `history.bytes` can name: 1 KiB.
pub const MIN_KEEP_BYTES: u64 = 1024;

/// The most that `history.bytes` can name: 1 TiB.
pub const MAX_KEEP_BYTES: u64 = 1 << 40;

/// What of its ended runs a job keeps; what is above any of these is forgotten, the oldest first.
/// Runs that are open are never forgotten.
///
/// ```
/// # use fleetcron::Keep;
/// let keep: Keep = serde_json::from_str(r#"{"runs": 100, "for": "30d", "bytes": "10MiB"}"#)?;
/// assert_eq!((keep.runs(), keep.bytes()), (Some(100), Some(10 * 1024 * 1024)));
/// assert_eq!(keep.to_string(), "100 runs, for 30days, 10MiB");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Keep {
    runs: Option<u64>,
    age: Option<Duration>,
    bytes: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    runs: Option<u64>,
    #[serde(
        default,
        rename = "for",
        skip_serializing_if = "Option::is_none",
        with = "duration::optional"
    )]
    age: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "size")]
    bytes: Option<u64>,
}

/// A history that cannot be. The message names the field and the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeep {
    /// None of the fields.
    #[error("history says nothing: write runs, for or bytes")]
    Nothing,
    /// No run, or more than [`MAX_KEEP_RUNS`].
    #[error("runs {0} is not valid: write 1 to {MAX_KEEP_RUNS}")]
    Runs(u64),
    /// A time below [`MIN_KEEP_FOR`].
    #[error("for {} is not valid: the shortest is {}", duration::format(*.0),
        duration::format(MIN_KEEP_FOR))]
    For(Duration),
    /// A size below [`MIN_KEEP_BYTES`] or above [`MAX_KEEP_BYTES`].
    #[error("bytes {} is not valid: write {} to {}", size::format(*.0),
        size::format(MIN_KEEP_BYTES), size::format(MAX_KEEP_BYTES))]
    Bytes(u64),
}

impl Keep {
    /// So many runs, for so long after their end, up to so many bytes; each if it is given, and
    /// one at least.
    pub fn new(
        runs: Option<u64>,
        age: Option<Duration>,
        bytes: Option<u64>,
    ) -> Result<Self, InvalidKeep> {
        if runs.is_none() && age.is_none() && bytes.is_none() {
            return Err(InvalidKeep::Nothing);
        }
        if let Some(runs) = runs.filter(|runs| !(1..=MAX_KEEP_RUNS).contains(runs)) {
            return Err(InvalidKeep::Runs(runs));
        }
        if let Some(age) = age.filter(|age| *age < MIN_KEEP_FOR) {
            return Err(InvalidKeep::For(age));
        }
        let sizes = MIN_KEEP_BYTES..=MAX_KEEP_BYTES;
        if let Some(bytes) = bytes.filter(|bytes| !sizes.contains(bytes)) {
            return Err(InvalidKeep::Bytes(bytes));
        }
        Ok(Self { runs, age, bytes })
    }

    /// The most ended runs; `None`: no limit of its own.
    #[must_use]
    pub fn runs(&self) -> Option<u64> {
        self.runs
    }

    /// How long a run is kept after its end; `None`: as long as the server keeps any.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.age
    }

    /// The most bytes that its ended runs and their responses take; `None`: no limit of its own.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }
}

impl TryFrom<Written> for Keep {
    type Error = InvalidKeep;
    fn try_from(written: Written) -> Result<Self, InvalidKeep> {
        Self::new(written.runs, written.age, written.bytes)
    }
}

impl From<Keep> for Written {
    fn from(Keep { runs, age, bytes }: Keep) -> Self {
        Self { runs, age, bytes }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.runs.map(|runs| if runs == 1 { "1 run".into() } else { format!("{runs} runs") }),
            self.age.map(|age| format!("for {}", duration::format(age))),
            self.bytes.map(size::format),
        ];
        f.pad(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(text: &str) -> Result<Keep, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn it_comes_back_as_it_was_written() {
        for text in [
            r#"{"runs":100,"for":"30days","bytes":"10MiB"}"#,
            r#"{"runs":1}"#,
            r#"{"for":"1s"}"#,
            r#"{"bytes":"1023KiB"}"#,
        ] {
            let read = keep(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
        assert_eq!(keep(r#"{"bytes": 2048}"#).unwrap(), keep(r#"{"bytes": "2KiB"}"#).unwrap());
    }

    #[test]
    fn what_cannot_be_is_named_with_its_value() {
        for (text, problem) in [
            ("{}", "history says nothing: write runs, for or bytes"),
            (r#"{"runs": 0}"#, "runs 0 is not valid: write 1 to 1000000"),
            (r#"{"runs": 1000001}"#, "runs 1000001 is not valid"),
            (r#"{"for": "10ms"}"#, "for 10ms is not valid: the shortest is 1s"),
            (r#"{"for": "1 week or so"}"#, "duration \"1 week or so\" is not valid"),
            (r#"{"bytes": 1}"#, "bytes 1 is not valid: write 1KiB to 1TiB"),
            (r#"{"bytes": "2TiB"}"#, "bytes 2TiB is not valid"),
            (r#"{"bytes": "lots"}"#, "size \"lots\" is not valid"),
            (r#"{"bytes": true}"#, "write a size"),
            (r#"{"keep": 1}"#, "unknown field `keep`"),
        ] {
            let error = keep(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
