//! What is counted is what happened, once, wherever the counting is cut short.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::client_record::Proof;
use crate::delivery_state::DeliveryState;
use crate::engine::{Apply, NewClient};
use crate::job::{JobSpec, Overlap};
use crate::run::Outcome;
use crate::store::{MemoryStore, Order, Store, key};
use crate::{Json, Node, Rule, Target};

const CLIENTS: usize = 40;

/// A node with clients that are connected, and a job for all of them.
struct World {
    store: MemoryStore,
    node: Node,
    sessions: Vec<(crate::engine::SessionId, crate::node::Outbox<crate::node::ToSession>)>,
}

impl World {
    async fn new() -> Self {
        let store = MemoryStore::new();
        let node = Node::start(Arc::new(store.clone())).unwrap();
        let handle = node.handle();
        let mut sessions = Vec::new();
        for n in 0..CLIENTS {
            let id: crate::ClientId = format!("client-{n}").parse().unwrap();
            let groups = std::collections::BTreeSet::new();
            handle.add_client(NewClient { id: id.clone(), groups, token: None }).await.unwrap();
            let (sender, receiver) = crate::node::outbox(1_000);
            let session = handle.connect(id, Proof::Vouched, Vec::new(), sender).await.unwrap();
            sessions.push((session, receiver));
        }
        let rule = Rule::at("2999-01-01T00:00:00Z".parse().unwrap());
        let mut job =
            JobSpec::new("a".parse().unwrap(), Target::All, "work".parse().unwrap(), rule);
        job.overlap = Overlap::Allow;
        handle.apply(Apply { jobs: vec![job], ..Apply::default() }).await.unwrap();
        Self { store, node, sessions }
    }

    /// Triggers the job and answers for every client: every fifth fails.
    async fn run(&mut self) {
        let handle = self.node.handle();
        let run = handle.trigger("a".parse().unwrap()).await.unwrap();
        for (n, (session, receiver)) in self.sessions.iter_mut().enumerate() {
            // It may be an acknowledgement of the run before.
            while !matches!(receiver.recv().await.unwrap(), crate::node::ToSession::Command(_)) {}
            let outcome = match n % 5 {
                0 => Outcome::ended(DeliveryState::Failed, "no"),
                _ => Outcome { ran_ms: Some(7), ..Outcome::succeeded(Json::null()) },
            };
            handle.responded(*session, run.serial.into(), outcome).await.unwrap();
        }
        let ended = handle.wait(run.serial).await.unwrap();
        assert!(ended.ended_at.is_some());
    }

    fn counting(&self) -> Counting {
        Counting::new(self.node.handle(), Pace::new(Duration::from_secs(10)))
    }

    /// The counts of the job's last hours and of one client's.
    async fn told(&self) -> (u64, u64, u64, u64) {
        let handle = self.node.handle();
        let job = handle.job_statistics("a".parse().unwrap()).await.unwrap();
        let client = handle.client_statistics("client-1".parse().unwrap()).await.unwrap();
        let hour = &job.periods.hour;
        let days: u64 = job.days.iter().map(|bar| bar.succeeded + bar.others).sum();
        assert_eq!(days, hour.deliveries);
        assert_eq!(job.periods.week.deliveries, hour.deliveries);
        let runs = hour.runs.unwrap();
        assert_eq!(runs.fired, runs.ended);
        let failed = hour.states.get(&DeliveryState::Failed).copied().unwrap_or(0);
        (runs.ended, hour.deliveries, failed, client.periods.hour.deliveries)
    }
}

fn expected(runs: u64) -> (u64, u64, u64, u64) {
    let clients = CLIENTS as u64;
    (runs, clients * runs, clients / 5 * runs, runs)
}

fn derived(store: &MemoryStore) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let range = key::all(key::DERIVED);
    let found = store.scan(&range.start..&range.end, Order::Up, usize::MAX).unwrap();
    // Not the list of ended runs.
    found.into_iter().filter(|(key, _)| key[1] > 0).collect()
}

#[tokio::test]
async fn what_is_not_counted_yet_is_told_all_the_same() {
    let mut world = World::new().await;
    let now = crate::time::Clock::now(&crate::time::SystemClock);
    assert_eq!(world.told().await, expected(0));
    world.run().await;
    assert_eq!(world.told().await, expected(1), "nothing is stored");
    assert!(derived(&world.store).is_empty());
    let before = world.node.handle().counted_before().await.unwrap();
    assert!(before < now, "its run must not be forgotten");
    world.counting().round(now).await.unwrap();
    assert_eq!(world.told().await, expected(1));
    // One of the job, three of its clients' pages; hour and day.
    assert_eq!(derived(&world.store).len(), 8);
    assert_eq!(world.node.handle().counted_before().await.unwrap(), Timestamp::MAX);
    let stored = derived(&world.store);
    world.counting().round(now).await.unwrap();
    assert_eq!(derived(&world.store), stored, "nothing is counted twice");
    world.run().await;
    assert_eq!(world.told().await, expected(2));
    world.counting().round(now).await.unwrap();
    assert_eq!(world.told().await, expected(2));
    world.node.stop().await.unwrap();
}

#[tokio::test]
async fn a_count_that_is_cut_short_goes_on_and_counts_nothing_twice() {
    for written in 0..=8 {
        let mut world = World::new().await;
        world.run().await;
        world.run().await;
        let handle = world.node.handle();
        let Uncounted { counted, delta } = handle.uncounted(0).await.unwrap();
        let begun = Counted { until: delta.until, ..counted };
        let records: Vec<_> = delta.records.into_iter().collect();
        assert_eq!(records.len(), 8);
        for record in &records[..written] {
            handle.put_statistics(vec![record.clone()], begun).await.unwrap();
            assert_eq!(world.told().await, expected(2), "between two steps");
        }
        // More happens before it goes on.
        world.run().await;
        assert_eq!(world.told().await, expected(3));
        let now = crate::time::Clock::now(&crate::time::SystemClock);
        world.counting().round(now).await.unwrap();
        assert_eq!(world.told().await, expected(3), "after {written} steps");
        assert_eq!(handle.counted_before().await.unwrap(), Timestamp::MAX);
        world.node.stop().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_forgotten_stays_counted_and_old_hours_go() {
    let mut world = World::new().await;
    world.run().await;
    world.run().await;
    let now = crate::time::Clock::now(&crate::time::SystemClock);
    world.counting().round(now).await.unwrap();
    let handle = world.node.handle();
    let runs = handle.runs(crate::history::RunQuery::default()).await.unwrap();
    handle.forget(runs.iter().map(|run| run.serial).collect()).await.unwrap();
    let left = handle.runs(crate::history::RunQuery::default()).await.unwrap();
    assert_eq!(left, runs[..1], "the latest of all stays");
    assert_eq!(world.told().await, expected(2));
    let day = Duration::from_secs(86_400);
    world.counting().round(now.plus(day * 7)).await.unwrap();
    assert_eq!(derived(&world.store).len(), 8);
    world.counting().round(now.plus(day * 10)).await.unwrap();
    assert_eq!(derived(&world.store).len(), 4, "the days are left");
    world.counting().round(now.plus(day * (DAYS_KEPT + 2))).await.unwrap();
    assert_eq!(derived(&world.store).len(), 0);
    world.node.stop().await.unwrap();
}
