//! The server's process: the node that is driven step by step, and the sessions of its clients.

use std::future::Future;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use fleetcron::engine::{Limits, QUEUE_BYTES, QueueFull};
use fleetcron::node::{CallError, Options, Stepped, Turn};
use fleetcron::server::Server;
use fleetcron::time::Clock;
use fleetcron::{Handle, What};
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep, sleep_until};

use super::model::Model;
use super::random::Random;
use super::world::{World, lock};

/// The machine that the server runs on.
pub(super) struct Machine {
    random: Random,
    /// Which process it is at.
    incarnation: u64,
    process: Option<Process>,
    /// How long the next pause before a start is.
    pub(super) downtime: Option<Duration>,
    /// The next commit is the process's last deed; whether its clients find out at once.
    last_deed: Option<bool>,
    /// The process has ended.
    ended: Arc<Notify>,
}

struct Process {
    node: Stepped,
    handle: Handle,
    server: Server,
    /// When the commit that is under way is made.
    write_at: Option<Instant>,
}

/// Wakes the task that drives the node.
struct Bell(Arc<Notify>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl Machine {
    pub(super) fn new(random: Random) -> Self {
        Self {
            random,
            incarnation: 0,
            process: None,
            downtime: None,
            last_deed: None,
            ended: Arc::default(),
        }
    }
}

/// Turns in a row without a wait, at most.
const MOST_TURNS: usize = 10_000;

/// What one turn of the driving task comes to.
enum Step {
    /// The process has ended.
    Gone,
    Again,
    Wait {
        until: Instant,
        commit: bool,
    },
}

impl World {
    /// The server that listens now.
    pub(super) fn listener(&self) -> Option<(Server, u64)> {
        let machine = lock(&self.machine);
        machine.process.as_ref().map(|process| (process.server.clone(), machine.incarnation))
    }

    pub(super) fn is_server_up(&self) -> bool {
        lock(&self.machine).process.is_some()
    }

    /// Starts the server whenever it is down, after a while.
    pub(super) async fn supervise(self: Arc<Self>) {
        loop {
            let ended = Arc::clone(&lock(&self.machine).ended);
            if self.is_server_up() {
                ended.notified().await;
                continue;
            }
            let pause = {
                let mut machine = lock(&self.machine);
                let usual = match machine.random.below(10) {
                    0 => 20_000 + machine.random.below(60_000),
                    _ => 100 + machine.random.below(5_000),
                };
                machine.downtime.take().unwrap_or(Duration::from_millis(usual as u64))
            };
            sleep(pause).await;
            self.start_server();
        }
    }

    fn options(&self) -> Options {
        let mut options = Options::default();
        if self.plan.seed.is_multiple_of(2) {
            // Most jobs are read from the disk each time.
            options.jobs_at_hand = 1;
        }
        if let Some((deliveries, oldest)) = self.plan.queue {
            let full = if oldest { QueueFull::DropOldest } else { QueueFull::RefuseNewest };
            options.limits =
                Limits::default().with_queue(deliveries, QUEUE_BYTES, full).expect("valid limits");
        }
        options
    }

    pub(super) fn start_server(self: &Arc<Self>) {
        let mut machine = lock(&self.machine);
        machine.incarnation += 1;
        let incarnation = machine.incarnation;
        let bell = Arc::new(Notify::new());
        let waker = Waker::from(Arc::new(Bell(Arc::clone(&bell))));
        let clocks = (Arc::clone(&self.clock) as Arc<dyn Clock>, Instant::now().into_std());
        let seed = self.plan.seed.rotate_left(32) ^ incarnation;
        let started = Stepped::start(self.disk.open(), clocks, self.options(), seed, &waker);
        let (node, handle) = match started {
            Ok(started) => started,
            Err(error) => {
                drop(machine);
                self.trace(format!("the server does not start: {error}"));
                self.see("starts that failed");
                return;
            }
        };
        let server = Server::builder(handle.clone())
            .clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
            .start()
            .expect("a server without handlers starts");
        let mut events = handle.subscribe();
        machine.process = Some(Process { node, handle, server, write_at: None });
        drop(machine);
        let wall = self.clock.now();
        self.model(|model| {
            model.server_started(wall);
            model.check_many(&self.disk.durable);
        });
        self.trace(format!("the server starts, process {incarnation}"));
        self.see("server starts");
        self.spawn(Arc::clone(self).drive(incarnation, bell));
        let world = Arc::clone(self);
        self.spawn(async move {
            loop {
                match events.recv().await {
                    Ok(event) => world.happened(event.at, &event.what),
                    Err(RecvError::Lagged(_)) => world.see("events that were missed"),
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    /// The server tells of something that happened.
    fn happened(&self, at: fleetcron::Timestamp, what: &What) {
        match what {
            What::RunStarted { serial, job, cause, .. } => {
                self.trace(format!("run {serial} of {job:?} starts: {cause}"));
                let durable = &self.disk.durable;
                self.model(|model| model.run_started(*serial, job.as_ref(), at, durable));
            }
            What::DeliveryEnded { response, .. } => {
                self.see("deliveries");
                let (serial, client, outcome) =
                    (response.serial, &response.client, &response.outcome);
                let why = outcome.reason.as_deref().unwrap_or_default();
                self.trace(format!("{serial} of {client} ends: {} {why}", outcome.state));
            }
            What::AttemptEnded { response, .. } => {
                self.see("retries");
                let (serial, client, state) =
                    (response.serial, &response.client, response.outcome.state);
                self.trace(format!(
                    "{serial} of {client}: attempt {} ends: {state}",
                    response.attempt
                ));
            }
            What::Missed { job, missed } => {
                self.see("rows of missed firings");
                self.trace(format!("{job} missed {} to {}", missed.first, missed.last));
            }
            _ => {}
        }
    }

    /// Takes the node's turns and makes its commits.
    async fn drive(self: Arc<Self>, incarnation: u64, bell: Arc<Notify>) {
        let mut turns = 0;
        loop {
            match self.step(incarnation) {
                Step::Gone => return,
                Step::Again => turns += 1,
                Step::Wait { until, commit } => {
                    turns = 0;
                    tokio::select! {
                        biased;
                        () = bell.notified() => {}
                        () = sleep_until(until) => if commit {
                            self.commit(incarnation);
                        }
                    }
                }
            }
            if turns > MOST_TURNS {
                return self.violate(format!("the node takes {turns} turns in a row"));
            }
        }
    }

    fn step(self: &Arc<Self>, incarnation: u64) -> Step {
        let now = Instant::now();
        let mut machine = lock(&self.machine);
        if machine.incarnation != incarnation {
            return Step::Gone;
        }
        let Some(process) = machine.process.as_mut() else { return Step::Gone };
        match process.node.turn(now.into_std()) {
            Ok(Turn::Again) => Step::Again,
            Ok(Turn::Wait(wait)) if process.node.is_committing() => {
                let at = *process.write_at.get_or_insert_with(|| now + self.disk.latency());
                let wait = now + wait.max(Duration::from_millis(1));
                Step::Wait { until: at.min(wait), commit: at <= wait }
            }
            Ok(Turn::Wait(wait)) => {
                Step::Wait { until: now + wait.max(Duration::from_millis(1)), commit: false }
            }
            Ok(Turn::Ended) => {
                drop(machine);
                self.trace("the server has stopped");
                self.end_server(true);
                Step::Gone
            }
            Err(error) => {
                drop(machine);
                self.trace(format!("the node has ended: {error}"));
                self.see("nodes that a commit ended");
                self.end_server(true);
                Step::Gone
            }
        }
    }

    fn commit(self: &Arc<Self>, incarnation: u64) {
        let mut machine = lock(&self.machine);
        if machine.incarnation != incarnation {
            return;
        }
        let Some(process) = machine.process.as_mut() else { return };
        process.write_at = None;
        process.node.commit();
        let last_deed = machine.last_deed.take();
        drop(machine);
        self.see("commits");
        if let Some(told) = last_deed {
            self.trace("the server crashes after a commit, before anybody is told of it");
            self.see("crashes between commit and effects");
            return self.end_server(told);
        }
        if self.disk.is_dead() {
            self.trace("the machine died while it wrote");
            self.end_server(false);
        }
    }

    /// The server's process ends, and everything that it had not committed is gone. With `told`,
    /// its clients find out at once.
    pub(super) fn end_server(self: &Arc<Self>, told: bool) {
        let mut machine = lock(&self.machine);
        let Some(process) = machine.process.take() else { return };
        machine.last_deed = None;
        let (incarnation, ended) = (machine.incarnation, Arc::clone(&machine.ended));
        drop(machine);
        drop(process);
        for link in self.network.links() {
            if link.incarnation == incarnation {
                link.server_died(told);
            }
        }
        self.model(Model::server_ended);
        ended.notify_one();
    }

    /// Kills the server: at once, within the commit that is under way, or when the next one is
    /// durable and nobody has been told.
    pub(super) fn crash_server(self: &Arc<Self>, told: bool) {
        let mut machine = lock(&self.machine);
        if machine.random.chance(40) {
            machine.last_deed = Some(told);
            return;
        }
        let durable = machine.random.below(4);
        let Some(process) = machine.process.as_mut() else { return };
        if process.node.is_committing() && durable > 0 {
            // A part of what was decided is on the disk, and nobody has been told of it.
            self.disk.dies_after(durable - 1);
            process.node.commit();
            self.disk.heal_death();
            self.see("crashes within a commit");
        }
        drop(machine);
        self.end_server(told);
    }

    /// Stops the server in order.
    pub(super) fn stop_server(self: &Arc<Self>) {
        let Some((server, incarnation)) = self.listener() else { return };
        let world = Arc::clone(self);
        self.spawn(async move {
            server.shutdown().await;
            let mut machine = lock(&world.machine);
            if machine.incarnation == incarnation
                && let Some(process) = machine.process.as_mut()
            {
                process.node.stop();
                process.wake();
            }
        });
    }

    /// Asks the server that runs now.
    pub(super) async fn ask<T, F>(&self, call: impl FnOnce(Handle) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let handle = lock(&self.machine).process.as_ref().map(|process| process.handle.clone());
        match handle {
            Some(handle) => call(handle).await,
            None => Err(CallError::Stopped),
        }
    }
}

impl Process {
    fn wake(&self) {
        self.handle.wake();
    }
}
