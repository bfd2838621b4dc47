//! What all connections of a server share: its parts, its limits, and how many there are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::Gate;
use super::auth::Authenticator;
use crate::bucket::Rate;
use crate::handlers::Handlers;
use crate::id::ClientId;
use crate::time::Clock;

/// What a handler of a client's command is told beside the parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The client.
    pub client: ClientId,
    /// Where it connects from; `None` for a pipe in memory.
    pub peer: Option<SocketAddr>,
}

/// The limits of a server.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) heartbeat: Duration,
    pub(super) hello_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) drain: Duration,
    pub(super) max_frame: usize,
    pub(super) max_connections: usize,
    pub(super) max_greeting: usize,
    pub(super) max_calls: usize,
    /// Whether progress and output of running commands are wanted.
    pub(super) live: bool,
    pub(super) admission: Rate,
}

type ConnectHook = Box<dyn Fn(&Caller) + Send + Sync>;
type DisconnectHook = Box<dyn Fn(&Caller, &str) + Send + Sync>;

#[derive(Default)]
pub(super) struct Hooks {
    pub(super) connect: Option<ConnectHook>,
    pub(super) disconnect: Option<DisconnectHook>,
}

pub(super) struct Shared<F> {
    pub(super) fleet: F,
    pub(super) authenticator: Box<dyn Authenticator>,
    pub(super) handlers: Handlers<Caller>,
    pub(super) hooks: Hooks,
    pub(super) limits: Limits,
    pub(super) clock: Arc<dyn Clock>,
    /// One permit for each connection that may be let in.
    pub(super) open: Arc<Semaphore>,
    /// One permit for each connection that may be without a hello.
    pub(super) greeting: Arc<Semaphore>,
    /// How many hellos are looked at in a second.
    pub(super) gate: Gate,
    /// Connections shall say bye.
    pub(super) stopping: CancellationToken,
    /// Connections shall end at once.
    pub(super) abort: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl<F> Shared<F> {
    pub(super) fn connections(&self) -> usize {
        self.limits.max_connections - self.open.available_permits()
    }
}
