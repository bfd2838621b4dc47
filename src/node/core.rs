//! The node's work without its threads: letters in, commits out, effects released.
//!
//! Nothing here waits or reads the clock, so that a simulation can run it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::{broadcast, oneshot};

use super::CallError;
use super::entropy::Entropy;
use super::link::{Answer, Letter, Link, ToSession};
use super::live::LiveBoard;
use super::outbox::{NotTaken, Outlet};
use crate::engine::{
    CallId, CloseReason, Effect, Engine, Event, Input, Reply, RequestError, SessionId, Unread,
    VERSION, What,
};
use crate::recording::{Recorder, Restored};
use crate::store::Batch;
use crate::store::writer::Commit;
use crate::time::Timestamp;

/// Bytes of inputs after which they are written although nothing was decided.
const MAX_UNWRITTEN: usize = 1024 * 1024;

/// Engine, callers and connections.
pub(super) struct Core {
    engine: Engine,
    entropy: Entropy,
    last_call: u64,
    callers: HashMap<CallId, Caller>,
    /// How many of them only ask.
    asking: usize,
    outbound: HashMap<SessionId, Outlet<ToSession>>,
    events: broadcast::Sender<Arc<Event>>,
    live: LiveBoard,
    /// `None`: inputs are not recorded.
    recorder: Option<Recorder>,
    /// What was worked out and is to be written, and who waits for that.
    derived: Vec<Batch>,
    told: Vec<oneshot::Sender<()>>,
}

/// What a commit lets out.
#[derive(Default)]
pub(super) struct Released {
    effects: Vec<Effect>,
    told: Vec<oneshot::Sender<()>>,
    /// The decision that they belong to.
    decision: Option<u64>,
}

impl Released {
    pub(super) fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.told.is_empty()
    }
}

/// How a core begins.
pub(super) struct Beginning {
    /// When the engine was restored.
    pub(super) now: Timestamp,
    /// How it was set up, if its inputs are recorded.
    pub(super) recorded: Option<Restored>,
    /// The server's settings.
    pub(super) settings: BTreeMap<String, String>,
}

/// Who waits for an answer, and for a connection what it lets in.
struct Caller {
    answer: Answer,
    link: Option<(SessionId, Outlet<ToSession>)>,
    /// Whether it only asks.
    asks: bool,
}

impl Core {
    pub(super) fn new(
        engine: Engine,
        entropy: Entropy,
        events: broadcast::Sender<Arc<Event>>,
        live: LiveBoard,
        Beginning { now, recorded, settings }: Beginning,
    ) -> Self {
        let recorder = recorded.map(|restored| {
            let mut recorder = Recorder::default();
            recorder.restored(now, &restored);
            recorder
        });
        let mut core = Self {
            engine,
            entropy,
            last_call: 0,
            callers: HashMap::new(),
            asking: 0,
            outbound: HashMap::new(),
            events,
            live,
            recorder,
            derived: Vec::new(),
            told: Vec::new(),
        };
        core.feed(now, Input::Boot { version: VERSION.to_owned(), settings });
        core
    }

    /// Tells the engine something, and records it.
    fn feed(&mut self, now: Timestamp, input: Input) {
        if let Some(recorder) = &mut self.recorder {
            recorder.input(now, &input);
        }
        self.engine.handle(now, input);
    }

    /// The node stops in order.
    pub(super) fn stopping(&mut self, now: Timestamp) {
        self.feed(now, Input::Stopping);
    }

    /// Lets the engine decide on a letter. What was due by `now` has been dealt with before.
    pub(super) fn receive(&mut self, now: Timestamp, letter: Letter) {
        let input = match letter {
            Letter::Call { actor, request, answer } => {
                let asks = request.is_question();
                let call = self.caller(Caller { answer, link: None, asks });
                Input::Call { call, actor, request: *request, entropy: self.entropy.next() }
            }
            Letter::Connect { session, link, answer } => {
                let Link { client, proof, taken, outbound } = link;
                let call =
                    self.caller(Caller { answer, link: Some((session, outbound)), asks: false });
                Input::Connect { call, session, client, proof, taken }
            }
            Letter::Accepted { session, attempt } => Input::Accepted { session, attempt },
            Letter::Started { session, attempt } => Input::Started { session, attempt },
            Letter::Responded { session, attempt, outcome } => {
                if bug!(AckBeforeCommit) {
                    self.send(now, session, ToSession::Ack(attempt));
                }
                Input::Responded { session, attempt, outcome }
            }
            Letter::Input(input) => {
                if let Input::Disconnect { session, .. } = &*input {
                    self.outbound.remove(session);
                }
                *input
            }
            Letter::Live { session, attempt, answer } => {
                let client = self.engine.in_flight(session, attempt);
                let place = client
                    .and_then(|client| self.live.open(attempt.serial, client, attempt.number));
                // A connection that has ended needs no place.
                let _ = answer.send(place);
                return;
            }
            Letter::Derived { batch, answer } => {
                self.derived.push(batch);
                self.told.push(answer);
                return;
            }
            Letter::Stop => return,
        };
        self.feed(now, input);
    }

    fn caller(&mut self, caller: Caller) -> CallId {
        self.last_call += 1;
        let call = CallId(self.last_call);
        self.asking += usize::from(caller.asks);
        self.callers.insert(call, caller);
        call
    }

    /// Does what is due by `now`; bounded, so that the loop stays responsive.
    pub(super) fn deadline(&mut self, now: Timestamp) {
        if let Some(recorder) = &mut self.recorder {
            recorder.deadline(now);
        }
        self.engine.handle_deadline(now);
    }

    /// The clock was set; it is counted.
    pub(super) fn clock_jumped(&mut self, now: Timestamp) {
        self.feed(now, Input::ClockJumped);
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.engine.next_deadline()
    }

    /// How much has been decided and not taken out.
    pub(super) fn pending(&self) -> usize {
        self.engine.pending() + self.derived.len()
    }

    /// Why the engine could not read a stored job, if it could not: nothing that was decided since
    /// may be let out.
    pub(super) fn failure(&mut self) -> Option<Unread> {
        self.engine.failure()
    }

    /// Takes out what has been decided: what is to be written, and what to do after that. When
    /// there is nothing to write, the inputs so far go with the next commit.
    pub(super) fn take(&mut self) -> (Commit, Released) {
        let decision = self.engine.take();
        let number = decision.number;
        let (mut commit, effects) = Commit::of(decision);
        if let Some(recorder) = &mut self.recorder
            && (!commit.is_empty() || recorder.len() > MAX_UNWRITTEN)
        {
            commit.inputs = recorder.take();
        }
        commit.derived = std::mem::take(&mut self.derived);
        let told = std::mem::take(&mut self.told);
        (commit, Released { effects, told, decision: Some(number) })
    }

    /// How many of those who only ask wait for an answer.
    pub(super) fn asking(&self) -> usize {
        self.asking
    }

    /// Gives their answers to those who only ask, before what else is to be let out.
    pub(super) fn answer_questions(&mut self, now: Timestamp, released: &mut Released) {
        let mut kept = Vec::new();
        for effect in std::mem::take(&mut released.effects) {
            match effect {
                Effect::Reply { call, answer } if self.asks(call) => self.answer(now, call, answer),
                other => kept.push(other),
            }
        }
        released.effects = kept;
    }

    fn asks(&self, call: CallId) -> bool {
        self.callers.get(&call).is_some_and(|caller| caller.asks)
    }

    /// Lets out what a commit has made durable, in order.
    pub(super) fn release(&mut self, now: Timestamp, released: Released) {
        if let Some(decision) = released.decision {
            self.engine.durable(decision);
        }
        for answer in released.told {
            // Whoever does not wait any more need not know.
            let _ = answer.send(());
        }
        for effect in released.effects {
            match effect {
                Effect::Reply { call, answer } => self.answer(now, call, answer),
                Effect::Send { session, dispatch } => {
                    self.send(now, session, ToSession::Command(dispatch));
                }
                Effect::Ack { session, attempt } => {
                    self.send(now, session, ToSession::Ack(attempt));
                }
                Effect::Cancel { session, serial } => {
                    self.send(now, session, ToSession::Cancel(serial));
                }
                Effect::Close { session, reason } => {
                    self.send(now, session, ToSession::Close(reason));
                    self.outbound.remove(&session);
                }
                Effect::Notify(event) => {
                    self.no_longer_live(&event.what);
                    // Nobody watches: nobody is told.
                    let _ = self.events.send(event);
                }
            }
        }
    }

    /// Forgets what was seen of what has ended.
    fn no_longer_live(&self, what: &What) {
        match what {
            What::DeliveryEnded { response, .. } | What::AttemptEnded { response, .. } => {
                self.live.close(response.serial, &response.client);
            }
            What::RunEnded { serial, .. } => self.live.close_run(*serial),
            _ => {}
        }
    }

    fn answer(&mut self, now: Timestamp, call: CallId, answer: Result<Reply, RequestError>) {
        let Some(caller) = self.callers.remove(&call) else { return };
        self.asking -= usize::from(caller.asks);
        let connects = answer.is_ok();
        let heard = caller.answer.send(answer.map_err(CallError::Refused)).is_ok();
        let Some((session, outbound)) = caller.link.filter(|_| connects) else { return };
        if heard {
            self.outbound.insert(session, outbound);
        } else {
            // It went away before it was let in, and will not say so.
            let reason = "the connection has ended".to_owned();
            self.feed(now, Input::Disconnect { session, reason });
        }
    }

    fn send(&mut self, now: Timestamp, session: SessionId, message: ToSession) {
        let Some(outbound) = self.outbound.get(&session) else { return };
        let reason = match outbound.try_send(message) {
            Ok(()) => return,
            Err(NotTaken::Full) => "the client is too slow",
            Err(NotTaken::Closed) => "the connection has ended",
        };
        self.outbound.remove(&session);
        let reason = reason.to_owned();
        self.feed(now, Input::Disconnect { session, reason });
    }

    /// Tells every connection that the node stops.
    pub(super) fn close_all(&mut self) {
        let mut all: Vec<_> = self.outbound.drain().collect();
        // In the order of their numbers, so that a stop is the same each time.
        all.sort_unstable_by_key(|(session, _)| *session);
        for (_, outbound) in all {
            // A full channel closes all the same when its sender is dropped here.
            let _ = outbound.try_send(ToSession::Close(CloseReason::Stopping));
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.live.stop();
        // In the order in which they asked, so that an end is the same each time.
        let mut callers: Vec<_> = self.callers.drain().collect();
        callers.sort_unstable_by_key(|(call, _)| call.0);
        for (_, caller) in callers {
            drop(caller);
        }
    }
}
