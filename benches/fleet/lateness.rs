//! How late commands reach the handlers of connected clients: 1,000 jobs, each every second and
//! at its own millisecond of it, each for one of 100 clients.
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
const CLIENTS: usize = 100;
pub(crate) const SECONDS: u32 = 60;
pub(crate) const SECONDS_QUICK: u32 = 10;

/// Jobs in one request, which has a limit of bytes.
const JOBS_AT_ONCE: usize = 250;

/// What is shown of all lateness. A minimum below 0 would tell of a clock that was set meanwhile.
const PER_MILLE: [(&str, usize); 5] =
    [("min", 0), ("p50", 500), ("p99", 990), ("p99.9", 999), ("max", 1_000)];

/// From the last firing to the end: what is later counts as missing.
const PATIENCE: Duration = Duration::from_secs(3);

/// Time to define the jobs before their first firing.
const DEFINING: Duration = Duration::from_secs(5);

/// One repeat.
pub(crate) fn run(options: &Options) -> Vec<Figure> {
    let seconds = if options.quick { SECONDS_QUICK } else { SECONDS };
    let args = JobArgs { jobs: JOBS, seconds };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = Server::start();
    let (fleet, processor) = runtime.block_on(by_the_server(&server, &args));
    let cron = firings::in_process("cron-scheduler", &args);
    let timers = firings::in_process("timer-loop", &args);
    let mut figures = Vec::new();
    for (baseline, other) in [("tokio-cron-scheduler", &cron), ("sleep_until", &timers)] {
        for (name, per_mille) in PER_MILLE {
            let name = format!("lateness.{name} / {baseline}");
            let (value, other) = (fleet.per_mille(per_mille), other.per_mille(per_mille));
            figures.push(Figure::new(name, value, "ms").beside(other));
        }
    }
    figures.extend(counts(&fleet, &cron));
    figures.push(Figure::new("lateness.server processor", processor * 100.0, "% of a core"));
    figures
}

#[expect(clippy::cast_precision_loss, reason = "counts of firings are far below 2^52")]
fn counts(fleet: &Firings, cron: &Firings) -> [Figure; 4] {
    let count = |name: &str, of: fn(&Firings) -> usize| {
        let name = format!("lateness.{name} / tokio-cron-scheduler");
        Figure::new(name, of(fleet) as f64, "firings").beside(of(cron) as f64)
    };
    [
        count("expected", |firings| firings.expected),
        count("came", |firings| firings.came),
        count("missing", Firings::missing).must_be_zero(),
        count("doubled", |firings| firings.doubled).must_be_zero(),
    ]
}

/// The firings, and the share of a core that the server took for them.
pub(crate) async fn by_the_server(server: &Server, args: &JobArgs) -> (Firings, f64) {
    server.define(CLIENTS).await;
    let load = Load::start(&server.listen, CLIENTS, Note::Firings);
    let clock = WallClock::watch();
    let begin = clock.whole_second_in(DEFINING);
    let jobs: Vec<JobSpec> = (0..args.jobs).map(|n| job(n, begin, args.seconds)).collect();
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
    tokio::time::sleep_until((end + PATIENCE).into()).await;
    let expected = args.jobs as usize * args.seconds as usize;
    (Firings::parse(&load.end(), expected), processor)
}

/// Every second from its own millisecond of `begin` on, as often as there are seconds.
fn job(number: u32, begin: Timestamp, seconds: u32) -> JobSpec {
    let first = begin.plus(Duration::from_millis(u64::from(number % 1_000)));
    let mut rule = Rule::every(Duration::from_secs(1)).unwrap();
    rule.when = When::Every { period: Duration::from_secs(1), from: Some(first) };
    rule.start = Some(first);
    rule.count = Some(seconds.into());
    let name = format!("{}{number}", load::JOB_PREFIX).parse().unwrap();
    let client = load::name(number as usize % CLIENTS);
    let target = format!("client:{client}").parse().unwrap();
    let mut spec = JobSpec::new(name, target, load::COMMAND.parse().unwrap(), rule);
    // What a slow machine has not answered within a second is late, not skipped.
    spec.overlap = Overlap::Allow;
    spec
}
