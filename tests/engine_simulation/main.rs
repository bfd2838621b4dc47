//! The engine under a seeded storm: clients come and go, commands run, the server crashes at any
//! point of a commit. Whatever happens, nothing that was acknowledged is lost, nothing is sent
//! again after it was, every delivery ends exactly once, and a job fires on no day that its
//! calendar closes.
//!
//! `FLEETCRON_SEED=123 cargo test --test engine_simulation` replays one seed.

#![expect(clippy::unwrap_used, reason = "a simulation fails by a panic that shows the error")]

mod checks;
mod people;
#[path = "../common/random.rs"]
mod random;
mod replays;
#[path = "../common/runs.rs"]
mod runs;
mod tally;
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetcron::engine::{
    Apply, CallId, CloseReason, Effect, Engine, Input, NewClient, NewReplay, Pause, Regroup, Reply,
    Request, SessionId, Snapshot, What,
};
use fleetcron::recording::{Found, Recorder, Restored};
use fleetcron::reenact::{self, Source};
use fleetcron::store::writer::{Commit, Writer};
use fleetcron::store::{MemoryStore, records};
use fleetcron::{
    Attempt, Calendar, CatchUp, Cause, ClientId, Counts, DeliveryState, JobName, JobSpec, Json,
    Membership, Offline, Outcome, Overlap, OverlapScope, Page, Proof, Replay, ReplayKind,
    ReplayTerms, Rule, Run, RunSelection, Serial, Submission, Target, Timestamp, history,
};
use people::{apply, jobs};
use random::Random;
use runs::all_runs;
use tally::Tally;

/// Clients of the fleet: more than a narrow run has.
const CLIENTS: usize = 70;

#[derive(Default)]
struct Client {
    session: Option<SessionId>,
    /// Taken, not answered.
    running: BTreeSet<Serial>,
    /// Answered, not acknowledged.
    unacked: BTreeMap<Serial, Outcome>,
    acked: BTreeSet<Serial>,
    /// Sent to it at least once, whether it arrived or not.
    sent: BTreeSet<Serial>,
}

struct World {
    random: Random,
    now: Timestamp,
    engine: Engine,
    store: MemoryStore,
    writer: Writer,
    recorder: Recorder,
    clients: BTreeMap<ClientId, Client>,
    sessions: BTreeMap<SessionId, ClientId>,
    next: u64,
    /// Acknowledged to their callers.
    runs: BTreeSet<Serial>,
    removed: BTreeSet<ClientId>,
    /// Since when the calendar closes the day of the simulation, and since when it does not.
    closed: Vec<(Timestamp, bool)>,
    tally: Tally,
}

fn client_id(n: usize) -> ClientId {
    ClientId::new(format!("c{n}")).unwrap()
}

fn new_client(n: usize) -> NewClient {
    let groups = n.is_multiple_of(10).then(|| "few".parse().unwrap()).into_iter().collect();
    NewClient { id: client_id(n), groups, token: None }
}

impl World {
    fn new(seed: u64) -> Self {
        let store = MemoryStore::new();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let (engine, writer, recorder) = start(&store, now);
        let clients = (0..CLIENTS).map(|n| (client_id(n), Client::default())).collect();
        let mut world = Self {
            random: Random(seed),
            now,
            engine,
            store,
            writer,
            recorder,
            clients,
            sessions: BTreeMap::new(),
            next: 0,
            runs: BTreeSet::new(),
            removed: BTreeSet::new(),
            closed: Vec::new(),
            tally: Tally::default(),
        };
        for n in 0..CLIENTS {
            world.call(Request::AddClient(new_client(n)));
        }
        world.call(apply(jobs()));
        world
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn call(&mut self, request: Request) {
        self.ask(request);
        self.commit();
    }

    fn ask(&mut self, request: Request) {
        let (call, entropy) = (CallId(self.number()), u128::from(self.random.next()));
        self.input(Input::Call { call, actor: fleetcron::Actor::Library, request, entropy });
    }

    fn input(&mut self, input: Input) {
        self.deadlines();
        self.feed(input);
    }

    fn feed(&mut self, input: Input) {
        self.recorder.input(self.now, &input);
        self.engine.handle(self.now, input);
    }

    fn deadlines(&mut self) {
        while self.engine.next_deadline().is_some_and(|at| at <= self.now) {
            self.recorder.deadline(self.now);
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
            let (mut commit, effects) = Commit::of(decision);
            if !commit.is_empty() {
                commit.inputs = self.recorder.take();
            }
            self.writer.write(&self.store, &commit).unwrap();
            for effect in effects {
                self.effect(effect);
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { answer: Ok(Reply::Run(run)), .. } => {
                self.runs.insert(run.serial);
            }
            Effect::Send { session, dispatch } => self.receive(session, dispatch.serial),
            Effect::Ack { session, attempt: Attempt { serial, .. } } => {
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
                    self.feed(Input::Responded { session, attempt: serial.into(), outcome });
                }
            }
            Effect::Close { session, reason } => {
                self.tally.displaced += usize::from(reason == CloseReason::Displaced);
                self.hang_up(session);
            }
            Effect::Reply { answer: Err(error), .. } => {
                let text = error.to_string();
                let known = [
                    "is not open",
                    "no job named",
                    "no client is named",
                    "no group of the client named",
                    "no group named",
                    "no calendar named",
                    "is used by 1 job: few/calendar",
                    "nothing is to run",
                    "of the same job is open",
                ];
                let expected = known.iter().any(|known| text.contains(known));
                assert!(expected, "unexpected refusal: {text}");
            }
            Effect::Notify(event) if matches!(event.what, What::Calendar { .. }) => {
                self.see_calendar();
            }
            Effect::Reply { .. } | Effect::Notify(_) => {}
        }
    }

    /// A command arrives at its client, unless the network fails at that moment.
    fn receive(&mut self, session: SessionId, serial: Serial) {
        let Some(id) = self.sessions.get(&session) else { return };
        let client = self.clients.get_mut(id).unwrap();
        assert!(!client.acked.contains(&serial), "{serial} sent to {id} after its ack");
        self.tally.sent_again += usize::from(!client.sent.insert(serial));
        if self.random.below(300) == 0 {
            self.hang_up(session);
            self.feed(Input::Disconnect { session, reason: "network".into() });
        } else if let Some(outcome) = client.unacked.get(&serial).cloned() {
            self.feed(Input::Responded { session, attempt: serial.into(), outcome });
        } else {
            client.running.insert(serial);
            self.feed(Input::Accepted { session, attempt: serial.into() });
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
        let taken = client
            .running
            .iter()
            .chain(client.unacked.keys())
            .copied()
            .map(Attempt::from)
            .collect();
        client.session = Some(session);
        let unacked = client.unacked.clone();
        self.sessions.insert(session, id.clone());
        let proof = Proof::Vouched;
        self.input(Input::Connect { call, session, client: id.clone(), proof, taken });
        for (serial, outcome) in unacked {
            self.input(Input::Responded { session, attempt: serial.into(), outcome });
        }
    }

    /// The server dies in the middle of a commit: a first part of its batches is durable. Some
    /// commits are made large enough to have several.
    fn crash(&mut self) {
        let many = if self.random.chance(60) { self.random.below(800) } else { 0 };
        for _ in 0..many {
            let id = client_id(self.random.below(CLIENTS));
            if !self.removed.contains(&id) {
                let submission = Submission::new(Target::One(id), "noop".parse().unwrap());
                self.ask(Request::Submit(submission));
            }
        }
        if self.random.chance(50) {
            let request = self.change();
            self.ask(request);
        }
        let (mut commit, _) = Commit::of(self.engine.take());
        commit.inputs = self.recorder.take();
        let durable = self.random.below(5);
        let parts = self.writer.write_parts(&self.store, &commit, durable).unwrap();
        self.tally.crashes += 1;
        self.tally.torn += usize::from(durable > 0 && durable < parts);
        if self.tally.crashes.is_multiple_of(3) {
            tools::is_sound(&self.store);
        }
        if self.tally.crashes == 6 {
            tools::comes_back(&self.store, self.now);
        }
        self.sessions.clear();
        for client in self.clients.values_mut() {
            client.session = None;
        }
        self.now = self.now.plus(Duration::from_millis(self.random.next() % 40_000));
        let snapshot = records::load(&self.store).unwrap();
        self.check_missed(&snapshot);
        self.tally.replays_cut += usize::from(!snapshot.replays.is_empty());
        let removed = snapshot.clients.iter().filter(|(record, _)| record.removed_at.is_some());
        self.removed = removed.map(|(record, _)| record.id.clone()).collect();
        drop(snapshot);
        (self.engine, self.writer, self.recorder) = start(&self.store, self.now);
        self.see_calendar();
    }

    /// Lets a client answer the oldest that it runs; tells whether there was one.
    fn answer_one(&mut self, id: &ClientId) -> bool {
        let client = self.clients.get_mut(id).unwrap();
        let Some(serial) = client.running.pop_first() else { return false };
        let outcome = match self.random.below(10) {
            0 => Outcome::ended(DeliveryState::Failed, "exit code 1"),
            1 => Outcome::ended(DeliveryState::Rejected, "no such command"),
            _ => Outcome::succeeded(Json::null()),
        };
        client.unacked.insert(serial, outcome.clone());
        if let Some(session) = client.session {
            self.input(Input::Responded { session, attempt: serial.into(), outcome });
        }
        true
    }

    fn step(&mut self) {
        let n = self.random.below(CLIENTS);
        let id = client_id(n);
        match self.random.below(100) {
            0..30 => _ = self.answer_one(&id),
            30..50 if self.removed.contains(&id) => {
                self.call(Request::AddClient(new_client(n)));
                self.removed.remove(&id);
            }
            30..50 => self.come_or_go(&id),
            50..62 => {
                self.now = self.now.plus(Duration::from_millis(self.random.next() % 3_000));
                self.deadlines();
            }
            62..74 => self.submit(&id),
            74..82 => {
                let request = self.change();
                if let Request::RemoveClient(id) = &request {
                    self.removed.insert(id.clone());
                }
                self.call(request);
            }
            82..84 if self.tally.crashes < 12 => self.crash(),
            _ => self.commit(),
        }
    }

    fn come_or_go(&mut self, id: &ClientId) {
        match self.clients[id].session {
            None => self.connect(id),
            Some(session) if self.random.chance(40) => {
                self.hang_up(session);
                self.input(Input::Disconnect { session, reason: "network".into() });
            }
            Some(_) if self.random.chance(20) => self.connect(id),
            Some(_) => _ = self.answer_one(id),
        }
    }

    /// Everybody comes back and answers until nobody has anything left.
    fn settle(&mut self) {
        self.call(apply(Vec::new()));
        for n in 0..CLIENTS {
            if self.removed.remove(&client_id(n)) {
                self.call(Request::AddClient(new_client(n)));
            }
        }
        loop {
            let mut busy = false;
            for id in (0..CLIENTS).map(client_id) {
                let away = self.clients[&id].session.is_none();
                if away {
                    self.connect(&id);
                }
                busy |= away | self.answer_one(&id);
            }
            self.commit();
            if !busy && !self.wait_for_replays() {
                return;
            }
        }
    }
}

/// A server's start on a store.
fn start(store: &MemoryStore, now: Timestamp) -> (Engine, Writer, Recorder) {
    let snapshot = records::load(store).unwrap();
    let how = Restored {
        found: Found::of(&snapshot),
        limits: fleetcron::engine::Limits::default(),
        labels: fleetcron::LabelTrust::default(),
        drain: fleetcron::engine::DRAIN,
    };
    let mut recorder = Recorder::default();
    recorder.restored(now, &how);
    let mut engine = how.engine(snapshot, now);
    let boot = Input::Boot { version: "1".into(), settings: BTreeMap::new() };
    recorder.input(now, &boot);
    engine.handle(now, boot);
    (engine, Writer::open(store).unwrap(), recorder)
}

/// The same decisions come out once more, every page of the ledger the same.
fn verify(store: &MemoryStore) -> reenact::Verified {
    let source = Source { store, base: None };
    let verified = reenact::verify(source, &mut |_| ()).unwrap();
    assert_eq!(verified.difference, None, "{verified:?}");
    assert!(verified.pages > 100 && verified.pages_missing == 0, "{verified:?}");
    verified
}

fn run(seed: u64) -> Tally {
    let mut world = World::new(seed);
    for _ in 0..2_500 {
        world.step();
    }
    world.settle();
    world.check();
    let verified = verify(&world.store);
    // A start of which nothing became durable is in no record.
    assert!((2..=1 + world.tally.crashes as u64).contains(&verified.starts), "{verified:?}");
    world.tally.cut_short += usize::try_from(verified.cut_short).unwrap();
    world.tally
}

#[test]
fn nothing_is_lost_and_nothing_happens_twice() {
    if let Ok(seed) = std::env::var("FLEETCRON_SEED") {
        run(seed.parse().expect("FLEETCRON_SEED is a number"));
        return;
    }
    let mut tally = Tally::default();
    for seed in 1..=6 {
        println!("FLEETCRON_SEED={seed}");
        tally.add(&run(seed));
    }
    tally.check();
}
