//! What happened, counted.

use std::collections::BTreeMap;
use std::path::Path;

use super::screen::Screen;
use crate::engine::{Event, Status, What};
use crate::id::ClientId;
use crate::run::DeliveryState;

/// Counts of what happened since the demonstration began.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Runs that fired.
    pub(super) runs: u64,
    /// Deliveries by how they ended.
    pub(super) ends: BTreeMap<DeliveryState, u64>,
    /// Clients by their id: whether each is connected.
    pub(super) clients: BTreeMap<ClientId, bool>,
    /// Deliveries that waited for a client to come back.
    waited: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Counts an event.
    pub(super) fn take(&mut self, event: &Event) {
        match &event.what {
            What::RunStarted { .. } => self.runs += 1,
            What::DeliveryEnded { response, .. } => {
                *self.ends.entry(response.outcome.state).or_default() += 1;
            }
            What::Connected { client, queued } => {
                self.clients.insert(client.clone(), true);
                self.waited += queued;
            }
            What::Disconnected { client, .. } => {
                self.clients.insert(client.clone(), false);
            }
            What::Job { .. }
            | What::Calendar { .. }
            | What::Forgotten { .. }
            | What::Missed { .. }
            | What::AttemptEnded { .. }
            | What::Rollout { .. }
            | What::Replay { .. }
            | What::LateAnswer { .. }
            | What::RunChanged { .. }
            | What::Client { .. }
            | What::Server { .. }
            | What::Setting { .. }
            | What::TokenUsed { .. }
            | What::ClockJumped
            | What::RunEnded { .. } => {}
        }
    }

    /// Clients that are connected.
    pub(super) fn connected(&self) -> usize {
        self.clients.values().filter(|connected| **connected).count()
    }

    /// Tells the sum of it all.
    pub(super) fn tell(&self, screen: &Screen, status: &Status, data: &Path) {
        screen.title("Summary");
        screen.note(&format!("Runs fired: {}. Jobs stored: {}.", self.runs, status.jobs));
        let ends: Vec<String> =
            self.ends.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let ends = if ends.is_empty() { "none".into() } else { ends.join(", ") };
        screen.note(&format!("Deliveries ended: {ends}. Still open: {}.", status.deliveries_open));
        screen.note(&format!(
            "Deliveries that waited in the store for a client to come back: {}.",
            self.waited
        ));
        screen.note(&format!(
            "All of it is in {}: start the demo again and it goes on.",
            data.display()
        ));
    }
}
