//! What may and must have happened, by the README alone: which commands a client may execute, what
//! may be sent and when, what an acknowledgement means. It sees the frames on the network, the
//! executions, the answers to callers and what is durable; it knows nothing of the engine.

mod ends;
mod firings;
mod frames;
mod overlap;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetcron::handlers::HandlerErrorKind;
use fleetcron::store::{MemoryStore, records};
use fleetcron::{Attempt, JobName, Priority, Serial, Timestamp};

use super::plan::{MANY, Plan, Terms};

/// The number of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Execution(pub(crate) u64);

/// How an execution ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It was dropped: it ran too long, or its process ended.
    Dropped,
    /// It was asked to stop.
    Cancelled,
    /// It returned a result, or an error of this kind.
    Returned(Option<HandlerErrorKind>),
}

pub(super) struct Model {
    /// The time that nobody sets.
    pub(super) now: Duration,
    /// What was found wrong.
    pub(super) wrong: Vec<String>,
    jobs: BTreeMap<JobName, Terms>,
    /// Whether it is known which wall time it is: nobody sets the clock.
    steady: bool,
    /// Whether connections, processes or disks fail.
    faulty_journals: bool,
    submissions: BTreeMap<u64, Submitted>,
    runs: BTreeMap<Serial, Terms>,
    started: BTreeSet<Serial>,
    executions: Vec<Executed>,
    clients: Vec<Client>,
    connections: BTreeMap<u64, Connection>,
    /// How often a command left for a client, over all connections.
    sent: BTreeMap<(Serial, usize), u32>,
    cancels: Vec<Cancelled>,
    obligations: Vec<overlap::Obligation>,
    uptime: Vec<firings::Uptime>,
    paused: BTreeSet<JobName>,
    /// Whether many jobs were asked for at once, and whether that was answered.
    many: Option<bool>,
}

/// A submission that was made.
struct Submitted {
    terms: Terms,
    serial: Option<Serial>,
}

/// A write of a client's journal takes 5 ms at most, and waits for one at most.
const JOURNAL_WRITES: Duration = Duration::from_millis(12);

struct Executed {
    client: usize,
    process: u64,
    serial: Serial,
    job: Option<JobName>,
    attempt: u32,
    begun: Duration,
    ended: Option<(Duration, How)>,
    /// Its process ended before it did.
    crashed: bool,
}

impl Executed {
    /// Whether it returned, or runs, and no process of its client, which ended then, ended before
    /// that could be written down.
    fn was_written(&self, ends: &[Duration]) -> bool {
        let Some((at, how)) = self.ended else { return !self.crashed };
        let writing = at..=at + JOURNAL_WRITES;
        how != How::Dropped && !self.crashed && !ends.iter().any(|end| writing.contains(end))
    }
}

struct Client {
    journal: bool,
    concurrency: usize,
    process: u64,
    /// When its processes ended.
    ends: Vec<Duration>,
    /// It was asked to stop at some time.
    stopped: bool,
    /// What the process at hand was asked to stop, and was not sent again since.
    cancelled: BTreeSet<Serial>,
    /// Its answers that are not acknowledged.
    unacknowledged: BTreeMap<Serial, u32>,
}

/// A connection that has said hello.
#[derive(Default)]
struct Connection {
    client: usize,
    incarnation: u64,
    hello_at: Option<Timestamp>,
    welcomed: bool,
    taken: BTreeMap<Serial, u32>,
    /// When the server sent what, or was told that the client has it, by the wall clock.
    holds: BTreeMap<Serial, Timestamp>,
    /// What the server has heard to be accepted.
    accepted: BTreeSet<Serial>,
    last: BTreeMap<Priority, Serial>,
}

/// A cancellation that was asked for.
struct Cancelled {
    serial: Serial,
    /// One client's delivery alone.
    client: Option<usize>,
    /// Connections from this number on were made after it was answered.
    answered: Option<u64>,
}

impl Model {
    pub(super) fn new(plan: &Plan) -> Self {
        let client = |client: &super::plan::ClientPlan| Client {
            journal: client.journal,
            concurrency: client.concurrency,
            process: 0,
            ends: Vec::new(),
            stopped: false,
            cancelled: BTreeSet::new(),
            unacknowledged: BTreeMap::new(),
        };
        Self {
            now: Duration::ZERO,
            wrong: Vec::new(),
            jobs: plan.jobs.iter().map(|job| (job.name.clone(), Terms::of_job(job))).collect(),
            steady: plan.faults.clock == 0,
            faulty_journals: plan.faults.journals > 0,
            submissions: BTreeMap::new(),
            runs: BTreeMap::new(),
            started: BTreeSet::new(),
            executions: Vec::new(),
            clients: plan.clients.iter().map(client).collect(),
            connections: BTreeMap::new(),
            sent: BTreeMap::new(),
            cancels: Vec::new(),
            obligations: Vec::new(),
            uptime: Vec::new(),
            paused: BTreeSet::new(),
            many: None,
        }
    }

    fn wrong(&mut self, problem: impl Into<String>) {
        self.wrong.push(problem.into());
    }

    fn check(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(problem());
        }
    }

    /// The terms of a run that is durable; `None`: it is not.
    fn terms(&mut self, serial: Serial, durable: &MemoryStore) -> Option<Terms> {
        if let Some(known) = self.runs.get(&serial) {
            return Some(known.clone());
        }
        let run = records::run(durable, serial).expect("a store in memory can be read")?;
        let terms = if let Some(job) = &run.job {
            self.jobs.get(job).cloned()
        } else {
            let params: serde_json::Value = run.command.params.to().unwrap_or_default();
            let number = params["n"].as_u64();
            number.and_then(|n| self.submissions.get(&n)).map(|known| known.terms.clone())
        };
        let Some(terms) = terms else {
            self.wrong(format!("run {serial} is durable, and nobody asked for it"));
            return None;
        };
        self.runs.insert(serial, terms.clone());
        Some(terms)
    }

    /// A submission is made, or made again.
    pub(super) fn submits(&mut self, number: u64, terms: Terms) {
        self.submissions.entry(number).or_insert(Submitted { terms, serial: None });
    }

    /// A submission was answered.
    pub(super) fn submitted(&mut self, number: u64, serial: Serial, durable: &MemoryStore) {
        let stored = records::run(durable, serial).expect("a store in memory can be read");
        self.check(stored.is_some(), || format!("{serial} was answered and is not durable"));
        let of_other = self
            .submissions
            .iter()
            .find(|(other, known)| **other != number && known.serial == Some(serial));
        let other = of_other.map(|(other, _)| *other);
        self.check(other.is_none(), || {
            format!("submissions {number} and {other:?} have the same serial {serial}")
        });
        let Some(known) = self.submissions.get_mut(&number) else { return };
        let before = known.serial.replace(serial);
        self.check(before.is_none_or(|before| before == serial), || {
            format!("submission {number} was answered with {before:?}, now with {serial}")
        });
    }

    /// A cancellation is asked for.
    pub(super) fn cancels(&mut self, serial: Serial, client: Option<usize>) -> usize {
        self.cancels.push(Cancelled { serial, client, answered: None });
        self.cancels.len() - 1
    }

    /// It was answered; connections from `next` on are made after that.
    pub(super) fn cancelled(&mut self, place: usize) {
        let next = self.connections.keys().next_back().map_or(0, |last| last + 1);
        self.cancels[place].answered = Some(next);
    }

    fn is_cancel_asked(&self, serial: Serial, client: usize) -> bool {
        self.cancels
            .iter()
            .any(|cancel| cancel.serial == serial && cancel.client.is_none_or(|one| one == client))
    }

    /// Runs that are known by now.
    pub(super) fn known_runs(&self) -> Vec<Serial> {
        self.started.iter().copied().collect()
    }

    pub(super) fn job_paused(&mut self, job: &JobName) {
        self.paused.insert(job.clone());
    }

    pub(super) fn client_started(&mut self, client: usize, process: u64) {
        let known = &mut self.clients[client];
        known.process = process;
        known.cancelled.clear();
        if !known.journal {
            known.unacknowledged.clear();
        }
    }

    /// A client is asked to stop in order.
    pub(super) fn client_stops(&mut self, client: usize) {
        self.clients[client].stopped = true;
    }

    /// A client's process has ended, whatever it was doing.
    pub(super) fn client_gone(&mut self, client: usize, process: u64) {
        let now = self.now;
        let known = &mut self.clients[client];
        known.ends.push(now);
        // What never began is not in a journal either.
        let (executions, journal) = (&self.executions, known.journal);
        known.unacknowledged.retain(|serial, attempt| {
            let began =
                |it: &Executed| (it.client, it.serial, it.attempt) == (client, *serial, *attempt);
            journal && executions.iter().any(began)
        });
        for executed in &mut self.executions {
            if (executed.client, executed.process) == (client, process) && executed.ended.is_none()
            {
                executed.ended = Some((now, How::Dropped));
                executed.crashed = true;
            }
        }
    }

    /// A client begins to execute a command.
    pub(super) fn begun(
        &mut self,
        (client, process): (usize, u64),
        Attempt { serial, number: attempt }: Attempt,
        job: Option<&JobName>,
        number: Option<u64>,
    ) -> Execution {
        let known = &self.clients[client];
        let (of_client, of_process) = (known.process, process);
        self.check(of_client == of_process, || {
            format!("c{client} executes {serial} in process {of_process}, which has ended")
        });
        self.check(!self.clients[client].cancelled.contains(&serial), || {
            format!("c{client} executes {serial}, which it was asked to stop before")
        });
        let terms = match (job, number) {
            (Some(job), _) => self.jobs.get(job),
            (None, Some(number)) => self.submissions.get(&number).map(|known| &known.terms),
            (None, None) => None,
        };
        let id = Execution(self.executions.len() as u64);
        let Some(terms) = terms.cloned() else {
            self.wrong(format!("c{client} executes {serial}, which nobody asked for"));
            return id;
        };
        self.check(terms.target.has(client), || format!("{serial} is not for c{client}"));
        self.check_room(client, process, job, &terms);
        let begun = self.now;
        self.executions.push(Executed {
            client,
            process,
            serial,
            job: job.cloned(),
            attempt,
            begun,
            ended: None,
            crashed: false,
        });
        self.check_times(client, serial, attempt, &terms);
        id
    }

    /// That no more run at a time than may.
    fn check_room(&mut self, client: usize, process: u64, job: Option<&JobName>, terms: &Terms) {
        let running: Vec<&Executed> = self
            .executions
            .iter()
            .filter(|it| (it.client, it.process) == (client, process) && it.ended.is_none())
            .collect();
        let most =
            self.clients[client].concurrency + usize::from(terms.priority == Priority::Urgent);
        let count = running.len();
        let of_job = |it: &&&Executed| job.is_some() && it.job.as_ref() == job;
        let beside = running.iter().filter(of_job).count();
        drop(running);
        self.check(count < most, || {
            format!("c{client} begins a command beside {count} others; {most} may run at once")
        });
        let Some((overlap, _)) = terms.overlap else { return };
        let side_by_side = match (overlap, terms.per_client) {
            (fleetcron::Overlap::Allow, limit) => limit.unwrap_or(usize::MAX),
            _ => 1,
        };
        self.check(beside < side_by_side, || {
            format!("c{client} begins a command of {job:?} beside {beside} others of it")
        });
    }

    /// That it is executed no more often than it may be.
    fn check_times(&mut self, client: usize, serial: Serial, attempt: u32, terms: &Terms) {
        let of_delivery = |it: &&Executed| it.client == client && it.serial == serial;
        let all: Vec<&Executed> = self.executions.iter().filter(of_delivery).collect();
        let of_attempt: Vec<&&Executed> =
            all.iter().filter(|executed| executed.attempt == attempt).collect();
        let first = of_attempt.first().map_or(self.now, |executed| executed.begun);
        let known = &self.clients[client];
        let ends = known.ends.iter().filter(|at| **at >= first).count();
        let again = match (known.journal, terms.crash_retry) {
            (true, false) => 0,
            // On a full disk, its end may not have been written down.
            (true, true) if self.faulty_journals => ends,
            (true, true) => {
                let unwritten = of_attempt.iter().filter(|it| !it.was_written(&known.ends));
                unwritten.count()
            }
            (false, _) => ends,
        };
        let (times, total) = (of_attempt.len(), all.len());
        drop(all);
        self.check(times <= 1 + again, || {
            format!("c{client} executes attempt {attempt} of {serial} for the {times}th time")
        });
        self.check(attempt <= terms.attempts, || {
            format!(
                "c{client} executes attempt {attempt} of {serial}, which has {}",
                terms.attempts
            )
        });
        let once = terms.once && !(self.clients[client].journal && terms.crash_retry);
        self.check(!once || total == 1, || {
            format!("c{client} executes {serial} for the {total}th time, which may run once")
        });
    }

    /// An execution has ended; `false`: it had before.
    pub(super) fn ended(&mut self, Execution(id): Execution, how: How) -> bool {
        let now = self.now;
        let executed = usize::try_from(id).ok().and_then(|id| self.executions.get_mut(id));
        let Some(executed) = executed.filter(|it| it.ended.is_none()) else { return false };
        executed.ended = Some((now, how));
        true
    }

    /// Many jobs are asked for at once.
    pub(super) fn applies_many(&mut self) {
        self.many.get_or_insert(false);
    }

    /// They were answered to be there.
    pub(super) fn applied_many(&mut self) {
        self.many = Some(true);
    }

    /// All jobs of one apply are there, or none of them.
    pub(super) fn check_many(&mut self, durable: &MemoryStore) {
        let Some(answered) = self.many else { return };
        let all = super::plan::many_jobs().len();
        let jobs = records::load(durable).expect("a store in memory can be read").jobs;
        let named = |(job, _): &&(fleetcron::Job, _)| job.spec.name.as_str().starts_with(MANY);
        let found = jobs.iter().filter(named).count();
        self.check(found == all || (found == 0 && !answered), || {
            format!("{found} of {all} jobs of one apply are there; it was answered: {answered}")
        });
    }

    pub(super) fn server_started(&mut self, wall: Timestamp) {
        self.uptime.push(firings::Uptime { from: self.now, wall, until: None });
    }

    pub(super) fn server_ended(&mut self) {
        let now = self.now;
        if let Some(last) = self.uptime.last_mut() {
            last.until.get_or_insert(now);
        }
    }
}
