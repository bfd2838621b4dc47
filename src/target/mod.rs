//! Whom a command is for.
//!
//! Imports identifiers and labels only.

mod expr;
mod membership;
mod parse;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::expr::{Expr, Share};
pub use self::membership::Membership;
use crate::id::{ClientId, GroupName};

/// The longest text of a target, as it is written and as it is printed, in bytes.
pub const MAX_TARGET: usize = 1_024;

/// How deep an expression may be nested.
pub const MAX_DEPTH: usize = 32;

/// Whom a command is for. Written `all`, `group:NAME`, `client:ID`, or an expression of these.
///
/// ```
/// # use fleetcron::Target;
/// let target: Target = "group:web".parse()?;
/// assert_eq!(target.to_string(), "group:web");
/// let target: Target = "10% of (group:web or label.os=linux) and not client:web-03".parse()?;
/// assert_eq!(
///     target.to_string(),
///     "10% of (group:web or label.os = linux) and not client:web-03"
/// );
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
    /// Those that an expression means when the run fires.
    Where(Expr),
}

/// A text that is not a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// It cannot be read from some place on.
    #[error("target {text:?} is not valid at {at}: {problem}")]
    At {
        /// The text, cut where it is long.
        text: String,
        /// The place, in characters from 1.
        at: usize,
        /// What is wrong.
        problem: String,
    },
    /// It is too long.
    #[error("target {text:?} is not valid: it has {length} bytes; the most is {MAX_TARGET}")]
    TooLong {
        /// The beginning of the text.
        text: String,
        /// Its length, or that of the form in which it is printed.
        length: usize,
    },
    /// It is a tree that no text gives.
    #[error("target {0:?} is not valid: its expression is not one that can be read back")]
    Tree(String),
}

fn shown(text: &str) -> String {
    text.chars().take(160).collect()
}

fn place(text: &str, offset: usize) -> usize {
    text.char_indices().take_while(|(at, _)| *at < offset).count() + 1
}

impl Target {
    /// Whether what it prints is read back as this target. Any that was parsed is.
    pub fn check(&self) -> Result<(), InvalidTarget> {
        let Self::Where(_) = self else { return Ok(()) };
        let text = self.to_string();
        if text.parse::<Self>()? == *self { Ok(()) } else { Err(InvalidTarget::Tree(shown(&text))) }
    }

    /// The groups that it names.
    pub fn groups(&self) -> impl Iterator<Item = &GroupName> {
        let (simple, expr) = match self {
            Self::Group(group) => (Some(group), None),
            Self::Where(expr) => (None, Some(expr)),
            Self::All | Self::One(_) => (None, None),
        };
        let named = expr.into_iter().flat_map(Expr::walk).filter_map(|part| match part {
            Expr::Group(group) => Some(group),
            _ => None,
        });
        simple.into_iter().chain(named)
    }

    /// The clients that it names.
    pub fn clients(&self) -> impl Iterator<Item = &ClientId> {
        let (simple, expr) = match self {
            Self::One(client) => (Some(client), None),
            Self::Where(expr) => (None, Some(expr)),
            Self::All | Self::Group(_) => (None, None),
        };
        let named = expr.into_iter().flat_map(Expr::walk).filter_map(|part| match part {
            Expr::Client(client) => Some(client),
            _ => None,
        });
        simple.into_iter().chain(named)
    }
}

impl From<Expr> for Target {
    /// The simplest target of an expression.
    fn from(expr: Expr) -> Self {
        match expr {
            Expr::All => Self::All,
            Expr::Group(group) => Self::Group(group),
            Expr::Client(client) => Self::One(client),
            expr => Self::Where(expr),
        }
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;
    fn from_str(value: &str) -> Result<Self, InvalidTarget> {
        let too_long = |length| InvalidTarget::TooLong { text: shown(value), length };
        if value.len() > MAX_TARGET {
            return Err(too_long(value.len()));
        }
        let target = parse::parse(value).map(Self::from).map_err(|bad| InvalidTarget::At {
            text: shown(value),
            at: place(value, bad.offset),
            problem: bad.problem,
        })?;
        // What is stored is what is printed.
        match target.to_string().len() {
            0..=MAX_TARGET => Ok(target),
            length => Err(too_long(length)),
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
            Self::Where(expr) => f.pad(&expr.to_string()),
        }
    }
}
