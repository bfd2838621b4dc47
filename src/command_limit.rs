//! How many commands run at once.
//!
//! Promises: a [`CommandLimit`] that exists is valid. Imports nothing of fleetcron.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many commands run at once: 1 to [`CommandLimit::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct CommandLimit(u32);

/// A number that is no [`CommandLimit`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} commands at once is not valid: it is 1 to {max}", max = CommandLimit::MAX)]
pub struct InvalidCommandLimit(String);

impl CommandLimit {
    /// The most.
    pub const MAX: u32 = 1_000;

    /// One at a time.
    pub const ONE: Self = Self(1);

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }

    /// The number, to compare with counts.
    #[must_use]
    pub fn count(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl TryFrom<i64> for CommandLimit {
    type Error = InvalidCommandLimit;
    fn try_from(value: i64) -> Result<Self, InvalidCommandLimit> {
        let number = u32::try_from(value).ok().filter(|number| (1..=Self::MAX).contains(number));
        number.map(Self).ok_or_else(|| InvalidCommandLimit(value.to_string()))
    }
}

impl From<CommandLimit> for i64 {
    fn from(value: CommandLimit) -> Self {
        value.0.into()
    }
}

impl std::str::FromStr for CommandLimit {
    type Err = InvalidCommandLimit;
    fn from_str(text: &str) -> Result<Self, InvalidCommandLimit> {
        let number = text.parse::<i64>().ok().and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| InvalidCommandLimit(text.to_owned()))
    }
}

impl fmt::Display for CommandLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_from_one_to_a_thousand() {
        for good in ["1", "1000"] {
            let limit: CommandLimit = serde_json::from_str(good).unwrap();
            assert_eq!(Ok(limit), good.parse());
            assert_eq!(serde_json::to_string(&limit).unwrap(), good);
        }
        for bad in ["0", "-1", "1001", "5000000000"] {
            let error = serde_json::from_str::<CommandLimit>(bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("\"{bad}\" commands at once is not")), "{error}");
            assert!(bad.parse::<CommandLimit>().is_err());
        }
        assert!("many".parse::<CommandLimit>().unwrap_err().to_string().contains("\"many\""));
    }
}
