//! What the connection layer needs of the node, so that it can be tested without one.

use std::sync::Arc;

use crate::client_record::Proof;
use crate::command_limit::CommandLimit;
use crate::engine::SessionId;
use crate::id::ClientId;
use crate::label::Facts;
use crate::node::{CallError, Handle, LiveDelivery, Outlet, ToSession};
use crate::run::{Attempt, Outcome};

/// Those who decide what connections are for: the node, or a stand-in in tests. The methods are
/// those of [`Handle`], where they are described.
pub trait Fleet: Clone + Send + Sync + 'static {
    /// Announces a client's connection; deliveries come to `outbound` from then on. Gives its
    /// number, and how many commands the client may run at once if that is limited; see
    /// [`Handle::connect_limited`].
    fn connect(
        &self,
        client: ClientId,
        proof: Proof,
        taken: Vec<Attempt>,
        outbound: Outlet<ToSession>,
    ) -> impl Future<Output = Result<(SessionId, Option<CommandLimit>), CallError>> + Send;

    /// A client has taken a delivery.
    fn accepted(
        &self,
        session: SessionId,
        attempt: Attempt,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// A client has begun to run a delivery that may run for a limited time.
    fn started(
        &self,
        session: SessionId,
        attempt: Attempt,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// A client has ended a delivery.
    fn responded(
        &self,
        session: SessionId,
        attempt: Attempt,
        outcome: Outcome,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// A client has said of itself what it is.
    fn told_facts(
        &self,
        session: SessionId,
        facts: Facts,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// A client stops in order.
    fn leaving(&self, session: SessionId) -> impl Future<Output = Result<(), CallError>> + Send;

    /// The place of what is seen of a delivery while it runs.
    fn live(
        &self,
        session: SessionId,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Option<Arc<LiveDelivery>>, CallError>> + Send;

    /// A connection has ended.
    fn disconnected(
        &self,
        session: SessionId,
        reason: String,
    ) -> impl Future<Output = Result<(), CallError>> + Send;
}

impl Fleet for Handle {
    async fn connect(
        &self,
        client: ClientId,
        proof: Proof,
        taken: Vec<Attempt>,
        outbound: Outlet<ToSession>,
    ) -> Result<(SessionId, Option<CommandLimit>), CallError> {
        Handle::connect_limited(self, client, proof, taken, outbound).await
    }

    fn accepted(
        &self,
        session: SessionId,
        attempt: Attempt,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        Handle::accepted(self, session, attempt)
    }

    fn started(
        &self,
        session: SessionId,
        attempt: Attempt,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        Handle::started(self, session, attempt)
    }

    fn responded(
        &self,
        session: SessionId,
        attempt: Attempt,
        outcome: Outcome,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        Handle::responded(self, session, attempt, outcome)
    }

    async fn told_facts(&self, session: SessionId, facts: Facts) -> Result<(), CallError> {
        Handle::told_facts(self, session, facts).await
    }

    async fn leaving(&self, session: SessionId) -> Result<(), CallError> {
        Handle::leaving(self, session).await
    }

    async fn live(
        &self,
        session: SessionId,
        attempt: Attempt,
    ) -> Result<Option<Arc<LiveDelivery>>, CallError> {
        Handle::live(self, session, attempt).await
    }

    async fn disconnected(&self, session: SessionId, reason: String) -> Result<(), CallError> {
        Handle::disconnected(self, session, reason).await
    }
}
