//! When jobs must have fired: every occurrence of a rule is a run or is recorded as missed, once;
//! what the server was there for, it fired in time.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetcron::history::{self, PastQuery};
use fleetcron::schedule::When;
use fleetcron::store::{MemoryStore, records};
use fleetcron::{CatchUp, Cause, JobSpec, JobState, MissedRow, Run, Timestamp};

use super::super::plan::MANY;
use super::Model;
use super::ends::all_runs;

/// How long before its end a server may not have got round to firing.
const LAST_WORDS: Duration = Duration::from_secs(12);

/// How late a firing may be that the server was there for.
const LATE: Duration = Duration::from_millis(500);

/// A time in which the server was up.
pub(super) struct Uptime {
    pub(super) from: Duration,
    /// The wall clock at its begin.
    pub(super) wall: Timestamp,
    pub(super) until: Option<Duration>,
}

impl Model {
    /// Looks at the firings of all jobs, which are paused by now.
    pub(crate) fn check_firings(&mut self, durable: &MemoryStore) {
        let runs = all_runs(durable);
        let snapshot = records::load(durable).expect("a store in memory can be read");
        for (job, state) in snapshot.jobs {
            if job.spec.name.as_str().starts_with(MANY) {
                continue;
            }
            let query = PastQuery { limit: 1_000, ..PastQuery::default() };
            let rows = history::missed(durable, &job.spec.name, Some(job.id), &query);
            let rows = rows.expect("a store in memory can be read");
            let mut fired: BTreeMap<Timestamp, &Run> = BTreeMap::new();
            for run in &runs {
                let by_rule = run.cause.is_by_rule() && run.job_id == Some(job.id);
                if by_rule && fired.insert(run.scheduled_at, run).is_some() {
                    self.wrong(format!("{} fired {} twice", job.spec.name, run.scheduled_at));
                }
            }
            self.check_job(&job.spec, job.created_at, &state, &rows, &fired);
        }
    }

    fn check_job(
        &mut self,
        spec: &JobSpec,
        created: Timestamp,
        state: &JobState,
        rows: &[MissedRow],
        fired: &BTreeMap<Timestamp, &Run>,
    ) {
        let name = &spec.name;
        let When::Every { period, .. } = &spec.rule.when else { return };
        let Some(until) = state.paused.as_ref().map(|paused| paused.at) else {
            return self.wrong(format!("{name} is not paused"));
        };
        let mut at = created.plus(*period);
        let mut missed: BTreeMap<u64, u64> = BTreeMap::new();
        while at <= until {
            let row = rows.iter().find(|row| row.first <= at && at <= row.last);
            match (fired.get(&at), row) {
                (Some(run), _) => self.check_firing(spec, run, at),
                (None, Some(row)) => {
                    *missed.entry(row.no).or_default() += 1;
                    self.check_missed(spec, at);
                }
                // What is due at the very end may have gone either way.
                (None, None) if at.plus(LAST_WORDS) > until => {}
                (None, None) => {
                    self.wrong(format!("{name} did not fire {at}, and it is not recorded why"));
                }
            }
            at = at.plus(*period);
        }
        for row in rows {
            let counted = missed.get(&row.no).copied().unwrap_or(0);
            self.check(counted == row.count, || {
                format!(
                    "{name} missed {} to {}: {} counted, {counted} found",
                    row.first, row.last, row.count
                )
            });
        }
        let all: u64 = rows.iter().map(|row| row.count).sum();
        self.check(spec.catch_up != CatchUp::All || all == 0, || {
            format!("{name} missed {all} firings that it was to catch up with")
        });
        let odd = fired.keys().find(|at| {
            let since = at.millis() - created.millis();
            let period = i64::try_from(period.as_millis()).unwrap_or(i64::MAX);
            since <= 0 || since % period != 0
        });
        let odd = odd.copied();
        self.check(odd.is_none(), || format!("{name} fired {odd:?}, which its rule does not have"));
    }

    fn check_firing(&mut self, spec: &JobSpec, run: &Run, at: Timestamp) {
        let name = &spec.name;
        let caught = run.cause == Cause::CatchUp;
        self.check(!caught || spec.catch_up != CatchUp::Skip, || {
            format!("{name} caught up with {at}, which it was not to")
        });
        self.check(run.fired_at >= at, || format!("{name} fired {at} too early"));
        if self.was_there(spec, at) {
            let late = run.fired_at.since(at);
            self.check(late <= LATE, || format!("{name} fired {at} {late:?} late"));
        }
    }

    fn check_missed(&mut self, spec: &JobSpec, at: Timestamp) {
        let there = self.was_there(spec, at);
        let name = &spec.name;
        self.check(!there, || format!("{name} missed {at}, and the server was there"));
    }

    /// Whether the server was up at a moment and for a while after it, and the job was not paused.
    fn was_there(&self, spec: &JobSpec, at: Timestamp) -> bool {
        if !self.steady || self.paused.contains(&spec.name) {
            return false;
        }
        self.uptime.iter().any(|up| {
            let until = up.until.unwrap_or(self.now);
            let from = up.wall.plus(Duration::from_secs(1));
            let until = up.wall.plus(until.saturating_sub(up.from)).minus(LAST_WORDS);
            from <= at && at <= until
        })
    }
}
