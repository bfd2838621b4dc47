//! `catch_up` × what happened meanwhile: which firings happen and why, what is recorded as
//! missed, and when the job is due next.
//!
//! If nothing else is said, the job fires every 10 s, has fired at 10 s, and is looked at again
//! at 55 s.

use std::time::Duration;

use fleetcron::engine::{MAX_CATCH_UP, Request};
use fleetcron::schedule::{Rule, When};
use fleetcron::{CatchUp, Cause, JobSpec, JobStatus, Pause, PauseTerms, Serial};

use crate::bench::{Bench, at, seconds, tick};

const DOWN: &str = "the server was down";
const PAUSED: &str = "the job was paused";
const LATE: &str = "the server was late";
const PAST: &str = "it had passed when the job was defined";

/// What a cell says.
struct Cell {
    /// Fired as caught up, in seconds.
    caught: Vec<i64>,
    /// Fired as scheduled at the same moment.
    scheduled: Vec<i64>,
    /// How many were missed, the first, the last, and why.
    missed: Option<(u64, i64, i64, &'static str)>,
    /// When it is due next; `None`: its rule has ended.
    next: Option<i64>,
}

fn every_10_s(from: i64, to: i64) -> Vec<i64> {
    (from..=to).step_by(10).collect()
}

/// A bench with the job, at 12 s; its firing at 10 s is behind it.
fn begun(policy: CatchUp, change: impl FnOnce(&mut JobSpec)) -> Bench {
    let mut bench = Bench::new();
    let mut spec = tick();
    spec.catch_up = policy;
    change(&mut spec);
    bench.apply(spec);
    bench.wait_until(at(10));
    let first = bench.fired();
    assert_eq!(first.len(), 1, "the firing at 10 s");
    bench.wait_until(at(12));
    bench
}

fn pause(bench: &mut Bench, until: Option<i64>) {
    let terms = PauseTerms { until: until.map(at), ..PauseTerms::default() };
    bench.call(Request::PauseJob(Pause { job: "tick".parse().unwrap(), terms }));
}

/// What happens in each row. They end when the job has been looked at again.
mod rows {
    use super::*;

    pub(super) fn none_missed(policy: CatchUp) -> Bench {
        let mut bench = begun(policy, |_| {});
        bench.restart(at(18));
        bench
    }

    pub(super) fn one_missed(policy: CatchUp) -> Bench {
        let mut bench = begun(policy, |_| {});
        bench.restart(at(25));
        bench
    }

    pub(super) fn several_missed(policy: CatchUp) -> Bench {
        let mut bench = begun(policy, |_| {});
        bench.restart(at(55));
        bench
    }

    pub(super) fn longer_than_the_window(policy: CatchUp) -> Bench {
        let mut bench = begun(policy, |spec| spec.catch_up_window = Duration::from_secs(25));
        bench.restart(at(55));
        bench
    }

    pub(super) fn all_before_the_window(policy: CatchUp) -> Bench {
        let mut bench = begun(policy, |spec| spec.catch_up_window = Duration::from_secs(4));
        bench.restart(at(55));
        bench
    }

    pub(super) fn more_than_the_cap(policy: CatchUp) -> Bench {
        let mut bench = begun(policy, |_| {});
        bench.restart(at(12_005));
        bench
    }

    pub(super) fn resumed_by_hand(policy: CatchUp) -> Bench {
        let mut bench = begun(policy, |_| {});
        pause(&mut bench, None);
        bench.wait_until(at(55));
        assert!(bench.fired().is_empty(), "nothing fires while it is paused");
        bench.call(Request::ResumeJob("tick".parse().unwrap()));
        bench
    }

    pub(super) fn pause_ended(policy: CatchUp) -> Bench {
        let mut bench = begun(policy, |_| {});
        pause(&mut bench, Some(35));
        bench.wait_until(at(34));
        assert!(bench.fired().is_empty(), "nothing fires while it is paused");
        bench.wait_until(at(35));
        bench
    }

    pub(super) fn pause_ended_while_down(policy: CatchUp) -> Bench {
        let mut bench = begun(policy, |_| {});
        pause(&mut bench, Some(35));
        bench.restart(at(55));
        bench
    }

    pub(super) fn clock_jumped_forward(policy: CatchUp) -> Bench {
        let mut bench = begun(policy, |_| {});
        bench.jump(at(55));
        bench
    }

    pub(super) fn defined_after_its_moment(policy: CatchUp) -> Bench {
        let mut bench = Bench::new();
        let spec = JobSpec { catch_up: policy, rule: Rule::at(at(-30)), ..tick() };
        bench.apply(spec);
        bench
    }

    pub(super) fn defined_after_its_start(policy: CatchUp) -> Bench {
        let mut bench = Bench::new();
        let mut spec = JobSpec { catch_up: policy, ..tick() };
        spec.rule.when = When::Every { period: Duration::from_secs(10), from: Some(at(-33)) };
        bench.apply(spec);
        bench
    }

    pub(super) fn rule_ended(policy: CatchUp) -> Bench {
        let mut bench = begun(policy, |spec| spec.rule.end = Some(at(35)));
        bench.restart(at(55));
        bench
    }

    pub(super) fn count_ran_out(policy: CatchUp) -> Bench {
        let mut bench = begun(policy, |spec| spec.rule.count = Some(4));
        bench.restart(at(55));
        bench
    }
}

fn check(mut bench: Bench, cell: &Cell) {
    let fired = bench.fired();
    let of = |cause: Cause| {
        let fired = fired.iter().filter(|run| run.cause == cause);
        fired.map(|run| seconds(run.scheduled_at)).collect::<Vec<_>>()
    };
    assert_eq!(of(Cause::CatchUp), cell.caught, "caught up");
    assert_eq!(of(Cause::Scheduled), cell.scheduled, "scheduled");
    assert_eq!(fired.len(), cell.caught.len() + cell.scheduled.len());
    assert!(fired.is_sorted_by_key(|run| run.scheduled_at), "in their order");
    for run in &fired {
        assert_eq!(run.serial, Serial::of_firing(run.job_id.unwrap(), run.scheduled_at));
    }
    let state = bench.state();
    let missed = state.missed.as_ref();
    let row = missed.map(|row| (row.total, seconds(row.first), seconds(row.last), &*row.reason));
    assert_eq!(row, cell.missed, "missed");
    assert_eq!(bench.missed, missed.cloned().into_iter().collect::<Vec<_>>(), "told once");
    assert_eq!(state.next_due.map(seconds), cell.next, "next");
    assert_eq!(bench.ended, usize::from(cell.next.is_none()), "told that it has ended");
    let status = if cell.next.is_some() { JobStatus::Active } else { JobStatus::Ended };
    assert_eq!(state.status(), status);
    goes_on(bench, cell);
}

/// Another start finds nothing to make up for, and the next firing is at its own time.
fn goes_on(mut bench: Bench, cell: &Cell) {
    let before = bench.state();
    let now = fleetcron::Timestamp::from_millis(at(cell.next.unwrap_or(20_000)).millis() - 1);
    bench.restart(now);
    assert!(bench.fired().is_empty(), "nothing fires again, and nothing before its time");
    assert_eq!(bench.state(), before);
    bench.wait_until(at(30_000).min(at(cell.next.unwrap_or(30_000))));
    let fired = bench.fired();
    let fired: Vec<_> = fired.iter().map(|run| (run.cause, seconds(run.scheduled_at))).collect();
    assert_eq!(
        fired,
        cell.next.map(|next| (Cause::Scheduled, next)).into_iter().collect::<Vec<_>>()
    );
    assert_eq!(bench.state().next_due.map(seconds), cell.next.map(|next| next + 10), "the phase");
}

macro_rules! cells {
    ($($row:ident { $(
        $policy:ident($variant:ident): caught $caught:expr, scheduled $scheduled:expr,
            missed $missed:expr, next $next:expr;
    )* })*) => {
        /// The rows of the table.
        pub(crate) const ROWS: &[&str] = &[$(stringify!($row)),*];

        $(mod $row {
            use super::*;

            $(#[test]
            fn $policy() {
                let cell = Cell {
                    caught: $caught.to_vec(),
                    scheduled: $scheduled.to_vec(),
                    missed: $missed,
                    next: $next,
                };
                check(rows::$row(CatchUp::$variant), &cell);
            })*
        })*
    };
}

cells! {
    none_missed {
        latest(Latest): caught [], scheduled [], missed None, next Some(20);
        all(All): caught [], scheduled [], missed None, next Some(20);
        skip(Skip): caught [], scheduled [], missed None, next Some(20);
    }
    one_missed {
        latest(Latest): caught [20], scheduled [], missed None, next Some(30);
        all(All): caught [20], scheduled [], missed None, next Some(30);
        skip(Skip): caught [], scheduled [], missed Some((1, 20, 20, DOWN)), next Some(30);
    }
    several_missed {
        latest(Latest): caught [50], scheduled [], missed Some((3, 20, 40, DOWN)), next Some(60);
        all(All): caught [20, 30, 40, 50], scheduled [], missed None, next Some(60);
        skip(Skip): caught [], scheduled [], missed Some((4, 20, 50, DOWN)), next Some(60);
    }
    longer_than_the_window {
        latest(Latest): caught [50], scheduled [], missed Some((3, 20, 40, DOWN)), next Some(60);
        all(All): caught [30, 40, 50], scheduled [], missed Some((1, 20, 20, DOWN)), next Some(60);
        skip(Skip): caught [], scheduled [], missed Some((4, 20, 50, DOWN)), next Some(60);
    }
    all_before_the_window {
        latest(Latest): caught [], scheduled [], missed Some((4, 20, 50, DOWN)), next Some(60);
        all(All): caught [], scheduled [], missed Some((4, 20, 50, DOWN)), next Some(60);
        skip(Skip): caught [], scheduled [], missed Some((4, 20, 50, DOWN)), next Some(60);
    }
    more_than_the_cap {
        latest(Latest): caught [12_000], scheduled [],
            missed Some((1_198, 20, 11_990, DOWN)), next Some(12_010);
        all(All): caught every_10_s(2_010, 12_000), scheduled [],
            missed Some((199, 20, 2_000, DOWN)), next Some(12_010);
        skip(Skip): caught [], scheduled [],
            missed Some((1_199, 20, 12_000, DOWN)), next Some(12_010);
    }
    resumed_by_hand {
        latest(Latest): caught [50], scheduled [], missed Some((3, 20, 40, PAUSED)), next Some(60);
        all(All): caught [20, 30, 40, 50], scheduled [], missed None, next Some(60);
        skip(Skip): caught [], scheduled [], missed Some((4, 20, 50, PAUSED)), next Some(60);
    }
    pause_ended {
        latest(Latest): caught [30], scheduled [], missed Some((1, 20, 20, PAUSED)), next Some(40);
        all(All): caught [20, 30], scheduled [], missed None, next Some(40);
        skip(Skip): caught [], scheduled [], missed Some((2, 20, 30, PAUSED)), next Some(40);
    }
    pause_ended_while_down {
        latest(Latest): caught [50], scheduled [], missed Some((3, 20, 40, PAUSED)), next Some(60);
        all(All): caught [20, 30, 40, 50], scheduled [], missed None, next Some(60);
        skip(Skip): caught [], scheduled [], missed Some((4, 20, 50, PAUSED)), next Some(60);
    }
    clock_jumped_forward {
        latest(Latest): caught [40], scheduled [50],
            missed Some((2, 20, 30, LATE)), next Some(60);
        all(All): caught [20, 30, 40], scheduled [50], missed None, next Some(60);
        skip(Skip): caught [], scheduled [50], missed Some((3, 20, 40, LATE)), next Some(60);
    }
    defined_after_its_moment {
        latest(Latest): caught [-30], scheduled [], missed None, next None;
        all(All): caught [-30], scheduled [], missed None, next None;
        skip(Skip): caught [], scheduled [], missed Some((1, -30, -30, PAST)), next None;
    }
    defined_after_its_start {
        latest(Latest): caught [], scheduled [], missed None, next Some(7);
        all(All): caught [], scheduled [], missed None, next Some(7);
        skip(Skip): caught [], scheduled [], missed None, next Some(7);
    }
    rule_ended {
        latest(Latest): caught [30], scheduled [], missed Some((1, 20, 20, DOWN)), next None;
        all(All): caught [20, 30], scheduled [], missed None, next None;
        skip(Skip): caught [], scheduled [], missed Some((2, 20, 30, DOWN)), next None;
    }
    count_ran_out {
        latest(Latest): caught [40], scheduled [], missed Some((2, 20, 30, DOWN)), next None;
        all(All): caught [20, 30, 40], scheduled [], missed None, next None;
        skip(Skip): caught [], scheduled [], missed Some((3, 20, 40, DOWN)), next None;
    }
}

#[test]
fn the_cap_is_what_the_table_says() {
    assert_eq!(every_10_s(2_010, 12_000).len(), MAX_CATCH_UP);
}
