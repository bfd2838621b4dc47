//! Accepting connections.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::fleet::Fleet;
use super::session::{self, refused, shown};
use super::shared::Shared;
use crate::wire::{ServerFrame, encode};

/// The pause after a connection could not be accepted: mostly there are no file descriptors left,
/// and some come free.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a refusal of a connection that is not even heard may take.
pub(super) const REFUSING: Duration = Duration::from_secs(1);

/// The least time after which one comes again that was not heard.
const UNHEARD_AGAIN: Duration = Duration::from_millis(500);

/// Where connections come from.
pub trait Accept: Send + 'static {
    /// The next connection.
    fn accept(&mut self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        TcpListener::accept(self).await
    }
}

pub(super) async fn listen<F: Fleet>(shared: Arc<Shared<F>>, mut listener: impl Accept) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stopping.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => take(&shared, stream, peer),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

fn take<F: Fleet>(shared: &Arc<Shared<F>>, stream: TcpStream, peer: SocketAddr) {
    let Ok(permit) = Arc::clone(&shared.greeting).try_acquire_owned() else {
        refuse_unheard(shared, stream, peer);
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "a connection keeps its delay");
    }
    let run = session::run(Arc::clone(shared), stream, Some(peer), permit);
    shared.tasks.spawn(run);
}

/// Tells a connection that there are too many, without waiting for anything: one write into the
/// empty buffer of a new socket.
fn refuse_unheard<F: Fleet>(shared: &Shared<F>, stream: TcpStream, peer: SocketAddr) {
    let refusal = too_many_greeting(shared, Some(peer));
    if let Ok(bytes) = encode(&refusal, shared.limits.max_frame)
        && let Ok(mut stream) = stream.into_std()
    {
        // The socket does not block, and is closed whether or not this succeeds.
        let _ = stream.write(&bytes);
    }
}

/// When a connection that was not heard is to come again: each at another time, after 0.5 to 2.5 s,
/// by its port, for who it is nobody has asked.
fn unheard_again(peer: Option<SocketAddr>) -> Duration {
    // Ports of one machine follow each other.
    let share = peer.map_or(0, |peer| u64::from(peer.port().wrapping_mul(40_503)) % 2_000);
    UNHEARD_AGAIN + Duration::from_millis(share)
}

pub(super) fn too_many_greeting<F>(shared: &Shared<F>, peer: Option<SocketAddr>) -> ServerFrame {
    let most = shared.limits.max_greeting;
    let reason = format!("{most} connections are without a hello, the most allowed");
    tracing::warn!(client = "-", peer = %shown(peer), %reason, "refused a connection");
    refused(&reason, Some(unheard_again(peer)))
}
