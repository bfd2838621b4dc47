//! Progress and output of running commands, from a handler to those who watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleetcron::client::Context;
use fleetcron::live::{Live, MAX_NOTE, MAX_PIECE, OutputStream, Piece, Progress};
use fleetcron::node::Watch;
use fleetcron::server::Server;
use fleetcron::wire::{ClientFrame, OutputFrame, ProgressFrame, ServerFrame};
use tokio::sync::Semaphore;

use crate::fleet::{FakeFleet, Told, command, is_disconnected, is_responded, serial};
use crate::pair::World;
use crate::raw::Raw;

/// What comes next, in short.
async fn next(watch: &mut Watch) -> String {
    let seen = tokio::time::timeout(Duration::from_secs(3_600), watch.next()).await;
    match &*seen.expect("nothing came").expect("the watch has ended") {
        Live::Progress { client, progress, .. } => format!("{client} {progress}"),
        Live::Output { client, piece, .. } => format!("{client} {}", piece.text),
        Live::Ended { client, attempt } => format!("{client} ended {attempt}"),
        Live::Missed { count } => format!("missed {count}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_shows_is_seen_before_it_ends_and_the_rest_before_its_response() {
    let world = World::new(|server| server);
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let handler = move |cx: Context, (): ()| {
        let gate = opened.clone();
        async move {
            cx.progress(40, "copying");
            cx.output(OutputStream::Stdout, "one\n");
            gate.acquire().await?.forget();
            cx.output(OutputStream::Stdout, "last\n");
            Ok(())
        }
    };
    let _client = world.client("web-01").on("a", handler).start().unwrap();
    world.connected(1).await;
    let mut watch = world.fleet.board().watch(serial(1), None);
    world.fleet.send(1, command(1, "a", "null"));
    assert_eq!(next(&mut watch).await, "web-01 40 % copying");
    assert_eq!(next(&mut watch).await, "web-01 one\n");
    assert!(!world.fleet.told().iter().any(is_responded));
    let progress = world.fleet.board().progress(serial(1));
    assert_eq!(progress["web-01"], Progress::new(Some(40), Some("copying")));
    gate.add_permits(1);
    world.fleet.until_count(1, is_responded).await;
    // The response has come, so what was before it has too.
    let last = watch.kept().unwrap();
    assert!(matches!(&*last, Live::Output { piece, .. } if piece.text == "last\n"), "{last:?}");
    assert_eq!(world.fleet.asked(), 1, "only the first of a delivery asks the node");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_ask_for_it_is_sent_none() {
    let world = World::new(|server| server.live(false));
    let handler = |cx: Context, (): ()| async move {
        cx.progress(40, "copying");
        cx.output(OutputStream::Stdout, "one\n");
        Ok(())
    };
    let _client = world.client("web-01").on("a", handler).start().unwrap();
    world.connected(1).await;
    world.fleet.send(1, command(1, "a", "null"));
    world.fleet.until_count(1, is_responded).await;
    assert_eq!(world.fleet.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_holds_up_neither_heartbeats_nor_answers() {
    let world = World::new(|server| server.heartbeat(Duration::from_secs(1)));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let flood = move |cx: Context, (): ()| {
        let stop = stopped.clone();
        async move {
            let text = "x".repeat(8 * 1024);
            let mut printed = 0_u64;
            while !stop.load(Ordering::SeqCst) || printed < 200 << 20 {
                cx.output(OutputStream::Stdout, &text);
                printed += 8 * 1024;
                if printed.is_multiple_of(1 << 20) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            Ok(printed)
        }
    };
    let quick = |_: Context, n: u32| async move { Ok(n) };
    let client = world.client("web-01").on("flood", flood).on("quick", quick).start().unwrap();
    let _other = world.client("web-02").on("quick", quick).start().unwrap();
    world.connected(2).await;
    let mut watch = world.fleet.board().watch(serial(1), None);
    world.fleet.send(1, command(1, "flood", "null"));
    assert!(next(&mut watch).await.starts_with("web-01 xxx"));
    for n in 2..40 {
        world.fleet.send(u64::try_from(n % 2).unwrap() + 1, command(n, "quick", "7"));
        let start = tokio::time::Instant::now();
        world.fleet.until_count(usize::try_from(n).unwrap() - 1, is_responded).await;
        assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    stop.store(true, Ordering::SeqCst);
    world.fleet.until_count(39, is_responded).await;
    assert!(client.is_connected() && !world.fleet.told().iter().any(is_disconnected));
    assert!(world.fleet.board().kept() <= 16 * 1024, "{}", world.fleet.board().kept());
}

fn server() -> (FakeFleet, Server<FakeFleet>) {
    let fleet = FakeFleet::new();
    (fleet.clone(), Server::builder(fleet).start().unwrap())
}

fn output(n: u128, offset: usize, length: usize) -> ClientFrame {
    let (stream, text) = (OutputStream::Stdout, "x".repeat(length));
    let piece = Piece { stream, offset: offset as u64, text, dropped: 0 };
    ClientFrame::Output(OutputFrame { serial: serial(n), attempt: 1, piece })
}

fn accepted(n: u128) -> ClientFrame {
    let serial = serial(n).to_string();
    serde_json::from_value(serde_json::json!({ "accepted": { "serial": serial } })).unwrap()
}

#[tokio::test(start_paused = true)]
async fn frames_above_their_limits_end_the_connection_and_are_named() {
    let progress =
        |progress| ClientFrame::Progress(ProgressFrame { serial: serial(1), attempt: 1, progress });
    let long = Progress { percent: None, note: Some("x".repeat(MAX_NOTE + 1)) };
    for (frame, words) in [
        (progress(Progress { percent: Some(101), note: None }), "percent is 101; the most is 100"),
        (progress(long), "note has 501 bytes; the most is 500"),
        (output(1, 0, MAX_PIECE + 1), "text has 16385 bytes; the most is 16384"),
    ] {
        let (_, server) = server();
        let mut raw = Raw::welcomed(&server, "web-01").await;
        raw.send(frame).await;
        let Some(ServerFrame::Bye(bye)) = raw.next().await else { panic!("no bye") };
        assert!(bye.reason.contains(words), "{}", bye.reason);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_in_flight_is_ignored_and_asks_seldom() {
    let (fleet, server) = server();
    let mut raw = Raw::welcomed(&server, "web-01").await;
    let mut watch = fleet.board().watch(serial(7), None);
    for n in 0..1_000 {
        raw.send(output(1_000 + n, 0, 1)).await;
    }
    raw.send(accepted(1)).await;
    fleet.until(|told| told.contains(&Told::Accepted(1, serial(1)))).await;
    let asked = fleet.asked();
    assert!((1..=101).contains(&asked), "{asked}");
    assert!(watch.kept().is_none() && fleet.board().kept() == 0);
    assert!(!fleet.told().iter().any(is_disconnected));
}

#[tokio::test(start_paused = true)]
async fn what_is_above_the_rate_is_left_out_and_the_connection_stays() {
    let (fleet, server) = server();
    let mut raw = Raw::welcomed(&server, "web-01").await;
    let mut watch = fleet.board().watch(serial(1), None);
    raw.send(accepted(1)).await;
    let (pieces, length) = (400, 16 * 1024);
    for n in 0..pieces {
        raw.send(output(1, n * length, length)).await;
    }
    raw.send(accepted(2)).await;
    fleet.until(|told| told.contains(&Told::Accepted(1, serial(2)))).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    while watch.kept().is_some() {}
    raw.send(output(1, pieces * length, 1)).await;
    let seen = watch.next().await.unwrap();
    let Live::Output { piece, .. } = &*seen else { panic!("{seen:?}") };
    // Two MiB are a second's worth, and one piece passes before the measure is full.
    let passed = 2 * 1024 * 1024 + length;
    let left_out = (pieces * length - passed) as u64;
    assert_eq!((piece.text.as_str(), piece.dropped), ("x", left_out));
}
