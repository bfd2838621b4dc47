//! What running commands let be seen, on a node without connections: who may show something, and
//! when it ends.

#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::sync::Arc;
use std::time::Duration;

use fleetcron::engine::{NewClient, SessionId};
use fleetcron::live::{Live, OutputStream, Piece, Progress};
use fleetcron::node::{CallError, LiveDelivery, OUTBOUND, Outbox, ToSession, outbox};
use fleetcron::store::MemoryStore;
use fleetcron::{
    Attempt, DeliveryState, Handle, Json, Node, Outcome, Proof, Retry, Run, Submission, TokenHash,
};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::time::timeout;

/// How long a wait may take: far more than a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// All that comes until the end of a stream, which has to be there in time.
async fn all(seen: Seen) -> Result<Vec<String>, CallError> {
    let seen = seen.map_ok(|live| shown(&live)).try_collect();
    timeout(PATIENCE, seen).await.expect("the stream has not ended")
}

type Seen = BoxStream<'static, Result<Arc<Live>, CallError>>;

struct Session {
    id: SessionId,
    inbound: Outbox<ToSession>,
}

impl Session {
    /// Connects a client, which is defined if need be.
    async fn open(handle: &Handle, client: &str, taken: Vec<Attempt>) -> Self {
        let secret = TokenHash::of("secret");
        let new = NewClient { id: client.parse().unwrap(), groups: [].into(), token: Some(secret) };
        // It may be there already.
        let _ = handle.add_client(new).await;
        let (outbound, inbound) = outbox(OUTBOUND);
        let proof = Proof::Token(TokenHash::of("secret"));
        let id = handle.connect(client.parse().unwrap(), proof, taken, outbound).await.unwrap();
        Self { id, inbound }
    }

    /// The next command that it is sent.
    async fn command(&mut self) -> Attempt {
        loop {
            let message = timeout(PATIENCE, self.inbound.recv()).await.expect("no command came");
            if let ToSession::Command(dispatch) = message.unwrap() {
                return Attempt { serial: dispatch.serial, number: dispatch.attempt };
            }
        }
    }

    async fn live(&self, handle: &Handle, attempt: Attempt) -> Option<Arc<LiveDelivery>> {
        handle.live(self.id, attempt).await.unwrap()
    }
}

fn node() -> (Node, Handle) {
    let node = Node::start(Arc::new(MemoryStore::new())).unwrap();
    let handle = node.handle();
    (node, handle)
}

async fn submit(handle: &Handle, target: &str) -> Run {
    let submission = Submission::new(target.parse().unwrap(), "noop".parse().unwrap());
    handle.submit(submission).await.unwrap()
}

fn piece(offset: u64, text: &str) -> Piece {
    Piece { stream: OutputStream::Stdout, offset, text: text.into(), dropped: 0 }
}

fn shown(live: &Live) -> String {
    match live {
        Live::Progress { client, progress, .. } => format!("{client} {progress}"),
        Live::Output { client, piece, .. } => format!("{client} {}", piece.text),
        Live::Ended { client, attempt } => format!("{client} ended {attempt}"),
        Live::Missed { count } => format!("missed {count}"),
    }
}

#[tokio::test]
async fn only_a_connection_with_the_delivery_in_flight_may_show_something() {
    let (_node, handle) = node();
    let mut one = Session::open(&handle, "a", Vec::new()).await;
    let other = Session::open(&handle, "b", Vec::new()).await;
    let run = submit(&handle, "client:a").await;
    let attempt = one.command().await;
    assert!(other.live(&handle, attempt).await.is_none(), "it is another client's");
    assert!(one.live(&handle, Attempt { number: 2, ..attempt }).await.is_none());
    let unknown = Attempt { serial: "01JD0000000000000000000001".parse().unwrap(), number: 1 };
    assert!(one.live(&handle, unknown).await.is_none());
    let place = one.live(&handle, attempt).await.unwrap();
    assert!(place.progress(Progress::new(Some(40), None)));

    // It comes back with what it has taken: the same place, and none for the connection before.
    let again = Session::open(&handle, "a", vec![attempt]).await;
    let same = again.live(&handle, attempt).await.unwrap();
    assert!(Arc::ptr_eq(&place, &same) && one.live(&handle, attempt).await.is_none());
    let open = handle.open_deliveries(run.serial).await.unwrap();
    assert_eq!(open[0].progress, Some(Progress::new(Some(40), None)));

    let done = Outcome::succeeded(Json::null());
    handle.responded(again.id, attempt, done).await.unwrap();
    handle.wait(run.serial).await.unwrap();
    assert!(!same.output(piece(0, "late")) && again.live(&handle, attempt).await.is_none());
}

#[tokio::test]
async fn a_follower_sees_every_client_until_the_run_has_ended() {
    let (_node, handle) = node();
    let mut a = Session::open(&handle, "a", Vec::new()).await;
    let mut b = Session::open(&handle, "b", Vec::new()).await;
    let run = submit(&handle, "all").await;
    let attempt = a.command().await;
    b.command().await;
    let first = a.live(&handle, attempt).await.unwrap();
    assert!(first.output(piece(0, "before")));
    let mut seen = handle.output(run.serial, None, true);
    let mut only_b = handle.output(run.serial, Some("b".parse().unwrap()), true);
    assert_eq!(shown(&seen.try_next().await.unwrap().unwrap()), "a before");
    let second = b.live(&handle, attempt).await.unwrap();
    assert!(second.output(piece(0, "hello")) && first.output(piece(6, "after")));
    assert_eq!(shown(&seen.try_next().await.unwrap().unwrap()), "b hello");
    assert_eq!(shown(&seen.try_next().await.unwrap().unwrap()), "a after");
    assert_eq!(shown(&only_b.try_next().await.unwrap().unwrap()), "b hello");
    for session in [&a, &b] {
        let done = Outcome::succeeded(Json::null());
        handle.responded(session.id, attempt, done).await.unwrap();
    }
    let rest = all(seen).await.unwrap();
    assert_eq!(rest, ["a ended 1", "b ended 1"]);
    assert_eq!(all(only_b).await.unwrap(), ["b ended 1"]);
}

#[tokio::test]
async fn each_attempt_is_seen_by_itself() {
    let (_node, handle) = node();
    let mut a = Session::open(&handle, "a", Vec::new()).await;
    let mut submission = Submission::new("all".parse().unwrap(), "noop".parse().unwrap());
    submission.retry = serde_json::from_str::<Retry>(r#"{"attempts":2,"backoff":"1s"}"#).unwrap();
    let run = handle.submit(submission).await.unwrap();
    let first = a.command().await;
    let place = a.live(&handle, first).await.unwrap();
    assert!(place.output(piece(0, "one")));
    let mut seen = handle.output(run.serial, None, true);
    assert_eq!(shown(&seen.try_next().await.unwrap().unwrap()), "a one");
    let failed = Outcome::ended(DeliveryState::Failed, "no");
    handle.responded(a.id, first, failed).await.unwrap();
    let second = a.command().await;
    assert_eq!(second.number, 2);
    assert!(!place.output(piece(3, "late")));
    assert!(a.live(&handle, second).await.unwrap().output(piece(0, "two")));
    handle.responded(a.id, second, Outcome::succeeded(Json::null())).await.unwrap();
    let seen = all(seen).await.unwrap();
    assert!(seen.ends_with(&["a two", "a ended 2"].map(String::from)), "{seen:?}");
    assert!(!seen.contains(&"a late".to_owned()));
}

#[tokio::test]
async fn followers_are_told_when_the_node_stops_and_that_a_run_is_not_there() {
    let (node, handle) = node();
    let mut a = Session::open(&handle, "a", Vec::new()).await;
    let run = submit(&handle, "all").await;
    let attempt = a.command().await;
    let place = a.live(&handle, attempt).await.unwrap();
    let mut seen = handle.output(run.serial, None, true);
    assert!(place.output(piece(0, "one")));
    assert_eq!(shown(&seen.try_next().await.unwrap().unwrap()), "a one");
    let unknown = "01JD0000000000000000000001".parse().unwrap();
    let missing = handle.output(unknown, None, true).next().await.unwrap();
    assert!(matches!(missing, Err(CallError::Refused(_))), "{missing:?}");
    node.stop().await.unwrap();
    let end = all(seen).await;
    assert!(matches!(end, Err(CallError::Stopped)), "{end:?}");
    assert!(!place.output(piece(3, "late")));
}
