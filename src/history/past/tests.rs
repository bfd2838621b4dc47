//! The past of jobs of one name, page by page.

use std::sync::Arc;

use super::*;
use crate::engine::Change;
use crate::job::{CatchUp, Job, JobSpec};
use crate::store::MemoryStore;
use crate::{Rule, Target};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000 + millis)
}

fn name() -> JobName {
    "backup".parse().unwrap()
}

fn id(n: i64) -> JobId {
    JobId::from_parts(at(n), 1)
}

fn a_job(n: i64, revision: u32) -> Job {
    let mut spec = JobSpec::new(name(), Target::All, "backup.run".parse().unwrap(), Rule::now());
    spec.description = Some(format!("revision {revision}"));
    Job { id: id(n), revision, created_at: at(n), updated_at: at(n), spec }
}

fn row(n: i64, no: u64) -> Change {
    Change::PutMissed(MissedRow {
        job: id(n),
        no,
        count: 1,
        counted_exactly: true,
        first: at(n),
        last: at(n),
        reason: "the job was paused".into(),
        at: at(n),
        policy: CatchUp::Skip,
        fired: 0,
    })
}

fn revised(n: i64, revision: u32) -> Change {
    Change::PutRevision(Box::new(JobRevision::of(&a_job(n, revision))))
}

fn removed(n: i64, name: &JobName) -> Change {
    Change::PutRemoved(RemovedJob { job: id(n), name: name.clone(), removed_at: at(n + 1) })
}

/// Job 1 was removed as revision 4, job 2 lives at revision 3; another name has a job 3.
fn store() -> MemoryStore {
    let store = MemoryStore::new();
    records::load(&store).unwrap();
    let mut unit: Vec<Change> = (1..=3).map(|no| revised(1, no)).collect();
    unit.push(Change::PutRevision(Box::new(JobRevision::removed(&a_job(1, 3), at(9)))));
    unit.push(removed(1, &name()));
    unit.extend((1..=2).map(|no| revised(2, no)));
    unit.push(Change::PutJob(Arc::new(a_job(2, 3))));
    unit.extend([row(1, 1), row(1, 2), row(2, 1), row(3, 1), revised(3, 1)]);
    unit.push(removed(3, &"backup/other".parse().unwrap()));
    records::write(&store, &[unit]).unwrap();
    store
}

fn places<T>(
    limit: usize,
    read: impl Fn(&PastQuery) -> Vec<T>,
    place: impl Fn(&T) -> Place,
) -> Vec<(JobId, u64)> {
    let mut found: Vec<Place> = Vec::new();
    loop {
        let part = read(&PastQuery { before: found.last().copied(), limit });
        if part.is_empty() {
            return found.into_iter().map(|place| (place.job, place.no)).collect();
        }
        assert!(part.len() <= limit);
        found.extend(part.iter().map(&place));
    }
}

#[test]
fn all_jobs_of_a_name_are_read_newest_first_in_parts_of_any_size() {
    let store = store();
    let (one, two) = (id(1), id(2));
    let expected = [(two, 3), (two, 2), (two, 1), (one, 4), (one, 3), (one, 2), (one, 1)];
    for limit in [1, 2, 3, 4, 7, 100] {
        let read = |query: &PastQuery| revisions(&store, &name(), Some(two), query).unwrap();
        assert_eq!(places(limit, read, JobRevision::place), expected, "{limit}");
        let read = |query: &PastQuery| missed(&store, &name(), Some(two), query).unwrap();
        assert_eq!(places(limit, read, MissedRow::place), [(two, 1), (one, 2), (one, 1)]);
    }
    let all = PastQuery::default();
    assert_eq!(missed(&store, &name(), None, &all).unwrap().len(), 2, "what was removed");
    let none = PastQuery { limit: 0, ..all };
    assert_eq!(revisions(&store, &name(), Some(two), &none).unwrap(), []);
    assert_eq!(missed(&store, &name(), Some(two), &none).unwrap(), []);
}

#[test]
fn each_change_is_told_against_the_revision_before_it() {
    let store = store();
    let diff = |no: u32| vec![(Some(no - 1), Some(no))];
    let told = |revision: &JobRevision| {
        let value = |text: &String| text.trim_matches('"').strip_prefix("revision ")?.parse().ok();
        revision.diff.as_ref().map(|fields| {
            let side = |value_of: &Option<String>| value_of.as_ref().and_then(value);
            let fields = fields.iter();
            fields.map(|it| (side(&it.before), side(&it.after))).collect::<Vec<_>>()
        })
    };
    for limit in [1, 100] {
        let query = PastQuery { limit, ..PastQuery::default() };
        let found = revisions(&store, &name(), Some(id(2)), &query).unwrap();
        assert_eq!(told(&found[0]), Some(diff(3)), "also the last of a part");
    }
    let all = revisions(&store, &name(), Some(id(2)), &PastQuery::default()).unwrap();
    let all: Vec<_> = all.iter().map(told).collect();
    let expected = [Some(diff(3)), Some(diff(2)), None, None, Some(diff(3)), Some(diff(2)), None];
    assert_eq!(all, expected);
    assert_eq!(told(&revision(&store, id(2), 3).unwrap().unwrap()), Some(diff(3)));
    assert_eq!(revision(&store, id(2), 4).unwrap(), None);
    // One whose predecessor is no longer there is told without a comparison.
    let store = MemoryStore::new();
    records::write(&store, &[vec![revised(1, 7), removed(1, &name())]]).unwrap();
    assert_eq!(revision(&store, id(1), 7).unwrap().unwrap().diff, None);
}

#[test]
fn a_part_ends_before_it_has_too_many_bytes() {
    let store = MemoryStore::new();
    let mut units = vec![vec![removed(1, &name())]];
    for no in 1..=60 {
        let mut job = a_job(1, no);
        job.spec.params = crate::Json::new(&"x".repeat(40_000)).unwrap();
        units.push(vec![Change::PutRevision(Box::new(JobRevision::of(&job)))]);
    }
    records::write(&store, &units).unwrap();
    let found = revisions(&store, &name(), None, &PastQuery::default()).unwrap();
    assert!((20..30).contains(&found.len()), "{}", found.len());
    let read = |query: &PastQuery| revisions(&store, &name(), None, query).unwrap();
    assert_eq!(places(100, read, JobRevision::place).len(), 60);
}

#[test]
fn removed_jobs_are_found_by_age_and_by_a_name_like_theirs() {
    let store = store();
    let jobs = |moment, limit| {
        let found = removed_before(&store, at(moment), limit).unwrap();
        found.iter().map(|removed| removed.job).collect::<Vec<_>>()
    };
    assert_eq!(jobs(2, 10), []);
    assert_eq!(jobs(3, 10), [id(1)]);
    assert_eq!(jobs(100, 10), [id(1), id(3)]);
    assert_eq!(jobs(100, 1), [id(1)]);
    let nearest = |text: &str| nearest_removed(&store, &text.parse().unwrap()).unwrap();
    assert_eq!(nearest("backpu").as_deref(), Some("backup"));
    assert_eq!(nearest("elsewhere"), None);
}

#[test]
fn damage_is_told_with_its_key() {
    let store = store();
    let op = crate::store::Op::Put(key::missed(id(1), 2), b"{".to_vec());
    store.commit(vec![vec![op]]).unwrap();
    let error = missed(&store, &name(), None, &PastQuery::default()).unwrap_err().to_string();
    assert!(error.contains("damaged row of missed firings under key x:"), "{error}");
}
