//! The runs of a job in a span, read on as they are taken.

use std::collections::VecDeque;
use std::ops::Range;

use super::fate::Kept;
use super::listed::Listed;
use super::query::Span;
use super::{LOOKED_AT, PART, ledger, settings};
use crate::id::{JobId, JobName, Serial};
use crate::run::Run;
use crate::store::{Order, Store, StoreError, key, records, walk};
use crate::time::Timestamp;

/// Runs at the begin of the store that are looked at for the earliest that is kept.
const OLDEST: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Runs {
    job: JobName,
    /// The text by which a record of a run of the job is known.
    text: String,
    /// Where to read on, if there are no lists of runs by job.
    keys: Range<Vec<u8>>,
    listed: Option<Listed>,
    ahead: VecDeque<Run>,
    /// What is known of how long runs are kept.
    pub(super) kept: Kept,
}

impl Runs {
    pub(super) fn new(
        store: &dyn Store,
        job: &JobName,
        jobs: &[JobId],
        span: Span,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let first = key::run(Serial::from_parts(span.since, 0));
        let last = key::run(Serial::from_parts(span.until, 0));
        Ok(Self {
            job: job.clone(),
            text: format!("\"job\":\"{job}\""),
            keys: first..last,
            listed: Listed::open(store, jobs.iter().copied(), span)?,
            ahead: VecDeque::new(),
            kept: Kept { since: settings::forgotten_before(store, now)?, earliest: None },
        })
    }

    /// Sees to it that the next run is at hand, looking at a bounded number of records; tells
    /// whether it is, or there is none any more.
    pub(super) fn look(&mut self, store: &dyn Store) -> Result<bool, StoreError> {
        if !self.ahead.is_empty() {
            return Ok(true);
        }
        if let Some(listed) = &mut self.listed {
            let serials = listed.next(store)?;
            for serial in &serials {
                let key = key::run(*serial);
                if let Some(value) = store.get(&key)?
                    && let Some(run) = self.own(&key, &value)?
                {
                    self.ahead.push_back(run);
                }
            }
            return Ok(!self.ahead.is_empty() || serials.is_empty());
        }
        let keys = self.keys.start.clone()..self.keys.end.clone();
        let mut looked_at = 0;
        for entry in walk(store, keys, Order::Up).take(LOOKED_AT) {
            let (key, value) = entry?;
            looked_at += 1;
            if let Some(run) = self.own(&key, &value)? {
                self.ahead.push_back(run);
            }
            self.keys.start = key;
            // The smallest key above it.
            self.keys.start.push(0);
            if self.ahead.len() >= PART {
                return Ok(true);
            }
        }
        Ok(!self.ahead.is_empty() || looked_at < LOOKED_AT)
    }

    /// The next run, once it is at hand.
    pub(super) fn peek(&self) -> Option<Serial> {
        self.ahead.front().map(|run| run.serial)
    }

    /// Takes the next run if it is not after a serial; with `None`, whichever it is.
    pub(super) fn take_up_to(&mut self, serial: Option<Serial>) -> Option<Run> {
        let next = self.peek()?;
        if serial.is_none_or(|serial| next <= serial) { self.ahead.pop_front() } else { None }
    }

    /// Looks at the oldest runs of the store for the earliest end that is kept.
    pub(super) fn look_for_earliest(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        for entry in walk(store, key::all(key::RUN), Order::Up).take(OLDEST) {
            let (key, value) = entry?;
            self.own(&key, &value)?;
        }
        Ok(())
    }

    /// A run of the job, and notes when it ended.
    fn own(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Run>, StoreError> {
        if !ledger::has(value, self.text.as_bytes()) {
            return Ok(None);
        }
        let run: Run = records::read("run", key, value)?;
        if run.job.as_ref() != Some(&self.job) {
            return Ok(None);
        }
        let ended = run.ended_at.filter(|_| !run.forgotten);
        self.kept.earliest = ended.into_iter().chain(self.kept.earliest).min();
        Ok(Some(run))
    }
}
