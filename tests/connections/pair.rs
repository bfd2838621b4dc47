//! Client and server together, over pipes in memory with paused time.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetcron::client::{CallError, Client, ClientBuilder, Connector, Context, End, State};
use fleetcron::handlers::HandlerError;
use fleetcron::node::ToSession;
use fleetcron::server::{Authenticator, Denied, Server, ServerBuilder};
use fleetcron::wire::Hello;
use fleetcron::{DeliveryState, Json, Outcome, Proof};
use futures_util::future::BoxFuture;
use tokio::io::DuplexStream;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::fleet::{
    FakeFleet, TOKEN, Told, command, is_connected, is_disconnected, is_responded, serial,
};

/// A server, its fleet, and a network that a test can cut.
pub(crate) struct World {
    pub(crate) fleet: FakeFleet,
    server: Server<FakeFleet>,
    net: Net,
}

#[derive(Clone, Default)]
pub(crate) struct Net {
    down: Arc<AtomicBool>,
    attempts: Arc<AtomicU32>,
    open: Arc<Mutex<Vec<tokio::task::JoinHandle<()>>>>,
}

impl Net {
    /// Cuts every connection without a word.
    fn cut(&self) {
        self.open.lock().unwrap().drain(..).for_each(|pipe| pipe.abort());
    }
}

impl World {
    pub(crate) fn new(
        build: impl FnOnce(ServerBuilder<FakeFleet>) -> ServerBuilder<FakeFleet>,
    ) -> Self {
        let fleet = FakeFleet::new();
        let server = build(Server::builder(fleet.clone())).start().unwrap();
        Self { fleet, server, net: Net::default() }
    }

    fn connector(&self) -> impl Connector + use<> {
        let (server, net) = (self.server.clone(), self.net.clone());
        move || {
            net.attempts.fetch_add(1, Ordering::SeqCst);
            let stream = pipe(&server, &net);
            async move { stream }
        }
    }

    pub(crate) fn client(&self, name: &str) -> ClientBuilder {
        Client::with_connector(self.connector(), name.parse().unwrap()).token(TOKEN).seed(1)
    }

    pub(crate) async fn connected(&self, count: usize) {
        self.fleet.until_count(count, is_connected).await;
    }
}

/// A pipe to the server through a middle that can be cut.
fn pipe(server: &Server<FakeFleet>, net: &Net) -> io::Result<DuplexStream> {
    if net.down.load(Ordering::SeqCst) {
        return Err(io::Error::other("the network is down"));
    }
    let (near, mut left) = tokio::io::duplex(4_096);
    let (mut right, far) = tokio::io::duplex(4_096);
    tokio::spawn(server.serve(far, None));
    net.open.lock().unwrap().push(tokio::spawn(async move {
        let _ = tokio::io::copy_bidirectional(&mut left, &mut right).await;
    }));
    Ok(near)
}

fn responses(told: &[Told]) -> Vec<(fleetcron::Serial, Outcome)> {
    let responded = told.iter().filter_map(|one| match one {
        Told::Responded(_, serial, outcome) => Some((*serial, outcome.clone())),
        _ => None,
    });
    responded.collect()
}

#[tokio::test(start_paused = true)]
async fn a_command_is_accepted_run_answered_and_acknowledged() {
    let world = World::new(|server| server);
    let handler = |cx: Context, n: u32| async move {
        assert_eq!(cx.job.unwrap().as_str(), "disk/daily");
        Ok((cx.serial, n * 2))
    };
    let client = world.client("web-01").on("double", handler).start().unwrap();
    world.connected(1).await;
    world.fleet.send(1, command(1, "double", "21"));
    world.fleet.send(1, command(2, "dubble", "21"));
    world.fleet.send(1, command(3, "double", "\"x\""));
    let told = world.fleet.until_count(3, is_responded).await;
    let accepted = told.iter().position(|one| *one == Told::Accepted(1, serial(1)));
    let responded = told.iter().position(is_responded);
    assert!(accepted.is_some() && accepted < responded);
    let mut ends = responses(&told);
    ends.sort_by_key(|end| end.0);
    assert_eq!(ends[0].1.result.as_ref().unwrap().text(), format!("[\"{}\",42]", serial(1)));
    assert_eq!(ends[1].1.state, DeliveryState::Rejected);
    let unknown = "no command named \"dubble\"; known are double";
    assert_eq!(ends[1].1.reason.as_deref(), Some(unknown));
    assert_eq!(ends[2].1.state, DeliveryState::Rejected);
    // Acknowledged by then, so a new connection has nothing to tell.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.net.cut();
    let told = world.fleet.until_count(2, is_connected).await;
    let Some(Told::Connected { taken, .. }) = told.iter().rfind(|one| is_connected(one)) else {
        panic!("not connected again")
    };
    assert_eq!(*taken, []);
    assert_eq!(client.stop().await, End::Stopped);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_is_run_once_however_often_the_connection_breaks() {
    let world = World::new(|server| server);
    world.fleet.acking(false);
    let (runs, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Semaphore::new(0)));
    let handler = {
        let (runs, gate) = (runs.clone(), gate.clone());
        move |_: Context, (): ()| {
            let (runs, gate) = (runs.clone(), gate.clone());
            async move {
                runs.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await?.forget();
                Ok(())
            }
        }
    };
    let _client = world.client("web-01").concurrency(1).on("a", handler).start().unwrap();
    world.connected(1).await;
    world.fleet.send(1, command(1, "a", "null"));
    world.fleet.send(1, command(2, "a", "null"));
    world.fleet.until(|told| told.contains(&Told::Accepted(1, serial(2)))).await;
    world.net.cut();
    world.connected(2).await;
    // Sent again while one runs and one waits: accepted again, not run again.
    world.fleet.send(2, command(1, "a", "null"));
    world.fleet.until(|told| told.contains(&Told::Accepted(2, serial(1)))).await;
    gate.add_permits(1);
    world.fleet.until_count(1, is_responded).await;
    // Not acknowledged: told in the hello, and sent again without being asked.
    world.net.cut();
    let told = world.fleet.until_count(2, is_responded).await;
    let taken = vec![serial(1), serial(2)];
    let again = Told::Connected { session: 3, client: "web-01".into(), taken };
    assert!(told.contains(&again), "{told:#?}");
    assert_eq!(responses(&told)[0], responses(&told)[1]);
    // Sent again after its end: the response once more.
    world.fleet.send(3, command(1, "a", "null"));
    world.fleet.until_count(3, is_responded).await;
    gate.add_permits(1);
    world.fleet.until(|told| responses(told).iter().any(|end| end.0 == serial(2))).await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_ends_while_away_is_answered_on_return() {
    let world = World::new(|server| server);
    let end = Arc::new(Notify::new());
    let waiting = end.clone();
    let handler = move |_: Context, (): ()| {
        let end = waiting.clone();
        async move {
            end.notified().await;
            Ok("done")
        }
    };
    let _client = world.client("web-01").on("a", handler).start().unwrap();
    world.connected(1).await;
    world.fleet.send(1, command(1, "a", "null"));
    world.fleet.until(|told| told.contains(&Told::Accepted(1, serial(1)))).await;
    world.net.down.store(true, Ordering::SeqCst);
    world.net.cut();
    world.fleet.until_count(1, is_disconnected).await;
    end.notify_one();
    let attempts = world.net.attempts.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let tried = world.net.attempts.load(Ordering::SeqCst) - attempts;
    assert!((20..200).contains(&tried), "{tried} attempts in ten minutes of at most 30 s pauses");
    world.net.down.store(false, Ordering::SeqCst);
    let told = world.fleet.until_count(1, is_responded).await;
    assert_eq!(responses(&told)[0].1.result.as_ref().unwrap().text(), "\"done\"");
}

#[tokio::test(start_paused = true)]
async fn a_displaced_client_does_not_fight() {
    let world = World::new(|server| server);
    let first = world.client("web-01").start().unwrap();
    world.connected(1).await;
    let second = world.client("web-01").start().unwrap();
    let end = first.wait().await;
    let reason = "another connection has taken this client's place".to_owned();
    assert_eq!(end, End::Dismissed(reason));
    assert_eq!(*first.state().borrow(), State::Stopped(end));
    second.connected().await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.net.attempts.load(Ordering::SeqCst), 2);
    assert!(second.is_connected());
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_an_idle_connection() {
    let world = World::new(|server| server.heartbeat(Duration::from_secs(10)));
    let client = world.client("web-01").start().unwrap();
    world.connected(1).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.net.attempts.load(Ordering::SeqCst), 1);
    assert!(client.is_connected());
    assert_eq!(world.server.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_gives_up_a_server_that_falls_silent() {
    // The server welcomes and then says nothing more: its own interval is far longer than the
    // one it is played with here.
    let (near, far) = tokio::io::duplex(4_096);
    let streams = Arc::new(Mutex::new(vec![near]));
    let connector = move || {
        let stream = streams.lock().unwrap().pop().ok_or_else(|| io::Error::other("gone"));
        async move { stream }
    };
    let lost = Arc::new(Mutex::new(String::new()));
    let reason = lost.clone();
    let client = Client::with_connector(connector, "web-01".parse().unwrap())
        .on_disconnect(move |_, why| *reason.lock().unwrap() = why.to_owned())
        .start()
        .unwrap();
    let (reader, writer) = tokio::io::split(far);
    let mut reader = fleetcron::wire::FrameReader::new(reader);
    let mut writer = fleetcron::wire::FrameWriter::new(writer);
    assert!(reader.next::<fleetcron::wire::ClientFrame>().await.unwrap().is_some());
    let welcome = r#"{"version":1,"heartbeat_ms":10000,"max_frame":1048576}"#;
    let welcome = serde_json::from_str(welcome).unwrap();
    writer.push(&fleetcron::wire::ServerFrame::Welcome(welcome)).unwrap();
    writer.flush().await.unwrap();
    client.connected().await.unwrap();
    let start = Instant::now();
    let mut state = client.state();
    state.wait_for(|state| matches!(state, State::Disconnected(_))).await.unwrap();
    assert!((30..=31).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(*lost.lock().unwrap(), "nothing was heard from the server for 30s");
}

#[tokio::test(start_paused = true)]
async fn a_server_gives_up_a_client_that_falls_silent() {
    let world = World::new(|server| server.heartbeat(Duration::from_secs(10)));
    let mut raw = crate::raw::Raw::welcomed(&world.server, "web-01").await;
    let start = Instant::now();
    let told = world.fleet.until_count(1, is_disconnected).await;
    assert_eq!(told.last(), Some(&Told::Disconnected(1, "nothing was heard for 30s".into())));
    assert_eq!(start.elapsed().as_secs(), 30);
    assert!(raw.next().await.is_some());
}

/// Lets nobody in at first.
struct Moody(AtomicU32);

impl Authenticator for Moody {
    fn authenticate<'a>(
        &'a self,
        _: &'a Hello,
        _: Option<std::net::SocketAddr>,
    ) -> BoxFuture<'a, Result<Proof, Denied>> {
        let times = self.0.fetch_add(1, Ordering::SeqCst);
        let denied = Denied {
            retry_after: Some(Duration::from_secs(100)),
            ..Denied::new("come back later")
        };
        Box::pin(async move { if times < 2 { Err(denied) } else { Ok(Proof::Vouched) } })
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_with_a_time_is_kept_to_and_shown() {
    let world = World::new(|server| server.authenticator(Moody(AtomicU32::new(0))));
    let start = Instant::now();
    let client = world.client("web-01").start().unwrap();
    let mut state = client.state();
    let refused = State::Refused("come back later".into());
    state.wait_for(|state| *state == refused).await.unwrap();
    client.connected().await.unwrap();
    assert!((200..=301).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(world.net.attempts.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_tried_again_at_the_slowest_pace() {
    let world = World::new(|server| server);
    let client = world.client("web-01").token("wrong").start().unwrap();
    let mut state = client.state();
    let refused = State::Refused("client or token not known".into());
    state.wait_for(|state| *state == refused).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let attempts = world.net.attempts.load(Ordering::SeqCst);
    assert!((20..=41).contains(&attempts), "{attempts} attempts, each 15 s to 30 s after the last");
    assert_eq!(client.stop().await, End::Stopped);
}

#[tokio::test(start_paused = true)]
async fn clients_call_the_server_and_every_error_is_named() {
    let world = World::new(|server| {
        server
            .on_call("config.get", |caller, key: String| async move {
                match key.as_str() {
                    "region" => Ok(format!("eu for {}", caller.client)),
                    "slow" => std::future::pending().await,
                    key => Err(HandlerError::from(format!("no key {key:?}"))),
                }
            })
            .max_calls(2)
    });
    let client = world.client("web-01").start().unwrap();
    let call = |name: &str, params: &str| {
        let client = client.clone();
        let (name, params) = (name.parse().unwrap(), params.parse::<Json>().unwrap());
        async move { client.call(name, params).await.map_err(|error| error.to_string()) }
    };
    let early = call("config.get", "\"region\"").await;
    assert_eq!(early.unwrap_err(), "call of config.get: not connected to the server");
    client.connected().await.unwrap();
    assert_eq!(call("config.get", "\"region\"").await.unwrap().text(), "\"eu for web-01\"");
    let unknown = call("config.got", "1").await.unwrap_err();
    assert!(unknown.contains("no command named \"config.got\"; known are config.get"), "{unknown}");
    let failed = call("config.get", "\"x\"").await.unwrap_err();
    assert!(failed.contains("the server answered: failed: no key \"x\""), "{failed}");
    let long = format!("{:?}", "x".repeat(2 * 1024 * 1024));
    let long = call("config.get", &long).await.unwrap_err();
    assert!(long.contains("the most the other side reads is 1048576"), "{long}");
    let slow = call("config.get", "\"slow\"");
    let (slow, slower, third) =
        tokio::join!(slow, call("config.get", "\"slow\""), call("config.get", "\"slow\""));
    assert!(slow.unwrap_err().contains("no answer within 30s"));
    assert!(slower.unwrap_err().contains("no answer within 30s"));
    assert!(third.unwrap_err().contains("2 calls of this client are running, the most allowed"));
    let lost = tokio::spawn(call("config.get", "\"region\""));
    world.net.cut();
    let lost = lost.await.unwrap().unwrap_err();
    assert!(lost.contains("connection was lost") || lost.contains("not connected"), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn a_cancel_reaches_the_handler_and_what_waits() {
    let world = World::new(|server| server);
    let handler = |cx: Context, (): ()| async move {
        cx.cancel.cancelled().await;
        Err::<(), _>(HandlerError::cancelled("asked to stop"))
    };
    let _client = world.client("web-01").concurrency(1).on("a", handler).start().unwrap();
    world.connected(1).await;
    world.fleet.send(1, command(1, "a", "null"));
    world.fleet.send(1, command(2, "a", "null"));
    world.fleet.send(1, ToSession::Cancel(serial(2)));
    let told = world.fleet.until_count(1, is_responded).await;
    assert_eq!(responses(&told)[0].0, serial(2), "one that waits ends at once");
    world.fleet.send(1, ToSession::Cancel(serial(1)));
    let told = world.fleet.until_count(2, is_responded).await;
    let last = &responses(&told)[1];
    assert_eq!((last.0, last.1.state), (serial(1), DeliveryState::Cancelled));
    assert_eq!(last.1.reason.as_deref(), Some("asked to stop"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_running_commands_end_and_leaves_the_others_to_the_successor() {
    let world = World::new(|server| server);
    let begun = Arc::new(Semaphore::new(0));
    let started = begun.clone();
    let handler = move |cx: Context, patient: bool| {
        started.add_permits(1);
        async move {
            if patient {
                cx.cancel.cancelled().await;
                return Err(HandlerError::cancelled("the time is up"));
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(())
        }
    };
    let client = world.client("web-01").concurrency(2).on("a", handler).start().unwrap();
    world.connected(1).await;
    world.fleet.send(1, command(1, "a", "false"));
    world.fleet.send(1, command(2, "a", "true"));
    world.fleet.send(1, command(3, "a", "false"));
    world.fleet.until(|told| told.contains(&Told::Accepted(1, serial(3)))).await;
    begun.acquire_many(2).await.unwrap().forget();
    let start = Instant::now();
    assert_eq!(client.stop().await, End::Stopped);
    assert_eq!(start.elapsed().as_secs(), 30, "the limit, for the one that waits to be told");
    let told = world.fleet.told();
    let leaving = told.iter().position(|told| *told == Told::Leaving(1)).expect("it says so");
    assert!(!told[..leaving].iter().any(is_responded), "when it begins to stop");
    let told = world.fleet.until_count(1, is_disconnected).await;
    let ends = responses(&told);
    assert_eq!(ends.len(), 2, "the third was never begun: {ends:?}");
    assert_eq!((ends[0].0, ends[0].1.state), (serial(1), DeliveryState::Succeeded));
    assert_eq!((ends[1].0, ends[1].1.state), (serial(2), DeliveryState::Cancelled));
    let bye = Told::Disconnected(1, "the client said bye: the client stops".into());
    assert_eq!(told.last(), Some(&bye));
    let command = "a".parse().unwrap();
    let after = client.call(command, Json::null()).await;
    assert!(matches!(after, Err(CallError::NotConnected { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_nothing_to_end_stops_without_a_word_before() {
    let world = World::new(|server| server);
    let client = world.client("web-01").start().unwrap();
    world.connected(1).await;
    assert_eq!(client.stop().await, End::Stopped);
    let told = world.fleet.until_count(1, is_disconnected).await;
    assert!(!told.contains(&Told::Leaving(1)), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_too_long_ends_as_failed() {
    let world = World::new(|server| server);
    let handler = |_: Context, (): ()| async move { Ok("x".repeat(2 * 1024 * 1024)) };
    let _client = world.client("web-01").on("a", handler).start().unwrap();
    world.connected(1).await;
    world.fleet.send(1, command(1, "a", "null"));
    let told = world.fleet.until_count(1, is_responded).await;
    let outcome = &responses(&told)[0].1;
    assert_eq!(outcome.state, DeliveryState::Failed);
    assert!(outcome.reason.as_ref().unwrap().contains("the most is 1048576"), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_says_bye_and_the_client_waits_as_it_was_told() {
    let world = World::new(|server| server);
    let client = world.client("web-01").start().unwrap();
    client.connected().await.unwrap();
    let start = Instant::now();
    world.server.shutdown().await;
    assert_eq!(world.server.connections(), 0);
    let last = world.fleet.told().pop();
    assert_eq!(last, Some(Told::Disconnected(1, "the server stops".into())));
    let mut state = client.state();
    let stopping = "the server said bye: the server stops".to_owned();
    state.wait_for(|state| *state == State::Disconnected(stopping.clone())).await.unwrap();
    // The next attempt meets the server still stopped.
    let refused = State::Refused("the server stops".into());
    state.wait_for(|state| *state == refused).await.unwrap();
    let away = start.elapsed().as_millis();
    assert!((1_000..=1_600).contains(&away), "{away} ms");
}

#[tokio::test(start_paused = true)]
async fn more_commands_than_fit_the_pipe_all_arrive_in_order() {
    let world = World::new(|server| server);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let order = seen.clone();
    let handler = move |cx: Context, _: Json| {
        order.lock().unwrap().push(cx.serial);
        async move { Ok("x".repeat(500)) }
    };
    let _client = world.client("web-01").concurrency(4).on("a", handler).start().unwrap();
    world.connected(1).await;
    let params = format!("{:?}", "y".repeat(3_000));
    for n in 1..=200 {
        world.fleet.send(1, command(n, "a", &params));
    }
    world.fleet.until_count(200, is_responded).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 200);
    assert!(seen.is_sorted());
}
