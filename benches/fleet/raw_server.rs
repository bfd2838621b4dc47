//! The raw loopback: the same frames over the same sockets to and from the same clients, with no
//! engine and no store behind them. A process of its own.
//!
//! It greets, sends commands that are encoded once, looks for responses by their first bytes
//! without parsing them, and acknowledges those of one read in one frame. It is what any server
//! that speaks this protocol needs at least.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use fleetcron::time::{Clock as _, SystemClock};
use fleetcron::wire::{
    ClientFrame, CommandFrame, FrameReader, HEADER, MAX_FRAME, ServerFrame, VERSION, Welcome,
    encode,
};
use fleetcron::{Priority, Serial, Submission};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::node_part::Told;
use super::options::RawArgs;
use super::pace::{Pace, Scheduler, submission};
use super::process::processor_seconds;

/// What the first bytes of a response are, up to its serial.
const RESPONSE: &[u8] = br#"{"response":{"serial":""#;

/// Characters of a serial.
const SERIAL: usize = 26;

/// Room for one read.
const READ: usize = 16 * 1024;

/// What connections and the load share.
#[derive(Clone)]
struct Raw {
    clients: u64,
    connections: Arc<Mutex<Vec<mpsc::UnboundedSender<Bytes>>>>,
    /// Of each run that is open, how many have not answered.
    runs: Arc<Mutex<HashMap<[u8; SERIAL], AtomicU64>>>,
    made: Arc<AtomicUsize>,
}

/// Serves, and does its load when it is told that the clients are connected.
pub(crate) async fn run(args: &RawArgs) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let raw = Raw {
        clients: args.clients as u64,
        connections: Arc::default(),
        runs: Arc::default(),
        made: Arc::default(),
    };
    let accepting = raw.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(accepting.clone(), stream));
        }
    });
    let mut line = String::new();
    BufReader::new(tokio::io::stdin()).read_line(&mut line).await.unwrap();
    let pace = Pace {
        open: args.open,
        callers: 1,
        clients: raw.clients,
        warm_up: Duration::from_secs(1),
        measured: Duration::from_secs(args.seconds.into()),
    };
    let look = || processor_seconds(std::process::id());
    let told: Told = pace.keep(&raw, |_| submission("all"), look).await.into();
    println!("{}", serde_json::to_string(&told).unwrap());
}

impl Scheduler for Raw {
    async fn submit(&self, submission: Submission) -> Serial {
        let now = SystemClock.now();
        let serial = Serial::from_parts(now, self.made.fetch_add(1, Ordering::Relaxed) as u128);
        let frame = ServerFrame::Command(CommandFrame {
            serial,
            attempt: 1,
            command: submission.command,
            params: submission.params,
            job: None,
            scheduled_at: now,
            in_turn: false,
            timeout_ms: None,
            on_client_crash: submission.on_client_crash,
            priority: Priority::default(),
            per_client: None,
        });
        let frame = encode(&frame, MAX_FRAME).unwrap();
        let text = serial.to_string();
        let text = text.as_bytes().try_into().expect("a serial has 26 characters");
        self.runs.lock().unwrap().insert(text, self.clients.into());
        for connection in self.connections.lock().unwrap().iter() {
            connection.send(frame.clone()).unwrap();
        }
        serial
    }

    async fn open(&self) -> (u64, u64) {
        let mut runs = self.runs.lock().unwrap();
        let (mut open, mut deliveries) = (0, 0);
        runs.retain(|_, left| {
            let left = left.load(Ordering::Relaxed);
            open += u64::from(left > 0);
            deliveries += left;
            left > 0
        });
        (open, deliveries)
    }
}

/// One connection.
async fn serve(raw: Raw, stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let hello = FrameReader::new(&mut reader).next::<ClientFrame>().await.unwrap();
    assert!(matches!(hello, Some(ClientFrame::Hello(_))), "the first frame is a hello");
    let welcome = ServerFrame::Welcome(Welcome {
        version: VERSION,
        heartbeat_ms: 15_000,
        max_frame: MAX_FRAME,
        server_time: Some(SystemClock.now()),
        live: true,
        stopping: true,
        max_running: None,
    });
    writer.write_all(&encode(&welcome, MAX_FRAME).unwrap()).await.unwrap();
    let (sender, mut commands) = mpsc::unbounded_channel::<Bytes>();
    raw.connections.lock().unwrap().push(sender);
    let mut received = BytesMut::new();
    let mut gathered = BytesMut::new();
    loop {
        received.reserve(READ);
        tokio::select! {
            came = reader.read_buf(&mut received) => {
                if came.unwrap_or(0) == 0 {
                    return;
                }
                acknowledge(&raw, &mut received, &mut gathered);
            }
            command = commands.recv() => {
                gathered.extend_from_slice(&command.expect("the load lasts"));
                while let Ok(command) = commands.try_recv() {
                    gathered.extend_from_slice(&command);
                }
            }
        }
        if !gathered.is_empty() {
            if writer.write_all(&gathered).await.is_err() {
                return;
            }
            gathered.clear();
        }
    }
}

/// Takes the whole frames out of what has come, and gathers one acknowledgement of all responses
/// among them.
fn acknowledge(raw: &Raw, received: &mut BytesMut, gathered: &mut BytesMut) {
    let mut ack = Vec::new();
    while let Some(header) = received.first_chunk::<HEADER>() {
        let length = u32::from_be_bytes(*header) as usize;
        let Some(frame) = received.get(HEADER..HEADER + length) else { break };
        if let Some(rest) = frame.strip_prefix(RESPONSE) {
            let serial: &[u8; SERIAL] = rest.first_chunk().expect("a serial");
            raw.runs.lock().unwrap()[serial].fetch_sub(1, Ordering::Relaxed);
            let before =
                if ack.is_empty() { br#"{"ack":{"serials":[""#.as_slice() } else { b",\"" };
            ack.extend_from_slice(before);
            ack.extend_from_slice(serial);
            ack.push(b'"');
        }
        received.advance(HEADER + length);
    }
    if !ack.is_empty() {
        ack.extend_from_slice(b"]}}");
        gathered.extend_from_slice(&u32::try_from(ack.len()).unwrap().to_be_bytes());
        gathered.extend_from_slice(&ack);
    }
}
