//! Old work leaves at a rate, in order, and not before new work of others.

use super::*;
use crate::bucket::Rate;
use crate::engine::{URGENT_WINDOW, WINDOW};

/// What a window has room for beside what is urgent.
const ROUTINE: usize = WINDOW - URGENT_WINDOW;

/// Twenty clients that are away, with `each` deliveries, and a rate of ten a second, five at once.
fn storm(each: usize) -> (Bench, Vec<Serial>) {
    let mut bench = Bench::new();
    for n in 0..20 {
        bench.add(&format!("away-{n}"), &["away"]);
    }
    let serials = (0..each).map(|_| bench.submit("group:away").serial).collect();
    bench.engine.set_drain(Rate::new(10, 5).unwrap());
    (bench, serials)
}

fn sent_by_session(bench: &Bench) -> Vec<(u64, Serial)> {
    let sent = bench.effects.iter().filter_map(|effect| match effect {
        Effect::Send { session, dispatch } => Some((session.0, dispatch.serial)),
        _ => None,
    });
    sent.collect()
}

#[test]
fn old_work_leaves_at_its_rate_in_order_and_all_of_it_once() {
    let (mut bench, serials) = storm(3);
    let mut sent: Vec<(u64, Serial)> = Vec::new();
    for n in 0..20 {
        bench.connect(&format!("away-{n}"), n, &[]);
        sent.extend(sent_by_session(&bench));
    }
    assert_eq!(sent.len(), 5, "the burst");
    // 55 are left: 5.5 s at ten a second.
    for second in 1..=6 {
        let before = sent.len();
        while let Some(due) = bench.engine.next_deadline().filter(|due| *due <= at(second)) {
            assert!(due >= bench.now, "no deadline stays behind");
            bench.wait_until(due);
            sent.extend(sent_by_session(&bench));
        }
        bench.now = at(second);
        assert_eq!(sent.len() - before, if second == 6 { 5 } else { 10 }, "second {second}");
    }
    assert_eq!(bench.engine.next_deadline(), Some(at(30)), "only that they are to be taken");
    for n in 0..20 {
        let own: Vec<Serial> = sent.iter().filter(|(s, _)| *s == n).map(|(_, s)| *s).collect();
        assert_eq!(own, serials, "client {n}");
    }
}

#[test]
fn new_work_is_not_behind_old_work_of_others_but_behind_the_clients_own() {
    let (mut bench, serials) = storm(10);
    bench.connect("a", 100, &[]);
    assert_eq!(bench.connect("away-0", 0, &[]), serials[..5], "the burst");
    assert_eq!(bench.connect("away-1", 1, &[]), []);
    let fresh = bench.submit("client:a").serial;
    assert_eq!(sent_by_session(&bench), [(100, fresh)]);
    let last = bench.submit("client:away-0").serial;
    assert_eq!(bench.sent(), [], "its older ones come first");
    let mut sent = Vec::new();
    for tenths in 1..=20 {
        bench.wait_until(at(0).plus(Duration::from_millis(100 * tenths)));
        sent.extend(sent_by_session(&bench));
    }
    let own = |n| sent.iter().filter(|(s, _)| *s == n).map(|(_, s)| *s).collect::<Vec<_>>();
    assert_eq!(own(0), [&serials[5..], &[last]].concat());
    assert_eq!(own(1), serials);
}

#[test]
fn those_that_leave_or_lose_their_work_take_nothing_from_the_others() {
    let (mut bench, serials) = storm(5);
    for n in 0..3 {
        bench.connect(&format!("away-{n}"), n, &[]);
    }
    bench.disconnect(1);
    for serial in &serials[..4] {
        bench.call(Request::CancelDelivery(*serial, "away-2".parse().unwrap()));
    }
    bench.wait_until(at(1));
    assert_eq!(sent_by_session(&bench), [(2, serials[4])]);
    assert_eq!(bench.connect("away-1", 4, &[]), serials[..4], "four tokens are left");
    bench.wait_until(at(2));
    assert_eq!(sent_by_session(&bench), [(4, serials[4])]);
}

#[test]
fn a_window_of_old_ones_goes_on_as_it_gets_room() {
    let mut bench = Bench::new();
    let serials: Vec<Serial> = (0..=ROUTINE).map(|_| bench.submit("client:a").serial).collect();
    assert_eq!(bench.connect("a", 1, &[]), serials[..ROUTINE], "one client is below the rate");
    bench.succeed(1, serials[0]);
    assert_eq!(bench.sent(), serials[ROUTINE..]);
}
