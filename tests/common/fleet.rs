//! Clients in the test's own process, and what they ran.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetcron::client::{Client, ClientBuilder, ClientHandle, Context};
use fleetcron::engine::Apply;
use fleetcron::explain::{Firing, Item, JobQuery, Sums};
use fleetcron::history::RunQuery;
use fleetcron::remote::Remote;
use fleetcron::{JobName, JobSpec, Json, Run, Serial, Submission};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::server::{Server, token_of};
use super::within;

/// A command that a client has begun to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Executed {
    pub client: String,
    pub serial: Serial,
    pub job: Option<JobName>,
    pub params: Value,
}

/// What the clients of a test have run, in the order in which they began.
#[derive(Clone)]
pub struct Record {
    all: Arc<Mutex<Vec<Executed>>>,
    news: mpsc::UnboundedSender<Executed>,
}

/// What comes in to a [`Record`].
pub type News = mpsc::UnboundedReceiver<Executed>;

impl Record {
    pub fn new() -> (Self, News) {
        let (news, receiver) = mpsc::unbounded_channel();
        (Self { all: Arc::default(), news }, receiver)
    }

    /// Notes that a handler has begun.
    pub fn note(&self, cx: &Context, params: &Value) {
        let client = cx.client.id().to_string();
        let (job, params) = (cx.job.clone(), params.clone());
        let executed = Executed { client, serial: cx.serial, job, params };
        self.all.lock().unwrap().push(executed.clone());
        // A test that looks at the record alone has dropped the receiver.
        let _ = self.news.send(executed);
    }

    pub fn all(&self) -> Vec<Executed> {
        self.all.lock().unwrap().clone()
    }

    /// The serials that one client has run, in its order.
    pub fn serials(&self, client: &str) -> Vec<Serial> {
        let all = self.all.lock().unwrap();
        all.iter().filter(|one| one.client == client).map(|one| one.serial).collect()
    }

    /// Each of these clients has run each of these once, and nothing twice.
    pub fn has_each_once<'a>(
        &self,
        clients: impl IntoIterator<Item = &'a str>,
        expected: &BTreeSet<Serial>,
    ) {
        for id in clients {
            let mut times = HashMap::<Serial, usize>::new();
            for serial in self.serials(id) {
                *times.entry(serial).or_default() += 1;
            }
            let twice: Vec<_> = times.iter().filter(|(_, count)| **count > 1).collect();
            assert!(twice.is_empty(), "{id} has run these more than once: {twice:?}");
            let missing: Vec<_> =
                expected.iter().filter(|serial| !times.contains_key(serial)).collect();
            assert!(missing.is_empty(), "{id} has not run {missing:?}");
        }
    }
}

/// A client whose command `work` is noted and answered with its client and serial. It comes back
/// quickly.
pub fn client(listen: &str, id: &str, record: &Record) -> ClientBuilder {
    let record = record.clone();
    bare(listen, id).on("work", move |cx: Context, params: Value| {
        record.note(&cx, &params);
        async move { Ok(answer(&cx)) }
    })
}

/// What `work` answers.
pub fn answer(cx: &Context) -> Value {
    json!({ "client": cx.client.id(), "serial": cx.serial })
}

/// A client without handlers.
pub fn bare(listen: &str, id: &str) -> ClientBuilder {
    Client::builder(listen, id.parse().unwrap())
        .token(token_of(id))
        .backoff(Duration::from_millis(20), Duration::from_millis(200))
}

/// Starts a client and waits until it is connected.
pub async fn connect(builder: ClientBuilder) -> ClientHandle {
    let handle = builder.start().unwrap();
    within("a client's connection", handle.connected()).await.unwrap();
    handle
}

/// Stops a client and waits until the server has noticed.
pub async fn leave(server: &Server, client: &ClientHandle) {
    within("a client's end", client.stop()).await;
    server.log().json("a connection has ended", &[("client", client.id().as_str())]).await;
}

/// A submission of `work`.
pub fn work(target: &str, number: usize) -> Submission {
    let mut submission = Submission::new(target.parse().unwrap(), "work".parse().unwrap());
    submission.params = Json::new(&json!({ "number": number })).unwrap();
    submission
}

/// A job from JSON.
pub fn job(spec: Value) -> JobSpec {
    serde_json::from_value(spec).unwrap()
}

pub async fn apply(remote: &Remote, jobs: Vec<JobSpec>) {
    remote.apply(Apply { jobs, ..Apply::default() }).await.unwrap();
}

/// All runs of a job, the oldest first, each as it stands.
pub async fn runs_of(remote: &Remote, job: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    loop {
        let before = runs.last().map(|run| run.serial);
        let job = Some(job.parse().unwrap());
        let query = RunQuery { job, before, limit: 1_000, ..RunQuery::default() };
        let part = remote.runs(query).await.unwrap();
        let ended = part.len() < 1_000;
        runs.extend(part);
        if ended {
            runs.reverse();
            return runs;
        }
    }
}

/// Waits for the end of a run, and gives it.
pub async fn ended(remote: &Remote, serial: Serial) -> Run {
    within(&format!("the end of run {serial}"), remote.wait(serial)).await.unwrap()
}

/// What became of each moment at which a job was due, and the sums.
pub async fn explained(remote: &Remote, job: &str) -> (Vec<Firing>, Sums) {
    let items: Vec<Item> =
        remote.explain_job(JobQuery::new(job.parse().unwrap())).try_collect().await.unwrap();
    let mut firings = Vec::new();
    let mut sums = None;
    for item in items {
        match item {
            Item::Firing(firing) => firings.push(*firing),
            Item::Sums(all) => sums = Some(*all),
            other => panic!("{other:?}"),
        }
    }
    (firings, sums.unwrap())
}
