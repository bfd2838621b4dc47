//! Plays many seeds of the simulation that the tests play: a fleet, its server and its network on
//! virtual time, with all faults that there are. Ends with 1 if a promise was broken.
//!
//! `cargo run --release --example simulate -- --seeds 100000`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

#[path = "../tests/simulation/sim/mod.rs"]
mod sim;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

/// Simulates a fleet, seed by seed.
#[derive(Parser)]
struct Args {
    /// How many seeds are played.
    #[arg(long, default_value_t = 40)]
    seeds: u64,
    /// The first of them. With --seeds 1 all that happens in it is told.
    #[arg(long, default_value_t = 1)]
    from: u64,
}

fn main() -> ExitCode {
    let Args { seeds, from } = Args::parse();
    let begun = Instant::now();
    if seeds == 1 {
        let report = sim::play(from);
        println!("{}\n{}", report.shown(usize::MAX), report.tally);
        if let Some((.., fault)) = sim::ONCE_WRONG.iter().find(|(seed, ..)| *seed == from) {
            println!("this seed once found a fault, which is mended: {fault}");
        }
        return ExitCode::from(u8::from(report.violation.is_some()));
    }
    let (wrong, tally) = sim::play_all(from..from.saturating_add(seeds), 10);
    for report in &wrong {
        println!("{}\n", report.shown(60));
    }
    println!("{tally}");
    println!("played in {:.1?}", begun.elapsed());
    if wrong.is_empty() {
        println!("every promise was kept");
    } else {
        let seeds: Vec<String> = wrong.iter().map(|report| report.seed.to_string()).collect();
        println!("promises were broken; see --seeds 1 --from {}", seeds.join(", or "));
    }
    ExitCode::from(u8::from(!wrong.is_empty()))
}
