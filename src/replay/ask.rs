//! What can be asked of a replay: which runs, which span, how it goes about it, and what cannot be.
//!
//! Imports the domain types.

use serde::{Deserialize, Serialize};

use super::MAX_SELECTED_SERIALS;
use crate::id::{ClientId, JobName, Serial};
use crate::job::Overlap;
use crate::policy::is_default;
use crate::rollout::Decimal;
use crate::run::DeliveryState;
use crate::target::Target;
use crate::time::Timestamp;

/// How many runs of one replay are under way at a time: 1 to 1,000. A run that only waits for
/// clients that are away is not under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct MaxOpen(u32);

/// A number that is no [`MaxOpen`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("max_open {0:?} is not valid: it is 1 to {max}", max = MaxOpen::MAX)]
pub struct InvalidMaxOpen(String);

impl MaxOpen {
    /// The most.
    pub const MAX: u32 = 1_000;

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for MaxOpen {
    fn default() -> Self {
        Self(16)
    }
}

impl TryFrom<u32> for MaxOpen {
    type Error = InvalidMaxOpen;
    fn try_from(number: u32) -> Result<Self, InvalidMaxOpen> {
        let valid = (1..=Self::MAX).contains(&number);
        if valid { Ok(Self(number)) } else { Err(InvalidMaxOpen(number.to_string())) }
    }
}

impl From<MaxOpen> for u32 {
    fn from(value: MaxOpen) -> Self {
        value.0
    }
}

impl std::str::FromStr for MaxOpen {
    type Err = InvalidMaxOpen;
    fn from_str(text: &str) -> Result<Self, InvalidMaxOpen> {
        let number: Option<u32> = text.parse().ok();
        let number = number.ok_or_else(|| InvalidMaxOpen(text.chars().take(40).collect()))?;
        Self::try_from(number)
    }
}

/// How a replay goes about it.
///
/// Without a speed it goes as fast as limits allow: at most `max_open` of its runs are under way,
/// and of a job whose runs may not overlap one at a time, so that the replay does not stand in its
/// own way. With a speed each run begins when it did then, counted from the first, and as many
/// times faster; what overlaps then overlaps again, and goes by the overlap policy. A run whose
/// turn has not come for want of a place begins later; none is left out, and they begin in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayTerms {
    /// Whom the runs are for. Default: of runs again, the very clients that had the chosen
    /// deliveries; of a back-fill, the job's target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The spacing that the runs had, so many times faster; 1 is as it was, 0.5 half as fast.
    /// Default: as fast as limits allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<Decimal>,
    /// The most runs under way. Default 16.
    #[serde(skip_serializing_if = "is_default")]
    pub max_open: MaxOpen,
    /// What other runs of the job mean for them. Default: what the run had, or the job has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// Each run goes to all of its clients at once, whatever its rollout was.
    #[serde(skip_serializing_if = "is_default")]
    pub no_rollout: bool,
}

/// Which past runs, and which of their deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunSelection {
    /// Only runs of the job that had this name when they fired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// Only runs whose serial has this time or a later one: when a firing was due, and when any
    /// other run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only runs whose serial has an earlier time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Only these runs; at most [`MAX_SELECTED_SERIALS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub serials: Vec<Serial>,
    /// Only deliveries that ended so. Default: all that have ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<DeliveryState>,
    /// Only deliveries to this client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientId>,
}

/// A selection or span that cannot be. The message names the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReplay {
    /// All of history.
    #[error("say which runs: serials, or from when on")]
    Everything,
    /// A span that ends before it begins.
    #[error("from {from} is not before to {to}")]
    Order {
        /// The begin.
        from: Timestamp,
        /// The end.
        to: Timestamp,
    },
    /// A back-fill of what is to come.
    #[error("to {to} has not come yet: a back-fill is of the past; it is {now}")]
    Future {
        /// The end.
        to: Timestamp,
        /// The server's time.
        now: Timestamp,
    },
    /// Too many serials.
    #[error("{0} serials are named; the most is {MAX_SELECTED_SERIALS}")]
    Serials(usize),
    /// A state in which no delivery ends.
    #[error("state {0} is not an end: deliveries run again that have ended")]
    Open(DeliveryState),
}

impl RunSelection {
    /// Whether it can be.
    pub fn check(&self) -> Result<(), InvalidReplay> {
        if self.serials.len() > MAX_SELECTED_SERIALS {
            return Err(InvalidReplay::Serials(self.serials.len()));
        }
        if self.serials.is_empty() && self.from.is_none() {
            return Err(InvalidReplay::Everything);
        }
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(InvalidReplay::Order { from, to });
        }
        match self.states.iter().find(|state| !state.is_end()) {
            Some(state) => Err(InvalidReplay::Open(*state)),
            None => Ok(()),
        }
    }

    /// Whether a delivery that ended so is chosen.
    #[must_use]
    pub fn wants(&self, state: DeliveryState) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }
}

/// Past runs that are to run again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunAgain {
    /// Which.
    pub select: RunSelection,
    /// How.
    #[serde(default)]
    pub terms: ReplayTerms,
}

/// A span of the past in which a job is to have fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backfill {
    /// The begin of the span, which is part of it.
    pub from: Timestamp,
    /// The end of the span, which is not. Default: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Run what has a run already, too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub again: bool,
    /// How.
    #[serde(default)]
    pub terms: ReplayTerms,
}

impl Backfill {
    /// The end of its span, if it can be at a moment.
    pub fn end(&self, now: Timestamp) -> Result<Timestamp, InvalidReplay> {
        let (from, to) = (self.from, self.to.unwrap_or(now));
        if to > now {
            return Err(InvalidReplay::Future { to, now });
        }
        if from >= to { Err(InvalidReplay::Order { from, to }) } else { Ok(to) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_selection_that_cannot_be_is_refused_with_its_value() {
        let of = |json: &str| {
            let selection: RunSelection = serde_json::from_str(json).unwrap();
            selection.check().map_err(|error| error.to_string())
        };
        assert_eq!(of(r#"{"from": "2026-01-01T00:00:00Z", "states": ["failed"]}"#), Ok(()));
        assert_eq!(of("{}").unwrap_err(), "say which runs: serials, or from when on");
        let span = r#"{"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}"#;
        assert!(of(span).unwrap_err().contains("2026-01-02T00:00:00.000Z is not before"));
        let open = of(r#"{"from": "2026-01-01T00:00:00Z", "states": ["sent"]}"#);
        assert!(open.unwrap_err().starts_with("state sent is not an end"));
        let error = serde_json::from_str::<RunSelection>(r#"{"since": 1}"#).unwrap_err();
        assert!(error.to_string().contains("since"));
    }

    #[test]
    fn the_places_of_a_replay_have_a_limit() {
        for bad in ["0", "1001", "many", "-1"] {
            let error = bad.parse::<MaxOpen>().unwrap_err().to_string();
            assert_eq!(error, format!("max_open {bad:?} is not valid: it is 1 to 1000"));
        }
        assert_eq!("1000".parse::<MaxOpen>().map(MaxOpen::get), Ok(1_000));
        let terms: ReplayTerms = serde_json::from_str(r#"{"max_open": 3, "speed": 2}"#).unwrap();
        assert_eq!(terms.max_open.get(), 3);
        assert!(serde_json::from_str::<ReplayTerms>(r#"{"max_open": 0}"#).is_err());
    }

    #[test]
    fn a_back_fill_is_of_the_past() {
        let fill = |from, to: Option<i64>| {
            let terms = ReplayTerms::default();
            Backfill { from: at(from), to: to.map(at), again: false, terms }.end(at(10))
        };
        assert_eq!(fill(1, Some(5)), Ok(at(5)));
        assert_eq!(fill(1, None), Ok(at(10)));
        assert_eq!(fill(5, Some(5)), Err(InvalidReplay::Order { from: at(5), to: at(5) }));
        assert_eq!(fill(5, Some(11)), Err(InvalidReplay::Future { to: at(11), now: at(10) }));
    }
}
