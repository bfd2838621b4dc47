//! The engine under a seeded storm: clients come and go, commands run, the server crashes at any
//! point of a commit. Whatever happens, nothing that was acknowledged is lost, nothing is sent
//! again after it was, and every delivery ends exactly once.
//!
//! `FLEETCRON_SEED=123 cargo test --test engine_simulation` replays one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetcron::engine::{
    Apply, CallId, Effect, Engine, Input, NewClient, Reply, Request, SessionId,
};
use fleetcron::store::{MemoryStore, records};
use fleetcron::{
    CatchUp, ClientId, DeliveryState, JobSpec, Json, Outcome, Proof, Rule, Run, Serial, Submission,
    Target, Timestamp, history,
};

/// SplitMix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

#[derive(Default)]
struct Client {
    session: Option<SessionId>,
    /// Taken, not answered.
    running: BTreeSet<Serial>,
    /// Answered, not acknowledged.
    unacked: BTreeMap<Serial, Outcome>,
    acked: BTreeSet<Serial>,
}

struct World {
    random: Random,
    now: Timestamp,
    engine: Engine,
    store: MemoryStore,
    clients: BTreeMap<ClientId, Client>,
    sessions: BTreeMap<SessionId, ClientId>,
    next: u64,
    runs: BTreeSet<Serial>,
    crashes: usize,
}

fn client_id(n: usize) -> ClientId {
    ClientId::new(format!("c{n}")).unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        let store = MemoryStore::new();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let engine = Engine::restore(records::load(&store).unwrap(), now);
        let clients = (0..70).map(|n| (client_id(n), Client::default())).collect();
        let mut world = Self {
            random: Random(seed),
            now,
            engine,
            store,
            clients,
            sessions: BTreeMap::new(),
            next: 0,
            runs: BTreeSet::new(),
            crashes: 0,
        };
        for n in 0..70 {
            let groups = (n % 10 == 0).then(|| "few".parse().unwrap()).into_iter().collect();
            let new = NewClient { id: client_id(n), groups, token: None };
            world.call(Request::AddClient(new));
        }
        world.call(Request::Apply(Apply { jobs: jobs(), prune: true, dry_run: false }));
        world
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn call(&mut self, request: Request) {
        let (call, entropy) = (CallId(self.number()), u128::from(self.random.next()));
        self.input(Input::Call { call, request, entropy });
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

    fn commit(&mut self) {
        self.deadlines();
        loop {
            let decision = self.engine.take();
            if decision.is_empty() {
                return;
            }
            records::write(&self.store, &decision.units).unwrap();
            for effect in decision.effects {
                self.effect(effect);
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { answer: Ok(Reply::Run(run)), .. } => {
                self.runs.insert(run.serial);
            }
            Effect::Send { session, dispatch } => {
                let Some(id) = self.sessions.get(&session) else { return };
                let client = self.clients.get_mut(id).unwrap();
                let serial = dispatch.serial;
                assert!(!client.acked.contains(&serial), "{serial} sent to {id} after its ack");
                if let Some(outcome) = client.unacked.get(&serial).cloned() {
                    self.engine.handle(self.now, Input::Responded { session, serial, outcome });
                } else {
                    client.running.insert(serial);
                    self.engine.handle(self.now, Input::Accepted { session, serial });
                }
            }
            Effect::Ack { session, serial } => {
                let Some(id) = self.sessions.get(&session) else { return };
                let client = self.clients.get_mut(id).unwrap();
                client.unacked.remove(&serial);
                client.acked.insert(serial);
                let response = history::response(&self.store, serial, id).unwrap();
                assert!(response.is_some(), "{serial} of {id} acknowledged, not recorded");
            }
            Effect::Cancel { session, serial } => {
                let Some(id) = self.sessions.get(&session) else { return };
                let client = self.clients.get_mut(id).unwrap();
                if client.running.remove(&serial) {
                    let outcome = Outcome::ended(DeliveryState::Cancelled, "asked to stop");
                    client.unacked.insert(serial, outcome.clone());
                    self.engine.handle(self.now, Input::Responded { session, serial, outcome });
                }
            }
            Effect::Close { session, .. } => self.hang_up(session),
            Effect::Reply { answer: Err(error), .. } => {
                let text = error.to_string();
                assert!(text.contains("is not open"), "unexpected refusal: {text}");
            }
            Effect::Reply { .. } | Effect::Notify(_) => {}
        }
    }

    fn hang_up(&mut self, session: SessionId) {
        if let Some(id) = self.sessions.remove(&session) {
            let client = self.clients.get_mut(&id).unwrap();
            if client.session == Some(session) {
                client.session = None;
            }
        }
    }

    fn connect(&mut self, id: &ClientId) {
        let (session, call) = (SessionId(self.number()), CallId(self.number()));
        let client = self.clients.get_mut(id).unwrap();
        let taken = client.running.iter().chain(client.unacked.keys()).copied().collect();
        client.session = Some(session);
        let unacked = client.unacked.clone();
        self.sessions.insert(session, id.clone());
        let proof = Proof::Vouched;
        self.input(Input::Connect { call, session, client: id.clone(), proof, taken });
        for (serial, outcome) in unacked {
            self.input(Input::Responded { session, serial, outcome });
        }
    }

    /// The server dies in the middle of a commit: a first part of its units is durable.
    fn crash(&mut self) {
        self.crashes += 1;
        let mut units = self.engine.take().units;
        let durable = self.random.below(units.len() + 1);
        units.truncate(durable);
        records::write(&self.store, &units).unwrap();
        self.sessions.clear();
        for client in self.clients.values_mut() {
            client.session = None;
        }
        self.now = self.now.plus(Duration::from_millis(self.random.next() % 40_000));
        self.engine = Engine::restore(records::load(&self.store).unwrap(), self.now);
    }

    fn answer_one(&mut self, id: &ClientId) {
        let client = self.clients.get_mut(id).unwrap();
        let Some(serial) = client.running.pop_first() else { return };
        let outcome = Outcome::succeeded(Json::null());
        client.unacked.insert(serial, outcome.clone());
        if let Some(session) = client.session {
            self.input(Input::Responded { session, serial, outcome });
        }
    }

    fn step(&mut self) {
        let id = client_id(self.random.below(70));
        match self.random.below(100) {
            0..30 => self.answer_one(&id),
            30..50 => match self.clients[&id].session {
                None => self.connect(&id),
                Some(session) if self.random.chance(40) => {
                    self.hang_up(session);
                    self.input(Input::Disconnect { session, reason: "network".into() });
                }
                Some(_) if self.random.chance(20) => self.connect(&id),
                Some(_) => self.answer_one(&id),
            },
            50..62 => {
                self.now = self.now.plus(Duration::from_millis(self.random.next() % 3_000));
                self.deadlines();
            }
            62..74 => self.submit(&id),
            74..77 => {
                let name = if self.random.chance(50) { "all/latest" } else { "few/all" };
                self.call(Request::TriggerJob(name.parse().unwrap()));
            }
            77..80 => {
                let request = if self.random.chance(50) {
                    Request::PauseJob("few/latest".parse().unwrap())
                } else {
                    Request::ResumeJob("few/latest".parse().unwrap())
                };
                self.call(request);
            }
            80..82 => {
                let serial = self.runs.iter().nth(self.random.below(self.runs.len().max(1)));
                if let Some(serial) = serial.copied() {
                    self.call(Request::CancelRun(serial));
                }
            }
            82..84 if self.crashes < 12 => self.crash(),
            _ => self.commit(),
        }
    }

    fn submit(&mut self, id: &ClientId) {
        let target = match self.random.below(3) {
            0 => Target::All,
            1 => Target::Group("few".parse().unwrap()),
            _ => Target::One(id.clone()),
        };
        let mut submission = Submission::new(target, "noop".parse().unwrap());
        if self.random.chance(30) {
            submission.expires_after = Some(Duration::from_secs(20));
        }
        self.call(Request::Submit(submission));
    }

    /// Everybody comes back and answers until nothing is open.
    fn settle(&mut self) {
        self.call(Request::Apply(Apply { jobs: Vec::new(), prune: true, dry_run: false }));
        for n in 0..70 {
            let id = client_id(n);
            if self.clients[&id].session.is_none() {
                self.connect(&id);
            }
        }
        self.commit();
        for _ in 0..1_000 {
            for n in 0..70 {
                self.answer_one(&client_id(n));
            }
            self.commit();
        }
    }

    fn check(&self) {
        let mut after = None;
        let mut runs: Vec<Run> = Vec::new();
        loop {
            let query = history::RunQuery { before: after, limit: 1_000, ..Default::default() };
            let page = history::runs(&self.store, &query).unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.serial);
            runs.extend(page);
        }
        assert!(runs.len() > 20, "the storm made only {} runs", runs.len());
        for run in &runs {
            assert!(run.ended_at.is_some(), "run {} has not ended: {:?}", run.serial, run.counts);
            assert_eq!(run.counts.open(), 0, "run {}", run.serial);
            let mut seen = BTreeSet::new();
            let mut page = 0;
            loop {
                let part = history::responses(&self.store, run.serial, page).unwrap();
                if part.responses.is_empty() {
                    break;
                }
                page = part.next_page;
                for response in part.responses {
                    let again = !seen.insert(response.client.clone());
                    assert!(!again, "{} answered twice by {}", run.serial, response.client);
                }
            }
            assert_eq!(seen.len(), run.counts.total as usize, "run {}", run.serial);
        }
        let left = records::load(&self.store).unwrap();
        assert!(left.open_runs.is_empty());
    }
}

fn jobs() -> Vec<JobSpec> {
    let job = |name: &str, target: Target, seconds: u64, catch_up: CatchUp, offline| {
        let rule = Rule::every(Duration::from_secs(seconds)).unwrap();
        let mut spec = JobSpec::new(name.parse().unwrap(), target, "noop".parse().unwrap(), rule);
        spec.catch_up = catch_up;
        spec.offline = offline;
        spec
    };
    use fleetcron::Offline::{Drop, Latest, Queue};
    let few = || Target::Group("few".parse().unwrap());
    vec![
        job("all/latest", Target::All, 7, CatchUp::Latest, Latest),
        job("few/all", few(), 3, CatchUp::All, Queue),
        job("few/latest", few(), 5, CatchUp::Latest, Latest),
        job("few/drop", few(), 5, CatchUp::Skip, Drop),
    ]
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..2_500 {
        world.step();
    }
    world.settle();
    world.check();
}

#[test]
fn nothing_is_lost_and_nothing_happens_twice() {
    if let Ok(seed) = std::env::var("FLEETCRON_SEED") {
        return run(seed.parse().expect("FLEETCRON_SEED is a number"));
    }
    for seed in 1..=12 {
        println!("FLEETCRON_SEED={seed}");
        run(seed);
    }
}
