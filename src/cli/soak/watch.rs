//! The watcher: reads the outside ledger, the server's events and its explanations while they come
//! about, and holds them against each other.
//!
//! Promises: every line and every event is read once and in order, whatever happens to the server
//! meanwhile; each firing that was due is asked for once it is settled.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::super::error::CliError;
use super::book::{Book, Life};
use super::clients::ledger_file;
use super::ledger::Tail;
use super::submit;
use super::world::World;
use crate::explain::{Firing, Item, JobQuery};
use crate::history::{Cursor, EventOrder, EventQuery, MAX_EVENTS};
use crate::id::Serial;
use crate::remote::{Remote, RemoteError};
use crate::statistics::Histogram;
use crate::time::{Clock as _, SystemClock, Timestamp};

/// How long an answer of the server may take; it may stand still.
const ANSWER: Duration = Duration::from_secs(10);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// How much of a job's firings is asked for at once, in milliseconds.
const SPAN: i64 = 60_000;

/// How long after a span has passed it is asked for, and asked for again, in milliseconds.
const SETTLES: i64 = 30_000;

/// How long one look asks for explanations.
const ASKS: Duration = Duration::from_secs(1);

/// How long at the end what is odd is asked for again.
const LAST_LOOKS: Duration = Duration::from_secs(100);

/// What was seen, for the plots.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) runs: u64,
    pub(super) executions: u64,
    pub(super) faults: [u64; 3],
    pub(super) waiting: usize,
    /// Lateness of firings at clients, in milliseconds, since somebody looked last.
    pub(super) lately: Vec<u64>,
    /// Lateness of all firings.
    pub(super) all: Histogram,
    /// Of those that no fault touched.
    pub(super) quiet: Histogram,
}

/// What was seen, shared.
#[derive(Debug, Clone, Default)]
pub(super) struct Sight(Arc<Mutex<Seen>>);

impl Sight {
    pub(super) fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a job's firings are asked for next.
#[derive(Debug)]
struct Window {
    since: i64,
    /// Since when, by the machine's clock, the server's clock is past the span.
    passed: Option<i64>,
    /// Something was odd when it was asked for.
    again: bool,
}

/// The watcher.
pub(super) struct Watcher {
    world: Arc<World>,
    pub(super) book: Book,
    sight: Sight,
    tails: BTreeMap<Life, Tail>,
    submits: Tail,
    after: Option<Cursor>,
    /// Up to when, by the machine's clock, all events were read.
    read: i64,
    windows: Vec<Window>,
    /// The job that is asked for next.
    turn: usize,
}

fn now() -> i64 {
    SystemClock.now().millis()
}

impl Watcher {
    /// Watches a soak whose jobs are there since `begin`, by the server's clock.
    pub(super) fn new(world: Arc<World>, sight: Sight, begin: i64) -> Self {
        let window = |_: &_| Window { since: begin, passed: None, again: false };
        Self {
            book: Book::new(Arc::clone(&world.plan)),
            windows: world.plan.jobs.iter().map(window).collect(),
            submits: Tail::new(world.data.join(submit::FILE)),
            world,
            sight,
            tails: BTreeMap::new(),
            after: None,
            read: 0,
            turn: 0,
        }
    }

    /// Watches until it is told to stop.
    pub(super) async fn watch(mut self, stop: CancellationToken) -> Result<Self, CliError> {
        while !stop.is_cancelled() {
            self.lines()?;
            if let Ok(Ok(remote)) = timeout(PAUSE, self.world.remote()).await {
                // What does not answer now is asked again.
                if self.events(&remote).await? {
                    self.firings(&remote).await?;
                }
            }
            self.book.settle(now(), self.read);
            self.tell();
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(self)
    }

    /// The last look, when nothing more comes about and the server still answers: every event,
    /// and every firing before `end`, by the server's clock.
    pub(super) async fn finish(&mut self, end: i64) -> Result<(), CliError> {
        let begun = Instant::now();
        let remote = self.world.remote().await?;
        while !self.events(&remote).await? {
            if begun.elapsed() > LAST_LOOKS {
                return Err(CliError::Server("the server does not tell its events".into()));
            }
            sleep(PAUSE).await;
        }
        for job in 0..self.windows.len() {
            let span = self.windows[job].since..end;
            if span.is_empty() {
                continue;
            }
            loop {
                let told = self.explain(&remote, job, &span).await.map_err(|error| {
                    let name = &self.world.plan.jobs[job].spec.name;
                    CliError::Server(format!("what became of job {name} is not told: {error}"))
                })?;
                let wrong = self.book.look(job, span.clone(), &told);
                if wrong.is_empty() || begun.elapsed() > LAST_LOOKS {
                    self.book.close(job, span, &told, wrong);
                    break;
                }
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// The very last: everything has stopped, and what is left is judged.
    pub(super) fn judge(mut self) -> Result<Book, CliError> {
        self.lines()?;
        self.book.judge_all();
        self.tell();
        Ok(self.book)
    }

    /// Reads what has come in the outside ledger.
    fn lines(&mut self) -> Result<(), CliError> {
        let news = std::mem::take(&mut *self.world.lives());
        for life in news.begun {
            let path = ledger_file(&self.world.data, life.0, life.1);
            self.tails.insert(life, Tail::new(path));
        }
        let open: Vec<Life> = self.tails.keys().copied().collect();
        for life in open {
            self.lines_of(life)?;
        }
        for (life, killed) in news.over {
            // Its process was gone before this was told, and has been read to its end since.
            self.tails.remove(&life);
            if let Some(killed) = killed {
                self.book.killed(life, killed);
            }
        }
        loop {
            let lines = self.submits.read().map_err(CliError::server)?;
            if lines.is_empty() {
                return Ok(());
            }
            for line in &lines {
                self.book.take((u32::MAX, 0), line, now());
            }
        }
    }

    fn lines_of(&mut self, life: Life) -> Result<(), CliError> {
        let Some(tail) = self.tails.get_mut(&life) else { return Ok(()) };
        loop {
            let lines = tail.read().map_err(CliError::server)?;
            if lines.is_empty() {
                return Ok(());
            }
            for line in &lines {
                if let Some((serial, begun)) = self.book.take(life, line, now()) {
                    late(&self.world, &self.sight, serial, begun);
                }
            }
        }
    }

    /// Reads the events that have come; `true`: to their end.
    async fn events(&mut self, remote: &Remote) -> Result<bool, CliError> {
        loop {
            let begun = now();
            let query = EventQuery {
                order: EventOrder::Oldest,
                after: self.after,
                limit: Some(MAX_EVENTS),
                ..EventQuery::default()
            };
            let page = match timeout(ANSWER, remote.history(query)).await {
                Ok(Ok(page)) => page,
                Ok(Err(error)) if passes(&error) => return Ok(false),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Ok(false),
            };
            for event in &page.events {
                self.book.event(&event.event, now());
                self.after = Some(Cursor(event.no));
            }
            let Some(next) = page.next else {
                self.read = begun;
                return Ok(true);
            };
            self.after = Some(next);
        }
    }

    /// Asks for the firings of spans that are settled, for a bounded time.
    async fn firings(&mut self, remote: &Remote) -> Result<(), CliError> {
        let begun = Instant::now();
        for _ in 0..self.windows.len() {
            if begun.elapsed() > ASKS {
                return Ok(());
            }
            let job = self.turn;
            self.turn = (self.turn + 1) % self.windows.len();
            if !self.is_ready(job) {
                continue;
            }
            let span = self.windows[job].since..self.windows[job].since + SPAN;
            let told = match self.explain(remote, job, &span).await {
                Ok(told) => told,
                Err(error) if passes(&error) => return Ok(()),
                // The server's clock may have been set back a moment ago.
                Err(RemoteError::Refused { kind, .. }) if kind == "invalid" => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let wrong = self.book.look(job, span.clone(), &told);
            let window = &mut self.windows[job];
            if wrong.is_empty() || window.again {
                *window = Window { since: span.end, passed: None, again: false };
                self.book.close(job, span, &told, wrong);
            } else {
                (window.passed, window.again) = (Some(now()), true);
                self.book.sums.second_looks += 1;
            }
        }
        Ok(())
    }

    /// Whether a job's next span has passed for so long that all of it is settled.
    fn is_ready(&mut self, job: usize) -> bool {
        let now = now();
        let window = &mut self.windows[job];
        if now + self.world.offset() < window.since + SPAN {
            window.passed = None;
            return false;
        }
        now - *window.passed.get_or_insert(now) >= SETTLES
    }

    async fn explain(
        &self,
        remote: &Remote,
        job: usize,
        span: &Range<i64>,
    ) -> Result<Vec<Firing>, RemoteError> {
        let mut query = JobQuery::new(self.world.plan.jobs[job].spec.name.clone());
        query.since = Some(Timestamp::from_millis(span.start));
        query.until = Some(Timestamp::from_millis(span.end));
        let items = async {
            let mut items = remote.explain_job(query);
            let mut told = Vec::new();
            while let Some(item) = items.next().await {
                if let Item::Firing(firing) = item? {
                    told.push(*firing);
                }
            }
            Ok(told)
        };
        timeout(ANSWER, items).await.unwrap_or_else(|_| {
            let cause = format!("no answer within {ANSWER:?}");
            Err(RemoteError::Broken { url: "the server".to_owned(), cause })
        })
    }

    fn tell(&self) {
        let sums = &self.book.sums;
        let mut seen = self.sight.lock();
        (seen.runs, seen.executions) = (sums.runs, sums.executions);
        seen.faults = [sums.lost, sums.doubled, sums.unexplained];
        seen.waiting = self.book.waiting();
    }
}

/// Notes how late a client began a run.
fn late(world: &World, sight: &Sight, serial: Serial, begun: i64) {
    let due = serial.time().millis();
    let late = (begun + world.marks.offset_at(begun) - due).max(0);
    let is_quiet = world.marks.is_quiet(begun - late, begun);
    let late = u64::try_from(late).unwrap_or(0);
    let mut seen = sight.lock();
    seen.lately.push(late);
    seen.all.add(late);
    if is_quiet {
        seen.quiet.add(late);
    }
}

/// Whether the server may answer if it is asked again: it may be down, or stand still.
fn passes(error: &RemoteError) -> bool {
    match error {
        RemoteError::Refused { kind, .. } => kind == "stopped" || kind == "limit",
        RemoteError::Answer { .. } => true,
        error => error.is_connection(),
    }
}
