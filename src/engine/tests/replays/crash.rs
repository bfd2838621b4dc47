//! A crash between any two units: no item of a replay runs twice, and none is lost.

use super::*;
use crate::store::Store as _;

/// Everything that a store holds.
fn copy(store: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::new();
    let all = store.scan(&[]..&[u8::MAX], crate::store::Order::Up, usize::MAX).unwrap();
    let ops = all.into_iter().map(|(key, value)| crate::store::Op::Put(key, value));
    copy.commit(vec![ops.collect()]).unwrap();
    copy
}

/// A bench with a past of six runs, all failed at b, and a replay of these of which some have
/// ended: what the engine has decided since the last commit is not stored.
fn under_way(steps: usize) -> (Bench, ReplayId, Vec<Vec<Change>>) {
    let mut bench = Bench::new();
    let mut spec = tick();
    spec.overlap = Overlap::Allow;
    bench.past(spec, 6);
    let replay = bench.again(&failed(), terms(r#"{"max_open": 2}"#));
    // Several inputs in one commit, ended in another order than begun.
    for n in 0..steps {
        let open: Vec<Serial> = open_of(&bench, replay.id);
        let serial = open[(n + 1) % open.len()];
        let outcome = Outcome::succeeded(Json::null());
        let (session, attempt) = (SessionId(2), serial.into());
        bench.engine.handle(bench.now, Input::Responded { session, attempt, outcome });
    }
    let units = bench.engine.take().units;
    (bench, replay.id, units)
}

/// The open runs of a replay, as the engine has them.
fn open_of(bench: &Bench, id: ReplayId) -> Vec<Serial> {
    let of = |run: &Run| run.replay_of.is_some_and(|of| of.replay == id);
    let open = bench.engine.runs.open_now();
    open.filter(|run| of(run) && run.ended_at.is_none()).map(|run| run.serial).collect()
}

/// Lets b answer all that it gets, until the replay has ended.
fn finish(bench: &mut Bench, id: ReplayId) {
    bench.restart(at(200));
    let mut sent = bench.connect("b", 9, &[]);
    let mut rounds = 0;
    while bench.stored(id).ended_at.is_none() {
        while let Some(serial) = sent.pop() {
            bench.succeed(9, serial);
            sent.extend(bench.sent());
        }
        bench.wait_until(bench.now.plus(Duration::from_secs(31)));
        sent.extend(bench.sent());
        rounds += 1;
        assert!(rounds < 20, "it does not end: {:?}", bench.stored(id));
    }
}

#[test]
fn wherever_it_stops_each_item_becomes_one_run_and_is_counted_once() {
    for steps in 1..=5 {
        let (_, _, units) = under_way(steps);
        assert!(units.len() > steps, "{} units", units.len());
        for durable in 0..=units.len() {
            let (mut bench, id, units) = under_way(steps);
            records::write(&bench.store, &units[..durable]).unwrap();
            finish(&mut bench, id);
            let (runs, replay) = (bench.made(id), bench.stored(id));
            assert_eq!((runs.len(), replay.started, replay.ended), (6, 6, 6));
            assert_eq!((replay.counts.total, replay.counts.succeeded), (6, 6), "{steps} {durable}");
            assert!(runs.iter().all(|run| run.ended_at.is_some()));
            assert!(records::load(&bench.store).unwrap().replays.is_empty());
        }
    }
}

#[test]
fn a_replay_whose_making_was_cut_short_never_was() {
    let mut bench = Bench::new();
    bench.past(tick(), 2);
    let new = bench.new_replay(&failed(), ReplayTerms::default());
    let request = Request::Replay(Box::new(new));
    bench.engine.handle(
        bench.now,
        Input::Call { call: CallId(999), actor: crate::Actor::Library, request, entropy: 5 },
    );
    let units = bench.engine.take().units;
    let [making, first] = &units[..] else { panic!("{units:?}") };
    assert!(matches!(&making[..], [Change::PutReplay(_), Change::PutReplayParts(..)]));
    assert!(first.iter().any(|change| matches!(change, Change::PutReplayRun { .. })));
    for (durable, replays) in [(0, 0), (1, 1), (2, 1)] {
        let store = copy(&bench.store);
        records::write(&store, &units[..durable]).unwrap();
        assert_eq!(records::load(&store).unwrap().replays.len(), replays);
    }
}

#[test]
fn a_cancellation_that_was_cut_short_is_completed() {
    let cancelled = || {
        let (mut bench, id, units) = under_way(1);
        records::write(&bench.store, &units).unwrap();
        let request = Request::CancelReplay(id);
        bench.engine.handle(
            bench.now,
            Input::Call { call: CallId(999), actor: crate::Actor::Library, request, entropy: 5 },
        );
        let units = bench.engine.take().units;
        (bench, id, units)
    };
    let count = cancelled().2.len();
    assert_eq!(count, 3, "the replay, and its two open runs");
    for durable in 1..=count {
        let (mut bench, id, units) = cancelled();
        records::write(&bench.store, &units[..durable]).unwrap();
        finish(&mut bench, id);
        let replay = bench.stored(id);
        assert_eq!((replay.started, replay.ended, replay.counts.cancelled), (3, 3, 2));
    }
}

#[test]
fn a_place_is_kept_after_a_start_until_clients_have_had_time_to_return() {
    let mut bench = Bench::new();
    bench.past(tick(), 3);
    let replay = bench.again(&failed(), ReplayTerms::default());
    bench.restart(at(40));
    assert_eq!(bench.made(replay.id).len(), 1, "b may be running it");
    bench.wait_until(at(69));
    assert_eq!(bench.made(replay.id).len(), 1);
    bench.wait_until(at(70));
    assert_eq!(bench.made(replay.id).len(), 3, "b has not come");
}

/// What ends a run in the unit of another thing tells of the replay there, too.
#[test]
fn a_run_that_ends_with_its_clients_leaving_is_counted_in_the_same_unit() {
    let mut bench = Bench::new();
    let mut spec = every("tick", "group:abc", 10);
    spec.overlap = Overlap::Allow;
    bench.past(spec, 1);
    bench.disconnect(2);
    let replay = bench.again(&failed(), ReplayTerms::default());
    assert_eq!(bench.made(replay.id)[0].counts.total, 1, "b is away");
    let (add, remove) = ([].into(), ["abc".parse().unwrap()].into());
    let request = Request::GroupClient(crate::Regroup { id: "b".parse().unwrap(), add, remove });
    bench.engine.handle(
        bench.now,
        Input::Call { call: CallId(999), actor: crate::Actor::Library, request, entropy: 5 },
    );
    let units = bench.engine.take().units;
    records::write(&bench.store, &units[..1]).unwrap();
    bench.restart(at(100));
    let ended = bench.stored(replay.id);
    assert_eq!((ended.ended, ended.counts.removed, ended.ended_at), (1, 1, Some(at(10))));
}
