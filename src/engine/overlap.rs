//! What an earlier run of a job that has not ended means for a new one.
//!
//! A delivery runs while its client is connected, or away with it. What only waits for a client
//! that is away stands in nobody's way. A client that took a delivery and went runs it until it
//! returns with an answer or without the delivery, is removed from the registry, or the job's
//! limit of how long a command may run is over; that it took it is not stored, so a start of the
//! server, and [`RETURN_GRACE`](super::RETURN_GRACE) after it, ends it too.
//!
//! # The table
//!
//! `a` and `b` are the job's clients. The row is where the earlier delivery, of run #1, stands at
//! `a` when the job fires again as run #2; `b` has ended its own. Each cell has a test of its
//! name in `tests/policies`, such as `client::skip::sent`; whatever it says, the next firing goes
//! to both once `a` has ended what it has, has returned without it, or was removed.
//!
//! `skip` means: ends as `skipped`, "run #1 has not ended on this client". `replace` means: #1
//! ends as `superseded`, "run #2 is newer", `a` is asked to stop it if it is connected, or when it
//! returns with it, and gets #2. `queue` and `send` mean that #1 stays as it is: `queue`, #2
//! waits at the server until `a` returns; `send`, #2 is sent at once, and the client runs the two
//! in turn, or with `allow` side by side.
//!
//! Scope `client`: `b` gets #2 at once in every cell.
//!
//! | `client` | `skip` | `queue` | `replace` | `allow` |
//! | --- | --- | --- | --- | --- |
//! | `queued_while_away` | queue | queue | queue | queue |
//! | `sent` | skip | send | replace | send |
//! | `accepted` | skip | send | replace | send |
//! | `ended` | send | send | send | send |
//! | `away_with_it` | skip | queue | replace | queue |
//! | `sent_then_away` | queue | queue | queue | queue |
//! | `lost_and_sent_again` | skip | send | replace | send |
//! | `cancelled_not_confirmed` | skip | send | replace | send |
//! | `several_open` | skip (the latest is named) | skip ("run #2 waits on this client already") | replace (all) | send |
//!
//! Scope `job`: `never` means that the run is for nobody, "skipped: run #1 has not ended"; `hold`,
//! that both `a` and `b` get #2 when #1 has ended everywhere. Of two that would be held the second
//! is for nobody, "skipped: run #2 waits already". What is replaced is replaced everywhere, also
//! where it only waits.
//!
//! | `job` | `skip` | `queue` | `replace` | `allow` |
//! | --- | --- | --- | --- | --- |
//! | `queued_while_away` | queue | queue | replace | queue |
//! | `sent` | never | hold | replace | send |
//! | `accepted` | never | hold | replace | send |
//! | `ended` | send | send | send | send |
//! | `away_with_it` | never | hold | replace | queue |
//! | `sent_then_away` | queue | queue | replace | queue |
//! | `lost_and_sent_again` | never | hold | replace | send |
//! | `cancelled_not_confirmed` | never | hold | replace | send |
//! | `several_open` | never (the latest is named) | hold | replace (all) | send |

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;

use super::core::Engine;
use crate::id::{ClientNo, JobId, Serial};
use crate::job::{Overlap, OverlapScope};
use crate::run::{DeliveryState, Outcome, Run};
use crate::time::Timestamp;

/// Runs that wait until the earlier runs of their job have ended everywhere: one a job.
#[derive(Debug, Default)]
pub(super) struct Held {
    by_job: BTreeMap<JobId, Serial>,
    /// Jobs of which something has ended since the last look.
    stirred: BTreeSet<JobId>,
    /// After a start: when clients have had their time to say what they run.
    settled_at: Option<Timestamp>,
}

impl Held {
    fn of(&self, job: JobId) -> Option<Serial> {
        self.by_job.get(&job).copied()
    }

    /// Whether a run is held.
    pub(super) fn holds(&self, serial: Serial) -> bool {
        self.by_job.values().any(|held| *held == serial)
    }

    /// Notes that a delivery of a job has ended, and its run if `ended`.
    pub(super) fn stir(&mut self, job: JobId, serial: Serial, ended: bool) {
        if self.of(job) == Some(serial) {
            if ended {
                self.by_job.remove(&job);
            }
        } else if self.by_job.contains_key(&job) {
            self.stirred.insert(job);
        }
    }

    /// Notes that a client has gone.
    pub(super) fn stir_all(&mut self) {
        self.stirred.extend(self.by_job.keys());
    }

    /// When the held runs want to be looked at.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.settled_at.filter(|_| !self.by_job.is_empty())
    }
}

/// How a run of a job begins.
pub(super) enum Start {
    /// At once.
    Now,
    /// When the earlier ones have ended.
    Held,
    /// Not at all, for this reason.
    Never(String),
}

impl Engine {
    /// How a run begins whose job's earlier runs count everywhere. Ends those that it replaces.
    pub(super) fn overlap_of_job(&mut self, run: &Run) -> Start {
        let Some(job) = run.in_turn().filter(|_| run.overlap_scope == OverlapScope::Job) else {
            return Start::Now;
        };
        if run.overlap == Overlap::Replace {
            for earlier in self.runs.of_job(job) {
                let reason = format!("run {} is newer", run.serial);
                let open = self.runs.get(earlier).map(|run| run.open.clone());
                for no in open.iter().flatten() {
                    self.withdraw(earlier, ClientNo(no), DeliveryState::Superseded, &reason);
                }
            }
            return Start::Now;
        }
        let held = self.held.of(job);
        match (self.running(job, None), held, run.overlap) {
            (Some(earlier), _, Overlap::Skip) => {
                Start::Never(format!("skipped: run {earlier} has not ended"))
            }
            (_, Some(held), Overlap::Queue) => {
                Start::Never(format!("skipped: run {held} waits already"))
            }
            (Some(_), None, Overlap::Queue) => {
                self.held.by_job.insert(job, run.serial);
                Start::Held
            }
            _ => Start::Now,
        }
    }

    /// The latest run of a job that runs on any client, other than `except`.
    fn running(&self, job: JobId, except: Option<Serial>) -> Option<Serial> {
        // Clients that have not returned since the start may run what was sent before it.
        let unsettled = |run: &Run| self.held.settled_at.is_some() && run.fired_at < self.started;
        self.runs.of_job(job).into_iter().rev().find(|serial| {
            Some(*serial) != except
                && self
                    .runs
                    .get(*serial)
                    .is_some_and(|run| unsettled(&run.run) || !self.running_on(run).is_empty())
        })
    }

    /// The clients on which a run's deliveries run.
    fn running_on(&self, run: &super::runs::OpenRun) -> RoaringBitmap {
        (&run.open & self.registry.connected()) | &run.accepted
    }

    /// Deals with the clients that still run an earlier delivery of the run's job.
    pub(super) fn overlap_on_clients(&mut self, serial: Serial) {
        if let Some(open) = self.runs.get(serial) {
            let clients = open.open.clone();
            self.overlap_on(serial, &clients);
        }
    }

    /// The same for some of its clients.
    pub(super) fn overlap_on(&mut self, serial: Serial, clients: &RoaringBitmap) {
        let Some(open) = self.runs.get(serial) else { return };
        let clients = clients & &open.open;
        let policy = open.run.overlap;
        let Some(job) =
            open.run.in_turn().filter(|_| open.run.overlap_scope == OverlapScope::Client)
        else {
            return;
        };
        // By client: how many earlier ones it has, and the latest of them.
        let mut earlier: BTreeMap<u32, (usize, Serial)> = BTreeMap::new();
        for other in self.runs.of_job(job).into_iter().filter(|other| *other != serial) {
            let Some(run) = self.runs.get(other) else { continue };
            for no in &(&self.running_on(run) & &clients) {
                let seen = earlier.entry(no).or_insert((0, other));
                *seen = (seen.0 + 1, other);
            }
        }
        for (no, (count, other)) in earlier {
            let skipped = match (policy, count) {
                (Overlap::Skip, _) => format!("run {other} has not ended on this client"),
                (Overlap::Queue, 2..) => format!("run {other} waits on this client already"),
                (Overlap::Replace, _) => {
                    self.replace_on(job, serial, ClientNo(no));
                    continue;
                }
                _ => continue,
            };
            let outcome = Outcome::ended(DeliveryState::Skipped, skipped);
            self.end_delivery(serial, ClientNo(no), outcome);
        }
    }

    fn replace_on(&mut self, job: JobId, by: Serial, no: ClientNo) {
        let reason = format!("run {by} is newer");
        for other in self.runs.of_job(job).into_iter().filter(|other| *other != by) {
            self.withdraw(other, no, DeliveryState::Superseded, &reason);
        }
    }

    /// Lets held runs go whose way has become free.
    pub(super) fn release_held(&mut self) {
        if self.held.settled_at.is_some_and(|at| at <= self.now) {
            self.held.settled_at = None;
            self.held.stir_all();
        }
        for job in std::mem::take(&mut self.held.stirred) {
            let Some(serial) = self.held.of(job) else { continue };
            if self.running(job, Some(serial)).is_none() {
                self.held.by_job.remove(&job);
                self.deliver(serial);
            }
        }
    }

    /// Holds the latest run of each job that was held, or would be, when the server stopped; until
    /// the clients have had time to return and say what they run.
    pub(super) fn restore_held(&mut self) {
        if bug!(HeldNotRebuilt) {
            return;
        }
        self.held.settled_at = Some(self.started.plus(super::RETURN_GRACE));
        for job in self.runs.jobs() {
            let serials = self.runs.of_job(job);
            let [_, .., latest] = serials[..] else { continue };
            let queues = self.runs.get(latest).is_some_and(|open| {
                open.run.overlap == Overlap::Queue && open.run.overlap_scope == OverlapScope::Job
            });
            if queues {
                self.held.by_job.insert(job, latest);
            }
        }
    }
}
