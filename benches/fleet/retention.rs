//! Whether retention delays firings: the load of `lateness` on a store with old history, once while
//! retention forgets it all the time, and beside it once while it keeps it.
//!
//! Which of the two comes first changes from repeat to repeat.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fleetcron::engine::{Change, PageEntry};
use fleetcron::store::{Order, SledOptions, SledStore, Store, key, records, walk};
use fleetcron::time::{Clock as _, SystemClock};
use fleetcron::{ClientNo, Counts, DeliveryState, Json, Outcome, Run, Serial, Timestamp};
use serde_json::json;

use super::firings::Firings;
use super::lateness::{self, CLIENTS, JOBS, SECONDS, SECONDS_QUICK};
use super::options::{JobArgs, Options};
use super::report::Figure;
use super::server::{Server, directory};

/// Old runs: more than are forgotten while it is measured, some 12,000 a second.
const OLD: usize = 1_440_000;
const OLD_QUICK: usize = 240_000;

/// Runs that are written in one go.
const AT_ONCE: usize = 500;

/// Old runs end so long ago.
const AGE: std::time::Duration = std::time::Duration::from_secs(200 * 86_400);

const PER_MILLE: [(&str, usize); 4] = [("p50", 500), ("p99", 990), ("p99.9", 999), ("max", 1_000)];

/// One measurement.
struct Measured {
    firings: Firings,
    processor: f64,
    forgotten: usize,
}

static RETENTION_FIRST: AtomicBool = AtomicBool::new(true);

/// One repeat.
pub(crate) fn run(options: &Options) -> Vec<Figure> {
    let (seconds, old) = if options.quick { (SECONDS_QUICK, OLD_QUICK) } else { (SECONDS, OLD) };
    let args = JobArgs { jobs: JOBS, seconds };
    let with = || measure(&args, old, &["--keep", "90d", "--retention-every", "1s"]);
    let without = || measure(&args, old, &["--keep", "3650d", "--retention-every", "1s"]);
    let (with, without) = if RETENTION_FIRST.fetch_not(Ordering::Relaxed) {
        let with = with();
        (with, without())
    } else {
        let without = without();
        (with(), without)
    };
    let mut figures = Vec::new();
    for (name, per_mille) in PER_MILLE {
        let (value, other) = (&with.firings, &without.firings);
        let figure =
            Figure::new(format!("retention.{name} / none to do"), value.per_mille(per_mille), "ms");
        figures.push(figure.beside(other.per_mille(per_mille)));
    }
    figures.extend(counts(&with, &without, old));
    figures
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn counts(with: &Measured, without: &Measured, old: usize) -> [Figure; 5] {
    let count = |name: &str, value: usize, other: usize, unit| {
        let name = format!("retention.{name} / none to do");
        Figure::new(name, value as f64, unit).beside(other as f64)
    };
    let firings = |of: fn(&Firings) -> usize| (of(&with.firings), of(&without.firings));
    let (missing, missing_without) = firings(Firings::missing);
    let (came, came_without) = firings(|firings| firings.came);
    let idle = usize::from(with.forgotten == old);
    let percent = |share: f64| share * 100.0;
    [
        count("forgotten", with.forgotten, without.forgotten, "runs"),
        // Nothing would be left to forget at the end of the measurement.
        count("idle", idle, 0, "times").must_be_zero(),
        count("came", came, came_without, "firings"),
        count("missing", missing, missing_without, "firings").must_be_zero(),
        Figure::new(
            "retention.server processor / none to do",
            percent(with.processor),
            "% of a core",
        )
        .beside(percent(without.processor)),
    ]
}

fn measure(args: &JobArgs, old: usize, keeps: &[&str]) -> Measured {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = directory();
    let data = directory.path().join("data");
    fill(&data, old);
    let server = Server::start_on(directory, keeps);
    let (firings, processor) = runtime.block_on(lateness::by_the_server(&server, args, CLIENTS));
    let directory = server.end();
    let left = left(&data);
    drop(directory);
    Measured { firings, processor, forgotten: old - left }
}

fn open(data: &Path) -> SledStore {
    SledStore::open(data, SledOptions::default()).unwrap()
}

fn begin() -> Timestamp {
    SystemClock.now().minus(AGE)
}

/// Writes so many old runs, each with its response.
fn fill(data: &Path, old: usize) {
    let store = open(data);
    let begin = begin();
    let numbers: Vec<usize> = (0..old).collect();
    for numbers in numbers.chunks(AT_ONCE) {
        let units: Vec<Vec<Change>> = numbers.iter().map(|n| unit(*n, begin)).collect();
        records::write(&store, &units).unwrap();
    }
}

fn unit(number: usize, begin: Timestamp) -> Vec<Change> {
    let at = begin.plus(std::time::Duration::from_millis(number as u64));
    let serial = Serial::from_parts(at, number as u128);
    let counts = Counts { total: 1, succeeded: 1, ..Counts::default() };
    let run: Run = serde_json::from_value(json!({
        "serial": serial, "cause": "submit", "command": { "name": "work", "params": {} },
        "target": "all", "scheduled_at": at, "fired_at": at, "ended_at": at, "counts": counts,
    }))
    .unwrap();
    let outcome = Outcome {
        state: DeliveryState::Succeeded,
        reason: None,
        result: Some(Json::new(&"x".repeat(100)).unwrap()),
        ran_ms: Some(5),
    };
    let entry = PageEntry { client: ClientNo(0), at, attempt: 1, retried: false, outcome };
    vec![Change::PutRun(Arc::new(run)), Change::PutPage { serial, page: 0, entries: vec![entry] }]
}

/// How many of the old runs are left.
fn left(data: &Path) -> usize {
    let store = open(data);
    let day = std::time::Duration::from_secs(86_400);
    let end = key::run(Serial::from_parts(begin().plus(day), 0));
    let runs = key::all(key::RUN).start..end;
    let store: &dyn Store = &store;
    walk(store, runs, Order::Up).map(Result::unwrap).count()
}
