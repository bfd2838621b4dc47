//! The registry's record of a client.
//!
//! Imports identifiers, labels and times only.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::bytes;
use crate::command_limit::CommandLimit;
use crate::id::{ClientId, ClientNo, GroupName};
use crate::label::{Facts, LabelKey, Labels};
use crate::time::Timestamp;

/// The SHA-256 of a client's token. The token itself is never kept. Compared in constant time.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl TokenHash {
    /// The hash's bytes, for a record of what was shown.
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// A hash from its bytes.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        bytes::hex(&hash.0)
    }
}

impl TryFrom<String> for TokenHash {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let mut hash = [0; 32];
        let bad = || "token hash is not 64 hexadecimal digits".to_owned();
        if text.len() != 64 || !text.is_ascii() {
            return Err(bad());
        }
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(hash))
    }
}

/// What a client showed to prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The hash of the token in its hello; it must equal the registry's.
    Token(TokenHash),
    /// The server's own hook has already vouched for it.
    Vouched,
}

/// A client of the registry, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRecord {
    /// Its number in this store's bitmaps.
    pub no: ClientNo,
    /// Its name.
    pub id: ClientId,
    /// The groups it is in.
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// The hash of its token; `None`: only the server's own hook can let it in.
    #[serde(default)]
    pub token: Option<TokenHash>,
    /// When it was defined.
    pub defined_at: Timestamp,
    /// When it was removed; the number stays taken, and history can still name it.
    #[serde(default)]
    pub removed_at: Option<Timestamp>,
    /// The labels that the server's owner has set.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What it last said of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Box<Facts>>,
    /// How many commands it may run at once; `None`: as many as it is set up for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<CommandLimit>,
}

/// When a client was last here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The start of its last connection.
    pub connected_at: Option<Timestamp>,
    /// The end of its last connection.
    pub disconnected_at: Option<Timestamp>,
    /// Why that connection ended.
    pub reason: Option<String>,
}

/// A client as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientView {
    /// Its name.
    pub id: ClientId,
    /// The groups it is in.
    pub groups: BTreeSet<GroupName>,
    /// Whether it holds a connection now.
    pub connected: bool,
    /// Deliveries that have not ended: queued, sent or accepted.
    pub open: u64,
    /// Those of them that wait for it while it is away; 0 while it is connected.
    #[serde(default)]
    pub queued: u64,
    /// The bytes of their parameters.
    #[serde(default)]
    pub queued_bytes: u64,
    /// When it was defined.
    pub defined_at: Timestamp,
    /// When it was last here.
    #[serde(flatten)]
    pub presence: Presence,
    /// The labels that the server's owner has set; they count for targets.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What it last said of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Box<Facts>>,
    /// The keys of what it says that count for targets, because the server's owner trusts them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<LabelKey>,
    /// How many commands it may run at once, if the registry says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<CommandLimit>,
}
