//! When acknowledgements leave: with what leaves next, or soon.

use std::time::Duration;

use fleetcron::node::ToSession;
use fleetcron::server::Server;
use fleetcron::wire::{ClientFrame, Empty, ServerFrame};
use tokio::time::Instant;

use crate::fleet::{FakeFleet, Told, command, serial};
use crate::raw::Raw;

/// How long they wait for something else.
const DELAY: Duration = Duration::from_millis(250);

async fn welcomed() -> (FakeFleet, Server<FakeFleet>, Raw) {
    let fleet = FakeFleet::new();
    let server = Server::builder(fleet.clone()).start().unwrap();
    let raw = Raw::welcomed(&server, "a").await;
    (fleet, server, raw)
}

fn ack(fleet: &FakeFleet, n: u128) {
    fleet.send(1, ToSession::Ack(serial(n).into()));
}

/// The next acknowledgement: of how many, and after how long.
async fn acked(raw: &mut Raw, since: Instant) -> (usize, Duration) {
    match raw.next().await {
        Some(ServerFrame::Ack(ack)) => (ack.serials.len(), since.elapsed()),
        other => panic!("no acknowledgement: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn with_nothing_else_to_send_they_wait_a_little_together() {
    let (fleet, _server, mut raw) = welcomed().await;
    let start = Instant::now();
    ack(&fleet, 1);
    tokio::time::sleep(DELAY / 25 * 24).await;
    ack(&fleet, 2);
    let (count, after) = acked(&mut raw, start).await;
    assert_eq!(count, 2, "the first does not wait longer for the second");
    assert!(after >= DELAY && after < DELAY + Duration::from_millis(10), "{after:?}");
    let start = Instant::now();
    ack(&fleet, 3);
    assert!(acked(&mut raw, start).await.1 >= DELAY, "each time anew");
}

#[tokio::test(start_paused = true)]
async fn they_leave_with_the_next_command_at_once() {
    let (fleet, _server, mut raw) = welcomed().await;
    ack(&fleet, 1);
    tokio::time::sleep(DELAY / 2).await;
    let start = Instant::now();
    fleet.send(1, command(2, "a", "{}"));
    assert!(matches!(raw.next().await, Some(ServerFrame::Command(_))));
    assert_eq!(acked(&mut raw, start).await, (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn many_do_not_wait() {
    let (fleet, _server, mut raw) = welcomed().await;
    let start = Instant::now();
    (0..32).for_each(|n| ack(&fleet, n));
    assert_eq!(acked(&mut raw, start).await, (32, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_is_not_kept_waiting() {
    let (fleet, _server, mut raw) = welcomed().await;
    let start = Instant::now();
    ack(&fleet, 1);
    raw.send(ClientFrame::Stopping(Empty {})).await;
    assert_eq!(acked(&mut raw, start).await, (1, Duration::ZERO));
    ack(&fleet, 2);
    assert_eq!(acked(&mut raw, start).await, (1, Duration::ZERO));
    fleet.until(|told| told.contains(&Told::Leaving(1))).await;
}

#[tokio::test(start_paused = true)]
async fn they_leave_before_the_server_says_bye() {
    let (fleet, server, mut raw) = welcomed().await;
    ack(&fleet, 1);
    // That it has come is not told.
    tokio::time::sleep(DELAY / 2).await;
    let start = Instant::now();
    tokio::spawn(async move { server.shutdown().await });
    assert_eq!(acked(&mut raw, start).await, (1, Duration::ZERO));
    assert!(matches!(raw.next().await, Some(ServerFrame::Bye(_))));
}
