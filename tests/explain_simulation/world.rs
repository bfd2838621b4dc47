//! A fleet under a seeded storm, written to a store with its ledger; and what the test saw of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetcron::engine::{
    Apply, CallId, Decision, Effect, Engine, Input, NewClient, Pause, Request, SessionId, What,
};
use fleetcron::store::writer::{Commit, Writer};
use fleetcron::store::{MemoryStore, records};
use fleetcron::{
    Actor, Attempt, CatchUp, ClientId, DeliveryState, JobName, JobSpec, Json, Offline, Outcome,
    Overlap, OverlapScope, PauseTerms, Proof, Rule, Serial, Submission, Target, Timestamp,
};

use crate::random::Random;

/// Clients of the fleet.
pub(crate) const CLIENTS: usize = 6;

/// When the storm begins.
pub(crate) const BEGIN: Timestamp = Timestamp::from_millis(1_800_000_000_000);

#[derive(Default)]
struct Client {
    session: Option<SessionId>,
    /// Taken, not answered.
    running: BTreeSet<Attempt>,
    /// Answered, not acknowledged.
    unacked: BTreeMap<Attempt, Outcome>,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now: Timestamp,
    engine: Engine,
    pub(crate) store: MemoryStore,
    writer: Writer,
    clients: BTreeMap<ClientId, Client>,
    sessions: BTreeMap<SessionId, ClientId>,
    next: u64,
    /// How each delivery ended, as whoever watched was told.
    pub(crate) ends: BTreeMap<(Serial, ClientId), DeliveryState>,
    /// Ends of which nobody was told: the server crashed in the middle of their commit.
    pub(crate) torn: BTreeMap<(Serial, ClientId), DeliveryState>,
    pub(crate) cancelled: BTreeSet<Serial>,
    pub(crate) removed: BTreeSet<ClientId>,
    /// When a client was seen here (true) or away.
    pub(crate) seen: BTreeSet<(Timestamp, ClientId, bool)>,
    /// When a client came or went.
    pub(crate) moved: BTreeSet<(Timestamp, ClientId)>,
    pub(crate) downs: usize,
}

pub(crate) fn client_id(n: usize) -> ClientId {
    ClientId::new(format!("c{n}")).unwrap()
}

fn new_client(n: usize) -> NewClient {
    let groups = n.is_multiple_of(2).then(|| "even".parse().unwrap()).into_iter().collect();
    NewClient { id: client_id(n), groups, token: None }
}

/// The jobs, in one of two forms each: an apply of the other changes some rules.
pub(crate) fn jobs(form: usize) -> Vec<JobSpec> {
    use Offline::{Drop, Latest, Queue};
    let even = || Target::Group("even".parse().unwrap());
    let rules = [
        ("all/latest", [r#"{"every": "7s"}"#, r#"{"every": "9s"}"#]),
        ("even/all", [r#"{"every": "5s"}"#, r#"{"every": "5s"}"#]),
        ("even/skip", [r#"{"every": "11s"}"#, r#"{"cron": "*/13 * * * * *"}"#]),
        ("one/count", [r#"{"every": "6s", "count": 5}"#, r#"{"every": "4s", "count": 9}"#]),
        ("one/list", [r#"["now", {"every": "17s"}]"#, r#"["now", {"every": "17s"}]"#]),
        // The same in both: a moment that has fired and is written anew would fire again.
        ("one/at", [r#"{"at": "2027-01-15T08:01:00Z"}"#, r#"{"at": "2027-01-15T08:01:00Z"}"#]),
        ("even/fails", [r#"{"every": "8s"}"#, r#"{"every": "8s", "end": "2027-01-15T09:00:00Z"}"#]),
    ];
    let targets = [Target::All, even(), even(), Target::One(client_id(1)), Target::All];
    let policies = [
        (CatchUp::Latest, Latest, Overlap::Skip, OverlapScope::Client),
        (CatchUp::All, Queue, Overlap::Queue, OverlapScope::Client),
        (CatchUp::Skip, Drop, Overlap::Replace, OverlapScope::Client),
        (CatchUp::Latest, Queue, Overlap::Skip, OverlapScope::Job),
        (CatchUp::All, Queue, Overlap::Allow, OverlapScope::Client),
    ];
    let specs = rules.iter().enumerate().map(|(n, (name, forms))| {
        let rule: Rule = serde_json::from_str(forms[form % 2]).unwrap();
        let target = targets[n % targets.len()].clone();
        let mut spec = JobSpec::new(name.parse().unwrap(), target, "work".parse().unwrap(), rule);
        (spec.catch_up, spec.offline, spec.overlap, spec.overlap_scope) = policies[n % 5];
        if n % 3 == 1 {
            spec.expires_after = Some(Duration::from_secs(15));
        }
        if n == 6 {
            spec.retry = serde_json::from_str(r#"{"attempts": 2, "backoff": "1s"}"#).unwrap();
            spec.pause_on_failure = serde_json::from_str("2").unwrap();
        }
        // What changes a definition and not its rule.
        spec.description = Some(format!("form {}", form % 3));
        spec
    });
    specs.collect()
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let store = MemoryStore::new();
        let engine = Engine::restore(records::load(&store).unwrap(), BEGIN);
        let writer = Writer::open(&store).unwrap();
        let mut world = Self {
            random: Random(seed),
            now: BEGIN,
            engine,
            store,
            writer,
            clients: (0..CLIENTS).map(|n| (client_id(n), Client::default())).collect(),
            sessions: BTreeMap::new(),
            next: 0,
            ends: BTreeMap::new(),
            torn: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            removed: BTreeSet::new(),
            seen: BTreeSet::new(),
            moved: BTreeSet::new(),
            downs: 0,
        };
        world.boot();
        for n in 0..CLIENTS {
            world.call(Request::AddClient(new_client(n)));
        }
        world.call(apply(0));
        world
    }

    fn boot(&mut self) {
        let (version, settings) = ("1".to_owned(), BTreeMap::new());
        self.engine.handle(self.now, Input::Boot { version, settings });
        self.commit();
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn call(&mut self, request: Request) {
        let (call, entropy) = (CallId(self.number()), u128::from(self.random.next()));
        let actor = Actor::token("ops").unwrap();
        self.input(Input::Call { call, actor, request, entropy });
        self.commit();
    }

    fn input(&mut self, input: Input) {
        self.deadlines();
        self.engine.handle(self.now, input);
    }

    fn deadlines(&mut self) {
        while self.engine.next_deadline().is_some_and(|at| at <= self.now) {
            self.engine.handle_deadline(self.now);
        }
    }

    fn take(&mut self) -> (Commit, Vec<Effect>) {
        let Decision { units, effects, .. } = self.engine.take();
        let told = effects.iter().filter_map(|effect| match effect {
            Effect::Notify(event) if !is_end(&event.what) => Some(event.clone()),
            _ => None,
        });
        (Commit { events: told.collect(), units, ..Commit::default() }, effects)
    }

    pub(crate) fn commit(&mut self) {
        self.deadlines();
        loop {
            let (commit, effects) = self.take();
            if commit.is_empty() && effects.is_empty() {
                break;
            }
            self.writer.write(&self.store, &commit).unwrap();
            for effect in effects {
                self.effect(effect);
            }
        }
        for (id, client) in &self.clients {
            if !self.removed.contains(id) {
                self.seen.insert((self.now, id.clone(), client.session.is_some()));
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Send { session, dispatch } => {
                let attempt = Attempt { serial: dispatch.serial, number: dispatch.attempt };
                self.receive(session, attempt);
            }
            Effect::Ack { session, attempt } => {
                if let Some(id) = self.sessions.get(&session) {
                    self.clients.get_mut(id).unwrap().unacked.remove(&attempt);
                }
            }
            Effect::Cancel { session, serial } => self.stop(session, serial),
            Effect::Close { session, .. } => self.hang_up(session),
            Effect::Notify(event) => match &event.what {
                What::DeliveryEnded { response, .. } => {
                    let key = (response.serial, response.client.clone());
                    let before = self.ends.insert(key, response.outcome.state);
                    assert_eq!(before, None, "{response:?} ended twice");
                }
                What::RunChanged { serial, client: None, .. } => _ = self.cancelled.insert(*serial),
                What::Client { client, change, .. } if change == "removed" => {
                    self.removed.insert(client.clone());
                }
                _ => {}
            },
            Effect::Reply { .. } => {}
        }
    }

    fn receive(&mut self, session: SessionId, attempt: Attempt) {
        let Some(id) = self.sessions.get(&session) else { return };
        let client = self.clients.get_mut(id).unwrap();
        if let Some(outcome) = client.unacked.get(&attempt).cloned() {
            self.engine.handle(self.now, Input::Responded { session, attempt, outcome });
        } else {
            client.running.insert(attempt);
            self.engine.handle(self.now, Input::Accepted { session, attempt });
        }
    }

    fn stop(&mut self, session: SessionId, serial: Serial) {
        let Some(id) = self.sessions.get(&session) else { return };
        let client = self.clients.get_mut(id).unwrap();
        let Some(attempt) = client.running.iter().find(|it| it.serial == serial).copied() else {
            return;
        };
        client.running.remove(&attempt);
        let outcome = Outcome::ended(DeliveryState::Cancelled, "asked to stop");
        client.unacked.insert(attempt, outcome.clone());
        self.engine.handle(self.now, Input::Responded { session, attempt, outcome });
    }

    fn hang_up(&mut self, session: SessionId) {
        if let Some(id) = self.sessions.remove(&session) {
            self.moved.insert((self.now, id.clone()));
            let client = self.clients.get_mut(&id).unwrap();
            client.session = client.session.filter(|own| *own != session);
        }
    }

    fn connect(&mut self, id: &ClientId) {
        let (session, call) = (SessionId(self.number()), CallId(self.number()));
        let client = self.clients.get_mut(id).unwrap();
        let taken = client.running.iter().chain(client.unacked.keys()).copied().collect();
        client.session = Some(session);
        self.moved.insert((self.now, id.clone()));
        let unacked = client.unacked.clone();
        self.sessions.insert(session, id.clone());
        let (client, proof) = (id.clone(), Proof::Vouched);
        self.input(Input::Connect { call, session, client, proof, taken });
        for (attempt, outcome) in unacked {
            self.input(Input::Responded { session, attempt, outcome });
        }
    }

    fn answer_one(&mut self, id: &ClientId) {
        let client = self.clients.get_mut(id).unwrap();
        let Some(attempt) = client.running.pop_first() else { return };
        let outcome = match self.random.below(8) {
            0 => Outcome::ended(DeliveryState::Failed, "exit code 1"),
            1 => Outcome::ended(DeliveryState::Rejected, "no such command"),
            _ => Outcome::succeeded(Json::null()),
        };
        client.unacked.insert(attempt, outcome.clone());
        if let Some(session) = client.session {
            self.input(Input::Responded { session, attempt, outcome });
        }
    }

    /// The server ends: in order, or by a crash at any point of a commit; and starts later.
    fn go_down(&mut self) {
        let in_order = self.random.chance(30);
        if in_order {
            self.commit();
            self.engine.handle(self.now, Input::Stopping);
        } else {
            self.deadlines();
        }
        let (commit, effects) = self.take();
        let most = if in_order { usize::MAX } else { self.random.below(4) };
        self.writer.write_parts(&self.store, &commit, most).unwrap();
        for effect in effects {
            if let Effect::Notify(event) = effect
                && let What::DeliveryEnded { response, .. } = &event.what
            {
                let key = (response.serial, response.client.clone());
                self.torn.insert(key, response.outcome.state);
            }
        }
        self.downs += 1;
        self.sessions.clear();
        for client in self.clients.values_mut() {
            client.session = None;
        }
        self.writer = Writer::open(&self.store).unwrap();
        // What was seen after the last event falls into what is told as the downtime.
        let last = self.writer.head().last_at;
        self.seen.retain(|(at, ..)| *at < last);
        self.now = self.now.plus(Duration::from_millis(1 + self.random.next() % 50_000));
        let snapshot = records::load(&self.store).unwrap();
        let removed = snapshot.clients.iter().filter(|(record, _)| record.removed_at.is_some());
        self.removed = removed.map(|(record, _)| record.id.clone()).collect();
        self.engine = Engine::restore(snapshot, self.now);
        self.boot();
    }

    pub(crate) fn step(&mut self) {
        let n = self.random.below(CLIENTS);
        let id = client_id(n);
        match self.random.below(100) {
            0..45 => self.answer_one(&id),
            45..55 if self.removed.contains(&id) => {
                self.removed.remove(&id);
                self.call(Request::AddClient(new_client(n)));
            }
            45..55 => self.come_or_go(&id),
            55..82 => {
                self.now = self.now.plus(Duration::from_millis(self.random.next() % 2_500));
                self.deadlines();
            }
            82..92 => {
                let request = self.change(&id);
                self.call(request);
            }
            92..93 => self.go_down(),
            _ => self.commit(),
        }
    }

    fn come_or_go(&mut self, id: &ClientId) {
        match self.clients[id].session {
            Some(session) if self.random.chance(40) => {
                self.hang_up(session);
                self.input(Input::Disconnect { session, reason: "network".into() });
            }
            Some(_) if self.random.chance(80) => self.answer_one(id),
            _ => self.connect(id),
        }
    }

    /// Something that a person asks for.
    fn change(&mut self, id: &ClientId) -> Request {
        let names: Vec<JobName> = jobs(0).into_iter().map(|spec| spec.name).collect();
        let name = self.random.pick(&names).clone();
        match self.random.below(16) {
            0..3 => Request::TriggerJob(name),
            3 => Request::PauseJob(Pause::new(name)),
            4 => {
                let lasting = Some(Duration::from_secs(1 + self.random.next() % 40));
                let reason = Some("moving".to_owned());
                let terms = PauseTerms { reason, lasting, ..PauseTerms::default() };
                Request::PauseJob(Pause { job: name, terms })
            }
            5..7 => Request::ResumeJob(name),
            7 => Request::ResumeJobs(fleetcron::JobSelection::All),
            8 => self.ends.keys().next_back().map_or(Request::Status, |(serial, _)| {
                Request::CancelDelivery(*serial, id.clone())
            }),
            9 => Request::CancelJob(name),
            10 if self.random.chance(40) => Request::RemoveJob(name),
            11..14 => apply(self.random.below(6)),
            14 if self.random.chance(30) && !self.removed.contains(id) => {
                Request::RemoveClient(id.clone())
            }
            _ => Request::Submit(Submission::new(Target::All, "work".parse().unwrap())),
        }
    }
}

fn apply(form: usize) -> Request {
    Request::Apply(Apply { jobs: jobs(form), ..Apply::default() })
}

fn is_end(what: &What) -> bool {
    matches!(what, What::DeliveryEnded { .. } | What::AttemptEnded { .. })
}
