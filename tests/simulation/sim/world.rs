//! What all parts of a simulation share: time, trace, and the first thing that went wrong.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleetcron::Timestamp;
use fleetcron::time::Clock;
use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Report;
use super::clients::Clients;
use super::disk::ServerDisk;
use super::model::Model;
use super::network::Network;
use super::plan::Plan;
use super::random::Random;
use super::server::Machine;
use super::tally::Tally;

/// When every simulation begins, by the wall clock.
pub(super) const BEGIN: i64 = 1_800_000_000_000;

/// Locks; a panic elsewhere is told by itself.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) clock: Arc<WallClock>,
    pub(super) disk: ServerDisk,
    pub(super) model: Mutex<Model>,
    pub(super) machine: Mutex<Machine>,
    pub(super) network: Network,
    pub(super) clients: Clients,
    trace: Mutex<Vec<String>>,
    tally: Mutex<Tally>,
    violation: Mutex<Option<String>>,
    /// Something has gone wrong: there is no use in going on.
    pub(super) failed: Notify,
}

impl World {
    pub(super) fn new(plan: Plan) -> Arc<Self> {
        let clock = Arc::new(WallClock { begun: Instant::now(), offset: AtomicI64::new(0) });
        Arc::new(Self {
            disk: ServerDisk::new(Random(plan.seed ^ 0xd15c)),
            model: Mutex::new(Model::new(&plan)),
            machine: Mutex::new(Machine::new(Random(plan.seed ^ 0x5e44))),
            network: Network::new(Random(plan.seed ^ 0x4e7)),
            clients: Clients::new(&plan),
            clock,
            plan,
            trace: Mutex::default(),
            tally: Mutex::default(),
            violation: Mutex::default(),
            failed: Notify::new(),
        })
    }

    /// Notes what happens.
    pub(super) fn trace(&self, text: impl AsRef<str>) {
        let at = self.clock.elapsed();
        let text = text.as_ref();
        lock(&self.trace).push(format!("{:>10.3} {text}", at.as_secs_f64()));
    }

    /// Notes something done to the fleet.
    pub(super) fn fault(&self, what: &'static str, of: impl AsRef<str>) {
        lock(&self.tally).fault(what);
        self.trace(format!("! {what} {}", of.as_ref()));
    }

    pub(super) fn see(&self, what: &'static str) {
        lock(&self.tally).see(what);
    }

    /// Something is not as it must be. The first counts.
    pub(super) fn violate(&self, problem: impl Into<String>) {
        let problem = problem.into();
        self.trace(format!("VIOLATION: {problem}"));
        lock(&self.violation).get_or_insert(problem);
        self.failed.notify_one();
    }

    pub(super) fn has_failed(&self) -> bool {
        lock(&self.violation).is_some()
    }

    /// Whether the model has found something wrong, which is told then.
    pub(super) fn model<T>(&self, ask: impl FnOnce(&mut Model) -> T) -> T {
        let mut model = lock(&self.model);
        model.now = self.clock.elapsed();
        let answer = ask(&mut model);
        let wrong = std::mem::take(&mut model.wrong);
        drop(model);
        for problem in wrong {
            self.violate(problem);
        }
        answer
    }

    /// Runs something beside the story; its panic is a violation.
    pub(super) fn spawn(
        self: &Arc<Self>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::AbortHandle {
        let world = Arc::clone(self);
        let guarded = async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                world.violate(format!("a panic: {}", text.unwrap_or("without text")));
            }
        };
        tokio::spawn(guarded).abort_handle()
    }

    pub(super) fn report(&self) -> Report {
        let mut tally = lock(&self.tally).clone();
        tally.seeds = 1;
        tally.virtual_ms = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        let trace = std::mem::take(&mut *lock(&self.trace));
        let mut hasher = crc32fast::Hasher::new();
        for line in &trace {
            hasher.update(line.as_bytes());
        }
        Report {
            seed: self.plan.seed,
            violation: lock(&self.violation).clone(),
            hash: hasher.finalize(),
            trace,
            tally,
        }
    }
}

/// A wall clock that can be set.
pub(super) struct WallClock {
    begun: Instant,
    offset: AtomicI64,
}

impl WallClock {
    /// The time that nobody sets.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Sets the clock forward or back.
    pub(super) fn jump(&self, millis: i64) {
        self.offset.fetch_add(millis, Ordering::Relaxed);
    }

    pub(super) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(BEGIN + elapsed + self.offset())
    }
}
