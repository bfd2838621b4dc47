//! Whether the same decisions come out.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use serde::{Deserialize, Serialize};

use super::inputs::{Record, Records};
use super::scratch::Scratch;
use super::{ReenactError, Source};
use crate::engine::Engine;
use crate::recording::{Moment, Told};
use crate::store::ledger::{self, Item};
use crate::store::writer::Commit;
use crate::store::{Entry, Order, Store, StoreError, key};
use crate::time::Timestamp;

/// Events of a commit that a difference shows, at most.
const SHOWN: usize = 20;

/// Commits that may be decided and not compared.
const AHEAD: usize = 4;

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
///
/// A thread of its own writes and compares what was decided, while the engine goes on.
pub fn verify(source: Source<'_>, watch: &mut dyn FnMut(u64)) -> Result<Verified, ReenactError> {
    let mut records = Records::of(source)?;
    let scratch = Mutex::new(Scratch::of(source.base)?);
    thread::scope(|scope| {
        let (orders, work) = mpsc::sync_channel(AHEAD);
        let (reports, done) = mpsc::channel();
        let to_write = &scratch;
        scope.spawn(move || check_all(source.store, to_write, work, &reports));
        let mut checks =
            Checks { orders, done, under_way: 0, verified: Verified::default(), watch };
        let mut engine = None;
        while let Some(mut record) = records.next()? {
            let last = records.peek()?.is_none_or(|next| next.starts);
            if record.starts {
                // The engine finds what was written before.
                checks.settle()?;
            }
            let told = told_by(&record);
            let commit = decide(&mut record, &scratch, &mut engine)?;
            checks.order(Decided { record, commit, last, told })?;
            if checks.verified.difference.is_some() {
                break;
            }
        }
        checks.settle()?;
        Ok(checks.verified)
    })
}

/// A commit that was decided again.
struct Decided {
    record: Record,
    commit: Commit,
    /// Nothing follows it, or a start of the server.
    last: bool,
    /// What the engine was told.
    told: Verified,
}

/// The comparisons, as seen by who decides.
struct Checks<'a> {
    orders: mpsc::SyncSender<Decided>,
    done: mpsc::Receiver<Result<Verified, StoreError>>,
    under_way: usize,
    verified: Verified,
    watch: &'a mut dyn FnMut(u64),
}

impl Checks<'_> {
    fn order(&mut self, decided: Decided) -> Result<(), StoreError> {
        while let Ok(checked) = self.done.try_recv() {
            self.take(checked?);
        }
        // It has gone when it has found a difference or an error, which is then taken.
        if self.orders.send(decided).is_ok() {
            self.under_way += 1;
        } else {
            self.settle()?;
        }
        Ok(())
    }

    /// Waits until everything ordered is compared, or a difference was found.
    fn settle(&mut self) -> Result<(), StoreError> {
        while self.under_way > 0
            && let Ok(checked) = self.done.recv()
        {
            self.take(checked?);
        }
        Ok(())
    }

    fn take(&mut self, checked: Verified) {
        self.under_way -= 1;
        let all = &mut self.verified;
        all.inputs += checked.inputs;
        all.starts += checked.starts;
        all.from = all.from.or(checked.from);
        all.to = checked.to.or(all.to);
        all.commits += checked.commits;
        all.cut_short += checked.cut_short;
        all.events += checked.events;
        all.pages += checked.pages;
        all.pages_missing += checked.pages_missing;
        all.difference = all.difference.take().or(checked.difference);
        (self.watch)(all.commits);
    }
}

/// Compares one commit after the other, until one differs.
fn check_all(
    store: &dyn Store,
    scratch: &Mutex<Scratch>,
    work: mpsc::Receiver<Decided>,
    reports: &mpsc::Sender<Result<Verified, StoreError>>,
) {
    for decided in work {
        let mut scratch = scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let checked = check(store, &mut scratch, &decided);
        let goes_on = checked.as_ref().is_ok_and(|checked| checked.difference.is_none());
        if reports.send(checked).is_err() || !goes_on {
            return;
        }
    }
}

/// Writes one commit and compares it.
fn check(
    store: &dyn Store,
    scratch: &mut Scratch,
    Decided { record, commit, last, told }: &Decided,
) -> Result<Verified, StoreError> {
    let kept = pages_of(store, record)?;
    let parts: BTreeSet<u32> = kept.iter().map(|page| page.part).collect();
    // Only the last commit before a start can have been cut short.
    let most = if *last && !parts.is_empty() { parts.len() } else { usize::MAX };
    let first = scratch.head().next_event;
    let (decided, all) = scratch.write(commit, most)?;
    let mut checked = Verified {
        commits: 1,
        cut_short: u64::from(most < all),
        events: scratch.head().next_event - first,
        ..told.clone()
    };
    compare(record.commit, kept, &decided, &mut checked)?;
    Ok(checked)
}

/// What the engine is told by a record.
fn told_by(record: &Record) -> Verified {
    let starts = record.moments.iter().filter(|it| matches!(it.told, Told::Restored(_)));
    Verified {
        inputs: record.moments.len() as u64,
        starts: starts.count() as u64,
        from: record.moments.first().map(|moment| moment.at),
        to: record.moments.last().map(|moment| moment.at),
        ..Verified::default()
    }
}

/// Tells the engine what led to a commit, and takes it out of the record.
fn decide(
    record: &mut Record,
    scratch: &Mutex<Scratch>,
    engine: &mut Option<Engine>,
) -> Result<Commit, ReenactError> {
    for Moment { at, told } in std::mem::take(&mut record.moments) {
        match (told, &mut *engine) {
            (Told::Restored(how), engine) => {
                let mut scratch = scratch.lock().unwrap_or_else(PoisonError::into_inner);
                *engine = Some(scratch.restart(record.commit, &how, at)?);
            }
            (Told::Deadline, Some(engine)) => engine.handle_deadline(at),
            (Told::Input(input), Some(engine)) => engine.handle(at, input),
            // The first record starts a server.
            (_, None) => return Err(ReenactError::WrongBase { next: record.commit }),
        }
    }
    let decision = engine.as_mut().map(Engine::take).unwrap_or_default();
    let (mut commit, _) = Commit::of(decision);
    commit.inputs = std::mem::take(&mut record.bytes);
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
    commit: u64,
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
    let at = verified.from.unwrap_or(Timestamp::MIN);
    let shown = |events: Vec<String>| events.into_iter().take(SHOWN).collect();
    verified.difference =
        Some(Difference { commit, at, recorded: shown(recorded), decided: shown(decided), note });
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
