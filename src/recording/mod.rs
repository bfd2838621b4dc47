//! The engine's inputs as they are recorded, so that it can decide on them once more.
//!
//! Promises: what was recorded comes back, but for what changes no decision: callers' numbers, and
//! the texts of results, of which the length is kept; questions are not recorded; reading never
//! panics, whatever the bytes. May import the domain types and the engine.
//!
//! The inputs of one commit are all that the engine was told since the decision before it. They
//! begin with the version byte 1; then, to the end, input after input: its kind, one byte; its
//! time in milliseconds after the one before (the first: after 1970, zigzag), varint; and then
//!
//! | kind | input | fields, varints unless said otherwise |
//! | --- | --- | --- |
//! | 0 | the engine was restored from the store | JSON of [`Restored`] |
//! | 1 | a deadline | |
//! | 2 | a request | actor (text), 16 bytes of random bits, JSON of the request |
//! | 3 | a connection | number, client (text), 0 or 1 and 32 bytes of a token's hash, how many attempts it has taken; then each |
//! | 4 | a connection ended | number, reason (text) |
//! | 5 | taken | connection, attempt |
//! | 6 | begun | connection, attempt |
//! | 7 | answered | connection, attempt, state (one byte), 1 + how long it ran or 0, 1 and the reason or 0, 1 + the length of the result or 0 |
//! | 8 | the clock was set | |
//! | 9 | what a client says of itself | connection, JSON |
//! | 10 | the start | version (text), JSON of the settings |
//! | 11 | the stop | |
//! | 12 | a token was used | name (text), address (text) |
//! | 13 | a client stops in order | connection |
//!
//! Texts and JSON have their length before them. An attempt is a serial and the attempt's number; a
//! serial is a number among those of this commit so far, counted from 1, or 0 and 16 bytes.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod read;
#[cfg(test)]
mod tests;
mod write;

use serde::{Deserialize, Serialize};

use crate::bucket::Rate;
use crate::engine::{Engine, Input, Limits, Snapshot};
use crate::label::LabelTrust;
use crate::time::Timestamp;

pub use read::{Recorded, read};
pub use write::Recorder;

const VERSION: u8 = 1;
const RESTORED: u8 = 0;
const DEADLINE: u8 = 1;
const CALL: u8 = 2;
const CONNECT: u8 = 3;
const DISCONNECT: u8 = 4;
const ACCEPTED: u8 = 5;
const STARTED: u8 = 6;
const RESPONDED: u8 = 7;
const CLOCK_JUMPED: u8 = 8;
const FACTS: u8 = 9;
const BOOT: u8 = 10;
const STOPPING: u8 = 11;
const TOKEN_USED: u8 = 12;
const LEAVING: u8 = 13;

/// How an engine was set up when it was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The limits of what waits for clients that are away.
    pub limits: Limits,
    /// Which labels that clients report count.
    pub labels: LabelTrust,
    /// How fast deliveries leave that had waited.
    pub drain: Rate,
    /// How much it found in the store.
    pub found: Found,
}

/// How much an engine found in the store when it was restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Jobs.
    pub jobs: u64,
    /// Clients, removed ones too.
    pub clients: u64,
    /// Runs with open deliveries.
    pub open_runs: u64,
    /// Open deliveries.
    pub open_deliveries: u64,
}

impl Found {
    /// How much a store gave back.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let stored = snapshot.stored_jobs.as_ref().map_or(0, |stored| stored.heads.len());
        Self {
            jobs: (snapshot.jobs.len() + stored) as u64,
            clients: snapshot.clients.len() as u64,
            open_runs: snapshot.open_runs.len() as u64,
            open_deliveries: snapshot.open_runs.iter().map(|run| run.open.len()).sum(),
        }
    }
}

impl Restored {
    /// An engine that goes on from what a store gave back, set up so.
    #[must_use]
    pub fn engine(&self, snapshot: Snapshot, now: Timestamp) -> Engine {
        let mut engine = Engine::restore(snapshot, now).with_limits(self.limits);
        engine.trust_labels(self.labels.clone());
        engine.set_drain(self.drain);
        engine
    }
}

/// What an engine was told.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one at a time is in memory")]
pub enum Told {
    /// It was restored from what the store had.
    Restored(Restored),
    /// Something was due.
    Deadline,
    /// An input.
    Input(Input),
}

/// What an engine was told, and when.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The engine's time then.
    pub at: Timestamp,
    /// What it was told.
    pub told: Told,
}
