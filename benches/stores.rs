//! The two stores on disk beside each other: durable puts a second, what updates leave on disk,
//! reads, opening, and the memory that the process holds.
//!
//! `cargo bench --bench stores`. Each store of each round has a process of its own, since memory is
//! the process's; the rounds are interleaved, and the medians are told.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement, run by hand; its counts are far below 2^52"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use fleetcron::store::{
    Batch, Op, Order, Store, StoreKind, StoreOptions, everything, open_at, walk,
};

const ROUNDS: usize = 3;
/// Records of the second and all later measurements.
const RECORDS: u64 = 300_000;
/// Records that are updated again and again.
const LIVE: u64 = 100_000;
const UPDATES: u64 = 1_000_000;
const PAGES: u64 = 10_000;
const PAGE: usize = 12 * 1024;

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Text that compresses as JSON with identifiers does: to about a half.
    fn text(&mut self, bytes: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes + 32);
        while text.len() < bytes {
            text.extend(format!("{{\"id\":\"{:016x}\"}},", self.next()).into_bytes());
        }
        text.truncate(bytes);
        text
    }
}

fn key(table: u8, number: u64) -> Vec<u8> {
    [&[table][..], b"0123456789abcdef", &number.to_be_bytes()].concat()
}

fn put(table: u8, number: u64, value: Vec<u8>) -> Op {
    Op::Put(key(table, number), value)
}

/// Measures one store and tells the figures, one a line.
fn measure(kind: StoreKind, path: &Path) {
    let store = open_at(path, Some(kind).into()).unwrap();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let told = |name: &str, value: f64| println!("{name}\t{value}");
    let rate = |count: u64, begun: Instant| count as f64 / begun.elapsed().as_secs_f64();

    let begun = Instant::now();
    for n in 0..2_000 {
        store.commit(vec![vec![put(b'a', n, random.text(300))]]).unwrap();
    }
    told("puts/s, commits of 1", rate(2_000, begun));

    let (begun, busy) = (Instant::now(), processor());
    for first in (0..RECORDS).step_by(100) {
        let batch = (first..first + 100).map(|n| put(b'b', n, random.text(300)));
        store.commit(vec![batch.collect()]).unwrap();
    }
    told("puts/s, commits of 100", rate(RECORDS, begun));
    told("processor a put, µs", (processor() - busy) * 1e6 / RECORDS as f64);
    reads(store.as_ref(), &mut random);
    told("memory after it, MiB", resident());

    let begun = Instant::now();
    for first in (0..PAGES).step_by(8) {
        let batch = |n| -> Batch { vec![put(b'p', n, random.text(PAGE))] };
        store.commit((first..first + 8).map(batch).collect()).unwrap();
    }
    let mib = PAGES as f64 * PAGE as f64 / 1_048_576.0;
    told("pages of 12 KiB, MiB/s", mib / begun.elapsed().as_secs_f64());
    drop(store);

    let begun = Instant::now();
    let store = open_at(path, StoreOptions::default()).unwrap();
    told("opening, ms", begun.elapsed().as_secs_f64() * 1_000.0);
    let entries = walk(store.as_ref(), everything(), Order::Up).map(Result::unwrap);
    let given: usize = entries.map(|(key, value)| key.len() + value.len()).sum();
    told(
        "bytes on disk / bytes given",
        store.bytes_on_disk().unwrap().unwrap() as f64 / given as f64,
    );
    told("memory at the end, MiB", resident());
}

fn reads(store: &dyn Store, random: &mut Random) {
    let begun = Instant::now();
    for _ in 0..100_000 {
        assert!(store.get(&key(b'b', random.next() % RECORDS)).unwrap().is_some());
    }
    println!("reads/s\t{}", 100_000.0 / begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let count = walk(store, key(b'b', 0)..key(b'b', u64::MAX), Order::Up).count();
    println!("records/s of a walk\t{}", count as f64 / begun.elapsed().as_secs_f64());
}

/// Updates a few records again and again.
fn update(kind: StoreKind, path: &Path) {
    let store = open_at(path, Some(kind).into()).unwrap();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (begun, busy) = (Instant::now(), processor());
    for _ in (0..UPDATES).step_by(100) {
        let batch = (0..100).map(|_| put(b'u', random.next() % LIVE, random.text(300)));
        store.commit(vec![batch.collect()]).unwrap();
    }
    println!("updates/s, commits of 100\t{}", UPDATES as f64 / begun.elapsed().as_secs_f64());
    println!("processor an update, µs\t{}", (processor() - busy) * 1e6 / UPDATES as f64);
    let disk = store.bytes_on_disk().unwrap().unwrap();
    println!("MiB on disk of {} live\t{}", LIVE * 325 / 1_048_576, disk as f64 / 1_048_576.0);
    println!("memory after updates, MiB\t{}", resident());
}

/// The processor time that this process has taken, in seconds.
fn processor() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// The memory that this process holds, in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_024.0
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, what, kind, path] = &args[..] {
        let kind = kind.parse().unwrap();
        return if what == "update" {
            update(kind, Path::new(path));
        } else {
            measure(kind, Path::new(path));
        };
    }
    let mut figures: BTreeMap<(usize, String), BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for kind in StoreKind::ALL {
            let mut row = 0;
            for what in ["measure", "update"] {
                let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
                let ran = Command::new(&args[0])
                    .args([what, kind.name()])
                    .arg(place.path())
                    .output()
                    .unwrap();
                assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
                for line in String::from_utf8(ran.stdout).unwrap().lines() {
                    let (name, value) = line.split_once('\t').unwrap();
                    let of = figures.entry((row, name.to_owned())).or_default();
                    of.entry(kind.name()).or_default().push(value.parse().unwrap());
                    row += 1;
                }
            }
        }
    }
    println!("{:<38} {:>10} {:>10}", "medians of 3", "sled", "fjall");
    for ((_, name), of) in figures {
        let median = |kind: StoreKind| {
            let mut values = of[kind.name()].clone();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let [sled, fjall] = StoreKind::ALL.map(median);
        let digits = usize::from(sled < 100.0);
        println!("{name:<38} {sled:>10.digits$} {fjall:>10.digits$}");
    }
}
