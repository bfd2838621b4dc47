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
mod feed;
mod handle;
mod intake;
pub mod journal;
mod live;
mod recent;

use tokio_util::sync::CancellationToken;

use crate::id::{CommandName, JobName, Serial};
use crate::live::{LiveSink, OutputStream, Progress};
use crate::time::Timestamp;

pub use builder::{Client, ClientBuilder, StartError};
pub use connector::{Connector, Io};
pub use handle::{CallError, ClientHandle, End, State};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use journal::fuzz_journal;
pub use journal::{JournalError, JournalOptions};

/// Commands that a client holds at most: waiting, running, or ended and not acknowledged. A
/// server that sends more breaks the protocol.
pub const MAX_TAKEN: usize = 4_096;

/// Acknowledged serials that a client remembers, so as not to run them again: a server that was
/// restored from a backup sends what it has lost the answers of, and gets them again.
pub const RECENT: usize = 1_024;

/// The most bytes of a result that is remembered with an acknowledged serial; a larger one is left
/// out, and the reason says so.
pub const RECENT_RESULT: usize = 4 * 1024;

/// Commands that run at the same time, unless configured otherwise.
pub const CONCURRENCY: usize = 8;

/// What a handler is told beside its parameters.
#[derive(Debug, Clone)]
pub struct Context {
    /// The run.
    pub serial: Serial,
    /// Which attempt of it this is; 1 is the first.
    pub attempt: u32,
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
    feed: feed::Feed,
}

/// What a handler lets be seen before it has ended. None of it waits for anything, and none is
/// certain to arrive: what comes too fast or finds no connection is left out, and how much of the
/// output that was is told. What must arrive belongs in the result.
///
/// ```
/// use fleetcron::client::{Client, Context};
/// use fleetcron::live::OutputStream;
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// Client::builder("server.example:7400", "web-01".parse()?)
///     .on("copy", |cx: Context, files: Vec<String>| async move {
///         for (done, file) in files.iter().enumerate() {
///             cx.progress(u8::try_from(done * 100 / files.len())?, file);
///             cx.output(OutputStream::Stdout, &format!("copied {file}\n"));
///         }
///         Ok(files.len())
///     });
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
impl Context {
    /// The command is so far: in per cent, and in words unless these are empty. A progress that
    /// waits to be sent gives way to the next.
    pub fn progress(&self, percent: u8, note: &str) {
        self.feed.progress(Progress::new(Some(percent), Some(note)));
    }

    /// The command has printed this.
    pub fn output(&self, stream: OutputStream, text: &str) {
        self.feed.output(stream, text);
    }
}

impl LiveSink for Context {
    fn progress(&self, progress: Progress) {
        self.feed.progress(progress);
    }

    fn output(&self, stream: OutputStream, text: &str) {
        self.feed.output(stream, text);
    }
}

/// The limits of what running commands let be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveLimits {
    /// Bytes of one command's output that may wait to be sent. Default 64 KiB.
    pub waiting: usize,
    /// Bytes of one command's output a second. Default 256 KiB.
    pub bytes_per_second: u32,
    /// Progress frames of one command a second. Default 10.
    pub progress_per_second: u32,
    /// Bytes of output of all commands a second. Default 1 MiB; servers leave out what is above 2.
    pub bytes_per_second_in_all: u32,
    /// Frames of all commands a second. Default 256; servers leave out those above 512.
    pub frames_per_second_in_all: u32,
}

impl Default for LiveLimits {
    fn default() -> Self {
        Self {
            waiting: 64 * 1024,
            bytes_per_second: 256 * 1024,
            progress_per_second: 10,
            bytes_per_second_in_all: 1024 * 1024,
            frames_per_second_in_all: 256,
        }
    }
}
