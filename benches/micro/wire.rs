//! Frames to bytes and back.

use divan::{Bencher, black_box};
use fleetcron::wire::{
    Accepted, ClientFrame, CommandFrame, HEADER, MAX_FRAME, ResponseFrame, ServerFrame, decode,
    encode,
};
use fleetcron::{DeliveryState, OnClientCrash, Priority, Serial, Timestamp};

const AT: Timestamp = Timestamp::from_millis(1_780_000_000_000);

fn command() -> ServerFrame {
    ServerFrame::Command(CommandFrame {
        serial: Serial::from_parts(AT, 7),
        attempt: 1,
        command: "log.rotate".parse().unwrap(),
        params: r#"{"path":"/var/log/nginx","keep_days":14}"#.parse().unwrap(),
        job: Some("web/log-rotation".parse().unwrap()),
        scheduled_at: AT,
        in_turn: false,
        timeout_ms: None,
        on_client_crash: OnClientCrash::default(),
        priority: Priority::default(),
        per_client: None,
    })
}

fn response() -> ClientFrame {
    ClientFrame::Response(ResponseFrame {
        serial: Serial::from_parts(AT, 7),
        attempt: 1,
        state: DeliveryState::Succeeded,
        reason: None,
        result: Some(r#"{"rotated":3,"freed":104857600}"#.parse().unwrap()),
        ran_ms: Some(12),
    })
}

fn accepted() -> ClientFrame {
    ClientFrame::Accepted(Accepted { serial: Serial::from_parts(AT, 7), attempt: 1 })
}

#[divan::bench]
fn encode_command(bencher: Bencher<'_, '_>) {
    let frame = command();
    bencher.bench(|| encode(black_box(&frame), MAX_FRAME).unwrap());
}

#[divan::bench]
fn decode_command(bencher: Bencher<'_, '_>) {
    let bytes = encode(&command(), MAX_FRAME).unwrap();
    bencher.bench(|| decode::<ServerFrame>(black_box(&bytes[HEADER..])).unwrap());
}

#[divan::bench]
fn encode_response(bencher: Bencher<'_, '_>) {
    let frame = response();
    bencher.bench(|| encode(black_box(&frame), MAX_FRAME).unwrap());
}

#[divan::bench]
fn decode_response(bencher: Bencher<'_, '_>) {
    let bytes = encode(&response(), MAX_FRAME).unwrap();
    bencher.bench(|| decode::<ClientFrame>(black_box(&bytes[HEADER..])).unwrap());
}

#[divan::bench]
fn decode_accepted(bencher: Bencher<'_, '_>) {
    let bytes = encode(&accepted(), MAX_FRAME).unwrap();
    bencher.bench(|| decode::<ClientFrame>(black_box(&bytes[HEADER..])).unwrap());
}
