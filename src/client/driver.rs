//! The client's own task: it gets connections, keeps what was taken between them, and ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Context;
use super::backoff::Backoff;
use super::connector::Connector;
use super::feed::Feeds;
use super::handle::{CallError, ClientHandle, End, Request, State};
use super::intake::{CANCELLED, Intake};
use super::journal::Journal;
use super::live::{Ended, Live, NotOpened};
use crate::command_limit::CommandLimit;
use crate::handlers::Handlers;
use crate::id::Serial;
use crate::label::Facts;
use crate::run::{Attempt, DeliveryState, Outcome};
use crate::time::duration;
use crate::wire::{Hello, VERSION, apart};

/// A connection that lasted this long makes the next pause short again.
const STEADY: Duration = Duration::from_secs(10);

/// How long commands that were told to stop have for it.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// How long a command that ran too long has to stop; less than the server waits for its answer.
const STOPPING: Duration = Duration::from_secs(3);

/// A command's task has ended.
pub(super) type Done = Result<(Serial, Outcome), JoinError>;

type ConnectHook = Box<dyn Fn(&ClientHandle) + Send + Sync>;
type DisconnectHook = Box<dyn Fn(&ClientHandle, &str) + Send + Sync>;

#[derive(Default)]
pub(super) struct Hooks {
    pub(super) connect: Option<ConnectHook>,
    pub(super) disconnect: Option<DisconnectHook>,
}

pub(super) struct Driver {
    pub(super) connector: Arc<dyn Connector>,
    pub(super) token: Option<String>,
    pub(super) facts: Facts,
    pub(super) handlers: Handlers<Context>,
    pub(super) hooks: Hooks,
    pub(super) concurrency: usize,
    /// What the server said last of how many commands may run at once.
    pub(super) max_running: Option<CommandLimit>,
    pub(super) stop_limit: Duration,
    pub(super) backoff: Backoff,
    pub(super) stop: CancellationToken,
    pub(super) handle: ClientHandle,
    pub(super) calls: mpsc::Receiver<Request>,
    pub(super) state: watch::Sender<State>,
    pub(super) intake: Intake,
    pub(super) journal: Option<Journal>,
    /// Commands of limited time that have begun, and of which the server does not know it.
    pub(super) begun: Vec<Attempt>,
    pub(super) feeds: Arc<Feeds>,
    pub(super) jobs: JoinSet<(Serial, Outcome)>,
}

/// What one attempt came to.
enum Next {
    Pause(Duration),
    End(End),
}

impl Driver {
    pub(super) async fn run(mut self) {
        let end = loop {
            match self.attempt().await {
                Next::End(end) => break end,
                Next::Pause(pause) => {
                    if self.meanwhile(sleep(pause)).await.is_none() {
                        break End::Stopped;
                    }
                }
            }
        };
        self.wind_down().await;
        if let Some(journal) = self.journal.take() {
            // Whoever is told of the end can open it again.
            journal.close().await;
        }
        tracing::info!(client = %self.handle.id(), reason = %end, "the client has ended");
        self.state.send_replace(State::Stopped(end));
    }

    /// One connection, from the attempt to get it to its end.
    async fn attempt(&mut self) -> Next {
        self.state.send_replace(State::Connecting);
        let opening = Live::open(Arc::clone(&self.connector), self.hello());
        match self.meanwhile(opening).await {
            None => Next::End(End::Stopped),
            Some(Ok(live)) => self.hold(live).await,
            Some(Err(NotOpened::Unreachable(reason))) => {
                let pause = self.backoff.next();
                self.lost(reason, pause)
            }
            Some(Err(NotOpened::Refused { reason, retry_after })) => {
                let pause = match retry_after {
                    Some(after) => self.backoff.told(after),
                    None => self.backoff.slowest(),
                };
                let client = self.handle.id();
                tracing::warn!(%client, %reason, ?pause, "the server refused the client");
                self.state.send_replace(State::Refused(reason));
                Next::Pause(pause)
            }
            Some(Err(NotOpened::Bye(bye))) => self.ended(Ended::Bye(bye)),
        }
    }

    async fn hold(&mut self, live: Live) -> Next {
        let since = Instant::now();
        self.max_running = live.max_running;
        tracing::info!(client = %self.handle.id(), "connected");
        self.state.send_replace(State::Connected);
        if let Some(hook) = &self.hooks.connect {
            hook(&self.handle);
        }
        let ended = self.serve(live).await;
        if since.elapsed() >= STEADY {
            self.backoff.reset();
        }
        // No longer connected before anybody is told, so that a hook sees what it is told.
        self.state.send_replace(State::Disconnected(ended.to_string()));
        if let Some(hook) = &self.hooks.disconnect {
            hook(&self.handle, &ended.to_string());
        }
        self.ended(ended)
    }

    fn ended(&mut self, ended: Ended) -> Next {
        match ended {
            Ended::Stopped => {
                // They had their time while the connection stood.
                self.jobs.abort_all();
                Next::End(End::Stopped)
            }
            Ended::Bye(bye) if !bye.reconnect => Next::End(End::Dismissed(bye.reason)),
            Ended::Bye(bye) => {
                let pause = match bye.retry_after_ms {
                    Some(after) => self.backoff.told(Duration::from_millis(after)),
                    None => self.backoff.next(),
                };
                self.lost(format!("the server said bye: {}", bye.reason), pause)
            }
            Ended::Lost(reason) => {
                let pause = self.backoff.next();
                self.lost(reason, pause)
            }
        }
    }

    fn lost(&mut self, reason: String, pause: Duration) -> Next {
        tracing::info!(client = %self.handle.id(), %reason, ?pause, "not connected");
        self.state.send_replace(State::Disconnected(reason));
        Next::Pause(pause)
    }

    fn hello(&self) -> Hello {
        let (taken, attempts) = apart(&self.intake.taken());
        Hello {
            version: VERSION,
            client: self.handle.id().clone(),
            token: self.token.clone(),
            taken,
            attempts,
            commands: self.handlers.names().cloned().collect(),
            facts: Some(self.facts.clone()),
        }
    }

    /// Waits for `future` while commands go on without a connection. `None`: stop.
    async fn meanwhile<F: Future>(&mut self, future: F) -> Option<F::Output> {
        tokio::pin!(future);
        loop {
            self.begin_ready();
            tokio::select! {
                // In a fixed order, so that the same events lead to the same.
                biased;
                output = &mut future => return Some(output),
                Some(done) = self.jobs.join_next() => {
                    if let Some(serial) = self.take_done(done) {
                        self.feeds.end(serial);
                    }
                }
                () = self.stop.cancelled() => return None,
                Some(request) = self.calls.recv() => {
                    let error = CallError::NotConnected { command: request.command };
                    // Nobody waits for the answer any more: nothing to do.
                    let _ = request.answer.send(Err(error));
                }
            }
        }
    }

    /// How many commands may run at once: the smaller of the client's limit and the server's.
    fn most_running(&self) -> usize {
        self.max_running.map_or(self.concurrency, |limit| self.concurrency.min(limit.count()))
    }

    /// Begins what waits, as far as the limit allows; tells whether there was any.
    pub(super) fn begin_ready(&mut self) -> bool {
        let mut any = false;
        while let Some((command, cancel)) = self.intake.start(self.most_running()) {
            let serial = command.serial;
            let cx = Context {
                serial,
                attempt: command.attempt,
                command: command.command.clone(),
                job: command.job.clone(),
                scheduled_at: command.scheduled_at,
                cancel,
                client: self.handle.clone(),
                feed: self.feeds.begin(Attempt { serial, number: command.attempt }),
            };
            let cancel = cx.cancel.clone();
            let (name, params) = (command.command.clone(), command.params.clone());
            let running = self.handlers.run(cx, name, params);
            let limit = command.timeout_ms.map(Duration::from_millis);
            if limit.is_some() {
                self.begun.push(Attempt { serial, number: command.attempt });
            }
            let running = limited(running, limit, cancel);
            match &self.journal {
                None => self.jobs.spawn(async move { (serial, running.await) }),
                Some(journal) => {
                    let pen = journal.pen().clone();
                    self.jobs.spawn(async move { (serial, pen.around(command, running).await) })
                }
            };
            any = true;
        }
        any
    }

    /// The server has recorded a response.
    pub(super) fn acknowledged(&mut self, attempt: Attempt) {
        self.intake.ack(attempt);
        if let Some(journal) = &self.journal {
            journal.pen().acknowledged(attempt);
        }
    }

    /// Records that a command has ended.
    pub(super) fn take_done(&mut self, done: Done) -> Option<Serial> {
        match done {
            Ok((serial, outcome)) => {
                self.intake.finish(serial, outcome);
                Some(serial)
            }
            // Handlers' panics are caught inside, so the runtime itself is ending.
            Err(error) => {
                tracing::error!(client = %self.handle.id(), %error, "a command's task was ended");
                None
            }
        }
    }

    /// Gives running commands their time when there is no connection left to answer on.
    async fn wind_down(&mut self) {
        self.calls.close();
        let jobs = &mut self.jobs;
        let mut all = async || while jobs.join_next().await.is_some() {};
        if timeout(self.stop_limit, all()).await.is_err() {
            self.intake.cancel_all();
            // Those that have not ended even now are aborted.
            let _ = timeout(GRACE, all()).await;
        }
        self.jobs.shutdown().await;
    }
}

/// Runs a command; after its time it is told to stop, and has a little more to do so. One that was
/// cancelled while it was written down does not begin.
async fn limited(
    running: impl Future<Output = Outcome>,
    limit: Option<Duration>,
    cancel: CancellationToken,
) -> Outcome {
    if cancel.is_cancelled() && !bug!(CancelledAndRun) {
        return Outcome::ended(DeliveryState::Cancelled, CANCELLED);
    }
    let Some(limit) = limit else { return running.await };
    let begun = Instant::now();
    tokio::pin!(running);
    if let Ok(outcome) = timeout(limit, &mut running).await {
        return outcome;
    }
    cancel.cancel();
    let stopped = timeout(STOPPING, running).await.ok();
    let reason = match stopped {
        Some(_) => format!("it ran longer than {}", duration::format(limit)),
        None => format!("it ran longer than {}, and does not stop", duration::format(limit)),
    };
    let ran_ms = u64::try_from(begun.elapsed().as_millis()).ok();
    let result = stopped.and_then(|outcome| outcome.result);
    Outcome { state: DeliveryState::TimedOut, reason: Some(reason), result, ran_ms }
}
