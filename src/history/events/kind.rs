//! What kinds of events there are, and what an event is about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::engine::What;
use crate::id::{ClientId, JobName, Serial};
use crate::run::DeliveryState;
use crate::suggest::did_you_mean;

/// How much of a bad value an error message repeats.
const SHOWN: usize = 160;

/// A kind of event: the `event` field of its JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum EventKind {
    /// [`What::Job`].
    Job = 0,
    /// [`What::Missed`].
    Missed = 1,
    /// [`What::RunStarted`].
    RunStarted = 2,
    /// [`What::Rollout`].
    Rollout = 3,
    /// [`What::RunEnded`].
    RunEnded = 4,
    /// [`What::DeliveryEnded`].
    DeliveryEnded = 5,
    /// [`What::AttemptEnded`].
    AttemptEnded = 6,
    /// [`What::RunChanged`].
    RunChanged = 7,
    /// [`What::Client`].
    Client = 8,
    /// [`What::Server`].
    Server = 9,
    /// [`What::Setting`].
    Setting = 10,
    /// [`What::TokenUsed`].
    TokenUsed = 11,
    /// [`What::ClockJumped`].
    ClockJumped = 12,
    /// [`What::Connected`].
    Connected = 13,
    /// [`What::Disconnected`].
    Disconnected = 14,
    /// [`What::Calendar`].
    Calendar = 15,
    /// [`What::LateAnswer`].
    LateAnswer = 16,
    /// [`What::Forgotten`].
    Forgotten = 17,
    /// [`What::Replay`].
    Replay = 18,
}

impl EventKind {
    /// All kinds, in the order of their codes.
    pub const ALL: [Self; 19] = [
        Self::Job,
        Self::Missed,
        Self::RunStarted,
        Self::Rollout,
        Self::RunEnded,
        Self::DeliveryEnded,
        Self::AttemptEnded,
        Self::RunChanged,
        Self::Client,
        Self::Server,
        Self::Setting,
        Self::TokenUsed,
        Self::ClockJumped,
        Self::Connected,
        Self::Disconnected,
        Self::Calendar,
        Self::LateAnswer,
        Self::Forgotten,
        Self::Replay,
    ];

    /// The kind of an event.
    #[must_use]
    pub fn of(what: &What) -> Self {
        match what {
            What::Job { .. } => Self::Job,
            What::Missed { .. } => Self::Missed,
            What::RunStarted { .. } => Self::RunStarted,
            What::Rollout { .. } => Self::Rollout,
            What::RunEnded { .. } => Self::RunEnded,
            What::DeliveryEnded { .. } => Self::DeliveryEnded,
            What::AttemptEnded { .. } => Self::AttemptEnded,
            What::RunChanged { .. } => Self::RunChanged,
            What::Client { .. } => Self::Client,
            What::Server { .. } => Self::Server,
            What::Setting { .. } => Self::Setting,
            What::TokenUsed { .. } => Self::TokenUsed,
            What::ClockJumped => Self::ClockJumped,
            What::Connected { .. } => Self::Connected,
            What::Disconnected { .. } => Self::Disconnected,
            What::Calendar { .. } => Self::Calendar,
            What::LateAnswer { .. } => Self::LateAnswer,
            What::Forgotten { .. } => Self::Forgotten,
            What::Replay { .. } => Self::Replay,
        }
    }

    /// The kind's name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Missed => "missed",
            Self::RunStarted => "run_started",
            Self::Rollout => "rollout",
            Self::RunEnded => "run_ended",
            Self::DeliveryEnded => "delivery_ended",
            Self::AttemptEnded => "attempt_ended",
            Self::RunChanged => "run_changed",
            Self::Client => "client",
            Self::Server => "server",
            Self::Setting => "setting",
            Self::TokenUsed => "token_used",
            Self::ClockJumped => "clock_jumped",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Calendar => "calendar",
            Self::LateAnswer => "late_answer",
            Self::Forgotten => "forgotten",
            Self::Replay => "replay",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that is none of those there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no {what}{hint}; there are {known}")]
pub struct UnknownWord {
    what: &'static str,
    word: String,
    hint: String,
    known: String,
}

impl UnknownWord {
    fn new(what: &'static str, word: &str, known: &[&'static str]) -> Self {
        let hint = did_you_mean(word, known.iter().copied());
        // The question mark ends the sentence there.
        let hint = hint.trim_end_matches('?').to_owned();
        let word = word.chars().take(SHOWN).collect();
        Self { what, word, hint, known: known.join(", ") }
    }
}

impl FromStr for EventKind {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == text);
        known.ok_or_else(|| UnknownWord::new("kind of event", text, &Self::ALL.map(Self::name)))
    }
}

/// The state of a name, if a delivery or an attempt can end so.
pub fn end_state(text: &str) -> Result<DeliveryState, UnknownWord> {
    let ends = DeliveryState::ALL.into_iter().filter(|state| state.is_end());
    let known = ends.clone().find(|state| state.name() == text);
    known.ok_or_else(|| {
        let names: Vec<&str> = ends.map(DeliveryState::name).collect();
        UnknownWord::new("state in which deliveries end", text, &names)
    })
}

/// What an event is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct About<'a> {
    /// The job, by the name that it had then.
    pub job: Option<&'a JobName>,
    /// The client.
    pub client: Option<&'a ClientId>,
    /// The run.
    pub serial: Option<Serial>,
    /// How a delivery or an attempt ended, or would have by a late answer.
    pub state: Option<DeliveryState>,
}

impl<'a> About<'a> {
    /// What an event is about.
    #[must_use]
    pub fn of(what: &'a What) -> Self {
        let about = Self::default();
        match what {
            What::Job { job, .. } | What::Missed { job, .. } => Self { job: Some(job), ..about },
            What::RunStarted { serial, job, .. }
            | What::Rollout { serial, job, .. }
            | What::RunEnded { serial, job, .. } => {
                Self { job: job.as_ref(), serial: Some(*serial), ..about }
            }
            What::RunChanged { serial, job, client, .. } => {
                let (job, client) = (job.as_ref(), client.as_ref());
                Self { job, client, serial: Some(*serial), state: None }
            }
            What::DeliveryEnded { job, response, .. }
            | What::AttemptEnded { job, response, .. } => Self {
                job: job.as_ref(),
                client: Some(&response.client),
                serial: Some(response.serial),
                state: Some(response.outcome.state),
            },
            What::LateAnswer { serial, answer } => Self {
                job: None,
                client: Some(&answer.client),
                serial: Some(*serial),
                state: Some(answer.outcome.state),
            },
            What::Client { client, .. }
            | What::Connected { client, .. }
            | What::Disconnected { client, .. } => Self { client: Some(client), ..about },
            What::Replay { job, .. } => Self { job: job.as_ref(), ..about },
            What::Server { .. }
            | What::Setting { .. }
            | What::TokenUsed { .. }
            | What::ClockJumped
            | What::Forgotten { .. }
            | What::Calendar { .. } => about,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_reads_back_as_what_it_was_and_is_named_as_in_json() {
        for (code, kind) in (0_u8..).zip(EventKind::ALL) {
            assert_eq!(kind as u8, code);
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
    }

    #[test]
    fn an_unknown_word_is_told_with_the_one_that_was_meant() {
        let error = "run_startet".parse::<EventKind>().unwrap_err().to_string();
        let expected = "\"run_startet\" is no kind of event; did you mean \"run_started\"; there are job, missed, ";
        assert!(error.starts_with(expected), "{error}");
        let error = end_state("timedout").unwrap_err().to_string();
        assert!(error.contains("did you mean \"timed_out\"; there are succeeded, "), "{error}");
        assert!(end_state("queued").is_err(), "no delivery ends so");
        assert_eq!(end_state("failed"), Ok(DeliveryState::Failed));
    }
}
