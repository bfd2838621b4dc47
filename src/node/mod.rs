//! The node: the only loop. It owns the engine and the store, drains what has arrived, lets the
//! engine decide, commits the decision, and only then releases its effects.
//!
//! Promises: an answer or a command leaves only after what it rests on is durable; a failed commit
//! stops the node. While the store cannot take more (its disk is full, or hangs), what would be new
//! is refused, what is due waits, and questions are answered. May import the domain types,
//! `engine`, `store`, `history` and `explain`.

pub(crate) mod background;
mod core;
mod drift;
mod entropy;
mod explain;
mod forecast;
mod handle;
mod history;
mod keep;
mod link;
pub mod live;
mod outbox;
mod past;
mod reads;
mod replay;
mod rollout;
mod run_loop;
mod statistics;
mod stepped;
mod tools;
mod turns;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Waker;

use tokio::sync::{broadcast, mpsc, oneshot};

use self::core::{Beginning, Core};
use self::entropy::Entropy;
use self::handle::Place;
use self::link::Letter;
use self::run_loop::{Loop, Unpark};
use self::tools::Tools;
use crate::actor::Actor;
use crate::bucket::Rate;
use crate::engine::{DRAIN, Limits, RequestError};
use crate::label::LabelTrust;
use crate::recording::{Found, Restored};
use crate::store::{Obstacle, Store, StoreError, StoreOptions, Tee, open_at, records};
use crate::time::{Clock, SystemClock};

pub use explain::EXPLANATIONS;
pub use forecast::FORECASTS;
pub use handle::Handle;
pub use keep::ForgottenPart;
pub use link::ToSession;
pub use live::{LiveBoard, LiveDelivery, Watch, WatchEnd};
pub use outbox::{NotTaken, Outbox, Outlet, outbox};
pub use run_loop::Fatal;
pub use tools::{ByteStream, READINGS};

pub use crate::store::exchange::ExportQuery;
pub use crate::store::{KindStats, StoreStats};
pub use statistics::Uncounted;
pub use stepped::{Stepped, Turn};

/// Events that a slow watcher may be behind before it loses the oldest.
pub const EVENTS: usize = 4_096;

/// Messages that may wait for one connection's socket; one more ends the connection.
pub const OUTBOUND: usize = 2_048;

/// Jobs that stay in memory as a whole, unless told otherwise: some 15 MiB of them.
pub const JOBS_AT_HAND: usize = 16_384;

/// Letters that may wait for the loop; the next sender waits.
const INBOX: usize = 1_024;

/// A running scheduler: engine, store and loop. Dropping it stops the loop once every handle is
/// gone; [`Node::stop`] stops it at once.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use fleetcron::{Node, Submission};
///
/// let directory = tempfile::tempdir()?;
/// let node = Node::open(directory.path())?;
/// let status = node.handle().status().await?;
/// assert_eq!(status.clients_defined, 0);
/// node.stop().await?;
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Debug)]
pub struct Node {
    handle: Handle,
    ended: oneshot::Receiver<Result<(), Fatal>>,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system has no randomness to give.
    #[error("the system gives no random bits: {0}")]
    Entropy(#[from] getrandom::Error),
    /// A thread could not be started.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request cannot be met.
    #[error(transparent)]
    Refused(#[from] RequestError),
    /// The node has stopped; whether the request was accepted is told by the history.
    #[error("the node has stopped")]
    Stopped,
    /// The store cannot take more, now; nothing was done.
    #[error("{0}; nothing new is taken in until then")]
    Hindered(Obstacle),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A reply of another kind than the request's: a fault in fleetcron.
    #[error("unexpected reply: {0}; this is a fault in fleetcron")]
    UnexpectedReply(String),
}

/// What a node trusts and takes in.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which labels that clients report of themselves count for targets. Default: none.
    pub labels: LabelTrust,
    /// The limits of what waits for clients that are away.
    pub limits: Limits,
    /// How fast deliveries leave that had waited for clients that were away. Default [`DRAIN`].
    pub drain: Rate,
    /// The server's settings, as its ledger tells of them when they change. Default: none.
    pub settings: BTreeMap<String, String>,
    /// Whether the engine's inputs are recorded, so that its decisions can be verified. Default
    /// true.
    pub record_inputs: bool,
    /// How many jobs stay in memory as a whole; of all others, only when they are due. Default
    /// [`JOBS_AT_HAND`].
    pub jobs_at_hand: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            labels: LabelTrust::default(),
            limits: Limits::default(),
            drain: DRAIN,
            settings: BTreeMap::new(),
            record_inputs: true,
            jobs_at_hand: JOBS_AT_HAND,
        }
    }
}

impl Node {
    /// A node on the store in a directory, of whichever kind it is; a sled store is made if there is
    /// none. [`open_at`] opens one with other options, for [`Node::start`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, StartError> {
        Self::start(open_at(directory, StoreOptions::default())?)
    }

    /// A node on any store.
    pub fn start(store: Arc<dyn Store>) -> Result<Self, StartError> {
        Self::start_with_clock(store, Arc::new(SystemClock))
    }

    /// A node on any store that takes the time from a clock of the caller's. After the clock has
    /// been set, [`Handle::wake`] makes the node look at it.
    pub fn start_with_clock(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        Self::start_with(store, clock, Options::default())
    }

    /// The same with other options than the default ones.
    pub fn start_with(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, StartError> {
        let entropy = Entropy::new()?;
        let Assembled { core, letters, mut handle } =
            assemble(store, Arc::clone(&clock), options, entropy)?;
        let (end, ended) = oneshot::channel();
        let store = Arc::clone(&handle.store);
        let thread = std::thread::Builder::new().name("node".into()).spawn(move || {
            let result = Loop::new(core, letters, clock, store).and_then(Loop::run);
            if let Err(error) = &result {
                tracing::error!(%error, "the node has ended");
            }
            // Nobody waits for the end: it has been logged.
            let _ = end.send(result);
        })?;
        handle.waker = Waker::from(Arc::new(Unpark(thread.thread().clone())));
        Ok(Self { handle, ended })
    }

    /// A way to the node, for callers and connections.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends when the node does, which it does by itself only when it cannot go on.
    pub async fn ended(&mut self) -> Result<(), Fatal> {
        (&mut self.ended).await.unwrap_or(Err(Fatal::ThreadEnded))
    }

    /// Takes in what has arrived, makes it durable, ends the connections and stops.
    pub async fn stop(mut self) -> Result<(), Fatal> {
        // An inbox that is closed means that the node ends already.
        let _ = self.handle.send(Letter::Stop).await;
        self.ended().await
    }
}

/// The parts of a node that is not driven yet.
struct Assembled {
    core: Core,
    letters: mpsc::Receiver<Letter>,
    /// The way to it; its waker is still to be set.
    handle: Handle,
}

/// Reads a store and puts a node on it together.
fn assemble(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    options: Options,
    entropy: Entropy,
) -> Result<Assembled, StoreError> {
    // What commits while a backup is taken is noted beneath all that follows.
    let tee = Arc::new(Tee::new(store));
    let store: Arc<dyn Store> = tee.clone();
    let jobs_at_hand = options.jobs_at_hand;
    let snapshot = records::load_some(&store, jobs_at_hand)?;
    let now = clock.now();
    let Options { labels, limits, drain, settings, record_inputs, .. } = options;
    let how = Restored { limits, labels, drain, found: Found::of(&snapshot) };
    let engine = how.engine(snapshot, now);
    let beginning = Beginning { now, recorded: record_inputs.then_some(how), settings };
    let events = broadcast::Sender::new(EVENTS);
    let live = LiveBoard::default();
    let core = Core::new(engine, entropy, events.clone(), live.clone(), beginning);
    let (inbox, letters) = mpsc::channel(INBOX);
    let handle = Handle {
        inbox,
        waker: Waker::noop().clone(),
        place: Place::Pool,
        store,
        events,
        live,
        sessions: Arc::new(AtomicU64::new(1)),
        forecasts: forecast::places(),
        tools: Tools::new(tee, clock),
        explanations: explain::places(),
        actor: Actor::Library,
    };
    Ok(Assembled { core, letters, handle })
}
