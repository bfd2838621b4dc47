//! The connections: what each has been sent, and what waits for it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use super::SessionId;
use super::in_flight::{InFlight, Sent, Waiting};
use crate::id::{ClientNo, Serial};
use crate::policy::Priority;
use crate::run::Attempt;
use crate::time::Timestamp;

/// Deliveries that one client may hold unanswered; the others wait in the engine.
pub const WINDOW: usize = 256;

/// How much of the window only urgent deliveries use.
pub const URGENT_WINDOW: usize = 16;

/// How long a connection is not looked at again for deliveries that were not taken.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A connection's deliveries. All are open.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: ClientNo,
    /// Not sent yet.
    pub(super) waiting: Waiting,
    /// Sent.
    pub(super) in_flight: Sent,
    /// When it is looked at for deliveries that were not taken in time; `None` while all are.
    pub(super) watched: Option<Timestamp>,
    /// The last of those that had waited for its return; `None`: all of them have left.
    old: Option<Serial>,
    /// Its place in the line of those that have old ones to get.
    pub(super) turn: Option<u64>,
    /// The client stops: it takes nothing more.
    leaving: bool,
}

impl Session {
    pub(super) fn new(client: ClientNo) -> Self {
        Self {
            client,
            waiting: Waiting::default(),
            in_flight: Sent::default(),
            watched: None,
            old: None,
            turn: None,
            leaving: false,
        }
    }

    /// Takes note of a delivery; tells whether it is to be sent at once. Otherwise it waits, or
    /// the client has it: it returned with what the server, started again, means to send when its
    /// moment comes a second time by a clock that was set back, or when it is no longer held.
    pub(super) fn offer(&mut self, class: Priority, serial: Serial) -> bool {
        if self.in_flight.contains(serial) && !bug!(OfferedAgain) {
            return false;
        }
        let at_once = self.waiting.is_empty()
            && self.old.is_none_or(|old| old < serial)
            && self.has_room_for(class);
        if !at_once {
            self.waiting.insert(class, serial);
        }
        at_once
    }

    /// Takes the next delivery to send, if the window has room for its class.
    pub(super) fn next_to_send(&mut self) -> Option<Serial> {
        let (class, _) = self.waiting.first()?;
        if !self.has_room_for(class) {
            return None;
        }
        self.waiting.pop_first().map(|(_, serial)| serial)
    }

    /// Notes that all that waits has waited for the client's return; tells how many these are.
    pub(super) fn all_is_old(&mut self) -> u64 {
        self.old = self.waiting.highest();
        self.waiting.len() as u64
    }

    /// Whether the next delivery is one that had waited for the client's return, and the window
    /// has room for it.
    pub(super) fn can_send_old(&self) -> bool {
        let Some((class, next)) = self.waiting.first() else { return false };
        self.old.is_some_and(|old| next <= old) && self.has_room_for(class)
    }

    fn has_room_for(&self, class: Priority) -> bool {
        if self.leaving {
            return false;
        }
        let kept = if class == Priority::Urgent { 0 } else { URGENT_WINDOW };
        self.in_flight.len() + kept < WINDOW
    }

    /// Notes that an attempt was sent, and until when it must be taken; tells the time at which
    /// the connection wants to be looked at, if it is another than before.
    pub(super) fn sent(
        &mut self,
        serial: Serial,
        attempt: u32,
        accept_by: Timestamp,
    ) -> Option<Timestamp> {
        self.in_flight.put(serial, attempt, Some(accept_by));
        if self.watched.is_some_and(|at| at <= accept_by) {
            return None;
        }
        self.watched = Some(accept_by);
        self.watched
    }

    /// What was not taken in time; and when to look again. Looking again waits a little, so that
    /// deliveries of nearly the same time are looked at together.
    pub(super) fn overdue(&self, now: Timestamp) -> (Vec<Serial>, Option<Timestamp>) {
        let waits =
            self.in_flight.iter().filter_map(|(serial, sent)| Some((serial, sent.accept_by()?)));
        let (late, coming): (Vec<_>, Vec<_>) = waits.partition(|(_, by)| *by <= now);
        let next = coming.iter().map(|(_, by)| *by).min();
        let late = late.into_iter().map(|(serial, _)| serial).collect();
        (late, next.map(|by| by.max(now.plus(LOOK_AGAIN))))
    }

    /// Notes that the client returned with an attempt.
    pub(super) fn holds(&mut self, serial: Serial, attempt: u32) {
        self.in_flight.put(serial, attempt, None);
    }

    /// Notes that the client has taken an attempt; tells whether it had been sent.
    pub(super) fn taken(&mut self, attempt: Attempt) -> bool {
        let Attempt { serial, number } = attempt;
        let sent = self.in_flight.get_mut(serial).filter(|sent| sent.attempt == number);
        sent.map(InFlight::take).is_some()
    }

    /// Notes that the client takes nothing more; gives what it was sent and has not taken.
    pub(super) fn leave(&mut self) -> Vec<Serial> {
        self.leaving = true;
        let untaken: Vec<Serial> = self.in_flight.untaken().collect();
        for serial in &untaken {
            self.in_flight.remove(*serial);
        }
        untaken
    }

    /// Whether the client takes nothing more.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Forgets a delivery that has ended; tells whether it had been sent.
    pub(super) fn forget(&mut self, serial: Serial) -> bool {
        self.waiting.remove(serial);
        self.in_flight.remove(serial).is_some()
    }

    /// Whether it is to be looked at though the client has taken all; it is not any longer.
    pub(super) fn unwatch(&mut self) -> Option<Timestamp> {
        self.watched.take_if(|_| self.in_flight.untaken().next().is_none())
    }
}

/// Every connection by its number.
///
/// There can be a million of them, and a command for all looks each up in the order in which they
/// came: numbers that follow each other lie beside each other, in the table and in the list.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    places: HashMap<SessionId, u32, BuildHasherDefault<ByNumber>>,
    slots: Vec<Option<Session>>,
    free: Vec<u32>,
}

impl Sessions {
    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.slots.get(*self.places.get(&id)? as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.slots.get_mut(*self.places.get(&id)? as usize)?.as_mut()
    }

    /// Puts a new connection. Its number is a new one.
    pub(super) fn insert(&mut self, id: SessionId, session: Session) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // There are fewer connections than u32 has numbers.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.places.insert(id, place);
        self.slots[place as usize] = Some(session);
    }

    pub(super) fn remove(&mut self, id: SessionId) -> Option<Session> {
        let place = self.places.remove(&id)?;
        self.free.push(place);
        self.slots[place as usize].take()
    }
}

/// A hash of numbers that the server gives in order: the low bits, by which the table finds a
/// place, are the number's own.
#[derive(Debug, Default)]
struct ByNumber(u64);

impl Hasher for ByNumber {
    fn finish(&self) -> u64 {
        // The table tells neighbours apart by the seven highest bits.
        let mixed = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (self.0 & (u64::MAX >> 7)) | (mixed & !(u64::MAX >> 7))
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
