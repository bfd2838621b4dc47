//! Old work leaves at a rate: when many clients come back at once, what had waited for them goes
//! out in parts, client after client, so that what fires meanwhile is not behind all of it.
//!
//! Promises: a client's deliveries leave in the order of its waiting line, old and new; a client without old ones
//! never waits here; in any second no more old deliveries leave than the rate and its burst.

use std::collections::BTreeMap;

use super::core::Engine;
use super::input::SessionId;
use super::sessions::Session;
use crate::bucket::{Bucket, Rate};
use crate::time::Timestamp;

/// How fast deliveries leave that had waited for clients that were away, if nothing else is said:
/// 20,000 a second, 2,000 at once. A few clients that return get all that their windows take at
/// once; a fleet with a hundred deliveries each takes as long as the network and the store would
/// need anyway, and leaves room between.
pub const DRAIN: Rate = match Rate::smooth(20_000) {
    Ok(rate) => rate,
    Err(_) => panic!("the default rate of draining is not valid"),
};

/// How many a client gets in its turn.
const PART: usize = 32;

/// Tokens are waited for together: those of a hundredth of a second.
const PACE: u32 = 100;

/// The line of those that have old deliveries to get.
#[derive(Debug)]
pub(super) struct Drain {
    bucket: Bucket,
    /// From when on the bucket counts time.
    origin: Timestamp,
    line: BTreeMap<u64, SessionId>,
    last_turn: u64,
}

impl Drain {
    pub(super) fn new(rate: Rate, origin: Timestamp) -> Self {
        let bucket = Bucket::full(rate, std::time::Duration::ZERO);
        Self { bucket, origin, line: BTreeMap::new(), last_turn: 0 }
    }

    /// When tokens have come for those in the line.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.line.first_key_value()?;
        let ready = self.bucket.ready_at((self.bucket.rate().per_second() / PACE).max(1));
        // Rounded up, so that a token is there when the time has come.
        let millis = ready.as_nanos().div_ceil(1_000_000);
        let millis = i64::try_from(millis).unwrap_or(i64::MAX);
        Some(Timestamp::from_millis(self.origin.millis().saturating_add(millis)))
    }

    /// Puts a connection at the end of the line; gives its place.
    fn queue(&mut self, session: SessionId) -> u64 {
        self.last_turn += 1;
        self.line.insert(self.last_turn, session);
        self.last_turn
    }

    /// Takes a connection out that has ended.
    pub(super) fn leave(&mut self, turn: Option<u64>) {
        if let Some(turn) = turn {
            self.line.remove(&turn);
        }
    }

    fn take(&mut self, now: Timestamp) -> bool {
        self.bucket.take(now.since(self.origin))
    }
}

impl Engine {
    /// Lets deliveries that had waited for clients that were away leave at this rate from now on.
    /// Default [`DRAIN`].
    pub fn set_drain(&mut self, rate: Rate) {
        self.drain.bucket = Bucket::full(rate, self.now.since(self.drain.origin));
    }

    /// Puts a connection in the line whose next delivery is an old one, unless it is there.
    pub(super) fn stand_in_line(&mut self, session: SessionId) {
        if let Some(link) = self.sessions.get_mut(session)
            && link.turn.is_none()
        {
            link.turn = Some(self.drain.queue(session));
        }
    }

    /// Sends old deliveries, a part for each client in turn, as far as the rate allows.
    pub(super) fn drain_old(&mut self) {
        while let Some((turn, session)) = self.drain.line.first_key_value() {
            let (turn, session) = (*turn, *session);
            for _ in 0..PART {
                if !self.sessions.get(session).is_some_and(Session::can_send_old) {
                    break;
                }
                if !self.drain.take(self.now) {
                    return;
                }
                self.send_next(session);
            }
            self.drain.line.remove(&turn);
            if let Some(link) = self.sessions.get_mut(session) {
                link.turn = None;
            }
            // What is new goes at once; if old ones are left, it stands in line again.
            self.pump(session);
        }
    }
}
