//! Whether an event meets a query.

use roaring::RoaringBitmap;

use super::kind::{About, EventKind};
use super::known::{Known, RunFacts};
use super::query::EventQuery;
use crate::actor::Actor;
use crate::engine::What;
use crate::id::{ClientNo, Serial};
use crate::run::DeliveryState;
use crate::store::page::Row;
use crate::store::{Store, StoreError, records};
use crate::time::Timestamp;

/// A query in the terms of the store.
#[derive(Debug)]
pub(in crate::history) struct Filter {
    pub(in crate::history) query: EventQuery,
    /// The numbers of the clients that are asked for; `None`: of all, and events of none.
    pub(in crate::history) clients: Option<RoaringBitmap>,
    /// The number of the client that is asked for as the actor.
    pub(in crate::history) by: Option<ClientNo>,
    /// The text in lower case.
    text: Option<String>,
}

impl Filter {
    /// From a query; `members` are the numbers of its group's members.
    pub(super) fn new(
        store: &dyn Store,
        query: EventQuery,
        members: Option<RoaringBitmap>,
    ) -> Result<Self, StoreError> {
        let mut clients = members;
        if let Some(id) = &query.client {
            let one: RoaringBitmap = records::client_no(store, id)?.map(|no| no.0).iter().collect();
            clients = Some(clients.map_or_else(|| one.clone(), |members| members & &one));
        }
        let by = match &query.actor {
            Some(Actor::Client(id)) => records::client_no(store, id)?,
            _ => None,
        };
        let text = query.text.as_ref().map(|text| text.to_lowercase());
        Ok(Self { query, clients, by, text })
    }

    /// Whether an event that lies as such in the ledger meets it.
    pub(super) fn takes(
        &self,
        store: &dyn Store,
        known: &mut Known,
        (at, actor, what): (Timestamp, &Actor, &What),
    ) -> Result<bool, StoreError> {
        let EventQuery { job, serial, states, .. } = &self.query;
        let about = About::of(what);
        if !self.takes_kind(EventKind::of(what))
            || !self.takes_moment(at)
            || self.query.actor.as_ref().is_some_and(|wanted| wanted != actor)
            || job.as_ref().is_some_and(|wanted| about.job != Some(wanted))
            || serial.is_some_and(|wanted| about.serial != Some(wanted))
            || !(states.is_empty() || about.state.is_some_and(|state| states.contains(&state)))
        {
            return Ok(false);
        }
        if let Some(clients) = &self.clients {
            let Some(client) = about.client else { return Ok(false) };
            if !known.no(store, client)?.is_some_and(|no| clients.contains(no.0)) {
                return Ok(false);
            }
        }
        Ok(match &self.text {
            // What cannot be written has no text.
            Some(text) => serde_json::to_string(what).is_ok_and(|json| has(&json, text)),
            None => true,
        })
    }

    /// Whether any end of a delivery of a run can meet it, as far as its serial tells.
    pub(super) fn takes_some_of(&self, serial: Serial) -> bool {
        let of_rows = [EventKind::DeliveryEnded, EventKind::AttemptEnded];
        self.query.serial.is_none_or(|wanted| wanted == serial)
            && of_rows.into_iter().any(|kind| self.takes_kind(kind))
            && self.clients.as_ref().is_none_or(|clients| !clients.is_empty())
    }

    /// The same, as far as its job tells.
    pub(super) fn takes_job(&self, run: &RunFacts) -> bool {
        self.query.job.is_none() || self.query.job == run.job
    }

    /// Whether a response meets it, but for its actor and its text.
    pub(super) fn takes_row(&self, at: Timestamp, row: &Row<'_>) -> bool {
        let kind = if row.retried { EventKind::AttemptEnded } else { EventKind::DeliveryEnded };
        let states = &self.query.states;
        self.takes_kind(kind)
            && self.takes_moment(at)
            && (states.is_empty() || states.contains(&row.state))
            && self.clients.as_ref().is_none_or(|clients| clients.contains(row.client.0))
    }

    /// Whether the text is searched for in results.
    pub(super) fn searches(&self) -> bool {
        self.text.is_some()
    }

    /// Whether a reason or a result has the text that is searched for.
    pub(super) fn found_in(&self, texts: [Option<&str>; 2]) -> bool {
        self.text
            .as_ref()
            .is_none_or(|text| texts.into_iter().flatten().any(|within| has(within, text)))
    }

    fn takes_kind(&self, kind: EventKind) -> bool {
        self.query.kinds.is_empty() || self.query.kinds.contains(&kind)
    }

    fn takes_moment(&self, at: Timestamp) -> bool {
        self.query.from.is_none_or(|from| at >= from) && self.query.to.is_none_or(|to| at < to)
    }
}

fn has(within: &str, lower: &str) -> bool {
    within.to_lowercase().contains(lower)
}

/// Who brought about a response: its client if it answered, otherwise the server.
pub(super) fn is_answered(state: DeliveryState, ran_ms: Option<u64>) -> bool {
    matches!(state, DeliveryState::Succeeded | DeliveryState::Rejected) || ran_ms.is_some()
}
