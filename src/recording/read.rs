//! Reading what was recorded.

use serde::de::DeserializeOwned;

use super::{
    ACCEPTED, BOOT, CALL, CLOCK_JUMPED, CONNECT, DEADLINE, DISCONNECT, FACTS, LEAVING, Moment,
    RESPONDED, RESTORED, STARTED, STOPPING, TOKEN_USED, Told, VERSION,
};
use crate::bytes::{Damaged, Reader};
use crate::client_record::{Proof, TokenHash};
use crate::engine::{CallId, Input, SessionId};
use crate::id::Serial;
use crate::json::Json;
use crate::run::{Attempt, DeliveryState, Outcome};
use crate::time::Timestamp;

/// The inputs of one commit, in their order.
pub fn read(inputs: &[u8]) -> Result<Recorded<'_>, Damaged> {
    let mut reader = Reader::new(inputs, "an input");
    match reader.byte()? {
        VERSION => Ok(Recorded { reader, serials: Vec::new(), last: None }),
        version => Err(Damaged(format!("version {version} is not known"))),
    }
}

/// See [`read`]. It ends after the first error.
#[derive(Debug, Clone)]
pub struct Recorded<'a> {
    reader: Reader<'a>,
    serials: Vec<Serial>,
    last: Option<Timestamp>,
}

impl Iterator for Recorded<'_> {
    type Item = Result<Moment, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let moment = self.moment();
        if moment.is_err() {
            self.reader = Reader::new(&[], "an input");
        }
        Some(moment)
    }
}

impl Recorded<'_> {
    fn moment(&mut self) -> Result<Moment, Damaged> {
        let kind = self.reader.byte()?;
        let at = match self.last {
            None => self.reader.signed()?,
            Some(last) => {
                let passed = i64::try_from(self.reader.varint()?).unwrap_or(i64::MAX);
                last.millis().saturating_add(passed)
            }
        };
        let at = Timestamp::from_millis(at);
        self.last = Some(at);
        let told = match kind {
            RESTORED => Told::Restored(self.json("an engine's set-up")?),
            DEADLINE => Told::Deadline,
            kind => Told::Input(self.input(kind)?),
        };
        Ok(Moment { at, told })
    }

    fn input(&mut self, kind: u8) -> Result<Input, Damaged> {
        Ok(match kind {
            CALL => Input::Call {
                call: CallId(0),
                actor: self.parsed("an actor")?,
                entropy: u128::from_le_bytes(self.reader.array()?),
                request: self.json("a request")?,
            },
            CONNECT => self.connect()?,
            DISCONNECT => Input::Disconnect {
                session: self.session()?,
                reason: self.reader.text()?.to_owned(),
            },
            ACCEPTED => Input::Accepted { session: self.session()?, attempt: self.attempt()? },
            STARTED => Input::Started { session: self.session()?, attempt: self.attempt()? },
            RESPONDED => Input::Responded {
                session: self.session()?,
                attempt: self.attempt()?,
                outcome: self.outcome()?,
            },
            LEAVING => Input::Leaving { session: self.session()? },
            CLOCK_JUMPED => Input::ClockJumped,
            FACTS => Input::Facts { session: self.session()?, facts: self.json("facts")? },
            BOOT => Input::Boot {
                version: self.reader.text()?.to_owned(),
                settings: self.json("settings")?,
            },
            STOPPING => Input::Stopping,
            TOKEN_USED => Input::TokenUsed {
                token: self.parsed("a token's name")?,
                from: self.reader.text()?.to_owned(),
            },
            other => return Err(Damaged(format!("an input of kind {other} is not known"))),
        })
    }

    fn connect(&mut self) -> Result<Input, Damaged> {
        let (session, client) = (self.session()?, self.parsed("a client id")?);
        let proof = match self.reader.byte()? {
            0 => Proof::Vouched,
            1 => Proof::Token(TokenHash::from_bytes(self.reader.array()?)),
            other => return Err(Damaged(format!("a proof of kind {other} is not known"))),
        };
        let count: u32 = self.reader.number()?;
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(self.attempt()?);
        }
        Ok(Input::Connect { call: CallId(0), session, client, proof, taken })
    }

    fn attempt(&mut self) -> Result<Attempt, Damaged> {
        let serial = match self.reader.varint()? {
            0 => {
                let serial = Serial::from_bytes(self.reader.array()?);
                self.serials.push(serial);
                serial
            }
            place => {
                let known = usize::try_from(place - 1).ok().and_then(|at| self.serials.get(at));
                *known.ok_or_else(|| Damaged(format!("serial {place} was not told before")))?
            }
        };
        Ok(Attempt { serial, number: self.reader.number()? })
    }

    fn outcome(&mut self) -> Result<Outcome, Damaged> {
        let code = self.reader.byte()?;
        let state = DeliveryState::from_code(code)
            .ok_or_else(|| Damaged(format!("state {code} is not known")))?;
        let ran_ms = self.reader.varint()?.checked_sub(1);
        let reason = match self.reader.byte()? {
            0 => None,
            _ => Some(self.reader.text()?.to_owned()),
        };
        let result = match self.reader.varint()? {
            0 => None,
            length => Some(stand_in(length - 1)?),
        };
        Ok(Outcome { state, reason, result, ran_ms })
    }

    fn session(&mut self) -> Result<SessionId, Damaged> {
        self.reader.varint().map(SessionId)
    }

    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        what: &str,
    ) -> Result<T, Damaged> {
        let text = self.reader.text()?;
        text.parse().map_err(|error| Damaged(format!("{what} is not valid: {error}")))
    }

    fn json<T: DeserializeOwned>(&mut self, what: &str) -> Result<T, Damaged> {
        let text = self.reader.bytes()?;
        serde_json::from_slice(text)
            .map_err(|error| Damaged(format!("{what} is not valid: {error}")))
    }
}

/// The most bytes of a result: far above what a frame holds, and no more than a few damaged bytes
/// may ask for.
const MAX_RESULT: u64 = 64 * 1024 * 1024;

/// A JSON value of some length, in the place of a result.
fn stand_in(length: u64) -> Result<Json, Damaged> {
    let length = usize::try_from(length.min(MAX_RESULT + 1)).unwrap_or(usize::MAX);
    if length as u64 > MAX_RESULT || length == 0 {
        return Err(Damaged(format!("a result of {length} bytes cannot be")));
    }
    let text = if length == 1 { "0".to_owned() } else { format!("\"{}\"", "x".repeat(length - 2)) };
    text.parse().map_err(|error| Damaged(format!("a stand-in is not valid: {error}")))
}
