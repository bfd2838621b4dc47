//! Submits that are made again, and what is remembered to know them.
//!
//! Promises: a key is always valid; a fingerprint is the same for the same content on every
//! machine. Imports identifiers and times.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bytes;
use crate::id::Serial;
use crate::run::Run;
use crate::time::Timestamp;

/// How long an [`IdempotencyKey`] is remembered: 24 h from its first submit.
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest time within which a submit can be unique: 30 days.
pub const MAX_UNIQUE_WITHIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Keys and unique submits that are remembered, at most; a submit that would need one more is
/// refused.
pub const MAX_REPEATS: usize = 100_000;

/// How much of a bad value an error message repeats.
const SHOWN: usize = 160;

/// A name that the caller gives to a submit, by which the same submit made again is known.
///
/// ```
/// # use fleetcron::IdempotencyKey;
/// assert!("order 4711, first try".parse::<IdempotencyKey>().is_ok());
/// assert!("".parse::<IdempotencyKey>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdempotencyKey(Arc<str>);

/// A key that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "idempotency key {value:?} is not valid: {problem}; it is 1 to {} printable ASCII characters",
    IdempotencyKey::MAX
)]
pub struct InvalidIdempotencyKey {
    value: String,
    problem: String,
}

impl IdempotencyKey {
    /// The longest key, in characters.
    pub const MAX: usize = 128;

    /// Checks and takes a key.
    pub fn new(value: &str) -> Result<Self, InvalidIdempotencyKey> {
        let bad = |problem: String| InvalidIdempotencyKey {
            value: value.chars().take(SHOWN).collect(),
            problem,
        };
        if value.is_empty() {
            return Err(bad("it is empty".into()));
        }
        let printable = |c: char| c == ' ' || c.is_ascii_graphic();
        if let Some((at, c)) = value.chars().enumerate().find(|(_, c)| !printable(*c)) {
            return Err(bad(format!("character {c:?} at position {}", at + 1)));
        }
        if value.len() > Self::MAX {
            return Err(bad(format!("it has {} characters", value.len())));
        }
        Ok(Self(value.into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;
    fn from_str(value: &str) -> Result<Self, InvalidIdempotencyKey> {
        Self::new(value)
    }
}

impl TryFrom<String> for IdempotencyKey {
    type Error = InvalidIdempotencyKey;
    fn try_from(value: String) -> Result<Self, InvalidIdempotencyKey> {
        Self::new(&value)
    }
}

impl From<IdempotencyKey> for String {
    fn from(key: IdempotencyKey) -> Self {
        key.0.as_ref().into()
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The SHA-256 of what makes a submit the same as another; as text, 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        bytes::hex(&fingerprint.0)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let bad = || format!("{text:?} is not 64 hexadecimal digits");
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

/// By what a submit is known again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepeatKey {
    /// The caller's key.
    Key(IdempotencyKey),
    /// Its command, target and parameters.
    Same(Fingerprint),
}

/// A submit that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat {
    /// By what it is known again.
    #[serde(flatten)]
    pub key: RepeatKey,
    /// The run that it gives back.
    pub serial: Serial,
    /// When it was made.
    pub at: Timestamp,
    /// When it is forgotten.
    pub until: Timestamp,
    /// Of the whole submission, by which another one under the same key is told from it.
    pub content: Fingerprint,
}

/// The answer to a submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The run, as it stands.
    pub run: Run,
    /// Whether it is of an earlier submit.
    pub repeated: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_length_and_printable_ascii_alone() {
        assert!(IdempotencyKey::new(&"~".repeat(IdempotencyKey::MAX)).is_ok());
        let message = |text: &str| IdempotencyKey::new(text).unwrap_err().to_string();
        assert!(message("").contains("it is empty"));
        assert!(message(&"k".repeat(129)).contains("it has 129 characters"));
        for bad in ["a\tb", "a\u{e9}b", "a\u{7f}b", "a\nb"] {
            assert!(message(bad).contains("at position 2"), "{bad:?}");
        }
    }

    #[test]
    fn what_is_remembered_comes_back() {
        for key in [
            RepeatKey::Key(IdempotencyKey::new("a \"b\"").unwrap()),
            RepeatKey::Same(Fingerprint([0xa5; 32])),
        ] {
            let repeat = Repeat {
                key,
                serial: Serial::from_bytes([7; 16]),
                at: Timestamp::from_millis(1),
                until: Timestamp::from_millis(2),
                content: Fingerprint([9; 32]),
            };
            let text = serde_json::to_string(&repeat).unwrap();
            assert_eq!(serde_json::from_str::<Repeat>(&text).unwrap(), repeat, "{text}");
        }
        let odd = format!("{}\u{e9}\u{e9}", "a".repeat(60));
        for bad in ["", "zz", &"g".repeat(64), &odd] {
            assert!(Fingerprint::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
