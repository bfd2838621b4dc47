//! Ends of deliveries: an entry of the ledger points at a page of responses, and each response
//! there is an event.

use std::ops::Range;

use super::EventReader;
use super::filter::is_answered;
use super::known::RunFacts;
use super::query::ResultsShown;
use super::{Recorded, Stop};
use crate::actor::Actor;
use crate::engine::{EVENT_RESULT, Event, What, retry_at};
use crate::id::{ClientNo, Serial};
use crate::run::Response;
use crate::store::page::{self, Row, StoredResult};
use crate::store::{self, Store, StoreError, key, records};
use crate::time::Timestamp;

const WHAT: &str = "page of responses";

/// An entry of the ledger that points at responses.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowsEntry {
    /// The number of the first.
    pub(super) no: u64,
    /// Their run.
    pub(super) serial: Serial,
    /// The run's page that has them.
    pub(super) page: u32,
    /// How many there are.
    pub(super) rows: u32,
    /// The times within which theirs lie, so that the times of events never go back.
    pub(super) between: (Timestamp, Timestamp),
}

/// A response that is an event.
struct Found<'a> {
    no: u64,
    at: Timestamp,
    key: &'a [u8],
    row: Row<'a>,
}

impl EventReader {
    /// Adds the responses of an entry that have numbers of a range, until the page is full.
    pub(super) fn rows(
        &mut self,
        store: &dyn Store,
        entry: RowsEntry,
        within: &Range<u64>,
    ) -> Result<Option<Stop>, StoreError> {
        if !self.filter.takes_some_of(entry.serial) {
            return Ok(None);
        }
        // What retention has forgotten is left out; its numbers stay taken.
        let Some(run) = self.known.run(store, entry.serial)? else { return Ok(None) };
        if !self.filter.takes_job(&run) {
            return Ok(None);
        }
        let mut keys = key::pages_from(entry.serial, entry.page);
        keys.end = key::page(entry.serial, entry.page, u16::MAX);
        keys.end.push(0);
        let parts: Vec<store::Entry> = records::pages(store, keys).collect::<Result<_, _>>()?;
        // One that is being forgotten has lost its first part: the places of the rest are not known.
        if parts.first().is_none_or(|(key, _)| key::page_in(key) != Some((entry.page, 0))) {
            return Ok(None);
        }
        let mut found = self.find(store, entry, within, &parts)?;
        if self.is_newest_first() {
            found.reverse();
        }
        for one in found {
            if let Some(event) = self.expand(store, entry.serial, &run, &one)?
                && self.push(event)
            {
                return Ok(Some(Stop::At(one.no)));
            }
        }
        Ok(None)
    }

    /// The responses that meet the query, but for their actors.
    fn find<'a>(
        &mut self,
        store: &dyn Store,
        entry: RowsEntry,
        within: &Range<u64>,
        parts: &'a [store::Entry],
    ) -> Result<Vec<Found<'a>>, StoreError> {
        let mut found = Vec::new();
        let mut no = entry.no;
        for (key, value) in parts {
            self.looked(0, value.len());
            let corrupt = |problem| StoreError::corrupt(WHAT, key, problem);
            for row in page::rows(value).map_err(corrupt)? {
                let row = row.map_err(corrupt)?;
                let at = row.at.clamp(entry.between.0, entry.between.1);
                let is_asked = within.contains(&no) && no - entry.no < entry.rows.into();
                if is_asked
                    && self.filter.takes_row(at, &row)
                    && self.has_text(store, entry, &row)?
                {
                    found.push(Found { no, at, key, row });
                }
                no = no.saturating_add(1);
            }
        }
        self.looked(no - entry.no, 0);
        Ok(found)
    }

    fn has_text(
        &mut self,
        store: &dyn Store,
        entry: RowsEntry,
        row: &Row<'_>,
    ) -> Result<bool, StoreError> {
        if !self.filter.searches() {
            return Ok(true);
        }
        if self.filter.found_in([row.reason, None]) {
            return Ok(true);
        }
        Ok(match row.result {
            None => false,
            Some(StoredResult::Inline(text)) => self.filter.found_in([None, Some(text)]),
            Some(StoredResult::Outside { bytes }) => {
                let text = self.outside(store, entry.serial, (row.client, bytes))?;
                self.filter.found_in([None, text.as_deref()])
            }
        })
    }

    /// A large result; `None`: its run is being forgotten.
    fn outside(
        &mut self,
        store: &dyn Store,
        serial: Serial,
        (client, bytes): (ClientNo, u64),
    ) -> Result<Option<String>, StoreError> {
        if store.get(&key::result(serial, client, 0))?.is_none() {
            return Ok(None);
        }
        let text = records::result_text(store, serial, client, bytes)?;
        self.looked(0, text.len());
        Ok(Some(text))
    }

    /// The event of a response; `None`: another actor's is asked for.
    fn expand(
        &mut self,
        store: &dyn Store,
        serial: Serial,
        run: &RunFacts,
        found: &Found<'_>,
    ) -> Result<Option<Recorded>, StoreError> {
        let Found { no, at, key, row } = found;
        let client = self.known.id(store, row.client)?;
        let answered = is_answered(row.state, row.ran_ms);
        let actor = if answered { Actor::Client(client.clone()) } else { Actor::Server };
        if self.filter.query.actor.as_ref().is_some_and(|wanted| *wanted != actor) {
            return Ok(None);
        }
        let outside;
        let whole = self.filter.query.results == ResultsShown::Whole;
        let result = match row.result {
            Some(StoredResult::Inline(text)) if whole || text.len() <= EVENT_RESULT => Some(text),
            Some(StoredResult::Outside { bytes }) if whole => {
                outside = self.outside(store, serial, (row.client, bytes))?;
                outside.as_deref()
            }
            _ => None,
        };
        let outcome =
            row.outcome(result).map_err(|problem| StoreError::corrupt(WHAT, key, problem))?;
        let Row { attempt, retried, .. } = *row;
        let next_at = retry_at(&run.retry, (serial, &client, attempt), row.at);
        let (job, command) = (run.job.clone(), run.command.clone());
        let response = Response { serial, client, at: row.at, attempt, retried, outcome };
        let what = if retried {
            What::AttemptEnded { job, command, response, next_at }
        } else {
            What::DeliveryEnded { job, command, response }
        };
        Ok(Some(Recorded { no: *no, event: Event { at: *at, actor, what } }))
    }
}
