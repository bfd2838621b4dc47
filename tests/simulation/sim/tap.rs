//! The frames on the network, read by a parser of its own and shown to the model.

use std::collections::BTreeMap;

use fleetcron::Serial;
use serde_json::Value;

use super::network::{Link, Side};
use super::world::World;

/// Where frames were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tap {
    /// They left this side.
    Written(Side),
    /// They arrived at this side.
    Read(Side),
}

/// Cuts bytes into frames.
#[derive(Default)]
pub(super) struct Sniffer(Vec<u8>);

impl Sniffer {
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<(String, Value)> {
        self.0.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(header) = self.0.first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*header)).expect("64 bits");
            let Some(json) = self.0.get(4..4 + length) else { break };
            // Most frames of an idle connection are these.
            if json != br#"{"heartbeat":{}}"# {
                match serde_json::from_slice(json) {
                    Ok(Value::Object(frame)) => frames.extend(frame),
                    _ => frames.push(("garbage".to_owned(), Value::Null)),
                }
            }
            self.0.drain(..4 + length);
        }
        frames
    }
}

/// A serial in a frame, and its attempt.
pub(super) fn attempt(body: &Value) -> Option<(Serial, u32)> {
    let serial = body["serial"].as_str()?.parse().ok()?;
    let number = body["attempt"].as_u64().unwrap_or(1);
    Some((serial, u32::try_from(number).ok()?))
}

/// The serials of a list, each with its attempt.
pub(super) fn attempts(body: &Value, list: &str) -> BTreeMap<Serial, u32> {
    let serials = body[list].as_array().into_iter().flatten().filter_map(Value::as_str);
    let number = |serial: &str| body["attempts"][serial].as_u64().unwrap_or(1);
    let each =
        serials.filter_map(|text| Some((text.parse().ok()?, u32::try_from(number(text)).ok()?)));
    each.collect()
}

impl World {
    /// Frames were seen on a link.
    pub(super) fn tap(&self, link: &Link, tap: Tap, frames: Vec<(String, Value)>) {
        for (kind, body) in frames {
            let from_server = matches!(tap, Tap::Written(Side::Server) | Tap::Read(Side::Client));
            let arrow = if from_server { "<-" } else { "->" };
            let what = if matches!(tap, Tap::Written(_)) { "sends" } else { "gets" };
            self.trace(format!(
                "  #{} c{} {arrow} {what} {kind} {}",
                link.number,
                link.client,
                shown(&kind, &body)
            ));
            if kind == "garbage" {
                self.violate(format!("bytes on link #{} are no frame", link.number));
            }
            if kind == "refused" && tap == Tap::Read(Side::Client) {
                self.see("refusals");
            }
            let durable = &self.disk.durable;
            self.model(|model| model.frame(link, tap, &kind, &body, durable));
            if tap == Tap::Written(Side::Server) && kind == "command" {
                self.see("commands sent");
            }
        }
    }
}

/// What a line of the trace shows of a frame.
fn shown(kind: &str, body: &Value) -> String {
    match kind {
        "command" | "accepted" | "started" | "cancel" => attempt(body)
            .map(|(serial, number)| format!("{serial} attempt {number}"))
            .unwrap_or_default(),
        "response" => format!(
            "{} attempt {}: {} {} {}",
            body["serial"].as_str().unwrap_or_default(),
            body["attempt"].as_u64().unwrap_or(1),
            body["state"].as_str().unwrap_or_default(),
            body["reason"].as_str().unwrap_or_default(),
            body["result"],
        ),
        "ack" => format!("{:?}", attempts(body, "serials")),
        "hello" => format!("taken {:?}", attempts(body, "taken")),
        "bye" | "refused" => body["reason"].as_str().unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}
