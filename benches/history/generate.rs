//! Makes a history: the real engine decides, the real writer commits, clients answer by chance.
//!
//! Four fifths of the events are of broadcasts to all clients, the rest of runs for one client;
//! one delivery in a hundred fails; a result has 40 bytes. One round is a second of the engine's
//! time. Inputs are not recorded beside the ledger.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fleetcron::engine::{
    Apply, CallId, Effect, Engine, Event, Input, NewClient, Reply, Request, SessionId,
};
use fleetcron::store::writer::{Commit, Writer};
use fleetcron::store::{Store, records};
use fleetcron::{
    Actor, Attempt, ClientId, DeliveryState, JobName, JobSpec, Outcome, Proof, Serial, Timestamp,
    What,
};
use serde_json::json;

/// Clients of the fleet.
pub(crate) const CLIENTS: usize = 1_000;

/// Groups, each of as many clients.
pub(crate) const GROUPS: usize = 20;

/// Jobs that reach all clients, and as many again that reach one each.
pub(crate) const JOBS: usize = 8;

/// Runs for one client in a round: with them a fifth of a round's events is theirs.
const UNICASTS: usize = 83;

/// Answers that come in with one commit.
const TOGETHER: usize = 250;

/// After so many rounds the rare job is triggered.
const RARE: u64 = 500;

/// A job that fires by its rule, every 10 seconds, for one client.
pub(crate) const STEADY: &str = "steady";

/// The first moment: the seconds that follow are the rounds.
pub(crate) const BEGIN: Timestamp = Timestamp::from_millis(1_780_000_000_000);

/// A history in the making.
pub(crate) struct Generator {
    store: Arc<dyn Store>,
    writer: Writer,
    engine: Engine,
    pub(crate) now: Timestamp,
    sessions: BTreeMap<SessionId, usize>,
    next_call: u64,
    random: u64,
    /// What the clients have got and not answered.
    sent: VecDeque<(SessionId, Attempt)>,
    /// Runs of all clients, and of one: each hundredth.
    pub(crate) broadcasts: Vec<Serial>,
    pub(crate) unicasts: Vec<Serial>,
    runs: u64,
}

/// The name of a client.
pub(crate) fn client(number: usize) -> ClientId {
    format!("c{number:04}").parse().unwrap()
}

/// The name of a job: of those for all, then of those for one.
pub(crate) fn job(number: usize) -> JobName {
    format!("job-{number}").parse().unwrap()
}

impl Generator {
    /// A fleet in a new store: its clients are defined and connected, its jobs are there.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let engine = Engine::restore(records::load(store.as_ref()).unwrap(), BEGIN);
        let writer = Writer::open(store.as_ref()).unwrap();
        let mut made = Self {
            store,
            writer,
            engine,
            now: BEGIN,
            sessions: BTreeMap::new(),
            next_call: 0,
            random: 7,
            sent: VecDeque::new(),
            broadcasts: Vec::new(),
            unicasts: Vec::new(),
            runs: 0,
        };
        for number in 0..CLIENTS {
            let groups = [format!("g{}", number % GROUPS).parse().unwrap()].into();
            made.ask(Request::AddClient(NewClient { id: client(number), groups, token: None }));
        }
        made.commit();
        for number in 0..CLIENTS {
            let (call, session) = (made.call(), SessionId(number as u64 + 1));
            made.sessions.insert(session, number);
            let (client, proof, taken) = (client(number), Proof::Vouched, Vec::new());
            made.input(Input::Connect { call, session, client, proof, taken });
        }
        made.commit();
        let jobs = (0..2 * JOBS).map(spec).chain([rare(), steady()]).collect();
        made.ask(Request::Apply(Apply { jobs, ..Apply::default() }));
        made.commit();
        made
    }

    /// Events so far.
    pub(crate) fn events(&self) -> u64 {
        self.writer.head().next_event - 1
    }

    /// Goes on until there are as many events; tells now and then how many there are.
    pub(crate) fn run(&mut self, events: u64, mut told: impl FnMut(u64)) {
        let mut round = 0_u64;
        while self.events() < events {
            self.round(round);
            round += 1;
            if round.is_multiple_of(200) {
                told(self.events());
            }
        }
    }

    fn round(&mut self, round: u64) {
        self.now = self.now.plus(std::time::Duration::from_secs(1));
        let of = usize::try_from(round).unwrap() % JOBS;
        self.ask(Request::TriggerJob(job(of)));
        if round.is_multiple_of(RARE) {
            self.ask(Request::TriggerJob("rare".parse().unwrap()));
        }
        for n in 0..UNICASTS {
            if n % 10 == 0 {
                self.ask(Request::TriggerJob(job(JOBS + (of + n) % JOBS)));
            } else {
                let to = self.below(CLIENTS as u64);
                let submission = json!({
                    "target": format!("client:c{to:04}"), "command": "check",
                    "params": { "n": n },
                });
                self.ask(Request::Submit(serde_json::from_value(submission).unwrap()));
            }
        }
        self.commit();
        while !self.sent.is_empty() {
            for _ in 0..TOGETHER.min(self.sent.len()) {
                // As many as there are.
                let (session, attempt) = self.sent.pop_front().unwrap();
                let outcome = self.outcome();
                self.input(Input::Responded { session, attempt, outcome });
            }
            self.commit();
        }
    }

    fn outcome(&mut self) -> Outcome {
        let ran_ms = Some(self.below(2_000));
        if self.below(100) == 0 {
            let (state, reason) = (DeliveryState::Failed, Some("exit status 1".to_owned()));
            return Outcome { state, reason, result: None, ran_ms };
        }
        let text = format!("\"checked {:030}\"", self.below(1 << 60));
        let result = Some(text.parse().unwrap());
        Outcome { state: DeliveryState::Succeeded, reason: None, result, ran_ms }
    }

    fn call(&mut self) -> CallId {
        self.next_call += 1;
        CallId(self.next_call)
    }

    fn ask(&mut self, request: Request) {
        let (call, entropy) = (self.call(), u128::from(self.below(u64::MAX)));
        self.input(Input::Call { call, actor: Actor::token("bench").unwrap(), request, entropy });
    }

    fn input(&mut self, input: Input) {
        while self.engine.next_deadline().is_some_and(|at| at <= self.now) {
            self.engine.handle_deadline(self.now);
        }
        self.engine.handle(self.now, input);
    }

    /// Writes what was decided, then does what the node does after it.
    fn commit(&mut self) {
        let decision = self.engine.take();
        let events = decision.effects.iter().filter_map(|effect| match effect {
            Effect::Notify(event) if !is_row(event) => Some(Arc::clone(event)),
            _ => None,
        });
        let (events, units) = (events.collect(), decision.units);
        let commit = Commit { units, events, ..Commit::default() };
        self.writer.write(self.store.as_ref(), &commit).unwrap();
        for effect in decision.effects {
            match effect {
                Effect::Send { session, dispatch } => {
                    let attempt = Attempt { serial: dispatch.serial, number: dispatch.attempt };
                    self.sent.push_back((session, attempt));
                }
                Effect::Reply { answer: Ok(Reply::Run(run)), .. } => {
                    self.runs += 1;
                    if run.counts.total > 1 {
                        self.broadcasts.push(run.serial);
                    } else if self.runs.is_multiple_of(100) {
                        self.unicasts.push(run.serial);
                    }
                }
                Effect::Reply { answer: Err(error), .. } => panic!("{error}"),
                _ => {}
            }
        }
    }

    /// `SplitMix64`.
    fn below(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Whether an event is in the ledger by the page of responses that has it.
fn is_row(event: &Event) -> bool {
    matches!(event.what, What::DeliveryEnded { .. } | What::AttemptEnded { .. })
}

fn spec(number: usize) -> JobSpec {
    let target = match number.checked_sub(JOBS) {
        None => "all".to_owned(),
        Some(n) => format!("client:{}", client(n * 100)),
    };
    of_name(job(number).as_str(), &target)
}

fn rare() -> JobSpec {
    of_name("rare", "client:c0500")
}

fn steady() -> JobSpec {
    with_rule(STEADY, "client:c0007", &json!({ "every": "10s" }))
}

fn of_name(name: &str, target: &str) -> JobSpec {
    with_rule(name, target, &json!({ "at": "2099-01-01T00:00:00Z" }))
}

fn with_rule(name: &str, target: &str, rule: &serde_json::Value) -> JobSpec {
    let job = json!({
        "name": name, "target": target, "command": "work", "overlap": "allow", "rule": rule,
    });
    serde_json::from_value(job).unwrap()
}
