//! What the owner of a client holds: its state, calls to the server, and the end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::id::{ClientId, CommandName};
use crate::json::Json;

/// How a client stands with its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It tries to get a connection.
    Connecting,
    /// It holds a connection, and the server has let it in.
    Connected,
    /// It lost its connection or got none, for this reason, and will try again.
    Disconnected(String),
    /// The server did not let it in, for this reason; it will try again at the slowest pace.
    Refused(String),
    /// It has ended, and does not come back.
    Stopped(End),
}

/// Why a client has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Its owner stopped it.
    Stopped,
    /// The server told it to stay away, for this reason: another connection has taken its place,
    /// or it was removed from the registry.
    Dismissed(String),
    /// The runtime that it ran on has ended it.
    Aborted,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped by its owner"),
            Self::Dismissed(reason) => write!(f, "dismissed by the server: {reason}"),
            Self::Aborted => f.write_str("ended with its runtime"),
        }
    }
}

/// Why a call to the server has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection; the command was not sent.
    #[error("call of {command}: not connected to the server")]
    NotConnected {
        /// The command.
        command: CommandName,
    },
    /// The connection was lost before the answer; the command may have been run.
    #[error("call of {command}: the connection was lost before the answer came")]
    Lost {
        /// The command.
        command: CommandName,
    },
    /// No answer came in time; the command may have been run.
    #[error("call of {command}: no answer within {after:?}")]
    TimedOut {
        /// The command.
        command: CommandName,
        /// How long was waited.
        after: Duration,
    },
    /// The server answered with an error.
    #[error("call of {command}: the server answered: {reason}")]
    Server {
        /// The command.
        command: CommandName,
        /// The server's words.
        reason: String,
    },
    /// It cannot be sent: too long, or too many calls without an answer.
    #[error("call of {command}: {reason}")]
    NotSent {
        /// The command.
        command: CommandName,
        /// Why.
        reason: String,
    },
}

/// A call on its way to the connection.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) command: CommandName,
    pub(super) params: Json,
    pub(super) answer: oneshot::Sender<Result<Json, CallError>>,
}

/// A cheap, cloneable way to a running client. The client runs on when all of them are dropped.
#[derive(Clone)]
pub struct ClientHandle {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) id: ClientId,
    pub(super) calls: mpsc::Sender<Request>,
    pub(super) state: watch::Receiver<State>,
    pub(super) stop: CancellationToken,
    pub(super) call_timeout: Duration,
}

impl ClientHandle {
    /// The client's id.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        &self.inner.id
    }

    /// Sends a command to the server and waits for its answer.
    pub async fn call(&self, command: CommandName, params: Json) -> Result<Json, CallError> {
        let after = self.inner.call_timeout;
        let (answer, answered) = oneshot::channel();
        let request = Request { command: command.clone(), params, answer };
        let asking = async {
            if !self.is_connected() || self.inner.calls.send(request).await.is_err() {
                return Err(CallError::NotConnected { command: command.clone() });
            }
            answered.await.unwrap_or_else(|_| Err(CallError::Lost { command: command.clone() }))
        };
        match tokio::time::timeout(after, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::TimedOut { command, after }),
        }
    }

    /// How the client stands, to look at or to watch.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.inner.state.clone()
    }

    /// Whether it holds a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.inner.state.borrow() == State::Connected
    }

    /// Waits until it holds a connection. The error is that it has ended instead.
    pub async fn connected(&self) -> Result<(), End> {
        let mut state = self.state();
        let reached = state.wait_for(|s| matches!(s, State::Connected | State::Stopped(_))).await;
        match reached.as_deref() {
            Ok(State::Connected) => Ok(()),
            Ok(State::Stopped(end)) => Err(end.clone()),
            _ => Err(End::Aborted),
        }
    }

    /// Stops: takes no more commands, lets those that run end within the configured limit, sends
    /// their results and waits for the acknowledgements, says bye. Commands that wait, or have
    /// not ended by then, stay open at the server, which sends them again to the successor; of a
    /// client with a journal the successor reports the latter, or runs them again, as their job
    /// wishes.
    pub async fn stop(&self) -> End {
        self.inner.stop.cancel();
        self.wait().await
    }

    /// Waits until the client has ended, and tells why.
    pub async fn wait(&self) -> End {
        let mut state = self.state();
        let ended = state.wait_for(|state| matches!(state, State::Stopped(_))).await;
        match ended.as_deref() {
            Ok(State::Stopped(end)) => end.clone(),
            _ => End::Aborted,
        }
    }
}

impl fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHandle")
            .field("id", &self.inner.id)
            .field("state", &*self.inner.state.borrow())
            .finish()
    }
}
