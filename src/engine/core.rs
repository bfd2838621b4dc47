//! The engine's state, its entry points and what every part of it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::attempts::Deadlines;
use super::change::{Change, Decision, LedgerEnd, PageEntry, Snapshot, StoredJobs};
use super::definitions::Unread;
use super::drain::{DRAIN, Drain};
use super::effect::{Effect, Reply, RequestError};
use super::event::{Event, What};
use super::input::{CallId, Input, Request, SessionId};
use super::jobs::Jobs;
use super::late::Withdrawn;
use super::overlap::Held;
use super::pause::EndedRun;
use super::queue::Limits;
use super::registry::Registry;
use super::repeats::Repeats;
use super::replays::Replays;
use super::rollout::Rollouts;
use super::runs::Runs;
use super::sessions::Sessions;
use super::spread::Waves;
use super::young::Young;
use crate::actor::Actor;
use crate::id::{ClientId, ClientNo, JobId, Serial};
use crate::job_past::MissedRow;
use crate::run::{DeliveryState, Outcome, Response};
use crate::time::Timestamp;

/// The most bytes of a result that an event holds.
pub const EVENT_RESULT: usize = 4_096;

/// The most characters of a reason that an event holds.
const EVENT_REASON: usize = 1_000;

/// The scheduler's decisions, as a state machine.
///
/// ```
/// use fleetcron::Timestamp;
/// use fleetcron::engine::{CallId, Effect, Engine, Input, Reply, Request, Snapshot};
///
/// let now = Timestamp::from_millis(1_000);
/// let mut engine = Engine::restore(Snapshot::default(), now);
/// engine.handle(now, Input::Call { call: CallId(1), actor: fleetcron::Actor::Library, request: Request::Status, entropy: 7 });
/// let decision = engine.take();
/// assert!(decision.units.is_empty(), "a question stores nothing");
/// assert!(matches!(&decision.effects[..], [Effect::Reply { answer: Ok(Reply::Status(_)), .. }]));
/// ```
#[derive(Debug)]
pub struct Engine {
    pub(super) now: Timestamp,
    /// Who brings about what is decided now.
    actor: Actor,
    /// The settings of the last start.
    pub(super) settings: BTreeMap<String, String>,
    /// Where the ledger ended before this start.
    pub(super) ledger_end: Option<LedgerEnd>,
    pub(super) started: Timestamp,
    pub(super) jobs: Jobs,
    pub(super) registry: Registry,
    pub(super) runs: Runs,
    pub(super) sessions: Sessions,
    pub(super) held: Held,
    pub(super) waves: Waves,
    pub(super) rollouts: Rollouts,
    pub(super) deadlines: Deadlines,
    pub(super) drain: Drain,
    pub(super) repeats: Repeats,
    pub(super) replays: Replays,
    pub(super) withdrawn: Withdrawn,
    /// Connections whose windows may have got room.
    pub(super) to_pump: BTreeSet<SessionId>,
    pub(super) last_serial: Serial,
    pub(super) deliveries_open: u64,
    /// Runs of jobs that ended and are still to be counted.
    pub(super) ended: Vec<EndedRun>,
    /// How often the wall clock was set since the start.
    pub(super) clock_jumps: u64,
    pub(super) limits: Limits,
    units: Vec<Vec<Change>>,
    pub(super) effects: Vec<Effect>,
    /// Jobs whose standing changed, with the last run that it belongs to.
    standing: BTreeMap<JobId, Option<Serial>>,
    /// Rows of missed firings that are to be stored with their jobs' standing.
    pub(super) missed_rows: BTreeMap<JobId, Vec<MissedRow>>,
}

impl Engine {
    /// An engine that goes on from what the store gave back.
    #[must_use]
    pub fn restore(snapshot: Snapshot, now: Timestamp) -> Self {
        let last_serial = snapshot.last_serial.filter(|_| !bug!(SerialReused));
        let [last_serial, border] = [last_serial, snapshot.border]
            .map(|serial| serial.unwrap_or(Serial::from_bytes([0; 16])));
        let mut engine = Self {
            now,
            actor: Actor::Server,
            settings: snapshot.settings,
            ledger_end: snapshot.ledger_end,
            started: now,
            jobs: Jobs::default(),
            registry: Registry::default(),
            runs: Runs::new(Young::new(border, last_serial)),
            sessions: Sessions::default(),
            held: Held::default(),
            waves: Waves::new(),
            rollouts: Rollouts::default(),
            deadlines: Deadlines::default(),
            drain: Drain::new(DRAIN, now),
            repeats: Repeats::default(),
            replays: Replays::default(),
            withdrawn: Withdrawn::default(),
            to_pump: BTreeSet::new(),
            last_serial,
            deliveries_open: 0,
            ended: Vec::new(),
            clock_jumps: 0,
            limits: Limits::default(),
            units: Vec::new(),
            effects: Vec::new(),
            standing: BTreeMap::new(),
            missed_rows: BTreeMap::new(),
        };
        for (record, presence) in snapshot.clients {
            engine.registry.restore(record, presence);
        }
        for record in snapshot.calendars {
            engine.jobs.calendars.put(Arc::new(record));
        }
        for (job, state) in snapshot.jobs {
            engine.jobs.restore(job, state);
        }
        if let Some(StoredJobs { heads, definitions, at_hand }) = snapshot.stored_jobs {
            engine.jobs.restore_stored(heads, definitions, at_hand);
        }
        for record in snapshot.replays {
            engine.replays.restore(record);
        }
        for record in snapshot.open_runs {
            engine.restore_run(record);
        }
        engine.restore_held();
        for repeat in snapshot.repeats {
            engine.repeats.put(repeat);
        }
        engine.take_up_replays();
        engine
    }

    /// Takes in something that happened at `now`. What was due by `now` must have been handled
    /// before; time never goes back.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.advance(now);
        self.actor = self.actor_of(&input);
        match input {
            Input::Call { call, request, entropy, .. } if request.is_question() => {
                // It is not recorded: nothing may come of it but the answer.
                self.actor = Actor::Server;
                let answer = self.request(request, entropy);
                return self.reply(call, answer);
            }
            Input::Call { call, request, entropy, .. } => {
                let answer = self.request(request, entropy);
                self.reply(call, answer);
            }
            Input::Boot { version, settings } => self.boot(version, settings),
            Input::Stopping => self.tell_server("stopped", crate::engine::VERSION.into()),
            Input::TokenUsed { token, from } => {
                self.notify(What::TokenUsed { token: token.as_str().into(), from });
            }
            Input::Connect { call, session, client, proof, taken } => {
                self.connect(call, session, &client, proof, &taken);
            }
            Input::Disconnect { session, reason } => self.disconnect(session, reason),
            Input::Accepted { session, attempt } => self.accepted(session, attempt),
            Input::Started { session, attempt } => self.begun(session, attempt),
            Input::Responded { session, attempt, outcome } => {
                self.responded(session, attempt, outcome);
            }
            Input::Leaving { session } => self.leaving(session),
            Input::ClockJumped => {
                self.clock_jumps = self.clock_jumps.saturating_add(1);
                self.notify(What::ClockJumped);
            }
            Input::Facts { session, facts } => self.told_facts(session, *facts),
        }
        self.let_go();
        self.actor = Actor::Server;
    }

    /// When [`Engine::handle_deadline`] wants to be called; a time that has passed means at once.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let wave = self.waves.first_key_value().map(|((at, _), _)| *at);
        let jobs = [self.jobs.next_due(), self.jobs.next_wake()];
        let runs =
            [self.runs.next_expiry(), self.held.next_deadline(), wave, self.deadlines.next()];
        let rollouts = self.rollouts.next_deadline();
        let others = [rollouts, self.repeats.next_deadline(), self.drain.next()];
        let replays = self.replays.next_deadline(self.started);
        jobs.into_iter().chain(runs).chain(others).chain([replays]).flatten().min()
    }

    /// Does what is due by `now`, a bounded part of it: ask [`Engine::next_deadline`] again.
    pub fn handle_deadline(&mut self, now: Timestamp) {
        self.advance(now);
        self.expire_due();
        self.end_overdue();
        self.send_waves();
        self.rollouts.stir_due(self.now);
        self.resume_due();
        self.fire_due();
        self.forget_repeats_due();
        self.replays.stir_due(self.now, self.started);
        self.let_go();
    }

    /// Sends what has become free: held runs, rollouts that may go on, and deliveries for which a
    /// window has room.
    fn let_go(&mut self) {
        self.advance_replays();
        self.release_held();
        while self.advance_rollouts() {
            // One that is aborted may set a held run free.
            self.release_held();
        }
        for session in std::mem::take(&mut self.to_pump) {
            self.pump(session);
        }
        self.drain_old();
        self.count_failures();
    }

    /// Takes out what has been decided since the last time.
    pub fn take(&mut self) -> Decision {
        self.close();
        let units = std::mem::take(&mut self.units);
        let number = self.jobs.decided();
        Decision { units, effects: std::mem::take(&mut self.effects), number }
    }

    /// All decisions up to the one of this number are durable: jobs that they changed need not stay
    /// at hand.
    pub fn durable(&mut self, number: u64) {
        self.jobs.durable(number);
    }

    /// Why a job could not be read, if one could not. What was decided since the last
    /// [`Engine::take`] is then not to be taken, nor any answer of it to be used: the engine must
    /// be restored.
    pub fn failure(&mut self) -> Option<Unread> {
        self.jobs.failure()
    }

    /// Makes units of what has been decided so far, so that what is stored next comes after it.
    /// Whoever stores a job's standing by itself closes first: it may tell of firings whose runs
    /// are not yet in a unit.
    pub(super) fn close(&mut self) {
        let border = self.runs.move_border();
        let mut runs = self.runs.units();
        let mut alone = Vec::new();
        for (id, serial) in std::mem::take(&mut self.standing) {
            let Some(entry) = self.jobs.get(id) else { continue };
            let mut own = Vec::new();
            let unit = serial.and_then(|serial| runs.get_mut(&serial)).unwrap_or(&mut own);
            self.put_standing(unit, &entry);
            if !own.is_empty() {
                alone.push(own);
            }
        }
        for (serial, repeats) in self.repeats.unsaved() {
            runs.entry(serial).or_default().extend(repeats);
        }
        self.put_replays(&mut runs);
        self.units.extend(runs.into_values());
        self.units.extend(alone);
        // Last: below it every open run has its set by now.
        self.units.extend(border.map(|border| vec![border]));
    }

    /// How much has been decided and not taken out: units, changed runs and effects. Whoever
    /// commits slower than the engine decides can wait by it.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.units.len() + self.runs.changed() + self.effects.len()
    }

    fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    fn request(&mut self, request: Request, entropy: u128) -> Result<Reply, RequestError> {
        match request {
            Request::Apply(apply) => self.apply(apply, entropy),
            Request::RemoveJob(name) => self.remove_job(&name),
            Request::PauseJob(pause) => self.pause(&pause),
            Request::PauseJobs { jobs, terms } => self.pause_all(&jobs, &terms),
            Request::ResumeJob(name) => self.resume(&name),
            Request::ResumeJobs(jobs) => self.resume_all(&jobs),
            Request::TriggerJob(name) => self.trigger(&name, entropy),
            Request::Submit(submission) => self.submit(submission, entropy),
            Request::CancelRun(serial) => self.cancel_run(serial),
            Request::CancelDelivery(serial, client) => self.cancel_delivery(serial, &client),
            Request::CancelJob(name) => self.cancel_job(&name),
            Request::ApproveRun(serial) => self.approve_run(serial),
            Request::AddClient(client) => self.add_client(client),
            Request::RemoveClient(id) => self.remove_client(&id),
            Request::GroupClient(change) => self.group_client(&change),
            Request::ForgetRuns(serials) => Ok(self.forget_runs(serials)),
            Request::ForgetJobs(jobs) => Ok(self.forget_jobs(jobs)),
            Request::NoteForgotten(forgotten) => Ok(self.note_forgotten(forgotten)),
            Request::PutCalendar(calendar) => self.put_calendar(calendar),
            Request::RemoveCalendar(name) => self.remove_calendar(&name),
            Request::LimitClient(limit) => self.limit_client(&limit),
            Request::LabelClient(change) => self.label_client(&change),
            Request::Replay(replay) => self.replay(*replay, entropy),
            Request::CancelReplay(id) => self.cancel_replay(id),
            Request::ForgetReplays(ids) => Ok(self.forget_replays(ids)),
            question => self.answer(question),
        }
    }

    pub(super) fn store(&mut self, unit: Vec<Change>) {
        self.units.push(unit);
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn reply(&mut self, call: CallId, answer: Result<Reply, RequestError>) {
        self.effects.push(Effect::Reply { call, answer });
    }

    pub(super) fn notify(&mut self, what: What) {
        let (at, actor) = (self.now, self.actor.clone());
        self.effects.push(Effect::Notify(Arc::new(Event { at, actor, what })));
    }

    /// Tells of a change of an open run, or of one of its deliveries.
    pub(super) fn notify_run(&mut self, serial: Serial, change: &str, client: Option<ClientId>) {
        let job = self.runs.get(serial).and_then(|open| open.run.job.clone());
        self.notify(What::RunChanged { serial, job, change: change.into(), client });
    }

    /// Notes that a job's standing is to be stored, with a run if it belongs to one.
    pub(super) fn standing_changed(&mut self, id: JobId, run: Option<Serial>) {
        let last = self.standing.entry(id).or_default();
        // With the latest run: stored with an earlier one, it could tell of a firing that is not
        // stored yet.
        *last = run.max(*last);
    }

    /// The serial of a run that nobody scheduled: above every one given so far.
    pub(super) fn immediate_serial(&mut self, entropy: u128) -> Serial {
        let mut serial = Serial::from_parts(self.now, entropy).max(self.last_serial.next());
        if bug!(SerialReused) {
            serial = self.last_serial.next();
        }
        self.last_serial = serial;
        serial
    }

    /// Ends a delivery by the server's own decision, if it is open. Gives back the connection
    /// that it had been sent over.
    pub(super) fn end_delivery(
        &mut self,
        serial: Serial,
        no: ClientNo,
        outcome: Outcome,
    ) -> Option<SessionId> {
        self.remember_withdrawn(serial, no);
        self.record_end(serial, no, outcome)
    }

    /// Where a delivery stands; `None`: it is not open.
    pub(super) fn standing_of(&self, serial: Serial, no: ClientNo) -> Option<DeliveryState> {
        let run = self.runs.get(serial).filter(|run| run.open.contains(no.0))?;
        if run.accepted.contains(no.0) {
            return Some(DeliveryState::Accepted);
        }
        let sent = self.sent_over(serial, no).is_some();
        Some(if sent { DeliveryState::Sent } else { DeliveryState::Queued })
    }

    /// The connection over which a client has been sent a delivery, or has returned with it.
    pub(super) fn sent_over(&self, serial: Serial, no: ClientNo) -> Option<SessionId> {
        let session = self.registry.session(no)?;
        self.sessions.get(session)?.in_flight.contains(serial).then_some(session)
    }

    /// The one place where deliveries end, whoever ended them: records it, forgets it everywhere
    /// and tells. Does nothing if the delivery is not open, or may not end so. Gives back the
    /// connection that it had been sent over.
    pub(super) fn record_end(
        &mut self,
        serial: Serial,
        no: ClientNo,
        outcome: Outcome,
    ) -> Option<SessionId> {
        let (from, to) = (self.standing_of(serial, no)?, outcome.state);
        if !to.is_end() || !from.may_become(to) {
            tracing::error!(%serial, client = no.0, %from, %to, "no such end: a fault in fleetcron");
            debug_assert!(false, "a delivery that is {from} would become {to}");
            return None;
        }
        let run = self.runs.change(serial)?;
        let (attempt, retried) = (run.attempt(no), false);
        let (waited, bytes) = (!run.accepted.contains(no.0), run.bytes());
        let at = self.now;
        run.end(PageEntry { client: no, at, attempt, retried, outcome: outcome.clone() });
        let (job, command) = (run.run.job.clone(), run.run.command.name.clone());
        let (job_id, replay_of) = (run.run.job_id, run.run.replay_of);
        let ended = run.run.ended_at.map(|_| run.run.counts);
        self.deliveries_open -= 1;
        self.rollouts.ended(serial, no, outcome.state, job_id, ended.is_some());
        let traffic = self.registry.traffic(no)?;
        traffic.open -= 1;
        let session = traffic.session;
        let client = self.registry.get_mut(no)?;
        client.narrow.remove(&serial);
        if waited && session.is_none() {
            client.queue.leave(serial, bytes);
        }
        let id = client.record.id.clone();
        if let Some(job) = job_id {
            self.held.stir(job, serial, ended.is_some());
            self.replays.out_of_the_way(serial, no);
            // What a replay brings about tells nothing of how the job fares now.
            let own = ended.filter(|_| replay_of.is_none());
            self.ended.extend(own.map(|counts| EndedRun { job, serial, counts }));
        }
        if let Some(of) = replay_of {
            self.replay_went_on(of, serial, ended);
        }
        self.to_pump.extend(session);
        let sent = session.filter(|id| self.forget_sent(*id, serial));
        let outcome = glimpse(outcome);
        let response = Response { serial, client: id, at, attempt, retried, outcome };
        self.notify(What::DeliveryEnded { job: job.clone(), command, response });
        if let Some(counts) = ended {
            self.notify(What::RunEnded { serial, job, counts });
        }
        sent
    }

    /// Ends a delivery for the server's own reason, and asks its client to stop if it has it.
    pub(super) fn withdraw(
        &mut self,
        serial: Serial,
        no: ClientNo,
        state: DeliveryState,
        reason: &str,
    ) {
        if let Some(session) = self.end_delivery(serial, no, Outcome::ended(state, reason)) {
            self.effect(Effect::Cancel { session, serial });
        }
    }
}

/// An outcome as watchers see it. Many events may wait for a slow one, so a large result stays in
/// the store.
pub(super) fn glimpse(mut outcome: Outcome) -> Outcome {
    outcome.result = outcome.result.filter(|result| result.text().len() <= EVENT_RESULT);
    outcome.reason = outcome.reason.map(|reason| match reason.char_indices().nth(EVENT_REASON) {
        Some((end, _)) => reason[..end].to_owned(),
        None => reason,
    });
    outcome
}
