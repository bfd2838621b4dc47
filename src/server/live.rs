//! What a client lets be seen of its commands: paced, and put where those who watch find it.
//!
//! Only the first frame of a delivery asks the node; those after it pass by its loop.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::fleet::Fleet;
use crate::engine::SessionId;
use crate::id::Serial;
use crate::live::{Piece, Progress, rate::Rate};
use crate::node::{CallError, LiveDelivery};
use crate::run::Attempt;

/// Bytes of output of one connection a second; what is above is left out.
const BYTES_PER_SECOND: u32 = 2 * 1024 * 1024;
/// Frames of one connection a second; those above are left out.
const FRAMES_PER_SECOND: u32 = 512;
/// Questions to the node of one connection a second, about deliveries that it may not have.
const QUESTIONS_PER_SECOND: u32 = 100;
/// Deliveries from which on those that have ended are looked for.
const MANY: usize = 512;

/// Something that is seen.
pub(super) enum Seen {
    Progress(Progress),
    Output(Piece),
}

/// What comes in over one connection.
pub(super) struct Inflow {
    session: SessionId,
    places: HashMap<Serial, Place>,
    bytes: Rate,
    frames: Rate,
    questions: Rate,
}

struct Place {
    attempt: u32,
    delivery: Arc<LiveDelivery>,
    /// Bytes of each stream that were left out since the last piece.
    left_out: [u64; 2],
}

impl Inflow {
    pub(super) fn new(session: SessionId) -> Self {
        Self {
            session,
            places: HashMap::new(),
            bytes: Rate::new(BYTES_PER_SECOND),
            frames: Rate::new(FRAMES_PER_SECOND),
            questions: Rate::new(QUESTIONS_PER_SECOND),
        }
    }

    /// Passes on what is seen of a delivery that is in flight here; anything else is ignored.
    pub(super) async fn take<F: Fleet>(
        &mut self,
        fleet: &F,
        attempt: Attempt,
        seen: Seen,
    ) -> Result<(), CallError> {
        let now = Instant::now().into_std();
        let length = match &seen {
            Seen::Progress(_) => 0,
            Seen::Output(piece) => piece.text.len(),
        };
        let room = self.bytes.ready_at().is_none_or(|at| at <= now) && self.frames.take(now, 1);
        if room {
            self.bytes.take(now, length);
        }
        let known = self.places.get_mut(&attempt.serial);
        let Some(place) = known.filter(|place| place.attempt == attempt.number) else {
            if room && let Some(place) = self.ask(fleet, attempt).await? {
                place.put(seen);
            }
            return Ok(());
        };
        if !room {
            place.leave_out(&seen);
        } else if !place.put(seen) {
            self.places.remove(&attempt.serial);
        }
        Ok(())
    }

    /// The client has answered a command: nothing of it follows.
    pub(super) fn end(&mut self, serial: Serial) {
        self.places.remove(&serial);
    }

    /// Asks for a delivery's place. Deliveries that are not the client's cost a question each: of
    /// these there are few a second, and none once a right one was asked about.
    async fn ask<F: Fleet>(
        &mut self,
        fleet: &F,
        attempt: Attempt,
    ) -> Result<Option<&mut Place>, CallError> {
        if self.questions.ready_at().is_some_and(|at| at > Instant::now().into_std()) {
            return Ok(None);
        }
        let Some(delivery) = fleet.live(self.session, attempt).await? else {
            self.questions.take(Instant::now().into_std(), 1);
            return Ok(None);
        };
        if self.places.len() >= MANY {
            self.places.retain(|_, place| !place.delivery.is_closed());
        }
        let place = Place { attempt: attempt.number, delivery, left_out: [0; 2] };
        Ok(Some(self.places.entry(attempt.serial).insert_entry(place).into_mut()))
    }
}

impl Place {
    /// Puts it there; `false`: the delivery has ended.
    fn put(&mut self, seen: Seen) -> bool {
        match seen {
            Seen::Progress(progress) => self.delivery.progress(progress),
            Seen::Output(mut piece) => {
                let left_out = std::mem::take(&mut self.left_out[piece.stream as usize]);
                piece.dropped = piece.dropped.saturating_add(left_out);
                self.delivery.output(piece)
            }
        }
    }

    fn leave_out(&mut self, seen: &Seen) {
        if let Seen::Output(piece) = seen {
            let left_out = &mut self.left_out[piece.stream as usize];
            *left_out =
                left_out.saturating_add(piece.dropped).saturating_add(piece.text.len() as u64);
        }
    }
}
