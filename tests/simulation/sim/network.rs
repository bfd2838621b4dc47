//! The network: byte streams between a client and the server that are slow, come in pieces, and
//! are cut, half open or stalled.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::random::Random;
use super::tap::{Sniffer, Tap};
use super::world::{World, lock};

/// Bytes that are under way in one direction, at most.
const CAPACITY: usize = 64 * 1024;

/// An end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How a link fails.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// Both ends are told, and what is under way is lost.
    Reset,
    /// The client is told; what it has said still arrives, this much later, and then the end.
    Late(Duration),
    /// Nobody is told anything.
    Black,
    /// Nothing reaches this side any more, and nobody is told.
    OneWay(Side),
    /// All that is under way, and what follows, comes this much later.
    Stall(Duration),
}

/// One connection.
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) client: usize,
    /// Which process of the client's.
    pub(super) process: u64,
    /// Which process of the server's.
    pub(super) incarnation: u64,
    state: Mutex<State>,
}

struct State {
    /// To the client, and to the server.
    pipes: [Pipe; 2],
    random: Random,
    latency: usize,
    /// The server's process has ended: what its tasks still do is of no account.
    server_dead: bool,
}

#[derive(Default)]
struct Pipe {
    queue: VecDeque<(Instant, Vec<u8>)>,
    under_way: usize,
    /// When the last of it arrives.
    last: Option<Instant>,
    /// When the reader finds the end, and whether it is a failure.
    end: Option<(Instant, bool)>,
    /// Nobody reads any more.
    unread: bool,
    /// What is written vanishes.
    black: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// What was written and read, as frames.
    written: Sniffer,
    read: Sniffer,
}

impl Pipe {
    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    fn end_at(&mut self, at: Instant, failure: bool) {
        self.end.get_or_insert((at, failure));
        self.wake();
    }

    fn lose_all(&mut self) {
        self.queue.clear();
        self.under_way = 0;
    }
}

impl State {
    /// The pipe that leads to a side.
    fn to(&mut self, side: Side) -> &mut Pipe {
        &mut self.pipes[side as usize]
    }
}

impl Link {
    /// Whether either end still uses it.
    fn is_used(&self) -> bool {
        lock(&self.state).pipes.iter().any(|pipe| pipe.end.is_none() && !pipe.unread)
    }

    pub(super) fn cut(&self, cut: Cut) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        match cut {
            Cut::Reset => {
                for pipe in &mut state.pipes {
                    pipe.lose_all();
                    pipe.end = Some((now, true));
                    pipe.wake();
                }
            }
            Cut::Late(after) => {
                let pipe = state.to(Side::Client);
                pipe.lose_all();
                pipe.end = Some((now, true));
                pipe.wake();
                let pipe = state.to(Side::Server);
                let at = pipe.last.unwrap_or(now).max(now) + after;
                for (arrives, _) in &mut pipe.queue {
                    *arrives = at;
                }
                pipe.last = Some(at);
                pipe.end_at(at, false);
            }
            Cut::Black => {
                for pipe in &mut state.pipes {
                    pipe.black = true;
                    pipe.lose_all();
                }
            }
            Cut::OneWay(side) => {
                let pipe = state.to(side);
                pipe.black = true;
                pipe.lose_all();
            }
            Cut::Stall(after) => {
                for pipe in &mut state.pipes {
                    for (arrives, _) in &mut pipe.queue {
                        *arrives = (*arrives).max(now + after);
                    }
                    pipe.last = Some(pipe.last.unwrap_or(now).max(now + after));
                }
            }
        }
    }

    /// The server's process has ended. With `told`, the client finds out at once.
    pub(super) fn server_died(&self, told: bool) {
        lock(&self.state).server_dead = true;
        self.cut(if told { Cut::Reset } else { Cut::Black });
    }
}

/// All links.
pub(super) struct Network {
    state: Mutex<NetworkState>,
}

struct NetworkState {
    random: Random,
    links: Vec<Weak<Link>>,
    next: u64,
    /// Until when a client reaches nobody.
    apart: Vec<Option<Instant>>,
}

impl Network {
    pub(super) fn new(random: Random) -> Self {
        let state = NetworkState { random, links: Vec::new(), next: 1, apart: Vec::new() };
        Self { state: Mutex::new(state) }
    }

    /// Makes a link; the client's end and the server's.
    pub(super) fn link(
        &self,
        world: &Arc<World>,
        client: usize,
        process: u64,
        incarnation: u64,
    ) -> (End, End) {
        let mut network = lock(&self.state);
        let number = network.next;
        network.next += 1;
        let random = Random(network.random.next());
        let state = State {
            pipes: [Pipe::default(), Pipe::default()],
            random,
            latency: world.plan.latency_ms,
            server_dead: false,
        };
        let state = Mutex::new(state);
        let link = Arc::new(Link { number, client, process, incarnation, state });
        network.links.retain(|link| link.strong_count() > 0);
        network.links.push(Arc::downgrade(&link));
        let end = |side| End {
            link: Arc::clone(&link),
            side,
            timer: Box::pin(sleep_until(Instant::now())),
            world: Arc::clone(world),
        };
        (end(Side::Client), end(Side::Server))
    }

    /// The links in use, the oldest first.
    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        let network = lock(&self.state);
        let links = network.links.iter().filter_map(Weak::upgrade);
        links.filter(|link| link.is_used()).collect()
    }

    /// For so long a client's attempts to connect lead nowhere.
    pub(super) fn part(&self, client: usize, time: Duration) {
        let mut network = lock(&self.state);
        if network.apart.len() <= client {
            network.apart.resize(client + 1, None);
        }
        network.apart[client] = Some(Instant::now() + time);
    }

    pub(super) fn heal(&self) {
        lock(&self.state).apart.clear();
    }

    pub(super) fn is_apart(&self, client: usize) -> bool {
        let network = lock(&self.state);
        network.apart.get(client).copied().flatten().is_some_and(|until| until > Instant::now())
    }

    /// How long it takes to get a connection.
    pub(super) fn hello_latency(&self) -> Duration {
        Duration::from_millis(lock(&self.state).random.below(40) as u64)
    }
}

/// One end of a link, as a byte stream.
pub(super) struct End {
    link: Arc<Link>,
    side: Side,
    timer: Pin<Box<Sleep>>,
    world: Arc<World>,
}

impl End {
    fn wait_until(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        self.timer.as_mut().reset(at);
        self.timer.as_mut().poll(cx).is_pending()
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let now = Instant::now();
        let (side, link) = (self.side, Arc::clone(&self.link));
        let mut state = lock(&link.state);
        let cautious = state.random.below(4);
        let pipe = state.to(side);
        let next = pipe.queue.front().map(|(at, _)| *at);
        if let Some(at) = next.filter(|at| *at <= now) {
            let (_, mut bytes) = pipe.queue.pop_front().expect("it was there");
            // Often not all at once.
            let most = if cautious == 0 { bytes.len().div_ceil(2) } else { bytes.len() };
            let most = most.min(buf.remaining());
            let rest = bytes.split_off(most);
            if !rest.is_empty() {
                pipe.queue.push_front((at, rest));
            }
            buf.put_slice(&bytes);
            pipe.under_way -= bytes.len();
            if let Some(writer) = pipe.writer.take() {
                writer.wake();
            }
            let frames = pipe.read.feed(&bytes);
            let dead = state.server_dead;
            drop(state);
            if !(dead && side == Side::Server) {
                self.world.tap(&link, Tap::Read(side), frames);
            }
            return Poll::Ready(Ok(()));
        }
        let end = pipe.end;
        pipe.reader = Some(cx.waker().clone());
        drop(state);
        match (next, end) {
            (Some(at), _) if self.wait_until(at, cx) => Poll::Pending,
            (None, Some((at, _))) if at > now && self.wait_until(at, cx) => Poll::Pending,
            (None, Some((_, true))) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            (None, Some((_, false))) => Poll::Ready(Ok(())),
            (None, None) => Poll::Pending,
            (Some(_), _) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        let (side, link) = (self.side, Arc::clone(&self.link));
        let mut state = lock(&link.state);
        let dead = state.server_dead && side == Side::Server;
        let most = state.latency;
        let latency = Duration::from_millis(state.random.below(most) as u64);
        // An end that was told of a failure writes no more.
        let told = state.to(side).end.is_some_and(|(at, failure)| failure && at <= now);
        let pipe = state.to(side.other());
        if told || pipe.unread || pipe.end.is_some_and(|(at, _)| at <= now) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = CAPACITY - pipe.under_way;
        if room == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = &bytes[..bytes.len().min(room)];
        pipe.under_way += taken.len();
        if !pipe.black {
            let at = pipe.last.unwrap_or(now).max(now + latency);
            pipe.last = Some(at);
            pipe.queue.push_back((at, taken.to_vec()));
            if let Some(reader) = pipe.reader.take() {
                reader.wake();
            }
        }
        let frames = pipe.written.feed(taken);
        drop(state);
        if !dead {
            self.world.tap(&link, Tap::Written(side), frames);
        }
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.end(self.side);
        Poll::Ready(Ok(()))
    }
}

impl Link {
    /// A side writes no more.
    fn end(&self, side: Side) {
        let mut state = lock(&self.state);
        let pipe = state.to(side.other());
        let at = pipe.last.unwrap_or_else(Instant::now).max(Instant::now());
        if !pipe.black {
            pipe.end_at(at, false);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.link.end(self.side);
        let mut state = lock(&self.link.state);
        let side = self.side;
        let pipe = state.to(side);
        pipe.unread = true;
        if !pipe.black {
            pipe.wake();
        }
    }
}
