//! The client library: holds one connection to the server, runs the commands that come over it
//! with the handlers that its owner registered, and answers.
//!
//! ```no_run
//! use fleetcron::client::{Client, Context};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("server.example:7400", "web-01".parse()?)
//!     .token("s3cret")
//!     .on("disk.report", |cx: Context, params: serde_json::Value| async move {
//!         Ok(serde_json::json!({ "serial": cx.serial, "asked": params }))
//!     })
//!     .start()?;
//! println!("ended: {:?}", client.wait().await);
//! # Ok(())
//! # }
//! ```
//!
//! Promises, as long as the process lives: a command that was taken is run once, however often
//! the connection breaks and the server sends it again; its response is kept until the server has
//! acknowledged it; commands are begun in serial order. With a [`journal`] that outlives the
//! process: its successor answers what had ended, and does not run it again. Without one, a
//! process that ends forgets what it had taken, and the server sends it again to its successor.
//!
//! The client comes back by itself after every loss of the connection, with one exception: when
//! the server says `bye` without `reconnect`, because another connection has taken this client's
//! place or the client was removed from the registry, it does not fight. It ends, and
//! [`ClientHandle::wait`] gives [`End::Dismissed`] with the server's reason.
//!
//! May import the domain types, `handlers`, `lock_file` and `wire`.

mod backoff;
mod builder;
mod connector;
mod driver;
mod handle;
mod intake;
pub mod journal;
mod live;

use tokio_util::sync::CancellationToken;

use crate::id::{CommandName, JobName, Serial};
use crate::time::Timestamp;

pub use builder::{Client, ClientBuilder, StartError};
pub use connector::{Connector, Io};
pub use handle::{CallError, ClientHandle, End, State};
pub use journal::{JournalError, JournalOptions};

/// Commands that a client holds at most: waiting, running, or ended and not acknowledged. A
/// server that sends more breaks the protocol.
pub const MAX_TAKEN: usize = 4_096;

/// Acknowledged serials that a client remembers, so as not to run them again.
pub const RECENT: usize = 1_024;

/// Commands that run at the same time, unless configured otherwise.
pub const CONCURRENCY: usize = 8;

/// What a handler is told beside its parameters.
#[derive(Debug, Clone)]
pub struct Context {
    /// The run.
    pub serial: Serial,
    /// The command's name.
    pub command: CommandName,
    /// The job that sent it; `None` for a submitted command.
    pub job: Option<JobName>,
    /// When it was due.
    pub scheduled_at: Timestamp,
    /// Cancelled when the run is cancelled, or when the client stops and its time is up. A
    /// handler that looks at it ends with [`HandlerError::cancelled`]; one that does not runs to
    /// its end.
    ///
    /// [`HandlerError::cancelled`]: crate::handlers::HandlerError::cancelled
    pub cancel: CancellationToken,
    /// The way to the server, for handlers that call it.
    pub client: ClientHandle,
}
