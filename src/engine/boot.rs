//! The server's start and stop, and who is behind an input.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Change;
use super::core::Engine;
use super::event::What;
use super::input::Input;
use crate::actor::Actor;

impl Engine {
    /// Who brings about what an input leads to.
    pub(super) fn actor_of(&self, input: &Input) -> Actor {
        let session = match input {
            Input::Call { actor, .. } => return actor.clone(),
            Input::TokenUsed { token, .. } => return Actor::Token(token.clone()),
            Input::Connect { client, .. } => return Actor::Client(client.clone()),
            Input::Boot { .. } | Input::Stopping | Input::ClockJumped => return Actor::Server,
            Input::Disconnect { session, .. }
            | Input::Accepted { session, .. }
            | Input::Started { session, .. }
            | Input::Responded { session, .. }
            | Input::Facts { session, .. } => session,
        };
        let no = self.sessions.get(*session).map(|link| link.client);
        let client = no.and_then(|no| self.registry.get(no));
        client.map_or(Actor::Server, |client| Actor::Client(client.record.id.clone()))
    }

    /// Tells of the start, and of the settings that are other than at the one before.
    pub(super) fn boot(&mut self, version: String, settings: BTreeMap<String, String>) {
        self.tell_server("started", version);
        if settings == self.settings {
            return;
        }
        let before = std::mem::replace(&mut self.settings, settings);
        let after = self.settings.clone();
        // At the first start all of them would be new.
        if !before.is_empty() {
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                let (old, new) = (before.get(name).cloned(), after.get(name).cloned());
                if old != new {
                    self.notify(What::Setting { name: name.clone(), before: old, after: new });
                }
            }
        }
        self.store(vec![Change::PutSettings(after)]);
    }

    pub(super) fn tell_server(&mut self, change: &str, version: String) {
        let end = self.ledger_end.filter(|_| change == "started");
        self.notify(What::Server {
            change: change.into(),
            version,
            down_since: end.map(|end| end.at),
            stopped_in_order: end.map(|end| end.stopped),
        });
    }
}
