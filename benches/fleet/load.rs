//! The clients: many in one process, each with a connection of its own, which note the moment at
//! which their handler gets a command.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use fleetcron::client::{Client, Context};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use super::firings::Notes;
use super::moment::WallClock;
use super::options::ClientArgs;

/// The command that the clients handle.
pub(crate) const COMMAND: &str = "note";

/// What the jobs' names begin with; a number follows.
pub(crate) const JOB_PREFIX: &str = "bench/";

const CONNECTED: &str = "connected";

/// A client's name.
pub(crate) fn name(number: usize) -> String {
    format!("client-{number}")
}

/// A client's token.
pub(crate) fn token(number: usize) -> String {
    format!("token-of-client-{number}-0123456789")
}

/// Connects, says so, notes what comes until its standard input ends, and prints it.
pub(crate) async fn clients(args: &ClientArgs) {
    let notes = Arc::new(Notes::new(WallClock::watch()));
    let mut handles = Vec::new();
    for number in 0..args.clients {
        let notes = Arc::clone(&notes);
        let handle = Client::builder(&args.address, name(number).parse().unwrap())
            .token(token(number))
            .on(COMMAND, move |cx: Context, _: Value| {
                let job = cx.job.as_ref().and_then(|job| job.as_str().strip_prefix(JOB_PREFIX));
                let job = job.expect("only jobs of the benchmark").parse().unwrap();
                notes.note(job, cx.scheduled_at);
                std::future::ready(Ok(()))
            })
            .start()
            .unwrap();
        handles.push(handle);
    }
    for handle in &handles {
        handle.connected().await.map_err(|end| end.to_string()).unwrap();
    }
    println!("{CONNECTED}");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await.unwrap();
    notes.print();
}

/// The process of the clients, as the benchmark sees it.
pub(crate) struct Load {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Load {
    /// Starts it, and waits until all clients are connected.
    pub(crate) fn start(address: &str, clients: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["clients", "--address", address, "--clients", &clients.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().expect("it is piped");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), CONNECTED, "the clients are connected");
        Self { child, stdin, stdout }
    }

    /// Ends it, and gives what it noted.
    pub(crate) fn end(self) -> String {
        let Self { mut child, stdin, mut stdout } = self;
        drop(stdin);
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success(), "the clients have failed");
        text
    }
}
