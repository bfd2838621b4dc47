//! A client as the protocol describes it, written from the description alone. It may keep a
//! journal or not, and crash at any moment.

use std::collections::BTreeMap;

use fleetcron::{Attempt, DeliveryState, Outcome, Priority, Serial, Timestamp};

/// How the reason of every answer of a client begins; the attempt follows.
pub(crate) const SAID: &str = "so the client says of attempt ";

/// What the server sends.
#[derive(Debug, Clone)]
pub(crate) enum ToClient {
    Command { attempt: Attempt, limit_ms: Option<u64>, class: Priority },
    Ack(Attempt),
    Cancel(Serial),
}

/// What a client sends.
#[derive(Debug, Clone)]
pub(crate) enum ToServer {
    Accepted(Attempt),
    Started(Attempt),
    Responded(Attempt, Outcome),
}

/// Taken and not begun, or begun and not ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) attempt: u32,
    pub(crate) limit_ms: Option<u64>,
    class: Priority,
    /// When the client ends it itself.
    pub(crate) until: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) journal: bool,
    pub(crate) waiting: BTreeMap<Serial, Work>,
    pub(crate) running: BTreeMap<Serial, Work>,
    /// Ended and not acknowledged: the last attempt of each.
    ended: BTreeMap<Serial, (u32, Outcome)>,
    acked: BTreeMap<Serial, u32>,
}

impl Client {
    pub(crate) fn new(journal: bool) -> Self {
        Self { journal, ..Self::default() }
    }

    /// A frame came; gives back what is said to it.
    pub(crate) fn take(&mut self, frame: &ToClient) -> Vec<ToServer> {
        match *frame {
            ToClient::Command { attempt, limit_ms, class } => {
                self.command(attempt, limit_ms, class)
            }
            ToClient::Ack(Attempt { serial, number }) => {
                if self.ended.get(&serial).is_some_and(|(ended, _)| *ended == number) {
                    self.ended.remove(&serial);
                    self.acked.insert(serial, number);
                }
                Vec::new()
            }
            ToClient::Cancel(serial) => {
                let waited = self.waiting.remove(&serial);
                let ran = self.running.remove(&serial);
                let stopped = waited.or(ran);
                stopped
                    .map(|work| self.end(serial, work, DeliveryState::Cancelled))
                    .into_iter()
                    .collect()
            }
        }
    }

    fn command(
        &mut self,
        attempt: Attempt,
        limit_ms: Option<u64>,
        class: Priority,
    ) -> Vec<ToServer> {
        let Attempt { serial, number } = attempt;
        let has = |work: &BTreeMap<Serial, Work>| work.get(&serial).map(|work| work.attempt);
        if has(&self.waiting).max(has(&self.running)).is_some_and(|known| known >= number) {
            return vec![ToServer::Accepted(attempt)];
        }
        if let Some((ended, outcome)) = self.ended.get(&serial)
            && *ended >= number
        {
            return vec![ToServer::Responded(Attempt { serial, number: *ended }, outcome.clone())];
        }
        if self.acked.get(&serial).is_some_and(|acked| *acked >= number) {
            return Vec::new();
        }
        // An earlier attempt that still runs is given up without a word.
        self.running.remove(&serial);
        self.ended.remove(&serial);
        self.waiting.insert(serial, Work { attempt: number, limit_ms, class, until: None });
        vec![ToServer::Accepted(attempt)]
    }

    /// Begins the earliest of the highest class that waits; tells which, and what is said of it.
    pub(crate) fn begin(&mut self, now: Timestamp) -> Option<(Attempt, Option<ToServer>)> {
        let next = self.waiting.iter().min_by_key(|(serial, work)| (work.class, **serial));
        let serial = *next?.0;
        let mut work = self.waiting.remove(&serial)?;
        let attempt = Attempt { serial, number: work.attempt };
        let limit = work.limit_ms.map(std::time::Duration::from_millis);
        work.until = limit.map(|limit| now.plus(limit));
        self.running.insert(serial, work);
        Some((attempt, limit.map(|_| ToServer::Started(attempt))))
    }

    /// Ends the earliest that runs.
    pub(crate) fn finish(&mut self, state: DeliveryState) -> Option<ToServer> {
        let (serial, work) = self.running.pop_first()?;
        Some(self.end(serial, work, state))
    }

    /// Ends what runs too long.
    pub(crate) fn end_overdue(&mut self, now: Timestamp) -> Vec<ToServer> {
        let late = |work: &Work| work.until.is_some_and(|until| until <= now);
        let late: Vec<Serial> =
            self.running.iter().filter(|(_, work)| late(work)).map(|(serial, _)| *serial).collect();
        let mut said = Vec::new();
        for serial in late {
            if let Some(work) = self.running.remove(&serial) {
                said.push(self.end(serial, work, DeliveryState::TimedOut));
            }
        }
        said
    }

    fn end(&mut self, serial: Serial, work: Work, state: DeliveryState) -> ToServer {
        let outcome = Outcome::ended(state, format!("{SAID}{}", work.attempt));
        self.ended.insert(serial, (work.attempt, outcome.clone()));
        ToServer::Responded(Attempt { serial, number: work.attempt }, outcome)
    }

    /// For the hello.
    pub(crate) fn taken(&self) -> Vec<Attempt> {
        let held = self.running.iter().chain(&self.waiting);
        let held = held.map(|(serial, work)| (*serial, work.attempt));
        let ended = self.ended.iter().map(|(serial, (attempt, _))| (*serial, *attempt));
        let taken: BTreeMap<Serial, u32> = ended.chain(held).collect();
        taken.into_iter().map(|(serial, number)| Attempt { serial, number }).collect()
    }

    /// What is said after the welcome.
    pub(crate) fn greeting(&self) -> Vec<ToServer> {
        let ended = self.ended.iter().map(|(serial, (number, outcome))| {
            ToServer::Responded(Attempt { serial: *serial, number: *number }, outcome.clone())
        });
        let limited = self.running.iter().filter(|(_, work)| work.limit_ms.is_some());
        let limited = limited.map(|(serial, work)| {
            ToServer::Started(Attempt { serial: *serial, number: work.attempt })
        });
        ended.chain(limited).collect()
    }

    /// Its process is killed, and another takes its place.
    pub(crate) fn crash(&mut self) {
        self.waiting.clear();
        let running = std::mem::take(&mut self.running);
        if self.journal {
            for (serial, work) in running {
                self.end(serial, work, DeliveryState::Failed);
            }
        } else {
            self.ended.clear();
        }
        // A journal forgets what was acknowledged; so does a process without one.
        self.acked.clear();
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.ended.is_empty()
    }
}
