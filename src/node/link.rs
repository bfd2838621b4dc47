//! What passes between the node and its connections.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::CallError;
use super::live::LiveDelivery;
use super::outbox::Outlet;
use crate::actor::Actor;
use crate::client_record::Proof;
use crate::engine::{CloseReason, Dispatch, Input, Reply, Request, SessionId};
use crate::id::{ClientId, Serial};
use crate::run::{Attempt, Outcome};
use crate::store::Batch;

/// Where an answer goes.
pub(super) type Answer = oneshot::Sender<Result<Reply, CallError>>;

/// What the node has for a connection.
#[derive(Debug, Clone)]
pub enum ToSession {
    /// A command to send.
    Command(Arc<Dispatch>),
    /// The client's answer is recorded.
    Ack(Attempt),
    /// The client shall stop a command.
    Cancel(Serial),
    /// The connection shall end; nothing follows.
    Close(CloseReason),
}

/// A connection that asks to be let in.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: ClientId,
    pub(super) proof: Proof,
    pub(super) taken: Vec<Attempt>,
    pub(super) outbound: Outlet<ToSession>,
}

/// What comes into the node's inbox. Small, since each is moved from queue to queue: what is
/// large and rare is boxed.
#[derive(Debug)]
pub(super) enum Letter {
    Call {
        actor: Actor,
        request: Box<Request>,
        answer: Answer,
    },
    Connect {
        session: SessionId,
        link: Link,
        answer: Answer,
    },
    /// A client has taken a delivery.
    Accepted {
        session: SessionId,
        attempt: Attempt,
    },
    /// A client has begun to run what it has taken.
    Started {
        session: SessionId,
        attempt: Attempt,
    },
    /// A client has ended a delivery.
    Responded {
        session: SessionId,
        attempt: Attempt,
        outcome: Outcome,
    },
    /// What is rarer.
    Input(Box<Input>),
    /// A connection asks for the place of what is seen of a delivery; nothing changes.
    Live {
        session: SessionId,
        attempt: Attempt,
        answer: oneshot::Sender<Option<Arc<LiveDelivery>>>,
    },
    /// Something that is worked out from what is stored; the engine does not know of it.
    Derived {
        batch: Batch,
        answer: oneshot::Sender<()>,
    },
    Stop,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_small() {
        assert!(size_of::<Letter>() <= 112, "{}", size_of::<Letter>());
    }
}
