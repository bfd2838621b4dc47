//! Jobs that wait until their last run has ended everywhere: `overlap = "queue"` with the scope
//! `job`.
//!
//! A run that fires while a client that is connected has an earlier one is held. Until that has
//! ended there, it must not be sent to anybody.

use std::time::Duration;

use fleetcron::store::{MemoryStore, records};
use fleetcron::{JobName, Overlap, OverlapScope, Serial, Timestamp};

use super::Model;
use super::frames::rows;

/// After a start of the server, clients have so much time to come back and say what they run.
const GRACE: Duration = Duration::from_secs(29);

/// A run that must not be sent while an earlier one is open at a client.
pub(super) struct Obligation {
    run: Serial,
    earlier: Serial,
    client: usize,
    /// The connection over which that client has the earlier one.
    connection: u64,
    incarnation: u64,
}

impl Model {
    /// The server tells that a run has started.
    pub(crate) fn run_started(
        &mut self,
        serial: Serial,
        job: Option<&JobName>,
        at: Timestamp,
        durable: &MemoryStore,
    ) {
        let new = self.started.insert(serial);
        self.check(new, || format!("run {serial} starts a second time"));
        let (Some(job), Some(terms)) = (job, self.terms(serial, durable)) else { return };
        if terms.overlap != Some((Overlap::Queue, OverlapScope::Job)) || !self.steady {
            return;
        }
        let incarnation = self.connections.values().map(|it| it.incarnation).max().unwrap_or(0);
        let of_job = |other: &Serial| {
            self.runs.get(other).is_some_and(|known| known.job.as_ref() == Some(job))
        };
        let mut found = Vec::new();
        for earlier in self.started.range(..serial).filter(|other| of_job(other)) {
            for (number, connection) in &self.connections {
                let held = connection.holds.get(earlier).is_some_and(|since| *since < at);
                let newest = self
                    .connections
                    .range(number + 1..)
                    .all(|(_, other)| other.client != connection.client);
                if held && newest && connection.incarnation == incarnation {
                    found.push((*earlier, connection.client, *number));
                }
            }
        }
        for (earlier, client, connection) in found {
            if is_open(durable, earlier, client) {
                let run = serial;
                self.obligations.push(Obligation { run, earlier, client, connection, incarnation });
            }
        }
    }

    /// A run is sent for the first time.
    pub(super) fn first_sent(&mut self, serial: Serial, durable: &MemoryStore) {
        let since_start =
            self.uptime.last().map_or(Duration::ZERO, |up| self.now.saturating_sub(up.from));
        let at_hand = self.connections.values().map(|it| it.incarnation).max().unwrap_or(0);
        let broken = self.obligations.iter().find(|obligation| {
            let Obligation { run, earlier, client, connection, incarnation } = **obligation;
            // That it was sent, or accepted, counts no more when the connection has ended before
            // the server heard of it; whether it has is not seen here.
            let accepted = self.connections.get(&connection).is_some_and(|known| {
                known.accepted.contains(&earlier) || known.taken.contains_key(&earlier)
            });
            let holds = incarnation == at_hand || since_start < GRACE;
            run == serial && accepted && holds && is_open(durable, earlier, client)
        });
        let problem = broken.map(|obligation| {
            let Obligation { earlier, client, .. } = obligation;
            format!("{serial} is sent though {earlier} of the same job runs on c{client}")
        });
        self.wrong.extend(problem);
    }
}

/// Whether the first attempt of a delivery has not ended, as far as the store knows. Between two
/// attempts a client that goes away does not run it.
fn is_open(durable: &MemoryStore, serial: Serial, client: usize) -> bool {
    let stored = records::run(durable, serial).expect("a store in memory can be read");
    let open = stored.is_some_and(|run| run.ended_at.is_none());
    open && rows(durable, serial, client).is_empty()
}
