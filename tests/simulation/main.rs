//! The whole of fleetcron under seeded storms: see `sim`.
//!
//! ```text
//! FLEETCRON_SEED=123 cargo test --test simulation      plays one seed and tells what happened
//! FLEETCRON_SEEDS=9000 cargo test --test simulation    plays the seeds 1 to 9000
//! cargo run --release --example simulate -- --seeds N  the same, faster
//! ```

#![expect(clippy::print_stdout, reason = "it tells how much it has simulated")]

mod sim;

use std::path::Path;

use sim::{ONCE_WRONG, Report, play, play_all};

/// Seeds that are played each time.
const SEEDS: u64 = 2_000;

/// Seeds that are played unless it is said otherwise: as many as a debug build has time for.
const FEW: u64 = 200;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")))
}

/// Fails if a seed went wrong, and shows how. All of its trace goes into a file.
fn assert_right(wrong: &[Report]) {
    for report in wrong.iter().rev() {
        let seed = report.seed;
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("simulation-{seed}.txt"));
        std::fs::write(&file, report.shown(usize::MAX)).expect("a trace can be written");
        println!("{}", report.shown(60));
        println!("all of it is in {}; FLEETCRON_SEED={seed} plays it again\n", file.display());
    }
    let seeds: Vec<u64> = wrong.iter().map(|report| report.seed).collect();
    assert!(wrong.is_empty(), "these seeds went wrong: {seeds:?}");
}

#[test]
fn every_promise_is_kept_whatever_fails() {
    if let Some(seed) = number("FLEETCRON_SEED") {
        let report = play(seed);
        println!("{}\n{}", report.shown(usize::MAX), report.tally);
        return assert!(report.violation.is_none(), "seed {seed} went wrong");
    }
    let seeds = number("FLEETCRON_SEEDS").unwrap_or(FEW);
    let (wrong, tally) = play_all(1..seeds + 1, 5);
    println!("{tally}");
    assert_right(&wrong);
    if seeds < SEEDS {
        return;
    }
    for what in [
        "crashes between commit and effects",
        "machine dies while it writes",
        "nodes that a commit ended",
        "connections half open",
        "connections closed with bytes under way",
        "client crashes",
        "client machine loses power",
        "client disk full",
        "clock set",
        "disk full",
        "slow disk",
        "large applies",
        "retries",
        "cancellations",
        "rows of missed firings",
    ] {
        assert!(tally.of(what) > 20, "there are too few {what} to learn anything: {tally}");
    }
}

#[test]
fn what_was_wrong_once_stays_right() {
    let wrong = ONCE_WRONG.iter().map(|(seed, _, _)| play(*seed));
    let wrong: Vec<Report> = wrong.filter(|report| report.violation.is_some()).collect();
    assert_right(&wrong);
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 1..=40 {
        let (one, other) = (play(seed), play(seed));
        let differs = one.trace.iter().zip(&other.trace).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(one.hash, other.hash, "seed {seed}");
        assert!(one.trace.len() > 50, "seed {seed} tells nothing");
    }
}
