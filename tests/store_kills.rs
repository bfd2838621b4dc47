//! A process that writes a store and is killed at any moment, or loses its power, again and again: the
//! store opens, has what was acknowledged, and batches as a whole or not at all.
//!
//! `FLEETCRON_KILLS=200 FLEETCRON_SEED=1 cargo test --test store_kills` kills it so often. How the
//! power is cut, and what that needs, see `power_loss`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::print_stdout, reason = "it tells how much was looked at")]

mod common;
#[path = "common/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::disk::{Disk, is_skipped};
use common::number;
use fleetcron::store::{
    Batch, Op, Order, Store, StoreKind, StoreOptions, everything, open_at, walk,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use random::Random;

/// How often a process is killed unless told otherwise.
const KILLS: u64 = 12;

/// Tells the process that is killed what it writes, and where.
const PLAN: &str = "FLEETCRON_KILLED";

/// The key of the number of the last batch.
const LAST: &[u8] = b"n";

/// What is written: one batch after the other, each made of its number alone.
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    records: usize,
    largest: usize,
    /// Batches of a commit, at most.
    group: usize,
}

impl Plan {
    fn batch(self, n: u64) -> Batch {
        let mut random = Random(self.seed ^ n.wrapping_mul(0x9e37_79b9));
        let mut ops = vec![Op::Put(LAST.to_vec(), n.to_be_bytes().to_vec())];
        for _ in 0..=random.below(20) {
            let key = [&b"k"[..], &random.below(self.records).to_be_bytes()].concat();
            if random.chance(10) {
                ops.push(Op::Delete(key));
                continue;
            }
            let bytes = random.below(self.largest);
            let value = std::iter::repeat_with(|| random.next().to_be_bytes()).flatten();
            ops.push(Op::Put(key, value.take(bytes).collect()));
        }
        ops
    }
}

fn options(kind: StoreKind) -> StoreOptions {
    StoreOptions { cache_bytes: 16 << 20, ..Some(kind).into() }
}

fn last(store: &dyn Store) -> u64 {
    let last = store.get(LAST).unwrap();
    last.map_or(0, |last| u64::from_be_bytes(last.try_into().unwrap()))
}

/// What the process does that is killed.
#[test]
#[ignore = "the other tests start it"]
fn writes_until_it_is_killed() {
    let Ok(plan) = std::env::var(PLAN) else { return };
    let words: Vec<&str> = plan.split(' ').collect();
    let [path, kind, seed, records, largest, group] = words[..] else { panic!("{plan}") };
    let parsed = |word: &str| word.parse::<usize>().unwrap();
    let plan = Plan {
        seed: seed.parse().unwrap(),
        records: parsed(records),
        largest: parsed(largest),
        group: parsed(group),
    };
    let store = open_at(path, options(kind.parse().unwrap())).unwrap();
    let mut next = last(store.as_ref()) + 1;
    let mut out = std::io::stdout();
    for commit in 0.. {
        let group = 1 + (commit * 7 + plan.seed) % plan.group as u64;
        let committed = store.commit((next..next + group).map(|n| plan.batch(n)).collect());
        if committed.is_err() {
            // Its disk has no power, and it lives no longer.
            std::thread::sleep(Duration::from_secs(60));
        }
        next += group;
        writeln!(out, "acknowledged {}", next - 1).unwrap();
        out.flush().unwrap();
    }
}

/// Where the store is, and how the process ends.
enum Place {
    Killed(tempfile::TempDir),
    PowerCut(Disk),
}

impl Place {
    fn path(&self) -> PathBuf {
        match self {
            Self::Killed(dir) => dir.path().join("data"),
            Self::PowerCut(disk) => disk.path().join("data"),
        }
    }

    fn end(&self, child: &mut Child) {
        if let Self::PowerCut(disk) = self {
            // No program lives on without power.
            kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGSTOP).unwrap();
            disk.cut();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if let Self::PowerCut(disk) = self {
            disk.remount();
        }
    }
}

/// Writes until a moment that the seed gives. The last batch that was acknowledged.
fn ended(place: &Place, kind: StoreKind, plan: Plan, moment: Duration) -> u64 {
    let path = place.path();
    let Plan { seed, records, largest, group } = plan;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writes_until_it_is_killed", "--ignored", "--nocapture"])
        .env(PLAN, format!("{} {kind} {seed} {records} {largest} {group}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let read = scope.spawn(|| {
            for line in lines.lines() {
                let line = line.unwrap();
                // The harness writes on the same line.
                if let Some((_, n)) = line.split_once("acknowledged ") {
                    acknowledged.store(n.parse().unwrap(), Ordering::SeqCst);
                }
            }
        });
        // Open and at work; then the moment is what is varied.
        while acknowledged.load(Ordering::SeqCst) == 0 && !read.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(moment);
        place.end(&mut child);
    });
    acknowledged.into_inner()
}

fn survives(place: &Place, kind: StoreKind, plan: Plan) {
    let kills = number("FLEETCRON_KILLS", KILLS);
    let seed = number("FLEETCRON_SEED", std::process::id().into());
    println!("FLEETCRON_SEED={seed}");
    let mut random = Random(seed);
    let plan = Plan { seed, ..plan };
    let path = place.path();
    let (mut model, mut done) = (BTreeMap::new(), 0);
    for kill in 0..kills {
        let moment = Duration::from_micros(random.below(250_000) as u64);
        let acknowledged = ended(place, kind, plan, moment);
        assert!(acknowledged > 0, "kill {kill}: nothing was acknowledged");
        let store = open_at(&path, options(kind)).unwrap();
        let last = last(store.as_ref());
        assert!(last >= acknowledged, "kill {kill}: {last}, acknowledged {acknowledged}");
        for op in (done + 1..=last).flat_map(|n| plan.batch(n)) {
            match op {
                Op::Put(key, value) => _ = model.insert(key, value),
                Op::Delete(key) => _ = model.remove(&key),
            }
        }
        done = last;
        let mut expected = model.iter();
        for entry in walk(store.as_ref(), everything(), Order::Up) {
            let (key, value) = entry.unwrap();
            // A store has a record of its format, too.
            if key[0] == b'k' || key == LAST {
                let is_expected = expected.next() == Some((&key, &value));
                assert!(is_expected, "kill {kill}: at batch {last}, the value of {key:?}");
            }
        }
        assert_eq!(expected.next(), None, "kill {kill}");
        let live: usize = model.iter().map(|(key, value)| key.len() + value.len()).sum();
        let size = store.bytes_on_disk().unwrap().unwrap();
        let log = std::fs::metadata(path.join("db")).map_or(0, |it| it.len());
        println!(
            "kill {kill}: batch {last}, {} KiB live, {} KiB on disk, log {}",
            live >> 10,
            size >> 10,
            log >> 10
        );
    }
}

const SMALL: Plan = Plan { seed: 0, records: 5_000, largest: 600, group: 60 };

/// Several of them are more than sled keeps in its log for one page.
const LARGE: Plan = Plan { seed: 0, records: 300, largest: 30_000, group: 10 };

fn is_killed(kind: StoreKind, plan: Plan) {
    survives(&Place::Killed(tempfile::tempdir().unwrap()), kind, plan);
}

fn loses_power(kind: StoreKind, plan: Plan) {
    if !is_skipped() {
        survives(&Place::PowerCut(Disk::ext4(256, "defaults")), kind, plan);
    }
}

#[test]
fn sled_has_what_was_acknowledged_before_a_kill() {
    is_killed(StoreKind::Sled, SMALL);
}

#[test]
fn and_large_values() {
    is_killed(StoreKind::Sled, LARGE);
}

#[test]
fn and_so_has_fjall() {
    is_killed(StoreKind::Fjall, SMALL);
}

#[test]
fn sled_has_what_was_acknowledged_before_a_power_cut() {
    loses_power(StoreKind::Sled, SMALL);
}

#[test]
fn and_large_values_before_a_power_cut() {
    loses_power(StoreKind::Sled, LARGE);
}

#[test]
fn and_so_has_fjall_before_a_power_cut() {
    loses_power(StoreKind::Fjall, LARGE);
}
