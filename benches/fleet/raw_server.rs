//! The raw loopback: the same frames over the same sockets to and from the same clients, with no
//! engine and no store behind them. A process of its own.
//!
//! It greets, sends commands that are encoded once, looks for responses by their first bytes
//! without parsing them, and acknowledges them together with the next command. It is what any server
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
use tokio::time::{Instant, sleep_until};

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

/// How long acknowledgements wait for a command, and how many do, as at the server.
const ACK_DELAY: Duration = Duration::from_millis(250);
const ACKS: usize = 32;

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
    let mut acks = Acks::default();
    loop {
        received.reserve(READ);
        let due = acks.due;
        tokio::select! {
            came = reader.read_buf(&mut received) => {
                if came.unwrap_or(0) == 0 {
                    return;
                }
                acknowledge(&raw, &mut received, &mut acks);
                if acks.count >= ACKS {
                    acks.leave(&mut gathered);
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                acks.leave(&mut gathered);
            }
            command = commands.recv() => {
                acks.leave(&mut gathered);
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

/// Acknowledgements wait for a command to leave with, as the server's do.
#[derive(Default)]
struct Acks {
    frame: Vec<u8>,
    count: usize,
    due: Option<Instant>,
}

impl Acks {
    fn add(&mut self, serial: &[u8; SERIAL]) {
        let before = if self.count == 0 { br#"{"ack":{"serials":[""#.as_slice() } else { b",\"" };
        self.frame.extend_from_slice(before);
        self.frame.extend_from_slice(serial);
        self.frame.push(b'"');
        self.count += 1;
        self.due.get_or_insert_with(|| Instant::now() + ACK_DELAY);
    }

    /// Gathers one frame for all of them.
    fn leave(&mut self, gathered: &mut BytesMut) {
        if self.count > 0 {
            self.frame.extend_from_slice(b"]}}");
            gathered.extend_from_slice(&u32::try_from(self.frame.len()).unwrap().to_be_bytes());
            gathered.extend_from_slice(&self.frame);
        }
        self.frame.clear();
        (self.count, self.due) = (0, None);
    }
}

/// Takes the whole frames out of what has come, and acknowledges all responses among them.
fn acknowledge(raw: &Raw, received: &mut BytesMut, acks: &mut Acks) {
    while let Some(header) = received.first_chunk::<HEADER>() {
        let length = u32::from_be_bytes(*header) as usize;
        let Some(frame) = received.get(HEADER..HEADER + length) else { break };
        if let Some(rest) = frame.strip_prefix(RESPONSE) {
            let serial: &[u8; SERIAL] = rest.first_chunk().expect("a serial");
            raw.runs.lock().unwrap()[serial].fetch_sub(1, Ordering::Relaxed);
            acks.add(serial);
        }
        received.advance(HEADER + length);
    }
}
