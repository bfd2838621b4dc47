//! What frames may say, and when.

use fleetcron::store::{MemoryStore, records};
use fleetcron::{DeliveryState, Response, Serial, Timestamp, history};
use serde_json::Value;

use super::super::network::{Link, Side};
use super::super::tap::{Tap, attempt, attempts};
use super::super::world::BEGIN;
use super::{Connection, Model};
use crate::sim::plan::client_id;

/// What the store tells of a client's delivery: its attempts, and the end if there is one.
pub(super) fn rows(durable: &MemoryStore, serial: Serial, client: usize) -> Vec<Response> {
    let id = client_id(client);
    let mut rows = Vec::new();
    let mut page = 0;
    loop {
        let part = history::responses(durable, serial, page).expect("a store in memory");
        if part.next_page == page {
            return rows;
        }
        page = part.next_page;
        rows.extend(part.responses.into_iter().filter(|row| row.client == id));
    }
}

impl Model {
    /// A frame was seen.
    pub(crate) fn frame(
        &mut self,
        link: &Link,
        tap: Tap,
        kind: &str,
        body: &Value,
        durable: &MemoryStore,
    ) {
        match (tap, kind) {
            (Tap::Written(Side::Client), "hello") => self.hello(link, body),
            (Tap::Written(Side::Server), "welcome") => {
                if let Some(connection) = self.connections.get_mut(&link.number) {
                    connection.welcomed = true;
                }
            }
            (Tap::Written(Side::Server), "command") => self.command(link, body, durable),
            (Tap::Written(Side::Server), "ack") => {
                for (serial, number) in attempts(body, "serials") {
                    self.acknowledges(link.client, serial, number, durable);
                }
            }
            (Tap::Read(Side::Server), "accepted") => {
                if let (Some((serial, _)), Some(connection)) =
                    (attempt(body), self.connections.get_mut(&link.number))
                {
                    connection.accepted.insert(serial);
                }
            }
            (Tap::Read(Side::Client), "command") => {
                let client = &mut self.clients[link.client];
                if let Some((serial, number)) = attempt(body)
                    && client.process == link.process
                {
                    client.cancelled.remove(&serial);
                    // What it said of an earlier attempt is of no account any more.
                    if client.unacknowledged.get(&serial).is_some_and(|said| *said < number) {
                        client.unacknowledged.remove(&serial);
                    }
                }
            }
            (Tap::Read(Side::Client), "cancel") => {
                let client = &mut self.clients[link.client];
                if let Some((serial, _)) = attempt(body)
                    && client.process == link.process
                {
                    client.cancelled.insert(serial);
                }
            }
            (Tap::Written(Side::Client), "response") => {
                let client = &mut self.clients[link.client];
                if let Some((serial, number)) = attempt(body)
                    && client.process == link.process
                {
                    client.unacknowledged.insert(serial, number);
                }
            }
            (Tap::Read(Side::Client), "ack") => {
                let client = &mut self.clients[link.client];
                for (serial, number) in attempts(body, "serials") {
                    if client.unacknowledged.get(&serial) == Some(&number) {
                        client.unacknowledged.remove(&serial);
                    }
                }
            }
            _ => {}
        }
    }

    /// The wall time, where nobody sets the clock.
    pub(super) fn wall(&self) -> Timestamp {
        Timestamp::from_millis(BEGIN).plus(self.now)
    }

    fn hello(&mut self, link: &Link, body: &Value) {
        let (taken, at) = (attempts(body, "taken"), self.wall());
        let connection = Connection {
            client: link.client,
            incarnation: link.incarnation,
            hello_at: Some(at),
            holds: taken.keys().map(|serial| (*serial, at)).collect(),
            taken,
            ..Connection::default()
        };
        self.connections.insert(link.number, connection);
    }

    /// The server sends a command.
    fn command(&mut self, link: &Link, body: &Value, durable: &MemoryStore) {
        let Some((serial, number)) = attempt(body) else { return };
        let (client, at) = (link.client, self.wall());
        let stored = records::run(durable, serial).expect("a store in memory can be read");
        let Some(run) = stored else {
            return self.wrong(format!("{serial} is sent to c{client}, and is not durable"));
        };
        let Some(terms) = self.terms(serial, durable) else { return };
        self.check(terms.target.has(client), || {
            format!("{serial} is sent to c{client}, for whom it is not")
        });
        self.check(number <= terms.attempts, || {
            format!(
                "attempt {number} of {serial} is sent to c{client}; {} were asked for",
                terms.attempts
            )
        });
        let rows = rows(durable, serial, client);
        let answered = rows.iter().find(|row| {
            let by_client = matches!(
                row.outcome.state,
                DeliveryState::Succeeded | DeliveryState::Failed | DeliveryState::Rejected
            );
            row.attempt >= number && by_client
        });
        self.check(answered.is_none(), || {
            format!("attempt {number} of {serial} is sent to c{client}, of which is recorded: {answered:?}")
        });
        let sent = self.sent.entry((serial, client)).or_default();
        *sent += 1;
        let sent = *sent;
        self.check(!terms.once || sent == 1, || {
            format!("{serial} is sent to c{client} for the {sent}th time; it may be sent once")
        });
        let first =
            !self.sent.keys().any(|(other, of)| *other == serial && *of != client) && sent == 1;
        if first {
            self.first_sent(serial, durable);
        }
        let cancelled = self.cancels.iter().any(|cancel| {
            cancel.serial == serial
                && cancel.client.is_none_or(|one| one == client)
                && cancel.answered.is_some_and(|next| link.number >= next)
        });
        let steady = self.steady;
        let Some(connection) = self.connections.get_mut(&link.number) else {
            return self.wrong(format!("{serial} is sent to c{client}, which has said no hello"));
        };
        let welcomed = connection.welcomed;
        let taken = connection.taken.get(&serial) == Some(&number);
        let anew = connection.holds.insert(serial, at).is_none();
        let late = run.expires_at.filter(|_| steady).is_some_and(|expires| {
            connection
                .hello_at
                .is_some_and(|hello| hello > expires.plus(std::time::Duration::from_secs(1)))
        });
        let before = if terms.job.is_none() && number == 1 {
            connection.last.insert(terms.priority, serial)
        } else {
            None
        };
        self.check(welcomed, || format!("{serial} is sent to c{client} before its welcome"));
        self.check(!taken, || format!("{serial} is sent to c{client}, which has it"));
        self.check(!(cancelled && anew), || {
            format!("{serial} is sent to c{client} over a connection made after it was cancelled")
        });
        self.check(!(late && anew), || {
            format!("{serial} is sent to c{client} over a connection made after it expired")
        });
        self.check(before.is_none_or(|before| before < serial), || {
            format!("{serial} is sent to c{client} after {before:?} of the same class")
        });
    }

    /// The server acknowledges a response.
    fn acknowledges(&mut self, client: usize, serial: Serial, number: u32, durable: &MemoryStore) {
        let rows = rows(durable, serial, client);
        let there = rows.iter().any(|row| row.attempt == number || !row.retried);
        self.check(there, || {
            format!("attempt {number} of {serial} of c{client} is acknowledged and not durable")
        });
    }
}
