//! A job's firings, one after the other, and what became of each.
//!
//! Two rows in the order of serials are held against each other: what the rules have, and the runs
//! that are there. A firing without a run is what the records, and then the ledger, make of it.

use std::ops::Range;

use super::deliveries::{self, Asked, Wanted, summary};
use super::down::Downs;
use super::expected::{Expected, Occurrence};
use super::facts::Facts;
use super::fate::{Fate, Known, by_ledger, by_records};
use super::item::{Firing, Item, LateBecause};
use super::names::{Names, members};
use super::past::Past;
use super::query::{JobQuery, Only, Span};
use super::runs::Runs;
use super::sums::Sums;
use super::{PART, facts};
use crate::history;
use crate::id::{ClientId, GroupName, JobId, Serial};
use crate::run::{Cause, Run};
use crate::store::page::rows;
use crate::store::{Store, StoreError, key, records};
use crate::time::Timestamp;

/// Firings that one answer has, at most; it ends there and says so.
pub const MAX_FIRINGS: u64 = 100_000;

/// Deliveries that one firing tells of, at most; of more, the number. All are asked for with
/// [`JobQuery::all_clients`].
pub const SHOWN_CLIENTS: usize = 10;

/// Reads the explanation of a job, part by part.
#[derive(Debug)]
pub struct JobExplainer {
    query: JobQuery,
    now: Timestamp,
    asked: Asked,
    past: Past,
    expected: Expected,
    runs: Runs,
    /// The pages of a run whose deliveries are given one by one.
    pages: Option<(Box<Run>, Range<Vec<u8>>)>,
    facts: Option<Facts>,
    names: Names,
    downs: Downs,
    sums: Sums,
    given: u64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Notes,
    Firings,
    Sums,
    Done,
}

impl JobExplainer {
    /// Begins an explanation at a moment. `live` is the job that has the name now. A client or a
    /// group that is not known has no deliveries; whoever asks has looked for them before.
    pub fn open(
        store: &dyn Store,
        query: JobQuery,
        live: Option<JobId>,
        span: Span,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let jobs = history::jobs_named(store, &query.job, live, None)?;
        let mut past = Past::read(store, &jobs, span)?;
        let expected = Expected::new(std::mem::take(&mut past.segments), span);
        let asked = asked(store, query.client.as_ref(), query.group.as_ref())?;
        let runs = Runs::new(store, &query.job, &jobs, span, now)?;
        Ok(Self {
            query,
            now,
            asked,
            past,
            expected,
            runs,
            pages: None,
            facts: None,
            names: Names::default(),
            downs: Downs::default(),
            sums: Sums::new(span),
            given: 0,
            stage: Stage::Notes,
        })
    }

    /// The next part, which may be empty; `None`: that was all. The last item of all are the sums.
    pub fn part(&mut self, store: &dyn Store) -> Result<Option<Vec<Item>>, StoreError> {
        let mut items = Vec::new();
        match self.stage {
            Stage::Notes => {
                let notes = std::mem::take(&mut self.past.notes);
                items.extend(notes.into_iter().map(Item::note));
                if !self.expected.counted {
                    items.push(Item::note(
                        "a rule's count is too far to be counted: it is taken as not used up",
                    ));
                }
                if let Some(group) = &self.query.group {
                    let note =
                        format!("only the clients that are in group {group} now are told of");
                    items.push(Item::note(note));
                }
                self.stage = Stage::Firings;
            }
            Stage::Firings => self.firings(store, &mut items)?,
            Stage::Sums => {
                if self.facts.as_ref().is_some_and(|facts| facts.cut) {
                    items.push(Item::note(
                        "the ledger was too long to be read to its end: what is unexplained may \
                         be told there; ask for a shorter span",
                    ));
                }
                items.push(Item::Sums(Box::new(self.sums.clone())));
                self.stage = Stage::Done;
            }
            Stage::Done => return Ok(None),
        }
        Ok(Some(items))
    }

    fn firings(&mut self, store: &dyn Store, items: &mut Vec<Item>) -> Result<(), StoreError> {
        let mut steps = 0;
        while items.len() < PART && steps < PART {
            steps += 1;
            if self.pages.is_some() {
                self.one_by_one(store, items)?;
                return Ok(());
            }
            if !self.runs.look(store)? {
                return Ok(());
            }
            let Some(at) = self.next_at() else {
                self.stage = Stage::Sums;
                return Ok(());
            };
            if self.given >= MAX_FIRINGS {
                self.cut(at, items);
                return Ok(());
            }
            self.given += 1;
            if let Some(firing) = self.step(store)? {
                self.give(firing, items);
            }
        }
        Ok(())
    }

    /// When the next firing or run was due.
    fn next_at(&self) -> Option<Timestamp> {
        let due = self.expected.peek().map(|due| due.serial);
        due.into_iter().chain(self.runs.peek()).min().map(Serial::time)
    }

    fn cut(&mut self, at: Timestamp, items: &mut Vec<Item>) {
        self.sums.cut_at = Some(at);
        self.stage = Stage::Sums;
        items.push(Item::note(format!(
            "there are more than {MAX_FIRINGS} firings: what was due at {at} and later is not \
             told; go on with since {at}"
        )));
    }

    fn give(&mut self, firing: Firing, items: &mut Vec<Item>) {
        self.sums.count(&firing);
        if self.query.only == Only::All || firing.problem {
            items.push(Item::Firing(Box::new(firing)));
        } else {
            self.pages = None;
        }
    }

    /// The next firing or run.
    fn step(&mut self, store: &dyn Store) -> Result<Option<Firing>, StoreError> {
        let due = self.expected.peek();
        let run = self.runs.take_up_to(due.as_ref().map(|due| due.serial));
        match (run, due) {
            // Retention is at it, and a part of it is gone.
            (Some(run), Some(due)) if run.serial == due.serial && run.forgotten => {
                self.expected.pass();
                let (fired_at, ended_at) = (Some(run.fired_at), run.ended_at);
                let fate = Fate::Forgotten { fired_at, ended_at, ends: Some(run.counts) };
                Ok(Some(bare(&due, fate)))
            }
            (Some(run), Some(due)) if run.serial == due.serial => {
                self.expected.pass();
                self.ran(store, run, Some(&due)).map(Some)
            }
            (Some(run), _) if run.forgotten => Ok(None),
            (Some(run), _) => self.ran(store, run, None).map(Some),
            (None, Some(due)) => {
                self.expected.pass();
                self.without_run(store, &due).map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    fn ran(
        &mut self,
        store: &dyn Store,
        run: Run,
        due: Option<&Occurrence>,
    ) -> Result<Firing, StoreError> {
        let one = matches!(self.asked, Asked::One(_));
        let most = if self.query.all_clients { 0 } else { SHOWN_CLIENTS };
        let wanted = Wanted { successes: one, most };
        let summary = summary(store, &run, &self.asked, wanted, &mut self.names)?;
        let counts = summary.counts;
        let fate = match &run.reason {
            Some(reason) if run.counts.total == 0 => Fate::Nobody { reason: reason.clone() },
            _ if !summary.is_for_any => Fate::NotForClient,
            _ if counts.open() > 0 => Fate::Open,
            _ if counts.succeeded == counts.total => Fate::Succeeded,
            _ => Fate::NotSucceeded,
        };
        // One that is open may have failed somewhere already.
        let problem = fate.is_problem() || counts.ended() > counts.succeeded;
        let firing = Firing {
            at: run.scheduled_at,
            job: run.job_id,
            serial: run.serial,
            cause: run.cause,
            expected: due.is_some(),
            revision: due.map(|due| due.revision),
            fate,
            problem,
            fired_at: Some(run.fired_at),
            late_ms: Some(deliveries::millis(run.fired_at, run.scheduled_at)),
            target: Some(run.target.clone()),
            counts: Some(counts),
            late_because: self.late_because(store, &run)?,
            deliveries: summary.told,
            more: if self.query.all_clients { 0 } else { summary.more },
        };
        if self.query.all_clients && counts.total > 0 {
            let pages = key::of_run(key::PAGE, run.serial);
            self.pages = Some((Box::new(run), pages));
        }
        Ok(firing)
    }

    fn without_run(&mut self, store: &dyn Store, due: &Occurrence) -> Result<Firing, StoreError> {
        let nothing = Known::default();
        let known = self.past.known.get(&due.job).unwrap_or(&nothing);
        let mut fate = match by_records(known, due, self.now) {
            Some(fate) => fate,
            None => self.ask_ledger(store, due)?,
        };
        if let Fate::Missed { reason, recorded_at, down, .. } = &mut fate
            && reason == "the server was down"
        {
            *down = self.downs.before(store, *recorded_at)?;
        }
        Ok(bare(due, fate))
    }

    /// Why a run was made up for later.
    fn late_because(
        &mut self,
        store: &dyn Store,
        run: &Run,
    ) -> Result<Option<LateBecause>, StoreError> {
        if run.cause != Cause::CatchUp {
            return Ok(None);
        }
        if let Some(resumed_at) = facts::resumed_before(store, &self.query.job, run)? {
            return Ok(Some(LateBecause::Paused { resumed_at }));
        }
        let down = self.downs.before(store, run.fired_at)?;
        let down = down.filter(|down| down.to >= run.scheduled_at);
        Ok(Some(down.map_or(LateBecause::Late, LateBecause::Down)))
    }

    fn ask_ledger(&mut self, store: &dyn Store, due: &Occurrence) -> Result<Fate, StoreError> {
        if self.facts.is_none() {
            self.runs.look_for_earliest(store)?;
            let rows = self.past.last_rows.clone();
            self.facts = Some(Facts::read(store, &self.query.job, due.at, rows)?);
        }
        let nothing = Facts::default();
        let facts = self.facts.as_ref().unwrap_or(&nothing);
        Ok(by_ledger(facts, due, self.runs.kept))
    }

    /// Gives deliveries of a run one by one, a bounded part of them.
    fn one_by_one(&mut self, store: &dyn Store, items: &mut Vec<Item>) -> Result<(), StoreError> {
        let Some((run, pages)) = self.pages.take() else { return Ok(()) };
        let mut start = None;
        for entry in records::pages(store, pages.start.clone()..pages.end.clone()) {
            let (key, value) = entry?;
            if items.len() >= PART {
                start = Some(key);
                break;
            }
            let damaged = |problem| StoreError::corrupt("page of responses", &key, problem);
            for row in rows(&value).map_err(damaged)? {
                let row = row.map_err(damaged)?;
                if self.asked.has(row.client) && !row.retried {
                    let delivery = deliveries::ended(store, &run, &row, &mut self.names)?;
                    items.extend(super::client::item(&run, delivery, self.query.only));
                }
            }
        }
        if let Some(start) = start {
            self.pages = Some((run, start..pages.end));
        } else if run.ended_at.is_none() {
            for no in records::open_clients(store, run.serial)?.iter().map(crate::id::ClientNo) {
                if self.asked.has(no) {
                    let delivery = deliveries::waiting(self.names.of(store, no)?);
                    items.extend(super::client::item(&run, delivery, self.query.only));
                }
            }
        }
        Ok(())
    }
}

fn asked(
    store: &dyn Store,
    client: Option<&ClientId>,
    group: Option<&GroupName>,
) -> Result<Asked, StoreError> {
    Ok(match (client, group) {
        (Some(client), _) => match records::client_no(store, client)? {
            Some(no) => Asked::One(no),
            None => Asked::These(roaring::RoaringBitmap::new()),
        },
        (None, Some(group)) => Asked::These(members(store, group)?),
        (None, None) => Asked::All,
    })
}

/// A firing without a run.
fn bare(due: &Occurrence, fate: Fate) -> Firing {
    Firing {
        at: due.at,
        job: Some(due.job),
        serial: due.serial,
        cause: Cause::Scheduled,
        expected: true,
        revision: Some(due.revision),
        problem: fate.is_problem(),
        fate,
        fired_at: None,
        late_ms: None,
        late_because: None,
        target: None,
        counts: None,
        deliveries: Vec::new(),
        more: 0,
    }
}
