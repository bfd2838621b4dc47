//! Replays: past runs that run again, and firings of the past that are made up for.
//!
//! Promises: a replay that was accepted runs each of its items once, whatever crashes; what it
//! runs was settled when it was made. Imports the domain types.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, CommandName, JobName, ReplayId, Serial};
use crate::job::Overlap;
use crate::policy::is_default;
use crate::rollout::Decimal;
use crate::run::{Cause, Counts, DeliveryState, Run};
use crate::target::Target;
use crate::time::Timestamp;

/// Runs that one replay makes, at most; a larger one is refused, with the number.
pub const MAX_REPLAY_ITEMS: usize = 10_000;

/// Deliveries of one replay's runs, at most; as its targets stand when it is made.
pub const MAX_REPLAY_DELIVERIES: u64 = 1_000_000;

/// Bytes of what one replay has to keep of its originals (commands, parameters, policies; what is
/// the same is kept once), at most.
pub const MAX_REPLAY_BYTES: usize = 16 * 1024 * 1024;

/// Replays that are open at a time, at most; one more is refused.
pub const MAX_REPLAYS: usize = 64;

/// Runs that all open replays have still to make, at most; a replay that would go above is refused.
pub const MAX_WAITING_ITEMS: usize = 100_000;

/// Serials that one selection names, at most.
pub const MAX_SELECTED_SERIALS: usize = 1_000;

/// Clients that one plan names, at most; of further ones it has the number alone.
pub const PLAN_CLIENTS: usize = 100_000;

/// What a replay repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayKind {
    /// Runs that were, with what they had then.
    Again,
    /// Occurrences of a job's rule, with what the job has now.
    Backfill,
}

impl ReplayKind {
    /// The cause of its runs.
    #[must_use]
    pub fn cause(self) -> Cause {
        match self {
            Self::Again => Cause::Replay,
            Self::Backfill => Cause::Backfill,
        }
    }
}

impl fmt::Display for ReplayKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Again => "again",
            Self::Backfill => "backfill",
        })
    }
}

/// Which replay made a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayOf {
    /// The replay.
    pub replay: ReplayId,
    /// Which of its items; 0 is the first.
    pub item: u32,
    /// The run that this one repeats; a back-fill has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<Serial>,
}

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

/// What was chosen and does not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftOut {
    /// Deliveries to clients that were removed since.
    #[serde(skip_serializing_if = "is_default")]
    pub removed: u64,
    /// Deliveries that have not ended.
    #[serde(skip_serializing_if = "is_default")]
    pub open: u64,
    /// Occurrences that have a run.
    #[serde(skip_serializing_if = "is_default")]
    pub had_run: u64,
}

/// A replay: durable, and kept as long as runs are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Its number.
    pub id: ReplayId,
    /// What it repeats.
    pub kind: ReplayKind,
    /// When it was made.
    pub created_at: Timestamp,
    /// The job that was asked for, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// The begin of the span that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The end of that span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// How it goes about it.
    #[serde(default)]
    pub terms: ReplayTerms,
    /// Runs that it makes.
    pub items: u32,
    /// Deliveries of these, as its targets stood when it was made.
    pub deliveries: u64,
    /// What was chosen and does not run.
    #[serde(default)]
    pub left_out: LeftOut,
    /// Runs that it has made; also the number of the item that is next.
    pub started: u32,
    /// Those of them that have ended.
    pub ended: u32,
    /// How the deliveries of those ended.
    pub counts: Counts,
    /// When its cancellation was asked for: no further run is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<Timestamp>,
    /// Why it was cancelled, if nobody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When its last run ended, and none was to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

impl Replay {
    /// Whether nothing is to come of it: every run was made, or none is made any more, and those
    /// that were have ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        (self.started == self.items || self.cancelled_at.is_some()) && self.ended == self.started
    }

    /// Whether it has ended, not cancelled, with every delivery succeeded.
    #[must_use]
    pub fn all_succeeded(&self) -> bool {
        self.ended_at.is_some()
            && self.cancelled_at.is_none()
            && self.counts.succeeded == self.counts.total
    }

    /// When an item's turn comes, by its place in time after the first.
    #[must_use]
    pub fn due(&self, offset: Duration) -> Timestamp {
        let Some(speed) = self.terms.speed else { return self.created_at };
        let millis = offset.as_millis().saturating_mul(1_000) / u128::from(speed.millis().max(1));
        self.created_at.plus(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }
}

/// One run that a replay is to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayItem {
    /// Which of the replay's templates it is made of.
    pub template: u32,
    /// Which of the replay's sets of clients it goes to; `None`: whom its target means then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<u32>,
    /// The run that it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Serial>,
    /// What its run has as `scheduled_at`: that of the original, or the occurrence.
    pub scheduled_at: Timestamp,
    /// How long after the first of the replay it was, in milliseconds.
    pub offset_ms: u64,
}

impl ReplayItem {
    /// How long after the first of the replay it was.
    #[must_use]
    pub fn offset(&self) -> Duration {
        Duration::from_millis(self.offset_ms)
    }
}

impl Run {
    /// What is the same for every run like it: without its serial, its times and what came of it.
    /// `expires_at` is counted from 1970.
    #[must_use]
    pub fn template(&self) -> Self {
        let epoch = Timestamp::from_millis(0);
        Self {
            serial: Serial::from_bytes([0; 16]),
            // Whatever a replay's run was, its own is another.
            cause: Cause::Replay,
            scheduled_at: epoch,
            fired_at: epoch,
            expires_at: self.expires_at.map(|at| epoch.plus(at.since(self.expiry_begins()))),
            rollout_state: None,
            cancelled_at: None,
            ended_at: None,
            reason: None,
            counts: Counts::default(),
            replay_of: None,
            ..self.clone()
        }
    }

    /// The moment from which its expiry is counted.
    fn expiry_begins(&self) -> Timestamp {
        if self.replay_of.is_some() { self.fired_at } else { self.scheduled_at }
    }
}

/// What a replay would run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayPlan {
    /// What it repeats.
    pub kind: ReplayKind,
    /// The runs that it would make, in their order.
    pub runs: Vec<PlannedRun>,
    /// Their deliveries.
    pub deliveries: u64,
    /// What was chosen and would not run.
    #[serde(default)]
    pub left_out: LeftOut,
}

/// A run that a replay would make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRun {
    /// The run that it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<Serial>,
    /// Its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// Its command.
    pub command: CommandName,
    /// Its target.
    pub target: Target,
    /// What it would have as `scheduled_at`.
    pub scheduled_at: Timestamp,
    /// How long after the replay's begin its turn comes, in milliseconds; `None`: when there is
    /// room for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// How many clients it would go to.
    pub deliveries: u64,
    /// Their names; of a plan with more than [`PLAN_CLIENTS`] the first.
    pub clients: Vec<ClientId>,
}

/// A run that a replay has made, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRun {
    /// Which item of the replay it is; 0 is the first.
    pub item: u32,
    /// The run.
    pub run: Run,
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
