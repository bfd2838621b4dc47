//! Events as CSV, by RFC 4180: a line of names, then a line for each event.

use csv::{Terminator, Writer, WriterBuilder};

use super::Recorded;
use super::kind::{About, EventKind};
use crate::engine::What;
use crate::id::CommandName;
use crate::run::{DeliveryState, Outcome};

/// The columns. `details` is the JSON of what is not in a column of its own; it is empty for ends
/// of deliveries and attempts.
pub const COLUMNS: [&str; 14] = [
    "no", "at", "actor", "event", "job", "client", "serial", "command", "state", "attempt",
    "ran_ms", "reason", "result", "details",
];

/// Makes lines of events. Lines end with a carriage return and a line feed.
#[derive(Debug)]
pub struct CsvLines {
    begun: bool,
}

impl CsvLines {
    /// Lines that begin with the names of the columns.
    #[must_use]
    pub fn new() -> Self {
        Self { begun: false }
    }

    /// The lines of some events.
    pub fn lines<'a>(
        &mut self,
        events: impl IntoIterator<Item = &'a Recorded>,
    ) -> Result<Vec<u8>, csv::Error> {
        let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
        if !self.begun {
            writer.write_record(COLUMNS)?;
            self.begun = true;
        }
        for event in events {
            write(&mut writer, event)?;
        }
        writer.into_inner().map_err(|error| error.into_error().into())
    }
}

impl Default for CsvLines {
    fn default() -> Self {
        Self::new()
    }
}

fn write(writer: &mut Writer<Vec<u8>>, recorded: &Recorded) -> Result<(), csv::Error> {
    let Recorded { no, event } = recorded;
    let what = &event.what;
    let About { job, client, serial, state } = About::of(what);
    let (attempt, outcome) = ended(what).unzip();
    let result = outcome.and_then(|outcome: &Outcome| outcome.result.as_ref());
    let ran_ms = outcome.and_then(|outcome| outcome.ran_ms);
    let details = match what {
        What::DeliveryEnded { .. } | What::AttemptEnded { .. } | What::ClockJumped => String::new(),
        other => serde_json::to_string(other).map_err(std::io::Error::from)?,
    };
    writer.write_record([
        no.to_string().as_str(),
        event.at.to_string().as_str(),
        event.actor.to_string().as_str(),
        EventKind::of(what).name(),
        job.map_or("", |job| job.as_str()),
        client.map_or("", |client| client.as_str()),
        serial.map(|serial| serial.to_string()).unwrap_or_default().as_str(),
        command(what).map_or("", CommandName::as_str),
        state.map_or("", DeliveryState::name),
        attempt.map(|attempt| attempt.to_string()).unwrap_or_default().as_str(),
        ran_ms.map(|ran_ms| ran_ms.to_string()).unwrap_or_default().as_str(),
        outcome.and_then(|outcome| outcome.reason.as_deref()).unwrap_or_default(),
        result.map_or("", |result| result.text()),
        details.as_str(),
    ])
}

/// Which attempt ended, and how.
fn ended(what: &What) -> Option<(u32, &Outcome)> {
    match what {
        What::DeliveryEnded { response, .. } | What::AttemptEnded { response, .. } => {
            Some((response.attempt, &response.outcome))
        }
        What::LateAnswer { answer, .. } => Some((answer.attempt, &answer.outcome)),
        _ => None,
    }
}

fn command(what: &What) -> Option<&CommandName> {
    match what {
        What::DeliveryEnded { command, .. }
        | What::AttemptEnded { command, .. }
        | What::RunStarted { command, .. } => Some(command),
        _ => None,
    }
}
