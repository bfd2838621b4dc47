//! What a reader of the ledger has looked up before: runs and clients.

use std::collections::HashMap;
use std::sync::Arc;

use crate::id::{ClientId, ClientNo, CommandName, JobName, Serial};
use crate::policy::Retry;
use crate::store::{Store, StoreError, key, records};

/// Runs and clients that are remembered; with one more all of that kind are looked up anew.
const REMEMBERED: usize = 16 * 1024;

/// What the events of a run's deliveries need of it.
#[derive(Debug)]
pub(super) struct RunFacts {
    pub(super) job: Option<JobName>,
    pub(super) command: CommandName,
    pub(super) retry: Retry,
}

/// Runs and clients that were looked up.
#[derive(Debug, Default)]
pub(super) struct Known {
    runs: HashMap<Serial, Option<Arc<RunFacts>>>,
    ids: HashMap<ClientNo, ClientId>,
    numbers: HashMap<ClientId, Option<ClientNo>>,
}

fn room<K, V>(map: &mut HashMap<K, V>) {
    if map.len() >= REMEMBERED {
        map.clear();
    }
}

impl Known {
    /// A run; `None`: it is forgotten.
    pub(super) fn run(
        &mut self,
        store: &dyn Store,
        serial: Serial,
    ) -> Result<Option<Arc<RunFacts>>, StoreError> {
        if let Some(known) = self.runs.get(&serial) {
            return Ok(known.clone());
        }
        let found = records::run(store, serial)?.map(|run| {
            let (job, command, retry) = (run.job, run.command.name, run.policy.retry);
            Arc::new(RunFacts { job, command, retry })
        });
        room(&mut self.runs);
        self.runs.insert(serial, found.clone());
        Ok(found)
    }

    /// The id of a client, removed or not.
    pub(super) fn id(&mut self, store: &dyn Store, no: ClientNo) -> Result<ClientId, StoreError> {
        if let Some(known) = self.ids.get(&no) {
            return Ok(known.clone());
        }
        let missing = || StoreError::corrupt("client", &key::client(no), "it is missing");
        let id = records::client(store, no)?.ok_or_else(missing)?.id;
        room(&mut self.ids);
        self.ids.insert(no, id.clone());
        Ok(id)
    }

    /// The number of a client, removed or not.
    pub(super) fn no(
        &mut self,
        store: &dyn Store,
        id: &ClientId,
    ) -> Result<Option<ClientNo>, StoreError> {
        if let Some(known) = self.numbers.get(id) {
            return Ok(*known);
        }
        let no = records::client_no(store, id)?;
        room(&mut self.numbers);
        self.numbers.insert(id.clone(), no);
        Ok(no)
    }
}
