//! Rollouts as they are written: each part as a short text or as a table, checked when read.
//!
//! Imports nothing of fleetcron but the rest of the rollout and durations.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{AbortState, Decimal, Growth, InvalidAmount, InvalidRollout, Percent, Share};
use crate::time::duration;

/// How much of a text that is no abort rule an error repeats.
const SHOWN: usize = 80;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollout {
    #[serde(default)]
    max_in_flight: Option<Share>,
    #[serde(default)]
    rate: Option<super::Rate>,
    #[serde(default)]
    waves: Vec<super::Wave>,
    #[serde(default)]
    abort_on: Vec<super::AbortRule>,
}

impl TryFrom<Rollout> for super::Rollout {
    type Error = InvalidRollout;

    fn try_from(written: Rollout) -> Result<Self, InvalidRollout> {
        Self::new(written.max_in_flight, written.rate, written.waves, written.abort_on)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateTable {
    per_second: Decimal,
    #[serde(default)]
    growth: Option<Growth>,
    #[serde(default)]
    max_per_second: Option<Decimal>,
}

/// `5`, or a table.
pub(super) struct Rate(RateTable);

impl FromStr for Rate {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let per_second = text.parse()?;
        Ok(Self(RateTable { per_second, growth: None, max_per_second: None }))
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_table(deserializer, "a rate such as 5, or a table with per_second", Self)
    }
}

impl TryFrom<Rate> for super::Rate {
    type Error = InvalidRollout;

    fn try_from(Rate(written): Rate) -> Result<Self, InvalidRollout> {
        Self::new(written.per_second, written.growth, written.max_per_second)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaveTable {
    share: Percent,
    #[serde(default = "all")]
    success: Percent,
    #[serde(default)]
    approval: bool,
    #[serde(default, with = "duration::optional")]
    wait: Option<Duration>,
}

fn all() -> Percent {
    Percent::ALL
}

/// `10%`, or a table.
pub(super) struct Wave(WaveTable);

impl FromStr for Wave {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let share = text.parse()?;
        Ok(Self(WaveTable { share, success: all(), approval: false, wait: None }))
    }
}

impl<'de> Deserialize<'de> for Wave {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_table(deserializer, "a wave such as \"10%\", or a table with share", Self)
    }
}

impl From<Wave> for super::Wave {
    fn from(Wave(WaveTable { share, success, approval, wait }): Wave) -> Self {
        Self { share, success, approval, wait }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AbortTable {
    state: AbortState,
    percent: Percent,
    #[serde(default = "one")]
    minimum: u32,
}

fn one() -> u32 {
    1
}

/// `failed=20%`, `failed=20%@10`, or a table.
pub(super) struct AbortRule(AbortTable);

impl FromStr for AbortRule {
    type Err = InvalidRollout;

    fn from_str(text: &str) -> Result<Self, InvalidRollout> {
        let wrong = || InvalidRollout::AbortRule(text.chars().take(SHOWN).collect());
        let (state, limit) = text.split_once('=').ok_or_else(wrong)?;
        let states =
            [AbortState::Failed, AbortState::TimedOut, AbortState::Rejected, AbortState::Any];
        let state = states.into_iter().find(|it| it.name() == state).ok_or_else(wrong)?;
        let (percent, minimum) = limit.split_once('@').unwrap_or((limit, "1"));
        let percent = percent.parse().map_err(|_| wrong())?;
        let minimum = minimum.parse().map_err(|_| wrong())?;
        Ok(Self(AbortTable { state, percent, minimum }))
    }
}

impl FromStr for super::AbortRule {
    type Err = InvalidRollout;

    /// Reads `failed=20%`, or `failed=20%@10`: not before 10 have ended.
    fn from_str(text: &str) -> Result<Self, InvalidRollout> {
        AbortRule::from_str(text).map(Self::from)
    }
}

impl<'de> Deserialize<'de> for AbortRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_table(deserializer, "a rule such as \"failed=20%\", or a table with state", Self)
    }
}

impl From<AbortRule> for super::AbortRule {
    fn from(AbortRule(AbortTable { state, percent, minimum }): AbortRule) -> Self {
        Self { state, percent, minimum }
    }
}

/// Reads what is written as a text, a number or a table. An enum that serde tells apart by trying
/// would not say what is wrong with a field of the table.
fn text_or_table<'de, T, Table, D>(
    deserializer: D,
    expected: &'static str,
    make: fn(Table) -> T,
) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    Table: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Either<T, Table>(&'static str, fn(Table) -> T, PhantomData<T>);

    impl<'de, T, Table> Visitor<'de> for Either<T, Table>
    where
        T: FromStr<Err: fmt::Display>,
        Table: Deserialize<'de>,
    {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            Table::deserialize(MapAccessDeserializer::new(map)).map(self.1)
        }
    }

    deserializer.deserialize_any(Either(expected, make, PhantomData))
}
