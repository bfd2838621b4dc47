//! What a history of many records costs: pages of it by each kind of filter, explanations, an
//! export of all of it, its bytes on disk, and how fast it comes about.
//!
//! `cargo bench --bench history -- --records 10000000`. What the rows mean and what was measured
//! is in `benches/README.md`. Ends with 1 if a page is slower than promised or has too few events.
//!
//! Imports the library's public interface only.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement, run by hand: it fails by a panic and prints what it found"
)]

mod explain;
mod generate;
mod measure;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser as _;
use fleetcron::history::{EventOrder, EventQuery, EventReader, IndexStep};
use fleetcron::store::{SledOptions, SledStore, Store};
use generate::Generator;

/// Measure queries of a history of many records.
#[derive(Debug, clap::Parser)]
#[command(name = "history", max_term_width = 100)]
struct Options {
    /// Events of the ledger.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(20_000..=1_000_000_000))]
    records: u64,
    /// 100,000 events: for a first look, not for figures to quote.
    #[arg(long, conflicts_with = "records")]
    quick: bool,
    /// One JSON object a line in place of the table.
    #[arg(long)]
    json: bool,
    /// Cargo says it to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A figure that is no query.
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let records = if options.quick { 100_000 } else { options.records };
    let directory = tempfile::tempdir().unwrap();
    let open = || Arc::new(SledStore::open(directory.path(), SledOptions::default()).unwrap());
    let mut figures = Vec::new();

    let begun = Instant::now();
    let mut made = Generator::new(open());
    made.run(records, |events| eprint!("\r{events} of {records} events"));
    eprintln!();
    let events = made.events();
    let seconds = begun.elapsed().as_secs_f64();
    figures.push(Figure { name: "generated", value: per(events, seconds), unit: "events/s" });
    let sample = measure::Sample::of(&made);
    let end = made.now;
    drop(made);

    let store = open();
    let without = measure::queries(store.as_ref(), &sample);
    let bytes = size(directory.path());
    figures.push(Figure {
        name: "store",
        value: per(bytes, as_float(events)),
        unit: "bytes/event",
    });
    let begun = Instant::now();
    let segments = index(store.as_ref());
    let seconds = begun.elapsed().as_secs_f64();
    figures.push(Figure { name: "indexed", value: per(events, seconds), unit: "events/s" });
    eprintln!("{segments} segments were indexed");
    drop(store);

    // Opened again: what was cached by making it is gone.
    let store = open();
    let index = measure::index_bytes(store.as_ref());
    figures.push(Figure {
        name: "index",
        value: per(index, as_float(events)),
        unit: "bytes/event",
    });
    let rows = measure::queries(store.as_ref(), &sample);
    let before = resident();
    let explained = explain::measure(store.as_ref(), end);
    figures.push(Figure { name: "resident before explain", value: before, unit: "MiB" });
    figures.push(Figure { name: "resident after explain", value: resident(), unit: "MiB" });
    figures.extend(export(store.as_ref()));
    let mut faults = measure::faults(&rows, events);
    faults.extend(explain::faults(&explained));
    measure::print(&rows, &without, options.json);
    explain::print(&explained, options.json);
    for Figure { name, value, unit } in figures {
        if options.json {
            println!("{}", serde_json::json!({ "name": name, "value": value, "unit": unit }));
        } else {
            println!("{name}: {value:.1} {unit}");
        }
    }
    for fault in &faults {
        eprintln!("fault: {fault}");
    }
    ExitCode::from(u8::from(!faults.is_empty()))
}

fn index(store: &dyn Store) -> u32 {
    let mut segments = 0;
    while let Some(step) = IndexStep::next(store).unwrap() {
        store.commit(step.batches).unwrap();
        segments += 1;
    }
    segments
}

/// Reads everything, as an export does.
fn export(store: &dyn Store) -> [Figure; 3] {
    let before = resident();
    let begun = Instant::now();
    let query = EventQuery { order: EventOrder::Oldest, ..EventQuery::default() };
    let mut reader = EventReader::new(store, query, None).unwrap();
    reader.set_page(1_000);
    let (mut events, mut bytes) = (0_u64, 0_usize);
    loop {
        let page = reader.read(store).unwrap();
        for event in &page.events {
            events += 1;
            bytes += serde_json::to_vec(event).unwrap().len();
        }
        if page.next.is_none() {
            break;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!("{events} events were exported as {} MiB of NDJSON", bytes / 1024 / 1024);
    [
        Figure { name: "exported", value: per(events, seconds), unit: "events/s" },
        Figure { name: "resident before the export", value: before, unit: "MiB" },
        Figure { name: "resident after the export", value: resident(), unit: "MiB" },
    ]
}

fn per(count: u64, of: f64) -> f64 {
    as_float(count) / of
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn as_float(count: u64) -> f64 {
    count as f64
}

/// Bytes of all files in a directory.
fn size(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let is_directory = entry.file_type().unwrap().is_dir();
            if is_directory { size(&entry.path()) } else { entry.metadata().unwrap().len() }
        })
        .sum()
}

/// The process's resident memory, in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
