//! A whole fleet in one thread, on virtual time: the node, the server's sessions and the client
//! library as they are, over a network, disks and clocks that fail, all of it decided by one seed.
//!
//! | file | what it is |
//! | --- | --- |
//! | `plan` | what a seed decides before it begins: clients, jobs, which faults there are |
//! | `world` | what all share: time, trace, the first thing that went wrong |
//! | `network`, `tap` | byte streams that are slow, cut, half open; the frames on them |
//! | `disk` | the server's store and the clients' journals, as far as they are durable |
//! | `server`, `clients` | processes that start, are killed and stop |
//! | `story` | what happens, step by step, and how it comes to rest |
//! | `model` | what may and must have happened; it knows nothing of the engine |

mod clients;
mod disk;
mod model;
mod network;
mod plan;
#[expect(clippy::unwrap_used, reason = "the numbers are in range")]
#[path = "../../common/random.rs"]
mod random;
mod server;
mod story;
mod tally;
mod tap;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) use tally::Tally;
use world::{World, lock};

/// Seeds that once found a fault; the seeded bug that brings it back; and the fault. If a change of
/// the simulation makes a seed tell another story, `tests/mutations` says so.
pub(crate) const ONCE_WRONG: &[(u64, &str, &str)] = &[
    (34, "CancelledAndRun", "a command that was cancelled while it was written down was run"),
    (193, "FiredAheadNotSent", "after a restart by an earlier clock, open runs were not sent"),
    (1_573, "OfferedAgain", "after a restart by an earlier clock, a spread run was sent twice"),
    (2_269, "OfferedAgain", "after a restart, what was held was sent to a client that had it"),
];

/// How a seed went.
pub(crate) struct Report {
    pub(crate) seed: u64,
    /// What went wrong first.
    pub(crate) violation: Option<String>,
    /// What happened, line by line.
    pub(crate) trace: Vec<String>,
    /// Of the trace: the same for the same seed.
    pub(crate) hash: u32,
    pub(crate) tally: Tally,
}

impl Report {
    /// What went wrong, after the last lines of what happened before.
    pub(crate) fn shown(&self, lines: usize) -> String {
        let from = self.trace.len().saturating_sub(lines);
        let left_out = if from > 0 { format!("… {from} lines before\n") } else { String::new() };
        let problem = self.violation.as_deref().unwrap_or("nothing went wrong");
        let told = self.trace[from..].join("\n");
        format!("{left_out}{told}\nseed {} ({:08x}): {problem}", self.seed, self.hash)
    }
}

/// Plays a seed to its end.
pub(crate) fn play(seed: u64) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads and files");
    let played = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let world = World::new(plan::Plan::of(seed));
            story::tell(&world).await;
            world.report()
        })
    }));
    runtime.shutdown_timeout(Duration::ZERO);
    played.unwrap_or_else(|_| {
        let violation = Some("a panic, which is told above".to_owned());
        Report { seed, violation, trace: Vec::new(), hash: 0, tally: Tally::default() }
    })
}

/// Plays many seeds, on as many threads as there are processors; stops after `most` that went
/// wrong. Gives these, the lowest first, and the sum of all.
pub(crate) fn play_all(seeds: std::ops::Range<u64>, most: usize) -> (Vec<Report>, Tally) {
    let next = AtomicU64::new(seeds.start);
    let found = Mutex::new((Vec::new(), Tally::default()));
    let work = || {
        while lock(&found).0.len() < most {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let report = play(seed);
            let (wrong, tally) = &mut *lock(&found);
            tally.add(&report.tally);
            if report.violation.is_some() {
                wrong.push(report);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (mut wrong, tally) = found.into_inner().expect("every thread has ended");
    wrong.sort_by_key(|report| report.seed);
    (wrong, tally)
}
