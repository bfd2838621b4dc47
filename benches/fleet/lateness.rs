//! How late commands reach the handlers of connected clients: 1,000 jobs, each every second and
//! at its own millisecond of it, each for one of 100 clients; and ten times as many of both.
//!
//! Beside it the same jobs by `tokio-cron-scheduler` and by one timer each, neither of which
//! stores or sends anything.

use std::time::Duration;

use fleetcron::engine::Apply;
use fleetcron::schedule::When;
use fleetcron::{JobSpec, Overlap, Rule, Timestamp};

use super::firings::{self, Firings};
use super::load::{self, Load};
use super::moment::WallClock;
use super::options::{JobArgs, Note, Options};
use super::report::Figure;
use super::server::Server;

pub(crate) const JOBS: u32 = 1_000;
pub(crate) const CLIENTS: usize = 100;
/// What makes the server busy.
const BUSY_JOBS: u32 = 10_000;
const BUSY_CLIENTS: usize = 1_000;
pub(crate) const SECONDS: u32 = 60;
pub(crate) const SECONDS_QUICK: u32 = 10;

/// Jobs in one request, which has a limit of bytes.
const JOBS_AT_ONCE: usize = 250;

/// What is shown of all lateness. A minimum below 0 would tell of a clock that was set meanwhile.
const PER_MILLE: [(&str, usize); 5] =
    [("min", 0), ("p50", 500), ("p99", 990), ("p99.9", 999), ("max", 1_000)];

/// From the last firing to the end, at most: what is later counts as missing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time to define 1,000 jobs before their first firing, and time beside.
const DEFINING: Duration = Duration::from_secs(1);

/// How late firings should be at most, in milliseconds: of 1,000 a second one in a hundred, of
/// 10,000 a second one in a hundred and one in a thousand.
const TARGET: f64 = 1.0;
const TARGETS_BUSY: [f64; 2] = [5.0, 20.0];

/// One repeat.
pub(crate) fn run(options: &Options) -> Vec<Figure> {
    let seconds = if options.quick { SECONDS_QUICK } else { SECONDS };
    [calm(seconds), busy(seconds)].concat()
}

/// 1,000 firings a second.
fn calm(seconds: u32) -> Vec<Figure> {
    let args = JobArgs { jobs: JOBS, seconds };
    let (fleet, processor) = measure(&args, CLIENTS);
    let cron = firings::in_process("cron-scheduler", &args);
    let timers = firings::in_process("timer-loop", &args);
    let mut figures = Vec::new();
    for (baseline, other) in [("tokio-cron-scheduler", &cron), ("sleep_until", &timers)] {
        for (name, per_mille) in PER_MILLE {
            let figure = late("lateness", name, per_mille, (&fleet, baseline, other));
            let counts = (per_mille, baseline) == (990, "sleep_until");
            figures.push(if counts { figure.at_most(TARGET) } else { figure });
        }
    }
    figures.extend(counts("lateness", "tokio-cron-scheduler", &fleet, &cron));
    figures.push(Figure::new("lateness.server processor", processor * 100.0, "% of a core"));
    figures
}

/// 10,000 firings a second.
fn busy(seconds: u32) -> Vec<Figure> {
    let args = JobArgs { jobs: BUSY_JOBS, seconds };
    let (fleet, processor) = measure(&args, BUSY_CLIENTS);
    let timers = firings::in_process("timer-loop", &args);
    let [p99, p999] = TARGETS_BUSY;
    let mut figures = Vec::new();
    for (name, per_mille) in PER_MILLE {
        let figure = late("lateness.busy", name, per_mille, (&fleet, "sleep_until", &timers));
        figures.push(match per_mille {
            990 => figure.at_most(p99),
            999 => figure.at_most(p999),
            _ => figure,
        });
    }
    figures.extend(counts("lateness.busy", "sleep_until", &fleet, &timers));
    figures.push(Figure::new("lateness.busy.server processor", processor * 100.0, "% of a core"));
    figures
}

fn measure(args: &JobArgs, clients: usize) -> (Firings, f64) {
    let server = Server::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(by_the_server(&server, args, clients))
}

fn late(
    of: &str,
    name: &str,
    per_mille: usize,
    (fleet, baseline, other): (&Firings, &str, &Firings),
) -> Figure {
    let name = format!("{of}.{name} / {baseline}");
    Figure::new(name, fleet.per_mille(per_mille), "ms").beside(other.per_mille(per_mille))
}

#[expect(clippy::cast_precision_loss, reason = "counts of firings are far below 2^52")]
fn counts(of: &str, baseline: &str, fleet: &Firings, other: &Firings) -> [Figure; 4] {
    let count = |name: &str, count: fn(&Firings) -> usize| {
        let name = format!("{of}.{name} / {baseline}");
        Figure::new(name, count(fleet) as f64, "firings").beside(count(other) as f64)
    };
    [
        count("expected", |firings| firings.expected),
        count("came", |firings| firings.came),
        count("missing", Firings::missing).must_be_zero(),
        count("doubled", |firings| firings.doubled).must_be_zero(),
    ]
}

/// The firings, and the share of a core that the server took for them.
pub(crate) async fn by_the_server(
    server: &Server,
    args: &JobArgs,
    clients: usize,
) -> (Firings, f64) {
    server.define(clients).await;
    let load = Load::start(&server.listen, clients, Note::Firings);
    let clock = WallClock::watch();
    let begin = clock.whole_second_in(DEFINING * (4 + args.jobs / JOBS));
    let job = |number| job(number, begin, args.seconds, clients);
    let jobs: Vec<JobSpec> = (0..args.jobs).map(job).collect();
    for jobs in jobs.chunks(JOBS_AT_ONCE) {
        let apply = Apply { jobs: jobs.to_vec(), ..Apply::default() };
        server.remote().apply(apply).await.unwrap();
    }
    assert!(clock.later_than(begin) < 0, "the jobs are defined in time");
    tokio::time::sleep_until(clock.instant_of(begin).into()).await;
    let before = server.processor_seconds();
    let end = clock.instant_of(begin.plus(Duration::from_secs(args.seconds.into())));
    tokio::time::sleep_until(end.into()).await;
    let processor = (server.processor_seconds() - before) / f64::from(args.seconds);
    // What is late is late, and not missing.
    let done = async {
        loop {
            let status = server.remote().status().await.unwrap();
            let due = status.next_due.is_some_and(|due| clock.later_than(due) > 0);
            if !due && status.deliveries_open == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // Those that are not there by then are told by their number.
    let _ = tokio::time::timeout(PATIENCE, done).await;
    (Firings::parse("fleetcron", &load.end(), args), processor)
}

/// Every second from its own millisecond of `begin` on, as often as there are seconds.
fn job(number: u32, begin: Timestamp, seconds: u32, clients: usize) -> JobSpec {
    let first = begin.plus(Duration::from_millis(u64::from(number % 1_000)));
    let mut rule = Rule::every(Duration::from_secs(1)).unwrap();
    rule.when = When::Every { period: Duration::from_secs(1), from: Some(first) };
    rule.start = Some(first);
    rule.count = Some(seconds.into());
    let name = format!("{}{number}", load::JOB_PREFIX).parse().unwrap();
    let client = load::name(number as usize % clients);
    let target = format!("client:{client}").parse().unwrap();
    let mut spec = JobSpec::new(name, target, load::COMMAND.parse().unwrap(), rule);
    // What a slow machine has not answered within a second is late, not skipped.
    spec.overlap = Overlap::Allow;
    spec
}
