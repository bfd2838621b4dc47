//! Ledgers made under a seed, and what they must tell.

use std::collections::BTreeSet;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::super::*;
use super::read_all;
use crate::actor::Actor;
use crate::client_record::ClientRecord;
use crate::engine::{Change, EVENT_RESULT, PageEntry, What};
use crate::id::{ClientId, ClientNo, JobName, Serial};
use crate::run::{Cause, Counts, DeliveryState, LateAnswer, Outcome, Response, Run};
use crate::store::MemoryStore;
use crate::store::writer::{Commit, Writer};

/// Clients: more than one bucket of the index has.
pub(in crate::history) const CLIENTS: u32 = 70;

/// `SplitMix64`.
pub(in crate::history) struct Random(pub(in crate::history) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(in crate::history) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn client(&mut self) -> ClientNo {
        ClientNo(u32::try_from(self.below(CLIENTS.into())).unwrap())
    }
}

fn id(no: ClientNo) -> ClientId {
    format!("web-{}", no.0).parse().unwrap()
}

/// A ledger in the making, and what it must tell.
pub(in crate::history) struct World {
    pub(in crate::history) store: MemoryStore,
    writer: Writer,
    pub(in crate::history) random: Random,
    now: i64,
    /// Each with its next page.
    runs: Vec<(Run, u32)>,
    forgotten: BTreeSet<Serial>,
    told: Vec<(Actor, What)>,
    commit: Commit,
}

impl World {
    pub(in crate::history) fn new(seed: u64) -> Self {
        let store = MemoryStore::new();
        let writer = Writer::open(&store).unwrap();
        let mut world = Self {
            store,
            writer,
            random: Random(seed),
            now: 1_000_000,
            runs: Vec::new(),
            forgotten: BTreeSet::new(),
            told: Vec::new(),
            commit: Commit::default(),
        };
        for no in (0..CLIENTS).map(ClientNo) {
            let record: ClientRecord = serde_json::from_value(serde_json::json!({
                "no": no, "id": id(no), "defined_at": "2026-01-01T00:00:00Z",
            }))
            .unwrap();
            world.commit.units.push(vec![Change::PutClient(Arc::new(record))]);
        }
        world.write();
        world
    }

    /// Commits, each with some of everything.
    pub(in crate::history) fn go_on(&mut self, commits: u64) {
        for _ in 0..commits {
            for _ in 0..=self.random.below(5) {
                self.now += i64::try_from(self.random.below(20)).unwrap();
                match self.random.below(10) {
                    0..2 => self.start(),
                    2..6 => self.answer(),
                    6 if self.random.chance(10) => self.forget(),
                    _ => self.something(),
                }
            }
            self.write();
        }
    }

    fn write(&mut self) {
        let commit = std::mem::take(&mut self.commit);
        self.writer.write(&self.store, &commit).unwrap();
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    fn tell(&mut self, what: What) {
        let actor = match self.random.below(4) {
            0 => Actor::Library,
            1 => Actor::token("ci").unwrap(),
            // Some do much, to others as well.
            2 if self.random.chance(50) => Actor::Client(id(ClientNo(3))),
            2 => Actor::Client(id(self.random.client())),
            _ => Actor::Server,
        };
        self.told.push((actor.clone(), what.clone()));
        self.commit.events.push(Arc::new(Event { at: self.at(), actor, what }));
    }

    fn job(&mut self) -> Option<JobName> {
        let names = [None, Some("db/backup"), Some("sweep"), Some("rare")];
        let at = if self.random.chance(3) { 3 } else { self.random.below(3) };
        names[usize::try_from(at).unwrap()].map(|name| name.parse().unwrap())
    }

    fn start(&mut self) {
        let job = self.job();
        let serial = Serial::from_parts(self.at(), self.random.next().into());
        let run: Run = serde_json::from_value(serde_json::json!({
            "serial": serial, "job": job, "cause": "scheduled", "target": "all",
            "command": { "name": format!("work-{}", self.runs.len() % 3), "params": {} },
            "scheduled_at": self.at(), "fired_at": self.at(), "counts": {},
            "policy": { "retry": { "attempts": 3, "backoff": "1s" } },
        }))
        .unwrap();
        self.commit.units.push(vec![Change::PutRun(Arc::new(run.clone()))]);
        let command = run.command.name.clone();
        let (scheduled_at, cause) = (self.at(), Cause::Scheduled);
        let total = CLIENTS;
        self.tell(What::RunStarted { serial, job, command, cause, scheduled_at, total, away: 1 });
        self.runs.push((run, 0));
    }

    fn pick(&mut self) -> Option<usize> {
        let count = self.runs.len() as u64;
        (count > 0).then(|| usize::try_from(self.random.below(count)).unwrap())
    }

    /// A page of responses; rarely a large one.
    fn answer(&mut self) {
        let Some(at) = self.pick() else { return };
        if self.forgotten.contains(&self.runs[at].0.serial) {
            return;
        }
        let rows = if self.random.chance(5) { 300 } else { 1 + self.random.below(6) };
        let entries: Vec<PageEntry> = (0..rows).map(|_| self.entry()).collect();
        let (run, next_page) = &mut self.runs[at];
        let (serial, page) = (run.serial, *next_page);
        *next_page += 1;
        let run = run.clone();
        for entry in &entries {
            let what = ended(&run, entry);
            let PageEntry { client, outcome, .. } = entry;
            let answered = outcome.ran_ms.is_some()
                || matches!(outcome.state, DeliveryState::Succeeded | DeliveryState::Rejected);
            let actor = if answered { Actor::Client(id(*client)) } else { Actor::Server };
            self.told.push((actor, what));
        }
        let put = Change::PutPage { serial, page, entries };
        self.commit.units.push(vec![Change::PutRun(Arc::new(run)), put]);
    }

    fn entry(&mut self) -> PageEntry {
        let client = self.random.client();
        let code = if self.random.chance(80) { 3 } else { 3 + self.random.below(9) };
        let state = DeliveryState::from_code(u8::try_from(code).unwrap()).unwrap();
        let ran_ms = self.random.chance(30).then(|| self.random.below(5_000));
        let reason = self.random.chance(20).then(|| format!("Reason {}", self.random.below(50)));
        let result = match self.random.below(400) {
            0 => Some(format!("\"{}\"", "big".repeat(EVENT_RESULT))),
            1 => Some(format!("\"{}\"", "outside".repeat(8_000))),
            n if n < 200 => Some(format!("{{\"Free\":{n}}}")),
            _ => None,
        };
        let result = result.map(|text| text.parse().unwrap());
        let retried = self.random.chance(10);
        let attempt = if retried { 2 } else { 1 };
        let outcome = Outcome { state, reason, result, ran_ms };
        PageEntry { client, at: self.at(), attempt, retried, outcome }
    }

    fn forget(&mut self) {
        let Some(at) = self.pick() else { return };
        let serial = self.runs[at].0.serial;
        self.forgotten.insert(serial);
        self.commit.units.push(vec![Change::ForgetRun(serial)]);
    }

    fn something(&mut self) {
        let (no, text) = (self.random.client(), format!("Because {}", self.random.below(9)));
        let client = id(no);
        let run = self.pick().map(|at| self.runs[at].0.clone());
        let what = match (self.random.below(7), run) {
            (0, _) => What::Connected { client, queued: 3 },
            (1, _) => What::Disconnected { client, reason: text },
            (2, _) => What::Client { client, change: "added".into(), fields: Vec::new() },
            (3, Some(run)) => {
                let mut counts = Counts { total: CLIENTS, ..Counts::default() };
                counts.set(DeliveryState::Failed, 2);
                What::RunEnded { serial: run.serial, job: run.job, counts }
            }
            (4, Some(run)) => {
                let outcome = Outcome::ended(DeliveryState::Failed, text);
                let answer = LateAnswer { client, at: self.at(), attempt: 1, outcome };
                What::LateAnswer { serial: run.serial, answer }
            }
            (5, Some(run)) => {
                let (change, client) = ("cancelled".into(), Some(client));
                What::RunChanged { serial: run.serial, job: run.job, change, client }
            }
            _ => What::ClockJumped,
        };
        self.tell(what);
    }

    /// All events, read in one go.
    pub(in crate::history) fn all(&self) -> Vec<Recorded> {
        let query = EventQuery { order: EventOrder::Oldest, ..EventQuery::default() };
        read_all(&self.store, query, None, 1_000)
    }

    /// What must be told, in any order.
    pub(super) fn expected(&self) -> Vec<String> {
        let is_there = |what: &What| match what {
            What::DeliveryEnded { response, .. } | What::AttemptEnded { response, .. } => {
                !self.forgotten.contains(&response.serial)
            }
            _ => true,
        };
        let there = self.told.iter().filter(|(_, what)| is_there(what));
        let mut all: Vec<String> = there
            .map(|(actor, what)| format!("{actor} {}", serde_json::to_string(what).unwrap()))
            .collect();
        all.sort();
        all
    }

    /// A query of some of all filters, and the members of its group.
    pub(in crate::history) fn query(&mut self) -> (EventQuery, Option<RoaringBitmap>) {
        let mut query = EventQuery::default();
        let random = &mut self.random;
        let passed = u64::try_from(self.now - 1_000_000).unwrap();
        let mut moment = || {
            let within = i64::try_from(random.below(passed + 10)).unwrap();
            Timestamp::from_millis(1_000_000 + within)
        };
        let (a, b) = (moment(), moment());
        if self.random.chance(30) {
            query.from = Some(a);
        }
        if self.random.chance(30) {
            query.to = Some(b);
        }
        if self.random.chance(30) {
            query.job = self.job();
        }
        if self.random.chance(30) {
            query.client = Some(id(self.random.client()));
        }
        if self.random.chance(25) {
            query.serial = self.pick().map(|at| self.runs[at].0.serial);
        }
        if self.random.chance(30) {
            query.states = vec![DeliveryState::Failed, DeliveryState::Removed];
        }
        if self.random.chance(30) {
            let count = EventKind::ALL.len() as u64;
            let mut kind = || EventKind::ALL[usize::try_from(self.random.below(count)).unwrap()];
            query.kinds = vec![kind(), EventKind::DeliveryEnded, kind()];
        }
        if self.random.chance(20) {
            let actors =
                [Actor::Server, Actor::token("ci").unwrap(), Actor::Client(id(ClientNo(3)))];
            query.actor = Some(actors[usize::try_from(self.random.below(3)).unwrap()].clone());
        }
        if self.random.chance(20) {
            let texts = ["reason 1", "FREE", "outsideOUT", "because"];
            query.text = Some(texts[usize::try_from(self.random.below(4)).unwrap()].to_owned());
        }
        if self.random.chance(50) {
            query.order = EventOrder::Oldest;
        }
        let members: Option<RoaringBitmap> = self.random.chance(20).then(|| {
            let count = [2, 40][usize::try_from(self.random.below(2)).unwrap()];
            (0..count).map(|_| self.random.client().0).collect()
        });
        (query, members)
    }
}

fn ended(run: &Run, entry: &PageEntry) -> What {
    let PageEntry { client, at, attempt, retried, outcome } = entry;
    let (serial, client) = (run.serial, id(*client));
    let next_at = crate::engine::retry_at(&run.policy.retry, (serial, &client, *attempt), *at);
    let mut outcome = outcome.clone();
    outcome.result = outcome.result.filter(|result| result.text().len() <= EVENT_RESULT);
    let (attempt, retried) = (*attempt, *retried);
    let response = Response { serial, client, at: *at, attempt, retried, outcome };
    let (job, command) = (run.job.clone(), run.command.name.clone());
    if retried {
        What::AttemptEnded { job, command, response, next_at }
    } else {
        What::DeliveryEnded { job, command, response }
    }
}
