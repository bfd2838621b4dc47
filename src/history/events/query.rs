//! Which events of the ledger are asked for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::kind::{EventKind, end_state};
use crate::actor::Actor;
use crate::id::{ClientId, GroupName, JobName, Serial};
use crate::run::DeliveryState;
use crate::time::Timestamp;

/// Events of a page when the query does not say.
pub const DEFAULT_EVENTS: usize = 100;

/// The most events of a page.
pub const MAX_EVENTS: usize = 1_000;

/// The most bytes of a text that is searched for.
pub const MAX_TEXT: usize = 256;

/// Which events. An event must meet all that is said; what is not said leaves nothing out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventQuery {
    /// Only events at this moment or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only events before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Only events of the job that had this name then, and of its runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// Only events of this client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientId>,
    /// Only events of clients that are in this group now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// Only events of this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<Serial>,
    /// Only ends of deliveries and attempts, and late answers, with one of these states; as text
    /// with commas between them.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "states")]
    pub states: Vec<DeliveryState>,
    /// Only events of these kinds; as text with commas between them.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "kinds")]
    pub kinds: Vec<EventKind>,
    /// Only what this actor brought about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// Only events that have this text, in upper or lower case, in the result or the reason of a
    /// response, or in the JSON of any other event. 1 to [`MAX_TEXT`] bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The order. Default: the newest first.
    pub order: EventOrder,
    /// Only events that come after this place in that order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Cursor>,
    /// The most events. Of a page: default [`DEFAULT_EVENTS`], at most [`MAX_EVENTS`]. Of a
    /// stream: default all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// How much of results is shown. Default: those of a moderate size.
    pub results: ResultsShown,
}

impl EventQuery {
    /// What is wrong with it, if anything.
    pub fn check(&self) -> Result<(), InvalidEventQuery> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(InvalidEventQuery::Span { from, to });
        }
        match self.text.as_ref().map(String::len) {
            Some(bytes) if !(1..=MAX_TEXT).contains(&bytes) => {
                Err(InvalidEventQuery::Text { bytes })
            }
            _ => Ok(()),
        }
    }

    /// The most events of a page.
    pub(super) fn page(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_EVENTS).clamp(1, MAX_EVENTS)
    }
}

/// What is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEventQuery {
    /// No moment is in its span.
    #[error("from {from} to {to} is no span: its end must be after its start")]
    Span {
        /// The start.
        from: Timestamp,
        /// The end.
        to: Timestamp,
    },
    /// The text is empty or too long.
    #[error("text of {bytes} bytes cannot be searched for; it has 1 to {MAX_TEXT}")]
    Text {
        /// How long it is.
        bytes: usize,
    },
}

/// In which order events come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventOrder {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

/// How much of the results of responses is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultsShown {
    /// Those of at most [`EVENT_RESULT`](crate::engine::EVENT_RESULT) bytes; a larger one is left
    /// out, as it is for those who watch: the response that was recorded has it.
    #[default]
    Cut,
    /// All of them, whatever their size.
    Whole,
}

macro_rules! words {
    ($type:ident, $what:literal, $($word:literal => $value:expr),+) => {
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err(format!("{} is one of {}", $what, [$($word),+].join(", "))),
                }
            }
        }
    };
}

words!(EventOrder, "the order", "newest" => Self::Newest, "oldest" => Self::Oldest);
words!(ResultsShown, "it", "cut" => Self::Cut, "whole" => Self::Whole);

/// A place in the ledger from which a page goes on: the number of an event, as text. It stays good
/// while events are added and forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor(pub u64);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A text that is no [`Cursor`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place in the ledger: give the `next` of the page before, a number")]
pub struct InvalidCursor(String);

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        text.parse().map(Self).map_err(|_| InvalidCursor(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for Cursor {
    type Error = InvalidCursor;

    fn try_from(text: String) -> Result<Self, InvalidCursor> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

/// Reads words with commas between them.
pub fn words<T, E>(text: &str, read: impl Fn(&str) -> Result<T, E>) -> Result<Vec<T>, E> {
    text.split(',').map(|word| read(word.trim())).collect()
}

/// States as text.
mod states {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::{DeliveryState, end_state, words};

    pub(super) fn serialize<S: Serializer>(
        states: &[DeliveryState],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let names: Vec<&str> = states.iter().map(|state| state.name()).collect();
        serializer.serialize_str(&names.join(","))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<DeliveryState>, D::Error> {
        words(&String::deserialize(deserializer)?, end_state).map_err(D::Error::custom)
    }
}

/// Kinds as text.
mod kinds {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::{EventKind, words};

    pub(super) fn serialize<S: Serializer>(
        kinds: &[EventKind],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        serializer.serialize_str(&names.join(","))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<EventKind>, D::Error> {
        words(&String::deserialize(deserializer)?, str::parse).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_reads_back_as_what_it_was() {
        let query = EventQuery {
            from: Some(Timestamp::from_millis(5)),
            job: Some("db/backup".parse().unwrap()),
            states: vec![DeliveryState::Failed, DeliveryState::TimedOut],
            kinds: vec![EventKind::RunEnded],
            actor: Some("token:ci".parse().unwrap()),
            order: EventOrder::Oldest,
            after: Some(Cursor(17)),
            limit: Some(5),
            results: ResultsShown::Whole,
            ..EventQuery::default()
        };
        let text = serde_json::to_string(&query).unwrap();
        assert!(text.contains(r#""states":"failed,timed_out""#), "{text}");
        assert!(text.contains(r#""after":"17""#), "{text}");
        assert_eq!(serde_json::from_str::<EventQuery>(&text).unwrap(), query);
        assert!(serde_json::from_str::<EventQuery>(r#"{"clint": "a"}"#).is_err());
        let bad = serde_json::from_str::<EventQuery>(r#"{"states": "failed,lost"}"#).unwrap_err();
        assert!(bad.to_string().contains("\"lost\" is no state"), "{bad}");
    }

    #[test]
    fn a_query_that_nothing_can_meet_is_refused() {
        let at = Timestamp::from_millis(5);
        let span = EventQuery { from: Some(at), to: Some(at), ..EventQuery::default() };
        assert_eq!(span.check(), Err(InvalidEventQuery::Span { from: at, to: at }));
        let of = |bytes: usize| EventQuery { text: Some("x".repeat(bytes)), ..Default::default() };
        assert_eq!(of(0).check(), Err(InvalidEventQuery::Text { bytes: 0 }));
        assert_eq!((of(1).check(), of(MAX_TEXT).check()), (Ok(()), Ok(())));
        assert!(of(MAX_TEXT + 1).check().unwrap_err().to_string().contains("257 bytes"));
        assert!("x".parse::<Cursor>().unwrap_err().to_string().starts_with("\"x\" is no place"));
        assert!("sideways".parse::<EventOrder>().unwrap_err().contains("newest, oldest"));
    }
}
