//! What would have happened with other definitions of jobs.
//!
//! The inputs are told to the engine twice: once as they are, and once with the changed
//! definitions in the place of those that were applied. Both times clients answer as the record
//! tells (see [`super::clients`]), so that what differs comes of the definitions alone. Firings
//! by a rule are compared; what somebody triggers or submits is the same both times.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::clients::{Act, Answer, Clients, Known};
use super::difference::{Firing, FiringKey, Tally, WhatIf};
use super::inputs::Records;
use super::scratch::Scratch;
use super::{ReenactError, Source};
use crate::actor::Actor;
use crate::engine::{Apply, CallId, Effect, Engine, Input, Reply, Request, SessionId, What};
use crate::id::{ClientId, JobName, Serial};
use crate::recording::Told;
use crate::run::Attempt;
use crate::store::writer::Commit;
use crate::time::Timestamp;

/// Deliveries that are compared at once, at most.
pub const MAX_DELIVERIES: usize = 5_000_000;

/// Other definitions, and since when they hold.
#[derive(Debug, Clone, Default)]
pub struct Changed {
    /// The definitions. `prune` counts for nothing.
    pub apply: Apply,
    /// Since when; `None`: since the record begins. Before, all is as it was.
    pub since: Option<Timestamp>,
}

/// Tells what other definitions would have changed.
pub fn what_if(source: Source<'_>, changed: &Changed) -> Result<WhatIf, ReenactError> {
    let (mut known, names) = answers(source)?;
    let recorded = known.len() as u64;
    let (before, span) = Play::run(source, None, changed.since, &names, &mut known)?;
    let (after, _) = Play::run(source, Some(&changed.apply), changed.since, &names, &mut known)?;
    let mut what_if = WhatIf::between(&before, &after);
    what_if.answers_recorded = recorded;
    what_if.answers_given = before.answers.min(recorded);
    what_if.from = changed.since.or(span.map(|(from, _)| from));
    what_if.to = span.map(|(_, to)| to);
    Ok(what_if)
}

/// The answers that are recorded, and the names of the jobs that were applied.
fn answers(source: Source<'_>) -> Result<(Known, BTreeSet<JobName>), ReenactError> {
    let (mut known, mut names) = (Known::default(), BTreeSet::new());
    let mut sessions: BTreeMap<SessionId, ClientId> = BTreeMap::new();
    let mut taken: BTreeMap<(Attempt, SessionId), Timestamp> = BTreeMap::new();
    let mut records = Records::of(source)?;
    while let Some(record) = records.next()? {
        for moment in record.moments {
            let at = moment.at;
            match moment.told {
                Told::Restored(_) => {
                    sessions.clear();
                    taken.clear();
                }
                Told::Input(Input::Connect { session, client, .. }) => {
                    sessions.insert(session, client);
                }
                Told::Input(Input::Disconnect { session, .. }) => {
                    sessions.remove(&session);
                }
                Told::Input(Input::Accepted { session, attempt }) => {
                    taken.insert((attempt, session), at);
                }
                Told::Input(Input::Responded { session, attempt, outcome }) => {
                    let began = taken.remove(&(attempt, session)).unwrap_or(at);
                    let Some(client) = sessions.get(&session) else { continue };
                    let answer = Answer { after: at.since(began), outcome };
                    known.record(attempt, client.clone(), answer);
                    if known.len() > MAX_DELIVERIES {
                        return Err(ReenactError::TooMuch { most: MAX_DELIVERIES });
                    }
                }
                Told::Input(Input::Call { request: Request::Apply(apply), .. }) => {
                    names.extend(apply.jobs.into_iter().map(|spec| spec.name));
                }
                Told::Deadline | Told::Input(_) => {}
            }
        }
    }
    Ok((known, names))
}

/// The times of the first and the last input.
type Span = (Timestamp, Timestamp);

/// One re-enactment.
struct Play<'a> {
    engine: Option<Engine>,
    scratch: Scratch,
    clients: Clients,
    known: &'a mut Known,
    /// The definitions to put in the place of those that are recorded.
    apply: Option<&'a Apply>,
    since: Timestamp,
    /// The names of the jobs that the record applies.
    names: &'a BTreeSet<JobName>,
    /// Whether the changed definitions hold by now.
    holds: bool,
    /// Runs that are compared.
    firings: BTreeMap<Serial, FiringKey>,
    tally: Tally,
    span: Option<Span>,
}

impl<'a> Play<'a> {
    fn run(
        source: Source<'_>,
        apply: Option<&'a Apply>,
        since: Option<Timestamp>,
        names: &'a BTreeSet<JobName>,
        known: &'a mut Known,
    ) -> Result<(Tally, Option<Span>), ReenactError> {
        let mut play = Self {
            engine: None,
            scratch: Scratch::of(source.base)?,
            clients: Clients::default(),
            known,
            apply,
            since: since.unwrap_or(Timestamp::MIN),
            names,
            holds: false,
            firings: BTreeMap::new(),
            tally: Tally::default(),
            span: None,
        };
        let mut records = Records::of(source)?;
        while let Some(record) = records.next()? {
            for moment in record.moments {
                let (from, _) = play.span.unwrap_or((moment.at, moment.at));
                play.span = Some((from, moment.at));
                if !matches!(moment.told, Told::Restored(_)) {
                    play.pass(moment.at)?;
                }
                play.told(moment.at, moment.told)?;
            }
        }
        Ok((play.tally, play.span))
    }

    /// Lets happen what happens until a moment: deadlines, and the ends of commands.
    fn pass(&mut self, until: Timestamp) -> Result<(), ReenactError> {
        loop {
            let due = self.engine.as_ref().and_then(Engine::next_deadline);
            let ends = self.clients.next();
            let Some(at) = due.into_iter().chain(ends).min().filter(|at| *at <= until) else {
                return Ok(());
            };
            if ends == Some(at) {
                if let Some(act) = self.clients.end_next() {
                    self.act(at, act)?;
                }
            } else if let Some(engine) = &mut self.engine {
                engine.handle_deadline(at);
                self.settle(at)?;
            }
        }
    }

    fn told(&mut self, at: Timestamp, told: Told) -> Result<(), ReenactError> {
        match told {
            Told::Restored(how) => {
                self.clients.disconnect_all();
                self.engine = Some(self.scratch.restart_anyhow(&how, at)?);
                self.settle(at).map(drop)
            }
            // Its deadlines are its own.
            Told::Deadline => Ok(()),
            Told::Input(input) => {
                let boots = matches!(input, Input::Boot { .. });
                if !boots {
                    self.take_hold(at)?;
                }
                self.input(at, input)?;
                if boots { self.take_hold(at) } else { Ok(()) }
            }
        }
    }

    fn input(&mut self, at: Timestamp, input: Input) -> Result<(), ReenactError> {
        match input {
            // Clients answer to what is sent now.
            Input::Accepted { .. } | Input::Started { .. } | Input::Responded { .. } => Ok(()),
            Input::Connect { call, session, client, proof, .. } => {
                let taken = self.clients.connect(session, &client);
                self.handle(at, Input::Connect { call, session, client, proof, taken })?;
                for act in self.clients.overdue(session) {
                    self.act(at, act)?;
                }
                Ok(())
            }
            Input::Disconnect { session, reason } => {
                self.clients.disconnect(session);
                self.handle(at, Input::Disconnect { session, reason })
            }
            Input::Call { call, actor, request: Request::Apply(apply), entropy } => {
                let request = Request::Apply(self.replaced(apply));
                self.handle(at, Input::Call { call, actor, request, entropy })
            }
            other => self.handle(at, other),
        }
    }

    /// A recorded apply with the changed definitions in it, once they hold.
    fn replaced(&self, mut apply: Apply) -> Apply {
        let Some(changed) = self.apply.filter(|_| self.holds) else { return apply };
        for spec in &mut apply.jobs {
            if let Some(other) = changed.jobs.iter().find(|other| other.name == spec.name) {
                *spec = other.clone();
            }
        }
        for calendar in &mut apply.calendars {
            if let Some(other) = changed.calendars.iter().find(|it| it.name() == calendar.name()) {
                *calendar = other.clone();
            }
        }
        if apply.prune {
            // What the record never had it cannot mean to remove.
            let new = changed.jobs.iter().filter(|spec| !self.names.contains(&spec.name));
            apply.jobs.extend(new.cloned());
        }
        apply
    }

    /// Applies the changed definitions when their time has come: of jobs that are there, or that
    /// the record never has; those of others when the record defines them.
    fn take_hold(&mut self, at: Timestamp) -> Result<(), ReenactError> {
        let Some(changed) = self.apply.filter(|_| !self.holds && at >= self.since) else {
            return Ok(());
        };
        if self.engine.is_none() {
            return Ok(());
        }
        self.holds = true;
        let mut jobs = Vec::new();
        for spec in &changed.jobs {
            if !self.names.contains(&spec.name) || self.has_job(at, &spec.name) {
                jobs.push(spec.clone());
            }
        }
        let calendars = changed.calendars.clone();
        let apply = Apply { jobs, calendars, ..Apply::default() };
        let entropy = u128::from_be_bytes(Serial::from_parts(at, 1).to_bytes());
        let (call, actor) = (CallId(1), Actor::Library);
        let request = Request::Apply(apply);
        let refused = self.ask(at, Input::Call { call, actor, request, entropy })?;
        refused.map_or(Ok(()), |why| Err(ReenactError::Refused(why)))
    }

    fn has_job(&mut self, at: Timestamp, name: &JobName) -> bool {
        let Some(engine) = &mut self.engine else { return false };
        let request = Request::GetJob(name.clone());
        let (call, actor) = (CallId(1), Actor::Library);
        engine.handle(at, Input::Call { call, actor, request, entropy: 0 });
        let effects = engine.take().effects;
        effects.iter().any(|it| matches!(it, Effect::Reply { answer: Ok(Reply::Job(_)), .. }))
    }

    fn handle(&mut self, at: Timestamp, input: Input) -> Result<(), ReenactError> {
        self.ask(at, input).map(drop)
    }

    /// Tells the engine something; gives the refusal, if it is one.
    fn ask(&mut self, at: Timestamp, input: Input) -> Result<Option<String>, ReenactError> {
        if let Some(engine) = &mut self.engine {
            engine.handle(at, input);
        }
        self.settle(at)
    }

    fn act(&mut self, at: Timestamp, act: Act) -> Result<(), ReenactError> {
        self.handle(at, input_of(act))
    }

    /// Writes what was decided and lets clients do what follows, until nothing does.
    fn settle(&mut self, at: Timestamp) -> Result<Option<String>, ReenactError> {
        let mut refused = None;
        let mut acts = VecDeque::new();
        loop {
            let Some(engine) = &mut self.engine else { return Ok(refused) };
            let decision = engine.take();
            if !decision.is_empty() {
                let (commit, effects) = Commit::of(decision);
                self.scratch.write(&commit, usize::MAX)?;
                for effect in effects {
                    if let Effect::Reply { answer: Err(why), .. } = &effect {
                        refused = Some(why.to_string());
                    }
                    acts.extend(self.effect(at, effect)?);
                }
            }
            let Some(act) = acts.pop_front() else { return Ok(refused) };
            if let Some(engine) = &mut self.engine {
                engine.handle(at, input_of(act));
            }
        }
    }

    fn effect(&mut self, at: Timestamp, effect: Effect) -> Result<Option<Act>, ReenactError> {
        Ok(match effect {
            Effect::Send { session, dispatch } => {
                self.clients.receive(at, session, &dispatch, self.known)
            }
            Effect::Cancel { session, serial } => self.clients.cancel(session, serial),
            Effect::Ack { session, attempt } => {
                self.tally.answers += 1;
                self.clients.acknowledged(session, attempt);
                None
            }
            Effect::Close { session, .. } => {
                self.clients.disconnect(session);
                None
            }
            Effect::Notify(event) => {
                self.note(&event.what)?;
                None
            }
            Effect::Reply { .. } => None,
        })
    }

    fn note(&mut self, what: &What) -> Result<(), ReenactError> {
        match what {
            What::RunStarted { serial, job: Some(job), cause, scheduled_at, total, .. }
                if cause.is_by_rule() && *scheduled_at >= self.since =>
            {
                let firing = FiringKey { job: job.clone(), scheduled_at: *scheduled_at };
                self.firings.insert(*serial, firing.clone());
                let went = Firing { deliveries: *total };
                self.tally.firings.insert(firing, went);
            }
            What::DeliveryEnded { response, .. } => {
                if let Some(firing) = self.firings.get(&response.serial) {
                    let place = (firing.clone(), response.client.clone());
                    self.tally.ends.insert(place, response.outcome.state);
                }
            }
            What::RunEnded { serial, .. } => {
                self.firings.remove(serial);
            }
            _ => {}
        }
        if self.tally.ends.len() > MAX_DELIVERIES {
            return Err(ReenactError::TooMuch { most: MAX_DELIVERIES });
        }
        Ok(())
    }
}

fn input_of(act: Act) -> Input {
    match act {
        Act::Accept(session, attempt) => Input::Accepted { session, attempt },
        Act::Respond(session, attempt, outcome) => Input::Responded { session, attempt, outcome },
    }
}
