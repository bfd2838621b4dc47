//! `overlap` × scope × where the earlier delivery stands: what the new delivery becomes, what
//! becomes of the earlier one, what the client is told, and that the schedule goes on.
//!
//! The job is for `a` and `b`. `b` always ends at once. `a` brings the earlier delivery, run #1,
//! into the state that the row is named after; then the job fires again.

use fleetcron::engine::Request;
use fleetcron::{JobSpec, Overlap, OverlapScope, Timestamp};

use crate::bench::{Bench, at, tick};

/// What a cell says.
struct Cell {
    /// The new delivery at `a`, with the reason if it has ended.
    new: &'static str,
    /// The same run at `b`, which has ended all that came before.
    elsewhere: &'static str,
    /// The latest earlier delivery at `a`.
    earlier: &'static str,
    /// What `a` is told when the job fires.
    told: &'static str,
    /// What `a` is told when it returns with what it has, if it is away, and then ends what it
    /// has one after the other.
    then: &'static str,
}

/// How `a` frees the way.
#[derive(Clone, Copy)]
enum Frees {
    /// It ends what it has; if it is away, it returns with it before.
    Ends,
    /// It loses what it has, and returns without.
    ReturnsWithout,
    /// It is removed from the registry and defined anew.
    Removed,
}

fn job(overlap: Overlap, overlap_scope: OverlapScope) -> JobSpec {
    JobSpec { overlap, overlap_scope, ..tick() }
}

/// A bench at 10 s, in which the job has fired once. `b` has ended run #1; so has `a`, unless it
/// is away.
fn fired_once(spec: JobSpec, a_is_here: bool) -> Bench {
    let mut bench = Bench::new();
    bench.connect("b", true);
    if a_is_here {
        bench.connect("a", true);
    }
    bench.apply(spec);
    bench.wait_until(at(10));
    bench.answer("b", 1);
    bench
}

/// The rows: how the earlier delivery comes into its state. They end before the job fires again.
mod rows {
    use super::*;

    pub(super) fn queued_while_away(spec: JobSpec) -> Bench {
        fired_once(spec, false)
    }

    pub(super) fn sent(spec: JobSpec) -> Bench {
        fired_once(spec, true)
    }

    pub(super) fn accepted(spec: JobSpec) -> Bench {
        let mut bench = fired_once(spec, true);
        bench.accept("a", 1);
        bench
    }

    pub(super) fn ended(spec: JobSpec) -> Bench {
        let mut bench = fired_once(spec, true);
        bench.answer("a", 1);
        bench
    }

    pub(super) fn away_with_it(spec: JobSpec) -> Bench {
        let mut bench = accepted(spec);
        bench.disconnect("a");
        bench
    }

    pub(super) fn sent_then_away(spec: JobSpec) -> Bench {
        let mut bench = sent(spec);
        bench.disconnect("a");
        bench
    }

    pub(super) fn lost_and_sent_again(spec: JobSpec) -> Bench {
        let mut bench = away_with_it(spec);
        bench.connect("a", false);
        bench
    }

    pub(super) fn cancelled_not_confirmed(spec: JobSpec) -> Bench {
        let mut bench = accepted(spec);
        bench.call(Request::CancelRun(bench.serial(1)));
        assert_eq!(bench.told("a"), "send #1, cancel #1");
        bench
    }

    /// Two earlier ones: the job allowed overlap before.
    pub(super) fn several_open(spec: JobSpec) -> Bench {
        let mut bench = fired_once(job(Overlap::Allow, OverlapScope::Client), true);
        bench.accept("a", 1);
        bench.wait_until(at(20));
        bench.answer("b", 2);
        bench.apply(spec);
        bench
    }
}

/// When a firing is due.
fn second(number: usize) -> Timestamp {
    at(10 * i64::try_from(number).unwrap())
}

fn check(row: fn(JobSpec) -> Bench, spec: &JobSpec, cell: &Cell) {
    for frees in [Frees::Ends, Frees::ReturnsWithout, Frees::Removed] {
        let mut bench = row(spec.clone());
        let earlier = bench.fired().len();
        bench.told("a");
        // One firing every 10 s: the new one is the next.
        let new = earlier + 1;
        bench.wait_until(second(new));
        assert_eq!(bench.fired().len(), 1);
        assert_eq!(bench.delivery("a", new), cell.new, "new");
        assert_eq!(bench.delivery("b", new), cell.elsewhere, "elsewhere");
        assert_eq!(bench.delivery("a", earlier), cell.earlier, "earlier");
        assert_eq!(bench.told("a"), cell.told, "told");
        frees_the_way(&mut bench, frees, cell);
        goes_on(bench, new + 1);
    }
}

fn frees_the_way(bench: &mut Bench, frees: Frees, cell: &Cell) {
    match frees {
        Frees::Ends => {
            if !bench.connected("a") {
                bench.connect("a", true);
            }
            bench.answer_all();
            assert_eq!(bench.told("a"), cell.then, "then");
        }
        Frees::ReturnsWithout => {
            if bench.connected("a") {
                bench.disconnect("a");
            }
            bench.connect("a", false);
        }
        Frees::Removed => bench.remove("a"),
    }
    bench.answer_all();
    assert_eq!(bench.open(), 0, "every delivery has ended");
    bench.told("a");
}

/// The next firing goes to both.
fn goes_on(mut bench: Bench, number: usize) {
    bench.wait_until(second(number));
    let [run] = &bench.fired()[..] else { panic!("one firing") };
    assert_eq!(run.counts.total, 2);
    assert_eq!(bench.told("a"), format!("send #{number}"));
    assert_eq!(bench.delivery("b", number), "sent");
}

/// The word by which the documentation's tables call a cell.
fn word(new: &str, elsewhere: &str, earlier: &str) -> &'static str {
    match (new, elsewhere) {
        _ if earlier.starts_with("superseded") => "replace",
        ("sent", "sent") => "send",
        ("queued", "queued") => "hold",
        ("queued", "sent") => "queue",
        _ if new.starts_with("never") => "never",
        _ => "skip",
    }
}

macro_rules! cells {
    ($($scope:ident($scope_is:ident) { $($policy:ident($policy_is:ident) { $(
        $row:ident: $new:expr, at b $elsewhere:expr, $earlier:expr, told $told:expr, then $then:expr;
    )* })* })*) => {
        /// Scope, policy, row and the documentation's word of every cell.
        pub(crate) fn cells() -> Vec<[&'static str; 4]> {
            vec![$($($([
                stringify!($scope),
                stringify!($policy),
                stringify!($row),
                word($new, $elsewhere, $earlier),
            ],)*)*)*]
        }

        $(mod $scope {
            use super::*;

            $(mod $policy {
                use super::*;

                $(#[test]
                fn $row() {
                    let spec = job(Overlap::$policy_is, OverlapScope::$scope_is);
                    let cell = Cell {
                        new: $new,
                        elsewhere: $elsewhere,
                        earlier: $earlier,
                        told: $told,
                        then: $then,
                    };
                    check(rows::$row, &spec, &cell);
                })*
            })*
        })*
    };
}

cells! {
    client(Client) {
        skip(Skip) {
            queued_while_away: "queued", at b "sent", "queued", told "", then "send #1, send #2";
            sent:
                "skipped: run #1 has not ended on this client", at b "sent", "sent",
                told "", then "";
            accepted:
                "skipped: run #1 has not ended on this client", at b "sent", "accepted",
                told "", then "";
            ended: "sent", at b "sent", "succeeded", told "send #2", then "";
            away_with_it:
                "skipped: run #1 has not ended on this client", at b "sent", "accepted",
                told "", then "";
            sent_then_away: "queued", at b "sent", "queued", told "", then "send #2";
            lost_and_sent_again:
                "skipped: run #1 has not ended on this client", at b "sent", "sent",
                told "", then "";
            cancelled_not_confirmed:
                "skipped: run #1 has not ended on this client", at b "sent", "accepted",
                told "", then "";
            several_open:
                "skipped: run #2 has not ended on this client", at b "sent", "sent",
                told "", then "";
        }
        queue(Queue) {
            queued_while_away: "queued", at b "sent", "queued", told "", then "send #1, send #2";
            sent: "sent", at b "sent", "sent", told "send #2", then "";
            accepted: "sent", at b "sent", "accepted", told "send #2", then "";
            ended: "sent", at b "sent", "succeeded", told "send #2", then "";
            away_with_it: "queued", at b "sent", "accepted", told "", then "send #2";
            sent_then_away: "queued", at b "sent", "queued", told "", then "send #2";
            lost_and_sent_again: "sent", at b "sent", "sent", told "send #2", then "";
            cancelled_not_confirmed: "sent", at b "sent", "accepted", told "send #2", then "";
            several_open:
                "skipped: run #2 waits on this client already", at b "sent", "sent",
                told "", then "";
        }
        replace(Replace) {
            queued_while_away: "queued", at b "sent", "queued", told "", then "send #1, send #2";
            sent:
                "sent", at b "sent", "superseded: run #2 is newer",
                told "cancel #1, send #2", then "";
            accepted:
                "sent", at b "sent", "superseded: run #2 is newer",
                told "cancel #1, send #2", then "";
            ended: "sent", at b "sent", "succeeded", told "send #2", then "";
            away_with_it:
                "queued", at b "sent", "superseded: run #2 is newer",
                told "", then "cancel #1, send #2";
            sent_then_away: "queued", at b "sent", "queued", told "", then "send #2";
            lost_and_sent_again:
                "sent", at b "sent", "superseded: run #2 is newer",
                told "cancel #1, send #2", then "";
            cancelled_not_confirmed:
                "sent", at b "sent", "superseded: run #2 is newer",
                told "cancel #1, send #2", then "";
            several_open:
                "sent", at b "sent", "superseded: run #3 is newer",
                told "cancel #1, cancel #2, send #3", then "";
        }
        allow(Allow) {
            queued_while_away: "queued", at b "sent", "queued", told "", then "send #1, send #2";
            sent: "sent", at b "sent", "sent", told "send #2", then "";
            accepted: "sent", at b "sent", "accepted", told "send #2", then "";
            ended: "sent", at b "sent", "succeeded", told "send #2", then "";
            away_with_it: "queued", at b "sent", "accepted", told "", then "send #2";
            sent_then_away: "queued", at b "sent", "queued", told "", then "send #2";
            lost_and_sent_again: "sent", at b "sent", "sent", told "send #2", then "";
            cancelled_not_confirmed: "sent", at b "sent", "accepted", told "send #2", then "";
            several_open: "sent", at b "sent", "sent", told "send #3", then "";
        }
    }
    job(Job) {
        skip(Skip) {
            queued_while_away: "queued", at b "sent", "queued", told "", then "send #1, send #2";
            sent:
                "never: skipped: run #1 has not ended", at b "never: skipped: run #1 has not ended", "sent",
                told "", then "";
            accepted:
                "never: skipped: run #1 has not ended", at b "never: skipped: run #1 has not ended", "accepted",
                told "", then "";
            ended: "sent", at b "sent", "succeeded", told "send #2", then "";
            away_with_it:
                "never: skipped: run #1 has not ended", at b "never: skipped: run #1 has not ended", "accepted",
                told "", then "";
            sent_then_away: "queued", at b "sent", "queued", told "", then "send #2";
            lost_and_sent_again:
                "never: skipped: run #1 has not ended", at b "never: skipped: run #1 has not ended", "sent",
                told "", then "";
            cancelled_not_confirmed:
                "never: skipped: run #1 has not ended", at b "never: skipped: run #1 has not ended", "accepted",
                told "", then "";
            several_open:
                "never: skipped: run #2 has not ended", at b "never: skipped: run #2 has not ended", "sent",
                told "", then "";
        }
        queue(Queue) {
            queued_while_away: "queued", at b "sent", "queued", told "", then "send #1, send #2";
            sent: "queued", at b "queued", "sent", told "", then "send #2";
            accepted: "queued", at b "queued", "accepted", told "", then "send #2";
            ended: "sent", at b "sent", "succeeded", told "send #2", then "";
            away_with_it: "queued", at b "queued", "accepted", told "", then "send #2";
            sent_then_away: "queued", at b "sent", "queued", told "", then "send #2";
            lost_and_sent_again: "queued", at b "queued", "sent", told "", then "send #2";
            cancelled_not_confirmed: "queued", at b "queued", "accepted", told "", then "send #2";
            several_open: "queued", at b "queued", "sent", told "", then "send #3";
        }
        replace(Replace) {
            queued_while_away:
                "queued", at b "sent", "superseded: run #2 is newer",
                told "", then "send #2";
            sent:
                "sent", at b "sent", "superseded: run #2 is newer",
                told "cancel #1, send #2", then "";
            accepted:
                "sent", at b "sent", "superseded: run #2 is newer",
                told "cancel #1, send #2", then "";
            ended: "sent", at b "sent", "succeeded", told "send #2", then "";
            away_with_it:
                "queued", at b "sent", "superseded: run #2 is newer",
                told "", then "cancel #1, send #2";
            sent_then_away:
                "queued", at b "sent", "superseded: run #2 is newer",
                told "", then "cancel #1, send #2";
            lost_and_sent_again:
                "sent", at b "sent", "superseded: run #2 is newer",
                told "cancel #1, send #2", then "";
            cancelled_not_confirmed:
                "sent", at b "sent", "superseded: run #2 is newer",
                told "cancel #1, send #2", then "";
            several_open:
                "sent", at b "sent", "superseded: run #3 is newer",
                told "cancel #1, cancel #2, send #3", then "";
        }
        allow(Allow) {
            queued_while_away: "queued", at b "sent", "queued", told "", then "send #1, send #2";
            sent: "sent", at b "sent", "sent", told "send #2", then "";
            accepted: "sent", at b "sent", "accepted", told "send #2", then "";
            ended: "sent", at b "sent", "succeeded", told "send #2", then "";
            away_with_it: "queued", at b "sent", "accepted", told "", then "send #2";
            sent_then_away: "queued", at b "sent", "queued", told "", then "send #2";
            lost_and_sent_again: "sent", at b "sent", "sent", told "send #2", then "";
            cancelled_not_confirmed: "sent", at b "sent", "accepted", told "send #2", then "";
            several_open: "sent", at b "sent", "sent", told "send #3", then "";
        }
    }
}
