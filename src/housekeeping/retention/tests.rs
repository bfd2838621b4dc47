//! What retention keeps, held against a model that knows every run.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::engine::{Apply, Change, PageEntry, What};
use crate::id::ClientNo;
use crate::job::{CatchUp, Command, JobSpec};
use crate::run::{Cause, Counts, DeliveryState, Outcome, Run};
use crate::store::{MemoryStore, Order, Store, key, records};
use crate::time::{Clock, SystemClock};
use crate::{Json, Node, Rule, Target};

/// A clock that stands still.
struct Then(Timestamp);

impl Clock for Then {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn keys(store: &MemoryStore, kind: u8) -> usize {
    let range = key::all(kind);
    store.scan(&range.start..&range.end, Order::Up, usize::MAX).unwrap().len()
}

const SECOND: i64 = 1_000;

/// The moment at which the tests look.
fn now() -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000)
}

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_millis(now().millis() - seconds * SECOND)
}

/// A run as the store has it, without its responses.
fn a_run(job: Option<JobId>, n: u128, fired: i64, ended: Option<i64>, bytes: u64) -> Run {
    let at = ago(fired);
    serde_json::from_value(serde_json::json!({
        "serial": Serial::from_parts(at, n), "job_id": job, "cause": Cause::Scheduled,
        "command": Command::new("work".parse().unwrap(), Json::empty()).unwrap(),
        "target": Target::All, "scheduled_at": at, "fired_at": at,
        "ended_at": ended.map(ago), "counts": Counts { total: 1, ..Counts::default() },
        "bytes": bytes,
    }))
    .unwrap()
}

fn put(store: &MemoryStore, run: &Run) {
    let outcome = Outcome::ended(DeliveryState::Failed, "no");
    let at = run.fired_at;
    let entry = PageEntry { client: ClientNo(1), at, attempt: 1, retried: false, outcome };
    let page = Change::PutPage { serial: run.serial, page: 0, entries: vec![entry] };
    records::write(store, &[vec![Change::PutRun(Arc::new(run.clone())), page]]).unwrap();
}

fn a_job(name: &str, keep: Option<Keep>) -> JobSpec {
    let rule = Rule::at("2999-01-01T00:00:00Z".parse().unwrap());
    let mut spec = JobSpec::new(name.parse().unwrap(), Target::All, "work".parse().unwrap(), rule);
    spec.history = keep;
    spec
}

/// A node on a store, with these jobs; and their numbers.
async fn a_node(store: &MemoryStore, jobs: Vec<JobSpec>) -> (Node, Vec<JobId>) {
    let clock = Arc::new(Then(now()));
    let node = Node::start_with_clock(Arc::new(store.clone()), clock).unwrap();
    let mut ids = Vec::new();
    for spec in jobs {
        let name = spec.name.clone();
        let apply = Apply { jobs: vec![spec], ..Apply::default() };
        node.handle().apply(apply).await.unwrap();
        ids.push(node.handle().get(name).await.unwrap().job.id);
    }
    (node, ids)
}

fn retention(node: &Node, limits: Limits) -> Retention {
    Retention::new(node.handle(), limits, Pace::new(Duration::from_secs(60)))
}

fn kept(store: &MemoryStore) -> BTreeSet<Serial> {
    let range = key::all(key::RUN);
    let runs = store.scan(&range.start..&range.end, Order::Up, usize::MAX).unwrap();
    runs.iter().map(|(key, _)| key::serial_in(key).unwrap()).collect()
}

/// The same by looking at everything.
fn model(runs: &[Run], keeps: &HashMap<JobId, Keep>, limits: &Limits) -> BTreeSet<Serial> {
    let mut by_job: BTreeMap<Option<JobId>, Vec<&Run>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.ended_at.is_some()) {
        by_job.entry(run.job_id).or_default().push(run);
    }
    let mut left: Vec<&Run> = Vec::new();
    for (job, mut runs) in by_job {
        let keep = job.and_then(|job| keeps.get(&job));
        runs.sort_by_key(|run| std::cmp::Reverse(run.serial));
        let too_old = now().minus(keep.and_then(Keep::age).unwrap_or(limits.keep));
        let (mut count, mut bytes) = (0, 0);
        for run in runs {
            count += 1;
            bytes += run.kept_bytes();
            let most = keep.and_then(Keep::runs).unwrap_or(u64::MAX);
            let most_bytes = keep.and_then(Keep::bytes).unwrap_or(u64::MAX);
            if count <= most && bytes <= most_bytes && run.ended_at.unwrap() >= too_old {
                left.push(run);
            }
        }
    }
    left.sort_by_key(|run| run.serial);
    let total = |left: &[&Run]| left.iter().map(|run| run.kept_bytes()).sum::<u64>();
    while left.len() as u64 > limits.runs.unwrap_or(u64::MAX)
        || total(&left) > limits.bytes.unwrap_or(u64::MAX)
    {
        left.remove(0);
    }
    let open = runs.iter().filter(|run| run.ended_at.is_none());
    left.into_iter().chain(open).map(|run| run.serial).collect()
}

fn keep() -> impl Strategy<Value = Option<Keep>> {
    let some = (
        proptest::option::of(1_u64..8),
        proptest::option::of(1_u64..400),
        proptest::option::of(1_024_u64..9_000),
    );
    some.prop_map(|(runs, age, bytes)| Keep::new(runs, age.map(Duration::from_secs), bytes).ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_kept_is_what_a_model_keeps(
        keeps in proptest::collection::vec(keep(), 3),
        global in (1_u64..400, proptest::option::of(0_u64..30), proptest::option::of(0_u64..30_000)),
        runs in proptest::collection::vec(
            (0_usize..5, 0_i64..300, proptest::option::weighted(0.8, 0_i64..300), 600_u64..2_000),
            0..60,
        ),
        listed in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = MemoryStore::new();
            let names = ["a", "b", "c"].into_iter().zip(&keeps);
            let jobs = names.map(|(name, keep)| a_job(name, *keep)).collect();
            let (node, ids) = a_node(&store, jobs).await;
            let removed = JobId::from_parts(now(), 77);
            let mut all = Vec::new();
            for (n, (job, fired, ended, bytes)) in (0..).zip(runs) {
                // The fourth are of a job that is no more, the others of none.
                let job = [Some(ids[0]), Some(ids[1]), Some(ids[2]), Some(removed), None][job];
                let run = a_run(job, n, fired, ended.map(|ended| ended.min(fired)), bytes);
                put(&store, &run);
                all.push(run);
            }
            if !listed {
                // As a store from before runs were listed.
                let lists = key::all_ended();
                let lists = store.scan(&lists.start..&lists.end, Order::Up, 1_000).unwrap();
                let keys = lists.into_iter().map(|(key, _)| key).chain([key::ended_runs_listed()]);
                let gone = keys.map(crate::store::Op::Delete);
                store.commit(vec![gone.collect()]).unwrap();
            }
            let (age, most, bytes) = global;
            let keep = Duration::from_secs(age);
            let limits = Limits { keep, runs: most, bytes, ..Limits::default() };
            let keeps: HashMap<JobId, Keep> =
                ids.iter().copied().zip(keeps).filter_map(|(id, keep)| Some((id, keep?))).collect();
            let expected = model(&all, &keeps, &limits);
            let mut retention = retention(&node, limits);
            for round in 0..3 {
                retention.round(now()).await.unwrap();
                assert_eq!(kept(&store), expected, "after round {round}");
            }
            // The page of one that has ended lies within its record.
            let open = all.iter().filter(|run| run.ended_at.is_none()).count();
            assert_eq!(keys(&store, key::PAGE), open, "no page without a run");
            let ended = all.iter().filter(|run| run.ended_at.is_some() && run.job_id.is_some());
            let ended = ended.filter(|run| expected.contains(&run.serial)).count();
            assert_eq!(keys(&store, key::DERIVED), ended, "the lists tell of what is kept");
            node.stop().await.unwrap();
        });
    }
}

#[tokio::test]
async fn a_jobs_own_age_goes_before_that_of_all_in_both_directions() {
    let store = MemoryStore::new();
    let own = |seconds| Keep::new(None, Some(Duration::from_secs(seconds)), None).ok();
    let jobs = vec![a_job("longer", own(1_000)), a_job("shorter", own(10)), a_job("as-all", None)];
    let (node, ids) = a_node(&store, jobs).await;
    for (n, age) in (0..).zip([5, 50, 500, 5_000]) {
        for (at, id) in (0..).zip(&ids) {
            put(&store, &a_run(Some(*id), n * 10 + at, age, Some(age), 0));
        }
    }
    let limits = Limits { keep: Duration::from_secs(100), ..Limits::default() };
    let mut retention = retention(&node, limits);
    let mut events = node.handle().subscribe();
    retention.round(now()).await.unwrap();
    let left = |id: JobId| walk_ended(&store, id);
    assert_eq!([left(ids[0]), left(ids[1]), left(ids[2])], [3, 1, 2]);
    // The round is told as one event.
    let forgotten = loop {
        if let What::Forgotten { forgotten } = events.recv().await.unwrap().what {
            break forgotten;
        }
    };
    let bytes = forgotten.bytes;
    assert_eq!(forgotten, Forgotten { runs: 6, deliveries: 6, bytes, before: ago(100) });
    assert!(bytes > 6 * 512);
    node.stop().await.unwrap();
}

fn walk_ended(store: &MemoryStore, job: JobId) -> usize {
    let range = key::ended_of(Some(job));
    store.scan(&range.start..&range.end, Order::Up, usize::MAX).unwrap().len()
}

#[tokio::test]
async fn a_limit_of_all_follows_what_ends_later() {
    let store = MemoryStore::new();
    let (node, _) = a_node(&store, Vec::new()).await;
    let limits = Limits { runs: Some(5), ..Limits::default() };
    let mut retention = retention(&node, limits);
    for round in 0..4 {
        for _ in 0..4 {
            // Nobody is defined, so that it ends at once.
            let submission = crate::Submission::new(Target::All, "work".parse().unwrap());
            node.handle().submit(submission).await.unwrap();
        }
        retention.round(now()).await.unwrap();
        let expected = if round == 0 { 4 } else { 5 };
        assert_eq!(kept(&store).len(), expected, "round {round}");
    }
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_crash_has_left_half_forgotten_goes_in_the_next_round() {
    let store = MemoryStore::new();
    let (node, _) = a_node(&store, Vec::new()).await;
    let run = a_run(None, 1, 10, Some(10), 0);
    put(&store, &run);
    // The latest of all stays.
    let latest = a_run(None, 2, 5, Some(5), 0);
    put(&store, &latest);
    for page in 1..400 {
        let outcome = Outcome::ended(DeliveryState::Failed, "no");
        let at = run.fired_at;
        let entry = PageEntry { client: ClientNo(page), at, attempt: 1, retried: false, outcome };
        let page = Change::PutPage { serial: run.serial, page, entries: vec![entry] };
        records::write(&store, &[vec![page]]).unwrap();
    }
    let left = node.handle().forget_part(vec![run.serial]).await.unwrap();
    assert_eq!((left.runs, left.left), (vec![run.serial], vec![run.serial]));
    assert!(node.handle().run(run.serial).await.is_err(), "it is not known any more");
    let left = node.handle().runs(crate::history::RunQuery::default()).await.unwrap();
    assert_eq!(left, [latest]);
    node.stop().await.unwrap();

    let (node, _) = a_node(&store, Vec::new()).await;
    retention(&node, Limits::default()).round(now()).await.unwrap();
    assert_eq!([key::RUN, key::PAGE, key::DERIVED].map(|kind| keys(&store, kind)), [1, 0, 0]);
    assert!(node.handle().forgetting(10).await.unwrap().is_empty());
    node.stop().await.unwrap();
}

#[tokio::test]
async fn an_open_run_is_never_forgotten() {
    let store = MemoryStore::new();
    let (node, _) = a_node(&store, Vec::new()).await;
    let id = "web-01".parse().unwrap();
    let client = crate::NewClient { id, groups: BTreeSet::new(), token: None };
    node.handle().add_client(client).await.unwrap();
    let submission = crate::Submission::new(Target::All, "work".parse().unwrap());
    let open = node.handle().submit(submission).await.unwrap();
    let (runs, bytes) = (Some(0), Some(0));
    let limits = Limits { keep: Duration::ZERO, runs, bytes, ..Limits::default() };
    let later = now().plus(Duration::from_secs(86_400));
    retention(&node, limits).round(later).await.unwrap();
    assert_eq!(kept(&store), [open.serial].into());
    node.handle().forget(vec![open.serial]).await.unwrap();
    assert_eq!(kept(&store), [open.serial].into());
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_removed_jobs_leave_is_forgotten_at_the_age_of_runs() {
    let store = MemoryStore::new();
    let then = SystemClock.now().minus(Duration::from_secs(100 * 86_400));
    let node =
        crate::Node::start_with_clock(Arc::new(store.clone()), Arc::new(Then(then))).unwrap();
    let handle = node.handle();
    let job = |n: usize, last: usize| {
        let rule = Rule::at(then.minus(Duration::from_secs(60)));
        let name = format!("job-{n}").parse().unwrap();
        let mut spec = JobSpec::new(name, Target::All, "work".parse().unwrap(), rule);
        spec.catch_up = CatchUp::Skip;
        spec.description = Some(format!("version {last}"));
        spec
    };
    let apply = async |jobs| {
        let apply = Apply { jobs, prune: true, ..Apply::default() };
        handle.apply(apply).await.unwrap();
    };
    for version in 0..3 {
        apply((0..50).map(|n| job(n, version)).collect()).await;
    }
    apply(vec![job(49, 2)]).await;
    let kept = || [key::REVISION, key::MISSED].map(|kind| keys(&store, kind));
    let removed = || [key::REMOVED, key::REMOVAL].map(|kind| keys(&store, kind));
    let before = (kept(), removed());
    assert_eq!(before, ([49 * 4 + 2, 50], [49, 49]));

    let round = async |days: u64| {
        let keep = Duration::from_secs(days * 86_400);
        let limits = Limits { keep, ..Limits::default() };
        retention(&node, limits).round(SystemClock.now()).await.unwrap();
    };
    round(101).await;
    assert_eq!((kept(), removed()), before, "not old enough");
    round(99).await;
    assert_eq!((kept(), removed()), ([2, 1], [0, 0]), "the job that is there keeps its own");
    node.stop().await.unwrap();
}
