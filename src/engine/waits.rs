//! What open deliveries wait for: a question, answered from memory.

use super::core::Engine;
use super::effect::Reply;
use super::sessions::Session;
use crate::id::{ClientId, ClientNo, Serial};
use crate::run::DeliveryState;
use crate::time::Timestamp;

/// Deliveries that one question asks for, at most; what is above is left out.
pub const WAITS: usize = 64;

/// Where an open delivery stands, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Queued, sent or accepted.
    pub state: DeliveryState,
    /// The attempt that comes, or is under way.
    pub attempt: u32,
    /// How many deliveries the client gets before it; 0 once it was sent.
    pub ahead: u64,
    /// Whether the client is away.
    pub away: bool,
    /// Since when; `None`: it is here, or has never been.
    pub away_since: Option<Timestamp>,
    /// Why it is not sent though the client is here.
    pub reason: Option<&'static str>,
    /// It is not sent before this moment, which is still to come.
    pub not_before: Option<Timestamp>,
}

impl Engine {
    /// Where deliveries stand, in the order of the question; `None`: it is not open.
    pub(super) fn waits(&self, deliveries: &[(Serial, ClientId)]) -> Reply {
        let asked = deliveries.iter().take(WAITS);
        let waits = asked.map(|(serial, client)| self.wait_of(*serial, client));
        Reply::Waits(self.now, waits.collect())
    }

    fn wait_of(&self, serial: Serial, id: &ClientId) -> Option<Wait> {
        let no = self.registry.find(id)?;
        let state = self.standing_of(serial, no)?;
        let client = self.registry.get(no)?;
        let open = self.runs.get(serial)?;
        let session = self.registry.session(no);
        let away = session.is_none();
        let link = session.and_then(|session| self.sessions.get(session));
        let leaving = link.is_some_and(Session::is_leaving);
        let away_since = client.presence.disconnected_at.filter(|_| away);
        let attempt = open.attempt(no);
        let queued = state == DeliveryState::Queued;
        let not_before = open.not_before(no).unwrap_or(self.now).max(self.moment(&open.run, no));
        let not_before = Some(not_before).filter(|at| queued && *at > self.now);
        let reason = match () {
            () if !queued || away => None,
            () if self.held.holds(serial) => Some("an earlier run of the job has not ended"),
            () if not_before.is_some() && attempt > 1 => Some("it is tried again after a pause"),
            () if not_before.is_some() => Some("its moment is still to come (spread or jitter)"),
            () if self.rollouts.get(serial).is_some() => Some("its turn in the rollout is to come"),
            () if leaving => Some("the client stops: it takes no more commands until it returns"),
            () => Some("the client has as many commands as it takes at once"),
        };
        let ahead = if queued { self.ahead_of(serial, no) } else { 0 };
        Some(Wait { state, attempt, ahead, away, away_since, reason, not_before })
    }

    /// How many deliveries wait for the client that go before this one.
    fn ahead_of(&self, serial: Serial, no: ClientNo) -> u64 {
        let Some(open) = self.runs.get(serial) else { return 0 };
        let own = (open.run.policy.priority, serial);
        let narrow = self.registry.get(no).into_iter().flat_map(|client| &client.narrow).copied();
        let before = |other: &Serial| {
            self.runs.get(*other).is_some_and(|open| (open.run.policy.priority, *other) < own)
                && self.standing_of(*other, no) == Some(DeliveryState::Queued)
        };
        narrow.chain(self.runs.wide_of(no)).filter(before).count() as u64
    }
}
