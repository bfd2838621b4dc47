//! The connection layer of the server: takes connections, lets clients in, keeps heartbeats and
//! moves frames between them and the node. It decides nothing about jobs.
//!
//! Promises: a bad connection ends alone, with its reason told to the client where the stream
//! allows it and to the log; nothing that a client does or leaves undone holds more than bounded
//! memory; those that have said no hello take no place from those that have.
//!
//! Limits and what happens at them: `admit_rate` hellos a second are looked at (those above it are
//! refused unlooked at, each told another time to come again); `max_connections` let in (the next is refused, and told when
//! to come again); `max_greeting` without a hello (the next is refused likewise, unheard);
//! `hello_timeout` for the hello; `max_frame`; three heartbeat intervals of silence;
//! `write_timeout` for a client that does not read; `max_calls` of one client at a time (the next
//! is answered with an error).
//!
//! May import the domain types, `engine`'s types, `node`, `handlers` and `wire`.

mod admission;
mod auth;
mod builder;
mod fleet;
mod listener;
mod live;
mod pump;
mod session;
mod shared;
mod tally;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::node::Handle;
use crate::wire::encode;

pub use auth::{Authenticator, Denied, NOT_KNOWN, TokenAuthenticator};
pub use builder::{ADMISSION, CONNECTIONS, ServerBuilder, StartError};
pub use fleet::Fleet;
pub use listener::Accept;
pub use shared::Caller;

use shared::Shared;

/// A running server. Cheap to clone; it runs on until [`shutdown`](Server::shutdown), whatever
/// is dropped.
pub struct Server<F: Fleet = Handle> {
    shared: Arc<Shared<F>>,
    address: Option<SocketAddr>,
}

impl Server {
    /// A server for the clients of a node, or of another [`Fleet`].
    pub fn builder<F: Fleet>(fleet: F) -> ServerBuilder<F> {
        ServerBuilder::new(fleet)
    }
}

impl<F: Fleet> Server<F> {
    /// Where it listens; `None` if it only serves streams that it is given.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Connections of clients that are let in.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }

    /// How many connections came above the rate of admission so far, and were sent away for a
    /// while.
    #[must_use]
    pub fn deferred(&self) -> u64 {
        self.shared.gate.deferred()
    }

    /// Serves one connection over any byte stream, to its end. Listening does the same with the
    /// sockets that it accepts.
    pub fn serve<S: AsyncRead + AsyncWrite + Send + Unpin>(
        &self,
        mut stream: S,
        peer: Option<SocketAddr>,
    ) -> impl Future<Output = ()> + Send + use<F, S> {
        let shared = Arc::clone(&self.shared);
        let tasks = shared.tasks.clone();
        tasks.track_future(async move {
            let Ok(permit) = Arc::clone(&shared.greeting).try_acquire_owned() else {
                let refusal = listener::too_many_greeting(&shared, peer);
                if let Ok(bytes) = encode(&refusal, shared.limits.max_frame) {
                    // The connection ends whether or not the refusal arrives.
                    let _ = timeout(listener::REFUSING, stream.write_all(&bytes)).await;
                }
                return;
            };
            session::run(shared, stream, peer, permit).await;
        })
    }

    /// Takes connections from `listener` until the shutdown. An error in accepting one is logged,
    /// and the next is accepted after a pause.
    pub fn listen(&self, listener: impl Accept) {
        self.shared.tasks.spawn(listener::listen(Arc::clone(&self.shared), listener));
    }

    /// Stops: accepts no more, says bye to everybody with a time to come again, and waits for the
    /// connections to end; those that have not after the drain limit are cut off.
    pub async fn shutdown(&self) {
        self.shared.stopping.cancel();
        self.shared.tasks.close();
        if timeout(self.shared.limits.drain, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                connections = self.connections(),
                "connections have not ended in time and are cut off"
            );
            self.shared.abort.cancel();
            self.shared.tasks.wait().await;
        }
    }
}

impl<F: Fleet> Clone for Server<F> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), address: self.address }
    }
}

impl<F: Fleet> fmt::Debug for Server<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}
