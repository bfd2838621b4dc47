//! What must happen, by the written policy: which occurrences fire, when and why, and which are
//! recorded as missed.
//!
//! It knows only what was done to the server, and each job's occurrences as a list. A server that
//! is up fires on time. What it finds late, it looks at once: what was due before its start or
//! more than ten seconds ago follows `catch_up`, the rest fires.

use fleetcron::{CatchUp, Cause};

use crate::rules::SECOND;

const LATE: i64 = 10 * SECOND;

/// The most that `all` fires of one row.
const CAUGHT_UP: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fired {
    pub(crate) scheduled: i64,
    pub(crate) at: i64,
    pub(crate) caught_up: bool,
}

impl Fired {
    pub(crate) fn new(scheduled: i64, at: i64, cause: Cause) -> Self {
        assert!(matches!(cause, Cause::Scheduled | Cause::CatchUp), "nobody asked for {cause}");
        Self { scheduled, at, caught_up: cause == Cause::CatchUp }
    }
}

/// A row of missed occurrences, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) at: i64,
    /// With all rows before.
    pub(crate) total: u64,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) reason: String,
}

pub(crate) struct Job {
    pub(crate) occurrences: Vec<i64>,
    pub(crate) catch_up: CatchUp,
    pub(crate) window: i64,
    pub(crate) paused: bool,
    /// How many occurrences have been dealt with.
    pub(crate) dealt: usize,
    pub(crate) fired: Vec<Fired>,
    pub(crate) missed: Vec<Row>,
}

impl Job {
    pub(crate) fn next(&self) -> Option<i64> {
        self.occurrences.get(self.dealt).copied()
    }

    pub(crate) fn missed_total(&self) -> u64 {
        self.missed.last().map_or(0, |row| row.total)
    }

    fn fire(&mut self, scheduled: i64, at: i64, cause: Cause) {
        self.fired.push(Fired::new(scheduled, at, cause));
    }

    /// Deals with all that is due by `now`; what was due before `until` is late.
    fn look(&mut self, now: i64, until: i64, reason: &str, seen: &mut Seen) {
        let due = self.occurrences.iter().skip(self.dealt).take_while(|at| **at <= now);
        let (late, due): (Vec<i64>, Vec<i64>) = due.partition(|at| **at < until);
        self.dealt += late.len() + due.len();
        let within = late.iter().filter(|at| **at >= now - self.window).count();
        let kept = match self.catch_up {
            CatchUp::Latest => within.min(1),
            CatchUp::All => within.min(CAUGHT_UP),
            CatchUp::Skip => 0,
        };
        let (missed, kept) = late.split_at(late.len() - kept);
        if let (Some(first), Some(last)) = (missed.first(), missed.last()) {
            let total = self.missed_total() + missed.len() as u64;
            let reason = reason.to_owned();
            self.missed.push(Row { at: now, total, first: *first, last: *last, reason });
        }
        seen.excused += due.iter().filter(|at| **at < now).count();
        seen.fresh += late.iter().filter(|at| **at >= now - LATE).count();
        seen.note(self.catch_up, late.len(), within, kept.len(), due.len());
        for at in kept {
            self.fire(*at, now, Cause::CatchUp);
        }
        for at in due {
            self.fire(at, now, Cause::Scheduled);
        }
    }
}

/// What the policies had to deal with.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Rows in which `latest` fired one and left out others.
    pub(crate) latest: usize,
    /// Rows of which `all` fired several.
    pub(crate) all: usize,
    /// Rows that were more than `all` fires.
    pub(crate) capped: usize,
    /// Rows of which `skip` fired none.
    pub(crate) skip: usize,
    /// Rows of which the window left out some or all.
    pub(crate) outside: usize,
    /// Looks that found some late enough to be missed and others that were not.
    pub(crate) mixed: usize,
    /// Occurrences missed although they were not ten seconds old: the server was not up.
    pub(crate) fresh: usize,
    /// Occurrences fired as scheduled although they were late: the server was up.
    pub(crate) excused: usize,
}

impl Seen {
    fn note(&mut self, catch_up: CatchUp, late: usize, within: usize, kept: usize, due: usize) {
        self.mixed += usize::from(late > 0 && due > 0);
        match catch_up {
            CatchUp::Latest => self.latest += usize::from(kept == 1 && late > 1),
            CatchUp::All => self.all += usize::from(kept > 1),
            CatchUp::Skip => self.skip += usize::from(late > 0),
        }
        if catch_up != CatchUp::Skip {
            self.outside += usize::from(late > within);
            self.capped += usize::from(kept == CAUGHT_UP && within > kept);
        }
    }
}

pub(crate) struct Model {
    pub(crate) jobs: Vec<Job>,
    /// While the server is up, its time does not go back.
    now: i64,
    started: i64,
    created: i64,
    pub(crate) seen: Seen,
}

impl Model {
    /// Every job is created at `now`, by a server that starts then.
    pub(crate) fn new(jobs: Vec<Job>, now: i64) -> Self {
        let mut model = Self { jobs, now, started: now, created: now, seen: Seen::default() };
        model.clock(now);
        model
    }

    /// The server has been up until `wall`, and the clock went as it should.
    pub(crate) fn up_to(&mut self, wall: i64) {
        for job in self.jobs.iter_mut().filter(|job| !job.paused) {
            while let Some(at) = job.next().filter(|at| *at <= wall) {
                job.dealt += 1;
                job.fire(at, at, Cause::Scheduled);
            }
        }
        self.now = self.now.max(wall);
    }

    /// The clock of a server that is up was set to `wall`.
    pub(crate) fn clock(&mut self, wall: i64) {
        self.now = self.now.max(wall);
        let until = self.started.max(self.now - LATE);
        for job in self.jobs.iter_mut().filter(|job| !job.paused) {
            let reason = match job.next() {
                Some(at) if at < self.created => "it had passed when the job was defined",
                Some(at) if at < self.started => "the server was down",
                _ => "the server was late",
            };
            job.look(self.now, until, reason, &mut self.seen);
        }
    }

    /// The server was down, and is up again.
    pub(crate) fn start(&mut self, wall: i64) {
        (self.now, self.started) = (wall, wall);
        self.clock(wall);
    }

    pub(crate) fn pause(&mut self, job: usize) {
        self.jobs[job].paused = true;
    }

    pub(crate) fn resume(&mut self, job: usize) {
        if std::mem::take(&mut self.jobs[job].paused) {
            self.jobs[job].look(self.now, self.now, "the job was paused", &mut self.seen);
        }
    }

    /// When the next job is due.
    pub(crate) fn next(&self) -> Option<i64> {
        self.jobs.iter().filter(|job| !job.paused).filter_map(Job::next).min()
    }
}
