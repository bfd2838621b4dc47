//! Clients as far as a re-enactment needs them: what each holds, and when it answers how.
//!
//! A command that the record has answered is answered again in the same way, after the same time.
//! Of any other a client answers as it did the last time for the same job, or for the same command
//! if it has no job; what it has never answered, it does at once. The commands of a job that asks
//! for it run one after the other, and what runs longer than it may ends as `timed_out`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::engine::{Dispatch, SessionId};
use crate::id::{ClientId, Serial};
use crate::json::Json;
use crate::run::{Attempt, DeliveryState, Outcome};
use crate::time::Timestamp;

/// How a command was answered, and after how long.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) after: Duration,
    pub(super) outcome: Outcome,
}

/// What is known of answers.
#[derive(Debug, Default)]
pub(super) struct Known {
    recorded: HashMap<(Attempt, ClientId), Answer>,
    /// The last answer of a client for a job, or for a command without one.
    last: HashMap<(String, ClientId), Answer>,
}

impl Known {
    pub(super) fn len(&self) -> usize {
        self.recorded.len()
    }

    pub(super) fn record(&mut self, attempt: Attempt, client: ClientId, answer: Answer) {
        self.recorded.entry((attempt, client)).or_insert(answer);
    }

    fn answer(&mut self, client: &ClientId, dispatch: &Dispatch) -> Answer {
        let attempt = Attempt { serial: dispatch.serial, number: dispatch.attempt };
        let kind = match &dispatch.job {
            Some(job) => format!("job {job}"),
            None => format!("command {}", dispatch.command.name),
        };
        if let Some(answer) = self.recorded.get(&(attempt, client.clone())) {
            self.last.insert((kind, client.clone()), answer.clone());
            return answer.clone();
        }
        let last = self.last.get(&(kind, client.clone())).cloned();
        last.unwrap_or_else(|| Answer {
            after: Duration::ZERO,
            outcome: Outcome::succeeded(Json::null()),
        })
    }
}

/// What a client does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// It takes a command.
    Accept(SessionId, Attempt),
    /// It answers one.
    Respond(SessionId, Attempt, Outcome),
}

/// One client.
#[derive(Debug, Default)]
struct Client {
    session: Option<SessionId>,
    /// Taken and not answered.
    running: BTreeMap<Serial, (Attempt, Outcome)>,
    /// Answered and not acknowledged.
    unacked: BTreeMap<Serial, (Attempt, Outcome)>,
    /// When the last command of each job that runs them in turn ends.
    busy: HashMap<String, Timestamp>,
}

/// Every client.
#[derive(Debug, Default)]
pub(super) struct Clients {
    all: BTreeMap<ClientId, Client>,
    sessions: BTreeMap<SessionId, ClientId>,
    /// When commands end.
    ends: BTreeSet<(Timestamp, Serial, ClientId)>,
}

impl Clients {
    /// When the next command ends.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.ends.first().map(|(at, ..)| *at)
    }

    /// Ends the next command to end; gives what its client then does, if it can.
    pub(super) fn end_next(&mut self) -> Option<Act> {
        let (_, serial, id) = self.ends.pop_first()?;
        let client = self.all.entry(id).or_default();
        // It may have been cancelled meanwhile.
        let (attempt, outcome) = client.running.remove(&serial)?;
        client.unacked.insert(serial, (attempt, outcome.clone()));
        client.session.map(|session| Act::Respond(session, attempt, outcome))
    }

    /// A client connects; gives what it says that it has taken.
    pub(super) fn connect(&mut self, session: SessionId, id: &ClientId) -> Vec<Attempt> {
        let client = self.all.entry(id.clone()).or_default();
        if let Some(old) = client.session.replace(session) {
            self.sessions.remove(&old);
        }
        self.sessions.insert(session, id.clone());
        let running = client.running.values().map(|(attempt, _)| *attempt);
        running.chain(client.unacked.values().map(|(attempt, _)| *attempt)).collect()
    }

    /// What a client answers once it has connected: what it could not before.
    pub(super) fn overdue(&self, session: SessionId) -> Vec<Act> {
        let client = self.sessions.get(&session).and_then(|id| self.all.get(id));
        let answers = client.into_iter().flat_map(|client| client.unacked.values());
        answers.map(|(attempt, outcome)| Act::Respond(session, *attempt, outcome.clone())).collect()
    }

    /// A connection has ended.
    pub(super) fn disconnect(&mut self, session: SessionId) {
        let Some(id) = self.sessions.remove(&session) else { return };
        if let Some(client) = self.all.get_mut(&id)
            && client.session == Some(session)
        {
            client.session = None;
        }
    }

    /// The server has ended: so have all connections.
    pub(super) fn disconnect_all(&mut self) {
        self.sessions.clear();
        for client in self.all.values_mut() {
            client.session = None;
        }
    }

    /// A command arrives.
    pub(super) fn receive(
        &mut self,
        now: Timestamp,
        session: SessionId,
        dispatch: &Dispatch,
        known: &mut Known,
    ) -> Option<Act> {
        let id = self.sessions.get(&session)?.clone();
        let client = self.all.entry(id.clone()).or_default();
        let attempt = Attempt { serial: dispatch.serial, number: dispatch.attempt };
        if let Some((held, outcome)) = client.unacked.get(&dispatch.serial)
            && *held == attempt
        {
            return Some(Act::Respond(session, attempt, outcome.clone()));
        }
        let answer = known.answer(&id, dispatch);
        let (after, outcome) = match dispatch.timeout {
            Some(limit) if limit < answer.after => {
                (limit, Outcome::ended(DeliveryState::TimedOut, "it ran longer than it may"))
            }
            _ => (answer.after, answer.outcome),
        };
        let turn = dispatch.job.as_ref().filter(|_| dispatch.in_turn).map(ToString::to_string);
        let before = turn.as_ref().and_then(|job| client.busy.get(job)).copied();
        let end = before.map_or(now, |before| before.max(now)).plus(after);
        if let Some(job) = turn {
            client.busy.insert(job, end);
        }
        client.running.insert(dispatch.serial, (attempt, outcome));
        self.ends.insert((end, dispatch.serial, id));
        Some(Act::Accept(session, attempt))
    }

    /// A client is asked to stop a command.
    pub(super) fn cancel(&mut self, session: SessionId, serial: Serial) -> Option<Act> {
        let client = self.all.get_mut(self.sessions.get(&session)?)?;
        let (attempt, _) = client.running.remove(&serial)?;
        let outcome = Outcome::ended(DeliveryState::Cancelled, "asked to stop");
        client.unacked.insert(serial, (attempt, outcome.clone()));
        Some(Act::Respond(session, attempt, outcome))
    }

    /// An answer is recorded.
    pub(super) fn acknowledged(&mut self, session: SessionId, attempt: Attempt) {
        let client = self.sessions.get(&session).and_then(|id| self.all.get_mut(id));
        if let Some(client) = client
            && client.unacked.get(&attempt.serial).is_some_and(|(held, _)| *held == attempt)
        {
            client.unacked.remove(&attempt.serial);
        }
    }
}
