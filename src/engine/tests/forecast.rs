//! What fires is what was foreseen.

use std::collections::BTreeSet;

use super::*;
use crate::forecast::{self, Forecast, ForecastQuery, MAX_NEXT, NextFirings, Span};

/// `SplitMix64`: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[usize::try_from(self.below(among.len() as u64)).unwrap()]
    }
}

const ZONES: [&str; 6] = [
    "UTC",
    "Europe/Stockholm",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Africa/Casablanca",
];

/// A rule of any kind, most with limits that come to bear within a day or two.
fn rule(random: &mut Random, now: Timestamp) -> Rule {
    let soon = |random: &mut Random| now.plus(Duration::from_secs(random.below(100_000)));
    let mut rule = match random.below(4) {
        0 => Rule::at(soon(random)),
        1 => Rule::every(Duration::from_millis(100 * (3_000 + random.below(90_000)))).unwrap(),
        _ => {
            let minute = random.pick(&["*/7", "0", "13,14,59", "5-50/15"]);
            let hour = random.pick(&["*", "1-3", "2", "*/5", "0,12,23"]);
            let day = random.pick(&["* * *", "* * mon-fri", "*/2 * sun"]);
            Rule::cron(&format!("{minute} {hour} {day}"), random.pick(&ZONES)).unwrap()
        }
    };
    if !matches!(rule.when, crate::schedule::When::At(_)) {
        let (start, length) = (soon(random), random.below(100_000));
        rule.start = Some(start).filter(|_| random.below(3) == 0);
        rule.end = Some(start.plus(Duration::from_secs(length))).filter(|_| random.below(3) == 0);
        rule.count = Some(1 + random.below(12)).filter(|_| random.below(3) == 0);
    }
    // An end before its first occurrence is refused.
    let endless = Rule { end: None, ..rule.clone() };
    rule.checked().or_else(|_| endless.checked()).unwrap()
}

fn foresee(bench: &mut Bench, query: &ForecastQuery) -> Forecast {
    let (mut all, mut paused, mut after) = (Vec::new(), 0, None);
    let mut first: Option<Span> = None;
    let limit = Some(forecast::MAX_LISTED);
    loop {
        let query = query.clone();
        let Reply::Outlooks(part) = bench.call(Request::Outlooks { query, after }) else {
            panic!("another reply")
        };
        all.extend(part.outlooks);
        paused += part.paused;
        let span = *first.get_or_insert(part.span);
        match part.after {
            Some(name) => after = Some(name),
            None => return Forecast { paused, ..forecast::forecast(all, span, limit) },
        }
    }
}

fn next(bench: &mut Bench, name: &str, count: usize) -> NextFirings {
    match bench.call(Request::Outlook(name.parse().unwrap())) {
        Reply::Outlook(now, outlook) => forecast::next_firings(outlook, now, count),
        other => panic!("{other:?}"),
    }
}

/// Lets the clock go from deadline to deadline up to `to`, and tells what fired before it.
fn live(bench: &mut Bench, to: Timestamp) -> BTreeSet<(Timestamp, String, u64)> {
    let mut fired = BTreeSet::new();
    while let Some(due) = bench.engine.next_deadline().filter(|due| *due < to) {
        bench.wait_until(due);
        let runs = bench.runs_put();
        fired.extend(runs.into_iter().filter_map(|run| {
            let job = run.job.as_ref()?.to_string();
            Some((run.scheduled_at, job, u64::from(run.counts.total)))
        }));
    }
    fired
}

/// Random jobs, some of which have lived for a while.
fn populated(random: &mut Random) -> Bench {
    let mut bench = Bench::new();
    // Each at another time of the year, most near a change of clocks.
    let begin = random.pick(&[
        "2026-03-07T20:00:00Z",
        "2026-03-28T18:00:00Z",
        "2026-04-04T09:00:00Z",
        "2026-10-03T08:00:00Z",
        "2026-10-24T20:00:00Z",
        "2026-06-10T03:00:00Z",
    ]);
    bench.wait_until(begin.parse().unwrap());
    for n in 0..30 {
        let target = random.pick(&["all", "group:abc", "client:b", "group:nobody"]);
        let mut spec = every(&format!("{}/{n}", random.pick(&["x", "y"])), target, 60);
        spec.rule = rule(random, bench.now);
        spec.offline = Offline::Drop;
        bench.apply(spec);
        let later = bench.now.plus(Duration::from_secs(random.below(600)));
        live(&mut bench, later);
    }
    bench
}

#[test]
fn what_fires_is_what_was_foreseen() {
    let mut total = 0;
    for seed in 1..=40_u64 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut bench = populated(&mut random);
        let to = bench.now.plus(Duration::from_secs(3_600 + random.below(200_000)));
        let seen = foresee(&mut bench, &ForecastQuery { to: Some(to), ..ForecastQuery::default() });
        assert_eq!(seen.cut, None);
        let names: BTreeSet<String> =
            seen.firings.iter().map(|firing| firing.job.to_string()).collect();
        let single: BTreeSet<_> = names
            .iter()
            .flat_map(|name| {
                let next = next(&mut bench, name, MAX_NEXT);
                next.firings.into_iter().map(|at| (at, name.clone()))
            })
            .filter(|(at, _)| *at < to)
            .collect();
        let fired = live(&mut bench, to);
        let foreseen: BTreeSet<_> = seen
            .firings
            .iter()
            .map(|firing| (firing.at, firing.job.to_string(), firing.deliveries))
            .collect();
        assert_eq!(fired, foreseen, "seed {seed}");
        assert_eq!(seen.total.firings, fired.len() as u64, "seed {seed}");
        let alone: BTreeSet<_> = fired.iter().map(|(at, job, _)| (*at, job.clone())).collect();
        assert_eq!(alone, single, "seed {seed}");
        let buckets: u64 = seen.buckets.iter().map(|bucket| bucket.load.firings).sum();
        assert_eq!(buckets, seen.total.firings, "seed {seed}");
        total += fired.len();
    }
    assert!(total > 5_000, "{total} firings are too few to tell");
}

#[test]
fn a_span_that_begins_later_foresees_what_fires_then() {
    for seed in 1..=20_u64 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut bench = populated(&mut random);
        let from = bench.now.plus(Duration::from_secs(random.below(100_000)));
        let to = from.plus(Duration::from_secs(1 + random.below(100_000)));
        let query = ForecastQuery { from: Some(from), to: Some(to), ..ForecastQuery::default() };
        let seen = foresee(&mut bench, &query);
        let mut fired = live(&mut bench, to);
        fired.retain(|(at, ..)| *at >= from);
        let foreseen = seen.firings.into_iter();
        let foreseen: BTreeSet<_> =
            foreseen.map(|firing| (firing.at, firing.job.to_string(), firing.deliveries)).collect();
        assert_eq!(fired, foreseen, "seed {seed}");
    }
}

#[test]
fn a_forecast_can_be_of_one_target_or_of_one_family_of_names() {
    let mut bench = Bench::new();
    bench.add("d", &["web"]);
    for (name, target) in
        [("x/all", "all"), ("x/web", "group:web"), ("y/abc", "group:abc"), ("y/none", "group:none")]
    {
        bench.apply(every(name, target, 60));
    }
    let mut ask = |target: &str, prefix: &str| {
        let query = ForecastQuery {
            to: Some(bench.now.plus(Duration::from_secs(61))),
            target: Some(target).filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()),
            prefix: Some(prefix).filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()),
            ..ForecastQuery::default()
        };
        let seen = foresee(&mut bench, &query);
        seen.firings
            .iter()
            .map(|firing| format!("{} {}", firing.job, firing.deliveries))
            .collect::<Vec<_>>()
            .join(", ")
    };
    assert_eq!(ask("", ""), "x/all 4, x/web 1, y/abc 3, y/none 0");
    assert_eq!(ask("client:d", ""), "x/all 1, x/web 1");
    assert_eq!(ask("group:abc", ""), "x/all 3, y/abc 3");
    assert_eq!(ask("all", ""), "x/all 4, x/web 1, y/abc 3");
    assert_eq!(ask("", "y/"), "y/abc 3, y/none 0");
    assert_eq!(ask("client:d", "x/w"), "x/web 1");
    assert_eq!(ask("", "z"), "");
    let query = ForecastQuery { target: Some("group:wep".parse().unwrap()), ..Default::default() };
    let error = bench.ask(Request::Outlooks { query, after: None }).unwrap_err();
    assert_eq!(error.to_string(), "no group named \"wep\"; did you mean \"web\"?");
    let error = bench.ask(Request::Outlook("x/al".parse().unwrap())).unwrap_err();
    assert_eq!(error.to_string(), "no job named \"x/al\"; did you mean \"x/all\"?");
}

#[test]
fn paused_jobs_are_counted_and_what_they_would_fire_is_what_they_fire_when_resumed() {
    let mut bench = Bench::new();
    let mut spec = every("tick", "all", 60);
    spec.rule.count = Some(10);
    spec.catch_up = CatchUp::Skip;
    spec.offline = Offline::Drop;
    bench.apply(spec);
    bench.call(Request::PauseJob(Pause::new("tick".parse().unwrap())));
    bench.wait_until(at(7 * 60 + 30));
    let seen = foresee(&mut bench, &ForecastQuery::default());
    assert_eq!((seen.paused, seen.total.firings), (1, 0));
    let would = next(&mut bench, "tick", 100);
    assert_eq!(would.firings, [at(480), at(540), at(600)]);
    assert_eq!(would.paused_at, Some(at(0)));
    bench.call(Request::ResumeJob("tick".parse().unwrap()));
    let fired: Vec<_> = live(&mut bench, at(10_000)).into_iter().map(|(at, ..)| at).collect();
    assert_eq!(fired, would.firings);
}

#[test]
fn outlooks_come_in_parts_each_job_once() {
    let mut bench = Bench::new();
    let jobs: Vec<_> = (0..2 * super::super::OUTLOOKS)
        .map(|n| every(&format!("a{n:06}"), "all", 3_600))
        .chain([every("b", "all", 3_600)])
        .collect();
    let total = jobs.len() as u64;
    bench.call(Request::Apply(Apply { jobs, ..Apply::default() }));
    let of = |prefix: &str| ForecastQuery {
        prefix: Some(prefix.parse().unwrap()),
        to: Some(at(3_601)),
        ..ForecastQuery::default()
    };
    assert_eq!(foresee(&mut bench, &of("a")).total.firings, total - 1);
    assert_eq!(foresee(&mut bench, &of("b")).total.firings, 1);
    let all = ForecastQuery { to: Some(at(3_601)), ..ForecastQuery::default() };
    let seen = foresee(&mut bench, &all);
    assert_eq!((seen.total.firings, seen.jobs), (total, total));
}
