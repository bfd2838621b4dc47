//! How a client is put together and started.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::connector::{self, Connector};
use super::driver::{Driver, Hooks};
use super::feed::Feeds;
use super::handle::{ClientHandle, Inner, State};
use super::intake::Intake;
use super::journal::{Journal, JournalError, JournalOptions};
use super::{CONCURRENCY, Context, LiveLimits};
use crate::handlers::{HandlerError, Handlers, HandlersError};
use crate::id::ClientId;
use crate::label::{Facts, InvalidLabel, Labels};

/// Calls that wait to be sent.
const CALLS: usize = 64;

/// The entry to the client library.
#[derive(Debug)]
pub struct Client;

impl Client {
    /// A client of the server at `address`, which is `host:port`.
    pub fn builder(address: impl Into<String>, client: ClientId) -> ClientBuilder {
        Self::over(connector::tcp(address.into()), client)
    }

    /// A client that gets its streams from `connector`.
    pub fn with_connector(connector: impl Connector, client: ClientId) -> ClientBuilder {
        Self::over(Arc::new(connector), client)
    }

    fn over(connector: Arc<dyn Connector>, client: ClientId) -> ClientBuilder {
        ClientBuilder {
            connector,
            client,
            token: None,
            handlers: Handlers::new(),
            hooks: Hooks::default(),
            concurrency: CONCURRENCY,
            backoff: (Duration::from_millis(100), Duration::from_secs(30)),
            seed: RandomState::new().hash_one(0),
            call_timeout: Duration::from_secs(30),
            stop_limit: Duration::from_secs(30),
            journal: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: None,
            labels: Vec::new(),
            live: LiveLimits::default(),
        }
    }
}

/// A client that is not started yet.
#[must_use = "a client does nothing until it is started"]
pub struct ClientBuilder {
    connector: Arc<dyn Connector>,
    client: ClientId,
    token: Option<String>,
    handlers: Handlers<Context>,
    hooks: Hooks,
    concurrency: usize,
    backoff: (Duration, Duration),
    seed: u64,
    call_timeout: Duration,
    stop_limit: Duration,
    journal: Option<JournalOptions>,
    version: String,
    hostname: Option<String>,
    labels: Vec<(String, String)>,
    live: LiveLimits,
}

/// Why a client cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its handlers cannot be used.
    #[error(transparent)]
    Handlers(#[from] HandlersError),
    /// Its journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What it says of itself breaks a rule.
    #[error(transparent)]
    Label(#[from] InvalidLabel),
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("client", &self.client)
            .field("handlers", &self.handlers)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// The token by which the server knows the client. Default none.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Registers a handler; see [`Handlers::on`].
    pub fn on<P, R, F, Fut>(mut self, name: &str, handler: F) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
        F: Fn(Context, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, HandlerError>> + Send + 'static,
    {
        self.handlers = self.handlers.on(name, handler);
        self
    }

    /// Takes a whole set of handlers in place of those registered so far.
    pub fn handlers(mut self, handlers: Handlers<Context>) -> Self {
        self.handlers = handlers;
        self
    }

    /// Called each time the server has let the client in. It must not block; it may spawn.
    pub fn on_connect(mut self, hook: impl Fn(&ClientHandle) + Send + Sync + 'static) -> Self {
        self.hooks.connect = Some(Box::new(hook));
        self
    }

    /// Called each time a connection has ended, with the reason. It must not block; it may spawn.
    pub fn on_disconnect(
        mut self,
        hook: impl Fn(&ClientHandle, &str) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.disconnect = Some(Box::new(hook));
        self
    }

    /// The most commands that run at the same time. Default 8, at least 1. One that is urgent runs
    /// beside them, as one more.
    pub fn concurrency(mut self, most: usize) -> Self {
        self.concurrency = most.max(1);
        self
    }

    /// The first and the largest ceiling of the pauses between attempts. Default 100 ms and 30 s.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff = (min, max);
        self
    }

    /// Fixes the randomness of the pauses, so that a test can be repeated.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How long a call waits for its answer. Default 30 s.
    pub fn call_timeout(mut self, after: Duration) -> Self {
        self.call_timeout = after;
        self
    }

    /// How long a stop waits for running commands before they are told to stop. Default 30 s. What
    /// comes meanwhile is not begun: the server keeps it for the client's return.
    pub fn stop_limit(mut self, limit: Duration) -> Self {
        self.stop_limit = limit;
        self
    }

    /// A label that the client says of itself, with [`Labels`]' limits; may be called several
    /// times. Whether it counts for targets is for the server's owner to say.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// The version of its program, as the client says it of itself. Default: this library's.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// The name of its machine, as the client says it of itself. Default: none is said.
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = Some(hostname.into());
        self
    }

    fn facts(&self) -> Result<Facts, InvalidLabel> {
        let labels = self.labels.iter();
        let labels = labels.map(|(key, value)| Ok((key.parse()?, value.parse()?)));
        let labels = Labels::from_pairs(labels.collect::<Result<Vec<_>, InvalidLabel>>()?)?;
        let facts = Facts::of_program(&self.version)?.labelled(labels)?;
        match &self.hostname {
            Some(hostname) => facts.hosted(hostname),
            None => Ok(facts),
        }
    }

    /// Keeps a journal in this directory, so that a client that is started again neither runs a
    /// finished command again nor loses a result; see [`super::journal`]. Default none.
    pub fn journal(mut self, journal: impl Into<JournalOptions>) -> Self {
        self.journal = Some(journal.into());
        self
    }

    /// The limits of what running commands let be seen. Default [`LiveLimits::default`].
    pub fn live_limits(mut self, limits: LiveLimits) -> Self {
        self.live = limits;
        self
    }

    /// Starts the client on the runtime that this is called on. The errors are about handlers,
    /// about what it says of itself and about the journal, which is read here: with a large one,
    /// this blocks for a moment.
    pub fn start(self) -> Result<ClientHandle, StartError> {
        let (handle, client) = self.unspawned()?;
        tokio::spawn(client);
        Ok(handle)
    }

    /// The client as a future, for whoever wants to run it on a task of his own. It ends when the
    /// client does. Dropped before, it takes the client away at once with all commands that run,
    /// as the end of its process would.
    pub fn unspawned(
        self,
    ) -> Result<(ClientHandle, impl Future<Output = ()> + Send + 'static), StartError> {
        self.handlers.check()?;
        let facts = self.facts()?;
        let mut intake = Intake::default();
        let (mut journal, mut writing) = (None, None);
        if let Some(options) = &self.journal {
            let opened = Journal::open(options, &self.client)?;
            intake.remember(opened.remembered);
            journal = Some(opened.journal);
            writing = opened.writing;
        }
        let (calls, requests) = mpsc::channel(CALLS);
        let (state, watched) = watch::channel(State::Connecting);
        let stop = CancellationToken::new();
        let inner =
            Inner { id: self.client, calls, state: watched, stop, call_timeout: self.call_timeout };
        let handle = ClientHandle { inner: Arc::new(inner) };
        let driver = Driver {
            connector: self.connector,
            token: self.token,
            facts,
            handlers: self.handlers,
            hooks: self.hooks,
            concurrency: self.concurrency,
            max_running: None,
            stop_limit: self.stop_limit,
            backoff: Backoff::new(self.backoff.0, self.backoff.1, self.seed),
            stop: handle.inner.stop.clone(),
            handle: handle.clone(),
            calls: requests,
            state,
            intake,
            journal,
            begun: Vec::new(),
            feeds: Feeds::new(self.live),
            jobs: JoinSet::new(),
        };
        // Together, so that the one ends with the other.
        let client = async move {
            match writing {
                None => driver.run().await,
                Some(writing) => _ = futures_util::future::join(driver.run(), writing).await,
            }
        };
        Ok((handle, client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> ClientBuilder {
        Client::builder("127.0.0.1:1", "web-01".parse().unwrap())
    }

    #[test]
    fn what_a_client_says_of_itself_is_filled_in_and_checked() {
        let facts = client().version("7").hostname("h").label("rack", "r=7").facts().unwrap();
        let told: Vec<String> =
            facts.pairs().map(|(key, value)| format!("{key}={value}")).collect();
        let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
        let expected = [&format!("arch={arch}"), "hostname=h", &format!("os={os}"), "version=7"];
        assert_eq!(told[..4], expected);
        assert_eq!(told[4..], ["rack=r=7"]);
        for (builder, problem) in [
            (client().label("Rack", "r7"), "label key \"Rack\""),
            (client().label("a=b", "r7"), "label key \"a=b\""),
            (client().label("rack", "r7").label("rack", "r8"), "given twice"),
            (client().label("os", "plan9"), "the client's own fact"),
            (client().hostname("h".repeat(257)), "257 bytes"),
        ] {
            let error = builder.start().unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
