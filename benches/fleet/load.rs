//! The clients: many in one process, each with a connection of its own, which note what their
//! handler gets.
//!
//! They are those of the client library, as a user of it has them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fleetcron::client::{Client, ClientBuilder, Context};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use super::firings::Notes;
use super::moment::WallClock;
use super::options::{ClientArgs, Note};
use super::process::Part;
use super::taken::{Taken, Tally};

/// The command that the clients handle.
pub(crate) const COMMAND: &str = "note";

/// What the jobs' names begin with; a number follows.
pub(crate) const JOB_PREFIX: &str = "bench/";

const CONNECTED: &str = "connected";

/// How long clients stay away at most that are not told how long: so they come all at once.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

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
    let firings = Arc::new(Notes::new(WallClock::watch()));
    let taken = Arc::new(Taken::new(args.clients));
    let tally = Arc::new(Tally::default());
    let mut handles = Vec::new();
    for number in 0..args.clients {
        let of_all = args.first + number;
        let builder = Client::builder(&args.address, name(of_all).parse().unwrap())
            .token(token(of_all))
            .backoff(BACKOFF.0, BACKOFF.1);
        let builder = match args.note {
            Note::Firings => noting_firings(builder, &firings),
            Note::Runs => noting_runs(builder, &taken, number),
            Note::Count => counting(builder, &tally),
        };
        handles.push(builder.start().unwrap());
    }
    for handle in &handles {
        handle.connected().await.map_err(|end| end.to_string()).unwrap();
    }
    println!("{CONNECTED}");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await.unwrap();
    match args.note {
        Note::Firings => firings.print(),
        Note::Runs => taken.print(),
        Note::Count => tally.print(),
    }
}

fn noting_firings(builder: ClientBuilder, notes: &Arc<Notes>) -> ClientBuilder {
    let notes = Arc::clone(notes);
    builder.on(COMMAND, move |cx: Context, _: Value| {
        let job = cx.job.as_ref().and_then(|job| job.as_str().strip_prefix(JOB_PREFIX));
        let job = job.expect("only jobs of the benchmark").parse().unwrap();
        notes.note(job, cx.scheduled_at);
        std::future::ready(Ok(()))
    })
}

fn noting_runs(builder: ClientBuilder, taken: &Arc<Taken>, number: usize) -> ClientBuilder {
    let taken = Arc::clone(taken);
    builder.on(COMMAND, move |cx: Context, _: Value| {
        taken.note(number, cx.serial);
        std::future::ready(Ok(()))
    })
}

fn counting(builder: ClientBuilder, tally: &Arc<Tally>) -> ClientBuilder {
    let tally = Arc::clone(tally);
    builder.on(COMMAND, move |_: Context, _: Value| {
        tally.count();
        std::future::ready(Ok(()))
    })
}

/// The process of the clients, as the benchmark sees it.
pub(crate) struct Load {
    part: Part,
}

impl Load {
    /// Starts it, and waits until all clients are connected.
    pub(crate) fn start(address: &str, clients: usize, note: Note) -> Self {
        Self::of(address, 0..clients, note)
    }

    /// The same for these of all clients.
    pub(crate) fn of(address: &str, clients: Range<usize>, note: Note) -> Self {
        let (first, clients) = (clients.start.to_string(), clients.len().to_string());
        let numbers = ["--first", &first, "--clients", &clients, "--note", note.name()];
        let args = [&["clients", "--address", address][..], &numbers[..]].concat();
        let mut part = Part::start(&args);
        assert_eq!(part.line(), CONNECTED, "the clients are connected");
        Self { part }
    }

    pub(crate) fn id(&self) -> u32 {
        self.part.id()
    }

    /// Ends it, and gives what it noted.
    pub(crate) fn end(self) -> String {
        self.part.end()
    }
}
