//! For how long the server was down before it made up for a firing, or recorded it as missed.

use std::ops::ControlFlow;

use super::item::Down;
use super::ledger;
use crate::engine::What;
use crate::store::ledger::{Entry, Item};
use crate::store::{Store, StoreError};
use crate::time::Timestamp;

/// The text by which a page with a start of the server is known.
const STARTED: &str = "\"event\":\"server\"";

/// The starts of the server that were asked for last.
#[derive(Debug, Default)]
pub(super) struct Downs(Option<(Timestamp, Option<Down>)>);

impl Downs {
    /// The downtime that ended last before a moment, if one is known near it.
    pub(super) fn before(
        &mut self,
        store: &dyn Store,
        moment: Timestamp,
    ) -> Result<Option<Down>, StoreError> {
        if let Some((asked, down)) = self.0
            && asked == moment
        {
            return Ok(down);
        }
        let mut found = None;
        ledger::back(store, (moment, Timestamp::MIN), &[STARTED], |entry| {
            match start_of(&entry) {
                Some(down) => {
                    found = Some(down);
                    ControlFlow::Break(())
                }
                None => ControlFlow::Continue(()),
            }
        })?;
        self.0 = Some((moment, found));
        Ok(found)
    }
}

/// The downtime that a start of the server ended.
pub(super) fn start_of(entry: &Entry) -> Option<Down> {
    let Item::Event(what) = &entry.item else { return None };
    match &**what {
        What::Server { change, down_since, stopped_in_order, .. } if change == "started" => {
            let (from, to) = (*down_since, entry.at);
            Some(Down { from, to, in_order: stopped_in_order.unwrap_or(false) })
        }
        _ => None,
    }
}
