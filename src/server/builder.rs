//! How a server is put together and started.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Server;
use super::admission::Gate;
use super::auth::{Authenticator, TokenAuthenticator};
use super::fleet::Fleet;
use super::shared::{Caller, Hooks, Limits, Shared};
use crate::bucket::Rate;
use crate::handlers::{HandlerError, Handlers, HandlersError};
use crate::job::MAX_PARAMS;
use crate::time::{Clock, SystemClock};
use crate::wire::MAX_FRAME;

/// The smallest `max_frame`: a command with the largest parameters and its names fit.
const LEAST_FRAME: usize = MAX_PARAMS + 4 * 1024;

/// The admission of a server that is told nothing else: 5,000 clients a second, 2,500 at once.
///
/// A fleet as large as the default `max_connections` is back within 2 s, and one of 15,000 within
/// 3, while the node keeps most of its commits for the work that the clients come back for.
pub const ADMISSION: Rate = match Rate::new(5_000, 2_500) {
    Ok(rate) => rate,
    Err(_) => panic!("the default rate of admission is not valid"),
};

/// The most clients that hold a connection, of a server that is told nothing else.
pub const CONNECTIONS: usize = 10_000;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot listen.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Its handlers cannot be used.
    #[error(transparent)]
    Handlers(#[from] HandlersError),
}

/// A server that is not started yet.
#[must_use = "a server does nothing until it is started"]
pub struct ServerBuilder<F> {
    fleet: F,
    authenticator: Box<dyn Authenticator>,
    handlers: Handlers<Caller>,
    hooks: Hooks,
    limits: Limits,
    clock: Arc<dyn Clock>,
}

impl<F> fmt::Debug for ServerBuilder<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("handlers", &self.handlers)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl<F: Fleet> ServerBuilder<F> {
    pub(super) fn new(fleet: F) -> Self {
        Self {
            fleet,
            authenticator: Box::new(TokenAuthenticator),
            handlers: Handlers::new(),
            hooks: Hooks::default(),
            limits: Limits {
                heartbeat: Duration::from_secs(15),
                hello_timeout: Duration::from_secs(5),
                write_timeout: Duration::from_secs(30),
                drain: Duration::from_secs(10),
                max_frame: MAX_FRAME,
                max_connections: CONNECTIONS,
                max_greeting: 4_096,
                max_calls: 64,
                live: true,
                admission: ADMISSION,
            },
            clock: Arc::new(SystemClock),
        }
    }

    /// Who says what a client has shown. Default [`TokenAuthenticator`].
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Box::new(authenticator);
        self
    }

    /// Registers a handler of a command that clients send; see [`Handlers::on`].
    pub fn on_call<P, R, H, Fut>(mut self, name: &str, handler: H) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
        H: Fn(Caller, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, HandlerError>> + Send + 'static,
    {
        self.handlers = self.handlers.on(name, handler);
        self
    }

    /// Takes a whole set of handlers in place of those registered so far.
    pub fn handlers(mut self, handlers: Handlers<Caller>) -> Self {
        self.handlers = handlers;
        self
    }

    /// Called each time a client is let in. It must not block; it may spawn.
    pub fn on_connect(mut self, hook: impl Fn(&Caller) + Send + Sync + 'static) -> Self {
        self.hooks.connect = Some(Box::new(hook));
        self
    }

    /// Called each time a client's connection has ended, with the reason. It must not block; it
    /// may spawn.
    pub fn on_disconnect(mut self, hook: impl Fn(&Caller, &str) + Send + Sync + 'static) -> Self {
        self.hooks.disconnect = Some(Box::new(hook));
        self
    }

    /// After how long without a frame to send a side sends a heartbeat. Three times this without
    /// a sign ends the connection. Default 15 s, at least 10 ms.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.limits.heartbeat = interval.max(Duration::from_millis(10));
        self
    }

    /// How long a connection may be without a hello. Default 5 s.
    pub fn hello_timeout(mut self, limit: Duration) -> Self {
        self.limits.hello_timeout = limit;
        self
    }

    /// How long what is written may stay untaken before the connection is ended. Default 30 s.
    pub fn write_timeout(mut self, limit: Duration) -> Self {
        self.limits.write_timeout = limit;
        self
    }

    /// How long a shutdown waits for connections to end. Default 10 s.
    pub fn drain_limit(mut self, limit: Duration) -> Self {
        self.limits.drain = limit;
        self
    }

    /// The longest frame that is read, in bytes of JSON. Default 1 MiB, at least 52 KiB.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.limits.max_frame = bytes.max(LEAST_FRAME);
        self
    }

    /// The most clients that hold a connection. Default [`CONNECTIONS`]: 10,000.
    pub fn max_connections(mut self, most: usize) -> Self {
        self.limits.max_connections = most.min(Semaphore::MAX_PERMITS);
        self
    }

    /// The most connections that have said no hello. Default 4,096.
    pub fn max_greeting(mut self, most: usize) -> Self {
        self.limits.max_greeting = most.min(Semaphore::MAX_PERMITS);
        self
    }

    /// The most commands of one client that run at the server at the same time. Default 64.
    pub fn max_calls(mut self, most: usize) -> Self {
        self.limits.max_calls = most;
        self
    }

    /// Whether clients are asked for progress and output of running commands. Default true.
    pub fn live(mut self, wanted: bool) -> Self {
        self.limits.live = wanted;
        self
    }

    /// How many clients may come in a second, and how many at once. Those above it are refused
    /// before anything is asked about them, each told another time to come again. Default
    /// [`ADMISSION`]: 2,000 a second, 1,000 at once.
    pub fn admission(mut self, rate: Rate) -> Self {
        self.limits.admission = rate;
        self
    }

    /// The clock that tells clients what time it is for the server. Default: the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Starts without listening: connections are given to [`Server::serve`] or come from
    /// [`Server::listen`].
    pub fn start(self) -> Result<Server<F>, StartError> {
        self.handlers.check()?;
        let shared = Shared {
            fleet: self.fleet,
            authenticator: self.authenticator,
            handlers: self.handlers,
            hooks: self.hooks,
            open: Arc::new(Semaphore::new(self.limits.max_connections)),
            greeting: Arc::new(Semaphore::new(self.limits.max_greeting)),
            gate: Gate::new(self.limits.admission),
            limits: self.limits,
            clock: self.clock,
            stopping: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Ok(Server { shared: Arc::new(shared), address: None })
    }

    /// Starts and listens for TCP connections. Port 0 takes a free one, which
    /// [`Server::local_addr`] tells.
    pub async fn bind(
        self,
        address: impl ToSocketAddrs + fmt::Debug,
    ) -> Result<Server<F>, StartError> {
        let failed =
            |source: io::Error| StartError::Bind { address: format!("{address:?}"), source };
        let listener = TcpListener::bind(&address).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let mut server = self.start()?;
        server.address = Some(local);
        server.listen(listener);
        Ok(server)
    }
}
