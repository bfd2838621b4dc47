//! What may and must have happened to each delivery, kept outside of the engine.

use super::client::SAID;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetcron::engine::{RUN_GRACE, SessionId, URGENT_WINDOW, WINDOW};
use fleetcron::{
    Attempt, ClientId, DeliveryMode, DeliveryState, Policy, Priority, Response, Serial, Timestamp,
};

/// One delivery.
#[derive(Debug, Default)]
struct Entry {
    sent: usize,
    begun: BTreeMap<u32, usize>,
    /// Crashes of a client without a journal that had begun it.
    forgotten: usize,
    cancelled: bool,
    told: usize,
}

/// What a connection has been sent, since when, and what of it is answered.
#[derive(Debug, Default)]
struct Line {
    last: BTreeMap<Priority, Serial>,
    untaken: BTreeMap<Serial, Timestamp>,
    unanswered: BTreeSet<Serial>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) policies: BTreeMap<Serial, Policy>,
    entries: BTreeMap<(Serial, ClientId), Entry>,
    lines: BTreeMap<SessionId, Line>,
    /// Since when the server knows that a delivery runs.
    running: BTreeMap<(Serial, ClientId), Timestamp>,
    pub(crate) tally: BTreeMap<&'static str, usize>,
}

impl Ledger {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn entry(&mut self, serial: Serial, id: &ClientId) -> &mut Entry {
        self.entries.entry((serial, id.clone())).or_default()
    }

    fn policy(&self, serial: Serial) -> Policy {
        self.policies.get(&serial).copied().unwrap_or_default()
    }

    /// The server lets a command go out.
    pub(crate) fn sent(&mut self, session: SessionId, id: &ClientId, at: Attempt, now: Timestamp) {
        let Attempt { serial, number } = at;
        let policy = self.policy(serial);
        assert!(number <= policy.retry.attempts(), "{serial}: attempt {number} was not asked for");
        let line = self.lines.entry(session).or_default();
        if number == 1 {
            // In order within each class; what is urgent may overtake.
            let last = line.last.insert(policy.priority, serial);
            assert!(last < Some(serial), "{id}: {serial} after {last:?}");
        }
        line.untaken.insert(serial, now);
        line.unanswered.insert(serial);
        let kept = if policy.priority == Priority::Urgent { 0 } else { URGENT_WINDOW };
        assert!(line.unanswered.len() + kept <= WINDOW, "{id} is sent more than its window");
        let overtaken = line.last.values().any(|last| *last > serial);
        let entry = self.entry(serial, id);
        assert!(!entry.cancelled, "{serial} is sent to {id} though it was cancelled");
        entry.sent += 1;
        let sent = entry.sent;
        if policy.delivery == DeliveryMode::AtMostOnce {
            assert_eq!(sent, 1, "{serial} to {id} may be sent once");
        }
        if overtaken && number == 1 {
            self.count("overtakes");
        }
        self.count(if number > 1 { "attempts after the first" } else { "sent" });
        if sent > 1 && number == 1 {
            self.count("sent again");
        }
    }

    /// The server has answered that a delivery is cancelled, or is not open.
    pub(crate) fn cancelled(&mut self, serial: Serial, id: &ClientId) {
        self.entry(serial, id).cancelled = true;
    }

    /// The server has heard that a client took, began or ended a delivery.
    pub(crate) fn heard(&mut self, session: SessionId, serial: Serial, answered: bool) {
        if let Some(line) = self.lines.get_mut(&session) {
            line.untaken.remove(&serial);
            if answered {
                line.unanswered.remove(&serial);
            }
        }
    }

    /// The server has heard that it runs.
    pub(crate) fn runs(&mut self, serial: Serial, id: &ClientId, now: Timestamp) {
        if self.policy(serial).timeout.run().is_some() {
            self.running.entry((serial, id.clone())).or_insert(now);
        }
    }

    /// A client returns with these, and runs no others.
    pub(crate) fn returned(&mut self, id: &ClientId, taken: &[Attempt]) {
        let has = |serial| taken.iter().any(|attempt| attempt.serial == serial);
        self.running.retain(|(serial, client), _| client != id || has(*serial));
    }

    /// An attempt has ended, the delivery with it or not.
    pub(crate) fn over(&mut self, serial: Serial, id: &ClientId) {
        self.running.remove(&(serial, id.clone()));
        for line in self.lines.values_mut() {
            line.untaken.remove(&serial);
            line.unanswered.remove(&serial);
        }
    }

    pub(crate) fn hung_up(&mut self, session: SessionId) {
        self.lines.remove(&session);
    }

    /// The server has died: what it knew of running commands is gone.
    pub(crate) fn server_crashed(&mut self) {
        self.lines.clear();
        self.running.clear();
        self.count("server crashes");
    }

    /// A client begins to run a command.
    pub(crate) fn begun(&mut self, at: Attempt, id: &ClientId, journal: bool) {
        let policy = self.policy(at.serial);
        let entry = self.entry(at.serial, id);
        let times = entry.begun.entry(at.number).or_default();
        *times += 1;
        let (times, forgotten) = (*times, entry.forgotten);
        let all: usize = entry.begun.values().sum();
        if policy.delivery == DeliveryMode::AtMostOnce {
            assert_eq!(all, 1, "{at:?} of {id} may run once");
        } else if journal {
            assert_eq!(times, 1, "{at:?} of {id} runs twice");
        } else {
            assert!(times <= 1 + forgotten, "{at:?} of {id} runs {times} times");
        }
        self.count("begun");
    }

    /// A client's process has died that had begun these.
    pub(crate) fn forgot(&mut self, id: &ClientId) {
        for ((_, client), entry) in &mut self.entries {
            if client == id && !entry.begun.is_empty() {
                entry.forgotten += 1;
            }
        }
    }

    /// The server tells of an end.
    pub(crate) fn ended(&mut self, response: &Response) {
        let Response { serial, client, outcome, .. } = response;
        let told = &mut self.entry(*serial, client).told;
        *told += 1;
        assert_eq!(*told, 1, "{serial} of {client} ends twice");
        assert!(outcome.state.is_end());
        let explained = outcome.state == DeliveryState::Succeeded || outcome.reason.is_some();
        assert!(explained, "{serial} of {client}: {} for no reason", outcome.state);
        let said = outcome.reason.as_ref().and_then(|reason| reason.strip_prefix(SAID));
        let of = said.map_or(response.attempt, |attempt| attempt.parse().unwrap());
        assert_eq!(of, response.attempt, "{serial} of {client} ends by another attempt's answer");
        self.over(*serial, client);
        self.count(outcome.state.name());
    }

    /// Nothing is open that should have ended by now.
    pub(crate) fn check_times(&self, now: Timestamp) {
        for ((serial, id), since) in &self.running {
            let limit = self.policy(*serial).timeout.run().unwrap_or(Duration::MAX);
            let due = since.plus(limit).plus(RUN_GRACE);
            assert!(now < due, "{serial} on {id} runs since {since}, too long at {now}");
        }
        for (serial, since) in self.lines.values().flat_map(|line| &line.untaken) {
            let due = since.plus(self.policy(*serial).timeout.accept());
            // Connections are looked at no more than twenty times a second.
            let due = due.plus(Duration::from_millis(50));
            assert!(now < due, "{serial} sent at {since} is not taken at {now}");
        }
    }
}
