//! Who cancelled a run, or one of its deliveries: the ledger has it.

use std::ops::ControlFlow;

use super::ledger;
use crate::actor::Actor;
use crate::engine::What;
use crate::id::ClientId;
use crate::run::Run;
use crate::store::ledger::{Entry, Item};
use crate::store::{Store, StoreError};
use crate::time::Timestamp;

/// Who cancelled a delivery that ended as cancelled at a moment; `None`: nobody did, such as when
/// a rollout was aborted, or the ledger no longer tells.
pub(super) fn who(
    store: &dyn Store,
    run: &Run,
    client: &ClientId,
    ended_at: Timestamp,
) -> Result<Option<Actor>, StoreError> {
    let serial = run.serial.to_string();
    let mut found = None;
    if let Some(at) = run.cancelled_at.filter(|at| *at <= ended_at) {
        let texts = [serial.as_str()];
        ledger::forward(store, (at, at), &texts, |entry| note(&mut found, run, None, &entry))?;
    }
    if found.is_none() {
        // The client may have had it, and have stopped it a while after it was asked to.
        let texts = [serial.as_str()];
        let span = (ended_at, run.fired_at);
        ledger::back(store, span, &texts, |entry| note(&mut found, run, Some(client), &entry))?;
    }
    Ok(found)
}

fn note(
    found: &mut Option<Actor>,
    run: &Run,
    client: Option<&ClientId>,
    entry: &Entry,
) -> ControlFlow<()> {
    if let Item::Event(what) = &entry.item
        && let What::RunChanged { serial, change, client: of, .. } = &**what
        && *serial == run.serial
        && change == "cancelled"
        && of.as_ref() == client
    {
        *found = Some(entry.actor.clone());
        return ControlFlow::Break(());
    }
    ControlFlow::Continue(())
}
