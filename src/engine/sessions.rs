//! The connections: what each has been sent, and what waits for it.

use std::collections::{BTreeMap, BTreeSet};

use super::SessionId;
use crate::id::{ClientNo, Serial};

/// Deliveries that one client may hold unanswered; the others wait in the engine.
pub const WINDOW: usize = 256;

/// A connection's deliveries. All are open.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: ClientNo,
    /// Not sent yet; the lowest serial is next.
    pub(super) waiting: BTreeSet<Serial>,
    /// Sent; `true`: the client has taken it.
    pub(super) in_flight: BTreeMap<Serial, bool>,
}

impl Session {
    pub(super) fn new(client: ClientNo) -> Self {
        Self { client, waiting: BTreeSet::new(), in_flight: BTreeMap::new() }
    }

    /// Takes the next delivery to send, if the window has room.
    pub(super) fn next_to_send(&mut self) -> Option<Serial> {
        if self.in_flight.len() >= WINDOW {
            return None;
        }
        let serial = self.waiting.pop_first()?;
        self.in_flight.insert(serial, false);
        Some(serial)
    }

    /// Forgets a delivery that has ended; tells whether it had been sent.
    pub(super) fn forget(&mut self, serial: Serial) -> bool {
        self.waiting.remove(&serial);
        self.in_flight.remove(&serial).is_some()
    }
}

/// Every connection by its number.
pub(super) type Sessions = BTreeMap<SessionId, Session>;
