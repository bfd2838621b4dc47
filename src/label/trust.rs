//! Which labels that clients report may decide who gets what.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{InvalidLabel, LabelKey};

/// Which of the labels and facts that clients report count for targets. What the owner of the
/// server has set at the registry always does. Written `all`, or keys with commas between.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelTrust {
    /// None: no client can put itself into a target.
    #[default]
    Nothing,
    /// These.
    Keys(BTreeSet<LabelKey>),
    /// All.
    All,
}

impl LabelTrust {
    /// Whether what clients report under a key counts.
    #[must_use]
    pub fn trusts(&self, key: &LabelKey) -> bool {
        match self {
            Self::Nothing => false,
            Self::Keys(keys) => keys.contains(key),
            Self::All => true,
        }
    }
}

impl FromStr for LabelTrust {
    type Err = InvalidLabel;
    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        if text == "all" {
            return Ok(Self::All);
        }
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self::Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_nothing_some_keys_or_all() {
        let trusts = |trust: &LabelTrust, key: &str| trust.trusts(&key.parse().unwrap());
        assert!(!trusts(&LabelTrust::default(), "os"));
        let some: LabelTrust = "os,rack".parse().unwrap();
        assert!(trusts(&some, "os") && trusts(&some, "rack") && !trusts(&some, "tier"));
        assert!(trusts(&"all".parse().unwrap(), "tier"));
        assert!("os,,rack".parse::<LabelTrust>().is_err());
        assert!("".parse::<LabelTrust>().is_err());
    }
}
