//! The clients' processes: they start, run commands, are killed and stop.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetcron::Attempt;
use fleetcron::client::{
    Client, ClientBuilder, ClientHandle, Connector, Context, End, JournalOptions, State,
};
use fleetcron::handlers::{HandlerError, HandlerErrorKind};
use serde_json::{Value, json};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::disk::JournalDisk;
use super::model::{Execution, How};
use super::network::Cut;
use super::plan::{Plan, client_id, token};
use super::random::Random;
use super::world::{World, lock};

pub(super) struct Clients(Mutex<Vec<Machine>>);

/// A machine with a client's program and its disk.
struct Machine {
    journal: Option<JournalDisk>,
    concurrency: usize,
    /// The last process that was started.
    process: u64,
    running: Option<(AbortHandle, ClientHandle)>,
    /// Whether it is to be started again when it has ended.
    wanted: bool,
}

impl Clients {
    pub(super) fn new(plan: &Plan) -> Self {
        let machine = |(number, client): (usize, &super::plan::ClientPlan)| Machine {
            journal: client
                .journal
                .then(|| JournalDisk::new(Random(plan.seed ^ (number as u64 + 1) << 32))),
            concurrency: client.concurrency,
            process: 0,
            running: None,
            wanted: false,
        };
        Self(Mutex::new(plan.clients.iter().enumerate().map(machine).collect()))
    }

    pub(super) fn is_up(&self, client: usize) -> bool {
        lock(&self.0)[client].running.is_some()
    }

    pub(super) fn journal(&self, client: usize) -> Option<JournalDisk> {
        lock(&self.0)[client].journal.clone()
    }
}

/// What a command does, decided when it begins.
struct Work {
    takes: Duration,
    minds_cancel: bool,
    end: Result<(), HandlerErrorKind>,
}

impl Work {
    fn of(random: &mut Random) -> Self {
        let most = *random.pick(&[20, 20, 3_000, 3_000, 3_000, 20_000, 20_000, 60_000]);
        let end = match random.below(100) {
            0..75 => Ok(()),
            75..92 => Err(HandlerErrorKind::Failed),
            92..96 => Err(HandlerErrorKind::Rejected),
            _ => Err(HandlerErrorKind::TimedOut),
        };
        let takes = Duration::from_millis(random.below(most) as u64);
        Self { takes, minds_cancel: random.chance(70), end }
    }
}

/// Tells the model that a command ends, also if it is dropped.
struct Running {
    world: Arc<World>,
    execution: Execution,
    how: How,
}

impl Drop for Running {
    fn drop(&mut self) {
        let (execution, how) = (self.execution, self.how);
        if self.world.model(|model| model.ended(execution, how)) {
            self.world.trace(format!("  execution {} ends: {how:?}", execution.0));
        }
    }
}

impl World {
    /// Starts a client's program, unless it runs.
    pub(super) fn start_client(self: &Arc<Self>, client: usize) {
        let mut machines = lock(&self.clients.0);
        let machine = &mut machines[client];
        machine.wanted = true;
        if machine.running.is_some() {
            return;
        }
        machine.process += 1;
        let process = machine.process;
        let builder = self.builder(client, process, machine);
        let (handle, future) = match builder.unspawned() {
            Ok(started) => started,
            Err(error) => {
                drop(machines);
                self.trace(format!("c{client} does not start: {error}"));
                self.start_client_after(client, Duration::from_secs(3));
                return;
            }
        };
        self.model(|model| model.client_started(client, process));
        let world = Arc::clone(self);
        let task = self.spawn(async move {
            future.await;
            world.client_ended(client, process);
        });
        machine.running = Some((task, handle));
        drop(machines);
        self.trace(format!("c{client} starts, process {process}"));
    }

    pub(super) fn start_client_after(self: &Arc<Self>, client: usize, pause: Duration) {
        let world = Arc::clone(self);
        self.spawn(async move {
            sleep(pause).await;
            if lock(&world.clients.0)[client].wanted {
                world.start_client(client);
            }
        });
    }

    fn builder(self: &Arc<Self>, client: usize, process: u64, machine: &Machine) -> ClientBuilder {
        let connector = self.connector(client, process);
        let world = Arc::clone(self);
        let mut builder = Client::with_connector(connector, client_id(client))
            .token(token(client))
            .seed(self.plan.seed ^ process << 8 ^ client as u64)
            .backoff(Duration::from_millis(100), Duration::from_secs(5))
            .concurrency(machine.concurrency)
            .on("work", move |cx: Context, params: Value| {
                Arc::clone(&world).work(client, process, cx, params)
            });
        if let Some(journal) = machine.journal.clone() {
            builder = builder.journal(JournalOptions::on_medium(move || journal.open()));
        }
        builder
    }

    fn connector(self: &Arc<Self>, client: usize, process: u64) -> impl Connector + use<> {
        let world = Arc::clone(self);
        move || {
            let world = Arc::clone(&world);
            async move {
                sleep(world.network.hello_latency()).await;
                if world.network.is_apart(client) {
                    return std::future::pending().await;
                }
                let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
                let (server, incarnation) = world.listener().ok_or_else(refused)?;
                let (near, far) = world.network.link(&world, client, process, incarnation);
                world.spawn(server.serve(far, None));
                Ok(near)
            }
        }
    }

    /// Runs a command.
    async fn work(
        self: Arc<Self>,
        client: usize,
        process: u64,
        cx: Context,
        params: Value,
    ) -> Result<Value, HandlerError> {
        let number = params["n"].as_u64();
        let job = cx.job.clone();
        let attempt = Attempt { serial: cx.serial, number: cx.attempt };
        let begun =
            self.model(|model| model.begun((client, process), attempt, job.as_ref(), number));
        self.see("executions");
        let Execution(id) = begun;
        self.trace(format!(
            "  c{client} executes attempt {} of {} as execution {id}",
            cx.attempt, cx.serial
        ));
        let mut random = Random(self.plan.seed.rotate_left(17) ^ id << 20);
        let Work { takes, minds_cancel, end } = Work::of(&mut random);
        let world = Arc::clone(&self);
        let mut running = Running { world, execution: begun, how: How::Dropped };
        let cancelled = tokio::select! {
            biased;
            () = sleep(takes) => false,
            () = cx.cancel.cancelled(), if minds_cancel => true,
        };
        running.how = How::Returned(end.err());
        if cancelled {
            running.how = How::Cancelled;
            return Err(HandlerError::cancelled(format!("execution {id} was cancelled")));
        }
        match end {
            Ok(()) => Ok(json!({ "execution": id })),
            Err(kind) => {
                Err(HandlerError { kind, message: format!("execution {id} does not succeed") })
            }
        }
    }

    /// A client's program has ended by itself.
    fn client_ended(self: &Arc<Self>, client: usize, process: u64) {
        let mut machines = lock(&self.clients.0);
        let machine = &mut machines[client];
        if machine.process != process {
            return;
        }
        let handle = machine.running.take().map(|(_, handle)| handle);
        let end = handle.map(|handle| handle.state().borrow().clone());
        if let Some(journal) = &machine.journal {
            journal.process_ended();
        }
        let wanted = machine.wanted;
        drop(machines);
        self.model(|model| model.client_gone(client, process));
        self.trace(format!("c{client} has ended: {end:?}"));
        if matches!(end, Some(State::Stopped(End::Dismissed(_)))) {
            self.see("dismissed clients");
        }
        if wanted {
            self.start_client_after(client, Duration::from_secs(2));
        }
    }

    /// Kills a client's program, or takes the machine's power away.
    pub(super) fn crash_client(self: &Arc<Self>, client: usize, power: bool, told: bool) {
        let mut machines = lock(&self.clients.0);
        let machine = &mut machines[client];
        machine.wanted = false;
        let Some((task, _)) = machine.running.take() else { return };
        task.abort();
        if let Some(journal) = &machine.journal {
            if power {
                journal.power_lost();
            } else {
                journal.process_ended();
            }
        }
        let process = machine.process;
        drop(machines);
        self.model(|model| model.client_gone(client, process));
        for link in self.network.links() {
            if link.client == client && link.process == process {
                link.cut(if told { Cut::Reset } else { Cut::Black });
            }
        }
    }

    /// Stops a client in order.
    pub(super) fn stop_client(self: &Arc<Self>, client: usize) {
        let mut machines = lock(&self.clients.0);
        machines[client].wanted = false;
        let Some((_, handle)) = machines[client].running.clone() else { return };
        drop(machines);
        self.model(|model| model.client_stops(client));
        self.spawn(async move {
            handle.stop().await;
        });
    }
}
