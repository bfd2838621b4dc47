//! An event as it was recorded, with its number.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::actor::Actor;
use crate::engine::{Event, What};
use crate::id::{CommandName, JobName};
use crate::run::Response;
use crate::time::Timestamp;

/// An event of the ledger.
///
/// Its JSON is that of the event, with its number before it. It is read from JSON text alone, so
/// that results come through as they are written.
#[derive(Debug, Clone, Serialize)]
pub struct Recorded {
    /// Its number: one more than that of the event before it. Of what is forgotten, or a batch
    /// that told of nothing, the numbers are left out.
    pub no: u64,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Deserialize)]
struct Head {
    no: u64,
    at: Timestamp,
    #[serde(default)]
    actor: Actor,
    event: String,
}

/// What has a result, read without `flatten` and tags, which would lose its text.
#[derive(Deserialize)]
struct Ended {
    job: Option<JobName>,
    command: CommandName,
    response: Response,
    next_at: Option<Timestamp>,
}

impl<'de> Deserialize<'de> for Recorded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        read(raw.get()).map_err(D::Error::custom)
    }
}

fn read(text: &str) -> Result<Recorded, serde_json::Error> {
    let Head { no, at, actor, event } = serde_json::from_str(text)?;
    let what = match event.as_str() {
        "delivery_ended" | "attempt_ended" => {
            let Ended { job, command, response, next_at } = serde_json::from_str(text)?;
            match (event.as_str(), next_at) {
                ("attempt_ended", Some(next_at)) => {
                    What::AttemptEnded { job, command, response, next_at }
                }
                ("attempt_ended", None) => {
                    return Err(serde_json::Error::custom("missing field `next_at`"));
                }
                _ => What::DeliveryEnded { job, command, response },
            }
        }
        _ => serde_json::from_str(text)?,
    };
    Ok(Recorded { no, event: Event { at, actor, what } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_back_as_what_it_was_with_its_result_as_it_was_written() {
        for text in [
            r#"{"no":7,"at":"2026-11-22T06:00:00.000Z","actor":"client:a","event":"delivery_ended","job":null,"command":"x","response":{"serial":"01JD0000000000000000000000","client":"a","at":"2026-11-22T06:00:00.000Z","state":"succeeded","result":{"z":1.50,"a":1e400}}}"#,
            r#"{"no":8,"at":"2026-11-22T06:00:00.000Z","actor":"server","event":"attempt_ended","job":"j","command":"x","response":{"serial":"01JD0000000000000000000000","client":"a","at":"2026-11-22T06:00:00.000Z","retried":true,"state":"failed","reason":"no"},"next_at":"2026-11-22T06:00:01.000Z"}"#,
            r#"{"no":9,"at":"2026-11-22T06:00:00.000Z","actor":"server","event":"clock_jumped"}"#,
            r#"{"no":10,"at":"2026-11-22T06:00:00.000Z","actor":"token:ci","event":"client","client":"a","change":"added"}"#,
        ] {
            let read: Recorded = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
        let bad = r#"{"no":1,"at":"2026-11-22T06:00:00.000Z","event":"other"}"#;
        assert!(serde_json::from_str::<Recorded>(bad).unwrap_err().to_string().contains("other"));
    }
}
