//! The kinds of keys there are, with what can be said of each key and value by itself.
//!
//! Promises: every letter of the layout in [`key`] has one row. Imports the rest of the store and
//! the domain types.
//!
//! A new kind is a row in [`KINDS`]; what it has to do with other kinds is checked in
//! [`check`](super::check).

use serde::de::DeserializeOwned;

use super::{FORMAT, MAX_VALUE, is_known, key, ledger, open_set, page, records};
use crate::bytes::Reader;
use crate::calendar::CalendarRecord;
use crate::client_record::{ClientRecord, Presence};
use crate::engine::Mark;
use crate::id::{ClientId, JobId, Serial};
use crate::idempotency::Repeat;
use crate::job::{Job, JobState};
use crate::job_past::{JobRevision, MissedRow, RemovedJob};
use crate::replay::{Replay, ReplayItem};
use crate::run::{LateAnswer, Run};
use crate::statistics::Record;

/// What is wrong with a key or its value.
type Problem = String;

/// A kind of keys.
#[derive(Debug)]
pub struct Kind {
    /// The first byte of its keys.
    pub letter: u8,
    /// What they are, in the plural.
    pub name: &'static str,
    /// Whether a key and its value can be read and agree.
    alone: fn(&[u8], &[u8]) -> Result<(), Problem>,
}

/// Every kind, in the order of the letters.
pub const KINDS: &[Kind] = &[
    kind(key::REPLAY, "replays and their parts", replay),
    kind(key::OPEN, "sets of open deliveries", open),
    kind(key::CLIENT, "clients", |k, v| same::<ClientRecord>(k, v, |it| key::client(it.no))),
    kind(key::MARK, "sets of marked deliveries", mark),
    kind(key::CALENDAR, "calendars", |k, v| {
        same::<CalendarRecord>(k, v, |it| key::calendar(it.spec.name()))
    }),
    kind(key::INPUTS, "pieces of recorded inputs", inputs),
    kind(key::LEDGER, "pages of the ledger", ledger_page),
    kind(key::INDEX, "index of the ledger", index),
    kind(key::CLIENT_ID, "client numbers", client_id),
    kind(key::JOB, "jobs", |k, v| same::<Job>(k, v, |it| key::job(it.id))),
    kind(key::PRESENCE, "presences of clients", |k, v| {
        part(k, key::client_in)?;
        read::<Presence>(v).map(drop)
    }),
    kind(key::REPEAT, "remembered submits", |k, v| same::<Repeat>(k, v, |it| key::repeat(&it.key))),
    kind(key::META, "facts about the store", fact),
    kind(key::REMOVED, "removed jobs by name", |k, v| {
        same::<RemovedJob>(k, v, |it| key::removed(&it.name, it.job))
    }),
    kind(key::REMOVAL, "removed jobs by time", |k, v| {
        same::<RemovedJob>(k, v, |it| key::removal(it.removed_at, it.job))
    }),
    kind(key::PAGE, "pages of responses", responses),
    kind(key::RESULT, "parts of large results", |k, v| {
        part(k, key::result_in)?;
        if v.len() > page::RESULT_PART {
            return Err(format!("a part of {} bytes; the most is {}", v.len(), page::RESULT_PART));
        }
        Ok(())
    }),
    kind(key::RUN, "runs", |k, v| {
        let (run, page) = records::split(v);
        same::<Run>(k, run, |it| key::run(it.serial))?;
        page.map_or(Ok(()), rows)
    }),
    kind(key::JOB_STATE, "standings of jobs", |k, v| {
        let id = part(k, key::job_in)?;
        let (state, head) = records::split(v);
        read::<JobState>(state)?;
        let head = head.map(|head| records::read_head(id, head)).transpose();
        head.map(drop).map_err(|damaged| damaged.to_string())
    }),
    kind(key::DERIVED, "derived: ended runs by job, statistics", derived),
    kind(key::REVISION, "revisions of jobs", |k, v| {
        same::<JobRevision>(k, v, |it| key::revision(it.job, it.revision))
    }),
    kind(key::LATE, "late answers", |k, v| {
        part(k, key::late_in)?;
        read::<LateAnswer>(v).map(drop)
    }),
    kind(key::MISSED, "rows of missed firings", |k, v| {
        same::<MissedRow>(k, v, |it| key::missed(it.job, it.no))
    }),
    kind(key::STAGING, "staged operations", staged),
];

const fn kind(
    letter: u8,
    name: &'static str,
    alone: fn(&[u8], &[u8]) -> Result<(), Problem>,
) -> Kind {
    Kind { letter, name, alone }
}

impl Kind {
    /// The kind of a key; `None`: there is none with its letter.
    #[must_use]
    pub fn of(key: &[u8]) -> Option<&'static Self> {
        let letter = key.first()?;
        KINDS.iter().find(|kind| kind.letter == *letter)
    }

    /// Whether a key of this kind and its value can be read and agree; the error says what is
    /// wrong.
    pub fn check(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        if value.len() > MAX_VALUE {
            return Err(format!("its value has {} bytes; the most is {MAX_VALUE}", value.len()));
        }
        (self.alone)(key, value)
    }
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(value).map_err(|error| format!("its value cannot be read: {error}"))
}

/// Reads a record that tells its own key.
fn same<T: DeserializeOwned>(
    key: &[u8],
    value: &[u8],
    own: impl FnOnce(&T) -> Vec<u8>,
) -> Result<(), Problem> {
    let own = own(&read(value)?);
    if own == key { Ok(()) } else { Err(format!("its value belongs under {}", key::show(&own))) }
}

fn part<T>(key: &[u8], part: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, Problem> {
    part(key).ok_or_else(|| format!("a key of {} bytes is of another length", key.len()))
}

fn inputs(key: &[u8], value: &[u8]) -> Result<(), Problem> {
    let (_, piece) = part(key, key::inputs_in)?;
    if piece == 0 {
        // How many pieces there are, and the number of the commit's first event.
        let mut reader = Reader::new(value, "inputs");
        let read = reader.varint().and_then(|_| reader.varint());
        read.map_err(|problem| problem.to_string())?;
    }
    Ok(())
}

fn replay(key: &[u8], value: &[u8]) -> Result<(), Problem> {
    let id = part(key, key::replay_in)?;
    let length = |length: usize| part(key, |key| (key.len() == length).then_some(()));
    match key[1] {
        0 => same::<Replay>(key, value, |it| key::replay(it.id)),
        1 => length(22).and_then(|()| read::<Vec<ReplayItem>>(value).map(drop)),
        2 => length(22).and_then(|()| read::<Run>(value).map(drop)),
        3 => set(part(key, key::replay_chunk_in)?, value),
        4 if value.len() == 16 => length(22),
        4 => Err(format!("a serial of {} bytes, not 16", value.len())),
        other => Err(format!("part {other} of replay {id} is not known")),
    }
}

/// The index is derived: what is wrong with it makes queries slower, and nothing else.
fn index(key: &[u8], value: &[u8]) -> Result<(), Problem> {
    let length = if key.get(1) == Some(&0) { 10 } else { 13 };
    part(key, |key| (key.len() == length).then_some(()))?;
    let mut reader = Reader::new(value, "the index");
    let head = || Ok((reader.byte()?, u32::from_le_bytes(reader.array()?), reader.rest()));
    let (version, sum, body) = { head }().map_err(|it: crate::bytes::Damaged| it.to_string())?;
    match (version, crc32fast::hash(body)) {
        (1, found) if found == sum => Ok(()),
        (1, _) => Err("its checksum is another".to_owned()),
        (other, _) => Err(format!("version {other} is not known")),
    }
}

fn ledger_page(key: &[u8], value: &[u8]) -> Result<(), Problem> {
    let first = part(key, key::event_in)?;
    for entry in ledger::entries(first, value).map_err(|problem| problem.to_string())? {
        entry.map_err(|problem| problem.to_string())?;
    }
    Ok(())
}

fn derived(key: &[u8], value: &[u8]) -> Result<(), Problem> {
    let length = match key.get(1) {
        Some(0) => {
            return records::ended_run(key, value).map(drop).map_err(|error| error.to_string());
        }
        Some(1 | 2) => 22,
        Some(3 | 4) => 10,
        _ => return Err("its second byte is not known".to_owned()),
    };
    part(key, |key| (key.len() == length).then_some(()))?;
    Record::from_bytes(value).map(drop).map_err(|problem| problem.to_string())
}

fn fact(key: &[u8], value: &[u8]) -> Result<(), Problem> {
    let marks = [key::ended_runs_listed(), key::standings_without_heads()];
    if marks.iter().any(|mark| key == mark) && !value.is_empty() {
        return Err(format!("{} bytes, not 0", value.len()));
    }
    if key == key::border() && value.len() != 16 {
        return Err(format!("{} bytes, not 16", value.len()));
    }
    if key != key::format() {
        return Ok(());
    }
    let bytes = value.try_into().map_err(|_| format!("{} bytes, not 4", value.len()))?;
    match u32::from_be_bytes(bytes) {
        known if is_known(known) => Ok(()),
        found => Err(format!("format {found}; this version knows format {FORMAT}")),
    }
}

fn open(key: &[u8], value: &[u8]) -> Result<(), Problem> {
    let chunk = part(key, key::chunk_in)?;
    set(chunk, value)
}

fn mark(key: &[u8], value: &[u8]) -> Result<(), Problem> {
    let (code, chunk) = part(key, key::mark_in)?;
    if Mark::ALL.iter().all(|mark| *mark as u8 != code) {
        return Err(format!("mark {code} is not known"));
    }
    set(chunk, value)
}

fn set(chunk: u32, value: &[u8]) -> Result<(), Problem> {
    let mut clients = roaring::RoaringBitmap::new();
    open_set::decode(chunk, value, &mut clients)?;
    if clients.is_empty() { Err("it has no client".to_owned()) } else { Ok(()) }
}

fn responses(key: &[u8], value: &[u8]) -> Result<(), Problem> {
    part(key, key::page_in)?;
    rows(value)
}

fn rows(page: &[u8]) -> Result<(), Problem> {
    for row in page::rows(page).map_err(|problem| problem.to_string())? {
        let row = row.map_err(|problem| problem.to_string())?;
        if let Some(page::StoredResult::Inline(text)) = row.result {
            row.outcome(Some(text)).map_err(|problem| problem.to_string())?;
        }
    }
    Ok(())
}

fn client_id(key: &[u8], value: &[u8]) -> Result<(), Problem> {
    let text = str::from_utf8(&key[1..]).map_err(|error| format!("its key: {error}"))?;
    ClientId::new(text).map_err(|error| format!("its key: {error}"))?;
    if value.len() == 4 { Ok(()) } else { Err(format!("{} bytes, not 4", value.len())) }
}

fn staged(key: &[u8], _: &[u8]) -> Result<(), Problem> {
    if key == key::staging_marker() || key::staged_in(key).is_some() {
        return Ok(());
    }
    Err("it is no staged operation".to_owned())
}

/// The 16 bytes behind the letter, of keys that belong to a job or a run.
pub(super) fn owner(key: &[u8]) -> Option<[u8; 16]> {
    key.get(1..17)?.try_into().ok()
}

/// The same as text, of a run.
pub(super) fn serial(owner: [u8; 16]) -> Serial {
    Serial::from_bytes(owner)
}

/// The same as text, of a job.
pub(super) fn job(owner: [u8; 16]) -> JobId {
    JobId::from_bytes(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The letters of the table in the documentation of the keys.
    fn documented() -> Vec<u8> {
        let source = include_str!("key.rs");
        let rows = source.lines().filter_map(|line| line.strip_prefix("//! | `"));
        let letters: std::collections::BTreeSet<u8> = rows.map(|row| row.as_bytes()[0]).collect();
        letters.into_iter().collect()
    }

    #[test]
    fn every_letter_of_the_layout_has_a_row_and_no_other() {
        let letters: Vec<u8> = KINDS.iter().map(|kind| kind.letter).collect();
        assert_eq!(letters, documented());
    }
}
