//! Between fire and end: connections come and go, deliveries are sent, taken and answered.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;

use super::change::Mark;
use super::core::Engine;
use super::effect::{CloseReason, Effect, Reply, RequestError};
use super::event::What;
use super::input::{CallId, SessionId};
use super::runs::OpenRun;
use super::sessions::Session;
use crate::client_record::Proof;
use crate::id::{ClientId, ClientNo, JobId, JobName, Serial};
use crate::job::Offline;
use crate::policy::DeliveryMode;
use crate::rollout::RolloutState;
use crate::run::{Attempt, DeliveryState, Outcome};
use crate::time::Timestamp;

/// Whether it is stored that a run's delivery was sent.
pub(super) fn is_marked(run: &OpenRun) -> bool {
    run.run.policy.delivery == DeliveryMode::AtMostOnce && !bug!(SentMarkForgotten)
}

/// Sends a delivery over a connection: gives what goes out, and when the connection wants to be
/// looked at, if that is another time than before. What [`is_marked`] is to be stored.
pub(super) fn hand_over(
    run: &mut OpenRun,
    link: &mut Session,
    (session, no): (SessionId, ClientNo),
    now: Timestamp,
) -> (Effect, Option<Timestamp>) {
    let dispatch = run.dispatch(no);
    let accept_by = now.plus(run.run.policy.timeout.accept());
    let look_at = link.sent(dispatch.serial, dispatch.attempt, accept_by);
    if is_marked(run) {
        run.mark(Mark::Sent, no);
    }
    (Effect::Send { session, dispatch }, look_at)
}

impl Engine {
    /// Lets a client in, in place of its former connection if there is one.
    pub(super) fn connect(
        &mut self,
        call: CallId,
        session: SessionId,
        id: &ClientId,
        proof: Proof,
        taken: &[Attempt],
    ) {
        let no = match self.admit(id, proof) {
            Ok(no) => no,
            Err(denied) => return self.reply(call, Err(denied)),
        };
        if let Some(old) = self.registry.session(no) {
            self.effect(Effect::Close { session: old, reason: CloseReason::Displaced });
            self.disconnect(old, "the client connected anew".into());
        }
        self.registry.connect(no, session);
        self.sessions.insert(session, Session::new(no));
        self.put_presence(no, |presence, now| {
            presence.connected_at = Some(now);
            presence.disconnected_at = None;
            presence.reason = None;
        });
        let limit = self.registry.get(no).and_then(|client| client.record.max_running);
        self.reply(call, Ok(Reply::Connected(limit)));
        let queued = self.resume_deliveries(no, session, taken);
        self.notify(What::Connected { client: id.clone(), queued });
        self.pump(session);
    }

    fn admit(&self, id: &ClientId, proof: Proof) -> Result<ClientNo, RequestError> {
        let denied = |why: String| RequestError::Denied(why);
        let no = self
            .registry
            .find(id)
            .ok_or_else(|| denied(format!("no client is named {:?}", id.as_str())))?;
        let known = self.registry.get(no).and_then(|client| client.record.token);
        match (proof, known) {
            (Proof::Vouched, _) => Ok(no),
            (Proof::Token(shown), Some(known)) if shown == known => Ok(no),
            (Proof::Token(_), Some(_)) => {
                Err(denied(format!("wrong token for client {:?}", id.as_str())))
            }
            (Proof::Token(_), None) => {
                Err(denied(format!("client {:?} has no token", id.as_str())))
            }
        }
    }

    /// Sorts a returning client's open deliveries into those that it has and those that it gets;
    /// tells how many it gets.
    fn resume_deliveries(&mut self, no: ClientNo, session: SessionId, taken: &[Attempt]) -> u64 {
        let narrow = self.registry.get(no).into_iter().flat_map(|client| &client.narrow).copied();
        let open: BTreeSet<Serial> = narrow.chain(self.runs.wide_of(no)).collect();
        let mut latest: BTreeMap<JobId, Serial> = BTreeMap::new();
        let (has, had): (Vec<&Attempt>, Vec<&Attempt>) = taken.iter().partition(|attempt| {
            let serial = attempt.serial;
            open.contains(&serial) && self.attempt_of(serial, no) == **attempt
        });
        let has: BTreeSet<Serial> = has.into_iter().map(|attempt| attempt.serial).collect();
        // What has ended without the client's knowing, by expiry or a newer run, it shall not run
        // on with. One that only waits for its acknowledgement is not hurt by it.
        for Attempt { serial, .. } in had.into_iter().copied() {
            self.effect(Effect::Cancel { session, serial });
        }
        for serial in &has {
            self.resume_taken(no, session, *serial);
        }
        for serial in open.difference(&has).copied() {
            let on_its_way = |run: &OpenRun| run.took_along.contains(no.0);
            if bug!(UntakenNotResent) && self.runs.get(serial).is_some_and(on_its_way) {
                continue;
            }
            self.runs.lose(serial, no);
            self.rollouts.unplace(serial, no);
            if let Some((state, reason)) = self.why_not_resent(serial, no) {
                self.end_delivery(serial, no, Outcome::ended(state, reason));
            } else {
                self.wait_in_line(no, session, serial, &mut latest);
            }
        }
        self.sessions.get_mut(session).map_or(0, Session::all_is_old)
    }

    fn resume_taken(&mut self, no: ClientNo, session: SessionId, serial: Serial) {
        self.runs.accept(serial, no);
        self.rollouts.place(serial, no);
        let attempt = self.attempt_of(serial, no).number;
        if let Some(link) = self.sessions.get_mut(session) {
            link.holds(serial, attempt);
        }
        let cancelled = self.runs.get(serial).is_some_and(|run| {
            run.run.cancelled_at.is_some() || run.is_marked(Mark::Cancelled, no)
        });
        if cancelled {
            self.effect(Effect::Cancel { session, serial });
        }
    }

    /// Why a delivery that its client does not have is not sent any more.
    fn why_not_resent(&self, serial: Serial, no: ClientNo) -> Option<(DeliveryState, String)> {
        let open = self.runs.get(serial)?;
        let run = &open.run;
        if open.is_marked(Mark::Sent, no) {
            let reason = "it was sent once, the client does not have it, and delivery is \
                          at_most_once: whether it ran is not known";
            return Some((DeliveryState::Failed, reason.into()));
        }
        if open.is_marked(Mark::Cancelled, no) {
            return Some((DeliveryState::Cancelled, "the delivery was cancelled".into()));
        }
        if run.cancelled_at.is_some() && !bug!(CancelledSentAgain) {
            return Some((DeliveryState::Cancelled, "the run was cancelled".into()));
        }
        if let Some(reason) = run.rollout_state.as_ref().and_then(RolloutState::aborted) {
            return Some((DeliveryState::Cancelled, reason.to_owned()));
        }
        if run.job_id.is_some_and(|job| !self.jobs.contains(job)) {
            return Some((DeliveryState::Removed, "the job was removed".into()));
        }
        let at = run.expires_at.filter(|at| *at <= self.now)?;
        Some((DeliveryState::Expired, format!("no client took it by {at}")))
    }

    /// Queues a delivery; of a job that wants only its latest delivered, the earlier one ends.
    fn wait_in_line(
        &mut self,
        no: ClientNo,
        session: SessionId,
        serial: Serial,
        latest: &mut BTreeMap<JobId, Serial>,
    ) {
        if self.held.holds(serial) {
            return;
        }
        let Some(run) = self.runs.get(serial) else { return };
        let in_rollout = self.rollouts.stir(serial);
        let not_before = self.moment(&run.run, no).max(run.not_before(no).unwrap_or(self.started));
        if not_before > self.now {
            // Its wave is still to come.
            return;
        }
        // In a rollout it has its turn to wait for, too.
        if let Some(link) = self.sessions.get_mut(session).filter(|_| !in_rollout) {
            link.waiting.insert(run.run.policy.priority, serial);
        }
        if let (Offline::Latest, Some(job)) = (run.run.offline, run.run.job_id)
            && let Some(earlier) = latest.insert(job, serial)
        {
            let reason = format!("run {serial} is newer");
            self.end_delivery(earlier, no, Outcome::ended(DeliveryState::Superseded, reason));
        }
    }

    /// A connection has ended: what had been sent waits for the client's return.
    pub(super) fn disconnect(&mut self, session: SessionId, reason: String) {
        let Some(link) = self.sessions.remove(session) else { return };
        self.deadlines.forget(link.watched);
        self.drain.leave(link.turn);
        let no = link.client;
        for (serial, _) in link.in_flight.iter() {
            self.runs.took_along(serial, no);
        }
        let Some(client) = self.registry.get(no) else { return };
        if self.registry.session(no) != Some(session) {
            return;
        }
        let id = client.record.id.clone();
        self.registry.disconnect(no);
        self.begin_queue(no, link.in_flight.untaken().collect());
        self.held.stir_all();
        self.replays.stir_all();
        self.rollouts.left(no);
        let why = reason.clone();
        self.put_presence(no, |presence, now| {
            presence.disconnected_at = Some(now);
            presence.reason = Some(why);
        });
        self.notify(What::Disconnected { client: id, reason });
    }

    /// A client has taken a delivery: it no longer expires, and is not sent again unless the
    /// client says that it has lost it.
    pub(super) fn accepted(&mut self, session: SessionId, attempt: Attempt) {
        let Some(link) = self.sessions.get_mut(session) else { return };
        if link.taken(attempt) {
            let no = link.client;
            self.runs.accept(attempt.serial, no);
            self.unwatch(session);
        }
    }

    /// A client stops in order. It tells what it takes before it tells that it stops, so what it
    /// was sent and has not taken it never will: that waits for its return, and may be sent then.
    pub(super) fn leaving(&mut self, session: SessionId) {
        let Some(link) = self.sessions.get_mut(session) else { return };
        let no = link.client;
        for serial in link.leave() {
            let Some(run) = self.runs.get_mut(serial) else { continue };
            link.waiting.insert(run.run.policy.priority, serial);
            if is_marked(run) {
                run.unmark(Mark::Sent, no);
                self.runs.change(serial);
            }
        }
        self.unwatch(session);
    }

    /// A client has ended a delivery. The first end stands; a later one is acknowledged, so that
    /// the client can forget it, and noted if the first was the server's own. So is one of an
    /// attempt that is not at hand.
    pub(super) fn responded(&mut self, session: SessionId, attempt: Attempt, outcome: Outcome) {
        let Some(link) = self.sessions.get(session) else { return };
        let no = link.client;
        let serial = attempt.serial;
        let outcome = if outcome.state.is_answer() {
            outcome
        } else {
            let reason = format!("the client answered {}, which is no answer", outcome.state);
            Outcome { state: DeliveryState::Failed, reason: Some(reason), ..outcome }
        };
        let open = self
            .runs
            .get(serial)
            .is_some_and(|run| run.open.contains(no.0) && run.attempt(no) == attempt.number);
        if open {
            self.end_attempt(serial, no, outcome);
        } else {
            self.answered_late(attempt, no, outcome);
        }
        if open || !bug!(DuplicateNotAcknowledged) {
            self.effect(Effect::Ack { session, attempt });
        }
    }

    /// Sends what waits for a connection, as far as its window has room; what had waited for its
    /// return leaves in its turn.
    pub(super) fn pump(&mut self, session: SessionId) {
        loop {
            if self.sessions.get(session).is_some_and(Session::can_send_old) {
                return self.stand_in_line(session);
            }
            if !self.send_next(session) {
                return;
            }
        }
    }

    /// Sends the next delivery of a connection, if there is one and its window has room.
    pub(super) fn send_next(&mut self, session: SessionId) -> bool {
        let Some(link) = self.sessions.get_mut(session) else { return false };
        let no = link.client;
        let Some(serial) = link.next_to_send() else { return false };
        self.send(session, no, serial);
        true
    }

    /// Sends a delivery over a connection.
    pub(super) fn send(&mut self, session: SessionId, no: ClientNo, serial: Serial) {
        let Some(run) = self.runs.get_mut(serial) else { return };
        let Some(link) = self.sessions.get_mut(session) else { return };
        let (effect, look_at) = hand_over(run, link, (session, no), self.now);
        self.deadlines.look_at(session, look_at);
        self.effects.push(effect);
        if is_marked(run) {
            self.runs.change(serial);
        }
    }

    /// Ends a run: at once where nobody has it yet, by asking where a client has it.
    pub(super) fn cancel_run(&mut self, serial: Serial) -> Result<Reply, RequestError> {
        let now = self.now;
        let Some(run) = self.runs.change(serial) else {
            let message = format!("run {serial} is not open: it has ended or never was");
            return Err(RequestError::Conflict(message));
        };
        run.run.cancelled_at = Some(now);
        run.touch();
        self.notify_run(serial, "cancelled", None);
        self.end_unsent(serial, DeliveryState::Cancelled, "the run was cancelled", true);
        let run = self.runs.get(serial).map(|run| run.run.clone());
        run.map(|run| Reply::Run(Box::new(run)))
            .ok_or_else(|| RequestError::Conflict(format!("run {serial} is not open")))
    }

    /// Ends one client's delivery of a run, as [`Engine::cancel_run`] ends all.
    pub(super) fn cancel_delivery(
        &mut self,
        serial: Serial,
        id: &ClientId,
    ) -> Result<Reply, RequestError> {
        let no = self.client(id)?.record.no;
        let Some(run) = self.runs.get(serial).filter(|run| run.open.contains(no.0)) else {
            let message = format!("run {serial} has no open delivery for client {:?}", id.as_str());
            return Err(RequestError::Conflict(message));
        };
        let before = run.run.clone();
        self.notify_run(serial, "cancelled", Some(id.clone()));
        if let Some(run) = self.runs.change(serial) {
            run.mark(Mark::Cancelled, no);
        }
        let one = [no.0].into_iter().collect();
        self.end_unsent_of(
            serial,
            &one,
            DeliveryState::Cancelled,
            "the delivery was cancelled",
            true,
        );
        let run = self.runs.get(serial).map_or(before, |run| run.run.clone());
        Ok(Reply::Run(Box::new(run)))
    }

    /// Ends all open runs of a job.
    pub(super) fn cancel_job(&mut self, name: &JobName) -> Result<Reply, RequestError> {
        let id = self.job(name)?.job.id;
        let mut cancelled = Vec::new();
        for serial in self.runs.of_job(id) {
            if let Reply::Run(run) = self.cancel_run(serial)? {
                cancelled.push(*run);
            }
        }
        Ok(Reply::Runs(cancelled))
    }

    /// Ends the deliveries of a run that no client has; with `ask`, asks the others to stop.
    pub(super) fn end_unsent(
        &mut self,
        serial: Serial,
        state: DeliveryState,
        reason: &str,
        ask: bool,
    ) {
        if let Some(run) = self.runs.get(serial) {
            let open = run.open.clone();
            self.end_unsent_of(serial, &open, state, reason, ask);
        }
    }

    fn end_unsent_of(
        &mut self,
        serial: Serial,
        clients: &RoaringBitmap,
        state: DeliveryState,
        reason: &str,
        ask: bool,
    ) {
        let Some(run) = self.runs.get(serial) else { return };
        let accepted = run.accepted.clone();
        for no in clients {
            match self.sent_over(serial, ClientNo(no)) {
                Some(session) if ask => self.effect(Effect::Cancel { session, serial }),
                Some(_) => {}
                None if accepted.contains(no) => {}
                None => {
                    self.end_delivery(serial, ClientNo(no), Outcome::ended(state, reason));
                }
            }
        }
    }
}
