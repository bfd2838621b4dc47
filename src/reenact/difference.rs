//! What other definitions change: firings and deliveries, before and after.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, JobName};
use crate::run::DeliveryState;
use crate::time::Timestamp;

/// Changes of each kind that are shown, at most; all are counted.
const SHOWN: usize = 1_000;

/// A firing of a job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FiringKey {
    /// The job.
    pub job: JobName,
    /// When it was due.
    pub scheduled_at: Timestamp,
}

/// A firing or a delivery that would have been another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A firing that there would not have been.
    FiringGone {
        /// Which.
        #[serde(flatten)]
        firing: FiringKey,
        /// Its deliveries.
        deliveries: u32,
    },
    /// A firing that there would have been.
    FiringNew {
        /// Which.
        #[serde(flatten)]
        firing: FiringKey,
        /// Its deliveries.
        deliveries: u32,
    },
    /// A delivery of a firing that there is both times, and that would have ended otherwise.
    Delivery {
        /// The firing.
        #[serde(flatten)]
        firing: FiringKey,
        /// The client.
        client: ClientId,
        /// How it ended, as the definitions are; `None`: it is open, or was none.
        before: Option<DeliveryState>,
        /// How it would have ended.
        after: Option<DeliveryState>,
    },
}

/// What would have happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhatIf {
    /// From when on it is compared.
    pub from: Option<Timestamp>,
    /// Until when inputs are recorded.
    pub to: Option<Timestamp>,
    /// Firings of jobs, as the definitions are.
    pub firings_before: u64,
    /// Firings that there would have been.
    pub firings_after: u64,
    /// Deliveries by how they ended, as the definitions are.
    pub deliveries_before: BTreeMap<DeliveryState, u64>,
    /// Deliveries by how they would have ended.
    pub deliveries_after: BTreeMap<DeliveryState, u64>,
    /// Firings that there would not have been.
    pub firings_gone: u64,
    /// Firings that there would have been instead or besides.
    pub firings_new: u64,
    /// Deliveries of firings that there are both times, and that would have ended otherwise.
    pub deliveries_changed: u64,
    /// Recorded answers, and how many of them the re-enactment with the definitions as they are
    /// gives again: how far it can be trusted.
    pub answers_recorded: u64,
    /// See `answers_recorded`.
    pub answers_given: u64,
    /// The changes, at most 1,000 of each kind, in the order of their times.
    pub changes: Vec<Change>,
}

/// A firing as it went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Firing {
    pub(super) deliveries: u32,
}

/// All that happened in one re-enactment.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) firings: BTreeMap<FiringKey, Firing>,
    pub(super) ends: BTreeMap<(FiringKey, ClientId), DeliveryState>,
    pub(super) answers: u64,
}

impl WhatIf {
    /// What differs between two re-enactments.
    pub(super) fn between(before: &Tally, after: &Tally) -> Self {
        let mut what_if = Self {
            firings_before: before.firings.len() as u64,
            firings_after: after.firings.len() as u64,
            deliveries_before: count(before),
            deliveries_after: count(after),
            ..Self::default()
        };
        for (key, firing) in &before.firings {
            if !after.firings.contains_key(key) {
                what_if.firings_gone += 1;
                let (firing, deliveries) = (key.clone(), firing.deliveries);
                what_if.show(what_if.firings_gone, Change::FiringGone { firing, deliveries });
            }
        }
        for (key, firing) in &after.firings {
            if !before.firings.contains_key(key) {
                what_if.firings_new += 1;
                let (firing, deliveries) = (key.clone(), firing.deliveries);
                what_if.show(what_if.firings_new, Change::FiringNew { firing, deliveries });
            }
        }
        what_if.compare_ends(before, after);
        what_if.changes.sort_by_key(Change::at);
        what_if
    }

    fn compare_ends(&mut self, before: &Tally, after: &Tally) {
        let both =
            |key: &FiringKey| before.firings.contains_key(key) && after.firings.contains_key(key);
        let mut compare = |place: &(FiringKey, ClientId)| {
            let (was, is) = (before.ends.get(place).copied(), after.ends.get(place).copied());
            if was != is && both(&place.0) {
                self.deliveries_changed += 1;
                let (firing, client) = place.clone();
                let change = Change::Delivery { firing, client, before: was, after: is };
                self.show(self.deliveries_changed, change);
            }
        };
        before.ends.keys().for_each(&mut compare);
        after.ends.keys().filter(|place| !before.ends.contains_key(*place)).for_each(compare);
    }

    fn show(&mut self, count: u64, change: Change) {
        if count <= SHOWN as u64 {
            self.changes.push(change);
        }
    }
}

impl Change {
    fn at(&self) -> Timestamp {
        match self {
            Self::FiringGone { firing, .. }
            | Self::FiringNew { firing, .. }
            | Self::Delivery { firing, .. } => firing.scheduled_at,
        }
    }
}

fn count(tally: &Tally) -> BTreeMap<DeliveryState, u64> {
    let mut counts = BTreeMap::new();
    for state in tally.ends.values() {
        *counts.entry(*state).or_default() += 1;
    }
    counts
}
