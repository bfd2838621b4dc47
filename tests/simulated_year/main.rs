//! A year of a thousand jobs in forty time zones, on a virtual clock: the server is stopped and
//! killed, jobs are paused and resumed, the clock is set forward and back. A simple model says
//! what must come of it: every occurrence of the year fires once, at its time or by its
//! `catch_up`, or is recorded as missed once.
//!
//! `FLEETCRON_SEED=123 cargo test --test simulated_year` replays one seed.

#![expect(clippy::unwrap_used, reason = "a simulation fails by a panic that shows the error")]

mod jobs;
mod model;
#[path = "../common/random.rs"]
mod random;
mod rules;
#[path = "../common/runs.rs"]
mod runs;

use std::collections::{BTreeMap, BTreeSet};

use fleetcron::engine::{
    Apply, CallId, Effect, Engine, Input, NewClient, Reply, Request, SessionId,
};
use fleetcron::store::{MemoryStore, records};
use fleetcron::{
    ClientId, Json, Missed, Outcome, Pause, Proof, Run, Serial, Timestamp, What, history,
};
use model::{Fired, Model, Row};
use random::Random;
use rules::{ClockChanges, DAY, HORIZON, HOUR, MINUTE, SECOND, YEAR_END, YEAR_START};
use runs::all_runs;

/// What was done to the server: the year proves nothing if it was a quiet one.
#[derive(Debug, Default)]
struct Tally {
    stops: usize,
    kills: usize,
    /// Starts at an earlier wall clock time than the stop.
    starts_in_the_past: usize,
    /// Starts that were killed at once.
    short_lives: usize,
    pauses: usize,
    resumes: usize,
    forward: usize,
    back: usize,
    wakes: usize,
}

struct World {
    random: Random,
    wall: i64,
    engine: Engine,
    store: MemoryStore,
    model: Model,
    session: SessionId,
    calls: u64,
    /// Runs as they were announced: with each, that it was for the first time.
    started: BTreeSet<Serial>,
    sent: BTreeSet<Serial>,
    missed: BTreeMap<String, Vec<Row>>,
    long_outage: bool,
    tally: Tally,
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn worker() -> ClientId {
    ClientId::new("worker").unwrap()
}

impl World {
    fn new(seed: u64, changes: &mut ClockChanges) -> Self {
        let mut random = Random(seed);
        let (specs, jobs) = jobs::random(&mut random, changes);
        let store = MemoryStore::new();
        let engine = Engine::restore(records::load(&store).unwrap(), at(YEAR_START));
        let mut world = Self {
            random,
            wall: YEAR_START,
            engine,
            store,
            model: Model::new(jobs, YEAR_START),
            session: SessionId(0),
            calls: 0,
            started: BTreeSet::new(),
            sent: BTreeSet::new(),
            missed: BTreeMap::new(),
            long_outage: false,
            tally: Tally::default(),
        };
        let groups = BTreeSet::new();
        world.ask(Request::AddClient(NewClient { id: worker(), groups, token: None }));
        world.connect();
        world.ask(Request::Apply(Apply { jobs: specs, prune: true, ..Apply::default() }));
        world.wake();
        world
    }

    fn ask(&mut self, request: Request) {
        self.calls += 1;
        let (call, entropy) = (CallId(self.calls), u128::from(self.random.next()));
        self.engine.handle(
            at(self.wall),
            Input::Call { call, actor: fleetcron::Actor::Library, request, entropy },
        );
        self.commit();
    }

    /// The client returns. It has answered all that it got, so it has nothing.
    fn connect(&mut self) {
        self.calls += 1;
        let (call, session) = (CallId(self.calls), SessionId(self.calls));
        self.session = session;
        let (client, proof, taken) = (worker(), Proof::Vouched, Vec::new());
        let input = Input::Connect { call, session, client, proof, taken };
        self.engine.handle(at(self.wall), input);
        self.commit();
    }

    /// Does what is due by the wall clock.
    fn wake(&mut self) {
        while self.engine.next_deadline().is_some_and(|due| due <= at(self.wall)) {
            self.tally.wakes += 1;
            self.engine.handle_deadline(at(self.wall));
            assert!(self.engine.pending() > 0, "woken at {} for nothing", at(self.wall));
            self.commit();
        }
    }

    /// Lets the clock go on to a moment, from one deadline to the next.
    fn go_to(&mut self, moment: i64) {
        while let Some(due) = self.engine.next_deadline().filter(|due| *due <= at(moment)) {
            self.wall = self.wall.max(due.millis());
            self.wake();
        }
        self.wall = self.wall.max(moment);
        self.model.up_to(self.wall);
    }

    fn commit(&mut self) {
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
            Effect::Notify(event) => match &event.what {
                What::RunStarted { serial, .. } => {
                    assert!(self.started.insert(*serial), "{serial} started twice");
                }
                What::Missed { job, missed } => {
                    let Missed { total, first, last, ref reason, .. } = *missed;
                    let (first, last) = (first.millis(), last.millis());
                    let row =
                        Row { at: event.at.millis(), total, first, last, reason: reason.clone() };
                    self.missed.entry(job.to_string()).or_default().push(row);
                }
                _ => {}
            },
            Effect::Send { session, dispatch } => {
                let serial = dispatch.serial;
                assert!(self.sent.insert(serial), "{serial} sent twice");
                let outcome = Outcome::succeeded(Json::null());
                self.engine.handle(
                    at(self.wall),
                    Input::Responded { session, attempt: serial.into(), outcome },
                );
            }
            Effect::Reply { answer, .. } => {
                assert!(!matches!(answer, Err(_) | Ok(Reply::Run(_))), "{answer:?}");
            }
            Effect::Ack { .. } | Effect::Cancel { .. } | Effect::Close { .. } => {}
        }
    }

    /// Lives through the year.
    fn live(&mut self) {
        while self.wall < YEAR_END {
            let moment = self.moment();
            self.go_to(moment);
            assert_eq!(self.engine.next_deadline(), self.model.next().map(at), "the next deadline");
            if self.wall == jobs::LONG_OUTAGE && !self.long_outage {
                self.outage();
            } else {
                self.disturb();
            }
        }
        for n in 0..jobs::JOBS {
            self.resume(n);
        }
    }

    /// A day and a half without server, which ends at an occurrence of the jobs that fire every
    /// minute then.
    fn outage(&mut self) {
        self.long_outage = true;
        self.tally.stops += 1;
        for n in 0..jobs::LONG_ROW {
            self.resume(n);
        }
        self.start_at(self.wall + 36 * HOUR);
    }

    /// When something happens next: soon after the last, at the very moment of an occurrence, or
    /// some days later.
    fn moment(&mut self) -> i64 {
        let moment = match self.random.below(10) {
            0..3 => self.wall + self.random.between(0, 20 * SECOND),
            _ => self.wall + self.random.between(HOUR, 4 * DAY),
        };
        let moment = self.aligned(moment);
        let crosses = self.wall <= jobs::LONG_OUTAGE && moment > jobs::LONG_OUTAGE;
        if crosses && !self.long_outage { jobs::LONG_OUTAGE } else { moment.min(YEAR_END) }
    }

    /// The same moment, or at times that of an occurrence soon after it, or so shortly after one
    /// that it is hardly late.
    fn aligned(&mut self, moment: i64) -> i64 {
        if self.random.chance(60) {
            return moment;
        }
        let some: Vec<usize> = (0..40).map(|_| self.random.below(jobs::JOBS)).collect();
        let next = some.iter().filter_map(|job| {
            let occurrences = &self.model.jobs[*job].occurrences;
            occurrences.iter().copied().find(|at| *at >= moment)
        });
        let next = next.min().filter(|at| *at < moment + DAY);
        let after = [0, 1, SECOND, 9_999, 10 * SECOND, 10_001];
        next.map_or(moment, |at| at + self.random.pick(&after))
    }

    fn disturb(&mut self) {
        match self.random.below(100) {
            0..10 => {
                let longest = *self.random.pick(&[MINUTE, HOUR, 8 * HOUR, 3 * DAY]);
                let length = self.random.between(0, longest);
                if self.random.chance(40) { self.kill(length) } else { self.stop(length) }
            }
            10..13 => {
                self.tally.starts_in_the_past += 1;
                let length = self.random.between(SECOND, 8 * HOUR);
                self.stop(-length);
            }
            13..45 => {
                for _ in 0..self.random.between(1, 40) {
                    let job = self.random.below(jobs::JOBS);
                    self.pause(job);
                }
            }
            45..80 => {
                let paused = |n: &usize| self.model.jobs[*n].paused;
                for n in (0..jobs::JOBS).filter(paused).collect::<Vec<_>>() {
                    if self.random.chance(40) {
                        self.resume(n);
                    }
                }
            }
            80..91 => {
                let longest = *self.random.pick(&[20 * SECOND, 20 * SECOND, 8 * HOUR, 3 * DAY]);
                let jump = self.random.between(1, longest);
                self.tally.forward += 1;
                let wall = self.aligned(self.wall + jump);
                self.set_clock(wall);
            }
            _ => {
                let longest = *self.random.pick(&[10 * MINUTE, DAY]);
                let jump = self.random.between(1, longest);
                self.tally.back += 1;
                self.set_clock(self.wall - jump);
            }
        }
    }

    /// The server is stopped, and started after a while; of the wall clock, not of the world's
    /// time, so that it may be negative.
    fn stop(&mut self, length: i64) {
        self.tally.stops += 1;
        self.start_after(length);
    }

    /// The server is killed at its next deadline: what it had decided is not on disk.
    fn kill(&mut self, length: i64) {
        let due = self.engine.next_deadline().map(Timestamp::millis);
        if let Some(due) = due.filter(|due| *due < self.wall + DAY) {
            self.tally.kills += 1;
            self.model.up_to(due - 1);
            self.wall = due;
            self.engine.handle_deadline(at(due));
        }
        self.start_after(length);
    }

    fn start_after(&mut self, length: i64) {
        let mut start = self.wall + length;
        while self.random.chance(15) {
            // It comes up, decides what to catch up, and dies before any of it is on disk.
            let mut engine = Engine::restore(records::load(&self.store).unwrap(), at(start));
            engine.handle_deadline(at(start));
            self.tally.short_lives += 1;
            start += self.random.between(1, MINUTE);
        }
        let start = if length > 0 { self.aligned(start) } else { start };
        self.start_at(start);
    }

    fn start_at(&mut self, start: i64) {
        self.wall = start;
        self.engine = Engine::restore(records::load(&self.store).unwrap(), at(self.wall));
        self.wake();
        self.connect();
        self.model.start(self.wall);
    }

    /// The clock is set. The server learns the time from what happens, so that something happens
    /// before and after.
    fn set_clock(&mut self, wall: i64) {
        self.ask(Request::Status);
        self.wall = wall;
        self.wake();
        self.ask(Request::Status);
        self.model.clock(self.wall);
    }

    fn pause(&mut self, job: usize) {
        self.tally.pauses += usize::from(!self.model.jobs[job].paused);
        self.ask(Request::PauseJob(Pause::new(jobs::name(job))));
        self.model.pause(job);
    }

    fn resume(&mut self, job: usize) {
        self.tally.resumes += usize::from(self.model.jobs[job].paused);
        self.ask(Request::ResumeJob(jobs::name(job)));
        self.model.resume(job);
    }

    /// Compares what happened with the model, job by job.
    fn check(&mut self) {
        let snapshot = records::load(&self.store).unwrap();
        assert!(snapshot.open_runs.is_empty(), "some runs have not ended");
        assert_eq!(snapshot.jobs.len(), jobs::JOBS);
        let stored = all_runs(&self.store);
        let serials: BTreeSet<Serial> = stored.iter().map(|run| run.serial).collect();
        assert_eq!(serials.len(), stored.len(), "a serial is stored twice");
        assert_eq!(serials, self.started, "what is stored is what was announced");
        let mut runs: BTreeMap<String, Vec<&Run>> = BTreeMap::new();
        for run in &stored {
            runs.entry(run.job.as_ref().unwrap().to_string()).or_default().push(run);
        }
        let states: BTreeMap<String, _> =
            snapshot.jobs.iter().map(|it| (it.0.spec.name.to_string(), it)).collect();
        for n in 0..jobs::JOBS {
            let name = jobs::name(n).to_string();
            let (job, state) = states[&name];
            let runs = runs.remove(&name).unwrap_or_default();
            for run in &runs {
                assert_eq!(run.serial, Serial::of_firing(job.id, run.scheduled_at), "{name}");
                assert!(run.fired_at >= run.scheduled_at, "{name}: {} fired early", run.serial);
                let delivered = u32::from(jobs::is_delivered(n));
                assert_eq!((run.counts.total, run.counts.succeeded), (delivered, delivered));
                assert_eq!(self.sent.contains(&run.serial), delivered == 1, "{name}");
            }
            let missed = self.missed.remove(&name).unwrap_or_default();
            self.check_job(n, &runs, &missed);
            self.check_rows(job, &missed);
            let model = &self.model.jobs[n];
            let total = state.missed.as_ref().map_or(0, |missed| missed.total);
            assert_eq!(total, model.missed_total(), "{name}: the stored count of missed ones");
            assert_eq!(state.occurrences, model.dealt as u64, "{name}: occurrences");
            let next = state.next_due.map(Timestamp::millis).filter(|at| *at <= HORIZON);
            assert_eq!(next, model.next(), "{name}: next");
        }
        assert!(runs.is_empty() && self.missed.is_empty());
    }

    fn check_job(&self, n: usize, runs: &[&Run], missed: &[Row]) {
        let (name, model) = (jobs::name(n), &self.model.jobs[n]);
        let fired =
            |run: &&Run| Fired::new(run.scheduled_at.millis(), run.fired_at.millis(), run.cause);
        let mut fired: Vec<Fired> = runs.iter().map(fired).collect();
        fired.sort_unstable();
        for (fired, expected) in fired.iter().zip(&model.fired) {
            assert_eq!(fired, expected, "{name}, due at {}", at(expected.scheduled));
        }
        assert_eq!(fired.len(), model.fired.len(), "{name}: firings");
        assert_eq!(missed, model.missed, "{name}: rows of missed ones");
        let dealt = fired.len() as u64 + model.missed_total();
        assert_eq!(dealt, model.dealt as u64, "{name}: fired or missed, each once");
        let over = model.occurrences.iter().filter(|at| **at <= self.wall).count();
        assert!(model.dealt >= over, "{name}: the year is over");
    }
}

impl World {
    /// The stored rows are those that were announced.
    fn check_rows(&self, job: &fleetcron::Job, announced: &[Row]) {
        let name = &job.spec.name;
        let query = history::PastQuery { limit: history::MAX_PAST, ..Default::default() };
        let mut stored = history::missed(&self.store, name, Some(job.id), &query).unwrap();
        stored.reverse();
        let mut total = 0;
        let rows = stored.into_iter().map(|row| {
            total += row.count;
            let (first, last) = (row.first.millis(), row.last.millis());
            Row { at: row.at.millis(), total, first, last, reason: row.reason }
        });
        assert_eq!(rows.collect::<Vec<_>>(), announced, "{name}: stored rows of missed ones");
    }
}

/// Shows what the year was like, and fails if it was a quiet one.
#[expect(clippy::print_stdout, reason = "what was tested is worth a look when it fails")]
fn check_tally(world: &World, changes: &ClockChanges) {
    let (tally, seen) = (&world.tally, &world.model.seen);
    let fired = world.started.len();
    let late: u64 = world.model.jobs.iter().map(model::Job::missed_total).sum();
    println!("{fired} fired, {late} missed\n{tally:?}\n{seen:?}\n{changes:?}");
    let rows = world.model.jobs.iter().flat_map(|job| &job.missed);
    let reasons: BTreeSet<&str> = rows.map(|row| row.reason.as_str()).collect();
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert!(fired > 20_000 && late > 1_000, "few jobs");
    assert!(tally.stops > 4 && tally.kills > 1, "hardly any stop");
    assert!(tally.starts_in_the_past > 0 && tally.short_lives > 0, "no odd start");
    assert!(tally.pauses > 200 && tally.resumes > 200, "hardly any pause");
    assert!(tally.forward > 5 && tally.back > 3, "hardly any jump");
    assert!(tally.wakes <= fired, "it ticks");
    assert!(seen.latest > 20 && seen.all > 20 && seen.skip > 20, "hardly any miss");
    assert!(seen.capped > 0 && seen.outside > 20 && seen.mixed > 0, "no rare miss");
    assert!(seen.fresh > 0 && seen.excused > 0, "no moment was close");
    let ClockChanges { moved, left_out, once, twice } = *changes;
    assert!(moved > 20 && left_out > 20 && once > 20 && twice > 20, "hardly any clock change");
}

fn run(seed: u64) {
    let mut changes = ClockChanges::default();
    let mut world = World::new(seed, &mut changes);
    world.live();
    world.check();
    check_tally(&world, &changes);
}

#[test]
fn a_year_is_as_the_model_says() {
    let seed = std::env::var("FLEETCRON_SEED").unwrap_or_else(|_| "1".into());
    println!("FLEETCRON_SEED={seed}");
    run(seed.parse().expect("FLEETCRON_SEED is a number"));
}
