//! Spread and jitter: when each client gets a run.

use super::*;

fn fleet() -> Bench {
    let mut bench = Bench::new();
    for n in 0..100 {
        bench.add(&format!("s{n}"), &["many"]);
        bench.connect(&format!("s{n}"), n + 1, &[]);
    }
    bench
}

/// The time at which each connection gets the run of the occurrence at `due`, in milliseconds
/// after it.
fn starts(bench: &mut Bench, due: Timestamp, until: Timestamp) -> Vec<(SessionId, i64)> {
    let mut starts = Vec::new();
    bench.wait_until(due);
    loop {
        starts.extend(bench.effects.iter().filter_map(|effect| match effect {
            Effect::Send { session, .. } => Some((*session, bench.now.millis() - due.millis())),
            _ => None,
        }));
        match bench.engine.next_deadline() {
            Some(next) if next < until => bench.wait_until(next),
            _ => break,
        }
    }
    starts.sort();
    starts
}

#[test]
fn each_client_starts_at_its_own_offset_and_keeps_it() {
    let mut bench = fleet();
    let mut spec = every("tick", "group:many", 60);
    spec.spread = Some(Duration::from_secs(30));
    bench.apply(spec);
    let first = starts(&mut bench, at(60), at(119));
    assert_eq!(first.len(), 100);
    assert!(first.iter().all(|(_, offset)| (0..30_000).contains(offset)));
    let distinct: std::collections::BTreeSet<i64> = first.iter().map(|(_, at)| *at).collect();
    assert!(distinct.len() > 80, "spread, not bunched: {}", distinct.len());
    let early = first.iter().filter(|(_, offset)| *offset < 15_000).count();
    assert!((25..=75).contains(&early), "about half in each half: {early}");
    assert_eq!(starts(&mut bench, at(120), at(179)), first, "the same offsets again");
}

#[test]
fn jitter_delays_each_firing_as_a_whole_and_differently() {
    let mut bench = fleet();
    let mut spec = every("tick", "group:many", 60);
    spec.jitter = Some(Duration::from_secs(30));
    bench.apply(spec);
    let mut delays = std::collections::BTreeSet::new();
    for n in 1..=5 {
        let starts = starts(&mut bench, at(n * 60), at(n * 60 + 59));
        assert_eq!(starts.len(), 100);
        let delay = starts[0].1;
        assert!((0..30_000).contains(&delay) && starts.iter().all(|(_, at)| *at == delay));
        delays.insert(delay);
    }
    assert!(delays.len() > 3, "{delays:?}");
}

/// Nobody takes anything in these tests.
fn patient() -> crate::policy::Timeout {
    crate::policy::Timeout::new(Duration::from_secs(86_400), None).unwrap()
}

#[test]
fn who_comes_back_before_its_moment_waits_for_it_and_after_it_does_not() {
    let mut bench = fleet();
    let mut spec = every("tick", "group:many", 60);
    spec.spread = Some(Duration::from_secs(30));
    spec.timeout = patient();
    bench.apply(spec);
    let first = starts(&mut bench, at(60), at(119));
    let (late, offset) = *first.iter().max_by_key(|(_, offset)| *offset).unwrap();
    let id = format!("s{}", late.0 - 1);
    bench.wait_until(at(120));
    bench.disconnect(late.0);
    bench.wait_until(at(121));
    assert!(bench.connect(&id, 500, &[]).len() == 1, "the run before, not this one");
    bench.wait_until(at(120).plus(Duration::from_millis(u64::try_from(offset).unwrap())));
    let to_it = |effect: &Effect| matches!(effect, Effect::Send { session: SessionId(500), .. });
    assert_eq!(bench.effects.iter().filter(|effect| to_it(effect)).count(), 1);
    bench.disconnect(500);
    assert_eq!(bench.connect(&id, 501, &[]).len(), 2, "its moment has passed");
}

#[test]
fn a_restart_keeps_the_moments() {
    let mut bench = fleet();
    let mut spec = every("tick", "group:many", 60);
    spec.spread = Some(Duration::from_secs(30));
    spec.timeout = patient();
    bench.apply(spec);
    let before = starts(&mut bench, at(60), at(119));
    bench.wait_until(at(120));
    let soon = bench.sent().len();
    bench.restart(at(121));
    bench.call(Request::PauseJob(Pause::new("tick".parse().unwrap())));
    let mut at_once = 0;
    for n in 0..100 {
        let sent = bench.connect(&format!("s{n}"), 1_000 + n, &[]);
        at_once += sent.len() - 1;
    }
    let passed = before.iter().filter(|(_, offset)| *offset <= 1_000).count();
    assert_eq!(at_once, passed, "beside the run before; {soon} had been sent");
    let mut later = 0;
    while let Some(next) = bench.engine.next_deadline().filter(|next| *next < at(200)) {
        bench.wait_until(next);
        later += bench.sent().len();
    }
    assert_eq!(at_once + later, 100);
}

#[test]
fn a_spread_above_a_day_is_refused() {
    let mut bench = Bench::new();
    let mut spec = every("tick", "all", 60);
    spec.spread = Some(Duration::from_secs(86_401));
    let apply = Apply { jobs: vec![spec], ..Apply::default() };
    let error = bench.ask(Request::Apply(apply)).unwrap_err().to_string();
    assert_eq!(error, "job \"tick\": spread is longer than one day, the most");
}

#[test]
fn who_has_it_does_not_get_it_again_when_the_clock_was_set_back() {
    let mut bench = fleet();
    let mut spec = every("tick", "group:many", 60);
    spec.spread = Some(Duration::from_secs(30));
    bench.apply(spec);
    // Those of the first two seconds, before any must have taken it.
    let sent = starts(&mut bench, at(60), at(62));
    let [(has, _), (has_not, _)] = sent[..2] else { panic!("{sent:?}") };
    let name = |session: SessionId| format!("s{}", session.0 - 1);
    let serial = bench.state("tick").last_serial.unwrap();
    bench.restart(at(50));
    assert_eq!(bench.connect(&name(has), 1_000, &[serial]), []);
    assert_eq!(bench.connect(&name(has_not), 1_001, &[]), [], "its moment is to come, again");
    let again = starts(&mut bench, at(60), at(62));
    let sessions: Vec<SessionId> = again.into_iter().map(|(session, _)| session).collect();
    assert_eq!(sessions, [SessionId(1_001)]);
}
