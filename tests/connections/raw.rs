//! The server against a client that is made of raw frames: every bad case has its clear end.

use std::time::Duration;

use fleetcron::server::{Server, ServerBuilder};
use fleetcron::wire::{ClientFrame, Empty, FrameReader, FrameWriter, Hello, ServerFrame};
use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};

use crate::fleet::{FakeFleet, TOKEN, Told, command, is_connected, is_disconnected, serial};
use fleetcron::node::ToSession;

pub(crate) struct Raw {
    pub(crate) reader: FrameReader<ReadHalf<DuplexStream>>,
    pub(crate) writer: FrameWriter<WriteHalf<DuplexStream>>,
}

pub(crate) fn hello(client: &str) -> Hello {
    Hello {
        version: 1,
        client: client.parse().unwrap(),
        token: Some(TOKEN.into()),
        taken: Vec::new(),
        attempts: std::collections::BTreeMap::new(),
        commands: Vec::new(),
        facts: None,
    }
}

impl Raw {
    pub(crate) fn open(server: &Server<FakeFleet>) -> Self {
        let (near, far) = tokio::io::duplex(1024 * 1024);
        tokio::spawn(server.serve(far, None));
        let (reader, writer) = tokio::io::split(near);
        Self { reader: FrameReader::new(reader), writer: FrameWriter::new(writer) }
    }

    pub(crate) async fn send(&mut self, frame: ClientFrame) {
        self.writer.push(&frame).unwrap();
        self.writer.flush().await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Option<ServerFrame> {
        self.reader.next().await.unwrap()
    }

    /// Sends bytes as they are, and gives the frames that come until the end, as JSON.
    pub(crate) async fn last_of(server: &Server<FakeFleet>, bytes: &[u8]) -> String {
        let (mut near, far) = tokio::io::duplex(1024);
        let serving = tokio::spawn(server.serve(far, None));
        near.write_all(bytes).await.unwrap();
        let mut reader = FrameReader::new(near);
        let mut last = String::new();
        while let Some(frame) = reader.next::<ServerFrame>().await.unwrap() {
            last = serde_json::to_string(&frame).unwrap();
        }
        drop(reader);
        serving.await.unwrap();
        last
    }

    pub(crate) async fn welcomed(server: &Server<FakeFleet>, client: &str) -> Self {
        let mut raw = Self::open(server);
        raw.send(ClientFrame::Hello(Box::new(hello(client)))).await;
        assert!(matches!(raw.next().await, Some(ServerFrame::Welcome(_))));
        raw
    }
}

fn builder() -> (FakeFleet, ServerBuilder<FakeFleet>) {
    let fleet = FakeFleet::new();
    (fleet.clone(), Server::builder(fleet))
}

fn framed(json: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(json.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes
}

fn framed_hello(hello: Hello) -> Vec<u8> {
    framed(&serde_json::to_string(&ClientFrame::Hello(Box::new(hello))).unwrap())
}

#[tokio::test(start_paused = true)]
async fn whoever_is_not_let_in_is_told_and_told_no_more_than_needed() {
    let (fleet, server) = builder();
    let server = server.start().unwrap();
    let mut answers = Vec::new();
    for (client, token) in [("web-01", Some("wrong")), ("unknown-1", Some(TOKEN)), ("web-01", None)]
    {
        let hello = Hello { token: token.map(Into::into), ..hello(client) };
        answers.push(Raw::last_of(&server, &framed_hello(hello)).await);
    }
    assert_eq!(answers, [r#"{"refused":{"reason":"client or token not known"}}"#; 3]);
    let told = Raw::last_of(&server, &framed_hello(Hello { version: 2, ..hello("web-01") })).await;
    assert!(told.contains("protocol version 2 is not spoken here; 1 is"), "{told}");
    assert_eq!(fleet.told(), []);
    assert_eq!(server.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn bad_bytes_before_the_hello_are_named() {
    let (_, server) = builder();
    let server = server.start().unwrap();
    let labels: Vec<String> = (0..33).map(|n| format!(r#""k{n}":"v""#)).collect();
    let many_labels = format!(
        r#"{{"hello":{{"version":1,"client":"a","facts":{{"labels":{{{}}}}}}}}}"#,
        labels.join(",")
    );
    let cases = [
        (framed("GET / HTTP/1.1"), "not JSON"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "a frame of 1195725856 bytes is announced"),
        (framed(r#"{"hallo":{}}"#), "unknown frame type \\\"hallo\\\""),
        (framed(r#"{"heartbeat":{}}"#), "the first frame is not a hello"),
        (
            framed(r#"{"hello":{"version":1,"client":"a","facts":{"labels":{"Rack":"r7"}}}}"#),
            "label key \\\"Rack\\\" is not valid",
        ),
        (
            framed(&format!(
                r#"{{"hello":{{"version":1,"client":"a","facts":{{"os":"{}"}}}}}}"#,
                "x".repeat(257)
            )),
            "it has 257 bytes; the most is 256",
        ),
        (framed(&many_labels), "33 labels; the most is 32"),
        (framed(r#"{"hello":{"version":1,"client":"a b"}}"#), "client id \\\"a b\\\" is not valid"),
        (vec![0, 0, 0, 0], "a frame of 0 bytes is announced; allowed are 1 to 262144"),
        (framed_hello(hello("web-01"))[..9].to_vec(), "9 of 87 bytes of a hello came within 5s"),
        (Vec::new(), "no hello came within 5s"),
    ];
    for (bytes, reason) in cases {
        let told = Raw::last_of(&server, &bytes).await;
        assert!(told.starts_with("{\"refused\"") && told.contains(reason), "{reason}: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn bad_frames_after_the_hello_end_that_connection_with_a_bye() {
    let (fleet, server) = builder();
    let server = server.start().unwrap();
    let cases = [
        (framed("[]"), "not an object"),
        ((2 * 1024 * 1024_u32).to_be_bytes().to_vec(), "a frame of 2097152 bytes"),
        (framed_hello(hello("web-01")), "frame \\\"hello\\\" came where"),
        (
            framed(&format!(r#"{{"response":{{"serial":"{}","state":"queued"}}}}"#, serial(1))),
            "state \\\"queued\\\" is not an answer",
        ),
    ];
    let mut good = Raw::welcomed(&server, "good").await;
    for (bytes, reason) in cases {
        let all = [framed_hello(hello("bad")), bytes].concat();
        let told = Raw::last_of(&server, &all).await;
        assert!(told.starts_with("{\"bye\"") && told.contains(reason), "{reason}: {told}");
        assert!(told.contains("\"reconnect\":true"));
        good.send(ClientFrame::Heartbeat(Empty {})).await;
    }
    let ends = fleet.told().into_iter().filter(is_disconnected).count();
    assert_eq!((ends, server.connections()), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_and_then_silence_is_told_as_that() {
    let (_, server) = builder();
    let server = server.start().unwrap();
    let half = framed(r#"{"heartbeat":{}}"#)[..7].to_vec();
    let told = Raw::last_of(&server, &[framed_hello(hello("a")), half].concat()).await;
    let reason = "7 of 20 bytes of a frame came, and then nothing for 45s";
    assert_eq!(told, format!(r#"{{"bye":{{"reason":"{reason}","reconnect":true}}}}"#));
}

#[tokio::test(start_paused = true)]
async fn a_full_server_refuses_the_next_and_leaves_the_others() {
    let (fleet, server) = builder();
    let server = server.max_connections(2).max_greeting(1).start().unwrap();
    let mut first = Raw::welcomed(&server, "a").await;
    let second = Raw::welcomed(&server, "b").await;
    let told = Raw::last_of(&server, &framed_hello(hello("c"))).await;
    assert_eq!(
        told,
        r#"{"refused":{"reason":"2 connections are open, the most allowed","retry_after_ms":5000}}"#
    );
    let silent = Raw::open(&server);
    tokio::task::yield_now().await;
    let told = Raw::last_of(&server, &[]).await;
    assert!(told.contains("1 connections are without a hello, the most allowed"), "{told}");
    fleet.send(1, ToSession::Cancel(serial(9)));
    assert!(matches!(first.next().await, Some(ServerFrame::Cancel(_))), "others are served");
    drop((second, silent));
    fleet.until_count(1, is_disconnected).await;
    // The place of the one that left is free again, and so is that of the silent one.
    Raw::welcomed(&server, "c").await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_silent_connections_disturb_nobody() {
    let (fleet, server) = builder();
    let server = server.start().unwrap();
    let mut good = Raw::welcomed(&server, "good").await;
    let mut silent = Vec::new();
    for _ in 0..10_000 {
        let (near, far) = tokio::io::duplex(256);
        tokio::spawn(server.serve(far, None));
        silent.push(near);
    }
    fleet.send(1, command(1, "a", "{}"));
    let Some(ServerFrame::Command(frame)) = good.next().await else { panic!("no command") };
    assert_eq!(frame.serial, serial(1));
    assert_eq!(server.connections(), 1);
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn commands_and_acks_that_are_ready_together_go_together_and_are_encoded_once() {
    let (fleet, server) = builder();
    let server = server.start().unwrap();
    let mut raw = Raw::welcomed(&server, "a").await;
    let shared = command(1, "disk.report", r#"{"path":  "/"}"#);
    fleet.send(1, ToSession::Ack(serial(7).into()));
    fleet.send(1, shared.clone());
    fleet.send(1, ToSession::Ack(serial(8).into()));
    let Some(ServerFrame::Command(frame)) = raw.next().await else { panic!("no command") };
    assert_eq!(frame.params.text(), r#"{"path":  "/"}"#);
    assert_eq!(frame.job.unwrap().as_str(), "disk/daily");
    let Some(ServerFrame::Ack(ack)) = raw.next().await else { panic!("no ack") };
    assert_eq!(ack.serials, [serial(7), serial(8)]);
    let ToSession::Command(dispatch) = shared else { unreachable!() };
    let bytes = dispatch.frame.get().unwrap().clone();
    fleet.send(1, ToSession::Command(dispatch.clone()));
    assert!(matches!(raw.next().await, Some(ServerFrame::Command(_))));
    assert_eq!(dispatch.frame.get().unwrap().as_ptr(), bytes.as_ptr());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_gets_heartbeats_and_a_silent_client_is_given_up() {
    let (fleet, server) = builder();
    let server = server.heartbeat(Duration::from_secs(10)).start().unwrap();
    let start = tokio::time::Instant::now();
    let mut raw = Raw::welcomed(&server, "a").await;
    let mut beats = 0;
    let reason = loop {
        match raw.next().await {
            Some(ServerFrame::Heartbeat(_)) => beats += 1,
            Some(ServerFrame::Bye(bye)) => break bye.reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reason, "nothing was heard for 30s");
    assert_eq!(start.elapsed().as_secs(), 30);
    assert!((2..=3).contains(&beats), "{beats} beats");
    let told = fleet.until_count(1, is_disconnected).await;
    assert_eq!(told.last(), Some(&Told::Disconnected(1, "nothing was heard for 30s".into())));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_answered_when_the_servers_own_comes_soon() {
    let (_, server) = builder();
    let server = server.heartbeat(Duration::from_secs(10)).start().unwrap();
    let start = tokio::time::Instant::now();
    let mut raw = Raw::welcomed(&server, "a").await;
    let beat = async |raw: &mut Raw| {
        assert!(matches!(raw.next().await, Some(ServerFrame::Heartbeat(_))));
        start.elapsed().as_secs()
    };
    tokio::time::sleep(Duration::from_secs(6)).await;
    raw.send(ClientFrame::Heartbeat(Empty {})).await;
    assert_eq!(beat(&mut raw).await, 6);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Too early: the server's own comes in its time.
    raw.send(ClientFrame::Heartbeat(Empty {})).await;
    assert_eq!(beat(&mut raw).await, 16);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_ended() {
    let (fleet, server) = builder();
    let server = server.write_timeout(Duration::from_secs(3)).start().unwrap();
    let (near, far) = tokio::io::duplex(512);
    tokio::spawn(server.serve(far, None));
    let (reader, writer) = tokio::io::split(near);
    let mut raw = (FrameReader::new(reader), FrameWriter::new(writer));
    raw.1.push(&ClientFrame::Hello(Box::new(hello("a")))).unwrap();
    raw.1.flush().await.unwrap();
    fleet.until_count(1, is_connected).await;
    let large = format!("{:?}", "x".repeat(2_000));
    fleet.send(1, command(1, "a", &large));
    let told = fleet.until_count(1, is_disconnected).await;
    let reason = "the client has taken nothing for 3s".to_owned();
    assert_eq!(told.last(), Some(&Told::Disconnected(1, reason)));
    assert!(raw.0.next::<ServerFrame>().await.is_ok_and(|frame| frame.is_some()));
}
