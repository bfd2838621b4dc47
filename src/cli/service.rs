//! A whole server in one process: node, listener for clients, HTTP interface, chores. What
//! `serve` and `demo` run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::error::CliError;
use crate::access::Access;
use crate::api;
use crate::bucket::Rate;
use crate::housekeeping::{Chores, Housekeeping};
use crate::node::{Handle, Node, Options};
use crate::server::Server;
use crate::store::{StoreKind, StoreOptions, open_at};
use crate::time::{Clock, SystemClock};

/// How a server is set up.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The directory of the store and of the access file.
    pub(super) data: PathBuf,
    /// The kind of the store. Default: of a store that is there its own, of a new one sled.
    pub(super) store: Option<StoreKind>,
    /// Where clients connect.
    pub(super) listen: SocketAddr,
    /// Where the HTTP interface is.
    pub(super) http: SocketAddr,
    /// The memory that the store may use to cache.
    pub(super) cache_bytes: u64,
    /// What is to stay free on its disk, see [`StoreOptions::reserve`].
    pub(super) reserve: Option<u64>,
    /// What of the history is kept, and how often it is looked at.
    pub(super) chores: Chores,
    /// What the node trusts and takes in.
    pub(super) options: Options,
    /// How many clients may connect in a second and at once.
    pub(super) admission: Rate,
    /// How many clients may hold a connection.
    pub(super) max_connections: usize,
}

/// A running server.
pub(super) struct Service {
    node: Node,
    server: Server,
    http: JoinHandle<std::io::Result<()>>,
    http_stop: CancellationToken,
    chores: Housekeeping,
    data: PathBuf,
    /// Where clients connect.
    pub(super) listen: SocketAddr,
    /// The HTTP interface and its token.
    pub(super) access: Access,
}

impl Service {
    /// Starts everything; what cannot be had is named.
    pub(super) async fn start(settings: &Settings) -> Result<Self, CliError> {
        Self::start_with_clock(settings, Arc::new(SystemClock)).await
    }

    /// The same, by another clock than the machine's.
    pub(super) async fn start_with_clock(
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CliError> {
        let how = StoreOptions {
            kind: settings.store,
            cache_bytes: settings.cache_bytes,
            reserve: settings.reserve,
            ..StoreOptions::default()
        };
        let store = open_at(&settings.data, how).map_err(CliError::store)?;
        let kind = store.kind().unwrap_or_default();
        let mut options = settings.options.clone();
        options.settings.insert("store".to_owned(), kind.to_string());
        let node =
            Node::start_with(store, Arc::clone(&clock), options).map_err(CliError::server)?;
        let handle = node.handle();
        let listener = bind("--http", settings.http).await?;
        let address = listener.local_addr().map_err(CliError::server)?;
        let access = Access::load_or_create(&settings.data, &format!("http://{address}"))?;
        let http_stop = CancellationToken::new();
        let tokens = api::Tokens::new([access.token.as_str()]);
        let router = api::router(handle.clone(), tokens, http_stop.clone());
        let http = tokio::spawn(api::serve(listener, router, http_stop.clone()));
        let server = Server::builder(handle.clone())
            .admission(settings.admission)
            .max_connections(settings.max_connections)
            .clock(Arc::clone(&clock))
            .bind(settings.listen)
            .await
            .map_err(|error| CliError::Server(format!("--listen: {error}")))?;
        let chores = Housekeeping::start_with_clock(&handle, &settings.chores, clock)
            .await
            .map_err(CliError::server)?;
        let listen = server.local_addr().unwrap_or(settings.listen);
        tracing::info!(
            data = %settings.data.display(), store = %kind, %listen, http = %access.server,
            "serving"
        );
        let data = settings.data.clone();
        Ok(Self { node, server, http, http_stop, chores, data, listen, access })
    }

    /// A way to the node.
    pub(super) fn handle(&self) -> Handle {
        self.node.handle()
    }

    /// Ends when the server cannot go on, and tells why.
    pub(super) async fn failed(&mut self) -> CliError {
        tokio::select! {
            ended = self.node.ended() => match ended {
                Err(error) => CliError::Server(format!("{}: {error}", self.data.display())),
                Ok(()) => CliError::Server("the node has ended by itself".into()),
            },
            ended = &mut self.http => match ended {
                Ok(Err(error)) => CliError::Server(format!("the HTTP interface failed: {error}")),
                Ok(Ok(())) => CliError::Server("the HTTP interface has ended by itself".into()),
                Err(error) => CliError::Server(format!("the HTTP interface failed: {error}")),
            },
        }
    }

    /// Takes nothing new, tells everyone, finishes what is under way, and stops.
    pub(super) async fn stop(self) -> Result<(), CliError> {
        self.server.shutdown().await;
        self.http_stop.cancel();
        if let Err(error) = self.http.await {
            tracing::warn!(%error, "the HTTP interface did not end well");
        }
        if let Err(error) = self.chores.stop().await {
            tracing::warn!(%error, "the chores did not end well");
        }
        self.node.stop().await.map_err(CliError::server)
    }
}

async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| CliError::Server(format!("{flag}: cannot listen on {address}: {error}")))
}
