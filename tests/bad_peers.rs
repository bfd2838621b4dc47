//! Peers that break the protocol, each with its clear end and its line in the log, while a good
//! client goes on answering.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fleetcron::DeliveryState;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use common::fleet::{Record, client, connect, ended, work};
use common::server::{Server, token_of};
use common::within;

/// A connection that may send anything.
struct Peer {
    stream: TcpStream,
    address: SocketAddr,
}

impl Peer {
    async fn connect(listen: &str) -> Self {
        let stream = TcpStream::connect(listen).await.unwrap();
        let address = stream.local_addr().unwrap();
        Self { stream, address }
    }

    /// A connection of a known client, after its welcome.
    async fn welcomed(listen: &str, id: &str) -> Self {
        let mut peer = Self::connect(listen).await;
        peer.send(&frame(&hello(id, &token_of(id)))).await;
        let welcome = peer.receive().await.expect("a welcome");
        assert_eq!(welcome["welcome"]["version"], 1, "{welcome}");
        peer
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame of the server; `None` when it has closed the connection.
    async fn receive(&mut self) -> Option<Value> {
        let receiving = async {
            let length = self.stream.read_u32().await.ok()?;
            let mut json = vec![0; length as usize];
            self.stream.read_exact(&mut json).await.unwrap();
            Some(serde_json::from_slice(&json).unwrap())
        };
        within("a frame of the server", receiving).await
    }

    /// The reason of the server's last frame, which must be of this kind and be the last.
    async fn end(&mut self, kind: &str) -> String {
        let frame = self.receive().await.expect("a last frame");
        let reason = frame[kind]["reason"].as_str().unwrap_or_else(|| panic!("{frame}")).to_owned();
        assert_eq!(self.receive().await, None, "the connection is closed");
        reason
    }
}

fn frame(json: &Value) -> Vec<u8> {
    raw(json.to_string().as_bytes())
}

fn raw(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_be_bytes()[..], body].concat()
}

fn hello(id: &str, token: &str) -> Value {
    json!({ "hello": { "version": 1, "client": id, "token": token } })
}

/// What a peer sends first of all, what it is told, and what the log says.
struct Case {
    name: &'static str,
    sends: Vec<u8>,
    told: &'static str,
    logged: &'static str,
}

fn before_the_welcome() -> Vec<Case> {
    let case = |name, sends, told, logged| Case { name, sends, told, logged };
    let not_known = "client or token not known";
    let announced = "a frame of 4294967295 bytes is announced; allowed are 1 to 262144";
    let not_json =
        "a frame is not JSON: expected value at line 1 column 1; it begins \"GET / HTT\"";
    let unknown = "unknown frame type \"shout\"; known are hello, accepted, started, progress, \
                   output, response, call, heartbeat, stopping, bye";
    let half = "7 of 104 bytes of a hello came within 5s";
    let silent = "no hello came within 5s";
    let version = "protocol version 7 is not spoken here; 1 is";
    let old = json!({ "hello": { "version": 7, "client": "good" } });
    vec![
        case("a wrong token", frame(&hello("good", "wrong")), not_known, "good"),
        case("no token", frame(&hello_without_token()), not_known, "its hello has no token"),
        case("an unknown client", frame(&hello("ghost", "x")), not_known, "ghost"),
        case("another version", frame(&old), version, version),
        case("a frame too large", vec![0xff; 4], announced, announced),
        case("an empty frame", vec![0; 4], "a frame of 0 bytes is announced", "0 bytes"),
        case("no JSON", raw(b"GET / HTT"), not_json, "a frame is not JSON"),
        case("an unknown frame", frame(&json!({ "shout": {} })), unknown, unknown),
        case(
            "another frame first",
            frame(&json!({ "heartbeat": {} })),
            "the first frame is not a hello",
            "the first frame is not a hello",
        ),
        case("half a frame", [&[0, 0, 0, 100][..], b"{\"h"].concat(), half, half),
        case("silence", vec![], silent, silent),
    ]
}

fn hello_without_token() -> Value {
    json!({ "hello": { "version": 1, "client": "good" } })
}

/// What welcomed clients send, and what they are told.
fn after_the_welcome() -> Vec<Case> {
    let case = |name, sends, told| Case { name, sends, told, logged: told };
    let serial = "01JD0000000000000000000000";
    let open = json!({ "response": { "serial": serial, "state": "queued" } });
    let unheard = json!({ "response": { "serial": serial, "state": "sung" } });
    vec![
        case("bad-1", frame(&open), "frame \"response\" is not valid: state \"queued\" is not an"),
        case("bad-2", frame(&unheard), "frame \"response\" is not valid: unknown variant `sung`"),
        case("bad-3", frame(&json!({ "shout": {} })), "unknown frame type \"shout\""),
        case("bad-4", raw(b"nonsense"), "a frame is not JSON"),
        case("bad-5", vec![0xff; 4], "a frame of 4294967295 bytes is announced; allowed are 1 to"),
        case("bad-6", frame(&hello("bad-6", "x")), "frame \"hello\" came where"),
    ]
}

async fn refused(server: &Server, case: Case) {
    let mut peer = Peer::connect(&server.listen).await;
    peer.send(&case.sends).await;
    let told = peer.end("refused").await;
    assert!(told.starts_with(case.told), "{}: {told}", case.name);
    let fields = [("peer", &*peer.address.to_string())];
    let line = server.log().json("refused a connection", &fields).await;
    assert_eq!(line["level"], "WARN");
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.contains(case.logged), "{}: {line}", case.name);
}

async fn dismissed(server: &Server, case: Case) {
    let mut peer = Peer::welcomed(&server.listen, case.name).await;
    peer.send(&case.sends).await;
    let told = peer.end("bye").await;
    assert!(told.starts_with(case.told), "{}: {told}", case.name);
    let fields = [("client", case.name), ("peer", &*peer.address.to_string())];
    let line = server.log().json("a connection has ended", &fields).await;
    assert!(line["reason"].as_str().unwrap().starts_with(case.logged), "{line}");
}

/// A good client that is asked without pause, and how often it has answered.
struct Good {
    answered: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
    asking: tokio::task::JoinHandle<()>,
}

impl Good {
    async fn start(server: &Server) -> Self {
        server.define("good", &[]).await;
        let (record, _) = Record::new();
        let handle = connect(client(&server.listen, "good", &record)).await;
        let (answered, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stop, remote) = (answered.clone(), enough.clone(), server.remote());
        let asking = tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let asked = work("client:good", count.load(Ordering::SeqCst));
                let serial = remote.submit(asked).await.unwrap().serial;
                ended(&remote, serial).await;
                let response = remote.response(serial, "good".parse().unwrap()).await.unwrap();
                assert_eq!(response.unwrap().outcome.state, DeliveryState::Succeeded);
                count.fetch_add(1, Ordering::SeqCst);
            }
            assert!(handle.is_connected(), "its first connection still stands");
        });
        Self { answered, enough, asking }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// Ends the asking; whatever went wrong in it fails the test.
    async fn end(self) {
        self.enough.store(true, Ordering::SeqCst);
        within("the last answer", self.asking).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_peers_end_alone_told_and_logged_while_a_good_client_answers() {
    let mut server = Server::new().await;
    let good = Good::start(&server).await;
    for case in after_the_welcome() {
        server.define(case.name, &[]).await;
    }
    let before = good.answered();
    let shared = Arc::new(server);
    let mut peers = JoinSet::new();
    for case in before_the_welcome() {
        let server = shared.clone();
        peers.spawn(async move { refused(&server, case).await });
    }
    for case in after_the_welcome() {
        let server = shared.clone();
        peers.spawn(async move { dismissed(&server, case).await });
    }
    peers.join_all().await;
    let answered = good.answered() - before;
    assert!(answered >= 10, "{answered} answers in the five seconds of the silent peers");
    good.end().await;
    server = Arc::into_inner(shared).unwrap();
    assert!(server.process.is_alive());
    assert_eq!(server.remote().status().await.unwrap().clients_connected, 1);
}

/// Connections in all.
const FLOOD: usize = 10_000;
/// Connections at a time, where the system allows. That there is a limit of those without a hello
/// is tested on pipes, in `tests/connections`.
const AT_ONCE: usize = 1_250;

/// Half the files that a process may have open, and no more than [`AT_ONCE`].
fn at_once() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let files: usize = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX);
    AT_ONCE.min(files / 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connects_without_a_hello_keep_nobody_from_answering() {
    let mut server = Server::new().await;
    let good = Good::start(&server).await;
    let batch = at_once();
    let mut connected = 0;
    while connected < FLOOD {
        let mut peers = JoinSet::new();
        for _ in 0..batch.min(FLOOD - connected) {
            let listen = server.listen.clone();
            peers.spawn(async move { Peer::connect(&listen).await });
        }
        let peers = within("a batch of connects", peers.join_all()).await;
        connected += peers.len();
        // The good client answers while all of them are held.
        let before = good.answered();
        common::eventually("an answer beside the flood", async || {
            (good.answered() > before).then_some(())
        })
        .await;
    }
    common::eventually("a log line for each of them", async || {
        (refusals(&server).len() == FLOOD).then_some(())
    })
    .await;
    good.end().await;
    assert!(server.process.is_alive());
    // There is place again for those who say hello.
    server.define("late", &[]).await;
    common::eventually("a place for a good client", async || {
        let mut peer = Peer::connect(&server.listen).await;
        peer.send(&frame(&hello("late", &token_of("late")))).await;
        peer.receive().await?.get("welcome").map(drop)
    })
    .await;
    assert!(server.process.rss_mib() < 400, "{} MiB", server.process.rss_mib());
}

/// The log's lines of refused connections.
fn refusals(server: &Server) -> Vec<Value> {
    let text = server.log().text();
    let refused = text.lines().filter(|line| line.contains("\"refused a connection\""));
    refused.map(|line| serde_json::from_str(line).unwrap()).collect()
}
