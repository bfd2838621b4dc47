//! Recording.

use std::collections::HashMap;

use super::{
    ACCEPTED, BOOT, CALL, CLOCK_JUMPED, CONNECT, DEADLINE, DISCONNECT, FACTS, LEAVING, RESPONDED,
    RESTORED, Restored, STARTED, STOPPING, TOKEN_USED, VERSION,
};
use crate::bytes::{put_bytes, put_signed, put_varint};
use crate::client_record::Proof;
use crate::engine::{Input, SessionId};
use crate::id::Serial;
use crate::run::{Attempt, Outcome};
use crate::time::Timestamp;

/// Gathers the inputs of one commit after the other.
#[derive(Debug)]
pub struct Recorder {
    bytes: Vec<u8>,
    serials: HashMap<Serial, u64>,
    /// The time of the last input in `bytes`; `None`: there is none.
    last: Option<Timestamp>,
    /// The engine's time: the latest that it was told, questions included.
    now: Timestamp,
}

impl Default for Recorder {
    fn default() -> Self {
        let (bytes, serials) = (Vec::new(), HashMap::new());
        Self { bytes, serials, last: None, now: Timestamp::MIN }
    }
}

impl Recorder {
    /// Bytes gathered since the last [`Recorder::take`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was gathered since the last [`Recorder::take`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes what was gathered; the next commit's inputs begin.
    pub fn take(&mut self) -> Vec<u8> {
        self.serials.clear();
        self.last = None;
        std::mem::take(&mut self.bytes)
    }

    /// The engine was restored at `now`.
    pub fn restored(&mut self, now: Timestamp, how: &Restored) {
        self.begin(now, RESTORED);
        self.json(how);
    }

    /// The engine is told that something is due.
    pub fn deadline(&mut self, now: Timestamp) {
        self.begin(now, DEADLINE);
    }

    /// The engine is told something.
    pub fn input(&mut self, now: Timestamp, input: &Input) {
        match input {
            Input::Call { request, .. } if request.is_question() => {
                // Its answer changes nothing, but the engine's time never goes back behind it.
                self.now = self.now.max(now);
            }
            Input::Call { actor, request, entropy, .. } => {
                self.begin(now, CALL);
                self.text(&actor.to_string());
                self.bytes.extend_from_slice(&entropy.to_le_bytes());
                self.json(request);
            }
            Input::Connect { session, client, proof, taken, .. } => {
                self.begin(now, CONNECT);
                self.session(*session);
                self.text(client.as_str());
                self.proof(*proof);
                self.varint(taken.len() as u64);
                for attempt in taken {
                    self.attempt(*attempt);
                }
            }
            Input::Disconnect { session, reason } => {
                self.begin(now, DISCONNECT);
                self.session(*session);
                self.text(reason);
            }
            Input::Accepted { session, attempt } => {
                self.of_attempt(now, ACCEPTED, *session, *attempt);
            }
            Input::Started { session, attempt } => {
                self.of_attempt(now, STARTED, *session, *attempt);
            }
            Input::Responded { session, attempt, outcome } => {
                self.of_attempt(now, RESPONDED, *session, *attempt);
                self.outcome(outcome);
            }
            Input::Leaving { session } => {
                self.begin(now, LEAVING);
                self.session(*session);
            }
            Input::ClockJumped => self.begin(now, CLOCK_JUMPED),
            Input::Facts { session, facts } => {
                self.begin(now, FACTS);
                self.session(*session);
                self.json(facts);
            }
            Input::Boot { version, settings } => {
                self.begin(now, BOOT);
                self.text(version);
                self.json(settings);
            }
            Input::Stopping => self.begin(now, STOPPING),
            Input::TokenUsed { token, from } => {
                self.begin(now, TOKEN_USED);
                self.text(token.as_str());
                self.text(from);
            }
        }
    }

    fn begin(&mut self, now: Timestamp, kind: u8) {
        self.now = self.now.max(now);
        if self.bytes.is_empty() {
            self.bytes.push(VERSION);
        }
        self.bytes.push(kind);
        match self.last.replace(self.now) {
            None => put_signed(&mut self.bytes, self.now.millis()),
            Some(last) => {
                // The engine's time never goes back.
                let passed = self.now.millis().saturating_sub(last.millis());
                self.varint(u64::try_from(passed).unwrap_or(0));
            }
        }
    }

    fn of_attempt(&mut self, now: Timestamp, kind: u8, session: SessionId, attempt: Attempt) {
        self.begin(now, kind);
        self.session(session);
        self.attempt(attempt);
    }

    fn proof(&mut self, proof: Proof) {
        match proof {
            Proof::Vouched => self.bytes.push(0),
            Proof::Token(hash) => {
                self.bytes.push(1);
                self.bytes.extend_from_slice(&hash.to_bytes());
            }
        }
    }

    fn attempt(&mut self, Attempt { serial, number }: Attempt) {
        let next = self.serials.len() as u64 + 1;
        let place = *self.serials.entry(serial).or_insert(next);
        if place == next {
            self.varint(0);
            self.bytes.extend_from_slice(&serial.to_bytes());
        } else {
            self.varint(place);
        }
        self.varint(number.into());
    }

    fn outcome(&mut self, outcome: &Outcome) {
        let Outcome { state, reason, result, ran_ms } = outcome;
        self.bytes.push(state.code());
        self.varint(ran_ms.map_or(0, |ran| ran.saturating_add(1)));
        match reason {
            None => self.bytes.push(0),
            Some(reason) => {
                self.bytes.push(1);
                self.text(reason);
            }
        }
        self.varint(result.as_ref().map_or(0, |result| result.text().len() as u64 + 1));
    }

    fn session(&mut self, SessionId(session): SessionId) {
        self.varint(session);
    }

    fn varint(&mut self, value: u64) {
        put_varint(&mut self.bytes, value);
    }

    fn text(&mut self, text: &str) {
        put_bytes(&mut self.bytes, text.as_bytes());
    }

    fn json(&mut self, value: &impl serde::Serialize) {
        match serde_json::to_vec(value) {
            Ok(text) => put_bytes(&mut self.bytes, &text),
            Err(error) => {
                // All that is recorded has string keys and finite numbers.
                tracing::error!(%error, "an input cannot be recorded: a fault in fleetcron");
                put_bytes(&mut self.bytes, b"null");
            }
        }
    }
}
