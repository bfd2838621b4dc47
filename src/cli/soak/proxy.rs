//! A TCP proxy that fails as networks do: it cuts connections, lets them stand half open, stalls
//! and delays what they carry.
//!
//! Promises: bytes that pass do so in order and unchanged; while nothing is injected, nothing is
//! held. Where it listens stays the same while the server behind it moves.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::select;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Bytes that one step passes on at most.
const STEP: usize = 16 * 1_024;

/// The pause after a connection could not be taken.
const REST: Duration = Duration::from_millis(50);

/// How all connections are now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weather {
    /// Nothing passes.
    pub(super) stalled: bool,
    /// How much later each piece passes.
    pub(super) delay: Duration,
}

/// A running proxy. It ends when the last of its clones is dropped.
#[derive(Debug, Clone)]
pub(super) struct Proxy {
    shared: Arc<Shared>,
    /// Where it listens.
    pub(super) address: SocketAddr,
    weather: Arc<watch::Sender<Weather>>,
    behind: Arc<watch::Sender<Option<SocketAddr>>>,
}

#[derive(Debug, Default)]
struct Shared {
    connections: Mutex<Connections>,
    /// So many of the next pieces that come from the server are lost, each with its connection.
    lose: AtomicU32,
}

#[derive(Debug, Default)]
struct Connections {
    next: u64,
    open: HashMap<u64, Connection>,
}

/// One connection's two handles.
#[derive(Debug, Clone, Default)]
struct Connection {
    /// It is closed.
    cut: CancellationToken,
    /// It stays open, and nothing passes any more.
    silent: CancellationToken,
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// Listens on a free port of this machine.
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let (weather, changes) = watch::channel(Weather::default());
        let (behind, server) = watch::channel(None);
        tokio::spawn(accept(listener, Arc::clone(&shared), changes, server));
        Ok(Self { shared, address, weather: Arc::new(weather), behind: Arc::new(behind) })
    }

    /// From now on the server is there.
    pub(super) fn point_to(&self, server: SocketAddr) {
        self.behind.send_replace(Some(server));
    }

    /// How all connections are from now on.
    pub(super) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Closes those of the open connections that `choose` picks. How many it were.
    pub(super) fn cut(&self, choose: impl FnMut() -> bool) -> usize {
        self.each(choose, |connection| connection.cut.cancel())
    }

    /// Lets those of the open connections that `choose` picks stand half open for good.
    pub(super) fn silence(&self, choose: impl FnMut() -> bool) -> usize {
        self.each(choose, |connection| connection.silent.cancel())
    }

    /// So many of the next answers are lost: what comes from the server ends the connection instead
    /// of passing, so that the other side does not know whether it was heard.
    pub(super) fn lose(&self, answers: u32) {
        self.shared.lose.store(answers, Ordering::Relaxed);
    }

    /// Ends all that was injected: nothing stalls or is lost, and what is silent is cut.
    pub(super) fn heal(&self) {
        self.set(Weather::default());
        self.lose(0);
        for connection in self.shared.connections().open.values() {
            if connection.silent.is_cancelled() {
                connection.cut.cancel();
            }
        }
    }

    fn each(&self, mut choose: impl FnMut() -> bool, act: impl Fn(&Connection)) -> usize {
        let connections = self.shared.connections();
        // In the order in which they came: the choice shall not go by the order of a hash.
        let mut numbers: Vec<&u64> = connections.open.keys().collect();
        numbers.sort_unstable();
        let chosen: Vec<&u64> = numbers.into_iter().filter(|_| choose()).collect();
        for number in &chosen {
            act(&connections.open[number]);
        }
        chosen.len()
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    weather: watch::Receiver<Weather>,
    server: watch::Receiver<Option<SocketAddr>>,
) {
    let mut gone = server.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended(&mut gone) => return,
        };
        let Ok((near, _)) = accepted else {
            tokio::time::sleep(REST).await;
            continue;
        };
        let (shared, weather) = (Arc::clone(&shared), weather.clone());
        let server = *server.borrow();
        tokio::spawn(async move {
            let connection = Connection::default();
            let number = {
                let mut connections = shared.connections();
                connections.next += 1;
                let number = connections.next;
                connections.open.insert(number, connection.clone());
                number
            };
            // Either side may end, or the server not be there: the other sees that as its end.
            let _ = carry(near, server, &shared, &connection, weather).await;
            shared.connections().open.remove(&number);
        });
    }
}

async fn ended(server: &mut watch::Receiver<Option<SocketAddr>>) {
    while server.changed().await.is_ok() {}
}

async fn carry(
    near: TcpStream,
    server: Option<SocketAddr>,
    shared: &Shared,
    connection: &Connection,
    weather: watch::Receiver<Weather>,
) -> std::io::Result<()> {
    let Some(server) = server else { return Ok(()) };
    let far = TcpStream::connect(server).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let there = pass(near_read, far_write, None, connection, weather.clone());
    let back = pass(far_read, near_write, Some(&shared.lose), connection, weather);
    let both = async {
        // Half of a connection is none to either end; unless it is silent: then neither end hears
        // that the other has gone.
        let (there, back) = (pin!(there), pin!(back));
        let (done, other) = select(there, back).await.factor_first();
        if connection.silent.is_cancelled() { other.await } else { done }
    };
    tokio::select! {
        done = both => done,
        () = connection.cut.cancelled() => Ok(()),
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    lose: Option<&AtomicU32>,
    connection: &Connection,
    mut weather: watch::Receiver<Weather>,
) -> std::io::Result<()> {
    let mut piece = vec![0; STEP];
    loop {
        let length = from.read(&mut piece).await?;
        if connection.silent.is_cancelled() {
            if length == 0 {
                return Ok(());
            }
            continue;
        }
        let less = |left: u32| left.checked_sub(1);
        let is_lost = |lose: &AtomicU32| {
            lose.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
        };
        if length > 0 && lose.is_some_and(is_lost) {
            return Ok(());
        }
        // An error says that the proxy's owner is gone: then nothing is held.
        let now = weather.wait_for(|weather| !weather.stalled).await.map(|now| *now);
        let delay = now.map_or(Duration::ZERO, |now| now.delay);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..length]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, and a connection to it through a proxy.
    async fn pair() -> (Proxy, TcpStream) {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start().await.unwrap();
        proxy.point_to(server.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = server.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.into_split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(echo(&mut stream, b"first").await.unwrap(), b"first");
        (proxy, stream)
    }

    async fn echo(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(bytes).await?;
        let mut back = vec![0; bytes.len()];
        stream.read_exact(&mut back).await?;
        Ok(back)
    }

    #[tokio::test]
    async fn what_passes_is_unchanged_and_a_cut_ends_it() {
        let (proxy, mut stream) = pair().await;
        let long: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        let (mut read, mut write) = stream.split();
        let mut back = vec![0; long.len()];
        let both = tokio::join!(write.write_all(&long), read.read_exact(&mut back));
        assert!(both.0.is_ok() && both.1.is_ok() && back == long);
        assert_eq!(proxy.cut(|| true), 1);
        assert!(echo(&mut stream, b"more").await.is_err());
    }

    #[tokio::test]
    async fn a_stall_holds_all_and_lets_it_go() {
        let (proxy, mut stream) = pair().await;
        proxy.set(Weather { stalled: true, ..Weather::default() });
        stream.write_all(b"held").await.unwrap();
        let mut back = [0; 4];
        let held = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut back)).await;
        assert!(held.is_err(), "nothing passes");
        proxy.heal();
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"held");
    }

    #[tokio::test]
    async fn an_answer_that_is_lost_ends_its_connection_and_no_other() {
        let (proxy, mut stream) = pair().await;
        proxy.lose(1);
        assert!(echo(&mut stream, b"lost").await.is_err());
        let mut other = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(echo(&mut other, b"other").await.unwrap(), b"other");
    }

    #[tokio::test]
    async fn a_silent_connection_stays_open_until_it_is_healed() {
        let (proxy, mut stream) = pair().await;
        assert_eq!(proxy.silence(|| true), 1);
        stream.write_all(b"lost").await.unwrap();
        let mut back = [0; 4];
        let held = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut back)).await;
        assert!(held.is_err(), "neither bytes nor an end");
        let mut other = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(echo(&mut other, b"other").await.unwrap(), b"other");
        proxy.heal();
        assert!(matches!(stream.read(&mut back).await, Ok(0) | Err(_)), "it is cut");
        assert_eq!(echo(&mut other, b"other").await.unwrap(), b"other");
    }
}
