//! Labels: what is known of a client beside its groups, as `key=value`.
//!
//! The owner of the server sets some at the registry; a client says others of itself, with its
//! [`Facts`]. Promises: a value of these types keeps to the limits, however it was made.
//! Imports nothing of fleetcron.

mod facts;
mod trust;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use facts::{FACT_KEYS, Facts};
pub use trust::LabelTrust;

/// Labels that one side gives a client, at most: the registry's owner, or the client itself.
pub const MAX_LABELS: usize = 32;

/// The longest label key, in characters.
pub const MAX_LABEL_KEY: usize = 64;

/// The longest label value, in bytes.
pub const MAX_LABEL_VALUE: usize = 256;

/// How much of a bad text an error repeats, in characters.
const SHOWN: usize = 40;

/// A label, a fact or a set of them that breaks its rule. The message holds the value and the
/// rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidLabel(pub(super) String);

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// The key of a label: 1 to 64 characters of `[a-z0-9._-]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelKey(Arc<str>);

/// The value of a label: at most 256 bytes without control characters; it may be empty.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelValue(Arc<str>);

impl FromStr for LabelKey {
    type Err = InvalidLabel;
    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        let fits = (1..=MAX_LABEL_KEY).contains(&text.len());
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if fits && text.chars().all(known) {
            return Ok(Self(text.into()));
        }
        Err(InvalidLabel(format!(
            "label key {:?} is not valid; allowed are 1 to {MAX_LABEL_KEY} characters of \
             [a-z0-9._-]",
            shown(text)
        )))
    }
}

impl FromStr for LabelValue {
    type Err = InvalidLabel;
    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        check_value(text).map_err(|problem| {
            InvalidLabel(format!("label value {:?} is not valid: {problem}", shown(text)))
        })?;
        Ok(Self(text.into()))
    }
}

/// What is wrong with a value.
fn check_value(text: &str) -> Result<(), String> {
    if text.len() > MAX_LABEL_VALUE {
        return Err(format!("it has {} bytes; the most is {MAX_LABEL_VALUE}", text.len()));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("it has the control character {c:?}")),
        None => Ok(()),
    }
}

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidLabel;
            fn try_from(text: String) -> Result<Self, InvalidLabel> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.as_ref().into()
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

text!(LabelKey);
text!(LabelValue);

/// A client's labels: at most [`MAX_LABELS`], each key once.
///
/// ```
/// # use fleetcron::Labels;
/// let labels = Labels::parse(["rack=r7", "tier=front"])?;
/// assert_eq!(labels.to_string(), "rack=r7, tier=front");
/// assert!(Labels::parse(["Rack=r7"]).is_err());
/// # Ok::<(), fleetcron::InvalidLabel>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<LabelKey, LabelValue>", into = "BTreeMap<LabelKey, LabelValue>")]
pub struct Labels(BTreeMap<LabelKey, LabelValue>);

impl Labels {
    /// Labels written as `key=value`. A key that comes twice is an error.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidLabel> {
        Self::from_pairs(pairs.into_iter().map(pair_of).collect::<Result<Vec<_>, _>>()?)
    }

    /// Labels of these keys and values. A key that comes twice is an error.
    pub fn from_pairs(
        pairs: impl IntoIterator<Item = (LabelKey, LabelValue)>,
    ) -> Result<Self, InvalidLabel> {
        let mut labels = BTreeMap::new();
        for (key, value) in pairs {
            if labels.insert(key.clone(), value).is_some() {
                return Err(InvalidLabel(format!("label {key} is given twice")));
            }
        }
        Self::try_from(labels)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &LabelKey) -> Option<&LabelValue> {
        self.0.get(key)
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&LabelKey, &LabelValue)> {
        self.0.iter()
    }

    /// These labels with some changed and others taken away.
    pub fn changed<'a>(
        &self,
        set: &Self,
        remove: impl IntoIterator<Item = &'a LabelKey>,
    ) -> Result<Self, InvalidLabel> {
        let mut labels = self.0.clone();
        for key in remove {
            labels.remove(key);
        }
        labels.extend(set.0.clone());
        Self::try_from(labels)
    }
}

/// A label written as `key=value`.
fn pair_of(pair: &str) -> Result<(LabelKey, LabelValue), InvalidLabel> {
    let (key, value) = pair
        .split_once('=')
        .ok_or_else(|| InvalidLabel(format!("label {:?} is not key=value", shown(pair))))?;
    Ok((key.parse()?, value.parse()?))
}

impl TryFrom<BTreeMap<LabelKey, LabelValue>> for Labels {
    type Error = InvalidLabel;
    fn try_from(labels: BTreeMap<LabelKey, LabelValue>) -> Result<Self, InvalidLabel> {
        match labels.len() {
            0..=MAX_LABELS => Ok(Self(labels)),
            count => Err(InvalidLabel(format!("{count} labels; the most is {MAX_LABELS}"))),
        }
    }
}

impl From<Labels> for BTreeMap<LabelKey, LabelValue> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (key, value)) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            write!(f, "{separator}{key}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_keep_to_their_limits() {
        let longest = "k".repeat(MAX_LABEL_KEY);
        assert!(longest.parse::<LabelKey>().is_ok() && "a.b-c_d".parse::<LabelKey>().is_ok());
        for bad in ["", "Rack", "a b", "a=b", "ü", &format!("{longest}k")] {
            let error = bad.parse::<LabelKey>().unwrap_err().to_string();
            assert!(
                error.contains(&format!("{:?}", shown(bad))) && error.contains("[a-z0-9._-]"),
                "{error}"
            );
        }
        let longest = "v".repeat(MAX_LABEL_VALUE);
        assert!(longest.parse::<LabelValue>().is_ok() && "".parse::<LabelValue>().is_ok());
        let error = format!("{longest}v").parse::<LabelValue>().unwrap_err().to_string();
        assert!(error.ends_with("it has 257 bytes; the most is 256"), "{error}");
        let error = "a\u{1b}[2J".parse::<LabelValue>().unwrap_err().to_string();
        assert!(error.contains("control character"), "{error}");
    }

    #[test]
    fn a_set_is_bounded_and_has_each_key_once() {
        let pairs: Vec<String> = (0..=MAX_LABELS).map(|n| format!("k{n}=v")).collect();
        let parse = |count: usize| Labels::parse(pairs[..count].iter().map(String::as_str));
        assert!(parse(MAX_LABELS).is_ok());
        let error = parse(MAX_LABELS + 1).unwrap_err().to_string();
        assert_eq!(error, "33 labels; the most is 32");
        assert_eq!(
            Labels::parse(["a=1", "a=2"]).unwrap_err().to_string(),
            "label a is given twice"
        );
        assert_eq!(Labels::parse(["a"]).unwrap_err().to_string(), "label \"a\" is not key=value");
        let text = format!(
            "{{{}}}",
            (0..33).map(|n| format!("\"k{n}\":\"\"")).collect::<Vec<_>>().join(",")
        );
        let error = serde_json::from_str::<Labels>(&text).unwrap_err().to_string();
        assert!(error.contains("33 labels"), "{error}");
        let full = parse(MAX_LABELS).unwrap();
        let more = Labels::parse(["new=1"]).unwrap();
        assert!(full.changed(&more, []).is_err());
        assert!(full.changed(&more, ["k0".parse().unwrap()].iter()).is_ok());
    }
}
