//! Whether the simulation finds what is wrong: with each of the bugs that the feature
//! `seeded-bugs` can put in, some seed must go wrong, and without one none.
//!
//! `tests/mutations.sh` builds and runs it; `FLEETCRON_BUG=HeldNotRebuilt` looks at one bug.

#![expect(clippy::print_stdout, reason = "it prints a table")]

#[path = "../simulation/sim/mod.rs"]
mod sim;

use std::time::Instant;

use fleetcron::SeededBug;
use sim::{ONCE_WRONG, Report, play, play_all};

/// Seeds within which each bug is found, and that are right without one.
const SEEDS: u64 = 2_000;

/// How much of a problem a row shows.
const SHOWN: usize = 110;

fn row(bug: SeededBug, found: Option<&Report>, begun: Instant) {
    let seeds = found.map_or_else(|| "none".to_owned(), |report| report.seed.to_string());
    let problem = found.and_then(|report| report.violation.as_deref()).unwrap_or_default();
    let problem: String = problem.chars().take(SHOWN).collect();
    let name = format!("{bug:?}");
    println!("{name:<26} {seeds:>5} {:>7.1?} {problem}", begun.elapsed());
}

#[test]
fn every_bug_is_found() {
    // What a bug makes panic is told by the simulation.
    std::panic::set_hook(Box::new(|_| {}));
    let wanted = std::env::var("FLEETCRON_BUG").ok();
    let bugs = SeededBug::ALL.iter().copied();
    let bugs: Vec<SeededBug> = bugs
        .filter(|bug| wanted.as_ref().is_none_or(|wanted| format!("{bug:?}") == *wanted))
        .collect();
    assert!(!bugs.is_empty(), "there is no bug named {wanted:?}: {:?}", SeededBug::ALL);
    println!("{:<26} {:>5} {:>7} {}", "BUG", "SEEDS", "TIME", "WHAT WAS FOUND FIRST");
    let mut missed = Vec::new();
    let mut faded: Vec<u64> = Vec::new();
    for bug in bugs {
        let begun = Instant::now();
        SeededBug::put_in(Some(bug));
        let (wrong, _) = play_all(1..SEEDS + 1, 1);
        row(bug, wrong.first(), begun);
        if let (Some(_), Some(report)) = (&wanted, wrong.first()) {
            println!("\n{}", report.shown(60));
        }
        if wrong.is_empty() {
            missed.push(bug);
        }
        let once = ONCE_WRONG.iter().filter(|(_, of, _)| format!("{bug:?}") == *of);
        faded.extend(once.map(|(seed, ..)| seed).filter(|seed| play(**seed).violation.is_none()));
    }
    SeededBug::put_in(None);
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
    assert!(faded.is_empty(), "these seeds do not find their faults any more: {faded:?}");
}
