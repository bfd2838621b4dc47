//! What a client was to get, one delivery after the other, and when it was away.

use std::collections::VecDeque;
use std::ops::Range;

use super::away::{Absences, MAX_AWAYS};
use super::deliveries::{Asked, Wanted, summary, waiting};
use super::item::{Delivery, Item, OneDelivery};
use super::job::MAX_FIRINGS;
use super::meant::meant;
use super::names::Names;
use super::query::{ClientQuery, Only, Span};
use super::sums::Sums;
use super::{LOOKED_AT, PART, missed};
use crate::client_record::ClientRecord;
use crate::id::Serial;
use crate::run::{DeliveryState, Run};
use crate::store::{Order, Store, StoreError, key, records, walk};
use crate::target::Target;
use crate::time::Timestamp;

/// Reads the explanation of a client, part by part.
#[derive(Debug)]
pub struct ClientExplainer {
    query: ClientQuery,
    client: ClientRecord,
    runs: Range<Vec<u8>>,
    names: Names,
    /// What is told between the deliveries, in the order of time.
    between: VecDeque<(Timestamp, Item)>,
    sums: Sums,
    done: bool,
}

impl ClientExplainer {
    /// Begins an explanation. `None`: the client was never defined.
    pub fn open(
        store: &dyn Store,
        query: ClientQuery,
        span: Span,
    ) -> Result<Option<Self>, StoreError> {
        let no = records::client_no(store, &query.client)?;
        let client = no.map(|no| records::client(store, no)).transpose()?.flatten();
        let Some(client) = client else { return Ok(None) };
        let first = key::run(Serial::from_parts(span.since, 0));
        let last = key::run(Serial::from_parts(span.until, 0));
        let mut explainer = Self {
            query,
            client,
            runs: first..last,
            names: Names::default(),
            between: VecDeque::new(),
            sums: Sums::new(span),
            done: false,
        };
        explainer.look_between(store, span)?;
        Ok(Some(explainer))
    }

    /// Reads the absences and the firings that did not happen.
    fn look_between(&mut self, store: &dyn Store, span: Span) -> Result<(), StoreError> {
        let absences = Absences::read(store, &self.client, span)?;
        self.sums.away_ms = Some(absences.millis(span));
        let mut between = Vec::new();
        if absences.cut {
            let note = Item::note(format!(
                "of when the client was away not all could be told: {MAX_AWAYS} times at most"
            ));
            between.push((span.since, note));
        }
        let aways = absences.all.into_iter();
        between.extend(aways.map(|away| (away.from.unwrap_or(span.since), Item::Away(away))));
        let (rows, cut) = missed::of_client(store, &self.client, span)?;
        if cut {
            between.push((span.since, Item::note("not all rows of missed firings were looked at")));
        }
        for row in rows {
            self.sums.missed = self.sums.missed.saturating_add(row.count);
            self.sums.problems += 1;
            between.push((row.first, Item::Missed(Box::new(row))));
        }
        between.sort_by_key(|(at, _)| *at);
        self.between = between.into();
        Ok(())
    }

    /// The next part, which may be empty; `None`: that was all. The last item of all are the sums.
    pub fn part(&mut self, store: &dyn Store) -> Result<Option<Vec<Item>>, StoreError> {
        if self.done {
            return Ok(None);
        }
        let mut items = Vec::new();
        let range = self.runs.start.clone()..self.runs.end.clone();
        for (looked_at, entry) in walk(store, range, Order::Up).enumerate() {
            if items.len() >= PART || looked_at >= LOOKED_AT {
                return Ok(Some(items));
            }
            let (key, value) = entry?;
            self.runs.start.clone_from(&key);
            // The smallest key above it.
            self.runs.start.push(0);
            // Most are for another client, and need not be read as a whole.
            let Brief { target } = records::read("run", &key, &value)?;
            if matches!(&target, Target::One(one) if *one != self.client.id) {
                continue;
            }
            let run: Run = records::read("run", &key, &value)?;
            let Some(delivery) = self.delivery(store, &run)? else { continue };
            if u64::from(self.sums.deliveries.total) >= MAX_FIRINGS {
                let at = run.scheduled_at;
                self.sums.cut_at = Some(at);
                items.push(Item::note(format!(
                    "there are more than {MAX_FIRINGS} deliveries: what was due at {at} and \
                     later is not told; go on with since {at}"
                )));
                break;
            }
            self.tell_between(run.scheduled_at, &mut items);
            self.sums.count_delivery(&delivery, is_problem(delivery.state));
            items.extend(item(&run, delivery, self.query.only));
        }
        self.tell_between(Timestamp::MAX, &mut items);
        items.push(Item::Sums(Box::new(self.sums.clone())));
        self.done = true;
        Ok(Some(items))
    }

    fn tell_between(&mut self, until: Timestamp, items: &mut Vec<Item>) {
        while self.between.front().is_some_and(|(at, _)| *at <= until) {
            items.extend(self.between.pop_front().map(|(_, item)| item));
        }
    }

    /// The client's delivery of a run; `None`: the run was not for it.
    fn delivery(&mut self, store: &dyn Store, run: &Run) -> Result<Option<Delivery>, StoreError> {
        if run.forgotten {
            return Ok(None);
        }
        if run.counts.total == 0 {
            // The run is there for others to see that it was left out.
            let reason = run.reason.as_ref().filter(|reason| reason.starts_with("skipped: "));
            let Some(reason) = reason.filter(|_| meant(&run.target, &self.client) == Some(true))
            else {
                return Ok(None);
            };
            return Ok(Some(Delivery {
                state: DeliveryState::Skipped,
                at: run.ended_at,
                by: super::deliveries::serial_in(reason),
                reason: Some(reason.clone()),
                ..waiting(self.client.id.clone())
            }));
        }
        let wanted = Wanted { successes: true, most: 1 };
        let asked = Asked::One(self.client.no);
        let mut summary = summary(store, run, &asked, wanted, &mut self.names)?;
        Ok(summary.told.pop())
    }
}

/// For whom a run is.
#[derive(serde::Deserialize)]
struct Brief {
    target: Target,
}

/// Whether a delivery did not do what it was to do.
fn is_problem(state: DeliveryState) -> bool {
    state.is_end() && state != DeliveryState::Succeeded
}

/// A delivery with its run, if it is asked for.
pub(super) fn item(run: &Run, delivery: Delivery, only: Only) -> Option<Item> {
    let problem = is_problem(delivery.state);
    (problem || only == Only::All).then(|| {
        Item::Delivery(Box::new(OneDelivery {
            serial: run.serial,
            job: run.job.clone(),
            command: run.command.name.clone(),
            cause: run.cause,
            scheduled_at: run.scheduled_at,
            fired_at: run.fired_at,
            problem,
            delivery,
        }))
    })
}
