//! Firings as the processes that run them tell of them, and what they come to.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use fleetcron::Timestamp;

use super::moment::WallClock;
use super::options::JobArgs;
use super::process::Part;

/// Above this many microseconds of drift the clock was set: timers cannot have known of it.
const MAX_DRIFT: i64 = 1_000;

/// The directory that gets all firings, if one does.
static RAW: OnceLock<PathBuf> = OnceLock::new();

/// From now on all firings are kept in files in this directory, which is made if it is not there.
/// Called once, at the start.
pub(crate) fn keep_in(directory: PathBuf) -> io::Result<()> {
    std::fs::create_dir_all(&directory)?;
    RAW.set(directory).expect("it is chosen once");
    Ok(())
}

/// Keeps what a process printed, if it is to be kept; a file that is there stays.
fn keep(of: &str, text: &str) {
    let Some(directory) = RAW.get() else { return };
    let mut paths = (1..).map(|n| directory.join(format!("{of}.{n}.txt")));
    let path = paths.find(|path| !path.exists()).expect("some number is free");
    let kept = File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    kept.unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
    eprintln!("firings: {}", path.display());
}

/// The handler of a job was called.
#[derive(Debug, Clone, Copy)]
struct Firing {
    job: u32,
    scheduled_at: Timestamp,
    late_micros: i64,
}

/// Notes firings while they come, and prints them when all is over.
#[derive(Debug)]
pub(crate) struct Notes {
    clock: WallClock,
    firings: Mutex<Vec<Firing>>,
}

impl Notes {
    pub(crate) fn new(clock: WallClock) -> Self {
        Self { clock, firings: Mutex::new(Vec::with_capacity(100_000)) }
    }

    /// A firing has come now.
    pub(crate) fn note(&self, job: u32, scheduled_at: Timestamp) {
        let late_micros = self.clock.later_than(scheduled_at);
        self.firings.lock().unwrap().push(Firing { job, scheduled_at, late_micros });
    }

    /// One line each: job, scheduled time in milliseconds, lateness in microseconds.
    pub(crate) fn print(&self) {
        let mut text = String::new();
        for Firing { job, scheduled_at, late_micros } in self.firings.lock().unwrap().iter() {
            writeln!(text, "{job} {} {late_micros}", scheduled_at.millis()).unwrap();
        }
        print!("{text}");
        let drift = self.clock.drift_micros();
        if drift.abs() > MAX_DRIFT {
            eprintln!("the wall clock was set by {drift} µs while it was measured by");
        }
    }
}

/// What a number of firings comes to.
#[derive(Debug)]
pub(crate) struct Firings {
    pub(crate) expected: usize,
    /// Different ones that came.
    pub(crate) came: usize,
    /// Those that came again.
    pub(crate) doubled: usize,
    /// Sorted, in milliseconds; of each the first time that it came.
    late: Vec<f64>,
}

impl Firings {
    /// From what a process of this name printed.
    pub(crate) fn parse(of: &str, text: &str, args: &JobArgs) -> Self {
        let expected = args.jobs as usize * args.seconds as usize;
        keep(&format!("{of}.{}", args.jobs), text);
        let mut first: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        let mut doubled = 0;
        for line in text.lines() {
            let mut numbers = line.split(' ').map(|number| number.parse::<i64>().unwrap());
            let mut next = || numbers.next().expect("three numbers a line");
            let (job, scheduled_at, late_micros) = (next(), next(), next());
            match first.entry((job, scheduled_at)) {
                Entry::Occupied(_) => doubled += 1,
                Entry::Vacant(vacant) => {
                    vacant.insert(late_micros);
                }
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "lateness is far below 2^52 µs")]
        let mut late: Vec<f64> = first.values().map(|micros| *micros as f64 / 1_000.0).collect();
        late.sort_by(f64::total_cmp);
        Self { expected, came: late.len(), doubled, late }
    }

    pub(crate) fn missing(&self) -> usize {
        self.expected.saturating_sub(self.came)
    }

    /// The lateness that so many in a thousand do not exceed, in milliseconds; none came: NaN.
    pub(crate) fn per_mille(&self, per_mille: usize) -> f64 {
        let rank = (self.came * per_mille).div_ceil(1_000).max(1);
        self.late.get(rank - 1).copied().unwrap_or(f64::NAN)
    }
}

/// Runs a scheduler in a process of its own, and takes what it printed.
pub(crate) fn in_process(part: &str, args: &JobArgs) -> Firings {
    let (jobs, seconds) = (args.jobs.to_string(), args.seconds.to_string());
    let text = Part::start(&[part, "--jobs", &jobs, "--seconds", &seconds]).end();
    Firings::parse(part, &text, args)
}
