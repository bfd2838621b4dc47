//! The connections: what each has been sent, and what waits for it.

use std::collections::{BTreeMap, BTreeSet};

use super::SessionId;
use crate::id::{ClientNo, JobId, Serial};

/// Deliveries that one client may hold unanswered; the others wait in the engine.
pub const WINDOW: usize = 256;

/// A connection's deliveries. All are open.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: ClientNo,
    /// Not sent yet; the lowest serial is next.
    waiting: BTreeSet<Serial>,
    /// Sent; `true`: the client has taken it.
    pub(super) in_flight: BTreeMap<Serial, bool>,
    /// Jobs whose deliveries go one after the other.
    turns: BTreeMap<JobId, Turn>,
}

/// The deliveries of a job that go one after the other.
#[derive(Debug, Default)]
struct Turn {
    /// Sent or next to be sent. More than one only if the client came back with several.
    on: BTreeSet<Serial>,
    /// Those that wait for their turn.
    held: BTreeSet<Serial>,
}

impl Session {
    pub(super) fn new(client: ClientNo) -> Self {
        Self {
            client,
            waiting: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            turns: BTreeMap::new(),
        }
    }

    /// Deliveries that have not been sent.
    pub(super) fn queued(&self) -> usize {
        self.waiting.len() + self.turns.values().map(|turn| turn.held.len()).sum::<usize>()
    }

    /// Takes in a delivery to send; with `in_turn`, once those of that job before it have ended.
    pub(super) fn enqueue(&mut self, serial: Serial, in_turn: Option<JobId>) {
        if let Some(job) = in_turn {
            let turn = self.turns.entry(job).or_default();
            if !turn.on.is_empty() {
                turn.held.insert(serial);
                return;
            }
            turn.on.insert(serial);
        }
        self.waiting.insert(serial);
    }

    /// Takes in a delivery that the client has already.
    pub(super) fn resume(&mut self, serial: Serial, in_turn: Option<JobId>) {
        if let Some(job) = in_turn {
            self.turns.entry(job).or_default().on.insert(serial);
        }
        self.in_flight.insert(serial, true);
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

    /// Forgets a delivery that has ended, which may let the next of its job go; tells whether it
    /// had been sent.
    pub(super) fn forget(&mut self, serial: Serial, in_turn: Option<JobId>) -> bool {
        self.waiting.remove(&serial);
        let sent = self.in_flight.remove(&serial).is_some();
        if let Some(job) = in_turn
            && let Some(turn) = self.turns.get_mut(&job)
        {
            turn.on.remove(&serial);
            turn.held.remove(&serial);
            if turn.on.is_empty() {
                match turn.held.pop_first() {
                    Some(next) => {
                        turn.on.insert(next);
                        self.waiting.insert(next);
                    }
                    None => {
                        self.turns.remove(&job);
                    }
                }
            }
        }
        sent
    }
}

/// Every connection by its number.
pub(super) type Sessions = BTreeMap<SessionId, Session>;
