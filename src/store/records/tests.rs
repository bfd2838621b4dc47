//! Units written and a snapshot loaded: what goes in comes out, on each store.

use std::sync::Arc;

use super::*;
use crate::engine::CHUNK;
use crate::id::JobId;
use crate::job::{Job, JobState};
use crate::run::{Cause, DeliveryState, Outcome};
use crate::store::{MemoryStore, SledOptions};
use crate::{Command, Json, Offline, Rule, Target, Timestamp};

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000 + millis)
}

pub(crate) fn serial(n: i64) -> Serial {
    Serial::from_parts(at(n), 7)
}

pub(crate) fn a_run(n: i64, total: u32) -> Run {
    Run {
        serial: serial(n),
        job_id: None,
        job: Some("nightly/backup".parse().unwrap()),
        cause: Cause::Scheduled,
        command: Command::new("backup.run".parse().unwrap(), Json::empty()).unwrap(),
        target: Target::All,
        scheduled_at: at(n),
        fired_at: at(n),
        offline: Offline::Queue,
        expires_at: None,
        overlap: crate::job::Overlap::Allow,
        overlap_scope: crate::job::OverlapScope::Client,
        spread: None,
        policy: crate::Policy::default(),
        jitter: None,
        on_client_crash: crate::job::OnClientCrash::Fail,
        rollout: None,
        rollout_state: None,
        cancelled_at: None,
        ended_at: None,
        reason: None,
        counts: Counts { total, ..Counts::default() },
        membership: crate::Membership::Open,
        bytes: 0,
        forgotten: false,
        replay_of: None,
    }
}

pub(crate) fn a_client(no: u32) -> ClientRecord {
    ClientRecord {
        no: ClientNo(no),
        id: format!("web-{no}").parse().unwrap(),
        groups: ["web".parse().unwrap()].into(),
        token: Some(crate::TokenHash::of("secret")),
        defined_at: at(0),
        removed_at: (no % 2 == 1).then_some(at(9)),
        labels: crate::Labels::parse(["rack=r7"]).unwrap(),
        facts: Some(Box::new(crate::Facts::of_program("1.2").unwrap())),
        max_running: (no % 3 == 1).then_some(crate::CommandLimit::ONE),
    }
}

pub(crate) fn a_page(n: i64, page: u32, outcomes: Vec<(u32, Outcome)>) -> Change {
    let entry = |(no, outcome)| PageEntry {
        client: ClientNo(no),
        at: at(n + 5),
        attempt: 1,
        retried: false,
        outcome,
    };
    Change::PutPage { serial: serial(n), page, entries: outcomes.into_iter().map(entry).collect() }
}

pub(crate) fn open(n: i64, chunk: u32, open: impl IntoIterator<Item = u32>) -> Change {
    Change::PutOpen { serial: serial(n), chunk, open: open.into_iter().collect() }
}

pub(crate) fn a_job(n: i64) -> Job {
    let spec = crate::JobSpec::new(
        format!("job-{n}").parse().unwrap(),
        Target::All,
        "backup.run".parse().unwrap(),
        Rule::now(),
    );
    let id = JobId::from_parts(at(n), 1);
    Job { id, revision: 1, created_at: at(n), updated_at: at(n), spec }
}

fn keys(store: &dyn Store) -> Vec<Vec<u8>> {
    walk(store, vec![]..vec![u8::MAX], Order::Up).map(|entry| entry.unwrap().0).collect()
}

#[test]
fn a_new_store_is_empty() {
    let snapshot = load(&MemoryStore::new()).unwrap();
    assert!(snapshot.jobs.is_empty() && snapshot.clients.is_empty());
    assert!(snapshot.open_runs.is_empty() && snapshot.last_serial.is_none());
}

#[test]
fn jobs_and_clients_come_back() {
    let store = MemoryStore::new();
    load(&store).unwrap();
    let state = JobState { occurrences: 4, next_due: Some(at(60)), ..JobState::default() };
    let presence = Presence {
        connected_at: Some(at(1)),
        disconnected_at: None,
        reason: Some("r".repeat(10_000)),
    };
    let mut unit = Vec::new();
    for n in 0..300 {
        let job = Arc::new(a_job(n));
        unit.push(Change::PutJob(Arc::clone(&job)));
        unit.push(Change::PutJobState(job, state.clone()));
    }
    unit.push(Change::PutClient(Arc::new(a_client(2))));
    unit.push(Change::PutClient(Arc::new(a_client(5))));
    unit.push(Change::PutPresence(ClientNo(2), presence));
    write(&store, &[unit, vec![Change::RemoveJob(a_job(7).id)]]).unwrap();

    let snapshot = load(&store).unwrap();
    let expected: Vec<_> =
        (0..300).filter(|n| *n != 7).map(|n| (a_job(n), state.clone())).collect();
    assert_eq!(snapshot.jobs, expected);
    assert!(!keys(&store).contains(&key::job_state(a_job(7).id)));
    let clients: Vec<_> = snapshot.clients.iter().map(|(client, _)| client.clone()).collect();
    assert_eq!(clients, [a_client(2), a_client(5)]);
    assert_eq!(snapshot.clients[0].1.connected_at, Some(at(1)));
    assert!(snapshot.clients[0].1.reason.as_ref().unwrap().len() <= page::MAX_REASON);
    assert_eq!(snapshot.clients[1].1, Presence::default());
    assert_eq!(client(&store, ClientNo(5)).unwrap(), Some(a_client(5)));
}

#[test]
fn open_runs_come_back_with_their_sets_pages_and_counts() {
    let store = MemoryStore::new();
    let failed = Outcome::ended(DeliveryState::Failed, "disk full");
    let large = Outcome::succeeded(Json::new(&"x".repeat(100_000)).unwrap());
    let units = [
        vec![
            Change::PutRun(Arc::new(a_run(2, 8_000))),
            open(2, 0, 3..CHUNK),
            open(2, 1, CHUNK..8_000),
        ],
        vec![Change::PutRun(Arc::new(a_run(1, 1))), open(1, 9, [9 * CHUNK + 1])],
        vec![Change::PutRun(Arc::new(a_run(3, 1))), open(3, 0, [1])],
        vec![a_page(2, 0, vec![(0, failed.clone()), (1, large)]), open(2, 0, 3..CHUNK)],
        vec![a_page(2, 1, vec![(2, failed)])],
        vec![a_page(3, 0, vec![(1, Outcome::succeeded(Json::null()))]), open(3, 0, [])],
    ];
    write(&store, &units).unwrap_or_else(|error| panic!("{error}"));
    // The store was written before it was prepared, as no node does.
    store
        .commit(vec![vec![Op::Put(key::format(), super::super::FORMAT.to_be_bytes().into())]])
        .unwrap();

    let snapshot = load(&store).unwrap();
    assert_eq!(snapshot.last_serial, Some(serial(3)));
    let [first, second] = &snapshot.open_runs[..] else { panic!("{:?}", snapshot.open_runs) };
    assert_eq!((&first.run, first.pages), (&a_run(1, 1), 0));
    assert_eq!(first.open, RoaringBitmap::from([9 * CHUNK + 1]));
    assert_eq!((&second.run, second.pages), (&a_run(2, 8_000), 2));
    assert_eq!(second.open, (3..8_000).collect::<RoaringBitmap>());
    assert_eq!(
        second.counts,
        Counts { total: 8_000, succeeded: 1, failed: 2, ..Counts::default() }
    );
    assert!(
        walk(&store, vec![]..vec![255], Order::Up).all(|entry| entry.unwrap().1.len() <= MAX_VALUE)
    );
}

#[test]
fn a_forgotten_run_leaves_nothing_even_when_its_end_is_in_the_same_commit() {
    let store = MemoryStore::new();
    load(&store).unwrap();
    let large = || Outcome::succeeded(Json::new(&"x".repeat(70_000)).unwrap());
    let other = vec![Change::PutRun(Arc::new(a_run(1, 1))), a_page(1, 0, vec![(1, large())])];
    write(&store, &[other]).unwrap();
    let before = keys(&store);

    let fire = vec![Change::PutRun(Arc::new(a_run(2, 3))), open(2, 0, 0..3)];
    let end = vec![a_page(2, 0, vec![(0, large()), (1, large())]), open(2, 0, [2])];
    let forget = vec![a_page(2, 1, vec![(2, large())]), Change::ForgetRun(serial(2))];
    write(&store, &[fire, end, forget]).unwrap();
    assert_eq!(keys(&store), before);
    assert_eq!(run(&store, serial(2)).unwrap(), None);
    assert!(run(&store, serial(1)).unwrap().is_some());
}

#[test]
fn a_change_that_cannot_be_stored_is_named_and_what_came_before_it_is_written() {
    let store = MemoryStore::new();
    let good = vec![Change::PutRun(Arc::new(a_run(1, 1)))];
    let bad = vec![open(1, 1, [5])];
    let error = write(&store, &[good, bad]).unwrap_err().to_string();
    assert!(error.contains("client number 5 is not in chunk 1"), "{error}");
    assert_eq!(keys(&store), [key::run(serial(1))]);

    let mut job = a_job(1);
    job.spec.description = Some("d".repeat(MAX_VALUE));
    let error = write(&store, &[vec![Change::PutJob(Arc::new(job))]]).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { what: "job", max: MAX_VALUE, .. }), "{error}");
}

#[test]
fn damage_is_told_with_its_key() {
    for (key, value, part) in [
        (key::job(a_job(1).id), &b"{"[..], "damaged job under key j:"),
        (key::open(serial(1), 0), &[9], "form 9"),
        (key::open(serial(1), 0), &[2], "damaged run under key r:"),
        (key::open(serial(1), 0)[..9].to_vec(), &[2], "its key has another length"),
    ] {
        let store = MemoryStore::new();
        prepare(&store).unwrap();
        let state = Op::Put(key::job_state(a_job(1).id), b"{}".to_vec());
        store.commit(vec![vec![state, Op::Put(key, value.to_vec())]]).unwrap();
        let error = load(&store).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// A store with some jobs, of which one is paused, one has no further firing and one names a
/// calendar.
fn of_jobs(count: i64) -> MemoryStore {
    let store = MemoryStore::new();
    prepare(&store).unwrap();
    for n in 0..count {
        let mut job = a_job(n);
        let mut state = JobState { next_due: Some(at(n)), ..JobState::default() };
        match n {
            2 => {
                let (reason, until) = (None, Some(at(70)));
                state.paused = Some(crate::pause::Paused { at: at(1), reason, until });
            }
            3 => state.next_due = None,
            4 => {
                let rule = r#"{"cron": "0 6 * * *", "exclude": {"calendars": ["holidays-se"]}}"#;
                job.spec.rule = serde_json::from_str(rule).unwrap();
                let keep = r#"{"runs": 100, "for": "30d"}"#;
                job.spec.history = serde_json::from_str(keep).unwrap();
            }
            _ => {}
        }
        let job = Arc::new(job);
        let unit = vec![Change::PutJob(Arc::clone(&job)), Change::PutJobState(job, state)];
        write(&store, &[unit]).unwrap();
    }
    store
}

#[test]
fn jobs_that_are_not_at_hand_have_heads_and_are_read_later() {
    let store = of_jobs(1_000);
    let all = load(&store).unwrap().jobs;
    let shared: Arc<dyn Store> = Arc::new(store);
    for at_hand in [1, 2, 5, 744, 999, 1_000, 2_000] {
        let some = load_some(&shared, at_hand).unwrap();
        let stored = some.stored_jobs.unwrap();
        assert_eq!(some.jobs[..], all[..at_hand.min(1_000)]);
        assert_eq!(some.jobs.len() + stored.heads.len(), all.len());
        let mut heads: Vec<_> = stored.heads.iter().collect();
        heads.sort_by_key(|head| head.id);
        for (head, (job, state)) in heads.into_iter().zip(&all[some.jobs.len()..]) {
            assert_eq!(head, crate::engine::JobHead::of(job, state));
            assert_eq!(stored.definitions.read(head.id).unwrap(), (job.clone(), state.clone()));
        }
    }
}

#[test]
fn damage_of_a_job_that_is_not_at_hand_is_told_with_its_key() {
    let (job, state) = (key::job(a_job(200).id), key::job_state(a_job(200).id));
    // Whether it is told at the start, or when the job is needed.
    for (key, value, at_start, part) in [
        (&job, &b"{"[..], false, "damaged job under key j:"),
        (&job, b"{}", false, "missing field `id`"),
        (&state, b"{}", true, "it has no head"),
        (&state, b"{}\0", true, "damaged job state under key s:"),
        (&state, b"{\0\0\x01a", false, "damaged job state under key s:"),
    ] {
        let store = of_jobs(300);
        store.commit(vec![vec![Op::Put(key.clone(), value.to_vec())]]).unwrap();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let told = match load_some(&shared, 5).map(|some| some.stored_jobs.unwrap()) {
            Err(error) => (true, error.to_string()),
            Ok(stored) => (false, stored.definitions.read(a_job(200).id).unwrap_err().to_string()),
        };
        assert!(told.0 == at_start && told.1.contains(part), "{told:?}");

        store.commit(vec![vec![Op::Delete(key.clone())]]).unwrap();
        let stored = load_some(&shared, 300).map(|some| some.stored_jobs.unwrap());
        let told = stored.map(|stored| stored.definitions.read(a_job(200).id).unwrap_err());
        let told = told.map_or_else(|error| error.to_string(), |error| error.to_string());
        assert!(told.contains("it is missing"), "{told}");
    }
}

#[test]
fn a_broadcast_to_a_million_is_small_and_survives_reopening() {
    const CLIENTS: u32 = 1_000_000;
    let directory = tempfile::tempdir().unwrap();
    let open_store = || crate::store::SledStore::open(directory.path(), SledOptions::default());
    let mut unit = vec![Change::PutRun(Arc::new(a_run(1, CLIENTS)))];
    for chunk in 0..CLIENTS.div_ceil(CHUNK) {
        unit.push(open(1, chunk, chunk * CHUNK..CLIENTS.min((chunk + 1) * CHUNK)));
    }
    assert!(unit.len() > super::super::MAX_OPS, "it is staged");
    let store = open_store().unwrap();
    write(&store, &[unit]).unwrap();
    // Every second client of the first chunk has answered.
    let entries = (0..CHUNK / 2).map(|n| (2 * n, Outcome::succeeded(Json::null()))).collect();
    let odd = (0..CHUNK / 2).map(|n| 2 * n + 1);
    write(&store, &[vec![a_page(1, 0, entries), open(1, 0, odd)]]).unwrap();
    let bytes: usize = walk(&store, key::of_run(key::OPEN, serial(1)), Order::Up)
        .map(|entry| entry.unwrap().1.len())
        .sum();
    assert!(bytes < 2_000, "{bytes} bytes");
    drop(store);

    let snapshot = load(&open_store().unwrap()).unwrap();
    let [run] = &snapshot.open_runs[..] else { panic!("{:?}", snapshot.open_runs) };
    assert_eq!(run.open.len(), u64::from(CLIENTS - CHUNK / 2));
    assert_eq!(run.counts.open(), CLIENTS - CHUNK / 2);
}

#[test]
fn calendars_come_back() {
    let calendar = |name: &str, revision: u32| crate::CalendarRecord {
        revision,
        updated_at: at(i64::from(revision)),
        spec: serde_json::from_str(&format!(
            r#"{{"name": "{name}", "description": "d", "dates": ["2026-12-24..2027-01-06"],
                "weekdays": ["sun"]}}"#
        ))
        .unwrap(),
    };
    let put = |name: &str, revision| Change::PutCalendar(Arc::new(calendar(name, revision)));
    let store = MemoryStore::new();
    load(&store).unwrap();
    let units = [
        vec![put("se", 1), put("no", 1), put("gone", 1)],
        vec![put("no", 2), Change::RemoveCalendar("gone".parse().unwrap())],
    ];
    write(&store, &units).unwrap();
    assert_eq!(load(&store).unwrap().calendars, [calendar("no", 2), calendar("se", 1)]);
    let no = key::calendar(&"no".parse().unwrap());
    assert!(no.starts_with(b"e") && key::all(key::CALENDAR).contains(&no));
    store.commit(vec![vec![Op::Put(no, b"{}".to_vec())]]).unwrap();
    assert!(load(&store).unwrap_err().to_string().contains("calendar"), "damage is told");
}
