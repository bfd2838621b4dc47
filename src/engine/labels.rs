//! Labels of clients: those that count for targets, and how they change.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::core::Engine;
use super::effect::{Reply, RequestError};
use super::input::{Relabel, SessionId};
use super::not_found;
use crate::client_record::ClientRecord;
use crate::id::ClientNo;
use crate::label::{Facts, LabelKey, LabelTrust, LabelValue};

/// Who has which label, of those that count: the owner's, and trusted ones that clients report.
#[derive(Debug, Default)]
pub(super) struct LabelIndex {
    keys: BTreeMap<LabelKey, Key>,
    trust: LabelTrust,
}

/// Who has a label.
#[derive(Debug, Default)]
struct Key {
    any: RoaringBitmap,
    values: BTreeMap<LabelValue, RoaringBitmap>,
}

impl LabelIndex {
    pub(super) fn trusting(trust: LabelTrust) -> Self {
        Self { trust, ..Self::default() }
    }

    /// Those who have a label with this value.
    pub(super) fn having(&self, key: &LabelKey, value: &LabelValue) -> Option<&RoaringBitmap> {
        self.keys.get(key)?.values.get(value)
    }

    /// Those who have a label; `None`: nobody has.
    pub(super) fn labelled(&self, key: &LabelKey) -> Option<&RoaringBitmap> {
        self.keys.get(key).map(|key| &key.any)
    }

    /// What of the labels that a client reports counts for targets: of the trusted keys those
    /// that the owner has not set otherwise.
    pub(super) fn trusted<'a>(
        &self,
        record: &'a ClientRecord,
    ) -> impl Iterator<Item = (LabelKey, &'a LabelValue)> {
        let reported = record.facts.iter().flat_map(|facts| facts.pairs());
        let trusted = |(key, _): &(LabelKey, _)| self.trust.trusts(key);
        reported.filter(trusted).filter(|(key, _)| record.labels.get(key).is_none())
    }

    /// The labels of a client that count.
    pub(super) fn counting(&self, record: &ClientRecord) -> BTreeMap<LabelKey, LabelValue> {
        let trusted = self.trusted(record).map(|(key, value)| (key, value.clone()));
        let own = record.labels.iter().map(|(key, value)| (key.clone(), value.clone()));
        trusted.chain(own).collect()
    }

    pub(super) fn insert(&mut self, record: &ClientRecord) {
        for (key, value) in self.counting(record) {
            let key = self.keys.entry(key).or_default();
            key.any.insert(record.no.0);
            key.values.entry(value).or_default().insert(record.no.0);
        }
    }

    pub(super) fn remove(&mut self, record: &ClientRecord) {
        let ClientNo(no) = record.no;
        for (name, value) in self.counting(record) {
            let Some(key) = self.keys.get_mut(&name) else { continue };
            key.any.remove(no);
            if let Some(clients) = key.values.get_mut(&value) {
                clients.remove(no);
                if clients.is_empty() {
                    key.values.remove(&value);
                }
            }
            if key.any.is_empty() {
                self.keys.remove(&name);
            }
        }
    }
}

impl Engine {
    /// Says which labels that clients report count for targets; none, if this is not called. To
    /// be called before anything is handled: what is open stays as it is.
    pub fn trust_labels(&mut self, trust: LabelTrust) {
        self.registry.trust_labels(trust);
    }

    /// Sets labels of a client, and takes others away.
    pub(super) fn label_client(&mut self, change: &Relabel) -> Result<Reply, RequestError> {
        let client = self.client(&change.id)?;
        let record = client.record.as_ref();
        if let Some(stray) = change.remove.iter().find(|key| record.labels.get(key).is_none()) {
            let known = record.labels.iter().map(|(key, _)| key.as_str());
            return Err(not_found("label set at the client", stray.as_str(), known));
        }
        let labels = record
            .labels
            .changed(&change.set, &change.remove)
            .map_err(|error| RequestError::Limit(format!("client {}: {error}", change.id)))?;
        if labels == record.labels {
            return Ok(Reply::Client(Box::new(self.registry.view(client))));
        }
        let before = Arc::clone(&client.record);
        let record = ClientRecord { labels, ..before.as_ref().clone() };
        self.notify_client(Some(&before), &record, "labelled");
        self.put_client(record, false)
    }

    /// A client says of itself what it is. Stored only when it is something else than before.
    pub(super) fn told_facts(&mut self, session: SessionId, facts: Facts) {
        let no = self.sessions.get(session).map(|link| link.client);
        let Some(client) = no.and_then(|no| self.registry.get(no)) else { return };
        if client.record.facts.as_deref() == Some(&facts) {
            return;
        }
        let record = client.record.as_ref().clone();
        let record = ClientRecord { facts: Some(Box::new(facts)), ..record };
        self.notify_client(Some(&record), &record, "described");
        self.change_client(record, false);
    }
}
