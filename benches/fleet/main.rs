//! Measurements of the whole: the real server as a process, its clients as another, each beside a
//! baseline that is measured in the same invocation.
//!
//! `cargo bench --bench fleet -- --quick`. What the columns mean and what was measured so far is
//! in `benches/README.md`. Ends with 1 if a benchmark found a fault, such as a firing that did not
//! come, or with `--strict` if a target is missed, and with 2 if it could not be begun.
//!
//! Imports the library's public interface only.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement, run by hand: it fails by a panic and prints what it found"
)]

mod broadcast;
mod callers;
mod capture;
mod cron_scheduler;
mod fanout;
mod firings;
mod growth;
mod idle;
mod lateness;
mod load;
mod moment;
mod node_part;
mod options;
mod pace;
mod process;
mod raw_server;
mod replay;
mod report;
mod retention;
mod server;
mod stored;
mod stores;
mod storm;
mod submit;
mod taken;
mod timer_loop;
mod unicast;

use std::panic::catch_unwind;
use std::process::ExitCode;

use clap::Parser as _;
use options::{Options, Part};

/// As in the program, so that a node inside this process is measured as the server is.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A benchmark: its name, and what makes one repeat of it.
struct Benchmark {
    name: &'static str,
    run: fn(&Options) -> Vec<report::Figure>,
}

const BENCHMARKS: &[Benchmark] = &[
    Benchmark { name: "broadcast", run: broadcast::run },
    Benchmark { name: "unicast", run: unicast::run },
    Benchmark { name: "submit", run: submit::run },
    Benchmark { name: "lateness", run: lateness::run },
    Benchmark { name: "retention", run: retention::run },
    Benchmark { name: "stored", run: stored::run },
    Benchmark { name: "idle", run: idle::run },
    Benchmark { name: "fanout", run: fanout::run },
    Benchmark { name: "storm", run: storm::run },
    Benchmark { name: "replay", run: replay::run },
    Benchmark { name: "soak-growth", run: growth::run },
];

fn main() -> ExitCode {
    // A wrong option is named on standard error, and the end is 2.
    let options = Options::parse();
    stores::choose(options.store);
    if let Some(part) = &options.part {
        return in_part(part);
    }
    if let Some(directory) = &options.raw
        && let Err(error) = firings::keep_in(directory.clone())
    {
        eprintln!("--raw {}: {error}", directory.display());
        return ExitCode::from(2);
    }
    let wanted =
        |benchmark: &&Benchmark| options.only.as_ref().is_none_or(|only| only == benchmark.name);
    let (mut faults, mut missed) = (Vec::new(), Vec::new());
    for benchmark in BENCHMARKS.iter().filter(wanted) {
        let repeat = |n| {
            eprintln!("{}: {n} of {}", benchmark.name, options.repeats);
            (benchmark.run)(&options)
        };
        // What one could not measure keeps nobody from the figures of the others.
        let repeats = catch_unwind(|| (1..=options.repeats).map(repeat).collect::<Vec<_>>());
        let Ok(repeats) = repeats else {
            faults.push(format!("{}: it broke off; see above", benchmark.name));
            continue;
        };
        let rows = report::rows(&repeats);
        faults.extend(rows.iter().filter_map(report::Row::fault));
        missed.extend(rows.iter().filter_map(report::Row::missed));
        if options.json {
            report::print_json(&rows);
        } else {
            report::print_table(&rows);
        }
    }
    for fault in &faults {
        eprintln!("fault: {fault}");
    }
    for missed in &missed {
        eprintln!("target missed: {missed}");
    }
    ExitCode::from(u8::from(!faults.is_empty() || options.strict && !missed.is_empty()))
}

/// The benchmark has started itself to be one part of a measurement.
fn in_part(part: &Part) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        match part {
            Part::Clients(args) => load::clients(args).await,
            Part::CronScheduler(args) => cron_scheduler::fire(args).await,
            Part::TimerLoop(args) => timer_loop::fire(args).await,
            Part::RawServer(args) => raw_server::run(args).await,
            Part::Node(args) => node_part::run(args).await,
            Part::Callers(args) => callers::run(args).await,
            Part::StoreAlone(args) => stored::alone(args),
            Part::Fanout(args) => fanout::measure(args),
        }
    });
    ExitCode::SUCCESS
}
