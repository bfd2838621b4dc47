//! What jobs cost that are stored and far from due: the processor's time for each firing of others,
//! the server's memory for each, and the time from a start to the first firing.
//!
//! The store is filled without a server. Beside the server's memory stands that of a process that
//! has opened the same store and read all of it: what the store takes by itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleetcron::engine::Change;
use fleetcron::history::RunQuery;
use fleetcron::schedule::When;
use fleetcron::store::{Order, Store, everything, records, walk};
use fleetcron::time::{Clock as _, SystemClock};
use fleetcron::{Job, JobId, JobSpec, JobState, Rule, Timestamp};

use super::firings::Firings;
use super::lateness::{self, CLIENTS, JOBS};
use super::options::{JobArgs, Options, StoreArgs};
use super::pace::as_float;
use super::process::{Part, resident};
use super::report::Figure;
use super::server::{Server, directory};
use super::{load, stores};

/// Jobs that are stored; the first is what the others stand beside.
const FEW: u64 = 10_000;
const MANY_QUICK: u64 = 100_000;
const MANY: u64 = 1_000_000;
const FULL: u64 = 10_000_000;

const SECONDS: u32 = 20;
const SECONDS_QUICK: u32 = 10;

/// Jobs in one unit, and units that are written in one go.
const UNIT: u64 = 50;
const AT_ONCE: u64 = 100;

/// MiB of the store's cache, in the server as in the store by itself.
const CACHE: &str = "64";

/// How many times the processor's time for a firing may be what it is with few.
const TARGET_PROCESSOR: f64 = 1.15;

/// Bytes of memory for a job beyond what the store takes, at most.
const TARGET_BYTES: f64 = 64.0;

/// Seconds from a start to the first firing, at most: up to a million jobs, and above.
const TARGET_START: f64 = 2.0;
const TARGET_START_FULL: f64 = 15.0;

/// The job that is due when the server starts.
const FIRST: &str = "first";

/// What was found with a number of jobs.
struct Measured {
    jobs: u64,
    firings: Firings,
    /// Microseconds for each firing.
    processor: f64,
    /// Bytes.
    server: f64,
    store: f64,
    /// From the start of the process, in seconds.
    serving: f64,
    first: f64,
}

/// One repeat.
pub(crate) fn run(options: &Options) -> Vec<Figure> {
    let (jobs, seconds) = match (options.quick, options.full) {
        (true, _) => (vec![FEW, MANY_QUICK], SECONDS_QUICK),
        (_, false) => (vec![FEW, MANY], SECONDS),
        (_, true) => (vec![FEW, MANY, FULL], SECONDS),
    };
    let measured: Vec<Measured> = jobs.into_iter().map(|jobs| measure(jobs, seconds)).collect();
    measured.iter().flat_map(|one| figures(one, &measured[0])).collect()
}

fn figures(one: &Measured, few: &Measured) -> Vec<Figure> {
    let name = |what: &str| format!("stored.{} jobs: {what}", one.jobs);
    let zero = |what: &str, count: usize| {
        Figure::new(name(what), as_float(count as u64), "firings").must_be_zero()
    };
    let mib = |bytes: f64| bytes / 1_048_576.0;
    let start = if one.jobs > MANY { TARGET_START_FULL } else { TARGET_START };
    let processor = Figure::new(name("processor / few jobs"), one.processor, "us/firing");
    let mut figures = vec![
        processor.beside(few.processor).ratio_at_most(TARGET_PROCESSOR),
        Figure::new(name("start to serving"), one.serving, "s"),
        Figure::new(name("start to first firing"), one.first, "s").at_most(start),
        Figure::new(name("memory / store alone"), mib(one.server), "MiB").beside(mib(one.store)),
    ];
    if one.jobs > few.jobs {
        let beyond = (one.server - one.store) - (few.server - few.store);
        let each = beyond / as_float(one.jobs - few.jobs);
        let each = Figure::new(name("memory beyond the store"), each, "bytes/job");
        figures.push(each.at_most(TARGET_BYTES));
    }
    figures.push(zero("missing", one.firings.missing()));
    figures.push(zero("doubled", one.firings.doubled));
    figures
}

fn measure(jobs: u64, seconds: u32) -> Measured {
    let directory = directory();
    let data = directory.path().join("data");
    fill(&data, jobs);
    let path = data.to_str().expect("a path of letters").to_owned();
    let store = Part::start(&["store-alone", "--data", &path, "--cache", CACHE]).end();
    let store = store.trim_end().parse().unwrap();
    let spawned = SystemClock.now();
    let server = Server::start_on(directory, &["--cache", CACHE]);
    let serving = SystemClock.now();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let first = runtime.block_on(first_firing(&server));
    let memory = resident(server.id());
    let args = JobArgs { jobs: JOBS, seconds };
    let measuring = lateness::by_the_server(&server, &args, CLIENTS);
    let (firings, processor) = runtime.block_on(measuring);
    let since = |moment: Timestamp| moment.since(spawned).as_secs_f64();
    Measured {
        jobs,
        processor: processor * 1e6 / f64::from(JOBS),
        firings,
        server: memory,
        store,
        serving: since(serving),
        first: since(first),
    }
}

/// When the job has fired that was due when the server started.
async fn first_firing(server: &Server) -> Timestamp {
    loop {
        let query = RunQuery { job: Some(FIRST.parse().unwrap()), ..RunQuery::default() };
        if let Some(run) = server.remote().runs(query).await.unwrap().first() {
            return run.fired_at;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes as many jobs that are years from due, and one that is due now.
fn fill(data: &Path, jobs: u64) {
    let store = stores::open(data);
    let now = SystemClock.now();
    let far = now.plus(Duration::from_secs(3_650 * 86_400));
    let mut at_once = Vec::new();
    for begin in (0..jobs).step_by(usize::try_from(UNIT).unwrap()) {
        let numbers = begin..(begin + UNIT).min(jobs);
        at_once.push(numbers.flat_map(|number| rare(number, now, far)).collect());
        if at_once.len() as u64 == AT_ONCE {
            records::write(store.as_ref(), &std::mem::take(&mut at_once)).unwrap();
        }
    }
    let mut rule = Rule::every(Duration::from_secs(86_400)).unwrap();
    rule.when = When::At(now);
    at_once.push(stored(FIRST, jobs, now, rule, now).into());
    records::write(store.as_ref(), &at_once).unwrap();
}

/// A job of once a year, at a second of its own.
fn rare(number: u64, now: Timestamp, far: Timestamp) -> [Change; 2] {
    let first = far.plus(Duration::from_secs(number));
    let mut rule = Rule::every(Duration::from_secs(365 * 86_400)).unwrap();
    rule.when = When::Every { period: Duration::from_secs(365 * 86_400), from: Some(first) };
    stored(&format!("stored/{number:08}"), number, now, rule, first)
}

fn stored(name: &str, number: u64, now: Timestamp, rule: Rule, due: Timestamp) -> [Change; 2] {
    let command = load::COMMAND.parse().unwrap();
    let id = JobId::from_parts(now, u128::from(number));
    let spec = JobSpec::new(name.parse().unwrap(), "all".parse().unwrap(), command, rule);
    let job = Arc::new(Job { id, revision: 1, created_at: now, updated_at: now, spec });
    let state = JobState { next_due: Some(due), ..JobState::default() };
    [Change::PutJob(Arc::clone(&job)), Change::PutJobState(job, state)]
}

/// Opens a store, reads all of it, and prints the memory that this process has then.
pub(crate) fn alone(args: &StoreArgs) {
    let store = stores::open_with(&args.data, args.cache * 1_048_576);
    let store: &dyn Store = store.as_ref();
    let bytes: usize = walk(store, everything(), Order::Up)
        .map(|entry| entry.map(|(key, value)| key.len() + value.len()).unwrap())
        .sum();
    assert!(bytes > 0, "there is something to read");
    println!("{}", resident(std::process::id()));
}
