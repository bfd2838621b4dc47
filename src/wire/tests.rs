//! Tests of the protocol: the documented frames, bad bytes, and any bytes at all.

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::*;

/// The frames shown in the module's documentation under a heading.
fn shown(heading: &str) -> Vec<&'static str> {
    include_str!("mod.rs")
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("//! # "))
        .filter_map(|line| line.strip_prefix("//! ").filter(|text| text.starts_with("{\"")))
        .collect()
}

fn check_shown<T: Frame + std::fmt::Debug>(heading: &str) {
    let frames = shown(heading);
    for kind in T::TYPES {
        let start = format!("{{\"{kind}\":");
        assert!(frames.iter().any(|frame| frame.starts_with(&start)), "{kind} is not shown");
    }
    for frame in frames {
        let parsed: T = decode(frame.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&parsed).unwrap(), frame);
    }
}

#[test]
fn every_frame_is_shown_and_prints_as_shown() {
    check_shown::<ClientFrame>("//! # From the client");
    check_shown::<ServerFrame>("//! # From the server");
}

#[test]
fn unknown_fields_are_ignored_and_params_keep_their_text() {
    let text = r#"{"call":{"new":[1],"id":1,"command":"a","params":{"b": 1.50,"a":  2}}}"#;
    let ClientFrame::Call(call) = decode(text.as_bytes()).unwrap() else { panic!("not a call") };
    assert_eq!(call.params.text(), r#"{"b": 1.50,"a":  2}"#);
}

#[test]
fn a_bad_frame_is_named() {
    let told = |text: &str| decode::<ClientFrame>(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        told(r#"{"ack":{"serials":[]}}"#),
        "unknown frame type \"ack\"; known are hello, accepted, started, progress, output, response, call, heartbeat, stopping, bye"
    );
    assert!(told("GET / HTTP/1.1").contains("not JSON"));
    assert!(told("GET / HTTP/1.1").contains("\"GET / HTTP/1.1\""));
    for text in ["[1]", "\"heartbeat\"", "{}", r#"{"heartbeat":{},"bye":{}}"#] {
        assert!(told(text).contains("not an object with one key"), "{text}: {}", told(text));
    }
    let told_field = told(r#"{"accepted":{"serial":"1"}}"#);
    assert!(told_field.contains("frame \"accepted\"") && told_field.contains("\"1\""));
    let long = format!("{{\"{}\":1}}", "x".repeat(10_000));
    assert!(told(&long).len() < 400, "a long value is shortened");
    assert!(decode::<ClientFrame>(&[0xff, 0xfe]).unwrap_err().to_string().contains("not JSON"));
}

#[test]
fn a_token_is_not_shown() {
    let hello: ClientFrame = decode(shown("//! # From the client")[0].as_bytes()).unwrap();
    assert!(!format!("{hello:?}").contains("s3cret"));
}

async fn read_all(bytes: &[u8], max: usize) -> Result<Vec<ClientFrame>, WireError> {
    let mut reader = FrameReader::new(bytes);
    reader.set_max(max);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next().await? {
        frames.push(frame);
    }
    Ok(frames)
}

#[tokio::test]
async fn the_length_is_checked_before_anything_else() {
    let mut bytes = 1025_u32.to_be_bytes().to_vec();
    bytes.push(b'{');
    let error = read_all(&bytes, 1024).await.unwrap_err();
    assert_eq!(error.to_string(), "a frame of 1025 bytes is announced; allowed are 1 to 1024");
    assert!(matches!(read_all(&[0; 4], 1024).await, Err(WireError::Length { length: 0, .. })));
    let error = encode(&ClientFrame::Heartbeat(Empty {}), 10).unwrap_err();
    assert!(matches!(error, WireError::TooLong { length: 16, max: 10 }), "{error}");
}

#[tokio::test]
async fn an_incomplete_frame_is_waited_for_and_truncated_at_the_end() {
    let bytes = encode(&ClientFrame::Heartbeat(Empty {}), MAX_FRAME).unwrap();
    let (mut far, near) = tokio::io::duplex(64);
    let mut reader = FrameReader::new(near);
    far.write_all(&bytes[..7]).await.unwrap();
    assert!(reader.fill().await.unwrap());
    assert!(reader.take::<ClientFrame>().unwrap().is_none());
    assert_eq!(reader.unread(), Some((7, 20)));
    drop(far);
    assert_eq!(
        reader.fill().await.unwrap_err().to_string(),
        "the stream ended within a frame, after 7 of 20 bytes"
    );
}

#[tokio::test]
async fn gathered_frames_go_out_in_order_through_a_narrow_pipe() {
    let (near, far) = tokio::io::duplex(17);
    let mut writer = FrameWriter::new(near);
    let call = |id, size: usize| {
        let params = crate::Json::new(&"x".repeat(size)).unwrap();
        ClientFrame::Call(Call { id, command: "a".parse().unwrap(), params })
    };
    let sent: Vec<_> = (0..80).map(|id| call(id, if id % 3 == 0 { 3_000 } else { 10 })).collect();
    for frame in &sent {
        match frame {
            ClientFrame::Call(Call { id, .. }) if id % 2 == 0 => writer.push(frame).unwrap(),
            frame => writer.push_encoded(&encode(frame, MAX_FRAME).unwrap()),
        }
    }
    let mut reader = FrameReader::new(far);
    let mut came = Vec::new();
    let reading = async {
        while let Some(frame) = reader.next::<ClientFrame>().await.unwrap() {
            came.push(frame);
        }
    };
    let writing = async {
        // Flushes that are given up half-way lose nothing and send nothing twice.
        while writer.is_dirty() {
            tokio::select! {
                biased;
                flushed = writer.flush() => flushed.unwrap(),
                () = tokio::task::yield_now() => {}
            }
        }
        writer.shutdown().await.unwrap();
        drop(writer);
    };
    tokio::join!(reading, writing);
    assert_eq!(came, sent);
}

fn frames() -> impl Strategy<Value = Vec<ClientFrame>> {
    let one = (0_u64..4, ".{0,40}").prop_map(|(kind, text)| match kind {
        0 => ClientFrame::Heartbeat(Empty {}),
        1 => ClientFrame::Bye(ClientBye { reason: text }),
        id => ClientFrame::Call(Call {
            id,
            command: "disk.report".parse().unwrap(),
            params: crate::Json::new(&text).unwrap(),
        }),
    });
    prop::collection::vec(one, 0..20)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #[test]
    fn any_bytes_end_in_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = run(read_all(&bytes, 256));
        let _ = decode::<ClientFrame>(&bytes);
        let _ = decode::<ServerFrame>(&bytes);
    }

    #[test]
    fn any_json_ends_in_a_frame_or_an_error(text in r#"\{"(hello|call|bye|x)":[\{\}\[\]",:a0-9]{0,40}\}?"#) {
        let _ = decode::<ClientFrame>(text.as_bytes());
    }

    #[test]
    fn any_split_gives_the_same_frames(sent in frames(), cuts in prop::collection::vec(1_usize..60, 1..30)) {
        let bytes: Vec<u8> = sent
            .iter()
            .flat_map(|frame| encode(frame, MAX_FRAME).unwrap())
            .collect();
        let came = run(async {
            let (mut far, near) = tokio::io::duplex(64);
            let writing = async move {
                let mut rest = &bytes[..];
                for cut in cuts.iter().cycle() {
                    if rest.is_empty() {
                        return;
                    }
                    let (now, later) = rest.split_at((*cut).min(rest.len()));
                    far.write_all(now).await.unwrap();
                    rest = later;
                }
            };
            let reading = async {
                let mut reader = FrameReader::new(near);
                let mut came = Vec::new();
                while let Some(frame) = reader.next::<ClientFrame>().await.unwrap() {
                    came.push(frame);
                }
                came
            };
            tokio::join!(writing, reading).1
        });
        prop_assert_eq!(came, sent);
    }
}
