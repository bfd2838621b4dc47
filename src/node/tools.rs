//! The handle's way to the whole store: backups, exports and counts.
//!
//! Each works on a thread of its own, beside the loop; what it writes goes out piece by piece, as
//! fast as it is taken.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{CallError, Handle};
use crate::engine::RequestError;
use crate::store::backup::{self, BackupError};
use crate::store::exchange::{self, ExportError, ExportQuery};
use crate::store::{self, StoreError, StoreStats, Tee, TeeError};
use crate::time::Clock;

/// Readings of the whole store at a time, backups not counted, of which there is one; further ones
/// are refused.
pub const READINGS: usize = 2;

/// Pieces that wait to be taken.
const PIECES: usize = 4;

/// Bytes after which a piece goes out.
const PIECE: usize = 64 * 1024;

/// How long a piece may wait to be taken before the work is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stream of bytes. An error is its last item.
pub type ByteStream = BoxStream<'static, Result<Bytes, CallError>>;

/// What the readings need.
pub(super) struct Tools {
    tee: Arc<Tee>,
    clock: Arc<dyn Clock>,
    readings: Arc<Semaphore>,
}

impl Tools {
    pub(super) fn new(tee: Arc<Tee>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { tee, clock, readings: Arc::new(Semaphore::new(READINGS)) })
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, CallError> {
        Arc::clone(&self.readings).try_acquire_owned().map_err(|_| {
            let message =
                format!("{READINGS} readings of the whole store are under way, which is the most");
            RequestError::Limit(message).into()
        })
    }
}

impl Handle {
    /// A backup of the store as of one commit, taken while the node goes on: the bytes of a file
    /// for [`backup::restore`]. One at a time.
    ///
    /// It takes constant memory. It is given up when its bytes are not taken for a minute, or when
    /// more is committed meanwhile than [`MAX_SPOOL`](crate::store::MAX_SPOOL): then the last item
    /// is an error, and the bytes before it say so, too, to whoever restores them.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use fleetcron::Node;
    /// use fleetcron::store::{StoreKind, backup};
    /// use futures_util::TryStreamExt as _;
    ///
    /// let directory = tempfile::tempdir()?;
    /// let node = Node::open(directory.path().join("data"))?;
    /// let file = node.handle().backup().await?.try_collect::<Vec<_>>().await?.concat();
    /// backup::restore(&file[..], &directory.path().join("other"), StoreKind::default())?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn backup(&self) -> Result<ByteStream, CallError> {
        let tools = Arc::clone(&self.tools);
        // A commit may be under way: it is waited for on another thread.
        let capture = self.compute(move || tools.tee.capture()).await?.map_err(of_tee)?;
        let clock = Arc::clone(&self.tools.clock);
        Ok(written(move |pieces| {
            backup::write(capture, || clock.now(), pieces).map(drop).map_err(of_backup)
        }))
    }

    /// An export of the store, or of a part of it: lines of JSON, see [`exchange`]. Each item is
    /// whole lines.
    ///
    /// It takes constant memory, and is given up when its lines are not taken for a minute. One
    /// that is not whole has no trailer.
    pub async fn export(&self, query: ExportQuery) -> Result<ByteStream, CallError> {
        let place = self.tools.place()?;
        let (store, asked) = (Arc::clone(&self.store), query.clone());
        // What cannot be exported is refused before the first line.
        self.compute(move || exchange::check_query(store.as_ref(), &asked))
            .await?
            .map_err(of_export)?;
        let (store, now) = (Arc::clone(&self.store), self.tools.clock.now());
        Ok(written(move |pieces| {
            let _place = place;
            exchange::export(store.as_ref(), &query, now, pieces).map_err(of_export)
        }))
    }

    /// How much there is of what in the store, and on disk. Reads all of it.
    pub async fn store_stats(&self) -> Result<StoreStats, CallError> {
        let place = self.tools.place()?;
        self.read(move |store| {
            let _place = place;
            store::stats(store)
        })
        .await
    }
}

fn of_tee(error: TeeError) -> CallError {
    match error {
        TeeError::Busy => RequestError::Limit(error.to_string()).into(),
        error => StoreError::failed("noting commits", error).into(),
    }
}

fn of_backup(error: BackupError) -> CallError {
    match error {
        BackupError::Tee(error) => of_tee(error),
        BackupError::Store(error) => error.into(),
        BackupError::Write(error) => StoreError::failed("writing the backup", error).into(),
    }
}

fn of_export(error: ExportError) -> CallError {
    match error {
        ExportError::NoJob { name, suggestion } => {
            RequestError::NotFound { what: "job", name: name.to_string(), suggestion }.into()
        }
        ExportError::NoSpan { .. } => RequestError::Invalid(error.to_string()).into(),
        ExportError::Store(error) => error.into(),
        ExportError::Write(error) => StoreError::failed("writing the export", error).into(),
    }
}

/// What a work writes on a thread of its own, as it is taken.
fn written(work: impl FnOnce(&mut Pieces) -> Result<(), CallError> + Send + 'static) -> ByteStream {
    let (out, pieces) = mpsc::channel(PIECES);
    let runtime = runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces { out, buffer: Vec::new(), runtime };
        let worked = work(&mut pieces).and_then(|()| {
            pieces.flush().map_err(|error| StoreError::failed("writing", error).into())
        });
        if let Err(error) = worked {
            tracing::warn!(%error, "a reading of the whole store was given up");
            // Whoever has gone need not be told.
            let _ = pieces.send(Err(error));
        }
    });
    let next = async |mut pieces: mpsc::Receiver<_>| Some((pieces.recv().await?, pieces));
    stream::unfold(pieces, next).boxed()
}

/// The way out of a work. What is written at once is never cut in two.
struct Pieces {
    out: mpsc::Sender<Result<Bytes, CallError>>,
    buffer: Vec<u8>,
    runtime: runtime::Handle,
}

impl Pieces {
    fn send(&self, piece: Result<Bytes, CallError>) -> io::Result<()> {
        let taken = async { tokio::time::timeout(PATIENCE, self.out.send(piece)).await };
        match self.runtime.block_on(taken) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the reader has gone")),
            Err(_) => {
                let problem = format!("nothing was read for {} s", PATIENCE.as_secs());
                Err(io::Error::new(io::ErrorKind::TimedOut, problem))
            }
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.buffer);
        self.send(Ok(piece.into()))
    }
}
