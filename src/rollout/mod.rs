//! Rollouts: how a run reaches its clients little by little, and when it stops by itself.
//!
//! Promises: a [`Rollout`] that exists is valid. Imports identifiers, times and the words of runs.

mod amount;
mod progress;
mod state;
mod written;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::is_default;
use crate::time::duration;

pub use amount::{Decimal, InvalidAmount, MAX_RATE, Percent, Share};
pub use progress::{RunProgress, WaveProgress};
pub use state::{RolloutState, Standing, Tally, Verdict};

/// The most waves of a rollout.
pub const MAX_WAVES: usize = 32;

/// The most rules by which a rollout is aborted.
pub const MAX_ABORT_RULES: usize = 16;

/// The longest `wait` of a wave: a year.
pub const MAX_WAVE_WAIT: Duration = Duration::from_secs(365 * 86_400);

/// The highest factor by which a rate grows.
pub const MAX_FACTOR: u32 = 100;

/// How a run reaches its clients. All clients have a fixed order, from a hash of the client and of
/// the job, or of the run if it has none; what is released is a beginning of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "written::Rollout")]
pub struct Rollout {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_in_flight: Option<Share>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waves: Vec<Wave>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    abort_on: Vec<AbortRule>,
}

/// How many deliveries start in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "written::Rate")]
pub struct Rate {
    per_second: Decimal,
    #[serde(skip_serializing_if = "Option::is_none")]
    growth: Option<Growth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_per_second: Option<Decimal>,
}

/// By what a rate is multiplied, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// Above 1, at most [`MAX_FACTOR`].
    pub factor: Decimal,
    /// Each time that so many deliveries have succeeded; 1 or more.
    pub after: u32,
}

/// A part of the clients, which has to succeed before the next gets its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "written::Wave")]
pub struct Wave {
    /// How many of all clients this wave and those before it have, rounded up.
    pub share: Percent,
    /// How many of the wave's own deliveries have to succeed before the next begins. Default:
    /// all. Those that were left out do not count, see [`RolloutState::leaves_out`].
    #[serde(skip_serializing_if = "is_all")]
    pub success: Percent,
    /// Whether somebody has to approve the next wave.
    #[serde(skip_serializing_if = "is_default")]
    pub approval: bool,
    /// How long after that success the next wave begins, or may be approved. Default: at once.
    #[serde(skip_serializing_if = "Option::is_none", with = "duration::optional")]
    pub wait: Option<Duration>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives the signature")]
fn is_all(percent: &Percent) -> bool {
    *percent == Percent::ALL
}

/// When a rollout is aborted: of the deliveries that clients have ended, so many ended like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "written::AbortRule")]
pub struct AbortRule {
    /// How they ended.
    pub state: AbortState,
    /// At which part of those that have ended.
    pub percent: Percent,
    /// Not before so many have ended. Default 1.
    #[serde(skip_serializing_if = "is_one")]
    pub minimum: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives the signature")]
fn is_one(minimum: &u32) -> bool {
    *minimum == 1
}

/// Ends that speak against going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbortState {
    /// The handler returned an error.
    Failed,
    /// It was not taken, or ran too long.
    TimedOut,
    /// The client would not run it.
    Rejected,
    /// One of these three.
    Any,
}

impl AbortState {
    /// The state's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Rejected => "rejected",
            Self::Any => "any",
        }
    }

    /// As the verb of a sentence.
    fn verb(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Rejected => "were rejected",
            Self::Any => "failed, timed out or were rejected",
        }
    }
}

/// A rollout that cannot be. The message names the field and the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRollout {
    /// Nothing is said.
    #[error("rollout is empty: write max_in_flight, rate, waves or abort_on")]
    Empty,
    /// A wave is not larger than the one before.
    #[error(
        "wave {number} of {share} is not above the one before, of {before}: shares are of all clients and rise"
    )]
    Order {
        /// Which, from 1.
        number: usize,
        /// Its share.
        share: Percent,
        /// The share before.
        before: Percent,
    },
    /// The last wave says what comes after it.
    #[error("{field} of the last wave, of 100 %, means nothing: no wave follows")]
    Last {
        /// The field.
        field: &'static str,
    },
    /// A list is too long.
    #[error("{field} has {count} entries; the most is {most}")]
    TooMany {
        /// The field.
        field: &'static str,
        /// Its length.
        count: usize,
        /// The most.
        most: usize,
    },
    /// A wait is too long.
    #[error("wait {} is not valid: the longest is {}", duration::format(*.0),
        duration::format(MAX_WAVE_WAIT))]
    Wait(Duration),
    /// The rate would not grow, or too fast.
    #[error("factor {0} is not valid: write more than 1, at most {MAX_FACTOR}")]
    Factor(Decimal),
    /// A count of none.
    #[error("{field} 0 is not valid: write 1 or more")]
    None {
        /// The field.
        field: &'static str,
    },
    /// The highest rate is below the first, or has no growth to limit.
    #[error("max_per_second {max} is not valid: {problem}")]
    MaxRate {
        /// The highest rate.
        max: Decimal,
        /// What is wrong.
        problem: &'static str,
    },
    /// A text that is no abort rule.
    #[error(
        "abort rule {0:?} is not valid: write STATE=PERCENT, such as failed=20%, or failed=20%@10 to count from 10 ended on; STATE is failed, timed_out, rejected or any"
    )]
    AbortRule(String),
}

impl Rollout {
    /// A rollout of these parts. If the last wave has not all clients, one more with the rest
    /// follows.
    pub fn new(
        max_in_flight: Option<Share>,
        rate: Option<Rate>,
        mut waves: Vec<Wave>,
        abort_on: Vec<AbortRule>,
    ) -> Result<Self, InvalidRollout> {
        if waves.last().is_some_and(|last| last.share < Percent::ALL) {
            waves.push(Wave::new(Percent::ALL));
        }
        check_waves(&waves)?;
        let (count, most) = (abort_on.len(), MAX_ABORT_RULES);
        if count > most {
            return Err(InvalidRollout::TooMany { field: "abort_on", count, most });
        }
        if abort_on.iter().any(|rule| rule.minimum == 0) {
            return Err(InvalidRollout::None { field: "minimum" });
        }
        let rollout = Self { max_in_flight, rate, waves, abort_on };
        if rollout == Self::default() {
            return Err(InvalidRollout::Empty);
        }
        Ok(rollout)
    }

    /// How many deliveries may be under way at a time. Default: all.
    #[must_use]
    pub fn max_in_flight(&self) -> Option<Share> {
        self.max_in_flight
    }

    /// How many deliveries start in a second. Default: as many as there are.
    #[must_use]
    pub fn rate(&self) -> Option<&Rate> {
        self.rate.as_ref()
    }

    /// The waves, the last of all clients; none: all clients are one wave.
    #[must_use]
    pub fn waves(&self) -> &[Wave] {
        &self.waves
    }

    /// When it is aborted. Default: never.
    #[must_use]
    pub fn abort_on(&self) -> &[AbortRule] {
        &self.abort_on
    }
}

fn check_waves(waves: &[Wave]) -> Result<(), InvalidRollout> {
    let (count, most) = (waves.len(), MAX_WAVES);
    if count > most {
        return Err(InvalidRollout::TooMany { field: "waves", count, most });
    }
    for (pair, number) in waves.windows(2).zip(2..) {
        if let [before, Wave { share, .. }] = pair
            && *share <= before.share
        {
            return Err(InvalidRollout::Order { number, share: *share, before: before.share });
        }
    }
    if let Some(long) = waves.iter().filter_map(|wave| wave.wait).find(|it| *it > MAX_WAVE_WAIT) {
        return Err(InvalidRollout::Wait(long));
    }
    let Some(last) = waves.last() else { return Ok(()) };
    let said = [
        ("approval", last.approval),
        ("wait", last.wait.is_some()),
        ("success", last.success != Percent::ALL),
    ];
    match said.into_iter().find(|(_, said)| *said) {
        Some((field, _)) => Err(InvalidRollout::Last { field }),
        None => Ok(()),
    }
}

impl Wave {
    /// A wave that has to succeed everywhere, after which the next begins by itself.
    #[must_use]
    pub fn new(share: Percent) -> Self {
        Self { share, success: Percent::ALL, approval: false, wait: None }
    }
}

impl Rate {
    /// So many a second at first.
    pub fn new(
        per_second: Decimal,
        growth: Option<Growth>,
        max_per_second: Option<Decimal>,
    ) -> Result<Self, InvalidRollout> {
        if let Some(growth) = growth {
            let most = Decimal::ONE.millis() * u64::from(MAX_FACTOR);
            if growth.factor <= Decimal::ONE || growth.factor.millis() > most {
                return Err(InvalidRollout::Factor(growth.factor));
            }
            if growth.after == 0 {
                return Err(InvalidRollout::None { field: "after" });
            }
        }
        if let Some(max) = max_per_second {
            let problem = match growth {
                None => Some("without growth, per_second says it all"),
                Some(_) if max < per_second => Some("it is below per_second"),
                Some(_) => None,
            };
            if let Some(problem) = problem {
                return Err(InvalidRollout::MaxRate { max, problem });
            }
        }
        Ok(Self { per_second, growth, max_per_second })
    }

    /// How many a second, once so many deliveries have succeeded.
    #[must_use]
    pub fn after(&self, succeeded: u32) -> Decimal {
        let most = self.max_per_second.unwrap_or(Decimal::MAX);
        let mut rate = self.per_second;
        if let Some(growth) = self.growth {
            // A factor of 1.001 needs some 18,000 steps from the lowest rate to the highest.
            for _ in 0..succeeded / growth.after {
                if rate >= most {
                    break;
                }
                // A rate so low that a factor does not show in its thousandths grows all the same.
                rate = rate.times(growth.factor).max(rate.next());
            }
        }
        rate.min(most)
    }
}

#[cfg(test)]
mod tests;
