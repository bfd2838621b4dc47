//! The node on a store of the test's own: decide, commit, act; and what a failed commit does.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use fleetcron::engine::{Apply, NewClient, OUTLOOKS, What};
use fleetcron::forecast::{ForecastQuery, MAX_LOOKED_AT};
use fleetcron::history::RunQuery;
use fleetcron::node::{CallError, Fatal, OUTBOUND, ToSession, outbox};
use fleetcron::store::{Batch, Layer, MemoryStore, Store, StoreError};
use fleetcron::time::{Clock, SystemClock};
use fleetcron::{
    CatchUp, Handle, JobSpec, Json, Node, Outcome, Proof, Rule, Run, Serial, Submission, Timestamp,
    TokenHash,
};
use futures_util::{FutureExt, StreamExt, future};

/// A store whose commits wait at a gate, are counted, and can be made to fail.
struct Gated {
    inner: MemoryStore,
    open: Mutex<bool>,
    opened: Condvar,
    commits: AtomicUsize,
    broken: Mutex<bool>,
}

impl Gated {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(),
            open: Mutex::new(true),
            opened: Condvar::new(),
            commits: AtomicUsize::new(0),
            broken: Mutex::new(false),
        })
    }

    fn set_open(&self, open: bool) {
        *self.open.lock().unwrap() = open;
        self.opened.notify_all();
    }
}

impl Layer for Gated {
    fn below(&self) -> &dyn Store {
        &self.inner
    }

    fn commit_through(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
        if *self.broken.lock().unwrap() {
            return Err(StoreError::failed("commit", "the disk is gone"));
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(batches)
    }
}

async fn add_client(handle: &Handle, id: &str) {
    let token = Some(TokenHash::of("secret"));
    let client = NewClient { id: id.parse().unwrap(), groups: [].into(), token };
    handle.add_client(client).await.unwrap();
}

fn noop(target: &str) -> Submission {
    Submission::new(target.parse().unwrap(), "noop".parse().unwrap())
}

#[tokio::test]
async fn a_command_goes_out_and_its_answer_comes_in() {
    let node = Node::start(Arc::new(MemoryStore::new())).unwrap();
    let handle = node.handle();
    add_client(&handle, "a").await;
    let (outbound, mut inbound) = outbox(OUTBOUND);
    let proof = Proof::Token(TokenHash::of("secret"));
    let session = handle.connect("a".parse().unwrap(), proof, Vec::new(), outbound).await.unwrap();
    let run = handle.submit(noop("client:a")).await.unwrap();
    let followed = tokio::spawn(handle.follow(run.serial).collect::<Vec<_>>());
    let Some(ToSession::Command(dispatch)) = inbound.recv().await else { panic!("a command") };
    assert_eq!(dispatch.serial, run.serial);
    let outcome = Outcome::succeeded(Json::new(&42).unwrap());
    handle.responded(session, run.serial.into(), outcome.clone()).await.unwrap();
    assert!(matches!(inbound.recv().await, Some(ToSession::Ack(one)) if one.serial == run.serial));
    let ended = handle.wait(run.serial).await.unwrap();
    assert!(ended.all_succeeded(), "{ended:?}");
    let responses = followed.await.unwrap();
    assert_eq!(responses.len(), 1);
    assert_eq!(responses[0].as_ref().unwrap().outcome, outcome);
    let one = handle.response(run.serial, "a".parse().unwrap()).await.unwrap();
    assert_eq!(one.unwrap().outcome, outcome);
    node.stop().await.unwrap();
    assert!(matches!(inbound.recv().await, Some(ToSession::Close(_))), "the node says goodbye");
    assert!(matches!(handle.status().await, Err(CallError::Stopped)));
}

/// The system's clock, which counts how often the loop looks at it.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl Clock for Counting {
    fn now(&self) -> Timestamp {
        self.0.fetch_add(1, Ordering::SeqCst);
        SystemClock.now()
    }
}

/// Waits until the loop has gone round several times: what was in its inbox is decided.
async fn turns(handle: &Handle, clock: &Counting) {
    let enough = clock.0.load(Ordering::SeqCst) + 20;
    while clock.0.load(Ordering::SeqCst) < enough {
        handle.wake();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_is_answered_before_it_is_durable() {
    let (store, clock) = (Gated::new(), Arc::new(Counting::default()));
    let node = Node::start_with_clock(
        Arc::clone(&store) as Arc<dyn Store>,
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    let handle = node.unwrap().handle();
    add_client(&handle, "a").await;
    store.set_open(false);
    let mut submit = Box::pin(handle.submit(noop("all")));
    assert!(submit.as_mut().now_or_never().is_none());
    turns(&handle, &clock).await;
    assert!(submit.as_mut().now_or_never().is_none(), "not durable: no answer");
    let mut next = Box::pin(handle.submit(noop("all")));
    let mut question = Box::pin(handle.status());
    assert!(next.as_mut().now_or_never().is_none());
    assert!(question.as_mut().now_or_never().is_none());
    turns(&handle, &clock).await;
    assert!(next.as_mut().now_or_never().is_none(), "decided during a commit: waits for its own");
    assert!(question.as_mut().now_or_never().is_none(), "nor a look at what is not durable");
    store.set_open(true);
    assert_eq!(question.await.unwrap().runs_open, 2);
    for run in [submit.await.unwrap(), next.await.unwrap()] {
        assert!(fleetcron::history::run(&store.inner, run.serial).unwrap().is_some());
    }
}

#[tokio::test]
async fn many_callers_share_a_commit() {
    let store = Gated::new();
    let node = Node::start(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let handle = node.handle();
    add_client(&handle, "a").await;
    store.set_open(false);
    let before = store.commits.load(Ordering::SeqCst);
    let submissions = (0..500).map(|_| handle.submit(noop("all")));
    let all = future::join_all(submissions);
    let open = async {
        // All 500 are in the inbox once a question asked after them is in it.
        let question = handle.status();
        tokio::pin!(question);
        assert!(question.as_mut().now_or_never().is_none());
        store.set_open(true);
        question.await.unwrap();
    };
    let (runs, ()) = future::join(all, open).await;
    assert!(runs.into_iter().all(|run| run.is_ok()));
    let commits = store.commits.load(Ordering::SeqCst) - before;
    assert!(commits <= 10, "500 submissions took {commits} commits");
}

#[tokio::test]
async fn a_failed_commit_stops_the_node_and_says_so() {
    let store = Gated::new();
    let mut node = Node::start(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let handle = node.handle();
    add_client(&handle, "a").await;
    *store.broken.lock().unwrap() = true;
    assert!(matches!(handle.submit(noop("all")).await, Err(CallError::Stopped)));
    let error = node.ended().await.unwrap_err();
    assert!(matches!(error, Fatal::Store(_)));
    assert!(error.to_string().contains("the disk is gone"), "{error}");
}

#[tokio::test]
async fn what_was_accepted_is_there_after_a_restart() {
    let store = MemoryStore::new();
    let node = Node::start(Arc::new(store.clone())).unwrap();
    add_client(&node.handle(), "a").await;
    let run = node.handle().submit(noop("all")).await.unwrap();
    node.stop().await.unwrap();
    let node = Node::start(Arc::new(store)).unwrap();
    let handle = node.handle();
    assert_eq!(handle.run(run.serial).await.unwrap(), run);
    assert_eq!(handle.status().await.unwrap().deliveries_open, 1);
    let (outbound, mut inbound) = outbox(OUTBOUND);
    handle.connect("a".parse().unwrap(), Proof::Vouched, Vec::new(), outbound).await.unwrap();
    assert!(matches!(inbound.recv().await, Some(ToSession::Command(_))));
}

#[tokio::test]
async fn stop_makes_durable_what_was_taken_in() {
    let store = Gated::new();
    let node = Node::start(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let handle = node.handle();
    add_client(&handle, "a").await;
    store.set_open(false);
    let mut first = Box::pin(handle.submit(noop("all")));
    assert!(first.as_mut().now_or_never().is_none());
    let mut second = Box::pin(handle.submit(noop("all")));
    assert!(second.as_mut().now_or_never().is_none());
    let mut stop = Box::pin(node.stop());
    assert!(stop.as_mut().now_or_never().is_none(), "a commit is under way");
    store.set_open(true);
    stop.await.unwrap();
    for run in [first.await.unwrap(), second.await.unwrap()] {
        assert!(fleetcron::history::run(&store.inner, run.serial).unwrap().is_some());
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let node = Node::start(Arc::new(MemoryStore::new())).unwrap();
    let handle = node.handle();
    add_client(&handle, "a").await;
    let (outbound, mut inbound) = outbox(1);
    handle.connect("a".parse().unwrap(), Proof::Vouched, Vec::new(), outbound).await.unwrap();
    assert!(handle.client("a".parse().unwrap()).await.unwrap().connected);
    let first = handle.submit(noop("client:a")).await.unwrap();
    handle.submit(noop("client:a")).await.unwrap();
    let view = handle.client("a".parse().unwrap()).await.unwrap();
    assert!(!view.connected, "its channel was full");
    assert_eq!(view.presence.reason.as_deref(), Some("the client is too slow"));
    let Some(ToSession::Command(dispatch)) = inbound.recv().await else { panic!("a command") };
    assert_eq!(dispatch.serial, first.serial);
    assert!(inbound.recv().await.is_none(), "then nothing more");
    assert_eq!(handle.status().await.unwrap().deliveries_open, 2, "and nothing is lost");
}

#[tokio::test]
async fn who_is_not_let_in_holds_no_channel() {
    let node = Node::start(Arc::new(MemoryStore::new())).unwrap();
    let handle = node.handle();
    add_client(&handle, "a").await;
    let (outbound, mut inbound) = outbox(OUTBOUND);
    let proof = Proof::Token(TokenHash::of("guess"));
    let refused = handle.connect("a".parse().unwrap(), proof, Vec::new(), outbound).await;
    assert!(matches!(refused, Err(CallError::Refused(_))));
    // The loop takes this in after it has dealt with the connection.
    handle.status().await.unwrap();
    assert!(inbound.recv().await.is_none());
}

#[tokio::test]
async fn a_job_fires_though_nobody_asks() {
    let node = Node::start(Arc::new(MemoryStore::new())).unwrap();
    let handle = node.handle();
    let mut events = handle.subscribe();
    let rule = Rule::every(Duration::from_secs(1)).unwrap();
    let name = "tick".parse().unwrap();
    let spec = JobSpec::new(name, "all".parse().unwrap(), "noop".parse().unwrap(), rule);
    handle.apply(Apply { jobs: vec![spec], ..Apply::default() }).await.unwrap();
    // Ten seconds is how long the loop sleeps when it does not look at what is due.
    let fired = tokio::time::timeout(Duration::from_secs(8), async {
        while !matches!(events.recv().await.unwrap().what, What::RunStarted { .. }) {}
    });
    fired.await.expect("the loop wakes by itself");
}

#[tokio::test]
async fn a_forecast_of_more_jobs_than_one_look_takes_has_each_once_and_ends_at_its_limit() {
    let node = Node::start(Gated::new()).unwrap();
    let handle = node.handle();
    add_client(&handle, "a").await;
    let far: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
    let jobs = (0..5_000).map(|n| {
        let mut rule = Rule::every(Duration::from_secs(100)).unwrap();
        rule.start = Some(far);
        let (name, all, ping) = (format!("job-{n:04}"), "all", "ping");
        JobSpec::new(name.parse().unwrap(), all.parse().unwrap(), ping.parse().unwrap(), rule)
    });
    let jobs: Vec<JobSpec> = jobs.collect();
    handle.apply(Apply { jobs, ..Apply::default() }).await.unwrap();
    const { assert!(5_000 > OUTLOOKS, "the engine is asked more than once") };

    let query = |seconds: u64| ForecastQuery {
        from: Some(far),
        to: Some(far.plus(Duration::from_secs(seconds))),
        ..ForecastQuery::default()
    };
    let whole = handle.forecast(query(1_000)).await.unwrap();
    assert_eq!((whole.jobs, whole.cut), (5_000, None));
    // Their phase is from their creation, within a period: each fires ten times.
    assert_eq!((whole.total.firings, whole.total.deliveries), (50_000, 50_000));
    let cut = handle.forecast(query(100_000)).await.unwrap();
    assert_eq!(cut.total.firings, MAX_LOOKED_AT as u64);
    let at = cut.cut.unwrap().at;
    assert!(at >= far.plus(Duration::from_secs(3_900)), "{at}");
    assert!(at <= far.plus(Duration::from_secs(4_100)), "{at}");
}

/// A clock that stands until the test sets it.
#[derive(Debug)]
struct Standing(AtomicI64);

impl Standing {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_800_000_000_000)))
    }

    fn add(&self, handle: &Handle, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
        handle.wake();
    }
}

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A node with a job of each catch-up policy, due every second.
async fn with_jobs(clock: &Arc<Standing>) -> Node {
    let store = Arc::new(MemoryStore::new());
    let node = Node::start_with_clock(store, Arc::clone(clock) as Arc<dyn Clock>).unwrap();
    let jobs = [("latest", CatchUp::Latest), ("skip", CatchUp::Skip), ("all", CatchUp::All)];
    let jobs = jobs.into_iter().map(|(name, catch_up)| {
        let rule = Rule::every(Duration::from_secs(1)).unwrap();
        let (name, target) = (name.parse().unwrap(), "all".parse().unwrap());
        let mut spec = JobSpec::new(name, target, "noop".parse().unwrap(), rule);
        spec.catch_up = catch_up;
        spec
    });
    let apply = Apply { jobs: jobs.collect(), ..Apply::default() };
    node.handle().apply(apply).await.unwrap();
    node
}

/// Waits until all that is due is done and so many jumps of the clock are counted.
async fn settled(handle: &Handle, clock: &Standing, jumps: u64) {
    loop {
        let status = handle.status().await.unwrap();
        let done = status.next_due.is_none_or(|due| due > clock.now());
        assert!(status.clock_jumps <= jumps, "{status:?}");
        if done && status.clock_jumps == jumps {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// When a job's runs were due, in seconds before now, the latest first.
async fn fired(handle: &Handle, clock: &Standing, job: &str) -> Vec<i64> {
    let query = RunQuery { job: Some(job.parse().unwrap()), limit: 1_000, ..RunQuery::default() };
    let runs = handle.runs(query).await.unwrap();
    runs.iter().map(|run| (clock.now().millis() - run.scheduled_at.millis()) / 1_000).collect()
}

#[tokio::test]
async fn after_a_jump_back_nothing_fires_twice() {
    const HOUR: i64 = 3_600_000;
    let clock = Standing::new();
    let node = with_jobs(&clock).await;
    let handle = node.handle();
    for _ in 0..3 {
        clock.add(&handle, 1_000);
        settled(&handle, &clock, 0).await;
    }
    assert_eq!(fired(&handle, &clock, "latest").await, [0, 1, 2]);
    clock.add(&handle, -HOUR);
    settled(&handle, &clock, 1).await;
    for _ in 0..3 {
        clock.add(&handle, 1_000);
        settled(&handle, &clock, 1).await;
    }
    clock.add(&handle, HOUR - 3_000);
    settled(&handle, &clock, 2).await;
    for job in ["latest", "skip", "all"] {
        assert_eq!(fired(&handle, &clock, job).await, [0, 1, 2], "{job}: each second once");
    }
    clock.add(&handle, 1_000);
    settled(&handle, &clock, 2).await;
    assert_eq!(fired(&handle, &clock, "skip").await, [0, 1, 2, 3]);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn after_a_jump_forward_by_a_year_missed_firings_follow_their_policy() {
    const YEAR: i64 = 365 * 86_400_000;
    let clock = Standing::new();
    let node = with_jobs(&clock).await;
    let handle = node.handle();
    clock.add(&handle, YEAR);
    settled(&handle, &clock, 1).await;
    // What is not yet late is fired as ever: the last ten seconds and the moment itself.
    let on_time: Vec<i64> = (0..=10).collect();
    let fired_after_jump = fired(&handle, &clock, "skip").await;
    assert_eq!(fired_after_jump, on_time, "no missed one");
    let fired_after_jump = fired(&handle, &clock, "latest").await;
    assert_eq!(fired_after_jump, (0..=11).collect::<Vec<_>>(), "the latest missed one");
    let all = fired(&handle, &clock, "all").await;
    assert_eq!(all, (0..1_000).collect::<Vec<_>>(), "a part of the day's, as many as are asked");
    let skipped = handle.get("skip".parse().unwrap()).await.unwrap().state.missed.unwrap();
    assert_eq!(clock.now().since(skipped.last), Duration::from_secs(11));
    clock.add(&handle, 1_000);
    settled(&handle, &clock, 1).await;
    assert_eq!(fired(&handle, &clock, "skip").await.len(), on_time.len() + 1, "and on it goes");
    node.stop().await.unwrap();
}

/// The serials of a job's runs, the latest first.
async fn serials(handle: &Handle, query: &RunQuery) -> Vec<Serial> {
    handle.runs(query.clone()).await.unwrap().iter().map(|run| run.serial).collect()
}

#[tokio::test]
async fn runs_of_a_job_are_found_by_its_name_open_or_ended_and_of_all_that_had_the_name() {
    let node = Node::start(prepared()).unwrap();
    let handle = node.handle();
    let mut expected = Vec::new();
    for target in ["client:a", "all"] {
        // The first has nobody to go to, so that its runs end at once.
        let rule = Rule::now();
        let mut spec = JobSpec::new(
            "rare".parse().unwrap(),
            target.parse().unwrap(),
            "noop".parse().unwrap(),
            rule,
        );
        spec.overlap = fleetcron::Overlap::Allow;
        let apply = Apply { jobs: vec![spec], ..Apply::default() };
        handle.apply(apply).await.unwrap();
        for _ in 0..3 {
            handle.trigger("rare".parse().unwrap()).await.unwrap();
            handle
                .submit(Submission::new("all".parse().unwrap(), "noop".parse().unwrap()))
                .await
                .unwrap();
        }
        let query = RunQuery { limit: 1_000, ..RunQuery::default() };
        let rare = |run: &Run| run.job.as_ref().is_some_and(|job| job.as_str() == "rare");
        let all = handle.runs(query).await.unwrap();
        expected = all.into_iter().filter(rare).map(|run| run.serial).collect();
        if target == "client:a" {
            assert_eq!(expected.len(), 4);
            handle.remove("rare".parse().unwrap()).await.unwrap();
            handle
                .add_client(NewClient { id: "b".parse().unwrap(), groups: [].into(), token: None })
                .await
                .unwrap();
        }
    }
    assert_eq!(expected.len(), 8, "four of the job that was removed, and four that are open");
    let all = RunQuery { job: Some("rare".parse().unwrap()), limit: 1_000, ..RunQuery::default() };
    assert_eq!(serials(&handle, &all).await, expected);
    let some = RunQuery { limit: 3, before: Some(expected[2]), ..all.clone() };
    assert_eq!(serials(&handle, &some).await, expected[3..6]);
    let some = RunQuery { after: Some(expected[5]), ..all.clone() };
    assert_eq!(serials(&handle, &some).await, expected[..5]);
    let nobody = RunQuery { job: Some("nobody".parse().unwrap()), ..all };
    assert_eq!(serials(&handle, &nobody).await, []);
}

/// A new store in memory.
fn prepared() -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    fleetcron::store::prepare(&store).unwrap();
    Arc::new(store)
}
