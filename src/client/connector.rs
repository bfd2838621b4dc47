//! How a client gets a byte stream to its server.

use std::io;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Makes a new stream to the server; asked again after every loss. Any closure that gives a
/// future of a stream is one; tests use pipes in memory.
pub trait Connector: Send + Sync + 'static {
    /// One attempt. The client gives up on it after ten seconds.
    fn connect(&self) -> BoxFuture<'static, io::Result<Box<dyn Io>>>;
}

impl<F, Fut, S> Connector for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<S>> + Send + 'static,
    S: Io + 'static,
{
    fn connect(&self) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let attempt = self();
        async move { Ok(Box::new(attempt.await?) as Box<dyn Io>) }.boxed()
    }
}

/// Connects to `host:port`; the name is resolved at each attempt.
pub(super) fn tcp(address: String) -> Arc<dyn Connector> {
    Arc::new(move || {
        let address = address.clone();
        async move {
            let stream = TcpStream::connect(&address)
                .await
                .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        }
    })
}
