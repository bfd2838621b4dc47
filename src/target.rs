//! Whom a command is for.
//!
//! Imports identifiers only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, GroupName, InvalidName};

/// Whom a command is for. Written `all`, `group:NAME` or `client:ID`.
///
/// ```
/// # use fleetcron::Target;
/// let target: Target = "group:web".parse()?;
/// assert_eq!(target.to_string(), "group:web");
/// # Ok::<(), fleetcron::InvalidTarget>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// Every client of the registry.
    All,
    /// The members that the group has when the run fires.
    Group(GroupName),
    /// One client.
    One(ClientId),
}

/// A text that is not a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// Neither `all` nor one of the prefixes.
    #[error("target {0:?} is not valid: write all, group:NAME or client:ID")]
    Form(String),
    /// The name after the prefix breaks its rule.
    #[error("target {0:?} is not valid: {1}")]
    Name(String, #[source] InvalidName),
}

impl FromStr for Target {
    type Err = InvalidTarget;
    fn from_str(value: &str) -> Result<Self, InvalidTarget> {
        let shown = || value.chars().take(160).collect::<String>();
        let name = |error| InvalidTarget::Name(shown(), error);
        match value.split_once(':') {
            None if value == "all" => Ok(Self::All),
            Some(("group", group)) => GroupName::new(group).map(Self::Group).map_err(name),
            Some(("client", client)) => ClientId::new(client).map(Self::One).map_err(name),
            _ => Err(InvalidTarget::Form(shown())),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = InvalidTarget;
    fn try_from(value: String) -> Result<Self, InvalidTarget> {
        value.parse()
    }
}

impl From<Target> for String {
    fn from(value: Target) -> Self {
        value.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("all"),
            Self::Group(name) => f.pad(&format!("group:{name}")),
            Self::One(client) => f.pad(&format!("client:{client}")),
        }
    }
}
