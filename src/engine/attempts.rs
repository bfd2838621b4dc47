//! Attempts: what was not taken or not answered in time ends, and what failed is tried again.
//!
//! Nothing of it costs a delivery that succeeds more than a comparison: a connection is looked at
//! as a whole for what it has not taken in time, and a run as a whole for what runs too long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::change::{Mark, PageEntry};
use super::core::Engine;
use super::effect::Effect;
use super::event::What;
use super::input::SessionId;
use super::sessions::Session;
use super::spread;
use crate::id::{ClientId, ClientNo, Serial};
use crate::policy::Retry;
use crate::rollout::RolloutState;
use crate::run::{Attempt, DeliveryState, Outcome, Response};
use crate::time::{Timestamp, duration};

/// The client ends a command that runs too long; the server does so this much later, if the client
/// has not.
pub const RUN_GRACE: Duration = Duration::from_secs(5);

/// Retries that are nearer to each other than this go together.
const GRAIN_MS: u64 = 20;

/// When a delivery is tried again, an attempt of which ended at a moment: after a pause that the
/// run, the client and the attempt's number decide.
#[must_use]
pub fn retry_at(
    retry: &Retry,
    (serial, client, attempt): (Serial, &ClientId, u32),
    ended_at: Timestamp,
) -> Timestamp {
    let parts: [&[u8]; 3] =
        [&serial.to_bytes(), client.as_str().as_bytes(), &attempt.to_be_bytes()];
    let longest = u64::try_from(retry.longest_pause(attempt).as_millis()).unwrap_or(u64::MAX);
    let pause = spread::hash(&parts) % longest.saturating_add(1);
    ended_at.plus(Duration::from_millis(pause.next_multiple_of(GRAIN_MS)))
}

/// When connections and runs want to be looked at for what takes too long.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    accept: BTreeMap<Timestamp, Looks>,
    run: BTreeSet<(Timestamp, Serial)>,
}

/// Connections that want to be looked at at one time. One that no longer does stays in the list,
/// so that nothing is searched, and is passed over then; when none is left the time itself goes.
#[derive(Debug, Default)]
struct Looks {
    sessions: Vec<SessionId>,
    left: usize,
}

impl Deadlines {
    /// A connection wants to be looked at, if there is a time for it.
    pub(super) fn look_at(&mut self, session: SessionId, at: Option<Timestamp>) {
        let Some(at) = at else { return };
        let looks = self.accept.entry(at).or_default();
        looks.sessions.push(session);
        looks.left += 1;
    }

    /// A connection that was to be looked at then need not be any more.
    pub(super) fn forget(&mut self, at: Option<Timestamp>) {
        let Some(at) = at else { return };
        if let Some(looks) = self.accept.get_mut(&at) {
            looks.left -= 1;
            if looks.left == 0 {
                self.accept.remove(&at);
            }
        }
    }

    /// The first of all.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let accept = self.accept.keys().next().copied();
        accept.into_iter().chain(self.run.first().map(|(at, _)| *at)).min()
    }
}

impl Engine {
    /// Which attempt of a delivery is at hand.
    pub(super) fn attempt_of(&self, serial: Serial, no: ClientNo) -> Attempt {
        let number = self.runs.get(serial).map_or(1, |run| run.attempt(no));
        Attempt { serial, number }
    }

    /// Forgets a delivery of a connection that has ended; tells whether it had been sent.
    pub(super) fn forget_sent(&mut self, session: SessionId, serial: Serial) -> bool {
        let sent = self.sessions.get_mut(session).is_some_and(|link| link.forget(serial));
        self.unwatch(session);
        sent
    }

    /// Does not look at a connection any more whose client has taken all.
    pub(super) fn unwatch(&mut self, session: SessionId) {
        let at = self.sessions.get_mut(session).and_then(Session::unwatch);
        self.deadlines.forget(at);
    }

    /// A client has begun to run a delivery: its time runs from now on. A client that returns
    /// says so again, for what it has begun is not stored.
    pub(super) fn begun(&mut self, session: SessionId, attempt: Attempt) {
        let Attempt { serial, number } = attempt;
        let Some(link) = self.sessions.get(session) else { return };
        let no = link.client;
        if link.in_flight.get(serial).is_none_or(|sent| sent.attempt != number) {
            return;
        }
        let Some(run) = self.runs.get_mut(serial) else { return };
        let Some(limit) = run.run.policy.timeout.run() else { return };
        let due = self.now.plus(limit).plus(RUN_GRACE);
        if let Some(first) = run.begin(no, due) {
            self.deadlines.run.insert((first, serial));
        }
    }

    /// Ends the attempts whose time is up.
    pub(super) fn end_overdue(&mut self) {
        while let Some(first) = self.deadlines.accept.first_entry()
            && *first.key() <= self.now
        {
            let (at, looks) = first.remove_entry();
            for session in looks.sessions {
                self.end_not_taken(session, at);
            }
        }
        while let Some((at, serial)) = self.deadlines.run.first().copied()
            && at <= self.now
        {
            self.deadlines.run.pop_first();
            self.end_too_long(serial);
        }
    }

    fn end_not_taken(&mut self, session: SessionId, at: Timestamp) {
        let now = self.now;
        let Some(link) = self.sessions.get_mut(session) else { return };
        if link.watched != Some(at) {
            return;
        }
        let (late, next) = link.overdue(now);
        link.watched = next;
        let no = link.client;
        self.deadlines.look_at(session, next);
        for serial in late {
            let Some(run) = self.runs.get(serial) else { continue };
            let limit = duration::format(run.run.policy.timeout.accept());
            let reason = format!("the client did not take it within {limit}");
            self.give_up(serial, no, &reason);
        }
    }

    fn end_too_long(&mut self, serial: Serial) {
        let now = self.now;
        let Some(run) = self.runs.get_mut(serial) else { return };
        let (late, next) = run.overdue(now);
        let limit = run.run.policy.timeout.run().map(duration::format).unwrap_or_default();
        self.deadlines.run.extend(next.map(|at| (at, serial)));
        let reason = format!("it ran longer than {limit}, and the client did not end it");
        for no in late {
            self.give_up(serial, no, &reason);
        }
    }

    /// Ends an attempt by the server's own clock, and asks its client to stop.
    fn give_up(&mut self, serial: Serial, no: ClientNo, reason: &str) {
        let outcome = Outcome::ended(DeliveryState::TimedOut, reason);
        self.remember_withdrawn(serial, no);
        if let Some(session) = self.end_attempt(serial, no, outcome) {
            self.effect(Effect::Cancel { session, serial });
        }
    }

    /// Ends an attempt: the delivery with it, unless it is tried again. Gives back the connection
    /// that it had been sent over.
    pub(super) fn end_attempt(
        &mut self,
        serial: Serial,
        no: ClientNo,
        outcome: Outcome,
    ) -> Option<SessionId> {
        let retriable = matches!(outcome.state, DeliveryState::Failed | DeliveryState::TimedOut);
        if retriable && let Some(at) = self.next_attempt_at(serial, no) {
            return self.try_again(serial, no, outcome, at);
        }
        self.record_end(serial, no, outcome)
    }

    /// When a delivery is tried again that has failed now; `None`: it is not.
    fn next_attempt_at(&self, serial: Serial, no: ClientNo) -> Option<Timestamp> {
        let open = self.runs.get(serial).filter(|run| run.open.contains(no.0))?;
        let number = open.attempt(no);
        let run = &open.run;
        let aborted = run.rollout_state.as_ref().and_then(RolloutState::aborted);
        let wanted = number < run.policy.retry.attempts()
            && run.cancelled_at.is_none()
            && aborted.is_none()
            && !open.is_marked(Mark::Cancelled, no)
            && run.job_id.is_none_or(|job| self.jobs.contains(job));
        wanted.then(|| self.backoff_end(serial, no, number, self.now))
    }

    /// The end of the pause after an attempt that ended at a moment.
    pub(super) fn backoff_end(
        &self,
        serial: Serial,
        no: ClientNo,
        attempt: u32,
        ended_at: Timestamp,
    ) -> Timestamp {
        let (Some(open), Some(client)) = (self.runs.get(serial), self.registry.get(no)) else {
            return ended_at;
        };
        retry_at(&open.run.policy.retry, (serial, &client.record.id, attempt), ended_at)
    }

    fn try_again(
        &mut self,
        serial: Serial,
        no: ClientNo,
        outcome: Outcome,
        at: Timestamp,
    ) -> Option<SessionId> {
        let now = self.now;
        // A large result would lie outside its page, where there is room for the last one only.
        let outcome = super::core::glimpse(outcome);
        let run = self.runs.change(serial)?;
        let attempt = run.attempt(no);
        let (taken, bytes) = (run.accepted.contains(no.0), run.bytes());
        let retried = true;
        run.retry(
            PageEntry { client: no, at: now, attempt, retried, outcome: outcome.clone() },
            at,
        );
        let (job, command) = (run.run.job.clone(), run.run.command.name.clone());
        let session = self.registry.session(no);
        let client = self.registry.get_mut(no)?;
        if taken && session.is_none() {
            client.queue.enter(bytes);
        }
        let id = client.record.id.clone();
        self.to_pump.extend(session);
        let sent = session.filter(|id| self.forget_sent(*id, serial));
        self.waves.entry((at, serial)).or_default().insert(no.0);
        let response = Response { serial, client: id, at: now, attempt, retried, outcome };
        self.notify(What::AttemptEnded { job, command, response, next_at: at });
        sent
    }
}
