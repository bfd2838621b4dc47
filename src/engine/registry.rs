//! The registry in memory: who is defined, who is in which group, who is connected.
//!
//! Sets of clients are bitmaps over registry numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::SessionId;
use super::labels::LabelIndex;
use super::queue::Queue;
use crate::client_record::{ClientRecord, ClientView, Presence};
use crate::id::{ClientId, ClientNo, GroupName, Serial};
use crate::label::LabelTrust;

/// A client in memory.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) record: Arc<ClientRecord>,
    pub(super) presence: Presence,
    /// Its open deliveries in narrow runs; those in wide runs are in the runs' bitmaps only.
    pub(super) narrow: BTreeSet<Serial>,
    /// What waits while it is away.
    pub(super) queue: Queue,
}

impl Client {
    fn new(record: Arc<ClientRecord>, presence: Presence) -> Self {
        let (narrow, queue) = (BTreeSet::new(), Queue::default());
        Self { record, presence, narrow, queue }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        self.record.id.as_str()
    }
}

/// What a command for all looks up of each client, apart from all else of it: there can be a
/// million of them.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// The connection, if there is one.
    pub(super) session: Option<SessionId>,
    /// Its open deliveries, narrow and wide.
    pub(super) open: u32,
}

/// Every client, by number, name and group.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// Indexed by registry number; removed clients stay.
    clients: Vec<Client>,
    /// Likewise.
    traffic: Vec<Traffic>,
    names: BTreeMap<ClientId, ClientNo>,
    groups: BTreeMap<GroupName, RoaringBitmap>,
    defined: RoaringBitmap,
    connected: RoaringBitmap,
    labels: LabelIndex,
}

impl Registry {
    /// Takes a client as the store gives it back. Numbers come in order, without gaps.
    pub(super) fn restore(&mut self, record: ClientRecord, presence: Presence) {
        self.put(record, presence);
    }

    /// The number that the next new client gets.
    pub(super) fn next_no(&self) -> ClientNo {
        // The registry's limit is far below u32.
        ClientNo(u32::try_from(self.clients.len()).unwrap_or(u32::MAX))
    }

    /// Puts a new client, or a new version of a known one.
    pub(super) fn put(&mut self, record: ClientRecord, presence: Presence) -> Arc<ClientRecord> {
        let record = Arc::new(record);
        let no = record.no;
        self.names.insert(record.id.clone(), no);
        if let Some(known) = self.clients.get_mut(no.0 as usize) {
            for group in &known.record.groups {
                remove_member(&mut self.groups, group, no);
            }
            self.labels.remove(&known.record);
            known.record = Arc::clone(&record);
        } else {
            self.clients.push(Client::new(Arc::clone(&record), presence));
            self.traffic.push(Traffic::default());
        }
        if record.removed_at.is_some() {
            self.defined.remove(no.0);
        } else {
            self.defined.insert(no.0);
            for group in &record.groups {
                self.groups.entry(group.clone()).or_default().insert(no.0);
            }
            self.labels.insert(&record);
        }
        record
    }

    /// The number of a defined client.
    pub(super) fn find(&self, id: &ClientId) -> Option<ClientNo> {
        self.names.get(id).copied().filter(|no| self.defined.contains(no.0))
    }

    /// The record of a client that was removed.
    pub(super) fn find_removed(&self, id: &ClientId) -> Option<&Client> {
        let no = self.names.get(id)?;
        self.get(*no).filter(|client| client.record.removed_at.is_some())
    }

    /// A client, removed or not.
    pub(super) fn get(&self, no: ClientNo) -> Option<&Client> {
        self.clients.get(no.0 as usize)
    }

    /// A client, removed or not.
    pub(super) fn get_mut(&mut self, no: ClientNo) -> Option<&mut Client> {
        self.clients.get_mut(no.0 as usize)
    }

    /// A client's connection, if it has one.
    pub(super) fn session(&self, no: ClientNo) -> Option<SessionId> {
        self.traffic.get(no.0 as usize)?.session
    }

    /// A client's connection and its open deliveries.
    pub(super) fn traffic(&mut self, no: ClientNo) -> Option<&mut Traffic> {
        self.traffic.get_mut(no.0 as usize)
    }

    /// Notes that a delivery of a client is open, and that it waits if the client is away. `wide`
    /// says whether its run is. Gives how many were open before, and whether the client is away.
    pub(super) fn open(
        &mut self,
        no: ClientNo,
        (serial, bytes): (Serial, u64),
        wide: bool,
    ) -> Option<(u32, bool)> {
        let traffic = self.traffic(no)?;
        let (before, away) = (traffic.open, traffic.session.is_none());
        traffic.open += 1;
        // Of a connected client there is nothing else to note for a wide run.
        if away || !wide {
            let client = self.get_mut(no)?;
            if away {
                client.queue.enter(bytes);
            }
            if !wide {
                client.narrow.insert(serial);
            }
        }
        Some((before, away))
    }

    /// Notes a client's connection, and gives back the one it had.
    pub(super) fn connect(&mut self, no: ClientNo, session: SessionId) -> Option<SessionId> {
        self.connected.insert(no.0);
        self.get_mut(no)?.queue = Queue::default();
        self.traffic(no)?.session.replace(session)
    }

    /// Notes that a client has no connection.
    pub(super) fn disconnect(&mut self, no: ClientNo) {
        self.connected.remove(no.0);
        if let Some(traffic) = self.traffic(no) {
            traffic.session = None;
        }
    }

    /// Says which labels that clients report count.
    pub(super) fn trust_labels(&mut self, trust: LabelTrust) {
        self.labels = LabelIndex::trusting(trust);
        for no in &self.defined {
            if let Some(client) = self.clients.get(no as usize) {
                self.labels.insert(&client.record);
            }
        }
    }

    /// A client as a list shows it.
    pub(super) fn view(&self, client: &Client) -> ClientView {
        let record = &client.record;
        let traffic = self.traffic.get(record.no.0 as usize);
        ClientView {
            id: record.id.clone(),
            groups: record.groups.clone(),
            connected: traffic.is_some_and(|traffic| traffic.session.is_some()),
            open: traffic.map_or(0, |traffic| u64::from(traffic.open)),
            queued: client.queue.deliveries as u64,
            queued_bytes: client.queue.bytes,
            defined_at: record.defined_at,
            presence: client.presence.clone(),
            labels: record.labels.clone(),
            facts: record.facts.clone(),
            max_running: record.max_running,
            trusted: self.labels.trusted(record).map(|(key, _)| key).collect(),
        }
    }

    /// Whether a client is defined already and targets mean it alike: its groups and the labels
    /// that count are the same.
    pub(super) fn is_alike(&self, record: &ClientRecord) -> bool {
        let known = self.get(record.no).filter(|known| known.record.removed_at.is_none());
        known.is_some_and(|known| {
            record.removed_at.is_none()
                && known.record.groups == record.groups
                && self.labels.counting(&known.record) == self.labels.counting(record)
        })
    }

    /// All defined clients.
    pub(super) fn defined(&self) -> &RoaringBitmap {
        &self.defined
    }

    /// The members of a group.
    pub(super) fn members(&self, group: &GroupName) -> Option<&RoaringBitmap> {
        self.groups.get(group)
    }

    /// Who has which label, of those that count.
    pub(super) fn labels(&self) -> &LabelIndex {
        &self.labels
    }

    /// The clients that hold a connection.
    pub(super) fn connected(&self) -> &RoaringBitmap {
        &self.connected
    }

    /// How many clients are defined.
    pub(super) fn len(&self) -> u64 {
        self.defined.len()
    }

    /// Whether a group has a member.
    pub(super) fn has_group(&self, group: &GroupName) -> bool {
        self.groups.contains_key(group)
    }

    /// The names of the groups that have members.
    pub(super) fn group_names(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(GroupName::as_str)
    }

    /// The names of the defined clients.
    pub(super) fn client_names(&self) -> impl Iterator<Item = &str> {
        self.defined_after(None).map(|client| client.record.id.as_str())
    }

    /// Defined clients in the order of their names, those after a name only.
    pub(super) fn defined_after(&self, after: Option<&ClientId>) -> impl Iterator<Item = &Client> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, |id| Excluded(id.clone()));
        self.names
            .range((start, Unbounded))
            .filter(|(_, no)| self.defined.contains(no.0))
            .filter_map(|(_, no)| self.get(*no))
    }
}

fn remove_member(groups: &mut BTreeMap<GroupName, RoaringBitmap>, group: &GroupName, no: ClientNo) {
    if let Some(members) = groups.get_mut(group) {
        members.remove(no.0);
        if members.is_empty() {
            groups.remove(group);
        }
    }
}
