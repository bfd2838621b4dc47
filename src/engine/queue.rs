//! The offline queue: what waits for a client that is away, and how much of it may.
//!
//! A delivery waits in it from when it is made, or its client goes, until it ends or the client
//! returns; one that the client took before it went does not. Whoever is connected has no queue
//! here, so a run for connected clients pays no more than a comparison for each.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::change::Mark;
use super::core::Engine;
use super::{MAX_OPEN, RETURN_GRACE};
use crate::id::{ClientNo, Serial};
use crate::job::{MAX_PARAMS, Offline};
use crate::run::{DeliveryState, Outcome};

/// The default of the deliveries that a queue holds, see [`Limits::with_queue`].
pub const QUEUE_DELIVERIES: usize = 1_000;

/// The default of the bytes of parameters that a queue holds: 1 MiB.
pub const QUEUE_BYTES: u64 = 1_024 * 1_024;

/// The most bytes that a queue can be given: 1 GiB.
pub const MAX_QUEUE_BYTES: u64 = 1_024 * 1_024 * 1_024;

/// The least bytes that a queue can be given: the parameters of any one command.
pub const MIN_QUEUE_BYTES: u64 = MAX_PARAMS as u64;

/// What becomes of a delivery for a client whose queue is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueFull {
    /// It ends as `skipped`.
    #[default]
    RefuseNewest,
    /// The oldest that wait end as `superseded`, until there is room for it. None that the client
    /// has, or may have, is ended; if no other waits, the new one ends as `skipped`.
    DropOldest,
}

/// The limits of a server that its operator may choose. They hold for what comes: nothing that
/// waits already is ended because a limit is lower than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "limits of other things may stand beside them")]
pub struct Limits {
    queue_deliveries: usize,
    queue_bytes: u64,
    queue_full: QueueFull,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_deliveries: QUEUE_DELIVERIES,
            queue_bytes: QUEUE_BYTES,
            queue_full: QueueFull::default(),
        }
    }
}

/// A limit that cannot be. The message names the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLimits {
    /// A queue of no delivery, or of more than a client may have open.
    #[error("a queue of {0} deliveries is not valid: write 1 to {MAX_OPEN}")]
    Deliveries(usize),
    /// A queue without room for the parameters of any one command, or far too large.
    #[error(
        "a queue of {0} bytes is not valid: write {MIN_QUEUE_BYTES} (48 KiB) to \
         {MAX_QUEUE_BYTES} (1 GiB)"
    )]
    Bytes(u64),
}

impl Limits {
    /// These, with queues of at most so many deliveries, and so many bytes of parameters.
    pub fn with_queue(
        self,
        deliveries: usize,
        bytes: u64,
        full: QueueFull,
    ) -> Result<Self, InvalidLimits> {
        if !(1..=MAX_OPEN as usize).contains(&deliveries) {
            return Err(InvalidLimits::Deliveries(deliveries));
        }
        if !(MIN_QUEUE_BYTES..=MAX_QUEUE_BYTES).contains(&bytes) {
            return Err(InvalidLimits::Bytes(bytes));
        }
        Ok(Self { queue_deliveries: deliveries, queue_bytes: bytes, queue_full: full })
    }
}

/// What waits for one client while it is away; empty while it is connected.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) deliveries: usize,
    pub(super) bytes: u64,
    /// Those of them that were on their way when the connection ended: the client may have them.
    on_the_way: BTreeSet<Serial>,
}

impl Queue {
    /// A delivery waits from now on.
    pub(super) fn enter(&mut self, bytes: u64) {
        self.deliveries += 1;
        self.bytes += bytes;
    }

    /// A delivery that waited has ended.
    pub(super) fn leave(&mut self, serial: Serial, bytes: u64) {
        self.deliveries = self.deliveries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.on_the_way.remove(&serial);
    }

    fn is_above(&self, limits: &Limits) -> bool {
        self.deliveries > limits.queue_deliveries || self.bytes > limits.queue_bytes
    }
}

impl Engine {
    /// The engine with other limits than the default ones.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A client has gone: what it has not taken waits for its return.
    pub(super) fn begin_queue(&mut self, no: ClientNo, on_the_way: BTreeSet<Serial>) {
        let mut queue = Queue { on_the_way, ..Queue::default() };
        let narrow = self.registry.get(no).into_iter().flat_map(|client| &client.narrow).copied();
        for serial in narrow.chain(self.runs.wide_of(no)) {
            if let Some(run) = self.runs.get(serial).filter(|run| !run.accepted.contains(no.0)) {
                queue.enter(run.bytes());
            }
        }
        if let Some(client) = self.registry.get_mut(no) {
            client.queue = queue;
        }
    }

    /// Ends what the queues of clients that are away have no room for, now that a run has its
    /// deliveries in them.
    pub(super) fn limit_queues(&mut self, serial: Serial, away: impl Iterator<Item = u32>) {
        let Some(run) = self.runs.get(serial) else { return };
        if run.run.offline == Offline::Drop {
            return;
        }
        let bytes = run.bytes();
        for no in away.map(ClientNo) {
            while self.is_crowded(no) && self.limits.queue_full == QueueFull::DropOldest {
                let Some(oldest) = self.oldest_queued(no, serial) else { break };
                let reason = format!("the client's queue was full: run {serial} took its place");
                self.end_delivery(oldest, no, Outcome::ended(DeliveryState::Superseded, reason));
            }
            if self.is_crowded(no) {
                self.refuse(serial, no, bytes);
            }
        }
    }

    fn is_crowded(&self, no: ClientNo) -> bool {
        self.registry.get(no).is_some_and(|client| client.queue.is_above(&self.limits))
    }

    fn refuse(&mut self, serial: Serial, no: ClientNo, bytes: u64) {
        let Some(client) = self.registry.get(no) else { return };
        // Without the one that there is no room for.
        let (others, held) = (client.queue.deliveries - 1, client.queue.bytes - bytes);
        let reason = if others >= self.limits.queue_deliveries {
            format!("the client's queue is full: {others} deliveries wait")
        } else {
            format!("the client's queue is full: {held} bytes of parameters wait")
        };
        self.end_delivery(serial, no, Outcome::ended(DeliveryState::Skipped, reason));
    }

    /// The oldest delivery that waits for a client that is away, other than `except`, and that it
    /// does not have.
    fn oldest_queued(&self, no: ClientNo, except: Serial) -> Option<Serial> {
        let client = self.registry.get(no)?;
        // Clients that have not returned since the start may have what was sent before it.
        let unsettled = self.now < self.started.plus(RETURN_GRACE);
        let waits = |serial: &Serial| {
            self.runs.get(*serial).is_some_and(|run| {
                let may_be_there = unsettled && run.run.fired_at < self.started;
                *serial != except
                    && !run.accepted.contains(no.0)
                    && !client.queue.on_the_way.contains(serial)
                    && !run.is_marked(Mark::Sent, no)
                    && !may_be_there
            })
        };
        let narrow = client.narrow.iter().copied().find(waits);
        narrow.into_iter().chain(self.runs.wide_of(no).find(waits)).min()
    }
}
