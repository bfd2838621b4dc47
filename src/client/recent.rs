//! What a client remembers of commands that it has answered and the server has acknowledged, so as
//! not to run them again.
//!
//! Promises: at most [`RECENT`] are remembered, no result of more than [`RECENT_RESULT`] bytes.
//! Pure: no I/O, no time. Imports the domain types.

use std::collections::{HashMap, VecDeque};

use super::{RECENT, RECENT_RESULT};
use crate::id::Serial;
use crate::run::{Attempt, Outcome};

/// The last [`RECENT`] serials put in, each with its latest attempt and how that ended.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<Serial>,
    attempts: HashMap<Serial, (u32, Outcome)>,
}

impl Recent {
    pub(super) fn get(&self, serial: Serial) -> Option<(u32, Outcome)> {
        self.attempts.get(&serial).cloned()
    }

    pub(super) fn insert(&mut self, attempt: Attempt, outcome: Outcome) {
        let outcome = once_acknowledged(outcome);
        let Attempt { serial, number } = attempt;
        if self.attempts.insert(serial, (number, outcome)).is_some() {
            return;
        }
        self.order.push_back(serial);
        if self.order.len() > RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.attempts.remove(&oldest);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.attempts.len()
    }
}

/// What is remembered of an end that was acknowledged: a large result is left out.
pub(super) fn once_acknowledged(mut outcome: Outcome) -> Outcome {
    let bytes = outcome.result.as_ref().map_or(0, |result| result.text().len());
    if bytes > RECENT_RESULT {
        outcome.result = None;
        let kept = format!("acknowledged before; its result of {bytes} bytes is not kept");
        outcome.reason = Some(match outcome.reason {
            Some(why) => format!("{why} ({kept})"),
            None => kept,
        });
    }
    outcome
}
