//! Explanations of a seeded storm: clients come and go, jobs are paused, changed, removed and made
//! anew, the server stops and crashes. Whatever happens, every firing that the rules had is
//! explained, every delivery is told as it ended, and a record that is missing is told as missing.
//!
//! `FLEETCRON_SEED=123 cargo test --test explain_simulation` replays one seed.

#![expect(clippy::unwrap_used, reason = "a simulation fails by a panic that shows the error")]

#[path = "../common/random.rs"]
mod random;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use fleetcron::engine::Request;
use fleetcron::explain::{
    ClientExplainer, ClientQuery, Fate, Firing, Item, JobExplainer, JobQuery, Span, Sums,
};
use fleetcron::store::{Op, Order, Store, key, ledger, records, walk};
use fleetcron::{
    ClientId, DeliveryState, Job, JobId, JobName, MissedRow, Serial, Timestamp, history,
};
use world::{BEGIN, CLIENTS, World, client_id, jobs};

/// What was told of all jobs together: how much of each, so that the storm is known to be one.
type Tally = BTreeMap<String, u64>;

struct Told {
    firings: Vec<Firing>,
    deliveries: BTreeMap<(Serial, ClientId), DeliveryState>,
    sums: Sums,
}

fn span(world: &World) -> Span {
    Span { since: BEGIN, until: world.now.plus(std::time::Duration::from_millis(1)) }
}

fn live(world: &World, name: &JobName) -> Option<JobId> {
    let jobs = walk(&world.store, key::all(key::JOB), Order::Up);
    let mut jobs = jobs.map(|entry| serde_json::from_slice::<Job>(&entry.unwrap().1).unwrap());
    jobs.find(|job| job.spec.name == *name).map(|job| job.id)
}

fn explain(world: &World, name: &JobName, span: Span) -> Told {
    let query = JobQuery { all_clients: true, ..JobQuery::new(name.clone()) };
    let (store, live) = (&world.store, live(world, name));
    let mut explainer = JobExplainer::open(store, query, live, span, world.now).unwrap();
    let (mut firings, mut deliveries, mut sums) = (Vec::new(), BTreeMap::new(), None);
    while let Some(items) = explainer.part(store).unwrap() {
        for item in items {
            match item {
                Item::Firing(firing) => firings.push(*firing),
                Item::Delivery(one) => {
                    let key = (one.serial, one.delivery.client.clone());
                    let again = deliveries.insert(key, one.delivery.state);
                    assert_eq!(again, None, "told twice: {one:?}");
                    let open = !one.delivery.state.is_end();
                    let has_reason = one.delivery.reason.is_some() || !one.problem || open;
                    assert!(has_reason, "no reason: {one:?}");
                }
                Item::Sums(all) => sums = Some(*all),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    Told { firings, deliveries, sums: sums.unwrap() }
}

fn names() -> Vec<JobName> {
    jobs(0).into_iter().map(|spec| spec.name).collect()
}

/// Every firing is explained, and every delivery is told as the test saw it end.
fn check_jobs(world: &World, tally: &mut Tally) {
    let mut told = BTreeMap::new();
    for name in names() {
        let Told { firings, deliveries, sums } = explain(world, &name, span(world));
        for firing in &firings {
            let unexplained = matches!(firing.fate, Fate::Unexplained { .. });
            if unexplained {
                dump(world, &name);
            }
            assert!(!unexplained, "{name}: {firing:?}");
            assert!(firing.expected || firing.cause != fleetcron::Cause::Scheduled, "{firing:?}");
            let fate = serde_json::to_value(&firing.fate).unwrap()["fate"].to_string();
            *tally.entry(fate).or_default() += 1;
        }
        let order: Vec<Timestamp> = firings.iter().map(|firing| firing.at).collect();
        assert!(order.is_sorted(), "{name}: not in the order of time");
        assert_eq!(sums.unexplained, 0);
        let totals: u32 = firings.iter().filter_map(|it| it.counts).map(|it| it.total).sum();
        assert_eq!(totals as usize, deliveries.len(), "{name}: each delivery is told");
        told.extend(deliveries);
    }
    let jobs: BTreeSet<JobName> = names().into_iter().collect();
    for ((serial, client), state) in &world.ends {
        let run = history::run(&world.store, *serial).unwrap().unwrap();
        if run.job.is_some_and(|job| jobs.contains(&job)) {
            let seen = told.get(&(*serial, client.clone()));
            assert_eq!(seen, Some(state), "{serial} of {client}");
        }
    }
    for (key, state) in told.iter().filter(|(_, state)| state.is_end()) {
        let known = world.ends.get(key).or_else(|| world.torn.get(key));
        assert_eq!(known, Some(state), "{key:?} was told and never ended so");
    }
}

/// Every client is told of all that it was to get, and away when it was away.
fn check_clients(world: &World, span: Span) {
    for id in (0..CLIENTS).map(client_id) {
        let query = ClientQuery::new(id.clone());
        let mut explainer = ClientExplainer::open(&world.store, query, span).unwrap().unwrap();
        let (mut told, mut aways) = (BTreeMap::new(), Vec::new());
        while let Some(items) = explainer.part(&world.store).unwrap() {
            for item in items {
                match item {
                    Item::Delivery(one) => {
                        assert_eq!(one.delivery.client, id);
                        // Of a run that was left out altogether there is no delivery to compare.
                        let run = history::run(&world.store, one.serial).unwrap().unwrap();
                        if run.counts.total > 0 {
                            told.insert(one.serial, one.delivery.state);
                        }
                    }
                    Item::Away(away) => aways.push(away),
                    _ => {}
                }
            }
        }
        let ends = world.ends.iter().filter(|((_, client), _)| *client == id);
        for ((serial, _), state) in ends.filter(|((serial, _), _)| span.has(serial.time())) {
            assert_eq!(told.get(serial), Some(state), "{serial} of {id}");
        }
        let seen = world.seen.iter().filter(|(_, client, _)| *client == id);
        for (at, _, here) in seen.filter(|(at, ..)| span.has(*at)) {
            if world.moved.contains(&(*at, id.clone())) {
                // It may have come and gone within a millisecond.
                continue;
            }
            let inside = |from: Option<Timestamp>, to: Option<Timestamp>| {
                from.is_none_or(|from| from < *at) && to.is_none_or(|to| *at < to)
            };
            let on_the_edge =
                aways.iter().any(|away| away.from == Some(*at) || away.to == Some(*at));
            let away = aways.iter().any(|away| inside(away.from, away.to));
            assert!(on_the_edge || away != *here, "{id} at {at}: here {here}, {aways:#?}");
        }
    }
}

/// What is not there any more is unexplained, and nothing else is.
fn check_losses(world: &World, tally: &mut Tally) {
    for name in names() {
        let Told { firings, .. } = explain(world, &name, span(world));
        let ran: Vec<&Firing> =
            firings.iter().filter(|it| it.expected && it.fired_at.is_some()).collect();
        // Of the one that ended first it could be that retention has forgotten it.
        let ended = |serial| history::run(&world.store, serial).unwrap().unwrap().ended_at;
        let first = ran.iter().filter_map(|it| ended(it.serial)).min();
        for firing in ran.iter().rev().step_by(40) {
            if ended(firing.serial) != first {
                let lost = without(world, key::run(firing.serial), || {
                    explain(world, &name, span(world)).sums.unexplained
                });
                assert_eq!(lost, 1, "{name} without its run {firing:?}");
                *tally.entry("lost runs".into()).or_default() += 1;
            }
        }
        let rows = rows(world, &name);
        for row in rows.iter().rev().step_by(5) {
            let lost = without(world, key::missed(row.job, row.no), || {
                explain(world, &name, span(world)).sums.unexplained
            });
            assert_eq!(lost, row.count, "{name} without its row {row:?}");
            *tally.entry("lost rows".into()).or_default() += 1;
        }
    }
}

fn rows(world: &World, name: &JobName) -> Vec<MissedRow> {
    let query = history::PastQuery { limit: history::MAX_PAST, ..Default::default() };
    history::missed(&world.store, name, live(world, name), &query).unwrap()
}

/// What `look` sees while a record is not there.
fn without<T>(world: &World, key: Vec<u8>, look: impl FnOnce() -> T) -> T {
    let value = world.store.get(&key).unwrap().unwrap();
    world.store.commit(vec![vec![Op::Delete(key.clone())]]).unwrap();
    let seen = look();
    world.store.commit(vec![vec![Op::Put(key, value)]]).unwrap();
    seen
}

/// What retention has forgotten is told as forgotten, and nothing of it as unexplained.
fn check_forgotten(world: &mut World, tally: &mut Tally) {
    let runs = walk(&world.store, key::all(key::RUN), Order::Up);
    let mut ends: Vec<(Timestamp, Serial)> = runs
        .filter_map(|entry| {
            let serial = key::serial_in(&entry.unwrap().0).unwrap();
            let run = records::run(&world.store, serial).unwrap().unwrap();
            Some((run.ended_at?, run.serial))
        })
        .collect();
    ends.sort_unstable();
    let middle = ends[ends.len() / 2].0;
    let old: BTreeSet<Serial> =
        ends.iter().filter(|(ended, _)| *ended < middle).map(|(_, serial)| *serial).collect();
    let before: BTreeMap<JobName, Told> = names()
        .into_iter()
        .map(|name| (name.clone(), explain(world, &name, span(world))))
        .collect();
    // One by one: a batch forgets a bounded number of records.
    for serial in &old {
        world.call(Request::ForgetRuns(vec![*serial]));
    }
    let is_gone = |serial: &Serial| world.store.get(&key::run(*serial)).unwrap().is_none();
    let old: BTreeSet<Serial> = old.into_iter().filter(is_gone).collect();
    for (name, before) in before {
        let span = Span { since: before.sums.since, until: before.sums.until };
        let sums = explain(world, &name, span).sums;
        let gone = before.firings.iter().filter(|it| it.expected && old.contains(&it.serial));
        assert_eq!((sums.forgotten, sums.unexplained), (gone.count() as u64, 0), "{name}");
        *tally.entry("\"forgotten\"".into()).or_default() += sums.forgotten;
    }
}

/// A part of the span has the same firings as the whole has in it.
fn check_parts(world: &mut World) {
    let name = world.random.pick(&names()).clone();
    let whole = span(world);
    let length = whole.until.millis() - whole.since.millis();
    let from = world.random.between(0, length - 1);
    let to = world.random.between(from + 1, length);
    let at = |millis: i64| Timestamp::from_millis(BEGIN.millis() + millis);
    let part = Span { since: at(from), until: at(to) };
    let brief = |told: Told| -> Vec<(Timestamp, Serial, bool, Option<u32>, String)> {
        let within = told.firings.into_iter().filter(|it| part.has(it.serial.time()));
        let fate = |it: &Firing| serde_json::to_value(&it.fate).unwrap()["fate"].to_string();
        within.map(|it| (it.at, it.serial, it.expected, it.revision, fate(&it))).collect()
    };
    let expected = brief(explain(world, &name, whole));
    assert_eq!(brief(explain(world, &name, part)), expected, "{name} in {part:?}");
}

fn run(seed: u64, tally: &mut Tally) {
    let mut world = World::new(seed);
    for n in 0..1_200 {
        world.step();
        if n % 300 == 299 {
            world.commit();
            check_jobs(&world, tally);
        }
    }
    world.commit();
    check_jobs(&world, tally);
    let whole = span(&world);
    check_clients(&world, whole);
    let middle = i64::midpoint(whole.since.millis(), whole.until.millis());
    check_clients(&world, Span { since: Timestamp::from_millis(middle), ..whole });
    check_losses(&world, tally);
    for _ in 0..10 {
        check_parts(&mut world);
    }
    check_forgotten(&mut world, tally);
    for state in world.ends.values() {
        *tally.entry(state.to_string()).or_default() += 1;
    }
    *tally.entry("downs".into()).or_default() += world.downs as u64;
}

#[test]
fn nothing_is_left_unexplained_but_what_is_missing() {
    let mut tally = Tally::new();
    if let Ok(seed) = std::env::var("FLEETCRON_SEED") {
        run(seed.parse().expect("FLEETCRON_SEED is a number"), &mut tally);
        return;
    }
    for seed in 1..=5 {
        println!("FLEETCRON_SEED={seed}");
        run(seed, &mut tally);
    }
    println!("{tally:?}");
    let fates = [
        "succeeded",
        "not_succeeded",
        "open",
        "nobody",
        "missed",
        "paused",
        "dropped",
        "forgotten",
    ];
    let fates = fates.map(|fate| format!("\"{fate}\""));
    let ends = ["succeeded", "failed", "expired", "cancelled", "superseded", "skipped", "removed"];
    let others = ["lost runs", "lost rows", "downs"];
    let all = fates.iter().map(String::as_str).chain(ends).chain(others);
    let calm: Vec<&str> = all.filter(|what| tally.get(*what).is_none_or(|n| *n < 5)).collect();
    assert!(calm.is_empty(), "a calm storm: hardly any of {calm:?} in {tally:?}");
}

/// What the store and its ledger have of a job, for whoever looks into a failure.
#[expect(clippy::print_stdout, reason = "a failure is to be understood")]
fn dump(world: &World, name: &JobName) {
    for row in rows(world, name) {
        println!("{row:?}");
    }
    for entry in walk(&world.store, key::all(key::LEDGER), Order::Up) {
        let (key, value) = entry.unwrap();
        for entry in ledger::entries(key::event_in(&key).unwrap(), &value).unwrap() {
            let entry = entry.unwrap();
            let text = format!("{:?}", entry.item);
            if (text.contains("Job {") && text.contains(name.as_str())) || text.contains("Server {")
            {
                println!("{} {text}", entry.at);
            }
        }
    }
}
