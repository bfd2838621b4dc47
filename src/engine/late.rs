//! Answers that come after the server has ended a delivery, or given up an attempt, by itself.
//!
//! The first end stands; the answer is kept beside it as a note. What was withdrawn from whom is
//! remembered in memory alone: after a restart a late answer is acknowledged and not noted.

use std::collections::BTreeSet;

use super::change::Change;
use super::core::{Engine, glimpse};
use super::event::What;
use crate::id::{ClientNo, Serial};
use crate::run::{Attempt, LateAnswer, Outcome};

/// Attempts that are remembered as withdrawn, at most; those of the oldest runs go first.
pub const MAX_WITHDRAWN: usize = 65_536;

/// Attempts that the server ended while a client had them, or may have had.
#[derive(Debug, Default)]
pub(super) struct Withdrawn(BTreeSet<(Serial, ClientNo, u32)>);

impl Withdrawn {
    fn put(&mut self, serial: Serial, no: ClientNo, attempt: u32) {
        self.0.insert((serial, no, attempt));
        if self.0.len() > MAX_WITHDRAWN {
            self.0.pop_first();
        }
    }

    /// Each is answered late once: an answer that comes again is a duplicate.
    fn take(&mut self, serial: Serial, no: ClientNo, attempt: u32) -> bool {
        self.0.remove(&(serial, no, attempt))
    }

    /// A run is forgotten: nothing is noted for it any more.
    pub(super) fn forget(&mut self, serial: Serial) {
        let (first, last) = ((serial, ClientNo(0), 0), (serial, ClientNo(u32::MAX), u32::MAX));
        let gone: Vec<_> = self.0.range(first..=last).copied().collect();
        for key in gone {
            self.0.remove(&key);
        }
    }
}

impl Engine {
    /// Remembers that the attempt at hand ends without its client's word, if the client may have
    /// it.
    pub(super) fn remember_withdrawn(&mut self, serial: Serial, no: ClientNo) {
        let Some(run) = self.runs.get(serial) else { return };
        let has = run.accepted.contains(no.0)
            || run.took_along.contains(no.0)
            || self.sent_over(serial, no).is_some();
        if has {
            self.withdrawn.put(serial, no, run.attempt(no));
        }
    }

    /// Notes an answer for what was withdrawn; any other is a duplicate, and nothing.
    pub(super) fn answered_late(&mut self, attempt: Attempt, no: ClientNo, outcome: Outcome) {
        let Attempt { serial, number } = attempt;
        if !self.withdrawn.take(serial, no, number) {
            tracing::debug!(%serial, client = no.0, state = %outcome.state, "answered already");
            return;
        }
        let Some(client) = self.registry.get(no).map(|client| client.record.id.clone()) else {
            return;
        };
        let outcome = glimpse(outcome);
        let answer = LateAnswer { client, at: self.now, attempt: number, outcome };
        // After the end that it is late for.
        self.close();
        self.store(vec![Change::PutLate { serial, client: no, answer: Box::new(answer.clone()) }]);
        self.notify(What::LateAnswer { serial, answer });
    }
}
