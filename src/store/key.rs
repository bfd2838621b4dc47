//! The layout of keys, all of it.
//!
//! Promises: one tree, one byte that says what a key is for, numbers big-endian. Order in memory
//! is order on disk: what is said to sort by a field sorts as that field's type does. Imports
//! identifiers only.
//!
//! | key | value | sorts by |
//! | --- | --- | --- |
//! | `m` + name | a fact about the store; `m` `format` is the format's number, u32; `m` `settings` the server's settings at its last start, a JSON object of texts | name |
//! | `j` + job id (16) | the job's definition, JSON of [`Job`](crate::Job) | job id |
//! | `s` + job id (16) | the job's standing, JSON of [`JobState`](crate::JobState); behind it a byte 0 and the job's head, see `records::standings` | job id |
//! | `r` + serial (16) | a run, JSON of [`Run`](crate::Run); behind it, where that is all of its responses, a byte 0 and a small page in the form of `p` | serial |
//! | `b` + serial (16) + chunk (u32) | the open deliveries among 4,096 clients, see `open_set` | serial, then client number |
//! | `d` + serial (16) + mark (1) + chunk (u32) | the open deliveries among 4,096 clients that have a [`Mark`](crate::engine::Mark), in the form of `b` | serial, then mark, then client number |
//! | `p` + serial (16) + page (u32) + part (u16) | responses, see [`page`](super::page) | serial, then the order of recording |
//! | `q` + serial (16) + client (u32) + part (u16) | a part of a large result, its JSON text cut into pieces | serial, client number, position |
//! | `c` + client (u32) | a client, JSON of [`ClientRecord`](crate::ClientRecord) | client number |
//! | `i` + client id (text) | the client's number, u32 | client id |
//! | `k` + client (u32) | when it was last here, JSON of [`Presence`](crate::Presence) | client number |
//! | `v` + job id (16) + revision (u32) | a revision that is no longer the current one (that is `j`), or a removal, JSON of [`JobRevision`](crate::JobRevision) | job id, then revision |
//! | `x` + job id (16) + row (u64) | a row of missed firings, JSON of [`MissedRow`](crate::MissedRow) | job id, then row |
//! | `n` + job name + 0 + job id (16) | a removed job that had this name, JSON of [`RemovedJob`](crate::RemovedJob) | name, then job id: the latest job of a name last |
//! | `o` + time of removal (u64) + job id (16) | the same, for retention | when it was removed |
//! | `e` + calendar name (text) | a calendar, JSON of [`CalendarRecord`](crate::CalendarRecord) | calendar name |
//! | `l` + 0 + idempotency key (text) | a submit that is remembered by it, JSON of [`Repeat`](crate::Repeat) | key |
//! | `l` + 1 + SHA-256 (32) | a submit that is remembered by its content, JSON of the same | hash |
//! | `t` + 0 + job id (16) + serial (16) | an ended run of the job, see [`EndedRun`](super::records::EndedRun) | job, then serial |
//! | `t` + 1 + hour (u32) + job id (16) | the statistics of a job in an hour, a [`Record`](crate::statistics::Record) | hour, then job id |
//! | `t` + 2 + day (u32) + job id (16) | the same of a day | day, then job id |
//! | `t` + 3 + hour (u32) + page (u32) | the statistics of 16 clients in an hour, the same | hour, then client number |
//! | `t` + 4 + day (u32) + page (u32) | the same of a day | day, then client number |
//! | `m` + `statistics` | up to where the ledger is counted in them, JSON of [`Counted`](crate::statistics::Counted) | |
//! | `m` + `border` | the serial (16) from which on an open run for one client may have no `b` key | |
//! | `m` + `standings without heads` | there while not every `s` key has its head, as in stores from before | |
//! | `m` + `ended runs` | there once every ended run has its `t` 0 key: stores from before do not have them | |
//! | `m` + `forgetting ` + serial (16) | a run of which a part is forgotten, and the rest is still to be | serial |
//! | `g` + event (u64) | a page of the ledger, under the number of its first event, see [`ledger`](super::ledger) | event number |
//! | `f` + commit (u64) + piece (u16) | the engine's inputs that one commit goes back to, see [`recording`](crate::recording) | commit, then position |
//! | `h` + 0 + segment (u64) | which lists the index of the ledger has of a segment, see [`history`](crate::history) | segment |
//! | `h` + list (1) + bucket (1) + segment (u64) + part (u16) | places of events in that segment, by what they are about | list, then bucket, then segment |
//! | `m` + `index` | how far the ledger is indexed | |
//! | `w` + serial (16) + client (u32) | a late answer, JSON of [`LateAnswer`](crate::LateAnswer) | serial, then client number |
//! | `a` + 0 + replay id (16) | a replay, JSON of [`Replay`](crate::Replay) | replay id: when it was made |
//! | `a` + 1 + replay id (16) + page (u32) | some of its items, JSON list of [`ReplayItem`](crate::ReplayItem) | replay id, then item |
//! | `a` + 2 + replay id (16) + template (u32) | what its runs are made of, JSON of [`Run`](crate::Run) | replay id, then template |
//! | `a` + 3 + replay id (16) + set (u32) + chunk (u32) | a set of clients among 4,096, in the form of `b` | replay id, then set, then client number |
//! | `a` + 4 + replay id (16) + item (u32) | the run that the item has become, its serial (16) | replay id, then item |
//! | `z` + 0 | there while a large unit is complete and being applied, see [`staging`](super::staging) | |
//! | `z` + 1 + place (u32) + 0 or 1 + key | a staged deletion (0) or value (1) of `key` | place in the unit |
//!
//! A run that is being forgotten keeps its `r` key, marked, until all else of it is gone; its `t` 0
//! key goes first.
//!
//! A run's page is one key (part 0) unless its responses are too many bytes for one value. An
//! ended run has no `b` and no `d` keys; an open one has at least one `b`, unless it is for one client
//! and its serial is not below the border: then its target is who has not answered.
//!
//! A removed job has no `j` and `s` keys, and keeps its `v` and `x` keys for as long as its `n` and
//! `o` keys are there. No job's name has a byte 0.

mod derived;
mod parts;
mod replay;

use std::ops::Range;

use crate::bytes;
use crate::id::{CalendarName, ClientId, ClientNo, JobId, JobName, Serial};
use crate::idempotency::RepeatKey;
use crate::time::Timestamp;

pub use derived::{
    all_ended, all_forgetting, counted, ended, ended_in, ended_of, ended_runs_listed, forgetting,
    forgetting_in, standings_without_heads, statistics, statistics_before,
};
pub use parts::{
    chunk_in, client_in, job_in, late_in, mark_in, missed_in, page_end, page_in, result_in,
    revision_in, serial_in,
};
pub use replay::{
    OfReplay, of_replay, replay, replay_chunk_in, replay_clients, replay_in, replay_part,
    replay_part_in, replays,
};

/// Facts about the store.
pub const META: u8 = b'm';
/// Job definitions.
pub const JOB: u8 = b'j';
/// Jobs' standings.
pub const JOB_STATE: u8 = b's';
/// Runs.
pub const RUN: u8 = b'r';
/// Sets of open deliveries.
pub const OPEN: u8 = b'b';
/// Sets of open deliveries with a mark.
pub const MARK: u8 = b'd';
/// Pages of responses.
pub const PAGE: u8 = b'p';
/// Large results.
pub const RESULT: u8 = b'q';
/// Clients by number.
pub const CLIENT: u8 = b'c';
/// Numbers of clients by id.
pub const CLIENT_ID: u8 = b'i';
/// When clients were last here.
pub const PRESENCE: u8 = b'k';
/// Revisions of jobs.
pub const REVISION: u8 = b'v';
/// Rows of missed firings.
pub const MISSED: u8 = b'x';
/// Removed jobs by name.
pub const REMOVED: u8 = b'n';
/// Removed jobs by the time of their removal.
pub const REMOVAL: u8 = b'o';
/// Calendars.
pub const CALENDAR: u8 = b'e';
/// Submits that are remembered.
pub const REPEAT: u8 = b'l';
/// Late answers.
pub const LATE: u8 = b'w';
/// What is derived: ended runs by job, and statistics.
pub const DERIVED: u8 = b't';
/// Pages of the ledger.
pub const LEDGER: u8 = b'g';
/// Recorded inputs.
pub const INPUTS: u8 = b'f';
/// Replays, and what belongs to them.
pub const REPLAY: u8 = b'a';
/// The index of the ledger.
pub const INDEX: u8 = b'h';
/// The redo log of large units.
pub const STAGING: u8 = b'z';

/// The key of the format's number.
#[must_use]
pub fn format() -> Vec<u8> {
    of(META, &[b"format"])
}

/// The key of the server's settings.
#[must_use]
pub fn settings() -> Vec<u8> {
    of(META, &[b"settings"])
}

/// The key of the serial from which on open runs for one client have no set of open deliveries.
#[must_use]
pub fn border() -> Vec<u8> {
    of(META, &[b"border"])
}

/// The key of the page of the ledger that begins with an event.
#[must_use]
pub fn ledger(first: u64) -> Vec<u8> {
    of(LEDGER, &[&first.to_be_bytes()])
}

/// The number of the first event in a key of a page of the ledger.
#[must_use]
pub fn event_in(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

/// The key of a piece of the inputs of a commit.
#[must_use]
pub fn inputs(commit: u64, piece: u16) -> Vec<u8> {
    of(INPUTS, &[&commit.to_be_bytes(), &piece.to_be_bytes()])
}

/// Commit and piece in a key of recorded inputs.
#[must_use]
pub fn inputs_in(key: &[u8]) -> Option<(u64, u16)> {
    let commit = u64::from_be_bytes(key.get(1..9)?.try_into().ok()?);
    Some((commit, u16::from_be_bytes(key.get(9..)?.try_into().ok()?)))
}

/// The key of how far the ledger is indexed.
#[must_use]
pub fn index_position() -> Vec<u8> {
    of(META, &[b"index"])
}

/// The key of which lists the index has of a segment.
#[must_use]
pub fn index_lists(segment: u64) -> Vec<u8> {
    of(INDEX, &[&[0], &segment.to_be_bytes()])
}

/// The segment in a key of which lists the index has.
#[must_use]
pub fn segment_in(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(2..)?.try_into().ok()?))
}

/// The key of a part of a bucket of one of the index's lists.
#[must_use]
pub fn index_part(list: u8, bucket: u8, segment: u64, part: u16) -> Vec<u8> {
    of(INDEX, &[&[list, bucket], &segment.to_be_bytes(), &part.to_be_bytes()])
}

/// The key of a job's definition.
#[must_use]
pub fn job(id: JobId) -> Vec<u8> {
    of(JOB, &[&id.to_bytes()])
}

/// The key of a job's standing.
#[must_use]
pub fn job_state(id: JobId) -> Vec<u8> {
    of(JOB_STATE, &[&id.to_bytes()])
}

/// The key of a run.
#[must_use]
pub fn run(serial: Serial) -> Vec<u8> {
    of(RUN, &[&serial.to_bytes()])
}

/// The key of a chunk of a run's open deliveries.
#[must_use]
pub fn open(serial: Serial, chunk: u32) -> Vec<u8> {
    of(OPEN, &[&serial.to_bytes(), &chunk.to_be_bytes()])
}

/// The key of a chunk of a run's open deliveries that have a mark.
#[must_use]
pub fn mark(serial: Serial, mark: u8, chunk: u32) -> Vec<u8> {
    of(MARK, &[&serial.to_bytes(), &[mark], &chunk.to_be_bytes()])
}

/// The key of a part of a page of a run's responses.
#[must_use]
pub fn page(serial: Serial, page: u32, part: u16) -> Vec<u8> {
    of(PAGE, &[&serial.to_bytes(), &page.to_be_bytes(), &part.to_be_bytes()])
}

/// The key of a part of a large result.
#[must_use]
pub fn result(serial: Serial, client: ClientNo, part: u16) -> Vec<u8> {
    of(RESULT, &[&serial.to_bytes(), &client.0.to_be_bytes(), &part.to_be_bytes()])
}

/// The key of a client.
#[must_use]
pub fn client(no: ClientNo) -> Vec<u8> {
    of(CLIENT, &[&no.0.to_be_bytes()])
}

/// The key of a client's number.
#[must_use]
pub fn client_id(id: &ClientId) -> Vec<u8> {
    of(CLIENT_ID, &[id.as_str().as_bytes()])
}

/// The key of when a client was last here.
#[must_use]
pub fn presence(no: ClientNo) -> Vec<u8> {
    of(PRESENCE, &[&no.0.to_be_bytes()])
}

/// The key of a revision of a job.
#[must_use]
pub fn revision(id: JobId, revision: u32) -> Vec<u8> {
    of(REVISION, &[&id.to_bytes(), &revision.to_be_bytes()])
}

/// The key of a row of missed firings.
#[must_use]
pub fn missed(id: JobId, no: u64) -> Vec<u8> {
    of(MISSED, &[&id.to_bytes(), &no.to_be_bytes()])
}

/// The key of a removed job by its name.
#[must_use]
pub fn removed(name: &JobName, id: JobId) -> Vec<u8> {
    of(REMOVED, &[name.as_str().as_bytes(), &[0], &id.to_bytes()])
}

/// The key of a removed job by the time of its removal; times before 1970 sort as 1970.
#[must_use]
pub fn removal(at: Timestamp, id: JobId) -> Vec<u8> {
    let millis = u64::try_from(at.millis()).unwrap_or(0);
    of(REMOVAL, &[&millis.to_be_bytes(), &id.to_bytes()])
}

/// Every removed job that had a name.
#[must_use]
pub fn removed_named(name: &JobName) -> Range<Vec<u8>> {
    under(of(REMOVED, &[name.as_str().as_bytes(), &[0]]))
}

/// Every removed job that was removed before a moment.
#[must_use]
pub fn removed_before(moment: Timestamp) -> Range<Vec<u8>> {
    all(REMOVAL).start..removal(moment, JobId::from_bytes([0; 16]))
}

/// Every key of a kind that belongs to a job, of revisions or of rows of missed firings.
#[must_use]
pub fn of_job(kind: u8, id: JobId) -> Range<Vec<u8>> {
    under(of(kind, &[&id.to_bytes()]))
}

/// The key of a calendar.
#[must_use]
pub fn calendar(name: &CalendarName) -> Vec<u8> {
    of(CALENDAR, &[name.as_str().as_bytes()])
}

/// The key of a submit that is remembered.
#[must_use]
pub fn repeat(key: &RepeatKey) -> Vec<u8> {
    match key {
        RepeatKey::Key(key) => of(REPEAT, &[&[0], key.as_str().as_bytes()]),
        RepeatKey::Same(fingerprint) => of(REPEAT, &[&[1], &fingerprint.0]),
    }
}

/// The key of a client's late answer to a run.
#[must_use]
pub fn late(serial: Serial, client: ClientNo) -> Vec<u8> {
    of(LATE, &[&serial.to_bytes(), &client.0.to_be_bytes()])
}

/// The key that is there while a large unit is complete and being applied.
#[must_use]
pub fn staging_marker() -> Vec<u8> {
    of(STAGING, &[&[0]])
}

/// The key of a staged operation.
#[must_use]
pub fn staged(place: u32, is_put: bool, key: &[u8]) -> Vec<u8> {
    of(STAGING, &[&[1], &place.to_be_bytes(), &[u8::from(is_put)], key])
}

/// Every staged operation.
#[must_use]
pub fn all_staged() -> Range<Vec<u8>> {
    under(of(STAGING, &[&[1]]))
}

/// Every key of a kind.
#[must_use]
pub fn all(kind: u8) -> Range<Vec<u8>> {
    under(vec![kind])
}

/// Every key of a kind that belongs to a run.
#[must_use]
pub fn of_run(kind: u8, serial: Serial) -> Range<Vec<u8>> {
    under(of(kind, &[&serial.to_bytes()]))
}

/// A run's pages from one on.
#[must_use]
pub fn pages_from(serial: Serial, first: u32) -> Range<Vec<u8>> {
    page(serial, first, 0)..of_run(PAGE, serial).end
}

/// Whether it is a put, and the key, in a key of a staged operation.
#[must_use]
pub fn staged_in(key: &[u8]) -> Option<(bool, &[u8])> {
    match key.get(6)? {
        0 => Some((false, &key[7..])),
        1 => Some((true, &key[7..])),
        _ => None,
    }
}

/// A key for people: its letter, then the rest in hexadecimal digits.
#[must_use]
pub fn show(key: &[u8]) -> String {
    match key.split_first() {
        Some((kind, rest)) => format!("{}:{}", char::from(*kind), bytes::hex(rest)),
        None => String::new(),
    }
}

fn of(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + fields.iter().map(|field| field.len()).sum::<usize>());
    key.push(kind);
    for field in fields {
        key.extend_from_slice(field);
    }
    key
}

/// Every key that starts with a prefix whose first byte is a letter.
fn under(prefix: Vec<u8>) -> Range<Vec<u8>> {
    let mut end = prefix.clone();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    prefix..end
}

#[cfg(test)]
mod tests;
