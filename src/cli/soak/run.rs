//! The course of a soak: all is started, faults come, all is left to come to its end, and judged.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::super::error::CliError;
use super::super::signals::Signals;
use super::args::SoakArgs;
use super::book::Book;
use super::marks::Mark;
use super::plan::{Plan, client_name};
use super::sample::{Sample, Sampler};
use super::screen::Screen;
use super::watch::{Seen, Sight, Watcher};
use super::world::World;
use super::{clients, faults, submit};
use crate::api::message::ClientRequest;
use crate::engine::Apply;
use crate::pause::{JobSelection, PauseTerms};
use crate::remote::Remote;
use crate::time::{Clock as _, SystemClock, Timestamp};

/// How long clients may take to connect, and what is open to end, when no fault is injected.
const SETTLE: Duration = Duration::from_secs(180);

/// The pause between two looks at how the server stands.
const LOOK: Duration = Duration::from_millis(200);

/// How long an answer may take when no fault is injected.
const ANSWER: Duration = Duration::from_secs(30);

/// Clients that are defined at the same time.
const AT_ONCE: usize = 32;

/// Samples of a whole soak, about.
const SAMPLES: u32 = 600;

/// The shortest time between two samples.
const LEAST_EVERY: Duration = Duration::from_secs(1);

/// What was run, and what came of it.
pub(super) struct Ran {
    pub(super) seed: u64,
    /// When the jobs were there and the first sample's time began.
    pub(super) started: Timestamp,
    pub(super) length: Duration,
    pub(super) ended_early: bool,
    pub(super) book: Book,
    pub(super) seen: Seen,
    pub(super) samples: Vec<Sample>,
    pub(super) marks: Vec<Mark>,
    pub(super) store_sound: bool,
    /// What did not come to its end, if anything.
    pub(super) open: Option<String>,
}

/// A soak under way.
struct Soak<'a> {
    args: Arc<SoakArgs>,
    world: Arc<World>,
    sampler: Sampler,
    screen: Screen,
    signals: &'a mut Signals,
}

/// Runs a soak in an empty directory.
pub(super) async fn run(
    args: &SoakArgs,
    data: &Path,
    signals: &mut Signals,
) -> Result<Ran, CliError> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let now = SystemClock.now();
    let plan = Arc::new(Plan::new(args, now).map_err(CliError::Server)?);
    let world = Arc::new(World::new(args, data.to_owned(), plan).await?);
    let sight = Sight::default();
    let mut soak = Soak {
        args: Arc::new(args.clone()),
        sampler: Sampler::new(Arc::clone(&world), sight.clone()),
        screen: Screen::new(args.duration, args.clients, sight.clone()),
        world,
        signals,
    };
    let (clients, jobs, faults) = (args.clients, args.jobs, &args.faults);
    soak.screen.say(&format!(
        "soak: {clients} clients, {jobs} jobs, faults {faults}, seed {seed}, in {}",
        data.display()
    ));
    let ended = soak.course(seed, &sight).await;
    soak.screen.finish();
    if ended.is_err() {
        soak.world.kill_all().await;
    }
    ended
}

impl Soak<'_> {
    /// The whole course, from the start of the server to its end.
    async fn course(&mut self, seed: u64, sight: &Sight) -> Result<Ran, CliError> {
        let begin = self.begin().await?;
        self.sampler = Sampler::new(Arc::clone(&self.world), sight.clone());
        self.screen.begin();
        let started = SystemClock.now();
        let watching = CancellationToken::new();
        let watcher = Watcher::new(Arc::clone(&self.world), sight.clone(), begin);
        let mut watcher = tokio::spawn(watcher.watch(watching.clone()));
        let ended_early = self.act(seed, &started.millis().to_string(), &mut watcher).await?;
        let length = self.sampler.elapsed();
        let (open, end) = self.come_to_an_end().await?;
        watching.cancel();
        let mut watcher = watcher.await.map_err(CliError::server)??;
        watcher.finish(end).await?;
        self.world.stop_crew().await?;
        self.world.stop_server().await?;
        Ok(Ran {
            seed,
            started,
            length,
            ended_early,
            book: watcher.judge()?,
            store_sound: store_is_sound(&self.world.store()).await?,
            seen: std::mem::take(&mut *sight.lock()),
            samples: std::mem::take(&mut self.sampler.samples),
            marks: self.world.marks.after(0),
            open,
        })
    }

    /// Starts all that runs and defines what it does; gives the moment from which all of it is
    /// there, by the server's clock.
    async fn begin(&mut self) -> Result<i64, CliError> {
        let world = &self.world;
        world.start_server().await?;
        let remote = world.remote().await?;
        let tokens = clients::make_tokens(&world.data, self.args.clients)?;
        let defined = stream::iter((0..).zip(tokens)).map(|(number, token)| {
            let (id, group) = (client_name(number).parse(), world.plan.group_of(number).parse());
            let remote = &remote;
            async move {
                let id = id.map_err(CliError::server)?;
                let groups = [group.map_err(CliError::server)?].into();
                let client = ClientRequest { id, groups, token: Some(token) };
                remote.add_client(client).await.map(drop).map_err(CliError::from)
            }
        });
        defined.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        world.start_crew().await?;
        let all = u64::from(self.args.clients);
        if let Some(problem) = self.stands(|connected, _| connected == all).await? {
            return Err(CliError::Server(problem));
        }
        let jobs = self.world.plan.jobs.iter().map(|job| job.spec.clone()).collect();
        remote.apply(Apply { jobs, ..Apply::default() }).await?;
        Ok(SystemClock.now().millis() + 1)
    }

    /// Lets faults come until the time is up or somebody ends it; `true`: somebody did. What was
    /// injected has ended then, and every submit was acknowledged.
    async fn act(
        &mut self,
        seed: u64,
        soak: &str,
        watcher: &mut tokio::task::JoinHandle<Result<Watcher, CliError>>,
    ) -> Result<bool, CliError> {
        let stop = CancellationToken::new();
        let mut acts = JoinSet::new();
        for kind in &self.args.faults.0 {
            let (world, args) = (Arc::clone(&self.world), Arc::clone(&self.args));
            acts.spawn(faults::inject(world, *kind, args, seed, stop.clone()));
        }
        let submits = CancellationToken::new();
        let (world, every) = (Arc::clone(&self.world), self.args.submit_every);
        let mut submitter =
            tokio::spawn(submit::submit(world, soak.to_owned(), every, submits.clone()));
        let end = Instant::now() + self.args.duration;
        let mut ticks = self.ticks();
        let ended_early = loop {
            tokio::select! {
                _ = ticks.tick() => self.look().await?,
                () = tokio::time::sleep_until(end) => break false,
                () = self.signals.first() => break true,
                ended = &mut *watcher => return Err(over("the watcher", ended)),
                ended = &mut submitter => return Err(over("the submitter", ended)),
                Some(ended) = acts.join_next() => return Err(over("a row of faults", ended)),
            }
        };
        stop.cancel();
        while let Some(ended) = acts.join_next().await {
            ended.map_err(CliError::server)??;
        }
        self.world.clients_line.heal();
        self.world.http_line.heal();
        submits.cancel();
        let waits = timeout(SETTLE, submitter).await;
        let ended = waits.map_err(|_| {
            CliError::Server(format!("a submit was not acknowledged within {SETTLE:?}"))
        })?;
        ended.map_err(CliError::server)??;
        Ok(ended_early)
    }

    /// Pauses every job and waits until nothing is open. What stays open, and up to when firings
    /// count, by the server's clock.
    async fn come_to_an_end(&mut self) -> Result<(Option<String>, i64), CliError> {
        self.screen.say("no more faults; what is open may end");
        let end = SystemClock.now().millis() + self.world.offset();
        let remote = self.world.remote().await?;
        let terms = PauseTerms { reason: Some("the soak ends".into()), until: None, lasting: None };
        let paused = timeout(ANSWER, remote.pause_all(JobSelection::All, terms)).await;
        paused.map_err(|_| CliError::Server(format!("no answer within {ANSWER:?}")))??;
        let all = u64::from(self.args.clients);
        let open = self.stands(|connected, open| connected == all && open == 0).await?;
        Ok((open, end))
    }

    /// Waits until the server stands so; else tells how it stands.
    async fn stands(
        &mut self,
        is_so: impl Fn(u64, u64) -> bool,
    ) -> Result<Option<String>, CliError> {
        let begun = Instant::now();
        let mut ticks = self.ticks();
        loop {
            let remote = self.world.remote().await?;
            let (connected, open) = counts(&remote).await?;
            if is_so(connected, open) {
                return Ok(None);
            }
            if begun.elapsed() > SETTLE {
                let all = self.args.clients;
                return Ok(Some(format!(
                    "after {} s without faults {connected} of {all} clients are connected, and \
                     {open} runs are open",
                    SETTLE.as_secs()
                )));
            }
            tokio::select! {
                _ = ticks.tick() => self.look().await?,
                () = sleep(LOOK) => {}
                () = self.signals.first() => {
                    return Err(CliError::Server("ended by a signal before its end".into()));
                }
            }
        }
    }

    fn ticks(&self) -> tokio::time::Interval {
        let every = (self.args.duration / SAMPLES).max(LEAST_EVERY);
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    }

    /// Looks whether all still run, takes a sample, and shows it.
    async fn look(&mut self) -> Result<(), CliError> {
        self.world.check()?;
        let sample = self.sampler.take().await;
        let marks = self.world.marks.after(self.screen.shown);
        self.screen.marks(&marks);
        let elapsed = self.sampler.elapsed();
        self.screen.sample(&sample, elapsed, SystemClock.now().millis());
        Ok(())
    }
}

async fn counts(remote: &Remote) -> Result<(u64, u64), CliError> {
    let status = timeout(ANSWER, remote.status()).await;
    let status = status.map_err(|_| CliError::Server(format!("no answer within {ANSWER:?}")))??;
    Ok((status.clients_connected, status.runs_open))
}

/// What went on to the end has ended by itself.
fn over<T>(what: &str, ended: Result<Result<T, CliError>, tokio::task::JoinError>) -> CliError {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(_)) => CliError::Server(format!("{what} has ended by itself")),
        Err(error) => CliError::Server(format!("{what} has failed: {error}")),
    }
}

/// Whether `store check` finds the store sound.
async fn store_is_sound(store: &Path) -> Result<bool, CliError> {
    let program = std::env::current_exe().map_err(CliError::server)?;
    let checked = tokio::process::Command::new(&program)
        .args(["store", "check", "--data"])
        .arg(store)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| CliError::file("start", &program, &error))?;
    match checked.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => {
            let told = String::from_utf8_lossy(&checked.stderr).into_owned();
            Err(CliError::Server(format!("the store cannot be checked: {}", told.trim())))
        }
    }
}
