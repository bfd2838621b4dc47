//! A command that comes in one read with the welcome is run at once.
use fleetcron::client::{Client, Context};
use fleetcron::wire::{ClientFrame, FrameReader, MAX_FRAME, ServerFrame, encode};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_command_that_comes_with_the_welcome_is_run_at_once() {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let near = std::sync::Mutex::new(Some(near));
    let connector = move || {
        let near = near.lock().unwrap().take();
        async move { near.ok_or_else(|| std::io::Error::other("one connection only")) }
    };
    let client = Client::with_connector(connector, "web-01".parse().unwrap())
        .on("ping", |_: Context, _: serde_json::Value| async { Ok("pong") })
        .start()
        .unwrap();
    let (read, mut write) = tokio::io::split(far);
    let mut reader = FrameReader::new(read);
    assert!(matches!(reader.next().await.unwrap(), Some(ClientFrame::Hello(_))));
    let mut bytes = Vec::new();
    for frame in [
        r#"{"welcome":{"version":1,"heartbeat_ms":15000,"max_frame":1048576}}"#,
        r#"{"command":{"serial":"01JD0000000000000000000001","command":"ping","params":{},"scheduled_at":"2026-11-22T06:00:00.000Z"}}"#,
    ] {
        let frame: ServerFrame = fleetcron::wire::decode(frame.as_bytes()).unwrap();
        bytes.extend_from_slice(&encode(&frame, MAX_FRAME).unwrap());
    }
    tokio::io::AsyncWriteExt::write_all(&mut write, &bytes).await.unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(1), reader.next::<ClientFrame>());
    let frame = answered.await.expect("answered within a second").unwrap();
    assert!(matches!(frame, Some(ClientFrame::Accepted(_))), "{frame:?}");
    drop(client);
}
