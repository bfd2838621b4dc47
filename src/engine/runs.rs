//! The open runs in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;

use super::change::{CHUNK, Change, Mark, OpenRunRecord, PAGE_BYTES, PageEntry};
use super::chunks::{chunks, of_chunk};
use super::effect::Dispatch;
use super::young::Young;
use crate::id::{ClientNo, JobId, Serial};
use crate::run::{DeliveryState, Run};
use crate::target::Membership;
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
    /// Those of them whose connection ended when it had been sent: they may have it.
    pub(super) took_along: RoaringBitmap,
    /// Those of them that were tried before.
    tried: BTreeMap<u32, Tried>,
    /// Until when those of them that run it may do so, if there is such a time.
    begun: BTreeMap<u32, Timestamp>,
    /// Commands of later attempts, by the attempt's number.
    again: BTreeMap<u32, Arc<Dispatch>>,
    marks: BTreeMap<Mark, RoaringBitmap>,
    pub(super) wide: bool,
    /// Its set of open deliveries is not stored, see [`young`](super::young).
    young: bool,
    /// Of a run with open membership: all who have or had a delivery of it.
    pub(super) members: RoaringBitmap,
    pages: u32,
    unsaved: Unsaved,
}

/// A delivery whose last attempt has ended without ending it.
#[derive(Debug, Clone, Copy)]
struct Tried {
    /// The attempt that comes, or is under way.
    attempt: u32,
    /// It is not sent before.
    not_before: Timestamp,
}

/// What of a run is not yet stored.
#[derive(Debug, Default)]
struct Unsaved {
    run: bool,
    chunks: BTreeSet<u32>,
    marks: BTreeSet<(Mark, u32)>,
    entries: Vec<PageEntry>,
}

impl OpenRun {
    /// A run that fires now.
    pub(super) fn new(mut run: Run, open: RoaringBitmap, young: bool) -> Self {
        run.bytes = run.own_bytes();
        let unsaved = Unsaved { run: true, chunks: chunks(&open), ..Unsaved::default() };
        let members = members(&run, &open);
        Self { young, members, unsaved, ..Self::from_parts(run, open, 0) }
    }

    /// It is young no more: its set of open deliveries is to be stored.
    pub(super) fn grow_up(&mut self) {
        self.young = false;
        self.unsaved.chunks = chunks(&self.open);
    }

    /// A run as the store gives it back.
    pub(super) fn restored(record: OpenRunRecord) -> Self {
        let mut run = record.run;
        run.counts = record.counts;
        run.bytes = run.own_bytes() + record.bytes;
        let members = members(&run, &(&record.open | &record.ended));
        let (marks, young) = (record.marks, record.young);
        Self { marks, young, members, ..Self::from_parts(run, record.open, record.pages) }
    }

    fn from_parts(run: Run, open: RoaringBitmap, pages: u32) -> Self {
        let dispatch = Arc::new(dispatch(&run, 1));
        let wide = open.len() > WIDE;
        Self {
            run,
            dispatch,
            open,
            accepted: RoaringBitmap::new(),
            took_along: RoaringBitmap::new(),
            tried: BTreeMap::new(),
            begun: BTreeMap::new(),
            again: BTreeMap::new(),
            marks: BTreeMap::new(),
            wide,
            young: false,
            members: RoaringBitmap::new(),
            pages,
            unsaved: Unsaved::default(),
        }
    }

    /// The bytes of its command's parameters.
    pub(super) fn bytes(&self) -> u64 {
        self.run.command.params.text().len() as u64
    }

    /// Which attempt of a delivery is at hand.
    pub(super) fn attempt(&self, ClientNo(no): ClientNo) -> u32 {
        self.tried.get(&no).map_or(1, |tried| tried.attempt)
    }

    /// Before when the attempt at hand is not sent; `None`: it is the first.
    pub(super) fn not_before(&self, ClientNo(no): ClientNo) -> Option<Timestamp> {
        self.tried.get(&no).map(|tried| tried.not_before)
    }

    /// The command of the attempt at hand.
    pub(super) fn dispatch(&mut self, no: ClientNo) -> Arc<Dispatch> {
        let attempt = self.attempt(no);
        if attempt == 1 {
            return Arc::clone(&self.dispatch);
        }
        let run = &self.run;
        Arc::clone(self.again.entry(attempt).or_insert_with(|| Arc::new(dispatch(run, attempt))))
    }

    /// Notes which attempt of a delivery comes next, and when.
    pub(super) fn try_again(
        &mut self,
        ClientNo(no): ClientNo,
        attempt: u32,
        not_before: Timestamp,
    ) {
        self.tried.insert(no, Tried { attempt, not_before });
    }

    /// Records the end of an attempt; the next comes at `not_before`.
    pub(super) fn retry(&mut self, entry: PageEntry, not_before: Timestamp) {
        let ClientNo(no) = entry.client;
        self.try_again(entry.client, entry.attempt + 1, not_before);
        self.accepted.remove(no);
        self.took_along.remove(no);
        self.begun.remove(&no);
        self.run.counts.retried += 1;
        self.run.bytes += entry.outcome.kept_bytes();
        self.unsaved.entries.push(entry);
    }

    /// Begins the time of a delivery that runs, unless it has begun; tells when the run is to be
    /// looked at if that is another time than before.
    pub(super) fn begin(&mut self, ClientNo(no): ClientNo, due: Timestamp) -> Option<Timestamp> {
        if self.begun.contains_key(&no) {
            return None;
        }
        // All have the same limit, so a later one is never due before an earlier one.
        let first = self.begun.is_empty();
        self.begun.insert(no, due);
        first.then_some(due)
    }

    /// The deliveries that run too long, and when to look again.
    pub(super) fn overdue(&self, now: Timestamp) -> (Vec<ClientNo>, Option<Timestamp>) {
        let late = self.begun.iter().filter(|(_, due)| **due <= now).map(|(no, _)| ClientNo(*no));
        (late.collect(), self.begun.values().copied().filter(|due| *due > now).min())
    }

    /// Whether an open delivery has a mark.
    pub(super) fn is_marked(&self, mark: Mark, ClientNo(no): ClientNo) -> bool {
        self.marks.get(&mark).is_some_and(|clients| clients.contains(no))
    }

    /// Marks an open delivery.
    pub(super) fn mark(&mut self, mark: Mark, ClientNo(no): ClientNo) {
        if self.marks.entry(mark).or_default().insert(no) {
            self.unsaved.marks.insert((mark, no / CHUNK));
        }
    }

    /// Takes a mark back.
    pub(super) fn unmark(&mut self, mark: Mark, ClientNo(no): ClientNo) {
        if self.marks.get_mut(&mark).is_some_and(|clients| clients.remove(no)) {
            self.unsaved.marks.insert((mark, no / CHUNK));
        }
    }

    /// Records an end. The caller has checked that the delivery is open.
    pub(super) fn end(&mut self, entry: PageEntry) {
        let ClientNo(no) = entry.client;
        self.open.remove(no);
        self.accepted.remove(no);
        self.took_along.remove(no);
        self.begun.remove(&no);
        self.tried.remove(&no);
        for mark in Mark::ALL {
            self.unmark(mark, entry.client);
        }
        self.run.counts.add(entry.outcome.state);
        self.run.bytes += entry.outcome.kept_bytes();
        self.unsaved.chunks.insert(no / CHUNK);
        if self.open.is_empty() {
            self.run.ended_at = Some(entry.at);
            self.unsaved.run = true;
        }
        if bug!(SkippedUnrecorded) && entry.outcome.state == DeliveryState::Skipped {
            return;
        }
        self.unsaved.entries.push(entry);
    }

    /// Adds the delivery of a client that has come into the target.
    pub(super) fn join(&mut self, ClientNo(no): ClientNo) {
        self.open.insert(no);
        self.members.insert(no);
        self.run.counts.total += 1;
        self.unsaved.run = true;
        self.unsaved.chunks.insert(no / CHUNK);
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
        // The record of a young run tells who has not answered.
        let chunks = if self.young { BTreeSet::new() } else { unsaved.chunks };
        unit.extend(chunks.into_iter().map(|chunk| Change::PutOpen {
            serial,
            chunk,
            open: of_chunk(&self.open, chunk),
        }));
        unit.extend(unsaved.marks.into_iter().map(|(mark, chunk)| {
            let clients = self.marks.get(&mark).map(|all| of_chunk(all, chunk)).unwrap_or_default();
            Change::PutMarks { serial, mark, chunk, clients }
        }));
        for entries in paged(unsaved.entries) {
            unit.push(Change::PutPage { serial, page: self.pages, entries });
            self.pages += 1;
        }
        unit
    }
}

/// The clients of a run that others can come to.
fn members(run: &Run, clients: &RoaringBitmap) -> RoaringBitmap {
    match run.membership {
        Membership::Open => clients.clone(),
        Membership::Snapshot => RoaringBitmap::new(),
    }
}

/// The command of an attempt, for all who get it.
fn dispatch(run: &Run, attempt: u32) -> Dispatch {
    Dispatch {
        serial: run.serial,
        attempt,
        timeout: run.policy.timeout.run(),
        command: run.command.clone(),
        job: run.job.clone(),
        scheduled_at: run.scheduled_at,
        in_turn: run.in_turn().is_some(),
        on_client_crash: run.on_client_crash,
        priority: run.policy.priority,
        per_client: run.policy.per_client,
        frame: OnceLock::new(),
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
#[derive(Debug)]
pub(super) struct Runs {
    pub(super) young: Young,
    open: BTreeMap<Serial, OpenRun>,
    wide: BTreeSet<Serial>,
    /// Those with open membership.
    joinable: BTreeSet<Serial>,
    by_job: BTreeMap<JobId, BTreeSet<Serial>>,
    expiry: BTreeSet<(Timestamp, Serial)>,
    dirty: BTreeSet<Serial>,
}

impl Runs {
    /// None so far.
    pub(super) fn new(young: Young) -> Self {
        Self {
            young,
            open: BTreeMap::new(),
            wide: BTreeSet::new(),
            joinable: BTreeSet::new(),
            by_job: BTreeMap::new(),
            expiry: BTreeSet::new(),
            dirty: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes a run in; `expires_at` may be later than the run's own.
    pub(super) fn insert(&mut self, run: OpenRun, expires_at: Option<Timestamp>) {
        let serial = run.run.serial;
        if run.young {
            self.young.enter(serial);
        }
        if run.wide {
            self.wide.insert(serial);
        }
        if run.run.membership == Membership::Open {
            self.joinable.insert(serial);
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

    /// A run of which nothing that is stored is changed.
    pub(super) fn get_mut(&mut self, serial: Serial) -> Option<&mut OpenRun> {
        self.open.get_mut(&serial)
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

    /// Notes that a client's connection ended when a delivery had been sent; nothing is stored.
    pub(super) fn took_along(&mut self, serial: Serial, no: ClientNo) {
        if let Some(run) = self.open.get_mut(&serial) {
            run.took_along.insert(no.0);
        }
    }

    /// Notes that a client no longer has what it had taken; nothing is stored.
    pub(super) fn lose(&mut self, serial: Serial, no: ClientNo) {
        if let Some(run) = self.open.get_mut(&serial) {
            run.accepted.remove(no.0);
            run.took_along.remove(no.0);
            run.begun.remove(&no.0);
        }
    }

    /// The wide runs in which a client's delivery is open.
    pub(super) fn wide_of(&self, no: ClientNo) -> impl Iterator<Item = Serial> {
        self.wide
            .iter()
            .copied()
            .filter(move |serial| self.open.get(serial).is_some_and(|run| run.open.contains(no.0)))
    }

    /// The runs with open membership, oldest first.
    pub(super) fn joinable(&self) -> impl Iterator<Item = Serial> {
        self.joinable.iter().copied()
    }

    /// The open runs of a job, oldest first.
    pub(super) fn of_job(&self, job: JobId) -> Vec<Serial> {
        self.by_job.get(&job).map(|runs| runs.iter().copied().collect()).unwrap_or_default()
    }

    /// The open runs of a job that are above one serial and below another, oldest first.
    pub(super) fn of_job_between(
        &self,
        job: JobId,
        after: Option<Serial>,
        before: Option<Serial>,
    ) -> impl DoubleEndedIterator<Item = Serial> {
        let first = after.map_or(Bound::Unbounded, |after| Bound::Included(after.next()));
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let is_span = after.zip(before).is_none_or(|(after, before)| after < before);
        let runs = self.by_job.get(&job).filter(|_| is_span).into_iter();
        runs.flat_map(move |runs| runs.range((first, end))).copied()
    }

    /// All open runs, oldest first.
    #[cfg(test)]
    pub(super) fn open_now(&self) -> impl Iterator<Item = &Run> {
        self.open.values().map(|open| &open.run)
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
        self.young.remove(serial);
        self.wide.remove(&serial);
        self.joinable.remove(&serial);
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
