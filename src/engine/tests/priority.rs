//! Classes: what is urgent goes first, and the order within a class stays.

use super::*;
use crate::policy::Priority;

fn submit(bench: &mut Bench, priority: Priority) -> Serial {
    let mut submission = Submission::new("client:a".parse().unwrap(), "noop".parse().unwrap());
    submission.priority = priority;
    match bench.call(Request::Submit(submission)) {
        Reply::Run(run) => run.serial,
        other => panic!("{other:?}"),
    }
}

/// Two of each class, the lowest first; gives them back in the order in which they are to leave.
fn two_of_each(bench: &mut Bench) -> Vec<Serial> {
    let classes = Priority::ALL.into_iter().rev();
    let pairs: Vec<[Serial; 2]> =
        classes.map(|class| [submit(bench, class), submit(bench, class)]).collect();
    pairs.into_iter().rev().flatten().collect()
}

#[test]
fn a_client_that_returns_gets_the_highest_class_first_also_after_a_restart() {
    let mut bench = Bench::new();
    let order = two_of_each(&mut bench);
    assert_eq!(bench.connect("a", 1, &[]), order);
    bench.restart(at(1));
    assert_eq!(bench.connect("a", 1, &[]), order, "a run keeps its class");
}

#[test]
fn a_part_of_the_window_is_kept_for_what_is_urgent() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let routine: Vec<Serial> = (0..ROUTINE).map(|_| submit(&mut bench, Priority::Normal)).collect();
    let order = two_of_each(&mut bench);
    assert!(bench.sent().is_empty() || bench.sent() == order[1..2], "only what is urgent is sent");
    for _ in 2..URGENT_WINDOW {
        submit(&mut bench, Priority::Urgent);
        assert_eq!(bench.sent().len(), 1);
    }
    let last = submit(&mut bench, Priority::Urgent);
    assert!(bench.sent().is_empty(), "the window is full");
    bench.succeed(1, routine[0]);
    assert_eq!(bench.sent(), [last], "it overtakes all that wait");
    for (n, answered) in routine[1..=URGENT_WINDOW].iter().enumerate() {
        bench.succeed(1, *answered);
        assert!(bench.sent().is_empty(), "{n}: the rest of the window is for urgent ones");
    }
    for (answered, sent) in routine[URGENT_WINDOW + 1..].iter().zip(&order[2..]) {
        bench.succeed(1, *answered);
        assert_eq!(bench.sent(), [*sent]);
    }
}

#[test]
fn a_jobs_runs_have_its_class() {
    let mut bench = Bench::new();
    let mut spec = every("alarm", "client:a", 10);
    spec.priority = Priority::Urgent;
    bench.apply(spec);
    let routine = submit(&mut bench, Priority::Normal);
    bench.wait_until(at(10));
    assert_eq!(bench.runs_put()[0].policy.priority, Priority::Urgent);
    let sent = bench.connect("a", 1, &[]);
    assert!(sent.len() == 2 && sent[1] == routine && sent[0] > routine, "{sent:?}");
}
