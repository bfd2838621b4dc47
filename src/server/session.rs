//! One connection from its first byte to its last: hello, admission, service, end.
//!
//! Every end is told to the client where the stream still allows it, and to the log in one line
//! with `client`, `peer` and `reason`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};

use super::auth::NOT_KNOWN;
use super::fleet::Fleet;
use super::pump::{End, pump};
use super::shared::{Caller, Shared};
use crate::command_limit::CommandLimit;
use crate::engine::{RequestError, SessionId};
use crate::node::{CallError, OUTBOUND, Outbox, ToSession, outbox};
use crate::wire::{
    ClientFrame, FrameReader, FrameWriter, Hello, MAX_HELLO, Refused, ServerFrame, VERSION,
    Welcome, WireError, together,
};

/// How long a hook may think about a client.
const AUTHENTICATE: Duration = Duration::from_secs(10);
/// How long the last frame may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often the log is told how many were sent away.
const TELL: Duration = Duration::from_secs(1);
/// How many bytes of what a client still sends are read before its connection is closed, so that
/// the last frame reaches it.
const LINGER: usize = 256 * 1024;
/// How long clients stay away from a server that is full.
const RETRY_FULL: Duration = Duration::from_secs(5);
/// How long clients stay away from a server that stops.
pub(super) const RETRY_STOPPING: Duration = Duration::from_secs(1);

/// Why a connection is not let in.
struct Refusal {
    /// What the client is told.
    reason: String,
    /// What the log is told, if it differs.
    detail: Option<String>,
    retry_after: Option<Duration>,
    /// It is one of many that the log tells in one line.
    in_sum: bool,
}

impl Refusal {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), detail: None, retry_after: None, in_sum: false }
    }

    fn after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    fn frame(&self) -> ServerFrame {
        refused(&self.reason, self.retry_after)
    }
}

/// A connection that is let in.
struct Admitted {
    session: SessionId,
    max_running: Option<CommandLimit>,
    outbound: Outbox<ToSession>,
    _permit: OwnedSemaphorePermit,
}

/// Serves a connection to its end. `greeting` is its permit to be without a hello.
pub(super) async fn run<F: Fleet, S: AsyncRead + AsyncWrite + Send + Unpin>(
    shared: Arc<Shared<F>>,
    stream: S,
    peer: Option<SocketAddr>,
    greeting: OwnedSemaphorePermit,
) {
    let (reader, writer) = tokio::io::split(stream);
    let mut session = Session {
        shared: &shared,
        reader: FrameReader::new(reader),
        writer: FrameWriter::new(writer),
        peer,
    };
    let serving = async {
        // Begin and end are boxed: most of a connection's life, their memory is not needed.
        if let Some((caller, admitted)) = Box::pin(session.enter(greeting)).await {
            session.stay(caller, admitted).await;
        }
    };
    tokio::select! {
        biased;
        () = serving => {}
        () = shared.abort.cancelled() => {}
    }
}

struct Session<'a, F, S> {
    shared: &'a Arc<Shared<F>>,
    reader: FrameReader<ReadHalf<S>>,
    writer: FrameWriter<WriteHalf<S>>,
    peer: Option<SocketAddr>,
}

impl<F: Fleet, S: AsyncRead + AsyncWrite + Send + Unpin> Session<'_, F, S> {
    /// Hears the client's hello and lets it in, or tells it why not.
    async fn enter(&mut self, greeting: OwnedSemaphorePermit) -> Option<(Caller, Admitted)> {
        let hello = match self.greet().await {
            Ok(hello) => *hello,
            Err(refusal) => {
                self.refuse(None, refusal).await;
                return None;
            }
        };
        let caller = Caller { client: hello.client.clone(), peer: self.peer };
        match admit(self.shared, self.peer, hello).await {
            Ok(admitted) => {
                drop(greeting);
                Some((caller, admitted))
            }
            Err(refusal) => {
                self.refuse(Some(&caller), refusal).await;
                None
            }
        }
    }

    async fn greet(&mut self) -> Result<Box<Hello>, Refusal> {
        let limits = &self.shared.limits;
        self.reader.set_max(limits.max_frame.min(MAX_HELLO));
        self.writer.set_max(limits.max_frame);
        let frame = tokio::select! {
            biased;
            frame = timeout(limits.hello_timeout, self.reader.next()) => frame,
            () = self.shared.stopping.cancelled() => return Err(stopping()),
        };
        match frame {
            Ok(Ok(Some(ClientFrame::Hello(hello)))) => Ok(hello),
            Ok(Ok(Some(_))) => Err(Refusal::new("the first frame is not a hello")),
            Ok(Ok(None)) => Err(Refusal::new("the connection was closed before a hello")),
            Ok(Err(error)) => Err(Refusal::new(error.to_string())),
            Err(_) => Err(Refusal::new(match self.reader.unread() {
                Some((have, want)) => format!(
                    "{have} of {want} bytes of a hello came within {:?}",
                    limits.hello_timeout
                ),
                None => format!("no hello came within {:?}", limits.hello_timeout),
            })),
        }
    }

    /// Serves a client that is let in.
    async fn stay(&mut self, caller: Caller, admitted: Admitted) {
        tracing::info!(client = %caller.client, peer = %shown(self.peer), "connected");
        if let Some(hook) = &self.shared.hooks.connect {
            hook(&caller);
        }
        let Admitted { session, max_running, outbound, _permit } = admitted;
        let end = self.serve(&caller, session, max_running, outbound).await;
        Box::pin(self.leave(&caller, session, end)).await;
    }

    /// Tells all whom it concerns that a connection ends, the client last.
    async fn leave(&mut self, caller: &Caller, session: SessionId, end: End) {
        // The node is told before the last words: they may take a while.
        let told = self.shared.fleet.disconnected(session, end.reason.clone()).await;
        if told.is_err() {
            tracing::debug!(client = %caller.client, "the node has stopped before the connection");
        }
        tracing::info!(client = %caller.client, peer = %shown(self.peer), reason = %end.reason, "a connection has ended");
        if let Some(hook) = &self.shared.hooks.disconnect {
            hook(caller, &end.reason);
        }
        if let Some(bye) = end.bye {
            self.last_words(&ServerFrame::Bye(bye)).await;
        }
    }

    async fn serve(
        &mut self,
        caller: &Caller,
        session: SessionId,
        max_running: Option<CommandLimit>,
        outbound: Outbox<ToSession>,
    ) -> End {
        let limits = &self.shared.limits;
        self.reader.set_max(limits.max_frame);
        self.reader.settle();
        let welcome = ServerFrame::Welcome(Welcome {
            version: VERSION,
            heartbeat_ms: u64::try_from(limits.heartbeat.as_millis()).unwrap_or(u64::MAX),
            max_frame: limits.max_frame,
            server_time: Some(self.shared.clock.now()),
            live: limits.live,
            stopping: true,
            max_running,
        });
        if let Err(error) = self.writer.push(&welcome) {
            return End::quiet(error.to_string());
        }
        pump(self.shared, caller, session, outbound, &mut self.reader, &mut self.writer).await
    }

    async fn refuse(&mut self, caller: Option<&Caller>, refusal: Refusal) {
        let client = caller.map_or("-", |caller| caller.client.as_str());
        let reason = refusal.detail.as_deref().unwrap_or(&refusal.reason);
        if refusal.in_sum {
            tracing::debug!(client, peer = %shown(self.peer), reason, "refused a connection");
        } else {
            tracing::warn!(client, peer = %shown(self.peer), reason, "refused a connection");
        }
        self.last_words(&refusal.frame()).await;
    }

    /// Sends the last frame, and gives it a chance to arrive.
    async fn last_words(&mut self, frame: &ServerFrame) {
        if self.writer.push(frame).is_err() {
            return;
        }
        // The connection ends whether or not this succeeds.
        let _ = timeout(LAST_WORDS, async {
            self.writer.shutdown().await?;
            self.reader.discard(LINGER).await
        })
        .await;
    }
}

async fn admit<F: Fleet>(
    shared: &Arc<Shared<F>>,
    peer: Option<SocketAddr>,
    hello: Hello,
) -> Result<Admitted, Refusal> {
    if hello.version != VERSION {
        let asked = hello.version;
        return Err(Refusal::new(format!(
            "protocol version {asked} is not spoken here; {VERSION} is"
        )));
    }
    if let Err(retry_after) = shared.gate.admit(&hello.client) {
        tell_deferred(shared);
        let reason = "more clients connect than are let in a second";
        return Err(Refusal { in_sum: true, ..Refusal::new(reason).after(retry_after) });
    }
    let Ok(permit) = Arc::clone(&shared.open).try_acquire_owned() else {
        let most = shared.limits.max_connections;
        return Err(Refusal::new(format!("{most} connections are open, the most allowed"))
            .after(RETRY_FULL));
    };
    let asking = shared.authenticator.authenticate(&hello, peer);
    let proof = match timeout(AUTHENTICATE, asking).await {
        Ok(Ok(proof)) => proof,
        Ok(Err(denied)) => {
            let super::Denied { reason, detail, retry_after } = denied;
            return Err(Refusal { reason, detail, retry_after, in_sum: false });
        }
        Err(_) => {
            let reason = format!("authentication took longer than {AUTHENTICATE:?}");
            return Err(Refusal::new(reason).after(RETRY_FULL));
        }
    };
    let (sender, outbound) = outbox(OUTBOUND);
    let taken = together(hello.taken, &hello.attempts);
    let (session, max_running) = shared
        .fleet
        .connect(hello.client, proof, taken, sender)
        .await
        .map_err(|error| not_connected(&error))?;
    if let Some(facts) = hello.facts {
        let told = shared.fleet.told_facts(session, facts).await;
        told.map_err(|error| not_connected(&error))?;
    }
    Ok(Admitted { session, max_running, outbound, _permit: permit })
}

/// Has the log told within a second how many were sent away, unless that is under way.
fn tell_deferred<F: Fleet>(shared: &Arc<Shared<F>>) {
    if !shared.gate.shall_tell() {
        return;
    }
    let shared = Arc::clone(shared);
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        tokio::select! {
            biased;
            () = sleep(TELL) => {}
            () = shared.stopping.cancelled() => {}
        }
        shared.gate.tell();
    });
}

/// A `refused` frame.
pub(super) fn refused(reason: &str, retry_after: Option<Duration>) -> ServerFrame {
    let retry_after_ms =
        retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    ServerFrame::Refused(Refused { reason: reason.to_owned(), retry_after_ms })
}

/// A peer in a log line.
pub(super) fn shown(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "-".into(), |peer| peer.to_string())
}

fn stopping() -> Refusal {
    Refusal::new("the server stops").after(RETRY_STOPPING)
}

fn not_connected(error: &CallError) -> Refusal {
    match error {
        CallError::Refused(RequestError::Denied(_) | RequestError::NotFound { .. }) => {
            Refusal { detail: Some(error.to_string()), ..Refusal::new(NOT_KNOWN) }
        }
        CallError::Refused(error) => Refusal::new(error.to_string()).after(RETRY_FULL),
        CallError::Hindered(_) => Refusal::new(error.to_string()).after(RETRY_FULL),
        CallError::Stopped => stopping(),
        CallError::Store(_) | CallError::UnexpectedReply(_) => {
            let told = Refusal::new("the server cannot let anybody in now").after(RETRY_FULL);
            Refusal { detail: Some(error.to_string()), ..told }
        }
    }
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Io(_) | WireError::Truncated { .. } => Self::quiet(error.to_string()),
            error => Self::told(error.to_string(), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// With what tokio keeps of a task it must stay below 2 KiB, where the allocator's next size
    /// is 2.5 KiB; there are thousands of connections that do nothing.
    #[test]
    fn a_connections_task_is_small() {
        let size = size(run::<crate::Handle, tokio::net::TcpStream>);
        assert!(size <= 1_900, "{size} bytes");
    }
}
