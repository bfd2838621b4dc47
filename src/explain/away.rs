//! When a client was away, and why: its connections, as the ledger has them.

use std::ops::ControlFlow;

use super::down;
use super::item::Away;
use super::ledger::{self, Looked};
use super::query::Span;
use crate::client_record::{ClientRecord, Presence};
use crate::engine::What;
use crate::id::ClientId;
use crate::store::ledger::{Entry, Item};
use crate::store::{Store, StoreError, key, records};
use crate::time::Timestamp;

/// Absences that one answer has, at most; of more, the earliest.
pub(super) const MAX_AWAYS: usize = 10_000;

/// The text by which a page with a start of the server is known.
const SERVER: &str = "\"event\":\"server\"";

/// A change of where a client is.
enum Change {
    /// It connected; so much had waited for it.
    Here(u64),
    /// It is away, since when and why.
    Away(Timestamp, String),
    /// It is in the registry from now on, and has not connected yet.
    Defined,
    /// It is not in the registry.
    Undefined,
}

/// Absences in the order of time.
#[derive(Debug)]
pub(super) struct Absences {
    client: ClientId,
    /// Since when it is away, if that is known, and why.
    away: Option<(Option<Timestamp>, String)>,
    /// Whether it is in the registry.
    defined: bool,
    pub(super) all: Vec<Away>,
    /// Whether there are more than could be told.
    pub(super) cut: bool,
}

impl Absences {
    /// Reads the absences that have a part in a span.
    pub(super) fn read(
        store: &dyn Store,
        client: &ClientRecord,
        span: Span,
    ) -> Result<Self, StoreError> {
        let id = &client.id;
        let before = before(store, client, span)?;
        // One that was defined later has the ledger tell when.
        let defined = before.is_some() || client.defined_at < span.since;
        let (client, away) = (id.clone(), None);
        let mut absences = Self { client, away, defined, all: Vec::new(), cut: false };
        if let Some(change) = before {
            absences.take(span.since, change);
        }
        let to = Timestamp::from_millis(span.until.millis().saturating_sub(1));
        let texts = [id.as_str(), SERVER];
        let looked = ledger::forward(store, (span.since, to), &texts, |entry| {
            if let Some(change) = change_of(id, &entry) {
                absences.take(entry.at, change);
            }
            if absences.all.len() < MAX_AWAYS {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        absences.cut = looked == Looked::Cut || absences.all.len() >= MAX_AWAYS;
        absences.end(None, 0);
        Ok(absences)
    }

    fn take(&mut self, at: Timestamp, change: Change) {
        match change {
            Change::Here(queued) => self.end(Some(at), queued),
            Change::Undefined => {
                self.end(Some(at), 0);
                self.defined = false;
            }
            Change::Defined => {
                self.defined = true;
                let reason = "it had not connected since it was defined";
                self.away = Some((Some(at), reason.to_owned()));
            }
            // It is away already when the server goes down.
            Change::Away(since, reason) if self.defined => {
                self.away.get_or_insert((Some(since), reason));
            }
            Change::Away(..) => {}
        }
    }

    fn end(&mut self, to: Option<Timestamp>, queued: u64) {
        let Some((from, reason)) = self.away.take() else { return };
        // It connected anew in the place of its former connection.
        if to.is_none() || from != to {
            let client = self.client.clone();
            self.all.push(Away { client, from, to, reason, queued });
        }
    }

    /// How long they are within a span, in milliseconds.
    pub(super) fn millis(&self, span: Span) -> u64 {
        let length = |away: &Away| {
            let from = away.from.unwrap_or(span.since).max(span.since);
            let to = away.to.unwrap_or(span.until).min(span.until);
            super::deliveries::millis(to, from)
        };
        self.all.iter().map(length).sum()
    }
}

/// Where the client was when the span begins; `None`: here.
fn before(
    store: &dyn Store,
    client: &ClientRecord,
    span: Span,
) -> Result<Option<Change>, StoreError> {
    let before = Timestamp::from_millis(span.since.millis().saturating_sub(1));
    let (id, mut found) = (&client.id, None);
    ledger::back(store, (before, Timestamp::MIN), &[id.as_str(), SERVER], |entry| {
        let Some(change) = change_of(id, &entry) else { return ControlFlow::Continue(()) };
        if down::start_of(&entry).is_some() {
            // Unless it had gone by itself before.
            found.get_or_insert(change);
            return ControlFlow::Continue(());
        }
        if found.is_none() || !matches!(change, Change::Here(_)) {
            found = Some(change);
        }
        ControlFlow::Break(())
    })?;
    if let Some(change) = found {
        return Ok(Some(change));
    }
    // From before the ledger, or longer ago than was looked at.
    let key = key::presence(client.no);
    let presence: Option<Presence> =
        store.get(&key)?.map(|value| records::read("presence", &key, &value)).transpose()?;
    let gone = presence.and_then(|presence| {
        let at = presence.disconnected_at.filter(|at| *at < span.since)?;
        Some(Change::Away(at, presence.reason.unwrap_or_default()))
    });
    Ok(gone)
}

fn change_of(id: &ClientId, entry: &Entry) -> Option<Change> {
    if let Some(down) = down::start_of(entry) {
        // Before the first start there was nobody.
        return down.from.map(|from| Change::Away(from, "the server was down".into()));
    }
    let Item::Event(what) = &entry.item else { return None };
    match &**what {
        What::Connected { client, queued } if client == id => Some(Change::Here(*queued)),
        What::Disconnected { client, reason } if client == id => {
            Some(Change::Away(entry.at, reason.clone()))
        }
        What::Client { client, change, .. } if client == id => match change.as_str() {
            "added" | "revived" => Some(Change::Defined),
            "removed" => Some(Change::Undefined),
            _ => None,
        },
        _ => None,
    }
}
