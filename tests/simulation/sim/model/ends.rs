//! What history must say when everything has come to rest: every run that was asked for, once;
//! every delivery with one end and the attempts before it, each of which something that happened
//! accounts for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetcron::handlers::HandlerErrorKind;
use fleetcron::history::{self, RunQuery};
use fleetcron::store::MemoryStore;
use fleetcron::{
    Counts, DeliveryState, Offline, Overlap, OverlapScope, Response, Run, Serial, Timestamp,
};

use super::super::plan::Terms;
use super::super::world::BEGIN;
use super::frames::rows;
use super::{Executed, How, Model};

/// After a start of the server, expiry waits so long for clients to come back, and a little more.
const GRACE: Duration = Duration::from_secs(40);

/// How long it takes a client to write down the end of a command, at most.
const WRITING: Duration = Duration::from_millis(100);

const INTERRUPTED: &str = "interrupted: the client ended while it ran";
const NOT_KNOWN: &str = "it was sent once, the client does not have it";

impl Model {
    /// Looks at all of history once nothing is open any more.
    pub(crate) fn at_rest(&mut self, durable: &MemoryStore) {
        let runs = all_runs(durable);
        let mut numbers = BTreeMap::new();
        for run in &runs {
            let Some(terms) = self.terms(run.serial, durable) else { continue };
            if run.job.is_none() {
                let params: serde_json::Value = run.command.params.to().unwrap_or_default();
                numbers.entry(params["n"].as_u64()).or_insert_with(Vec::new).push(run.serial);
            }
            self.check_run(run, &terms, durable);
        }
        let submissions: Vec<(u64, Option<Serial>)> =
            self.submissions.iter().map(|(number, known)| (*number, known.serial)).collect();
        for (number, serial) in submissions {
            let found = numbers.remove(&Some(number)).unwrap_or_default();
            self.check(found.len() == 1 && serial == found.first().copied(), || {
                format!("submission {number} was answered as {serial:?}; history has {found:?}")
            });
        }
        let executed: BTreeSet<Serial> = self.executions.iter().map(|it| it.serial).collect();
        let known: BTreeSet<Serial> = runs.iter().map(|run| run.serial).collect();
        let lost: Vec<&Serial> = executed.difference(&known).collect();
        let lost = format!("{lost:?}");
        self.check(lost == "[]", || format!("{lost} were executed and history has no such run"));
    }

    fn check_run(&mut self, run: &Run, terms: &Terms, durable: &MemoryStore) {
        let serial = run.serial;
        self.check(run.ended_at.is_some(), || format!("run {serial} has not ended"));
        let never = run.counts.total == 0
            && run.reason.as_ref().is_some_and(|reason| reason.starts_with("skipped: run"));
        let held =
            matches!(terms.overlap, Some((Overlap::Skip | Overlap::Queue, OverlapScope::Job)));
        self.check(!never || held, || format!("run {serial} was for nobody: {:?}", run.reason));
        let mut counts = Counts::default();
        for client in 0..self.clients.len() {
            let rows = rows(durable, serial, client);
            let wanted = terms.target.has(client) && !never;
            self.check(rows.is_empty() != wanted, || {
                format!("{serial} of c{client}: {} rows in history, wanted {wanted}", rows.len())
            });
            if rows.is_empty() {
                continue;
            }
            counts.total += 1;
            self.check_rows(run, client, &rows, terms);
            for row in &rows {
                if row.retried {
                    counts.retried += 1;
                } else {
                    counts.add(row.outcome.state);
                }
            }
        }
        self.check(run.counts == counts, || {
            format!("run {serial} counts {:?}; its rows {counts:?}", run.counts)
        });
    }

    fn check_rows(&mut self, run: &Run, client: usize, rows: &[Response], terms: &Terms) {
        let serial = run.serial;
        let numbers: Vec<u32> = rows.iter().map(|row| row.attempt).collect();
        let wanted: Vec<u32> = (1..=u32::try_from(rows.len()).unwrap_or(u32::MAX)).collect();
        self.check(numbers == wanted, || {
            format!("{serial} of c{client}: attempts {numbers:?} are recorded")
        });
        let Some((last, before)) = rows.split_last() else { return };
        let shape = !last.retried && before.iter().all(|row| row.retried);
        self.check(shape, || format!("{serial} of c{client} ends other than once: {rows:?}"));
        let within = last.attempt <= terms.attempts;
        self.check(within, || format!("{serial} of c{client}: attempt {}", last.attempt));
        for row in rows {
            let state = row.outcome.state;
            let explained = state == DeliveryState::Succeeded || row.outcome.reason.is_some();
            self.check(explained, || format!("{serial} of c{client} is {state} for no reason"));
            if let Err(problem) = self.accounts_for(run, client, row, terms) {
                let attempt = row.attempt;
                self.wrong(format!(
                    "attempt {attempt} of {serial} of c{client} is {state} ({:?}): {problem}",
                    row.outcome.reason
                ));
            }
        }
        let tried = matches!(last.outcome.state, DeliveryState::Failed | DeliveryState::TimedOut);
        let given_up = self.is_cancel_asked(serial, client) || terms.once;
        self.check(!tried || given_up || last.attempt == terms.attempts, || {
            format!("{serial} of c{client} is given up after attempt {}", last.attempt)
        });
    }

    /// Whether something that happened accounts for a row of history.
    fn accounts_for(
        &self,
        run: &Run,
        client: usize,
        row: &Response,
        terms: &Terms,
    ) -> Result<(), String> {
        let executions: Vec<(u64, &Executed)> = (0..)
            .zip(&self.executions)
            .filter(|(_, it)| it.client == client && it.serial == run.serial)
            .collect();
        let reason = row.outcome.reason.as_deref().unwrap_or_default();
        let asked = self.is_cancel_asked(run.serial, client);
        let returned = |kind: Option<HandlerErrorKind>| {
            let named = |id: u64| match kind {
                None => row
                    .outcome
                    .result
                    .as_ref()
                    .is_some_and(|result| result.text() == format!("{{\"execution\":{id}}}")),
                Some(_) => reason.starts_with(&format!("execution {id} ")),
            };
            let found = executions.iter().find(|(id, _)| named(*id));
            match found {
                Some((_, it)) if it.attempt != row.attempt => {
                    Err(format!("it was execution of attempt {}", it.attempt))
                }
                Some((_, it)) if it.ended.is_some_and(|(_, how)| how == How::Returned(kind)) => {
                    Ok(())
                }
                Some((id, it)) => Err(format!("execution {id} ended otherwise: {:?}", it.ended)),
                None => Err("no execution has ended so".to_owned()),
            }
        };
        let must = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
        match row.outcome.state {
            DeliveryState::Succeeded => returned(None),
            DeliveryState::Failed if reason.starts_with(INTERRUPTED) => {
                let journal = self.clients[client].journal;
                // Its end may not have been written down yet.
                let lost = |it: &Executed| {
                    let until = it.ended.map_or(self.now, |(at, _)| at + WRITING);
                    self.clients[client].ends.iter().any(|at| (it.begun..=until).contains(at))
                };
                let cut = executions.iter().any(|(_, it)| lost(it)) || self.faulty_journals;
                must(journal && (cut || executions.is_empty()), "nothing was interrupted")
            }
            DeliveryState::Failed if reason.starts_with(NOT_KNOWN) => {
                self.is_unknown(client, terms, &executions)
            }
            DeliveryState::Failed => returned(Some(HandlerErrorKind::Failed)),
            DeliveryState::Rejected if reason.contains("journal") => {
                must(self.faulty_journals, "the journal did not fail")
            }
            DeliveryState::Rejected => returned(Some(HandlerErrorKind::Rejected)),
            DeliveryState::TimedOut if reason.ends_with("the client did not end it") => {
                // The server's own end, if it was told of the begin and of nothing after it.
                let due = |it: &Executed| {
                    let begun = Timestamp::from_millis(BEGIN).plus(it.begun);
                    terms.limit.is_some_and(|limit| begun.plus(limit) <= row.at)
                };
                let long = executions.iter().any(|(_, it)| !self.steady || due(it));
                must(terms.limit.is_some() && long, "nothing was begun so long ago")
            }
            DeliveryState::TimedOut if reason.starts_with("it ran longer than") => {
                let ran = |it: &Executed| {
                    it.ended.map_or(self.now, |(at, _)| at).saturating_sub(it.begun)
                };
                let long = executions
                    .iter()
                    .any(|(_, it)| terms.limit.is_some_and(|limit| ran(it) >= limit) || it.crashed);
                must(long, "nothing ran so long")
            }
            DeliveryState::TimedOut if reason.starts_with("the client did not take it") => Ok(()),
            DeliveryState::TimedOut => returned(Some(HandlerErrorKind::TimedOut)),
            DeliveryState::Cancelled => {
                let stopped = self.clients[client].stopped;
                must(asked || stopped, "nobody cancelled it")
            }
            DeliveryState::Expired => {
                let expired = run.expires_at.is_some_and(|at| row.at >= at);
                must(terms.expires.is_some() && expired, "it was not due to expire")
            }
            DeliveryState::Skipped => skipped(reason, terms),
            DeliveryState::Superseded => superseded(reason, terms),
            DeliveryState::Removed => Err("nobody removed anything".to_owned()),
            state => Err(format!("{state} is no end")),
        }
    }

    /// Whether the server cannot know if a command ran that may be sent once.
    fn is_unknown(
        &self,
        client: usize,
        terms: &Terms,
        executions: &[(u64, &Executed)],
    ) -> Result<(), String> {
        if !terms.once {
            return Err("it may be sent again".to_owned());
        }
        // What a client has begun, it answers for as long as it remembers it.
        let known = &self.clients[client];
        for (id, it) in executions {
            let forgot = !known.journal && known.ends.iter().any(|at| *at >= it.begun);
            if !forgot && !self.faulty_journals {
                return Err(format!("c{client} knows of execution {id}"));
            }
        }
        Ok(())
    }

    /// Nothing that never left for a client that is away is open after it has expired.
    pub(crate) fn check_expired(&mut self, client: usize, durable: &MemoryStore) {
        let now = self.wall();
        for run in all_runs(durable) {
            let Some(expires) = run.expires_at.filter(|_| self.steady) else { continue };
            let Some(terms) = self.terms(run.serial, durable) else { continue };
            let open = run.ended_at.is_none()
                && terms.target.has(client)
                && !self.sent.contains_key(&(run.serial, client))
                && rows(durable, run.serial, client).is_empty();
            self.check(!open || now < expires.plus(GRACE), || {
                format!("{} of c{client} expired at {expires} and is open at {now}", run.serial)
            });
        }
    }

    /// What is still to be acknowledged; nobody is left to do it.
    pub(crate) fn unacknowledged(&self) -> Option<String> {
        let (client, known) = (0..)
            .zip(&self.clients)
            .find(|(_, known): &(usize, _)| !known.unacknowledged.is_empty())?;
        Some(format!("c{client} has no acknowledgement of {:?}", known.unacknowledged))
    }
}

fn skipped(reason: &str, terms: &Terms) -> Result<(), String> {
    let holds = if reason == "the client was away" {
        terms.offline == Offline::Drop
    } else if reason.ends_with("has not ended on this client") {
        matches!(terms.overlap, Some((Overlap::Skip, OverlapScope::Client)))
    } else if reason.ends_with("waits on this client already") {
        matches!(terms.overlap, Some((Overlap::Queue, OverlapScope::Client)))
    } else {
        reason.starts_with("the client's queue is full")
    };
    if holds { Ok(()) } else { Err("its terms do not want that".to_owned()) }
}

fn superseded(reason: &str, terms: &Terms) -> Result<(), String> {
    let replaced = matches!(terms.overlap, Some((Overlap::Replace, _)));
    let holds = replaced
        || terms.offline == Offline::Latest
        || reason.starts_with("the client's queue was full");
    if holds { Ok(()) } else { Err("its terms do not want that".to_owned()) }
}

/// All runs, the earliest first.
pub(super) fn all_runs(durable: &MemoryStore) -> Vec<Run> {
    let mut all = Vec::new();
    let mut before = None;
    loop {
        let query = RunQuery { before, limit: 1_000, ..RunQuery::default() };
        let runs = history::runs(durable, &query).expect("a store in memory");
        let Some(last) = runs.last() else { break };
        before = Some(last.serial);
        all.extend(runs);
    }
    all.reverse();
    all
}
