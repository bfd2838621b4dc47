//! Samples over time: what the server does and what it takes, read from outside of it.

#![expect(clippy::cast_precision_loss, reason = "rates and seconds need a few digits")]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::watch::Sight;
use super::world::World;

/// How long the server may take to tell how it stands.
const ANSWER: Duration = Duration::from_millis(800);

/// Processor time is told in ticks of 10 ms on every Linux.
const TICKS: f64 = 100.0;

/// A sample. What could not be had is `None`: the server was down, or stood still.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// Seconds since the soak began.
    pub(super) at: f64,
    /// Runs begun a second.
    pub(super) runs: f64,
    /// Commands begun at clients a second.
    pub(super) executions: f64,
    /// How late clients began what was due by a rule, in milliseconds: median, 99 %, longest.
    pub(super) late: Option<[u64; 3]>,
    /// The server's resident memory in bytes.
    pub(super) memory: Option<u64>,
    /// What the server's data directory takes on the disk, in bytes.
    pub(super) disk: u64,
    /// Processors that the server kept busy.
    pub(super) processor: Option<f64>,
    pub(super) runs_open: Option<u64>,
    pub(super) connected: Option<u64>,
}

/// Takes samples.
pub(super) struct Sampler {
    world: Arc<World>,
    sight: Sight,
    begun: Instant,
    last: Last,
    pub(super) samples: Vec<Sample>,
}

/// What the last sample had read.
#[derive(Debug, Default)]
struct Last {
    at: f64,
    runs: u64,
    executions: u64,
    /// Whose processor time, and how much.
    ticks: Option<(i32, f64)>,
}

impl Sampler {
    pub(super) fn new(world: Arc<World>, sight: Sight) -> Self {
        let last = Last::default();
        Self { world, sight, begun: Instant::now(), last, samples: Vec::new() }
    }

    /// How long the soak has run.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Takes a sample.
    pub(super) async fn take(&mut self) -> Sample {
        let status = timeout(ANSWER, async {
            let remote = self.world.remote().await.ok()?;
            remote.status().await.ok()
        });
        let status = status.await.ok().flatten();
        let at = self.begun.elapsed().as_secs_f64();
        let (runs, executions, mut lately) = {
            let mut seen = self.sight.lock();
            (seen.runs, seen.executions, std::mem::take(&mut seen.lately))
        };
        lately.sort_unstable();
        let pid = self.world.server_pid();
        let ticks = pid.and_then(|pid| Some((pid, ticks(pid)?)));
        let passed = (at - self.last.at).max(0.001);
        let sample = Sample {
            at,
            runs: runs.saturating_sub(self.last.runs) as f64 / passed,
            executions: executions.saturating_sub(self.last.executions) as f64 / passed,
            late: spread(&lately),
            memory: pid.and_then(resident),
            disk: disk(&self.world.store()),
            // Of one that has started since, all its time is new.
            processor: ticks.zip(self.last.ticks).map(|((pid, now), (other, before))| {
                (if pid == other { now - before } else { now }) / TICKS / passed
            }),
            runs_open: status.as_ref().map(|status| status.runs_open),
            connected: status.as_ref().map(|status| status.clients_connected),
        };
        self.last = Last { at, runs, executions, ticks: ticks.or(self.last.ticks) };
        self.samples.push(sample);
        sample
    }
}

/// Median, 99 % and longest of what is sorted.
fn spread(sorted: &[u64]) -> Option<[u64; 3]> {
    let rank = |share: usize| sorted.get((sorted.len() * share).div_ceil(100).max(1) - 1).copied();
    Some([rank(50)?, rank(99)?, *sorted.last()?])
}

/// A process's resident memory, in bytes.
fn resident(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1_024)
}

/// A process's processor time, in ticks.
fn ticks(pid: i32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name in brackets, user and system time are the 12th and 13th field.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some(next()? + next()?)
}

/// What a directory's files take on the disk, in bytes. A file that goes meanwhile takes nothing.
fn disk(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(file) if file.is_dir() => disk(&entry.path()),
        Ok(file) => file.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_processor_time_and_a_directory_its_size() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(resident(pid).unwrap() > 1_000_000);
        assert!(ticks(pid).is_some());
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        fs::write(dir.path().join("in/file"), vec![7; 100_000]).unwrap();
        assert!((100_000..200_000).contains(&disk(dir.path())), "{}", disk(dir.path()));
        assert_eq!(disk(&dir.path().join("none")), 0);
    }

    #[test]
    fn percentiles_are_by_the_nearest_rank() {
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[5]), Some([5, 5, 5]));
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(spread(&hundred), Some([50, 99, 100]));
    }
}
