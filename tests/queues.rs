//! What waits, what overtakes and what runs at once: clients of the library on a socket, and the
//! queue of a client that is away as a server's operator sees it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleetcron::access::{self, Access};
use fleetcron::api::message::ClientRequest;
use fleetcron::client::{ClientBuilder, ClientHandle, Context};
use fleetcron::engine::{Apply, NewClient};
use fleetcron::handlers::HandlerError;
use fleetcron::remote::Remote;
use fleetcron::server::Server;
use fleetcron::{
    DeliveryState, Handle, Json, Node, Priority, Serial, Submission, Timeout, TokenHash,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};

use common::fleet::{bare, connect, job};
use common::server::{Process, token_of};
use common::{run, within};

/// A client whose commands tell that they have begun, and end when they are let.
struct Field {
    node: Node,
    server: Server,
    client: ClientHandle,
    begun: mpsc::UnboundedReceiver<Serial>,
    tell: mpsc::UnboundedSender<Serial>,
    gate: Arc<Semaphore>,
    _dir: TempDir,
}

impl Field {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::open(dir.path()).unwrap();
        let server = Server::builder(node.handle()).bind("127.0.0.1:0").await.unwrap();
        let token = Some(TokenHash::of(&token_of("a")));
        let a = NewClient { id: "a".parse().unwrap(), groups: [].into(), token };
        let b = NewClient { id: "b".parse().unwrap(), groups: [].into(), token: None };
        for client in [a, b] {
            node.handle().add_client(client).await.unwrap();
        }
        let (tell, begun) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let client = connect(holding(&server, &tell, &gate)).await;
        Self { node, server, client, begun, tell, gate, _dir: dir }
    }

    /// Another process takes the client's place.
    async fn restart_client(&mut self) {
        self.client = connect(holding(&self.server, &self.tell, &self.gate)).await;
    }

    fn handle(&self) -> Handle {
        self.node.handle()
    }

    async fn submit(&self, priority: Priority) -> Serial {
        self.submit_with(|submission| submission.priority = priority).await
    }

    async fn submit_with(&self, change: impl FnOnce(&mut Submission)) -> Serial {
        let mut submission = Submission::new("client:a".parse().unwrap(), "hold".parse().unwrap());
        submission.params = "null".parse().unwrap();
        change(&mut submission);
        self.handle().submit(submission).await.unwrap().serial
    }

    async fn trigger(&self, job: &str) -> Serial {
        self.handle().trigger(job.parse().unwrap()).await.unwrap().serial
    }

    /// The command that begins next.
    async fn next(&mut self) -> Serial {
        within("a command's begin", self.begun.recv()).await.unwrap()
    }

    async fn stop(self) {
        self.gate.add_permits(100);
        within("the client's end", self.client.stop()).await;
        self.server.shutdown().await;
        self.node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_runs_eight_commands_at_once_and_one_more_that_is_urgent() {
    let mut field = Field::start().await;
    let low = field.submit(Priority::Low).await;
    assert_eq!(field.next().await, low);
    for _ in 1..8 {
        let serial = field.submit(Priority::Normal).await;
        assert_eq!(field.next().await, serial);
    }
    let waits_low = field.submit(Priority::Low).await;
    let waits = field.submit(Priority::Normal).await;
    let urgent = field.submit(Priority::Urgent).await;
    assert_eq!(field.next().await, urgent, "it overtakes what waits");
    // Nine run: when two have ended there is room for one, and then for each that ends.
    field.gate.add_permits(2);
    assert_eq!(field.next().await, waits);
    field.gate.add_permits(1);
    assert_eq!(field.next().await, waits_low);
    field.stop().await;
}

/// Its time to be taken passes while the client ends what it has: it is not given up.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_a_client_stops_waits_for_its_successor() {
    let mut field = Field::start().await;
    let first = field.submit(Priority::Normal).await;
    assert_eq!(field.next().await, first);
    let stopping = field.client.clone();
    let stopped = tokio::spawn(async move { stopping.stop().await });
    // The second call can be answered only when the stop has begun.
    for _ in 0..2 {
        let unknown = field.client.call("unknown".parse().unwrap(), Json::null());
        within("an answer", unknown).await.unwrap_err();
    }
    let short = Duration::from_millis(100);
    let second = field
        .submit_with(|submission| submission.timeout = Timeout::new(short, None).unwrap())
        .await;
    let later = field
        .submit_with(|submission| {
            submission.target = "client:b".parse().unwrap();
            submission.expires_after = Some(2 * short);
        })
        .await;
    let later = within("that time has passed", field.handle().wait(later)).await.unwrap();
    assert_eq!(later.counts.expired, 1);
    field.gate.add_permits(1);
    within("the client's end", stopped).await.unwrap();
    let first = within("its end", field.handle().wait(first)).await.unwrap();
    assert_eq!(first.counts.succeeded, 1);
    field.restart_client().await;
    assert_eq!(field.next().await, second);
    field.gate.add_permits(1);
    let second = within("its end", field.handle().wait(second)).await.unwrap();
    assert_eq!(second.counts.succeeded, 1);
    field.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_of_a_job_runs_at_once_unless_it_allows_more() {
    let mut field = Field::start().await;
    for (name, overlap) in [("skips", "skip"), ("queues", "queue"), ("allows", "allow")] {
        let spec = job(json!({
            "name": name, "target": "client:a", "command": "hold", "params": null,
            "rule": { "at": "2100-01-01T00:00:00Z" }, "overlap": overlap,
        }));
        field.handle().apply(Apply { jobs: vec![spec], ..Apply::default() }).await.unwrap();
    }
    let first = field.trigger("skips").await;
    assert_eq!(field.next().await, first);
    let skipped = field.trigger("skips").await;
    let skipped = within("its end", field.handle().wait(skipped)).await.unwrap();
    assert_eq!(skipped.counts.skipped, 1);
    let queued = [field.trigger("queues").await, field.trigger("queues").await];
    assert_eq!(field.next().await, queued[0]);
    for _ in 0..2 {
        let serial = field.trigger("allows").await;
        assert_eq!(field.next().await, serial, "the second of the job that queues waits");
    }
    field.gate.add_permits(4);
    assert_eq!(field.next().await, queued[1]);
    field.stop().await;
}

/// The client of a [`Field`].
fn holding(
    server: &Server,
    tell: &mpsc::UnboundedSender<Serial>,
    gate: &Arc<Semaphore>,
) -> ClientBuilder {
    let (tell, gate) = (tell.clone(), Arc::clone(gate));
    let hold = move |cx: Context, (): ()| {
        let (tell, gate) = (tell.clone(), Arc::clone(&gate));
        async move {
            tell.send(cx.serial).map_err(|error| HandlerError::failed(error.to_string()))?;
            let turn = gate.acquire().await;
            turn.map_err(|error| HandlerError::failed(error.to_string()))?.forget();
            Ok(())
        }
    };
    bare(&server.local_addr().unwrap().to_string(), "a").on("hold", hold)
}

/// Starts a server whose queues have room for two, with the oldest dropped.
async fn serve(home: &Path) -> (Process, Remote) {
    let data = home.join("data");
    let args = [
        "serve",
        "--data",
        data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--queue-limit",
        "2",
        "--queue-bytes",
        "64KiB",
        "--queue-full",
        "drop-oldest",
        "--log",
        "json",
    ];
    let process = Process::start(home, &args);
    process.stderr.json("serving", &[]).await;
    let access = Access::load(&data.join(access::FILE)).unwrap();
    (process, Remote::new(&access.server, &access.token).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_limits_hold_for_clients_that_are_away_and_are_shown() {
    let home = tempfile::tempdir().unwrap();
    let (mut server, remote) = serve(home.path()).await;
    let token = Some(token_of("a"));
    let client = ClientRequest { id: "a".parse().unwrap(), groups: [].into(), token };
    remote.add_client(client).await.unwrap();
    let access = home.path().join("data").join(access::FILE);
    let cli = async |words: &[&str]| {
        let access = ["--access", access.to_str().unwrap()];
        run(home.path(), &[words, &access].concat()).await.ok().stdout
    };
    let mut serials: Vec<Serial> = Vec::new();
    for class in ["low", "urgent", "normal"] {
        let words = ["run", "noop", "--to", "client:a", "--priority", class];
        serials.push(cli(&words).await.trim().parse().unwrap());
    }
    let dropped = remote.run(serials[0]).await.unwrap();
    assert_eq!(dropped.policy.priority, Priority::Low);
    let response = remote.response(serials[0], "a".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(response.outcome.state, DeliveryState::Superseded);
    let reason = format!("the client's queue was full: run {} took its place", serials[2]);
    assert_eq!(response.outcome.reason, Some(reason));
    server.kill();

    let (_server, remote) = serve(home.path()).await;
    let shown = cli(&["clients", "show", "a"]).await;
    assert!(shown.contains("2, 4 bytes of parameters"), "{shown}");
    let json: Value =
        serde_json::from_str(&cli(&["clients", "show", "a", "--output", "json"]).await).unwrap();
    assert_eq!((&json["queued"], &json["queued_bytes"]), (&json!(2), &json!(4)));
    assert_eq!(remote.run(serials[1]).await.unwrap().policy.priority, Priority::Urgent);
    let spec = job(json!({
        "name": "alarm", "target": "all", "command": "noop", "priority": "urgent",
        "rule": { "at": "2100-01-01T00:00:00Z" },
    }));
    remote.apply(Apply { jobs: vec![spec], ..Apply::default() }).await.unwrap();
    let shown = cli(&["jobs", "show", "alarm"]).await;
    let line = shown.lines().find(|line| line.starts_with("priority")).unwrap();
    assert!(line.ends_with(" urgent"), "{shown}");
}
