//! What a soak has running: the server, the client processes, the proxies before it, and the clock
//! that it goes by.
//!
//! Promises: one process at a time in each place; what is told of when something was killed or
//! stood still holds for the judgement.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use super::super::error::CliError;
use super::args::SoakArgs;
use super::book::{Killed, Life};
use super::marks::Marks;
use super::plan::Plan;
use super::process::Process;
use super::proxy::Proxy;
use crate::access::{self, Access};
use crate::remote::Remote;
use crate::time::{Clock as _, SystemClock, duration};

/// How long a server or a client process may take to come up.
const COME_UP: Duration = Duration::from_secs(90);

/// How long a place may be held while all are killed.
const KILLS: Duration = Duration::from_secs(5);

/// The server's cache, in MiB: small, so that memory soon is what it will be.
const CACHE: &str = "64";

/// All that is running.
pub(super) struct World {
    pub(super) plan: Arc<Plan>,
    /// The soak's directory.
    pub(super) data: PathBuf,
    keep: Duration,
    processes: u32,
    server: Mutex<Option<Process>>,
    /// The server's process, for those that look at it; 0: there is none now.
    server_pid: AtomicI32,
    crew: Vec<Mutex<Crew>>,
    /// Lives of client processes that have begun, and what ended those that are over.
    lives: StdMutex<Lives>,
    /// Before the server's listener for clients.
    pub(super) clients_line: Proxy,
    /// Before the server's HTTP interface; submits go through it.
    pub(super) http_line: Proxy,
    remote: watch::Sender<Option<Remote>>,
    offset: StdMutex<i64>,
    pub(super) marks: Marks,
}

/// Lives of client processes.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// Those that have begun and were not told yet.
    pub(super) begun: Vec<Life>,
    /// Those that are over and were not told yet; `None`: it ended in order.
    pub(super) over: Vec<(Life, Option<Killed>)>,
}

/// One client process.
#[derive(Debug, Default)]
struct Crew {
    process: Option<Process>,
    life: u32,
    /// When it was made to stand still last, and until when.
    paused: Option<(i64, i64)>,
}

fn now() -> i64 {
    SystemClock.now().millis()
}

impl World {
    /// Nothing runs yet.
    pub(super) async fn new(
        args: &SoakArgs,
        data: PathBuf,
        plan: Arc<Plan>,
    ) -> Result<Self, CliError> {
        for name in ["ledger", "journals"] {
            let path = data.join(name);
            std::fs::create_dir_all(&path)
                .map_err(|error| CliError::file("make", &path, &error))?;
        }
        let crew = (0..args.processes()).map(|_| Mutex::default()).collect();
        let world = Self {
            plan,
            keep: args.keep(),
            processes: args.processes(),
            server: Mutex::new(None),
            server_pid: AtomicI32::new(0),
            crew,
            lives: StdMutex::default(),
            clients_line: Proxy::start().await.map_err(CliError::server)?,
            http_line: Proxy::start().await.map_err(CliError::server)?,
            remote: watch::channel(None).0,
            offset: StdMutex::new(0),
            marks: Marks::default(),
            data,
        };
        world.set_clock(0)?;
        Ok(world)
    }

    /// The way to the server past the proxy; it waits while there is none.
    pub(super) async fn remote(&self) -> Result<Remote, CliError> {
        let mut remote = self.remote.subscribe();
        let there = remote.wait_for(Option::is_some).await;
        let remote = there.ok().and_then(|remote| remote.clone());
        remote.ok_or_else(|| CliError::Server("the soak has ended".into()))
    }

    /// The way to the server through the proxy, with the same address all the time.
    pub(super) fn remote_by_line(&self) -> Result<Remote, CliError> {
        let access = Access::load(&self.store().join(access::FILE))?;
        Ok(Remote::new(&format!("http://{}", self.http_line.address), &access.token)?)
    }

    /// The server's data directory.
    pub(super) fn store(&self) -> PathBuf {
        self.data.join("store")
    }

    /// The number of the server's process, while there is one.
    pub(super) fn server_pid(&self) -> Option<i32> {
        Some(self.server_pid.load(Ordering::Acquire)).filter(|pid| *pid != 0)
    }

    fn clock_file(&self) -> PathBuf {
        self.data.join("clock-offset")
    }

    /// By how many milliseconds the server's clock differs from the machine's.
    pub(super) fn offset(&self) -> i64 {
        *self.offset.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the server's clock.
    pub(super) fn set_clock(&self, offset: i64) -> Result<(), CliError> {
        let mut kept = self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        let (path, new) = (self.clock_file(), self.data.join("clock-offset.new"));
        std::fs::write(&new, offset.to_string())
            .and_then(|()| std::fs::rename(&new, &path))
            .map_err(|error| CliError::file("write", &path, &error))?;
        *kept = offset;
        self.marks.clock(now(), offset);
        Ok(())
    }

    /// Starts the server, and waits until it serves.
    pub(super) async fn start_server(&self) -> Result<(), CliError> {
        let mut place = self.server.lock().await;
        *place = Some(self.new_server().await?);
        Ok(())
    }

    async fn new_server(&self) -> Result<Process, CliError> {
        let keep = duration::format(self.keep).replace(' ', "");
        let round = duration::format((self.keep / 20).min(Duration::from_secs(60)));
        let mut args: Vec<OsString> =
            ["serve", "--with-stdin", "--cache", CACHE].map(Into::into).into();
        args.extend(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"].map(Into::into));
        args.extend(["--keep", &keep, "--keep-inputs", &keep].map(Into::into));
        args.extend(["--retention-every", &round.replace(' ', ""), "--data"].map(Into::into));
        args.extend([self.store().into(), "--clock-offset-file".into(), self.clock_file().into()]);
        let log = self.data.join("server.log");
        let mut server = Process::start("the server".into(), args, &log, Some("serving"))?;
        self.server_pid.store(server.pid(), Ordering::Release);
        let serving = server.said(COME_UP).await?;
        let address = |field: &str| {
            let text = serving[field].as_str().unwrap_or_default();
            let text = text.strip_prefix("http://").unwrap_or(text);
            text.parse::<SocketAddr>().map_err(|error| {
                CliError::Server(format!("the server told a bad address {text:?}: {error}"))
            })
        };
        self.clients_line.point_to(address("listen")?);
        self.http_line.point_to(address("http")?);
        let access = Access::load(&self.store().join(access::FILE))?;
        let remote = Remote::new(&access.server, &access.token)?;
        self.remote.send_replace(Some(remote));
        Ok(server)
    }

    /// Kills the server and starts it again.
    pub(super) async fn kill_server(&self) -> Result<(), CliError> {
        let mut place = self.server.lock().await;
        self.remote.send_replace(None);
        if let Some(server) = place.take() {
            server.kill().await?;
        }
        *place = Some(self.new_server().await?);
        Ok(())
    }

    /// Lets the server stand still for this time, or until `wake` is ready.
    pub(super) async fn pause_server(&self, wake: impl Future<Output = ()>) {
        let pid = {
            let place = self.server.lock().await;
            let Some(server) = place.as_ref() else { return };
            server.signal(Signal::SIGSTOP);
            server.pid()
        };
        wake.await;
        // Another may have taken its place, which was never stopped.
        if let Some(server) = self.server.lock().await.as_ref().filter(|it| it.pid() == pid) {
            server.signal(Signal::SIGCONT);
        }
    }

    /// Starts every client process.
    pub(super) async fn start_crew(&self) -> Result<(), CliError> {
        for (number, crew) in (0..).zip(&self.crew) {
            let mut crew = crew.lock().await;
            crew.process = Some(self.new_crew(number, crew.life)?);
        }
        Ok(())
    }

    fn new_crew(&self, number: u32, life: u32) -> Result<Process, CliError> {
        self.lives().begun.push((number, life));
        let mut args: Vec<OsString> = vec!["soak-clients".into(), "--data".into()];
        args.extend([self.data.clone().into(), "--connect".into()]);
        args.extend([self.clients_line.address.to_string().into(), "--process".into()]);
        args.extend([number.to_string().into(), "--of".into(), self.processes.to_string().into()]);
        args.extend(["--life".into(), life.to_string().into()]);
        let log = self.data.join(format!("clients-{number:02}.log"));
        Process::start(format!("client process {number}"), args, &log, None)
    }

    /// Kills a client process and starts it again.
    pub(super) async fn kill_crew(&self, number: u32) -> Result<(), CliError> {
        let mut crew = self.crew[number as usize].lock().await;
        let Some(process) = crew.process.take() else { return Ok(()) };
        let killed = Killed::at(now(), crew.paused);
        process.kill().await?;
        self.lives().over.push(((number, crew.life), Some(killed)));
        crew.life += 1;
        crew.process = Some(self.new_crew(number, crew.life)?);
        Ok(())
    }

    /// Lets a client process stand still until `wake` is ready.
    pub(super) async fn pause_crew(&self, number: u32, wake: impl Future<Output = ()>) {
        let place = &self.crew[number as usize];
        let (pid, from) = {
            let mut crew = place.lock().await;
            let from = now();
            // Until further notice: a kill may come in between.
            crew.paused = Some((from, i64::MAX));
            let Some(process) = crew.process.as_ref() else { return };
            process.signal(Signal::SIGSTOP);
            (process.pid(), from)
        };
        wake.await;
        let mut crew = place.lock().await;
        match crew.process.as_ref().filter(|process| process.pid() == pid) {
            Some(process) => {
                process.signal(Signal::SIGCONT);
                crew.paused = Some((from, now()));
            }
            None => crew.paused = None,
        }
    }

    pub(super) fn lives(&self) -> MutexGuard<'_, Lives> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if a process has ended by itself. One that is being started again is not looked at.
    pub(super) fn check(&self) -> Result<(), CliError> {
        if let Ok(mut place) = self.server.try_lock()
            && let Some(server) = place.as_mut()
        {
            server.check()?;
        }
        for crew in &self.crew {
            if let Ok(mut crew) = crew.try_lock()
                && let Some(process) = crew.process.as_mut()
            {
                process.check()?;
            }
        }
        Ok(())
    }

    /// Ends the client processes in order.
    pub(super) async fn stop_crew(&self) -> Result<(), CliError> {
        for (number, crew) in (0..).zip(&self.crew) {
            let mut crew = crew.lock().await;
            if let Some(process) = crew.process.take() {
                process.stop().await?;
                self.lives().over.push(((number, crew.life), None));
            }
        }
        Ok(())
    }

    /// Kills all that still runs: after an error, when nothing is to be told any more. One that
    /// stands still would not notice the end of its standard input.
    pub(super) async fn kill_all(&self) {
        let places = self.crew.iter().map(async |crew| crew.lock().await.process.take());
        for place in places {
            if let Ok(Some(process)) = timeout(KILLS, place).await {
                let _ = process.kill().await;
            }
        }
        if let Ok(mut place) = timeout(KILLS, self.server.lock()).await
            && let Some(server) = place.take()
        {
            let _ = server.kill().await;
        }
    }

    /// Ends the server in order.
    pub(super) async fn stop_server(&self) -> Result<(), CliError> {
        let server = self.server.lock().await.take();
        self.remote.send_replace(None);
        match server {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}
