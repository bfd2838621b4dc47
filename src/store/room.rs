//! Whether a store can be written, as far as it shows without writing: the room on its file
//! system, and whether that is read-only.
//!
//! Promises: a look costs one call of the system and changes nothing; what hinders says where it
//! is and what to do. Imports nothing of fleetcron but the writing of sizes.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};

use super::StoreError;

/// What must be free before a store is opened again, or a commit is tried again that found none.
pub const FLOOR: u64 = 8 << 20;

/// A file that is written to see whether that can be done.
const PROBE: &str = "fleetcron.probe";

/// What keeps a store from taking more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Little room is left, and that is kept for the answers of what runs.
    #[error(
        "the disk is nearly full: {} MiB are free at {}, {} MiB are kept in reserve; make room there",
        .free >> 20, .path.display(), .reserve >> 20
    )]
    NearlyFull {
        /// The store's directory.
        path: PathBuf,
        /// Free bytes.
        free: u64,
        /// Bytes that are kept free.
        reserve: u64,
    },
    /// A commit found no room and waits for it.
    #[error("the disk is full: a commit waits for room at {}; make room there", .path.display())]
    Full {
        /// The store's directory.
        path: PathBuf,
    },
    /// The file system is read-only.
    #[error("the file system of {} is read-only; mount it so that it can be written", .path.display())]
    ReadOnly {
        /// The store's directory.
        path: PathBuf,
    },
    /// A commit is not made durable in time.
    #[error("the disk does not keep up: a commit has been under way for {seconds} s")]
    Slow {
        /// How long it has been.
        seconds: u64,
    },
}

impl Obstacle {
    /// Whether what is small may still be written.
    #[must_use]
    pub fn leaves_room(&self) -> bool {
        matches!(self, Self::NearlyFull { .. })
    }

    /// What hinders when the system gives this error; `None`: another fault.
    pub(super) fn of(kind: ErrorKind, path: &Path) -> Option<Self> {
        let path = path.to_owned();
        match kind {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(Self::Full { path }),
            ErrorKind::ReadOnlyFilesystem => Some(Self::ReadOnly { path }),
            _ => None,
        }
    }

    /// Whether it is for want of room.
    #[must_use]
    pub fn is_fullness(&self) -> bool {
        matches!(self, Self::NearlyFull { .. } | Self::Full { .. })
    }
}

/// What hinders writing in a directory, if `reserve` bytes are to stay free there. A file system
/// that does not tell hinders nothing: the next commit shows.
#[must_use]
pub fn obstacle_at(path: &Path, reserve: u64) -> Option<Obstacle> {
    let told = statvfs(path).ok()?;
    let path = path.to_owned();
    if told.flags().contains(FsFlags::ST_RDONLY) {
        return Some(Obstacle::ReadOnly { path });
    }
    let free = told.blocks_available().saturating_mul(told.fragment_size());
    (free < reserve).then_some(Obstacle::NearlyFull { path, free, reserve })
}

/// The same, found by writing a little and removing it again: what is read-only for a fault of its own
/// may not say so.
#[must_use]
pub fn unwritable_at(path: &Path, reserve: u64) -> Option<Obstacle> {
    obstacle_at(path, reserve).or_else(|| {
        let probe = path.join(PROBE);
        let written = fs::write(&probe, PROBE).and_then(|()| fs::remove_file(&probe));
        Obstacle::of(written.err()?.kind(), path)
    })
}

/// What the system says of an error, if it does.
pub(super) fn io_kind(error: &StoreError) -> Option<ErrorKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hinders_is_told_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(obstacle_at(directory.path(), 0), None);
        let full = obstacle_at(directory.path(), u64::MAX).unwrap();
        assert!(full.leaves_room() && full.is_fullness());
        let told = full.to_string();
        assert!(told.starts_with("the disk is nearly full: "), "{told}");
        assert!(told.contains(directory.path().to_str().unwrap()), "{told}");
        assert_eq!(obstacle_at(&directory.path().join("none"), u64::MAX), None);
    }

    #[test]
    fn what_the_system_says_is_known() {
        let of = |kind: ErrorKind| {
            let error = StoreError::failed("writing", io::Error::from(kind));
            Obstacle::of(io_kind(&error).unwrap(), Path::new("x"))
        };
        let path = PathBuf::from("x");
        assert_eq!(of(ErrorKind::StorageFull), Some(Obstacle::Full { path: path.clone() }));
        assert_eq!(of(ErrorKind::ReadOnlyFilesystem), Some(Obstacle::ReadOnly { path }));
        assert_eq!(of(ErrorKind::PermissionDenied), None);
        assert_eq!(io_kind(&StoreError::failed("writing", "fjall has failed before")), None);
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(unwritable_at(directory.path(), 0), None);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
