//! The queue of a client that is away: what counts, what is refused, what is dropped.

use super::*;
use crate::engine::{InvalidLimits, Limits, MIN_QUEUE_BYTES, QUEUE_BYTES, QUEUE_DELIVERIES};
use crate::engine::{QueueFull, RETURN_GRACE};
use crate::id::ClientNo;

fn limits(deliveries: usize, full: QueueFull) -> Limits {
    Limits::default().with_queue(deliveries, QUEUE_BYTES, full).unwrap()
}

fn bench(limits: Limits) -> Bench {
    let mut bench = Bench::new();
    bench.engine = bench.engine.with_limits(limits);
    bench
}

/// Starts again with the same limits.
fn restart(mut bench: Bench, now: Timestamp) -> Bench {
    let limits = bench.engine.limits;
    bench.restart(now);
    bench.engine = bench.engine.with_limits(limits);
    bench
}

fn submit_with(bench: &mut Bench, bytes: usize) -> Serial {
    let mut submission = Submission::new("client:a".parse().unwrap(), "noop".parse().unwrap());
    submission.params = Json::new(&"x".repeat(bytes - 2)).unwrap();
    match bench.call(Request::Submit(submission)) {
        Reply::Run(run) => run.serial,
        other => panic!("{other:?}"),
    }
}

/// The ends of the last decision: the run, how, and why.
fn reasons(bench: &Bench) -> Vec<(Serial, DeliveryState, String)> {
    let what = bench.effects.iter().filter_map(|effect| match effect {
        Effect::Notify(event) => Some(&event.what),
        _ => None,
    });
    what.filter_map(|what| match what {
        What::DeliveryEnded { response, .. } => {
            let reason = response.outcome.reason.clone().unwrap_or_default();
            Some((response.serial, response.outcome.state, reason))
        }
        _ => None,
    })
    .collect()
}

/// That what is counted as a client's queue is what waits for it.
fn check(bench: &mut Bench) {
    for id in ["a", "b", "c"] {
        let view = bench.client(id);
        let no = bench.engine.registry.find(&id.parse().unwrap()).unwrap();
        let client = bench.engine.registry.get(no).unwrap();
        let open = client.narrow.iter().copied().chain(bench.engine.runs.wide_of(no));
        let runs = open.filter_map(|serial| bench.engine.runs.get(serial));
        let waiting = runs.filter(|run| !view.connected && !run.accepted.contains(no.0));
        let bytes: Vec<u64> =
            waiting.map(|run| run.run.command.params.text().len() as u64).collect();
        assert_eq!((view.queued, view.queued_bytes), (bytes.len() as u64, bytes.iter().sum()));
    }
}

#[test]
fn a_full_queue_refuses_what_comes_and_says_so_also_after_a_restart() {
    let mut bench = bench(limits(3, QueueFull::RefuseNewest));
    let kept: Vec<Serial> = (0..3).map(|_| bench.submit("client:a").serial).collect();
    check(&mut bench);
    let full = "the client's queue is full: 3 deliveries wait".to_owned();
    let run = bench.submit("all");
    assert_eq!(reasons(&bench), [(run.serial, DeliveryState::Skipped, full.clone())]);
    assert_eq!((run.counts.total, run.counts.skipped), (3, 1), "b and c have room");
    let mut bench = restart(bench, at(1));
    check(&mut bench);
    assert_eq!((bench.client("a").queued, bench.client("a").queued_bytes), (3, 6));
    let serial = bench.submit("client:a").serial;
    assert_eq!(reasons(&bench), [(serial, DeliveryState::Skipped, full)]);
    assert_eq!(bench.connect("a", 1, &[]), kept);
    for _ in 0..5 {
        bench.submit("client:a");
        assert!(reasons(&bench).is_empty(), "a client that is here has no queue");
    }
    check(&mut bench);
}

#[test]
fn parameters_have_a_limit_of_their_own() {
    let limit = MIN_QUEUE_BYTES;
    let of = |full| Limits::default().with_queue(10, limit, full).unwrap();
    let mut bench = bench(of(QueueFull::RefuseNewest));
    let first = submit_with(&mut bench, 49_000);
    assert!(reasons(&bench).is_empty());
    submit_with(&mut bench, 152);
    assert!(reasons(&bench).is_empty(), "up to the limit");
    let refused = submit_with(&mut bench, 3);
    let full = "the client's queue is full: 49152 bytes of parameters wait".to_owned();
    assert_eq!(reasons(&bench), [(refused, DeliveryState::Skipped, full)]);
    bench.engine = bench.engine.with_limits(of(QueueFull::DropOldest));
    let newest = submit_with(&mut bench, 3);
    let reason = format!("the client's queue was full: run {newest} took its place");
    assert_eq!(reasons(&bench), [(first, DeliveryState::Superseded, reason)]);
    check(&mut bench);
}

#[test]
fn the_oldest_makes_room_unless_the_client_has_it_or_may() {
    let mut bench = bench(limits(3, QueueFull::DropOldest));
    bench.connect("a", 1, &[]);
    let taken = bench.submit("client:a").serial;
    bench.accept(1, taken);
    let on_the_way = bench.submit("client:a").serial;
    bench.disconnect(1);
    check(&mut bench);
    assert_eq!(bench.client("a").queued, 1, "what was taken does not wait");
    let waiting: Vec<Serial> = (0..2).map(|_| bench.submit("all").serial).collect();
    let mut newest = Vec::new();
    for oldest in &waiting {
        let serial = bench.submit("client:a").serial;
        let reason = format!("the client's queue was full: run {serial} took its place");
        assert_eq!(reasons(&bench), [(*oldest, DeliveryState::Superseded, reason)]);
        newest.push(serial);
        check(&mut bench);
    }
    let sent = bench.connect("a", 2, &[taken]);
    assert_eq!(sent, [on_the_way, newest[0], newest[1]]);
    bench.disconnect(2);
    let serial = bench.submit("client:a").serial;
    let full = "the client's queue is full: 3 deliveries wait".to_owned();
    assert_eq!(reasons(&bench), [(serial, DeliveryState::Skipped, full)], "it may have all");
    check(&mut bench);
}

#[test]
fn nothing_from_before_a_start_is_dropped_until_clients_had_time_to_return() {
    let mut bench = bench(limits(1, QueueFull::DropOldest));
    let before = bench.submit("client:a").serial;
    let mut bench = restart(bench, at(1));
    let refused = bench.submit("client:a").serial;
    assert!(
        matches!(reasons(&bench)[..], [(serial, DeliveryState::Skipped, _)] if serial == refused)
    );
    bench.wait_until(at(1).plus(RETURN_GRACE));
    bench.submit("client:a");
    assert!(
        matches!(reasons(&bench)[..], [(serial, DeliveryState::Superseded, _)] if serial == before)
    );
    check(&mut bench);
}

#[test]
fn what_the_policy_does_not_want_queued_takes_nobodys_place() {
    let mut bench = bench(limits(2, QueueFull::DropOldest));
    bench.submit("client:a");
    let mut spec = every("tick", "client:a", 10);
    spec.offline = Offline::Latest;
    bench.apply(spec);
    bench.wait_until(at(10));
    let first = bench.runs_put()[0].serial;
    bench.wait_until(at(20));
    let ends = reasons(&bench);
    assert!(ends.len() == 1 && ends[0].0 == first, "the job's earlier one has made room: {ends:?}");
    let mut dropped = Submission::new("client:a".parse().unwrap(), "noop".parse().unwrap());
    dropped.offline = Offline::Drop;
    bench.call(Request::Submit(dropped));
    assert_eq!(reasons(&bench).len(), 1);
    assert_eq!(reasons(&bench)[0].2, "the client was away");
    assert_eq!(bench.client("a").queued, 2);
    check(&mut bench);
}

#[test]
fn wide_runs_and_further_attempts_wait_in_the_queue_too() {
    let mut bench = bench(limits(2, QueueFull::DropOldest));
    for n in 0..100 {
        bench.add(&format!("many-{n}"), &["many"]);
    }
    bench.connect("a", 1, &[]);
    let mut submission = Submission::new("client:a".parse().unwrap(), "noop".parse().unwrap());
    submission.retry =
        crate::Retry::new(3, Duration::from_secs(1), Duration::from_secs(1)).unwrap();
    submission.timeout =
        crate::Timeout::new(Duration::from_secs(30), Some(Duration::from_secs(5))).unwrap();
    let Reply::Run(run) = bench.call(Request::Submit(submission)) else { panic!() };
    let attempt = run.serial.into();
    bench.input(Input::Accepted { session: SessionId(1), attempt });
    bench.input(Input::Started { session: SessionId(1), attempt });
    bench.disconnect(1);
    assert_eq!(bench.client("a").queued, 0);
    bench.wait_until(at(60));
    assert_eq!(bench.client("a").queued, 1, "it waits to be tried again");
    check(&mut bench);
    let wide = bench.submit("all").serial;
    bench.submit("client:a");
    assert!(
        matches!(reasons(&bench)[..], [(serial, DeliveryState::Superseded, _)] if serial == run.serial)
    );
    bench.submit("client:a");
    assert!(
        matches!(reasons(&bench)[..], [(serial, DeliveryState::Superseded, _)] if serial == wide)
    );
    check(&mut bench);
    bench.call(Request::RemoveClient("a".parse().unwrap()));
    let queue = &bench.engine.registry.get(ClientNo(0)).unwrap().queue;
    assert_eq!((queue.deliveries, queue.bytes), (0, 0));
}

#[test]
fn limits_that_cannot_be_are_named() {
    let limits = |deliveries, bytes| {
        Limits::default().with_queue(deliveries, bytes, QueueFull::default()).map(|_| ())
    };
    assert_eq!(limits(QUEUE_DELIVERIES, QUEUE_BYTES), Ok(()));
    assert_eq!(limits(0, QUEUE_BYTES), Err(InvalidLimits::Deliveries(0)));
    assert_eq!(limits(10_001, QUEUE_BYTES), Err(InvalidLimits::Deliveries(10_001)));
    assert_eq!(limits(1, 49_151), Err(InvalidLimits::Bytes(49_151)));
    let error = InvalidLimits::Bytes(1).to_string();
    assert!(error.contains("1 bytes") && error.contains("49152 (48 KiB)"), "{error}");
}

#[test]
fn what_a_client_gets_by_joining_a_group_waits_in_its_queue() {
    let mut bench = bench(limits(1, QueueFull::RefuseNewest));
    bench.submit("client:a");
    let mut submission = Submission::new("group:late".parse().unwrap(), "noop".parse().unwrap());
    submission.membership = crate::Membership::Open;
    bench.add("first", &["late"]);
    let Reply::Run(run) = bench.call(Request::Submit(submission)) else { panic!() };
    for id in ["a", "b"] {
        let id = id.parse().unwrap();
        let add = ["late".parse().unwrap()].into();
        bench.call(Request::GroupClient(crate::engine::Regroup { id, add, remove: [].into() }));
        let full = "the client's queue is full: 1 deliveries wait".to_owned();
        let refused = [(run.serial, DeliveryState::Skipped, full)];
        assert_eq!(reasons(&bench), if bench.client("b").queued == 0 { &refused[..] } else { &[] });
        bench.settle();
        check(&mut bench);
    }
    assert_eq!(bench.client("b").queued, 1);
}
