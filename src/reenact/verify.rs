//! Whether the same decisions come out.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::inputs::{Record, Records};
use super::scratch::Scratch;
use super::{ReenactError, Source};
use crate::engine::Engine;
use crate::recording::Told;
use crate::store::ledger::{self, Item};
use crate::store::writer::Commit;
use crate::store::{Entry, Order, Store, StoreError, key};
use crate::time::Timestamp;

/// Events of a commit that a difference shows, at most.
const SHOWN: usize = 20;

/// What came out of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Commits that were decided again.
    pub commits: u64,
    /// Inputs that the engine was told again.
    pub inputs: u64,
    /// Starts of the server among them.
    pub starts: u64,
    /// Commits that a crash cut short: of these, what was written is compared.
    pub cut_short: u64,
    /// Events that were decided again.
    pub events: u64,
    /// Pages of the ledger that were compared.
    pub pages: u64,
    /// Pages that are no longer kept, and could not be compared.
    pub pages_missing: u64,
    /// When the first and the last input came.
    pub from: Option<Timestamp>,
    /// See `from`.
    pub to: Option<Timestamp>,
    /// The first commit of which something else came out; nothing after it was looked at.
    pub difference: Option<Difference>,
}

/// A commit of which something else came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The commit.
    pub commit: u64,
    /// When its inputs came.
    pub at: Timestamp,
    /// Its events as they are recorded, at most 20, each as its number and JSON.
    pub recorded: Vec<String>,
    /// Its events as they are decided now.
    pub decided: Vec<String>,
    /// What differs if the events do not: the digests of what was written.
    pub note: Option<String>,
}

/// Decides again on all that is recorded, and compares. `watch` is told how many commits are done,
/// after each.
pub fn verify(source: Source<'_>, watch: &mut dyn FnMut(u64)) -> Result<Verified, ReenactError> {
    let mut records = Records::of(source)?;
    let mut scratch = Scratch::of(source.base)?;
    let mut engine = None;
    let mut verified = Verified::default();
    while let Some(record) = records.next()? {
        let last = records.peek()?.is_none_or(|next| next.starts);
        let commit = decide(&record, &mut scratch, &mut engine, &mut verified)?;
        let kept = pages_of(source.store, &record)?;
        let parts: BTreeSet<u32> = kept.iter().map(|page| page.part).collect();
        // Only the last commit before a start can have been cut short.
        let most = if last && !parts.is_empty() { parts.len() } else { usize::MAX };
        let first = scratch.head().next_event;
        let (decided, all) = scratch.write(&commit, most)?;
        verified.cut_short += u64::from(most < all);
        verified.commits += 1;
        verified.events += scratch.head().next_event - first;
        compare(&record, kept, &decided, &mut verified)?;
        watch(verified.commits);
        if verified.difference.is_some() {
            break;
        }
    }
    Ok(verified)
}

/// Tells the engine what led to a commit.
fn decide(
    record: &Record,
    scratch: &mut Scratch,
    engine: &mut Option<Engine>,
    verified: &mut Verified,
) -> Result<Commit, ReenactError> {
    for moment in &record.moments {
        verified.from.get_or_insert(moment.at);
        verified.to = Some(moment.at);
        verified.inputs += 1;
        match (&moment.told, &mut *engine) {
            (Told::Restored(how), engine) => {
                verified.starts += 1;
                *engine = Some(scratch.restart(record.commit, how, moment.at)?);
            }
            (Told::Deadline, Some(engine)) => engine.handle_deadline(moment.at),
            (Told::Input(input), Some(engine)) => engine.handle(moment.at, input.clone()),
            // The first record starts a server.
            (_, None) => return Err(ReenactError::WrongBase { next: record.commit }),
        }
    }
    let decision = engine.as_mut().map(Engine::take).unwrap_or_default();
    let (mut commit, _) = Commit::of(decision);
    commit.inputs.clone_from(&record.bytes);
    Ok(commit)
}

/// A page of the ledger as it is kept.
struct Page {
    first: u64,
    value: Vec<u8>,
    part: u32,
}

/// The pages that a commit wrote, as far as they are kept.
fn pages_of(store: &dyn Store, record: &Record) -> Result<Vec<Page>, StoreError> {
    let mut pages = Vec::new();
    let end = key::all(key::LEDGER).end;
    for entry in crate::store::walk(store, key::ledger(record.first_event)..end, Order::Up) {
        let page = entry?;
        let (first, head) = ledger::head_of(&page)?;
        if head.commit != record.commit {
            break;
        }
        pages.push(Page { first, value: page.1, part: head.part });
    }
    Ok(pages)
}

fn compare(
    record: &Record,
    kept: Vec<Page>,
    decided: &[Entry],
    verified: &mut Verified,
) -> Result<(), StoreError> {
    if kept.is_empty() {
        verified.pages_missing += decided.len() as u64;
        return Ok(());
    }
    let same = kept.len() == decided.len()
        && kept
            .iter()
            .zip(decided)
            .all(|(kept, decided)| key::ledger(kept.first) == decided.0 && kept.value == decided.1);
    if same {
        verified.pages += kept.len() as u64;
        return Ok(());
    }
    let kept: Vec<Entry> =
        kept.into_iter().map(|page| (key::ledger(page.first), page.value)).collect();
    let (recorded, decided) = (told(&kept)?, told(decided)?);
    let note = (recorded == decided).then(|| {
        "the events are the same; what was written beside them is not: the digests differ"
            .to_owned()
    });
    let at = record.moments.first().map_or(Timestamp::MIN, |moment| moment.at);
    let shown = |events: Vec<String>| events.into_iter().take(SHOWN).collect();
    verified.difference = Some(Difference {
        commit: record.commit,
        at,
        recorded: shown(recorded),
        decided: shown(decided),
        note,
    });
    Ok(())
}

/// The events of pages, each in a line.
fn told(pages: &[Entry]) -> Result<Vec<String>, StoreError> {
    let mut lines = Vec::new();
    for page in pages {
        for entry in ledger::entries_of(page)? {
            let what = match &entry.item {
                Item::Nothing => "nothing".to_owned(),
                Item::Rows { serial, page, rows, .. } => {
                    format!("{rows} ends of deliveries of {serial} on its page {page}")
                }
                // It was read from JSON, or has a form that JSON has.
                Item::Event(what) => serde_json::to_string(what).unwrap_or_default(),
            };
            lines.push(format!("{} {} {} {what}", entry.no, entry.at, entry.actor));
        }
    }
    Ok(lines)
}
