//! The server's start and stop, and who is behind an input.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Change, OpenRunRecord};
use super::core::Engine;
use super::event::What;
use super::input::Input;
use super::runs::OpenRun;
use crate::actor::Actor;
use crate::id::ClientNo;
use crate::run::{DeliveryState, Outcome};

impl Engine {
    /// Takes in an open run as the store gives it back.
    pub(super) fn restore_run(&mut self, mut record: OpenRunRecord) {
        let tried = std::mem::take(&mut record.tried);
        let ends = std::mem::take(&mut record.ends);
        let run = OpenRun::restored(record);
        let serial = run.run.serial;
        self.deliveries_open += run.open.len();
        for no in &run.open {
            // Nobody is connected yet.
            self.registry.open(ClientNo(no), (serial, run.bytes()), run.wide);
        }
        // Which deliveries were accepted is not stored: their clients say so when they return,
        // and get time for it before anything expires.
        let expires_at =
            run.run.expires_at.map(|at| at.max(self.started.plus(super::RETURN_GRACE)));
        let expires_at = expires_at.filter(|_| !bug!(ExpiryForgotten));
        let gone = run.open.iter().filter(|no| {
            let client = self.registry.get(ClientNo(*no));
            client.is_none_or(|client| client.record.removed_at.is_some())
        });
        let gone: Vec<u32> = gone.collect();
        self.replays.adopt(&run.run);
        self.runs.insert(run, expires_at);
        self.plan_waves(serial);
        self.take_up_rollout(serial, Some(&ends));
        for (no, attempt, ended_at) in tried {
            let not_before = self.backoff_end(serial, no, attempt, ended_at);
            if let Some(run) = self.runs.get_mut(serial) {
                run.try_again(no, attempt + 1 + u32::from(bug!(RetryCountedTwice)), not_before);
            }
            self.waves.entry((not_before, serial)).or_default().insert(no.0);
        }
        // A crash may have come between the unit that removed a client and those of its runs.
        for no in gone {
            let outcome = Outcome::ended(DeliveryState::Removed, "the client was removed");
            self.end_delivery(serial, ClientNo(no), outcome);
        }
    }

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
            | Input::Leaving { session }
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
