//! Callers over HTTP, each with a connection that it keeps, each waiting for its answer before it
//! submits again.
//!
//! They write the requests and look at the answers themselves: a library for HTTP would take as
//! much of the processor as the server does.

use std::time::{Duration, Instant};

use fleetcron::Serial;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::load;
use super::options::CallerArgs;
use super::pace::PARAMS;

/// The answer to a submission that is durable.
const CREATED: &str = "HTTP/1.1 201 ";

/// What came of all calls.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) count: u64,
    /// Answers that are no run, or one that was given before.
    pub(crate) wrong: u64,
    seconds: f64,
    p99_micros: u64,
}

impl Answered {
    pub(crate) fn rate(&self) -> f64 {
        super::pace::as_float(self.count) / self.seconds
    }

    pub(crate) fn p99_ms(&self) -> f64 {
        super::pace::as_float(self.p99_micros) / 1_000.0
    }
}

/// What one caller noted.
#[derive(Default)]
struct Notes {
    serials: Vec<Serial>,
    micros: Vec<u64>,
    wrong: u64,
}

/// Waits for a line, then calls for a time and tells what came of it.
pub(crate) async fn run(args: &CallerArgs) {
    let mut line = String::new();
    BufReader::new(tokio::io::stdin()).read_line(&mut line).await.unwrap();
    let begun = Instant::now();
    let callers = (0..args.callers).map(|number| tokio::spawn(call(args.clone(), number, begun)));
    let mut all = Notes::default();
    for caller in callers.collect::<Vec<_>>() {
        let notes = caller.await.unwrap();
        all.serials.extend(notes.serials);
        all.micros.extend(notes.micros);
        all.wrong += notes.wrong;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let count = all.serials.len() as u64;
    all.serials.sort_unstable();
    all.serials.dedup();
    all.micros.sort_unstable();
    let rank = (all.micros.len() * 99).div_ceil(100).max(1) - 1;
    let wrong = all.wrong + count - all.serials.len() as u64;
    let answered = Answered { count, wrong, seconds, p99_micros: all.micros[rank] };
    println!("{}", serde_json::to_string(&answered).unwrap());
}

async fn call(args: CallerArgs, number: usize, begun: Instant) -> Notes {
    let address = args.address.strip_prefix("http://").expect("an address of HTTP");
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    let mut notes = Notes::default();
    let mut client = number;
    let (mut line, mut body) = (String::new(), Vec::new());
    while begun.elapsed() < Duration::from_secs(args.seconds.into()) {
        let request = request(&args, address, client);
        client = (client + args.callers) % args.clients;
        let since = Instant::now();
        stream.get_mut().write_all(request.as_bytes()).await.unwrap();
        let created = answer(&mut stream, &mut line, &mut body).await;
        notes.micros.push(u64::try_from(since.elapsed().as_micros()).unwrap());
        match serde_json::from_slice::<Accepted>(&body) {
            Ok(run) if created => notes.serials.push(run.serial),
            _ => notes.wrong += 1,
        }
    }
    notes
}

/// What is looked at of the run.
#[derive(Deserialize)]
struct Accepted {
    serial: Serial,
}

fn request(args: &CallerArgs, address: &str, client: usize) -> String {
    let (target, command) = (load::name(client), load::COMMAND);
    let body = format!(r#"{{"target":"client:{target}","command":"{command}","params":{PARAMS}}}"#);
    let (token, length) = (&args.token, body.len());
    format!(
        "POST /v1/runs HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Reads one answer with its body; whether it says that the run was made.
async fn answer(stream: &mut BufReader<TcpStream>, line: &mut String, body: &mut Vec<u8>) -> bool {
    line.clear();
    stream.read_line(line).await.unwrap();
    let created = line.starts_with(CREATED);
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(line).await.unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            Some(_) => {}
            None => break,
        }
    }
    body.resize(length, 0);
    stream.read_exact(body).await.unwrap();
    created
}
