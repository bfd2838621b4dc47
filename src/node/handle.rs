//! The cheap, cloneable way to the node: what callers, connections and chores hold.
//!
//! The methods here have the same names and types as those of `remote::Remote`, which
//! asks over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};

use super::CallError;
use super::background::{Background, Hurry, Pausing};
use super::link::{Letter, Link, ToSession};
use super::live::{LiveBoard, LiveDelivery};
use super::outbox::Outlet;
use super::tools::Tools;
use crate::actor::{Actor, TokenName};
use crate::calendar::{Calendar, CalendarView};
use crate::client_record::{ClientView, Proof};
use crate::command_limit::CommandLimit;
use crate::engine::{
    Applied, Apply, CalendarChange, ClientLimit, Event, Input, NewClient, OpenDelivery, Page,
    Pause, Regroup, Relabel, Reply, Request, SessionId, Status,
};
use crate::id::{CalendarName, ClientId, GroupName, JobName, Serial};
use crate::job::JobView;
use crate::label::Facts;
use crate::pause::{JobSelection, PauseTerms, SelectionChange};
use crate::run::{Attempt, Outcome, Run, Submission};
use crate::store::{Batch, Obstacle, Store};

/// Where a handle reads and computes.
#[derive(Clone)]
pub(super) enum Place {
    /// Where it is asked, for there are no threads.
    Here,
    /// In the threads of the runtime that may wait.
    Pool,
    /// In a thread of low priority, or in a hurry as before.
    Background(Arc<Background>, Hurry),
}

/// A cheap, cloneable way to a node. Every answer is given after what it tells is durable.
#[derive(Clone)]
pub struct Handle {
    pub(super) inbox: mpsc::Sender<Letter>,
    /// Wakes whoever drives the node.
    pub(super) waker: Waker,
    pub(super) place: Place,
    pub(super) store: Arc<dyn Store>,
    pub(super) events: broadcast::Sender<Arc<Event>>,
    pub(super) live: LiveBoard,
    pub(super) sessions: Arc<AtomicU64>,
    /// Places for forecasts under way.
    pub(super) forecasts: Arc<Semaphore>,
    /// Readings of the whole store.
    pub(super) tools: Arc<Tools>,
    /// Places for parts of explanations that are read.
    pub(super) explanations: Arc<Semaphore>,
    /// Who asks by it.
    pub(super) actor: Actor,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// Takes the expected kind out of a reply; the engine gives each request its own kind.
macro_rules! expect_reply {
    ($reply:expr, $pattern:pat => $value:expr) => {
        match $reply {
            $pattern => Ok($value),
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    };
}

impl Handle {
    /// Runs a command now. The run is durable when this returns. It has not ended, unless the
    /// submission says by what it is known again and is: see [`Handle::submit_once`].
    pub async fn submit(&self, submission: Submission) -> Result<Run, CallError> {
        Ok(self.submit_once(submission).await?.run)
    }

    /// Creates and changes calendars and jobs and, with `prune`, removes jobs: all or nothing. A
    /// dry run tells, too, how the next firings change.
    pub async fn apply(&self, apply: Apply) -> Result<Applied, CallError> {
        if apply.dry_run {
            return self.plan(apply).await;
        }
        expect_reply!(self.call(Request::Apply(apply)).await?, Reply::Applied(applied) => applied)
    }

    /// Stops a job's rule from firing until it is resumed.
    pub async fn pause(&self, job: JobName) -> Result<JobView, CallError> {
        self.pause_with(Pause::new(job)).await
    }

    /// Stops a job's rule from firing, with a reason, for a time. One that is paused already
    /// stays so since then, with the new reason and end.
    pub async fn pause_with(&self, pause: Pause) -> Result<JobView, CallError> {
        expect_reply!(self.call(Request::PauseJob(pause)).await?, Reply::Job(job) => *job)
    }

    /// Stops the rules of many jobs from firing: all or nothing. Those that are paused already
    /// stay as they are.
    pub async fn pause_all(
        &self,
        jobs: JobSelection,
        terms: PauseTerms,
    ) -> Result<SelectionChange, CallError> {
        let reply = self.call(Request::PauseJobs { jobs, terms }).await?;
        expect_reply!(reply, Reply::Selection(change) => change)
    }

    /// Lets the rules of many paused jobs fire again: all or nothing. Missed firings follow each
    /// job's `catch_up`, right after this returns.
    pub async fn resume_all(&self, jobs: JobSelection) -> Result<SelectionChange, CallError> {
        let reply = self.call(Request::ResumeJobs(jobs)).await?;
        expect_reply!(reply, Reply::Selection(change) => change)
    }

    /// Lets a paused job's rule fire again; missed firings follow its `catch_up`.
    pub async fn resume(&self, job: JobName) -> Result<JobView, CallError> {
        expect_reply!(self.call(Request::ResumeJob(job)).await?, Reply::Job(job) => *job)
    }

    /// Runs a job now, whatever its rule says.
    pub async fn trigger(&self, job: JobName) -> Result<Run, CallError> {
        expect_reply!(self.call(Request::TriggerJob(job)).await?, Reply::Run(run) => *run)
    }

    /// Removes a job; its queued deliveries end as `removed`.
    pub async fn remove(&self, job: JobName) -> Result<(), CallError> {
        expect_reply!(self.call(Request::RemoveJob(job)).await?, Reply::Done => ())
    }

    /// One job.
    pub async fn get(&self, job: JobName) -> Result<JobView, CallError> {
        expect_reply!(self.call(Request::GetJob(job)).await?, Reply::Job(job) => *job)
    }

    /// Jobs in the order of their names.
    pub async fn list(&self, page: Page<JobName>) -> Result<Vec<JobView>, CallError> {
        expect_reply!(self.call(Request::ListJobs(page)).await?, Reply::Jobs(jobs) => jobs)
    }

    /// Creates or changes a calendar. The jobs that use it go by it from now on.
    pub async fn put_calendar(&self, calendar: Calendar) -> Result<CalendarChange, CallError> {
        let reply = self.call(Request::PutCalendar(calendar)).await?;
        expect_reply!(reply, Reply::CalendarPut(change) => *change)
    }

    /// Removes a calendar that no job uses.
    pub async fn remove_calendar(&self, calendar: CalendarName) -> Result<(), CallError> {
        expect_reply!(self.call(Request::RemoveCalendar(calendar)).await?, Reply::Done => ())
    }

    /// One calendar.
    pub async fn calendar(&self, calendar: CalendarName) -> Result<CalendarView, CallError> {
        expect_reply!(self.call(Request::Calendar(calendar)).await?, Reply::Calendar(view) => *view)
    }

    /// Calendars in the order of their names.
    pub async fn calendars(
        &self,
        page: Page<CalendarName>,
    ) -> Result<Vec<CalendarView>, CallError> {
        expect_reply!(self.call(Request::Calendars(page)).await?, Reply::Calendars(views) => views)
    }

    /// Ends a run: queued deliveries as `cancelled`; clients that have it are asked to stop.
    pub async fn cancel(&self, serial: Serial) -> Result<Run, CallError> {
        expect_reply!(self.call(Request::CancelRun(serial)).await?, Reply::Run(run) => *run)
    }

    /// Ends one client's delivery of a run in the same way.
    pub async fn cancel_delivery(
        &self,
        serial: Serial,
        client: ClientId,
    ) -> Result<Run, CallError> {
        let reply = self.call(Request::CancelDelivery(serial, client)).await?;
        expect_reply!(reply, Reply::Run(run) => *run)
    }

    /// Ends every open run of a job in the same way, and gives them back.
    pub async fn cancel_job(&self, job: JobName) -> Result<Vec<Run>, CallError> {
        expect_reply!(self.call(Request::CancelJob(job)).await?, Reply::Runs(runs) => runs)
    }

    /// The open deliveries of a run, in the order of their clients' names.
    pub async fn open_deliveries(&self, serial: Serial) -> Result<Vec<OpenDelivery>, CallError> {
        let reply = self.call(Request::OpenDeliveries(serial)).await?;
        let mut open = expect_reply!(reply, Reply::Deliveries(open) => open)?;
        let mut progress = self.live.progress(serial);
        for delivery in &mut open {
            delivery.progress = progress.remove(&delivery.client);
        }
        Ok(open)
    }

    /// Defines a client, or revives a removed one.
    pub async fn add_client(&self, client: NewClient) -> Result<ClientView, CallError> {
        expect_reply!(self.call(Request::AddClient(client)).await?, Reply::Client(view) => *view)
    }

    /// Removes a client; its queued deliveries end as `removed`, its connection is ended.
    pub async fn remove_client(&self, client: ClientId) -> Result<(), CallError> {
        expect_reply!(self.call(Request::RemoveClient(client)).await?, Reply::Done => ())
    }

    /// Puts a client into groups and takes it out of others.
    pub async fn regroup(&self, change: Regroup) -> Result<ClientView, CallError> {
        expect_reply!(self.call(Request::GroupClient(change)).await?, Reply::Client(view) => *view)
    }

    /// Sets labels of a client, and takes others away.
    pub async fn label_client(&self, change: Relabel) -> Result<ClientView, CallError> {
        expect_reply!(self.call(Request::LabelClient(change)).await?, Reply::Client(view) => *view)
    }

    /// Says how many commands a client may run at once, from its next connection on.
    pub async fn limit_client(&self, limit: ClientLimit) -> Result<ClientView, CallError> {
        expect_reply!(self.call(Request::LimitClient(limit)).await?, Reply::Client(view) => *view)
    }

    /// One client.
    pub async fn client(&self, client: ClientId) -> Result<ClientView, CallError> {
        expect_reply!(self.call(Request::GetClient(client)).await?, Reply::Client(view) => *view)
    }

    /// Clients in the order of their names; only a group's members if `group` is given.
    pub async fn clients(
        &self,
        page: Page<ClientId>,
        group: Option<GroupName>,
    ) -> Result<Vec<ClientView>, CallError> {
        let reply = self.call(Request::ListClients { page, group }).await?;
        expect_reply!(reply, Reply::Clients(views) => views)
    }

    /// Counts of everything.
    pub async fn status(&self) -> Result<Status, CallError> {
        let status = self.call(Request::Status).await?;
        let status = expect_reply!(status, Reply::Status(status) => status)?;
        Ok(Status { store: self.store.kind(), ..status })
    }

    /// What keeps the store from taking more, as far as it shows: then what would be new is refused
    /// with [`CallError::Hindered`].
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        self.store.obstacle()
    }

    /// What happens from now on. A watcher that falls behind by [`super::EVENTS`] loses the
    /// oldest, and is told how many.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// The same way for somebody else: what is asked by it is in the ledger under this actor. The
    /// node's own handle asks as [`Actor::Library`].
    #[must_use]
    pub fn with_actor(&self, actor: Actor) -> Self {
        Self { actor, ..self.clone() }
    }

    /// The same for whom nobody waits: what it reads, it reads in a thread of low priority and with
    /// pauses, unless it is in a hurry.
    #[must_use]
    pub(crate) fn in_background(&self, hurry: &Hurry) -> Self {
        let Place::Pool = &self.place else { return self.clone() };
        match Background::start() {
            Ok(background) => {
                let store = Arc::new(Pausing::new(Arc::clone(&self.store), hurry.clone()));
                let place = Place::Background(Arc::new(background), hurry.clone());
                Self { place, store, ..self.clone() }
            }
            Err(error) => {
                tracing::warn!(%error, "a chore has no thread of its own");
                self.clone()
            }
        }
    }

    /// Notes in the ledger that an HTTP token was used.
    pub async fn token_used(&self, token: TokenName, from: String) -> Result<(), CallError> {
        self.send(Letter::Input(Box::new(Input::TokenUsed { token, from }))).await
    }

    /// Makes the node look at its clock and its inbox. Only needed after a clock of one's own was
    /// set.
    pub fn wake(&self) {
        self.waker.wake_by_ref();
    }

    /// Writes something that is worked out from what is stored, such as an index or statistics,
    /// as one atomic batch beside the commits; it is durable when this returns. The engine does not
    /// know of it, nor does the ledger. At most [`MAX_OPS`](crate::store::MAX_OPS) operations.
    pub(crate) async fn write_derived(&self, batch: Batch) -> Result<(), CallError> {
        let (answer, answered) = oneshot::channel();
        self.send(Letter::Derived { batch, answer }).await?;
        answered.await.map_err(|_| CallError::Stopped)
    }

    pub(super) async fn call(&self, request: Request) -> Result<Reply, CallError> {
        let (answer, answered) = oneshot::channel();
        let request = Box::new(request);
        self.send(Letter::Call { actor: self.actor.clone(), request, answer }).await?;
        answered.await.map_err(|_| CallError::Stopped)?
    }

    /// Sends a letter: at once if there is room, or else as soon as there is.
    ///
    /// Each connection has room for what it waits for, so what comes back is small, and what is rare
    /// is boxed.
    pub(super) fn send(
        &self,
        letter: Letter,
    ) -> impl Future<Output = Result<(), CallError>> + Send + '_ {
        let (left, open) = match self.inbox.try_send(letter) {
            Ok(()) => (None, true),
            Err(TrySendError::Full(letter)) => (Some(Box::new(letter)), true),
            Err(TrySendError::Closed(_)) => (None, false),
        };
        if open && left.is_none() {
            self.waker.wake_by_ref();
        }
        async move {
            if let Some(letter) = left {
                let sent = Box::pin(self.inbox.send(*letter)).await;
                self.waker.wake_by_ref();
                return sent.map_err(|_| CallError::Stopped);
            }
            if open { Ok(()) } else { Err(CallError::Stopped) }
        }
    }
}

/// What the connection layer does.
impl Handle {
    /// Announces a client's connection. When this returns `Ok`, deliveries come to `outbound`,
    /// those of earlier serial first; `outbound` full means that the client is too slow.
    pub async fn connect(
        &self,
        client: ClientId,
        proof: Proof,
        taken: Vec<Attempt>,
        outbound: Outlet<ToSession>,
    ) -> Result<SessionId, CallError> {
        let (session, _) = self.connect_limited(client, proof, taken, outbound).await?;
        Ok(session)
    }

    /// As [`Handle::connect`], and gives beside the connection's number how many commands the
    /// client may run at once, if the registry says so.
    pub async fn connect_limited(
        &self,
        client: ClientId,
        proof: Proof,
        taken: Vec<Attempt>,
        outbound: Outlet<ToSession>,
    ) -> Result<(SessionId, Option<CommandLimit>), CallError> {
        let session = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        let link = Link { client, proof, taken, outbound };
        self.send(Letter::Connect { session, link, answer }).await?;
        let reply = answered.await.map_err(|_| CallError::Stopped)??;
        expect_reply!(reply, Reply::Connected(limit) => (session, limit))
    }

    /// A client has taken a delivery. Told at once if there is room in the node's inbox; what comes
    /// back waits for room if there is none.
    pub fn accepted(
        &self,
        session: SessionId,
        attempt: Attempt,
    ) -> impl Future<Output = Result<(), CallError>> + Send + '_ {
        self.send(Letter::Accepted { session, attempt })
    }

    /// A client has begun to run a delivery that may run for a limited time; told as
    /// [`Handle::accepted`].
    pub fn started(
        &self,
        session: SessionId,
        attempt: Attempt,
    ) -> impl Future<Output = Result<(), CallError>> + Send + '_ {
        self.send(Letter::Started { session, attempt })
    }

    /// A client has ended a delivery; the acknowledgement comes once it is durable. Told as
    /// [`Handle::accepted`].
    pub fn responded(
        &self,
        session: SessionId,
        attempt: Attempt,
        outcome: Outcome,
    ) -> impl Future<Output = Result<(), CallError>> + Send + '_ {
        self.send(Letter::Responded { session, attempt, outcome })
    }

    /// A client has said of itself what it is.
    pub async fn told_facts(&self, session: SessionId, facts: Facts) -> Result<(), CallError> {
        let facts = Box::new(facts);
        self.send(Letter::Input(Box::new(Input::Facts { session, facts }))).await
    }

    /// A client stops in order: it takes nothing more over this connection. What it has not taken
    /// waits for its return.
    pub async fn leaving(&self, session: SessionId) -> Result<(), CallError> {
        self.send(Letter::Input(Box::new(Input::Leaving { session }))).await
    }

    /// The place of what is seen of a delivery while it runs; `None`: it is not in flight on this
    /// connection, or there are too many. What is put there does not pass through the node's loop.
    pub async fn live(
        &self,
        session: SessionId,
        attempt: Attempt,
    ) -> Result<Option<Arc<LiveDelivery>>, CallError> {
        let (answer, answered) = oneshot::channel();
        self.send(Letter::Live { session, attempt, answer }).await?;
        answered.await.map_err(|_| CallError::Stopped)
    }

    /// A connection has ended.
    pub async fn disconnected(&self, session: SessionId, reason: String) -> Result<(), CallError> {
        self.send(Letter::Input(Box::new(Input::Disconnect { session, reason }))).await
    }
}
