//! The past of jobs, written and read back on each store.

use super::super::{Order, write};
use super::*;
use crate::job::{CatchUp, JobSpec};
use crate::job_past::MissedRow;
use crate::store::{MemoryStore, StoreKind, open_at, prepare};
use crate::{Rule, Target, Timestamp};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000 + millis)
}

fn a_job(revision: u32) -> Job {
    let (name, command) = ("db/backup".parse().unwrap(), "backup.run".parse().unwrap());
    let spec = JobSpec::new(name, Target::All, command, Rule::now());
    let id = JobId::from_parts(at(1), 1);
    Job { id, revision, created_at: at(1), updated_at: at(i64::from(revision)), spec }
}

fn a_row(no: u64) -> MissedRow {
    MissedRow {
        job: a_job(1).id,
        no,
        count: 3,
        counted_exactly: no.is_multiple_of(2),
        first: at(1),
        last: at(2),
        reason: "the server was down".into(),
        at: at(3),
        policy: CatchUp::Skip,
        fired: 0,
    }
}

fn removed() -> RemovedJob {
    let Job { id: job, spec, .. } = a_job(1);
    RemovedJob { job, name: spec.name, removed_at: at(9) }
}

fn on_each_store(test: impl Fn(&dyn Store)) {
    let memory = MemoryStore::new();
    prepare(&memory).unwrap();
    test(&memory);
    for kind in StoreKind::ALL {
        let directory = tempfile::tempdir().unwrap();
        test(open_at(directory.path(), Some(kind).into()).unwrap().as_ref());
    }
}

fn count(store: &dyn Store, kind: u8) -> usize {
    walk(store, key::all(kind), Order::Up).count()
}

#[test]
fn rows_revisions_and_removals_come_back() {
    on_each_store(|store| {
        let (one, two) = (JobRevision::of(&a_job(1)), JobRevision::removed(&a_job(1), at(9)));
        let unit = vec![
            Change::PutMissed(a_row(1)),
            Change::PutMissed(a_row(2)),
            Change::PutRevision(Box::new(one.clone())),
            Change::PutRevision(Box::new(two.clone())),
            Change::PutRemoved(removed()),
        ];
        write(store, &[unit]).unwrap();
        let id = a_job(1).id;
        let row: Option<MissedRow> = get(store, "row", &key::missed(id, 2)).unwrap();
        assert_eq!(row, Some(a_row(2)));
        assert_eq!(revision(store, id, 1).unwrap(), Some(one));
        assert_eq!(revision(store, id, 2).unwrap(), Some(two));
        assert_eq!(revision(store, id, 3).unwrap(), None);
        for key in keys(&removed()) {
            assert_eq!(get(store, "removed job", &key).unwrap(), Some(removed()));
        }
    });
}

#[test]
fn a_row_and_a_revision_take_the_place_of_the_oldest_in_one_batch() {
    on_each_store(|store| {
        let rows = (1..=MISSED_KEPT + 5).map(|no| vec![Change::PutMissed(a_row(no))]);
        write(store, &rows.collect::<Vec<_>>()).unwrap();
        let left = walk(store, key::all(key::MISSED), Order::Up);
        let left: Vec<_> = left.map(|entry| entry.unwrap().0).collect();
        let id = a_job(1).id;
        assert_eq!(left.len() as u64, MISSED_KEPT);
        assert_eq!(left[0], key::missed(id, 6));

        let revisions = (1..=REVISIONS_KEPT + 5)
            .map(|no| vec![Change::PutRevision(Box::new(JobRevision::of(&a_job(no))))]);
        write(store, &revisions.collect::<Vec<_>>()).unwrap();
        assert_eq!(count(store, key::REVISION), REVISIONS_KEPT as usize - 1, "and the current");
        assert_eq!(revision(store, id, 6).unwrap(), None);
        assert!(revision(store, id, 7).unwrap().is_some());
    });
    let ops = super::super::encode(&MemoryStore::new(), &[Change::PutMissed(a_row(1_001))]);
    let ops = ops.unwrap();
    assert_eq!(ops[1], Op::Delete(key::missed(a_job(1).id, 1)), "in the same unit");
}

#[test]
fn a_removed_job_is_forgotten_part_by_part_and_found_until_nothing_is_left() {
    on_each_store(|store| {
        let rows = (1..=250).map(|no| Change::PutMissed(a_row(no)));
        let other = MissedRow { job: JobId::from_parts(at(2), 1), ..a_row(1) };
        let unit = rows.chain([
            Change::PutMissed(other),
            Change::PutRevision(Box::new(JobRevision::of(&a_job(1)))),
            Change::PutRemoved(removed()),
        ]);
        write(store, &[unit.collect()]).unwrap();
        let forget = || write(store, &[vec![Change::ForgetJob(removed())]]).unwrap();
        forget();
        assert_eq!(count(store, key::MISSED), 251 - FORGOTTEN_AT_ONCE);
        assert_eq!((count(store, key::REVISION), count(store, key::REMOVED)), (1, 1));
        forget();
        assert_eq!(count(store, key::MISSED), 1, "the other job's stays");
        let left = [key::REVISION, key::REMOVED, key::REMOVAL].map(|kind| count(store, kind));
        assert_eq!(left, [0; 3]);
    });
    // What is put in the same commit is found, too.
    let store = MemoryStore::new();
    let put = vec![Change::PutMissed(a_row(1)), Change::PutRemoved(removed())];
    write(&store, &[put, vec![Change::ForgetJob(removed())]]).unwrap();
    assert_eq!(count(&store, key::MISSED) + count(&store, key::REMOVED), 0);
}
