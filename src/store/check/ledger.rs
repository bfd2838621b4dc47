//! The ledger: event numbers without a gap, times that never go back, responses where it says; and
//! recorded inputs that are whole.
//!
//! Its beginning may have been forgotten: the first page that is there begins it. A run that has
//! been forgotten has no responses any more.

use super::{Known, Report};
use crate::bytes::Reader;
use crate::run::Run;
use crate::store::ledger::{self, Item};
use crate::store::{Order, Store, StoreError, key, page, records, walk};
use crate::time::Timestamp;

const PAGES: &str = "pages of the ledger";
const ROWS: &str = "responses that the ledger tells of";
const INPUTS: &str = "recorded inputs";

/// Where the ledger goes on, as far as it has been read.
struct Before {
    next_event: u64,
    commit: u64,
    at: Timestamp,
}

pub(super) fn check(
    store: &dyn Store,
    _: &mut Known,
    report: &mut Report,
) -> Result<(), StoreError> {
    let mut before: Option<Before> = None;
    for entry in walk(store, key::all(key::LEDGER), Order::Up) {
        let (key, value) = entry?;
        // What cannot be read is told by itself; what follows it cannot be held against it.
        let Some(first) = key::event_in(&key) else { continue };
        let (Ok(head), Ok(entries)) = (ledger::head(&value), ledger::entries(first, &value)) else {
            before = None;
            continue;
        };
        if let Some(before) = &before {
            follows(&key, first, head.commit, before, report);
        }
        let mut at = before.as_ref().map_or(Timestamp::MIN, |before| before.at);
        let mut next = first;
        for entry in entries.map_while(Result::ok) {
            if entry.at < at {
                let problem = format!("event {} is at {}, before {at}", entry.no, entry.at);
                report.broken(&key, PAGES, problem);
            }
            at = entry.at;
            next = entry.no.saturating_add(entry.events());
            if let Item::Rows { serial, page, rows, .. } = entry.item {
                responses(store, &key, (serial, page, rows), report)?;
            }
        }
        let told = first.saturating_add(head.events);
        if next != told {
            let problem = format!("it takes {} events, and has {}", head.events, next - first);
            report.broken(&key, PAGES, problem);
        }
        before = Some(Before { next_event: told, commit: head.commit, at });
    }
    inputs(store, report)
}

fn follows(key: &[u8], first: u64, commit: u64, before: &Before, report: &mut Report) {
    if first != before.next_event {
        let problem = format!("event {first} follows, where {} should", before.next_event);
        report.broken(key, PAGES, problem);
    }
    if commit < before.commit {
        let problem = format!("commit {commit} follows commit {}", before.commit);
        report.broken(key, PAGES, problem);
    }
}

/// That a page of responses has as many as the ledger tells, if its run is there.
fn responses(
    store: &dyn Store,
    key: &[u8],
    (serial, no, told): (crate::Serial, u32, u32),
    report: &mut Report,
) -> Result<(), StoreError> {
    let run = store.get(&key::run(serial))?;
    let run = run.and_then(|value| records::read::<Run>(ROWS, key, &value).ok());
    if run.is_none_or(|run| run.forgotten) {
        return Ok(());
    }
    let mut found = 0_u32;
    for entry in records::pages(store, key::page(serial, no, 0)..key::page_end(serial, no)) {
        let (_, value) = entry?;
        // What cannot be read is told by itself.
        let Ok(rows) = page::rows(&value) else { return Ok(()) };
        for row in rows {
            if row.is_err() {
                return Ok(());
            }
            found = found.saturating_add(1);
        }
    }
    if found != told {
        let problem = format!("page {no} of run {serial} has {found} responses, not {told}");
        report.broken(key, ROWS, problem);
    }
    Ok(())
}

/// That the inputs of a commit have all their pieces. Without the first they are nothing.
fn inputs(store: &dyn Store, report: &mut Report) -> Result<(), StoreError> {
    // The commit at hand, its pieces, and those that are there in a row.
    let mut at_hand: Option<(u64, u64, u64)> = None;
    for entry in walk(store, key::all(key::INPUTS), Order::Up) {
        let (key, value) = entry?;
        let Some((commit, piece)) = key::inputs_in(&key) else { continue };
        if piece == 0 {
            whole(at_hand.take(), report);
            // A first piece that cannot be read is told by itself.
            let count = Reader::new(&value, "inputs").varint();
            at_hand = count.ok().map(|count| (commit, count, 1));
        } else if let Some((of, _, there)) = &mut at_hand
            && *of == commit
            && *there == u64::from(piece)
        {
            *there += 1;
        }
    }
    whole(at_hand, report);
    Ok(())
}

fn whole(at_hand: Option<(u64, u64, u64)>, report: &mut Report) {
    if let Some((commit, count, there)) = at_hand
        && there < count
    {
        let problem = format!("commit {commit} has {count} pieces; {there} of them are there");
        report.broken(&key::inputs(commit, 0), INPUTS, problem);
    }
}
