//! Names of clients by their numbers, as far as they were asked for before.

use std::collections::HashMap;

use roaring::RoaringBitmap;

use crate::client_record::ClientRecord;
use crate::id::{ClientId, ClientNo, GroupName};
use crate::store::{Order, Store, StoreError, key, records, walk};

/// Names that are remembered, at most.
const REMEMBERED: usize = 65_536;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<ClientNo, ClientId>);

impl Names {
    pub(super) fn of(&mut self, store: &dyn Store, no: ClientNo) -> Result<ClientId, StoreError> {
        if let Some(id) = self.0.get(&no) {
            return Ok(id.clone());
        }
        let Some(client) = records::client(store, no)? else {
            return Err(StoreError::corrupt("client", &key::client(no), "it is missing"));
        };
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        self.0.insert(no, client.id.clone());
        Ok(client.id)
    }
}

/// The clients that are in a group now.
pub(super) fn members(store: &dyn Store, group: &GroupName) -> Result<RoaringBitmap, StoreError> {
    let mut members = RoaringBitmap::new();
    for entry in walk(store, key::all(key::CLIENT), Order::Up) {
        let (key, value) = entry?;
        let client: ClientRecord = records::read("client", &key, &value)?;
        if client.removed_at.is_none() && client.groups.contains(group) {
            members.insert(client.no.0);
        }
    }
    Ok(members)
}
