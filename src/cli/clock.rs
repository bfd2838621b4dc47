//! A clock that a file sets: how `soak` sets the clock of the server that it tries, and only that.
//!
//! An injected fault, behind a flag of `serve` that the help does not show. The machine's clock is
//! not touched, and nothing else in the process goes by another clock than before: node, chores
//! and what clients are told get this one through the [`Clock`] trait.
//!
//! Imports the domain types.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::CliError;
use crate::time::{Clock, SystemClock, Timestamp};

/// How old what was read may be.
const LOOK: Duration = Duration::from_millis(20);

/// The machine's clock and what a file adds to it: a whole number of milliseconds, which may be
/// below zero.
#[derive(Debug)]
pub(super) struct ShiftedClock {
    path: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    at: Instant,
    millis: i64,
}

impl ShiftedClock {
    /// A clock by this file, which must be there.
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let millis = read(path).map_err(|problem| {
            CliError::Usage(format!("--clock-offset-file {}: {problem}", path.display()))
        })?;
        let read = Mutex::new(Read { at: Instant::now(), millis });
        Ok(Self { path: path.to_owned(), read })
    }
}

impl Clock for ShiftedClock {
    /// What cannot be read changes nothing.
    fn now(&self) -> Timestamp {
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if last.at.elapsed() >= LOOK {
            *last = Read { at: Instant::now(), millis: read(&self.path).unwrap_or(last.millis) };
        }
        Timestamp::from_millis(SystemClock.now().millis().saturating_add(last.millis))
    }
}

fn read(path: &Path) -> Result<i64, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let told = text.trim();
    told.parse().map_err(|_| format!("{told:?} is no whole number of milliseconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_its_file_and_keeps_what_it_read_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offset");
        let missing = ShiftedClock::open(&path).unwrap_err().to_string();
        assert!(missing.contains("offset"), "{missing}");
        std::fs::write(&path, "soon").unwrap();
        let bad = ShiftedClock::open(&path).unwrap_err().to_string();
        assert!(bad.contains("\"soon\""), "{bad}");
        std::fs::write(&path, "3600000\n").unwrap();
        let clock = ShiftedClock::open(&path).unwrap();
        let ahead = |clock: &ShiftedClock| clock.now().millis() - SystemClock.now().millis();
        assert!((3_599_000..=3_600_000).contains(&ahead(&clock)));
        std::fs::write(&path, "-3600000").unwrap();
        while ahead(&clock) > 0 {}
        assert!((-3_601_000..=-3_600_000).contains(&ahead(&clock)));
        std::fs::remove_file(&path).unwrap();
        std::thread::sleep(LOOK * 2);
        assert!(ahead(&clock) < -3_500_000);
    }
}
