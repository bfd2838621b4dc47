//! The engine under a seeded storm: clients come and go, commands run, the server crashes at any
//! point of a commit. Whatever happens, nothing that was acknowledged is lost, nothing is sent
//! again after it was, every delivery ends exactly once, and a job fires on no day that its
//! calendar closes.
//!
//! `FLEETCRON_SEED=123 cargo test --test engine_simulation` replays one seed.

#![expect(clippy::unwrap_used, reason = "a simulation fails by a panic that shows the error")]

#[path = "../common/random.rs"]
mod random;
mod replays;
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
use random::Random;
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

    /// Notes since when the calendar that is stored closes the day.
    fn see_calendar(&mut self) {
        let stored = records::load(&self.store).unwrap().calendars;
        let Some(record) = stored.first() else { return };
        let closed = !record.spec.days().weekdays().is_empty();
        // Several changes may come at one moment; the last of them counts.
        let now = (record.updated_at, closed);
        if self.closed.last() != Some(&now) {
            self.closed.push(now);
            self.tally.calendar_changes += 1;
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

    /// Something that a person asks for.
    fn change(&mut self) -> Request {
        let job = self.random.below(jobs().len());
        let job = jobs().swap_remove(job).name;
        match self.random.below(24) {
            0..4 => Request::TriggerJob(job),
            4 => Request::PauseJob(Pause::new(job)),
            5 => Request::ResumeJob(job),
            6 => {
                let n = self.random.below(self.runs.len().max(1));
                let serial = self.runs.iter().rev().nth(n / 4);
                serial.map_or(Request::Status, |serial| Request::CancelRun(*serial))
            }
            7 => Request::RemoveJob(job),
            8 => apply(jobs()),
            10..13 => Request::PutCalendar(calendar(self.random.chance(50))),
            13 => Request::RemoveCalendar("closed".parse().unwrap()),
            14..18 => self.regroup(),
            18..20 => self.run_again(),
            20..22 => self.backfill(&job),
            22 => self.cancel_replay(),
            _ => {
                let id = client_id(self.random.below(CLIENTS));
                if self.removed.contains(&id) { Request::Status } else { Request::RemoveClient(id) }
            }
        }
    }

    /// Puts a client into the group or takes it out.
    fn regroup(&mut self) -> Request {
        let id = client_id(self.random.below(CLIENTS));
        if self.removed.contains(&id) {
            return Request::Status;
        }
        let mut sides = [BTreeSet::new(), BTreeSet::from(["few".parse().unwrap()])];
        if self.random.chance(25) {
            sides.reverse();
        }
        let [add, remove] = sides;
        Request::GroupClient(Regroup { id, add, remove })
    }

    fn submit(&mut self, id: &ClientId) {
        let target = match self.random.below(4) {
            3 => "group:few or 30% of not group:few".parse().unwrap(),
            0 => Target::All,
            1 => Target::Group("few".parse().unwrap()),
            _ if self.removed.contains(id) => return,
            _ => Target::One(id.clone()),
        };
        let mut submission = Submission::new(target, "noop".parse().unwrap());
        if self.random.chance(30) {
            submission.expires_after = Some(Duration::from_secs(20));
        }
        if self.random.chance(10) {
            submission.offline = Offline::Drop;
        }
        if self.random.chance(40) {
            submission.membership = Membership::Open;
        }
        self.call(Request::Submit(submission));
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

    fn check(&mut self) {
        let runs = all_runs(&self.store);
        assert!(runs.len() > 20, "the storm made only {} runs", runs.len());
        let stored: BTreeSet<Serial> = runs.iter().map(|run| run.serial).collect();
        let lost: Vec<_> = self.runs.difference(&stored).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        for run in &runs {
            assert!(run.ended_at.is_some(), "run {} has not ended: {:?}", run.serial, run.counts);
            self.check_calendar(run);
            let counts = self.check_responses(run);
            assert_eq!(run.counts, counts, "run {}", run.serial);
        }
        tools::is_sound(&self.store);
        let snapshot = records::load(&self.store).unwrap();
        assert!(snapshot.open_runs.is_empty());
        self.check_missed(&snapshot);
        self.check_replays(&runs);
    }

    /// What is counted as missed is the sum of the rows, and no row is left out.
    fn check_missed(&mut self, snapshot: &Snapshot) {
        for (job, state) in &snapshot.jobs {
            let query = history::PastQuery { limit: history::MAX_PAST, ..Default::default() };
            let name = &job.spec.name;
            let mut rows = history::missed(&self.store, name, Some(job.id), &query).unwrap();
            // Earlier jobs of the name, removed since, have rows of their own.
            rows.retain(|row| row.job == job.id);
            let sum: u64 = rows.iter().map(|row| row.count).sum();
            let (total, last) =
                state.missed.as_ref().map_or((0, 0), |missed| (missed.total, missed.row));
            assert!(last < fleetcron::MISSED_KEPT, "not all rows of {name} are kept");
            assert_eq!(sum, total, "{name}: {rows:?}");
            let numbers: Vec<u64> = rows.iter().map(|row| row.no).collect();
            assert_eq!(numbers, (1..=last).rev().collect::<Vec<_>>(), "{name}");
            self.tally.rows = self.tally.rows.max(rows.len());
        }
    }

    /// What a rule fires by itself, it does on a day that was open by then. What is due at the
    /// moment of a change is due by the days before it.
    fn check_calendar(&mut self, run: &Run) {
        let of_calendar = run.job.as_ref().is_some_and(|job| job.as_str() == "few/calendar");
        if !of_calendar || run.cause != Cause::Scheduled {
            return;
        }
        let before = self.closed.partition_point(|(at, _)| *at < run.scheduled_at);
        let closed = before.checked_sub(1).is_some_and(|last| self.closed[last].1);
        assert!(!closed, "run {} fired on a closed day: {:?}", run.serial, self.closed);
        self.tally.by_calendar += 1;
    }

    /// Every delivery of a run has ended once, and says why; counts the ends.
    fn check_responses(&mut self, run: &Run) -> Counts {
        let mut counts = Counts { total: run.counts.total, ..Counts::default() };
        let mut seen = BTreeSet::new();
        let mut page = 0;
        loop {
            let part = history::responses(&self.store, run.serial, page).unwrap();
            if part.responses.is_empty() {
                break;
            }
            page = part.next_page;
            for response in part.responses {
                let state = response.outcome.state;
                let explained =
                    state == DeliveryState::Succeeded || response.outcome.reason.is_some();
                assert!(
                    explained,
                    "{} of {} is {state} for no reason",
                    run.serial, response.client
                );
                counts.add(state);
                *self.tally.ends.entry(state).or_default() += 1;
                let again = !seen.insert(response.client.clone());
                assert!(!again, "{} answered twice by {}", run.serial, response.client);
            }
        }
        assert_eq!(seen.len(), run.counts.total as usize, "run {}", run.serial);
        counts
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

fn all_runs(store: &MemoryStore) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    loop {
        let before = runs.last().map(|run| run.serial);
        let query = history::RunQuery { before, limit: 1_000, ..Default::default() };
        let page = history::runs(store, &query).unwrap();
        if page.is_empty() {
            return runs;
        }
        runs.extend(page);
    }
}

fn apply(jobs: Vec<JobSpec>) -> Request {
    let calendars = vec![calendar(false)];
    Request::Apply(Apply { jobs, calendars, prune: true, ..Apply::default() })
}

/// The calendar that one job names: it closes every day, or one that is long over.
fn calendar(closes: bool) -> Calendar {
    let name = "closed".parse().unwrap();
    if closes {
        // Sunday is left, so that the rule has a future; the simulation is on a Friday.
        let days = vec!["mon-sat".to_owned()].try_into().unwrap();
        return Calendar::new(name, None, Vec::new(), Some(days)).unwrap();
    }
    Calendar::new(name, None, vec!["2001-01-01".parse().unwrap()], None).unwrap()
}

fn jobs() -> Vec<JobSpec> {
    use Offline::{Drop, Latest, Queue};
    let job = |name: &str, target: Target, seconds: u64, catch_up: CatchUp, offline| {
        let rule = Rule::every(Duration::from_secs(seconds)).unwrap();
        let mut spec = JobSpec::new(name.parse().unwrap(), target, "noop".parse().unwrap(), rule);
        spec.catch_up = catch_up;
        spec.offline = offline;
        spec
    };
    let few = || Target::Group("few".parse().unwrap());
    let mut jobs = vec![
        job("all/latest", Target::All, 7, CatchUp::Latest, Latest),
        job("few/all", few(), 3, CatchUp::All, Queue),
        job("few/latest", few(), 5, CatchUp::Latest, Latest),
        job("few/drop", few(), 5, CatchUp::Skip, Drop),
    ];
    let overlaps = [Overlap::Allow, Overlap::Skip, Overlap::Queue, Overlap::Replace];
    for (spec, overlap) in jobs.iter_mut().zip(overlaps) {
        spec.overlap = overlap;
    }
    let mut by_calendar = job("few/calendar", few(), 2, CatchUp::Latest, Drop);
    let rule = r#"{"every": "2s", "exclude": {"calendars": ["closed"]}}"#;
    by_calendar.rule = serde_json::from_str(rule).unwrap();
    jobs.push(by_calendar);
    for spec in jobs.iter_mut().step_by(2) {
        spec.membership = Membership::Open;
    }
    jobs[0].spread = Some(Duration::from_secs(3));
    jobs[2].jitter = Some(Duration::from_secs(2));
    for (job, rollout) in [
        (1, r#"{"max_in_flight": 2, "rate": 20}"#),
        (3, r#"{"waves": [{"share": "30%", "success": "0.01%", "wait": "500ms"}]}"#),
    ] {
        jobs[job].rollout = Some(serde_json::from_str(rollout).unwrap());
    }
    for (n, overlap) in [Overlap::Skip, Overlap::Queue, Overlap::Replace].into_iter().enumerate() {
        let mut spec = job(&format!("few/job-{n}"), few(), 4, CatchUp::Latest, Queue);
        (spec.overlap, spec.overlap_scope) = (overlap, OverlapScope::Job);
        jobs.push(spec);
    }
    jobs
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
