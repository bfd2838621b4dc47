//! Runs: their open deliveries, their responses and their counts add up, and nothing is there of
//! runs that are not.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::cursor::Cursor;
use super::jobs::cursors;
use super::report::LEFTOVER;
use super::{Known, Report};
use crate::client_record::ClientRecord;
use crate::id::{ClientNo, Serial};
use crate::run::{Counts, LateAnswer, Run};
use crate::store::page::{self, RESULT_PART, StoredResult};
use crate::store::{Store, StoreError, key, kinds, open_set, records};

const OWNER: &str = "what belongs to a run";
const OPEN: &str = "open deliveries of a run";
const MARKS: &str = "marks on open deliveries";
const PAGES: &str = "pages of a run";
const COUNTS: &str = "counts of a run";
const RESULTS: &str = "large results of a run";
const LATE: &str = "late answers to a run";
const REGISTRY: &str = "clients of the registry";

/// What there is of one run, as far as it has been read.
struct Found<'a> {
    serial: Serial,
    known: &'a Known,
    open: RoaringBitmap,
    ended: RoaringBitmap,
    counts: Counts,
    /// Results that lie outside their page: their bytes by client.
    outside: BTreeMap<u32, u64>,
}

pub(super) fn check(
    store: &dyn Store,
    known: &mut Known,
    report: &mut Report,
) -> Result<(), StoreError> {
    let kinds = [key::RUN, key::OPEN, key::MARK, key::PAGE, key::RESULT, key::LATE];
    let mut cursors = cursors(store, kinds)?;
    loop {
        let owners = cursors.iter().filter_map(Cursor::owner);
        let Some(owner) = owners.min() else { return Ok(()) };
        let serial = kinds::serial(owner);
        let [runs, rest @ ..] = &mut cursors;
        let Some((run_key, value)) = runs.take(owner)? else {
            for cursor in rest {
                orphans(serial, cursor.pass(owner)?, report);
            }
            continue;
        };
        runs.pass(owner)?;
        let run = records::read::<Run>(COUNTS, &run_key, &value);
        if run.as_ref().is_ok_and(|run| run.forgotten) {
            // Retention takes it away part by part: what is left need not add up.
            for cursor in rest {
                cursor.pass(owner)?;
            }
            continue;
        }
        let [open, marks, pages, results, late] = rest;
        let mut found = Found {
            serial,
            known,
            open: RoaringBitmap::new(),
            ended: RoaringBitmap::new(),
            counts: Counts::default(),
            outside: BTreeMap::new(),
        };
        found.read_open(open, owner, report)?;
        if found.open.is_empty()
            && run.as_ref().is_ok_and(|run| run.ended_at.is_none())
            && let Ok(open) = records::open_clients(store, serial)
        {
            // It is young: its record tells who has not answered.
            found.registered(&run_key, &open, report);
            found.open = open;
        }
        found.read_marks(marks, owner, report)?;
        if let (_, Some(page)) = records::split(&value) {
            found.read_rows(&run_key, page, report);
        }
        found.read_pages(pages, owner, report)?;
        found.read_results(results, owner, report)?;
        read_late(store, late, owner, report)?;
        // A run that cannot be read is told by itself.
        if let Ok(run) = run {
            found.add_up(&run, &run_key, report);
        }
    }
}

fn orphans(serial: Serial, found: Option<(Vec<u8>, u64)>, report: &mut Report) {
    if let Some((key, count)) = found {
        let what = kinds::Kind::of(&key).map_or("records", |kind| kind.name);
        let problem = format!("run {serial} is missing; {count} {what} are of it");
        report.fault(&key, OWNER, problem, LEFTOVER);
    }
}

impl Found<'_> {
    fn read_open(
        &mut self,
        cursor: &mut Cursor<'_>,
        owner: [u8; 16],
        report: &mut Report,
    ) -> Result<(), StoreError> {
        while let Some((key, value)) = cursor.take(owner)? {
            let mut clients = RoaringBitmap::new();
            // What cannot be read is told by itself.
            let Some(chunk) = key::chunk_in(&key) else { continue };
            if open_set::decode(chunk, &value, &mut clients).is_ok() {
                self.registered(&key, &clients, report);
                self.open |= clients;
            }
        }
        Ok(())
    }

    fn read_marks(
        &self,
        cursor: &mut Cursor<'_>,
        owner: [u8; 16],
        report: &mut Report,
    ) -> Result<(), StoreError> {
        while let Some((key, value)) = cursor.take(owner)? {
            let mut clients = RoaringBitmap::new();
            let Some((_, chunk)) = key::mark_in(&key) else { continue };
            if open_set::decode(chunk, &value, &mut clients).is_err() {
                continue;
            }
            self.registered(&key, &clients, report);
            let ended = clients - &self.open;
            if let Some(no) = ended.min() {
                let problem =
                    format!("the delivery to client number {no} has a mark and is not open");
                report.broken(&key, MARKS, problem);
            }
        }
        Ok(())
    }

    fn registered(&self, key: &[u8], clients: &RoaringBitmap, report: &mut Report) {
        let unknown = clients - &self.known.clients;
        if let Some(no) = unknown.min() {
            let problem = format!("number {no} is no client, one of {} such", unknown.len());
            report.broken(key, REGISTRY, problem);
        }
    }

    fn read_pages(
        &mut self,
        cursor: &mut Cursor<'_>,
        owner: [u8; 16],
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let mut before: Option<(u32, u16)> = None;
        while let Some((key, value)) = cursor.take(owner)? {
            let Some((no, part)) = key::page_in(&key) else { continue };
            let follows = match before {
                None => (no, part) == (0, 0),
                Some((page, last)) => {
                    (no, part) == (page.saturating_add(1), 0)
                        || (no, part) == (page, last.saturating_add(1))
                }
            };
            if !follows {
                let after = before.map_or("is the first".to_owned(), |(page, part)| {
                    format!("follows page {page} part {part}")
                });
                report.broken(&key, PAGES, format!("page {no} part {part} {after}"));
            }
            before = Some((no, part));
            self.read_rows(&key, &value, report);
        }
        Ok(())
    }

    fn read_rows(&mut self, key: &[u8], value: &[u8], report: &mut Report) {
        // What cannot be read is told by itself.
        let Ok(rows) = page::rows(value) else { return };
        for row in rows.map_while(Result::ok) {
            let ClientNo(no) = row.client;
            if !self.known.clients.contains(no) {
                let problem = format!("the response of number {no}, which is no client");
                report.broken(key, REGISTRY, problem);
            }
            if let Some(StoredResult::Outside { bytes }) = row.result {
                self.outside.insert(no, bytes);
            }
            if row.retried {
                self.counts.retried += 1;
                continue;
            }
            self.counts.add(row.state);
            if !self.ended.insert(no) {
                let problem = format!("the delivery to client number {no} has ended twice");
                report.broken(key, PAGES, problem);
            }
        }
    }

    fn read_results(
        &mut self,
        cursor: &mut Cursor<'_>,
        owner: [u8; 16],
        report: &mut Report,
    ) -> Result<(), StoreError> {
        // Of the client at hand: parts and bytes so far.
        let mut at_hand: Option<(u32, u16, u64)> = None;
        while let Some((key, value)) = cursor.take(owner)? {
            let Some((ClientNo(no), part)) = key::result_in(&key) else { continue };
            let (parts, bytes) = match at_hand {
                Some((client, parts, bytes)) if client == no => (parts, bytes),
                other => {
                    self.whole(other, report);
                    (0, 0)
                }
            };
            if !self.outside.contains_key(&no) {
                let problem = format!("no response of client number {no} has a result outside");
                report.fault(&key, RESULTS, problem, LEFTOVER);
            } else if part != parts {
                let problem = format!("part {part} of client number {no}, where {parts} should be");
                report.broken(&key, RESULTS, problem);
            }
            at_hand = Some((no, part.saturating_add(1), bytes + value.len() as u64));
        }
        self.whole(at_hand, report);
        for (no, bytes) in std::mem::take(&mut self.outside) {
            let key = key::result(self.serial, ClientNo(no), 0);
            let parts = bytes.div_ceil(RESULT_PART as u64);
            let problem = format!("the result of client number {no}, {parts} parts, is missing");
            report.broken(&key, RESULTS, problem);
        }
        Ok(())
    }

    /// That a result that was read has the bytes that its response tells.
    fn whole(&mut self, read: Option<(u32, u16, u64)>, report: &mut Report) {
        let Some((no, _, bytes)) = read else { return };
        if let Some(told) = self.outside.remove(&no)
            && told != bytes
        {
            let key = key::result(self.serial, ClientNo(no), 0);
            let problem = format!("the result of client number {no} has {bytes} bytes of {told}");
            report.broken(&key, RESULTS, problem);
        }
    }

    /// That what the run says of itself is what there is of it.
    fn add_up(&self, run: &Run, key: &[u8], report: &mut Report) {
        let total = run.counts.total;
        let both = &self.open & &self.ended;
        if let Some(no) = both.min() {
            let problem = format!("the delivery to client number {no} is open and has ended");
            report.broken(key, OPEN, problem);
        }
        if run.ended_at.is_none() {
            if self.open.is_empty() {
                report.broken(key, OPEN, "the run is open, and none of its deliveries is");
            }
            let (ended, open) = (self.counts.ended(), self.open.len());
            if u64::from(ended) + open != u64::from(total) {
                let problem =
                    format!("{ended} deliveries have ended and {open} are open, of {total}");
                report.broken(key, COUNTS, problem);
            }
            return;
        }
        if let Some(no) = self.open.min() {
            let problem =
                format!("the run has ended, and its delivery to client number {no} is open");
            report.broken(key, OPEN, problem);
        }
        let counts = Counts { total, ..self.counts };
        if run.counts != counts || counts.ended() != total {
            let problem =
                format!("the run tells of {}, its pages of {}", told(run.counts), told(counts));
            report.broken(key, COUNTS, problem);
        }
    }
}

fn read_late(
    store: &dyn Store,
    cursor: &mut Cursor<'_>,
    owner: [u8; 16],
    report: &mut Report,
) -> Result<(), StoreError> {
    while let Some((key, value)) = cursor.take(owner)? {
        let Some(no) = key::late_in(&key) else { continue };
        let Ok(late) = records::read::<LateAnswer>(LATE, &key, &value) else { continue };
        let client = store.get(&key::client(no))?;
        let client = client
            .and_then(|value| records::read::<ClientRecord>(LATE, &key::client(no), &value).ok());
        if client.is_none_or(|client| client.id != late.client) {
            let problem = format!("it is of client {}, and number {} is not", late.client, no.0);
            report.broken(&key, LATE, problem);
        }
    }
    Ok(())
}

/// Counts for people: those that are not 0.
fn told(counts: Counts) -> String {
    serde_json::to_value(counts)
        .ok()
        .and_then(|value| {
            let fields = value.as_object()?.iter().filter(|(_, count)| count.as_u64() != Some(0));
            Some(
                fields
                    .map(|(name, count)| format!("{count} {name}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            )
        })
        .unwrap_or_default()
}
