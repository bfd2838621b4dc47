//! Who brought something about.
//!
//! Promises: an actor is a short text that reads back as what it was; it is cheap to clone.
//! Imports identifiers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::ClientId;

/// The most bytes of a token's name.
pub const MAX_TOKEN_NAME: usize = 64;

/// Who brought something about: as text `server`, `chores`, `library`, `token:NAME` or
/// `client:ID`.
///
/// ```
/// # use fleetcron::Actor;
/// let actor: Actor = "token:deploy".parse()?;
/// assert_eq!(actor, Actor::token("deploy")?);
/// assert!("token:".parse::<Actor>().is_err());
/// # Ok::<(), fleetcron::InvalidActor>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Actor {
    /// The server's own decision: a rule was due, a time had passed.
    #[default]
    Server,
    /// The server's chores, such as retention.
    Chores,
    /// The program in which the scheduler is embedded.
    Library,
    /// Whoever holds the HTTP token of this name.
    Token(TokenName),
    /// A client, over its connection.
    Client(ClientId),
}

/// The name of an HTTP token: 1 to [`MAX_TOKEN_NAME`] characters `[A-Za-z0-9._:-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenName(Arc<str>);

impl TokenName {
    /// The name of tokens that were given none: `access`.
    #[must_use]
    pub fn unnamed() -> Self {
        Self("access".into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = InvalidActor;

    fn from_str(text: &str) -> Result<Self, InvalidActor> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if (1..=MAX_TOKEN_NAME).contains(&text.len()) && text.bytes().all(good) {
            return Ok(Self(text.into()));
        }
        Err(InvalidActor(text.chars().take(160).collect()))
    }
}

/// A text that is no [`Actor`], or no name of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an actor: write server, chores, library, token:NAME or client:ID, with 1 to \
     {MAX_TOKEN_NAME} characters [A-Za-z0-9._:-]"
)]
pub struct InvalidActor(String);

impl Actor {
    /// Whoever holds the HTTP token of this name.
    pub fn token(name: &str) -> Result<Self, InvalidActor> {
        name.parse().map(Self::Token)
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.pad("server"),
            Self::Chores => f.pad("chores"),
            Self::Library => f.pad("library"),
            Self::Token(name) => f.pad(&format!("token:{}", name.as_str())),
            Self::Client(id) => f.pad(&format!("client:{id}")),
        }
    }
}

impl FromStr for Actor {
    type Err = InvalidActor;

    fn from_str(text: &str) -> Result<Self, InvalidActor> {
        let invalid = || InvalidActor(text.chars().take(160).collect());
        match text.split_once(':') {
            None => match text {
                "server" => Ok(Self::Server),
                "chores" => Ok(Self::Chores),
                "library" => Ok(Self::Library),
                _ => Err(invalid()),
            },
            Some(("token", name)) => name.parse().map(Self::Token).map_err(|_| invalid()),
            Some(("client", id)) => id.parse().map(Self::Client).map_err(|_| invalid()),
            Some(_) => Err(invalid()),
        }
    }
}

impl TryFrom<String> for Actor {
    type Error = InvalidActor;

    fn try_from(text: String) -> Result<Self, InvalidActor> {
        text.parse()
    }
}

impl From<Actor> for String {
    fn from(actor: Actor) -> Self {
        actor.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_reads_back_as_what_it_was() {
        for text in ["server", "chores", "library", "token:ci.deploy", "client:web-01", "token:a:b"]
        {
            assert_eq!(text.parse::<Actor>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_actor_is_told_with_its_text() {
        for text in ["", "root", "token:", "token:a b", "client:", "person:x", "token:é"] {
            let error = text.parse::<Actor>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is not an actor")), "{error}");
        }
        let long = format!("token:{}", "x".repeat(MAX_TOKEN_NAME + 1));
        assert!(long.parse::<Actor>().is_err());
    }
}
