//! What happens: a row of steps, each a wish or a fault, then the end of all faults, and rest.

use std::sync::Arc;
use std::time::Duration;

use fleetcron::engine::{Apply, NewClient};
use fleetcron::node::CallError;
use fleetcron::{RequestError, Serial, TokenHash};
use tokio::time::{sleep, timeout};

use super::model::Model;
use super::network::{Cut, Side};
use super::plan::{self, HALF, Terms, client_id, job_name};
use super::random::Random;
use super::world::World;

/// How long rest may take to come.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// How long a caller waits before he asks again.
const ASK_AGAIN: Duration = Duration::from_millis(700);

struct Story {
    world: Arc<World>,
    random: Random,
    submissions: u64,
    /// How far forward the clock was at most.
    ahead: i64,
}

/// Tells a world's story to its end.
pub(super) async fn tell(world: &Arc<World>) {
    let random = Random(world.plan.seed ^ 0x5704);
    let mut story = Story { world: Arc::clone(world), random, submissions: 0, ahead: 0 };
    world.start_server();
    world.spawn(Arc::clone(world).supervise());
    let telling = async {
        story.begin().await;
        for _ in 0..world.plan.steps {
            story.step().await;
        }
        story.settle().await;
    };
    tokio::select! {
        biased;
        () = world.failed.notified() => {}
        () = telling => {}
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Story {
    /// Asks until the server answers. What it refuses is refused.
    async fn insist<T, F>(&self, call: impl Fn(fleetcron::Handle) -> F) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        loop {
            match self.world.ask(&call).await {
                Ok(answer) => return Ok(answer),
                Err(CallError::Refused(error)) => return Err(error),
                Err(CallError::Stopped) => sleep(ASK_AGAIN).await,
                Err(error) => {
                    self.world.violate(format!("a call fails: {error}"));
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    async fn begin(&mut self) {
        let clients = self.world.plan.clients.len();
        for client in 0..clients {
            let half = client.is_multiple_of(2).then(|| HALF.parse().expect("a name"));
            let new = NewClient {
                id: client_id(client),
                groups: half.into_iter().collect(),
                token: Some(TokenHash::of(&plan::token(client))),
            };
            let added = self.insist(|handle| {
                let new = new.clone();
                async move { handle.add_client(new).await }
            });
            if let Err(error) = added.await {
                self.world.violate(format!("c{client} is not added: {error}"));
            }
            self.world.start_client(client);
        }
        let apply = Apply { jobs: self.world.plan.jobs.clone(), ..Apply::default() };
        let applied = self.insist(|handle| {
            let apply = apply.clone();
            async move { handle.apply(apply).await }
        });
        if let Err(error) = applied.await {
            self.world.violate(format!("the jobs are refused: {error}"));
        }
    }

    async fn step(&mut self) {
        let pause = self.random.below(self.world.plan.pause_ms.max(1));
        sleep(Duration::from_millis(pause as u64)).await;
        let faults = &self.world.plan.faults;
        let weights = [
            faults.wishes,
            faults.network,
            faults.server,
            faults.disk,
            faults.clients,
            faults.journals,
            faults.clock,
        ];
        let mut place = self.random.below(weights.iter().sum());
        let kind = weights.iter().position(|weight| {
            let here = place < *weight;
            place = place.saturating_sub(*weight);
            here
        });
        match kind {
            Some(1) => self.disturb_network(),
            Some(2) => self.disturb_server(),
            Some(3) => self.disturb_disk(),
            Some(4) => self.disturb_client(),
            Some(5) => self.disturb_journal(),
            Some(6) => self.disturb_clock(),
            _ => self.wish(),
        }
    }

    fn some_client(&mut self) -> usize {
        self.random.below(self.world.plan.clients.len())
    }

    fn some_time(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.random.next() % (most * 1_000))
    }

    fn wish(&mut self) {
        if self.world.plan.many && self.random.chance(10) {
            return self.apply_many();
        }
        match self.random.below(20) {
            0..12 => self.submit(),
            12..14 => self.trigger(),
            14..18 => self.cancel(),
            _ => self.pause(),
        }
    }

    fn submit(&mut self) {
        let number = self.submissions;
        self.submissions += 1;
        let clients = self.world.plan.clients.len();
        let submission = plan::submission(&mut self.random, clients, number);
        let world = Arc::clone(&self.world);
        world.model(|model| model.submits(number, Terms::of_submission(&submission)));
        world.trace(format!("submits {number} to {}", submission.target));
        world.see("submissions");
        let spawned = Arc::clone(&world);
        world.spawn(async move {
            let world = spawned;
            loop {
                let again = submission.clone();
                let answer = world.ask(|handle| async move { handle.submit_once(again).await });
                match answer.await {
                    Ok(submitted) => {
                        let serial = submitted.run.serial;
                        let durable = &world.disk.durable;
                        world.model(|model| model.submitted(number, serial, durable));
                        world.trace(format!("submission {number} is {serial}"));
                        return;
                    }
                    Err(CallError::Stopped) => sleep(ASK_AGAIN).await,
                    Err(error) => {
                        return world.violate(format!("submission {number}: {error}"));
                    }
                }
            }
        });
    }

    /// Many jobs at once, which the disk may not see through.
    fn apply_many(&mut self) {
        self.world.trace("applies many jobs");
        self.world.see("large applies");
        self.world.model(Model::applies_many);
        if self.random.chance(60) {
            let batches = self.random.below(8);
            self.world.fault("machine dies while it writes", format!("after {batches}"));
            self.world.disk.dies_after(batches);
        }
        let world = Arc::clone(&self.world);
        self.world.spawn(async move {
            let apply = Apply { jobs: plan::many_jobs(), ..Apply::default() };
            let applied = world.ask(|handle| async move { handle.apply(apply).await });
            if applied.await.is_ok() {
                world.model(Model::applied_many);
            }
        });
    }

    fn trigger(&mut self) {
        if self.world.plan.jobs.is_empty() {
            return self.submit();
        }
        let job = job_name(self.random.below(self.world.plan.jobs.len()));
        self.world.trace(format!("triggers {job}"));
        let world = Arc::clone(&self.world);
        self.world.spawn(async move {
            // Whether it was answered or not, what it has started is seen.
            let _ = world.ask(|handle| async move { handle.trigger(job).await }).await;
        });
    }

    fn cancel(&mut self) {
        let known: Vec<Serial> = self.world.model(|model| model.known_runs());
        if known.is_empty() {
            return self.submit();
        }
        // Mostly one of the latest.
        let back = self.random.below(known.len().min(6));
        let serial = known[known.len() - 1 - back];
        let one = self.random.chance(40).then(|| self.some_client());
        self.world.trace(format!("cancels {serial} of {one:?}"));
        let place = self.world.model(|model| model.cancels(serial, one));
        let world = Arc::clone(&self.world);
        self.world.spawn(async move {
            let cancelled = world.ask(|handle| async move {
                match one {
                    None => handle.cancel(serial).await,
                    Some(client) => handle.cancel_delivery(serial, client_id(client)).await,
                }
            });
            if cancelled.await.is_ok() {
                world.see("cancellations");
                world.trace(format!("{serial} of {one:?} is cancelled"));
                world.model(|model| model.cancelled(place));
            }
        });
    }

    fn pause(&mut self) {
        if self.world.plan.jobs.is_empty() {
            return self.submit();
        }
        let job = job_name(self.random.below(self.world.plan.jobs.len()));
        let time = self.some_time(30);
        self.world.trace(format!("pauses {job} for {time:?}"));
        self.world.model(|model| model.job_paused(&job));
        let world = Arc::clone(&self.world);
        self.world.spawn(async move {
            let paused = job.clone();
            let _ = world.ask(|handle| async move { handle.pause(paused).await }).await;
            sleep(time).await;
            let _ = world.ask(|handle| async move { handle.resume(job).await }).await;
        });
    }

    fn disturb_network(&mut self) {
        let links = self.world.network.links();
        if links.is_empty() {
            return self.wish();
        }
        let link = Arc::clone(&links[self.random.below(links.len())]);
        let (what, cut) = match self.random.below(8) {
            0..2 => ("connections reset", Cut::Reset),
            2 => ("connections closed with bytes under way", Cut::Late(self.some_time(40))),
            3..5 => ("connections half open", Cut::Black),
            5 => ("one direction lost", Cut::OneWay(Side::Client)),
            6 => ("one direction lost", Cut::OneWay(Side::Server)),
            _ => ("connections stalled", Cut::Stall(self.some_time(40))),
        };
        self.world.fault(what, format!("#{} {cut:?}", link.number));
        link.cut(cut);
        if self.random.chance(25) {
            let time = self.some_time(60);
            self.world.fault("clients cut off", format!("c{} for {time:?}", link.client));
            self.world.network.part(link.client, time);
        }
    }

    fn disturb_server(&mut self) {
        let told = self.random.chance(60);
        match self.random.below(10) {
            0..6 => {
                self.world.fault("server crashes", format!("told: {told}"));
                self.world.crash_server(told);
            }
            6..9 => {
                let batches = self.random.below(6);
                self.world.fault("machine dies while it writes", format!("after {batches}"));
                self.world.disk.dies_after(batches);
            }
            _ => {
                self.world.fault("server stops", "");
                self.world.stop_server();
            }
        }
    }

    fn disturb_disk(&mut self) {
        let time = self.some_time(20);
        let world = Arc::clone(&self.world);
        match self.random.below(3) {
            0 => {
                let batches = self.random.below(4);
                self.world.fault("failing commits", format!("after {batches} batches"));
                self.world.disk.fails_after(batches);
            }
            1 => {
                self.world.fault("disk full", format!("for {time:?}"));
                self.world.disk.set_full(true);
                self.world.spawn(async move {
                    sleep(time).await;
                    world.disk.set_full(false);
                });
            }
            _ => {
                let slow = Duration::from_millis(50 + self.random.next() % 3_000);
                self.world.fault("slow disk", format!("{slow:?} for {time:?}"));
                self.world.disk.slow_down(slow);
                self.world.spawn(async move {
                    sleep(time).await;
                    world.disk.slow_down(Duration::ZERO);
                });
            }
        }
    }

    fn disturb_client(&mut self) {
        let client = self.some_client();
        if !self.world.clients.is_up(client) {
            return self.world.start_client(client);
        }
        match self.random.below(8) {
            0 => {
                self.world.fault("client stops", format!("c{client}"));
                self.world.stop_client(client);
            }
            1..4 => {
                self.world.fault("client machine loses power", format!("c{client}"));
                self.world.crash_client(client, true, self.random.chance(30));
            }
            _ => {
                self.world.fault("client crashes", format!("c{client}"));
                self.world.crash_client(client, false, self.random.chance(80));
            }
        }
        let away = match self.random.below(10) {
            0..6 => self.some_time(3),
            6..9 => self.some_time(40),
            // Until something else starts it.
            _ => return,
        };
        let world = Arc::clone(&self.world);
        self.world.spawn(async move {
            sleep(away).await;
            world.start_client(client);
        });
    }

    fn disturb_journal(&mut self) {
        let client = self.some_client();
        let Some(journal) = self.world.clients.journal(client) else { return self.wish() };
        let time = self.some_time(20);
        self.world.fault("client disk full", format!("c{client} for {time:?}"));
        journal.set_full(true);
        self.world.spawn(async move {
            sleep(time).await;
            journal.set_full(false);
        });
    }

    fn disturb_clock(&mut self) {
        let jump = match self.random.below(4) {
            0 => self.random.between(-8_000, 8_000),
            1 => self.random.between(-300_000, -10_000),
            _ => self.random.between(10_000, 300_000),
        };
        self.world.fault("clock set", format!("by {jump} ms"));
        self.world.clock.jump(jump);
        self.ahead = self.ahead.max(self.world.clock.offset());
    }

    /// No more faults: everything comes to its end.
    async fn settle(&mut self) {
        self.world.trace("no more faults");
        self.world.disk.heal();
        self.world.network.heal();
        self.world.clock.jump(self.ahead - self.world.clock.offset());
        let clients = self.world.plan.clients.len();
        let late = self.world.plan.late;
        for client in 0..clients {
            if let Some(journal) = self.world.clients.journal(client) {
                journal.set_full(false);
            }
            if late == Some(client) {
                self.world.crash_client(client, false, true);
            } else {
                self.world.start_client(client);
            }
        }
        if timeout(PATIENCE, self.rest(late)).await.is_err() {
            let open = self.world.ask(|handle| async move { handle.status().await }).await;
            let unacknowledged = self.world.model(|model| model.unacknowledged());
            self.world.violate(format!("it does not come to rest: {open:?}, {unacknowledged:?}"));
        }
        if self.world.has_failed() {
            return;
        }
        let durable = &self.world.disk.durable;
        self.world.model(|model| {
            model.at_rest(durable);
            model.check_many(durable);
            model.check_firings(durable);
        });
        let store: Arc<dyn fleetcron::store::Store> = Arc::new(durable.clone());
        match fleetcron::store::check::check(store) {
            Ok(report) if report.sound => {}
            Ok(report) => self.world.violate(format!("not sound: {:?}", report.faults)),
            Err(error) => self.world.violate(format!("the store cannot be checked: {error}")),
        }
    }

    async fn rest(&self, late: Option<usize>) {
        let jobs: Vec<_> = (0..self.world.plan.jobs.len()).map(job_name).collect();
        for job in &jobs {
            // One that is not paused is refused.
            let resumed = self.insist(|handle| {
                let job = job.clone();
                async move { handle.resume(job).await }
            });
            let _ = resumed.await;
        }
        sleep(seconds(45)).await;
        if let Some(client) = late {
            sleep(seconds(75)).await;
            let durable = &self.world.disk.durable;
            if self.world.is_server_up() {
                self.world.model(|model| model.check_expired(client, durable));
            }
            self.world.start_client(client);
            sleep(seconds(20)).await;
        }
        for job in &jobs {
            let paused = self.insist(|handle| {
                let job = job.clone();
                async move { handle.pause(job).await }
            });
            if let Err(error) = paused.await {
                self.world.violate(format!("{job} is not paused: {error}"));
            }
        }
        loop {
            let status = self.world.ask(|handle| async move { handle.status().await }).await;
            let open = status.map_or(1, |status| status.deliveries_open);
            if open == 0 && self.world.model(|model| model.unacknowledged()).is_none() {
                return;
            }
            sleep(seconds(5)).await;
        }
    }
}
