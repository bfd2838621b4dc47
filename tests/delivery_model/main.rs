//! Deliveries under every interleaving that a seed finds: sending, taking, answering, lost
//! connections, crashes of the server within a commit and of clients with and without a journal,
//! cancellations, timeouts, retries. A ledger of its own checks, step by step, that every delivery
//! ends once with a reason, that none is run twice where it must not be, that each client gets
//! them in order, and that limits hold.
//!
//! `FLEETCRON_SEED=123 cargo test --test delivery_model` replays one seed.

#![expect(clippy::unwrap_used, reason = "a simulation fails by a panic that shows the error")]

mod client;
mod ledger;
#[path = "../common/random.rs"]
mod random;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use client::{Client, ToClient, ToServer};
use fleetcron::engine::{
    CallId, CloseReason, Effect, Engine, Input, NewClient, Reply, Request, SessionId, What,
};
use fleetcron::store::{MemoryStore, records};
use fleetcron::{
    ClientId, DeliveryMode, DeliveryState, Priority, Proof, Retry, Serial, Submission, Timeout,
    Timestamp, history,
};
use ledger::Ledger;
use random::Random;

const CLIENTS: usize = 8;
const STEPS: usize = 2_500;

/// A connection: what is under way in both directions.
#[derive(Default)]
struct Link {
    client: usize,
    down: VecDeque<ToClient>,
    up: VecDeque<ToServer>,
}

struct World {
    random: Random,
    now: Timestamp,
    engine: Engine,
    store: MemoryStore,
    clients: Vec<Client>,
    links: BTreeMap<SessionId, Link>,
    ledger: Ledger,
    runs: Vec<Serial>,
    next: u64,
}

fn id(n: usize) -> ClientId {
    ClientId::new(format!("c{n}")).unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        let store = MemoryStore::new();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let mut world = Self {
            random: Random(seed),
            now,
            engine: Engine::restore(records::load(&store).unwrap(), now),
            store,
            clients: (0..CLIENTS).map(|n| Client::new(n % 2 == 0)).collect(),
            links: BTreeMap::new(),
            ledger: Ledger::default(),
            runs: Vec::new(),
            next: 0,
        };
        for n in 0..CLIENTS {
            let client = NewClient { id: id(n), groups: std::iter::empty().collect(), token: None };
            world.ask(Request::AddClient(client));
        }
        world.commit();
        world
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn ask(&mut self, request: Request) {
        let (call, entropy) = (CallId(self.number()), u128::from(self.random.next()));
        self.input(Input::Call { call, actor: fleetcron::Actor::Library, request, entropy });
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
        let decision = self.engine.take();
        records::write(&self.store, &decision.units).unwrap();
        for effect in decision.effects {
            self.effect(effect);
        }
        self.ledger.check_times(self.now);
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { answer: Ok(Reply::Run(run)), .. } => self.runs.push(run.serial),
            Effect::Reply { answer: Err(error), .. } => {
                let text = error.to_string();
                assert!(text.contains("open"), "unexpected refusal: {text}");
            }
            Effect::Send { session, dispatch } => {
                let Some(link) = self.links.get_mut(&session) else { return };
                let attempt =
                    fleetcron::Attempt { serial: dispatch.serial, number: dispatch.attempt };
                self.ledger.sent(session, &id(link.client), attempt, self.now);
                let limit_ms = dispatch.timeout.map(|limit| limit.as_millis().try_into().unwrap());
                link.down.push_back(ToClient::Command {
                    attempt,
                    limit_ms,
                    class: dispatch.priority,
                });
            }
            Effect::Ack { session, attempt } => self.down(session, ToClient::Ack(attempt)),
            Effect::Cancel { session, serial } => self.down(session, ToClient::Cancel(serial)),
            Effect::Close { session, reason } => {
                assert_eq!(reason, CloseReason::Displaced);
                self.links.remove(&session);
                self.ledger.hung_up(session);
            }
            Effect::Notify(event) => match &event.what {
                What::DeliveryEnded { response, .. } => {
                    let row = history::response(&self.store, response.serial, &response.client);
                    assert_eq!(row.unwrap().map(|row| row.at), Some(response.at), "told, not kept");
                    self.ledger.ended(response);
                }
                What::AttemptEnded { response, .. } => {
                    self.ledger.over(response.serial, &response.client);
                }
                _ => {}
            },
            Effect::Reply { .. } => {}
        }
    }

    fn down(&mut self, session: SessionId, frame: ToClient) {
        if let Some(link) = self.links.get_mut(&session) {
            link.down.push_back(frame);
        }
    }

    fn session_of(&self, n: usize) -> Option<SessionId> {
        self.links.iter().find(|(_, link)| link.client == n).map(|(session, _)| *session)
    }

    /// A client says something, if it has a connection.
    fn say(&mut self, n: usize, said: impl IntoIterator<Item = ToServer>) {
        let session = self.session_of(n);
        if let Some(link) = session.and_then(|session| self.links.get_mut(&session)) {
            link.up.extend(said);
        }
    }

    fn connect(&mut self, n: usize) {
        if let Some(old) = self.session_of(n) {
            self.links.remove(&old);
            self.ledger.hung_up(old);
        }
        let (session, call) = (SessionId(self.number()), CallId(self.number()));
        let client = &self.clients[n];
        let (taken, greeting) = (client.taken(), client.greeting());
        self.ledger.returned(&id(n), &taken);
        self.links.insert(session, Link { client: n, ..Link::default() });
        self.input(Input::Connect { call, session, client: id(n), proof: Proof::Vouched, taken });
        self.say(n, greeting);
        self.ledger.count("connects");
    }

    fn hang_up(&mut self, n: usize) {
        let Some(session) = self.session_of(n) else { return };
        self.links.remove(&session);
        self.ledger.hung_up(session);
        self.input(Input::Disconnect { session, reason: "the network failed".into() });
    }

    /// Frames of a connection arrive, some of them, in either direction.
    fn arrive(&mut self, n: usize) {
        let Some(session) = self.session_of(n) else { return };
        for _ in 0..self.random.below(6) {
            let link = self.links.get_mut(&session).unwrap();
            if let Some(frame) = link.down.pop_front() {
                let said = self.clients[n].take(&frame);
                self.say(n, said);
            }
        }
        for _ in 0..self.random.below(6) {
            let link = self.links.get_mut(&session).unwrap();
            let Some(frame) = link.up.pop_front() else { break };
            self.hear(session, n, frame);
        }
    }

    fn hear(&mut self, session: SessionId, n: usize, frame: ToServer) {
        let now = self.now;
        match frame {
            ToServer::Accepted(attempt) => {
                self.ledger.heard(session, attempt.serial, false);
                self.input(Input::Accepted { session, attempt });
            }
            ToServer::Started(attempt) => {
                self.input(Input::Started { session, attempt });
                // Of one that has ended meanwhile, or is not the attempt at hand, it means nothing.
                if self.clients[n].running.contains_key(&attempt.serial)
                    && self.is_at_hand(attempt, n)
                {
                    self.ledger.runs(attempt.serial, &id(n), now);
                }
            }
            ToServer::Responded(attempt, outcome) => {
                self.input(Input::Responded { session, attempt, outcome });
            }
        }
    }

    /// Whether the store has no end and no later attempt of it.
    fn is_at_hand(&self, attempt: fleetcron::Attempt, n: usize) -> bool {
        let page = history::responses(&self.store, attempt.serial, 0).unwrap();
        page.responses.iter().all(|row| row.client != id(n) || row.attempt < attempt.number)
            && self.engine.pending() == 0
    }

    fn submit(&mut self) {
        let target = match self.random.below(4) {
            0 => "all".to_owned(),
            _ => format!("client:{}", id(self.random.below(CLIENTS))),
        };
        let mut submission = Submission::new(target.parse().unwrap(), "work".parse().unwrap());
        let seconds = Duration::from_secs;
        match self.random.below(4) {
            0 => submission.delivery = DeliveryMode::AtMostOnce,
            1 | 2 => submission.retry = Retry::new(3, seconds(1), seconds(4)).unwrap(),
            _ => {}
        }
        let limit = self.random.chance(50).then(|| seconds(8));
        submission.timeout = Timeout::new(seconds(20), limit).unwrap();
        if self.random.chance(10) {
            submission.expires_after = Some(seconds(15));
        }
        submission.priority = *self.random.pick(&Priority::ALL);
        let policy = submission.policy();
        self.ask(Request::Submit(submission));
        // The policy is needed before the run's commands leave: its serial is in the reply.
        self.deadlines();
        let decision = self.engine.take();
        for effect in &decision.effects {
            if let Effect::Reply { answer: Ok(Reply::Run(run)), .. } = effect {
                // A cancelled run may be answered by the same decision.
                self.ledger.policies.entry(run.serial).or_insert(policy);
            }
        }
        records::write(&self.store, &decision.units).unwrap();
        for effect in decision.effects {
            self.effect(effect);
        }
    }

    fn cancel(&mut self) {
        if self.runs.is_empty() {
            return;
        }
        let serial = *self.random.pick(&self.runs);
        let one = self.random.below(CLIENTS);
        let (request, of) = match self.random.below(2) {
            0 => (Request::CancelRun(serial), 0..CLIENTS),
            _ => (Request::CancelDelivery(serial, id(one)), one..one + 1),
        };
        self.ask(request);
        self.commit();
        for n in of {
            self.ledger.cancelled(serial, &id(n));
        }
        self.ledger.count("cancels");
    }

    fn crash_client(&mut self, n: usize) {
        if !self.clients[n].journal {
            self.ledger.forgot(&id(n));
        }
        self.clients[n].crash();
        self.hang_up(n);
        self.ledger.count("client crashes");
    }

    fn crash_server(&mut self) {
        let mut units = self.engine.take().units;
        units.truncate(self.random.below(units.len() + 1));
        records::write(&self.store, &units).unwrap();
        self.links.clear();
        self.ledger.server_crashed();
        self.pass(20_000);
        self.engine = Engine::restore(records::load(&self.store).unwrap(), self.now);
    }

    /// Time passes, for the clients too.
    fn pass(&mut self, most: u64) {
        self.now = self.now.plus(Duration::from_millis(self.random.next() % most));
        for n in 0..CLIENTS {
            let said = self.clients[n].end_overdue(self.now);
            self.say(n, said);
        }
    }

    fn work(&mut self, n: usize) {
        let now = self.now;
        if self.random.chance(50) {
            if let Some((attempt, said)) = self.clients[n].begin(now) {
                self.ledger.begun(attempt, &id(n), self.clients[n].journal);
                self.say(n, said);
            }
        } else {
            let state = match self.random.below(8) {
                0 | 1 => DeliveryState::Failed,
                2 => DeliveryState::Rejected,
                _ => DeliveryState::Succeeded,
            };
            let said = self.clients[n].finish(state);
            self.say(n, said);
        }
    }

    fn step(&mut self) {
        let n = self.random.below(CLIENTS);
        match self.random.below(100) {
            0..25 => self.arrive(n),
            25..50 => self.work(n),
            50..60 => self.submit(),
            60..64 => self.cancel(),
            64..72 if self.session_of(n).is_none() => self.connect(n),
            64..66 => self.hang_up(n),
            66 => self.connect(n),
            72..74 => self.crash_client(n),
            74 => self.crash_server(),
            75..85 => {
                self.pass(3_000);
                self.commit();
            }
            _ => self.commit(),
        }
    }

    /// No more faults: everything comes to its end.
    fn settle(&mut self) {
        for _ in 0..400 {
            for n in 0..CLIENTS {
                if self.session_of(n).is_none() {
                    self.connect(n);
                }
                self.arrive(n);
                self.work(n);
            }
            self.pass(500);
            self.commit();
        }
        for n in 0..CLIENTS {
            assert!(self.clients[n].is_idle(), "{} has not ended", id(n));
        }
        let snapshot = records::load(&self.store).unwrap();
        assert!(snapshot.open_runs.is_empty(), "{} runs are open", snapshot.open_runs.len());
    }

    /// History has one end of each delivery, and every attempt before it.
    fn check_history(&self) {
        for serial in &self.runs {
            let run = history::run(&self.store, *serial).unwrap().unwrap();
            let mut rows: BTreeMap<ClientId, Vec<_>> = BTreeMap::new();
            let mut page = 0;
            loop {
                let part = history::responses(&self.store, *serial, page).unwrap();
                if part.responses.is_empty() {
                    break;
                }
                page = part.next_page;
                for row in part.responses {
                    rows.entry(row.client.clone()).or_default().push(row);
                }
            }
            assert_eq!(rows.len(), run.counts.total as usize, "{serial}");
            let all: usize = rows.values().map(Vec::len).sum();
            assert_eq!(all, (run.counts.total + run.counts.retried) as usize, "{serial}");
            for rows in rows.values() {
                let attempts: Vec<u32> = rows.iter().map(|row| row.attempt).collect();
                let counted: Vec<u32> = (1..=u32::try_from(rows.len()).unwrap()).collect();
                assert_eq!(attempts, counted, "{serial}: an attempt is missing or told twice");
                let (last, before) = rows.split_last().unwrap();
                assert!(!last.retried && before.iter().all(|row| row.retried), "{serial}");
            }
        }
    }
}

#[test]
fn deliveries_keep_their_promises() {
    let seeds = match std::env::var("FLEETCRON_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=60).collect::<Vec<u64>>(),
    };
    let mut sum: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in seeds.iter().copied() {
        println!("FLEETCRON_SEED={seed}");
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
        world.check_history();
        for (what, count) in world.ledger.tally {
            *sum.entry(what).or_default() += count;
        }
    }
    println!("{} seeds: {sum:?}", seeds.len());
    if seeds.len() > 1 {
        for what in [
            "succeeded",
            "failed",
            "rejected",
            "timed_out",
            "expired",
            "cancelled",
            "sent again",
            "overtakes",
            "attempts after the first",
            "server crashes",
            "client crashes",
        ] {
            assert!(sum.get(what).is_some_and(|count| *count > 20), "too few {what}: {sum:?}");
        }
    }
}
