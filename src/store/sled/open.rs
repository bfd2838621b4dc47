//! Opens sled on its files: looks them over before, and makes it clean up when it has fallen behind.
//!
//! Promises: what was durable is there once it is open; what it takes longer for cleaning up is
//! limited. Imports the errors of the store and the room on the disk.
//!
//! sled writes every change to a new place. To use an old one again it must first move what is still
//! needed from there, and it moves one page whenever it writes a page anew as a whole. That keeps up
//! in a process that runs for long. One that is ended and started again writes less between two
//! starts than it should move: after 116 kills in 6 minutes, 5 MiB of pages took 20 MiB, in segments
//! of which a quarter was needed, and the file went on growing. sled has a thread that moves pages when
//! there is nothing else to do, but it would write beside the commits. So it runs here alone, before
//! anybody else has the store, and only if there is much to move. The file does not get shorter by
//! that: it has places that are free, and is written on there.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::follow::Follower;
use super::{DATA_FILE, ENGINE, is_locked, recovery, remove_torn_snapshots, told};
use crate::lock_file::patiently;
use crate::store::embedded::unwinding;
use crate::store::fresh::sync_directory;
use crate::store::room::obstacle_at;
use crate::store::{SYNCING, StoreError};

/// The bytes of segments below which nothing is cleaned up.
const LEAST: u64 = 16 << 20;

/// How often the pages would fit into their segments, from which on it is cleaned up.
const TIMES: u64 = 4;

/// How long is cleaned up at most. What is left then is for the next start.
const AT_MOST: Duration = Duration::from_secs(2);

/// The time within which sled's thread moves pages for half of it and syncs the file: so short that it
/// does not write over a place before what was moved from there is durable.
const MOVING_MS: u64 = 4;

/// The time between two looks at what it has moved.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks at which nothing more was moved, after which it is done.
const IDLE_LOOKS: u32 = 20;

/// Room that cleaning up may take.
const ROOM: u64 = 64 << 20;

/// What one commit at a time needs.
pub(super) struct Writer {
    pub(super) data: File,
    pub(super) follower: Follower,
    pub(super) failed: bool,
}

impl Writer {
    /// Makes durable what sled has handed to the operating system.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.follower.follow()?;
        self.follower.sync_blobs()?;
        self.data.sync_data()
    }
}

impl Drop for Writer {
    /// Notes what sled has written when it was closed.
    fn drop(&mut self) {
        if !self.failed && self.sync().is_ok() {
            self.follower.note();
        }
    }
}

/// Opens the files in a directory that is locked.
pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<(sled::Db, Writer), StoreError> {
    let opened = open_once(path, cache_bytes, None)?;
    if !opened.1.follower.is_wasteful(LEAST, TIMES) || obstacle_at(path, ROOM).is_some() {
        return Ok(opened);
    }
    drop(opened);
    clean_up(path, cache_bytes)?;
    open_once(path, cache_bytes, None)
}

/// Opens them, with sled's own thread if it is to have one.
fn open_once(
    path: &Path,
    cache_bytes: u64,
    flush_every_ms: Option<u64>,
) -> Result<(sled::Db, Writer), StoreError> {
    let looking = |error| StoreError::failed("looking at its files", error);
    remove_torn_snapshots(path).map_err(looking)?;
    let damaged = |problem| StoreError::Damaged { path: path.to_owned(), problem };
    let expected = recovery::look_over(path).map_err(looking)?.map_err(damaged)?;
    let config = sled::Config::new()
        .path(path)
        .mode(sled::Mode::HighThroughput)
        .flush_every_ms(flush_every_ms)
        .use_compression(false)
        .cache_capacity(cache_bytes);
    let open = || patiently(|| config.open(), is_locked);
    let db = unwinding(ENGINE, path, open)?.map_err(|error| told(path, "opening", error))?;
    let data = File::open(path.join(DATA_FILE))
        .map_err(|error| StoreError::failed("opening the data file", error))?;
    // The names of new files are durable only when their directory is.
    sync_directory(path).map_err(|error| StoreError::failed("syncing the directory", error))?;
    let follower = data.try_clone().and_then(|data| Follower::begin(path, data));
    let reading = |error| StoreError::failed("reading its snapshot", error);
    let follower = follower.map_err(reading)?.map_err(damaged)?;
    if expected.is_some_and(|expected| !follower.is_at(expected)) {
        return Err(damaged(format!("sled does not find in {DATA_FILE} all that is in it")));
    }
    let mut writer = Writer { data, follower, failed: false };
    writer.sync().map_err(|error| StoreError::failed(SYNCING, error))?;
    writer.follower.note();
    Ok((db, writer))
}

/// Lets sled move pages until little is left to move, or the time is over. The bytes that it moved.
pub(super) fn clean_up(path: &Path, cache_bytes: u64) -> Result<u64, StoreError> {
    let begun = Instant::now();
    let (db, mut writer) = open_once(path, cache_bytes, Some(MOVING_MS))?;
    let before = writer.follower.at();
    let nudged = unwinding(ENGINE, path, || {
        // It finds out what to move when it writes, be it nothing.
        db.apply_batch(sled::Batch::default())?;
        db.flush()
    })?;
    nudged.map_err(|error| told(path, "cleaning up", error))?;
    let (mut idle, mut last) = (0, before);
    // It would go on to move what is at the end of the file.
    let enough = before.saturating_add(writer.follower.needed().saturating_mul(2) + LEAST / 4);
    while idle < IDLE_LOOKS && last < enough && begun.elapsed() < AT_MOST {
        std::thread::sleep(PAUSE);
        writer.sync().map_err(|error| StoreError::failed(SYNCING, error))?;
        writer.follower.note();
        let at = writer.follower.at();
        idle = if at == last { idle + 1 } else { 0 };
        last = at;
    }
    let path = path.display();
    let (bytes, took) = (last - before, begun.elapsed());
    tracing::info!(%path, bytes, ?took, "pages were moved together, to use their places again");
    // The store first: it is noted how it was left.
    drop(db);
    drop(writer);
    Ok(bytes)
}
