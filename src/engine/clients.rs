//! Changes of the registry.

use std::sync::Arc;

use super::change::Change;
use super::core::Engine;
use super::effect::{CloseReason, Effect, Reply, RequestError};
use super::event::{What, glimpse_of};
use super::input::{ClientLimit, NewClient, Regroup};
use super::registry::Client;
use super::{MAX_CLIENTS, MAX_GROUPS, not_found};
use crate::client_record::{ClientRecord, Presence};
use crate::id::{ClientId, ClientNo, GroupName};
use crate::job_diff::FieldChange;
use crate::label::Labels;
use crate::run::{DeliveryState, Outcome};
use crate::time::Timestamp;

impl Engine {
    /// A defined client by name.
    pub(super) fn client(&self, id: &ClientId) -> Result<&Client, RequestError> {
        self.registry
            .find(id)
            .and_then(|no| self.registry.get(no))
            .ok_or_else(|| not_found("client", id.as_str(), self.registry.client_names()))
    }

    /// Defines a client, or revives a removed one under its number.
    pub(super) fn add_client(&mut self, new: NewClient) -> Result<Reply, RequestError> {
        if self.registry.find(&new.id).is_some() {
            let message = format!("client {:?} is defined already", new.id.as_str());
            return Err(RequestError::Conflict(message));
        }
        check_groups(new.groups.len())?;
        let revived = self.registry.find_removed(&new.id).map(|client| client.record.no);
        let no = revived.unwrap_or_else(|| self.registry.next_no());
        if no.0 >= MAX_CLIENTS {
            let message = format!("the registry is full: it holds {MAX_CLIENTS} clients");
            return Err(RequestError::Limit(message));
        }
        let NewClient { id, groups, token } = new;
        let record = ClientRecord {
            no,
            id,
            groups,
            token,
            defined_at: self.now,
            removed_at: None,
            labels: Labels::default(),
            facts: None,
            max_running: None,
        };
        let word = if revived.is_some() { "revived" } else { "added" };
        self.notify_client(None, &record, word);
        self.put_client(record, false)
    }

    /// Tells of a change of the registry's record of a client.
    pub(super) fn notify_client(
        &mut self,
        before: Option<&ClientRecord>,
        record: &ClientRecord,
        change: &str,
    ) {
        let fields = record_fields(before, record);
        let (client, change) = (record.id.clone(), change.to_owned());
        self.notify(What::Client { client, change, fields: glimpse_of(&fields) });
    }

    /// Removes a client: its open deliveries end, its connection too.
    pub(super) fn remove_client(&mut self, id: &ClientId) -> Result<Reply, RequestError> {
        let client = self.client(id)?;
        let no = client.record.no;
        let mut open = client.narrow.clone();
        let session = self.registry.session(no);
        open.extend(self.runs.wide_of(no));
        for serial in open {
            let outcome = Outcome::ended(DeliveryState::Removed, "the client was removed");
            self.end_delivery(serial, no, outcome);
        }
        if let Some(session) = session {
            self.effect(Effect::Close { session, reason: CloseReason::Removed });
            self.disconnect(session, "the client was removed".into());
        }
        let record = self.client(id)?.record.as_ref().clone();
        let record = ClientRecord { removed_at: Some(self.now), token: None, ..record };
        let record = self.registry.put(record, Presence::default());
        self.notify_client(Some(&record), &record, "removed");
        self.store(vec![Change::PutClient(record)]);
        Ok(Reply::Done)
    }

    /// Puts a client into groups and takes it out of others.
    pub(super) fn group_client(&mut self, change: &Regroup) -> Result<Reply, RequestError> {
        let client = self.client(&change.id)?;
        let mut record = client.record.as_ref().clone();
        if let Some(stray) = change.remove.iter().find(|group| !record.groups.contains(*group)) {
            let groups = record.groups.iter().map(crate::GroupName::as_str);
            return Err(not_found("group of the client", stray.as_str(), groups));
        }
        record.groups.retain(|group| !change.remove.contains(group));
        record.groups.extend(change.add.iter().cloned());
        check_groups(record.groups.len())?;
        if record.groups == client.record.groups {
            return Ok(Reply::Client(Box::new(self.registry.view(client))));
        }
        let before = Arc::clone(&client.record);
        self.notify_client(Some(&before), &record, "grouped");
        self.put_client(record, !change.remove.is_empty())
    }

    /// Says how many commands a client may run at once. It learns that when it connects.
    pub(super) fn limit_client(&mut self, change: &ClientLimit) -> Result<Reply, RequestError> {
        let client = self.client(&change.id)?;
        let max_running = change.max_running;
        if client.record.max_running == max_running {
            return Ok(Reply::Client(Box::new(self.registry.view(client))));
        }
        let before = Arc::clone(&client.record);
        let record = ClientRecord { max_running, ..before.as_ref().clone() };
        self.notify_client(Some(&before), &record, "limited");
        self.put_client(record, false)
    }

    /// Changes and stores when a client was last here.
    pub(super) fn put_presence(
        &mut self,
        no: ClientNo,
        change: impl FnOnce(&mut Presence, Timestamp),
    ) {
        let now = self.now;
        let Some(client) = self.registry.get_mut(no) else { return };
        change(&mut client.presence, now);
        let presence = client.presence.clone();
        self.store(vec![Change::PutPresence(no, presence)]);
    }
}

/// What differs between two records of a client: groups, labels and the limit, as JSON text.
/// Without `before`, what the new one has.
fn record_fields(before: Option<&ClientRecord>, after: &ClientRecord) -> Vec<FieldChange> {
    let groups = |record: &ClientRecord| {
        let names = record.groups.iter().map(GroupName::as_str);
        names.map(str::to_owned).collect::<Vec<_>>().join(", ")
    };
    let mut fields = Vec::new();
    let mut compare = |field: String, before: Option<String>, after: Option<String>| {
        if before != after {
            fields.push(FieldChange { field, before, after });
        }
    };
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    compare("groups".into(), before.map(groups).and_then(some), some(groups(after)));
    let limit = |record: &ClientRecord| record.max_running.map(|limit| limit.to_string());
    compare("max_running".into(), before.and_then(limit), limit(after));
    let old = before.map(|record| &record.labels);
    let keys = old.into_iter().chain([&after.labels]).flat_map(Labels::iter);
    let keys: std::collections::BTreeSet<_> = keys.map(|(key, _)| key.clone()).collect();
    for key in keys {
        let value = |labels: &Labels| labels.get(&key).map(|value| value.as_str().to_owned());
        compare(format!("labels.{key}"), old.and_then(value), value(&after.labels));
    }
    fields
}

fn check_groups(count: usize) -> Result<(), RequestError> {
    if count > MAX_GROUPS {
        let message = format!("a client can be in {MAX_GROUPS} groups at most, not in {count}");
        return Err(RequestError::Limit(message));
    }
    Ok(())
}
