//! A store for tests that has something of every kind, and is sound.

use std::sync::Arc;

use super::records::tests::{a_client, a_page, a_run, at, open, serial};
use super::{MemoryStore, Store as _, key, records};
use crate::client_record::Presence;
use crate::engine::{Change, Mark, PageEntry};
use crate::id::{ClientNo, JobId};
use crate::idempotency::{Fingerprint, IdempotencyKey, Repeat, RepeatKey};
use crate::job::{CatchUp, Job, JobState, Missed};
use crate::job_past::{JobRevision, MissedRow, RemovedJob};
use crate::json::Json;
use crate::run::{Counts, DeliveryState, LateAnswer, Outcome, Run};
use crate::store::page::RESULT_PART;
use crate::store::writer::{Commit, INPUTS_PIECE, Writer};
use crate::{Membership, Rule, Target};

/// The job that is there.
pub(crate) fn a_job(revision: u32) -> Job {
    let mut spec = crate::JobSpec::new(
        "nightly/backup".parse().unwrap(),
        Target::All,
        "backup.run".parse().unwrap(),
        Rule::now(),
    );
    spec.params = r#"{"a":[1],"z":1.5}"#.parse().unwrap();
    spec.rule =
        serde_json::from_str(r#"{"every": "2s", "exclude": {"calendars": ["closed"]}}"#).unwrap();
    let id = JobId::from_parts(at(1), 1);
    Job { id, revision, created_at: at(1), updated_at: at(i64::from(revision)), spec }
}

/// The job that was removed.
pub(crate) fn a_removed_job() -> RemovedJob {
    let job = JobId::from_parts(at(2), 2);
    RemovedJob { job, name: "nightly/backup".parse().unwrap(), removed_at: at(40) }
}

/// A result that lies outside its page in two parts.
pub(crate) fn a_large_result() -> Json {
    Json::new(&"x".repeat(RESULT_PART + 100)).unwrap()
}

/// Run 1 has ended: client 0 failed once and then succeeded with a large result, client 1 late.
fn an_ended_run() -> Vec<Change> {
    let counts = Counts { total: 2, succeeded: 1, timed_out: 1, retried: 1, ..Counts::default() };
    let run = Run {
        counts,
        job_id: Some(a_job(1).id),
        membership: Membership::Snapshot,
        ended_at: Some(at(9)),
        ..a_run(1, 2)
    };
    let failed = Outcome::ended(DeliveryState::Failed, "exit code 1");
    let first = PageEntry {
        client: ClientNo(0),
        at: at(6),
        attempt: 1,
        retried: true,
        outcome: failed.clone(),
    };
    let second = PageEntry {
        attempt: 2,
        retried: false,
        at: at(7),
        outcome: Outcome { ran_ms: Some(12), ..Outcome::succeeded(a_large_result()) },
        ..first.clone()
    };
    let serial = serial(1);
    let late = LateAnswer { client: a_client(1).id, at: at(10), attempt: 1, outcome: failed };
    vec![
        Change::PutRun(Arc::new(run)),
        Change::PutPage { serial, page: 0, entries: vec![first] },
        Change::PutPage { serial, page: 1, entries: vec![second] },
        a_page(1, 2, vec![(1, Outcome::ended(DeliveryState::TimedOut, "too long"))]),
        Change::PutLate { serial, client: ClientNo(1), answer: Box::new(late) },
    ]
}

/// Run 2 is open at clients 2 and 3, marked at 2, and ended at 0.
fn an_open_run() -> Vec<Change> {
    let clients = |numbers: &[u32]| numbers.iter().copied().collect();
    let (serial, mark, chunk) = (serial(2), Mark::Sent, 0);
    vec![
        Change::PutRun(Arc::new(Run { cause: crate::Cause::Submit, job: None, ..a_run(2, 3) })),
        open(2, 0, [2, 3]),
        Change::PutMarks { serial, mark, chunk, clients: clients(&[2]) },
        a_page(2, 0, vec![(0, Outcome::succeeded("{\"a\":\n 1}".parse().unwrap()))]),
    ]
}

fn jobs() -> Vec<Change> {
    let row = |job, no| MissedRow {
        job,
        no,
        count: 3,
        counted_exactly: true,
        first: at(1),
        last: at(2),
        reason: "the server was down".into(),
        at: at(3),
        policy: CatchUp::Skip,
        fired: 0,
    };
    let (live, RemovedJob { job: gone, .. }) = (Arc::new(a_job(3)), a_removed_job());
    let missed = Missed {
        total: 6,
        first: at(1),
        last: at(2),
        reason: "the server was down".into(),
        row: 2,
    };
    let state = JobState {
        next_due: Some(at(900)),
        last_serial: Some(serial(1)),
        missed: Some(missed),
        ..JobState::default()
    };
    let first = Job { id: gone, revision: 1, ..a_job(1) };
    vec![
        Change::PutRevision(Box::new(JobRevision::of(&a_job(1)))),
        Change::PutRevision(Box::new(JobRevision::of(&a_job(2)))),
        Change::PutMissed(row(live.id, 1)),
        Change::PutMissed(row(live.id, 2)),
        Change::PutJobState(Arc::clone(&live), state),
        Change::PutJob(live),
        Change::PutRevision(Box::new(JobRevision::of(&first))),
        Change::PutRevision(Box::new(JobRevision::removed(&first, at(40)))),
        Change::PutMissed(row(gone, 1)),
        Change::PutRemoved(a_removed_job()),
    ]
}

fn the_rest() -> Vec<Change> {
    let calendar = r#"{"name": "closed", "dates": ["2026-12-24"]}"#;
    let calendar = crate::CalendarRecord {
        revision: 2,
        updated_at: at(5),
        spec: serde_json::from_str(calendar).unwrap(),
    };
    let presence = Presence { connected_at: Some(at(1)), ..Presence::default() };
    let repeat = |key| Repeat {
        key,
        serial: serial(2),
        at: at(2),
        until: at(90_000),
        content: Fingerprint([9; 32]),
    };
    vec![
        Change::PutPresence(ClientNo(0), presence),
        Change::PutCalendar(Arc::new(calendar)),
        Change::PutRepeat(Box::new(repeat(RepeatKey::Key(IdempotencyKey::new("k").unwrap())))),
        Change::PutRepeat(Box::new(repeat(RepeatKey::Same(Fingerprint([7; 32]))))),
    ]
}

/// A store with all of this.
pub(crate) fn store() -> MemoryStore {
    let store = MemoryStore::new();
    records::load(&store).unwrap();
    let clients = (0..5).map(|no| Change::PutClient(Arc::new(a_client(no)))).collect();
    let units = vec![clients, the_rest(), jobs(), an_ended_run(), an_open_run()];
    let units = [units, vec![records::a_replay(crate::ReplayId::from_parts(at(3), 3))]].concat();
    let mut writer = Writer::open(&store).unwrap();
    // The inputs of the first commit are two pieces; each has a page of the ledger.
    let mut inputs = vec![7; INPUTS_PIECE + 1];
    for unit in units {
        let units = vec![unit];
        let commit = Commit { units, inputs: std::mem::take(&mut inputs), ..Commit::default() };
        writer.write(&store, &commit).unwrap();
    }
    assert!(store.get(&key::format()).unwrap().is_some());
    store
}
