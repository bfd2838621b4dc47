//! The open runs in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;

use super::change::{CHUNK, Change, OpenRunRecord, PAGE_BYTES, PageEntry};
use super::effect::Dispatch;
use crate::id::{ClientNo, JobId, Serial};
use crate::run::Run;
use crate::time::Timestamp;

/// A run for more clients than this is wide: its open deliveries are in its own bitmap only, and
/// a client that connects looks at every wide run.
pub(super) const WIDE: u64 = 64;

/// A run with open deliveries, and what of it is not yet stored.
#[derive(Debug)]
pub(super) struct OpenRun {
    pub(super) run: Run,
    pub(super) dispatch: Arc<Dispatch>,
    /// Clients whose delivery is open.
    pub(super) open: RoaringBitmap,
    /// Those of them that have taken it.
    pub(super) accepted: RoaringBitmap,
    pub(super) wide: bool,
    pages: u32,
    unsaved: Unsaved,
}

/// What of a run is not yet stored.
#[derive(Debug, Default)]
struct Unsaved {
    run: bool,
    chunks: BTreeSet<u32>,
    entries: Vec<PageEntry>,
}

impl OpenRun {
    /// A run that fires now.
    pub(super) fn new(run: Run, open: RoaringBitmap) -> Self {
        let chunks = open.iter().map(|no| no / CHUNK).collect();
        let unsaved = Unsaved { run: true, chunks, entries: Vec::new() };
        Self { unsaved, ..Self::from_parts(run, open, 0) }
    }

    /// A run as the store gives it back.
    pub(super) fn restored(record: OpenRunRecord) -> Self {
        let mut run = record.run;
        run.counts = record.counts;
        Self::from_parts(run, record.open, record.pages)
    }

    fn from_parts(run: Run, open: RoaringBitmap, pages: u32) -> Self {
        let dispatch = Arc::new(Dispatch {
            serial: run.serial,
            command: run.command.clone(),
            job: run.job.clone(),
            scheduled_at: run.scheduled_at,
            in_turn: run.in_turn().is_some(),
            on_client_crash: run.on_client_crash,
            frame: OnceLock::new(),
        });
        let wide = open.len() > WIDE;
        let unsaved = Unsaved::default();
        Self { run, dispatch, open, accepted: RoaringBitmap::new(), wide, pages, unsaved }
    }

    /// Records an end. The caller has checked that the delivery is open.
    pub(super) fn end(&mut self, entry: PageEntry) {
        let ClientNo(no) = entry.client;
        self.open.remove(no);
        self.accepted.remove(no);
        self.run.counts.add(entry.outcome.state);
        self.unsaved.chunks.insert(no / CHUNK);
        if self.open.is_empty() {
            self.run.ended_at = Some(entry.at);
            self.unsaved.run = true;
        }
        self.unsaved.entries.push(entry);
    }

    /// Notes that the run's own record has changed.
    pub(super) fn touch(&mut self) {
        self.unsaved.run = true;
    }

    /// Takes what is not yet stored, as one unit.
    pub(super) fn unit(&mut self) -> Vec<Change> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let serial = self.run.serial;
        let mut unit = Vec::new();
        if unsaved.run {
            unit.push(Change::PutRun(Arc::new(self.run.clone())));
        }
        unit.extend(unsaved.chunks.into_iter().map(|chunk| Change::PutOpen {
            serial,
            chunk,
            open: self.chunk(chunk),
        }));
        for entries in paged(unsaved.entries) {
            unit.push(Change::PutPage { serial, page: self.pages, entries });
            self.pages += 1;
        }
        unit
    }

    fn chunk(&self, chunk: u32) -> RoaringBitmap {
        let first = chunk * CHUNK;
        let last = first + (CHUNK - 1);
        self.open.range(first..=last).collect()
    }
}

/// Cuts responses into pages of about [`PAGE_BYTES`] bytes of results.
fn paged(entries: Vec<PageEntry>) -> Vec<Vec<PageEntry>> {
    let mut pages = Vec::new();
    let mut page = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let outcome = &entry.outcome;
        bytes += 24
            + outcome.reason.as_ref().map_or(0, String::len)
            + outcome.result.as_ref().map_or(0, |result| result.text().len());
        page.push(entry);
        if bytes >= PAGE_BYTES {
            pages.push(std::mem::take(&mut page));
            bytes = 0;
        }
    }
    if !page.is_empty() {
        pages.push(page);
    }
    pages
}

/// Every open run by serial, job and expiry.
#[derive(Debug, Default)]
pub(super) struct Runs {
    open: BTreeMap<Serial, OpenRun>,
    wide: BTreeSet<Serial>,
    by_job: BTreeMap<JobId, BTreeSet<Serial>>,
    expiry: BTreeSet<(Timestamp, Serial)>,
    dirty: BTreeSet<Serial>,
}

impl Runs {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes a run in; `expires_at` may be later than the run's own.
    pub(super) fn insert(&mut self, run: OpenRun, expires_at: Option<Timestamp>) {
        let serial = run.run.serial;
        if run.wide {
            self.wide.insert(serial);
        }
        if let Some(job) = run.run.job_id {
            self.by_job.entry(job).or_default().insert(serial);
        }
        if let Some(at) = expires_at {
            self.expiry.insert((at, serial));
        }
        self.open.insert(serial, run);
    }

    /// Runs of which something is not yet stored.
    pub(super) fn changed(&self) -> usize {
        self.dirty.len()
    }

    pub(super) fn get(&self, serial: Serial) -> Option<&OpenRun> {
        self.open.get(&serial)
    }

    /// A run to be changed; what it has unsaved is stored with the next decision.
    pub(super) fn change(&mut self, serial: Serial) -> Option<&mut OpenRun> {
        let run = self.open.get_mut(&serial)?;
        self.dirty.insert(serial);
        Some(run)
    }

    /// Notes that a client has taken a delivery; nothing is stored.
    pub(super) fn accept(&mut self, serial: Serial, no: ClientNo) {
        if let Some(run) = self.open.get_mut(&serial)
            && run.open.contains(no.0)
        {
            run.accepted.insert(no.0);
        }
    }

    /// Notes that a client no longer has what it had taken; nothing is stored.
    pub(super) fn lose(&mut self, serial: Serial, no: ClientNo) {
        if let Some(run) = self.open.get_mut(&serial) {
            run.accepted.remove(no.0);
        }
    }

    /// The wide runs in which a client's delivery is open.
    pub(super) fn wide_of(&self, no: ClientNo) -> impl Iterator<Item = Serial> {
        self.wide
            .iter()
            .copied()
            .filter(move |serial| self.open.get(serial).is_some_and(|run| run.open.contains(no.0)))
    }

    /// The open runs of a job, oldest first.
    pub(super) fn of_job(&self, job: JobId) -> Vec<Serial> {
        self.by_job.get(&job).map(|runs| runs.iter().copied().collect()).unwrap_or_default()
    }

    /// The jobs that have open runs.
    pub(super) fn jobs(&self) -> Vec<JobId> {
        self.by_job.keys().copied().collect()
    }

    /// When the first run expires.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.expiry.first().map(|(at, _)| *at)
    }

    /// Takes out the serial of a run that expires by now.
    pub(super) fn pop_expired(&mut self, now: Timestamp) -> Option<Serial> {
        let (at, serial) = *self.expiry.first()?;
        if at > now {
            return None;
        }
        self.expiry.pop_first();
        Some(serial)
    }

    /// One unit for each changed run, in serial order; ended runs leave the memory.
    pub(super) fn units(&mut self) -> BTreeMap<Serial, Vec<Change>> {
        let mut units = BTreeMap::new();
        for serial in std::mem::take(&mut self.dirty) {
            let Some(run) = self.open.get_mut(&serial) else { continue };
            units.insert(serial, run.unit());
            if run.open.is_empty() {
                self.remove(serial);
            }
        }
        units
    }

    fn remove(&mut self, serial: Serial) {
        let Some(run) = self.open.remove(&serial) else { return };
        self.wide.remove(&serial);
        if let Some(job) = run.run.job_id
            && let Some(runs) = self.by_job.get_mut(&job)
        {
            runs.remove(&serial);
            if runs.is_empty() {
                self.by_job.remove(&job);
            }
        }
        // A restored run may expire later than its record says; a stale entry is skipped when due.
        if let Some(at) = run.run.expires_at {
            self.expiry.remove(&(at, serial));
        }
    }
}
