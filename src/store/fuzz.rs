//! Any bytes as what lies in a store, for [`crate::fuzzing`].

use std::collections::HashMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

pub(crate) use super::fjall::fuzz::{journal as fjall_journal, note as fjall_note};
use super::ledger::{self, Builder, Entry, Head, Item};
use super::page::{self, Row, StoredResult};
pub(crate) use super::sled::fuzz::{log as sled_log, mark as sled_mark, snapshot as sled_snapshot};
use super::{MAX_VALUE, MemoryStore, Op, Store as _, check, exchange, key, open_set, records};
use crate::calendar::CalendarRecord;
use crate::client_record::{ClientRecord, Presence};
use crate::engine::{CHUNK, Event, PageEntry, What};
use crate::fuzz::{json_comes_back, told};
use crate::id::{JobName, Serial};
use crate::idempotency::Repeat;
use crate::job::{Job, JobState};
use crate::job_past::{JobRevision, MissedRow, RemovedJob};
use crate::replay::{Replay, ReplayItem};
use crate::run::{LateAnswer, Response, Run};
use crate::statistics;
use crate::time::Timestamp;

/// Times further than this from 1970, in milliseconds, are no ledger's.
const FAR: u64 = 1 << 52;

/// The JSON of a record, with the first byte to say of what kind.
pub(crate) fn record(data: &[u8]) {
    const RECORDS: &[fn(&[u8])] = &[
        json_comes_back::<CalendarRecord>,
        json_comes_back::<ClientRecord>,
        json_comes_back::<Job>,
        json_comes_back::<JobRevision>,
        json_comes_back::<JobState>,
        json_comes_back::<LateAnswer>,
        json_comes_back::<MissedRow>,
        json_comes_back::<Presence>,
        json_comes_back::<RemovedJob>,
        json_comes_back::<Repeat>,
        json_comes_back::<Replay>,
        json_comes_back::<Vec<ReplayItem>>,
        json_comes_back::<Response>,
        json_comes_back::<Run>,
        records::head_comes_back,
    ];
    let Some((which, json)) = data.split_first() else { return };
    RECORDS[usize::from(*which) % RECORDS.len()](json);
}

/// A part of a page of responses. What is read is written as a page that reads as the same.
pub(crate) fn page(data: &[u8]) {
    let mut rows = match page::rows(data).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(rows) => rows,
        Err(damaged) => return drop(told(&damaged, data.len())),
    };
    let mut entries = Vec::new();
    for row in &mut rows {
        let Row { client, at, attempt, retried, .. } = *row;
        let text = match &mut row.result {
            None => None,
            Some(StoredResult::Inline(text)) => {
                // Blanks around a JSON are not kept: none was ever written.
                let read = text.trim_matches([' ', '\n', '\r', '\t']);
                Some(std::mem::replace(text, read))
            }
            // It lies elsewhere.
            Some(StoredResult::Outside { .. }) => return,
        };
        match row.outcome(text) {
            Ok(outcome) => entries.push(PageEntry { client, at, attempt, retried, outcome }),
            Err(damaged) => return drop(told(&damaged, data.len())),
        }
    }
    let written = page::encode(&entries);
    assert!(written.parts.iter().all(|part| part.len() <= page::MAX_PART));
    let again = written.parts.iter().flat_map(|part| page::rows(part).expect("it was written"));
    let again: Vec<Row<'_>> = again.map(|row| row.expect("what was written can be read")).collect();
    assert_eq!(again, rows);
}

/// A chunk's number, u32 big-endian, and its set of open deliveries.
pub(crate) fn open_set(data: &[u8]) {
    let Some((chunk, value)) = data.split_first_chunk() else { return };
    let chunk = u32::from_be_bytes(*chunk);
    let mut open = RoaringBitmap::new();
    if let Err(problem) = open_set::decode(chunk, value, &mut open) {
        return drop(told(&problem, value.len()));
    }
    assert!(open.iter().all(|no| no / CHUNK == chunk), "{open:?}");
    let written = open_set::encode(chunk, &open).expect("each is in the chunk");
    assert!(written.len() <= 513);
    let mut again = RoaringBitmap::new();
    open_set::decode(chunk, &written, &mut again).expect("what was written can be read");
    assert_eq!(again, open);
}

/// A record of statistics.
pub(crate) fn statistics(data: &[u8]) {
    match statistics::Record::from_bytes(data) {
        Ok(record) => {
            let again = statistics::Record::from_bytes(&record.to_bytes());
            assert_eq!(again.as_ref(), Ok(&record));
            // Counts as high as can be are added as well.
            let mut sum = record.clone();
            sum.merge(&record);
            assert_eq!(sum.until, record.until);
        }
        Err(damaged) => drop(told(&damaged, data.len())),
    }
}

/// A key. What is found in one that is as long as its kind has it makes the same key again.
pub(crate) fn key(data: &[u8]) {
    let shown = key::show(data);
    assert!(shown.len() <= 2 * data.len() + 2);
    let Some(letter) = data.first() else { return };
    let job = data.get(1..17).and_then(|id| key::job_in(&[&b"j"[..], id].concat()));
    let serial = key::serial_in(data);
    let again = match *letter {
        key::LEDGER => key::event_in(data).map(key::ledger),
        key::INPUTS => key::inputs_in(data).map(|(commit, piece)| key::inputs(commit, piece)),
        key::JOB => key::job_in(data).map(key::job),
        key::JOB_STATE => key::job_in(data).map(key::job_state),
        key::RUN => serial.map(key::run).filter(|key| key.len() == data.len()),
        key::OPEN => key::chunk_in(data).and_then(|chunk| Some(key::open(serial?, chunk))),
        key::MARK => {
            key::mark_in(data).and_then(|(mark, chunk)| Some(key::mark(serial?, mark, chunk)))
        }
        key::PAGE => key::page_in(data).and_then(|(no, part)| Some(key::page(serial?, no, part))),
        key::RESULT => {
            key::result_in(data).and_then(|(no, part)| Some(key::result(serial?, no, part)))
        }
        key::LATE => key::late_in(data).and_then(|no| Some(key::late(serial?, no))),
        key::CLIENT => key::client_in(data).map(key::client),
        key::PRESENCE => key::client_in(data).map(key::presence),
        key::REVISION => key::revision_in(data).and_then(|no| Some(key::revision(job?, no))),
        key::MISSED => key::missed_in(data).and_then(|no| Some(key::missed(job?, no))),
        key::DERIVED if data.get(1) == Some(&0) => {
            key::ended_in(data).map(|(job, serial)| key::ended(job, serial))
        }
        key::META if data.starts_with(&key::all_forgetting().start) => {
            key::forgetting_in(data).map(key::forgetting)
        }
        _ => None,
    };
    if let Some(again) = again {
        assert_eq!(key::show(&again), shown);
    }
    if let Some(replay) = key::replay_in(data).filter(|_| *letter == key::REPLAY) {
        assert_eq!(key::replay(replay)[2..], data[2..18]);
    }
    if let Some((is_put, inner)) = key::staged_in(data).filter(|_| *letter == key::STAGING) {
        assert!(data.ends_with(inner) && data[6] == u8::from(is_put));
    }
}

/// A page of the ledger. What is read whole is written as pages that read as the same.
pub(crate) fn ledger(data: &[u8]) {
    let entries = ledger::entries(1, data).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = match entries {
        Ok(entries) => entries,
        Err(damaged) => return drop(told(&damaged, data.len())),
    };
    ledger::head(data).expect("its entries could be read");
    let numbers = entries.iter().map(|entry| entry.no).zip(entries.iter().skip(1));
    for (no, next) in numbers {
        assert!(next.no > no || next.no == u64::MAX, "numbers rise");
    }
    let times = entries.windows(2).all(|two| two[0].at <= two[1].at);
    assert!(times, "times never go back");
    if let Some(written) = written(&entries) {
        let pages = written.iter().map(|op| {
            let Op::Put(key, page) = op else { panic!("{op:?} in the ledger") };
            assert!(page.len() <= MAX_VALUE);
            let first = key::event_in(key).expect("it is a key of the ledger");
            ledger::entries(first, page).expect("what was written can be read")
        });
        let again: Vec<Entry> = pages.flatten().map(|entry| entry.expect("each of it")).collect();
        assert_eq!(shown(&again), shown(&entries));
    }
}

/// A run has one job.
fn one_job<'a>(
    jobs: &mut HashMap<Serial, Option<&'a JobName>>,
    serial: Serial,
    job: Option<&'a JobName>,
) -> bool {
    *jobs.entry(serial).or_insert(job) == job
}

/// What a ledger is asked to write, if it would ever be.
fn written(entries: &[Entry]) -> Option<Vec<Op>> {
    let mut jobs: HashMap<Serial, Option<&JobName>> = HashMap::new();
    let mut builder = Builder::new(Head::new(), 0);
    for Entry { at, actor, item, .. } in entries {
        if at.millis().unsigned_abs() > FAR {
            return None;
        }
        match item {
            Item::Nothing => return None,
            Item::Rows { serial, job, page, rows } => {
                if !one_job(&mut jobs, *serial, job.as_ref()) || *rows == 0 {
                    return None;
                }
                builder.rows(*serial, job.as_ref(), (*page, *rows), *at);
            }
            Item::Event(what) => {
                match &**what {
                    What::RunStarted { serial, job, .. } | What::RunEnded { serial, job, .. }
                        if !one_job(&mut jobs, *serial, job.as_ref()) =>
                    {
                        return None;
                    }
                    // They have other forms.
                    What::DeliveryEnded { .. } | What::AttemptEnded { .. } => return None,
                    _ => {}
                }
                let (actor, what) = (actor.clone(), What::clone(what));
                builder.event(&Event { at: *at, actor, what });
            }
        }
    }
    (!entries.is_empty()).then(|| builder.finish(0).0)
}

/// Entries for comparison: without numbers, and as the ledger keeps them.
fn shown(entries: &[Entry]) -> Vec<String> {
    let shown = |Entry { at, actor, item, .. }: &Entry| match item {
        Item::Event(what) => {
            let mut what = What::clone(what);
            if let What::LateAnswer { answer, .. } = &mut what {
                answer.outcome.result = None;
            }
            format!("{at} {actor} {what:?}")
        }
        // Who ended it, the response tells.
        other => format!("{at} {other:?}"),
    };
    entries.iter().map(shown).collect()
}

/// A store with any entries: for each the length of its key and of its value, one byte and two,
/// and these. It is loaded, checked, counted and exported without a panic; what cannot be is named.
pub(crate) fn entries(data: &[u8]) {
    let store = MemoryStore::new();
    let format = Op::Put(key::format(), super::FORMAT.to_be_bytes().to_vec());
    store.commit(vec![vec![format]]).expect("memory takes all");
    let mut rest = data;
    while let Some(([key, high, low], more)) = rest.split_first_chunk() {
        let value = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((key, more)) = more.split_at_checked(usize::from(*key)) else { break };
        let (value, more) = more.split_at(value.min(more.len()));
        rest = more;
        let put = Op::Put(key.to_vec(), value.to_vec());
        store.commit(vec![vec![put]]).expect("memory takes all");
    }
    let shared: Arc<dyn super::Store> = Arc::new(store.copy());
    match check::check(Arc::clone(&shared)) {
        Ok(report) => assert_eq!(report.sound, report.faults_total == 0),
        Err(error) => drop(told(&error, data.len())),
    }
    drop(super::stats(shared.as_ref()).map_err(|error| told(&error, data.len())));
    let all = exchange::ExportQuery::default();
    let exported = exchange::export(shared.as_ref(), &all, Timestamp::from_millis(0), Vec::new());
    drop(exported.map_err(|error| told(&error, data.len())));
    drop(records::load(&store).map_err(|error| told(&error, data.len())));
}
