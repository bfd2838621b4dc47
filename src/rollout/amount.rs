//! The numbers of a rollout: per cents, shares and rates, without floating point.
//!
//! Promises: what exists is within its limits, and is written as it was read. Imports nothing of
//! fleetcron.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The whole, in hundredths of a per cent.
const WHOLE: u64 = 10_000;

/// The highest rate: 100,000 a second.
pub const MAX_RATE: u32 = 100_000;

/// Thousandths to a whole.
const MILLI: u64 = 1_000;

/// How much of a text that is not a number an error repeats.
const SHOWN: usize = 80;

/// A text that is not an amount. The message names the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {write}")]
pub struct InvalidAmount {
    what: &'static str,
    value: String,
    write: &'static str,
}

fn invalid(what: &'static str, value: &str, write: &'static str) -> InvalidAmount {
    InvalidAmount { what, value: value.chars().take(SHOWN).collect(), write }
}

/// A decimal number as so many of its last places; `None`: it has more places, or is none.
fn scaled(text: &str, places: usize) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let part_is_short = part.trim_end_matches('0').len() <= places;
    if !digits(whole) || !digits(part) || !part_is_short {
        return None;
    }
    let part: String = part.chars().chain(std::iter::repeat('0')).take(places).collect();
    format!("{whole}{part}").parse().ok()
}

/// A decimal number without the zeros that say nothing.
fn unscaled(value: u64, scale: u64, places: usize) -> String {
    let text = format!("{}.{:0places$}", value / scale, value % scale);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A part of a hundred, 0.01 to 100, in steps of a hundredth. Written `20%` or `2.5%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u16);

impl Percent {
    /// All.
    pub const ALL: Self = Self(10_000);

    /// Whether `part` of `whole` is at least as much as this. None of nothing is.
    #[must_use]
    pub fn is_reached(self, part: u64, whole: u64) -> bool {
        part * WHOLE >= u64::from(self.0) * whole
    }

    /// So much of a number, rounded up.
    #[must_use]
    pub fn of(self, whole: u32) -> u32 {
        let part = (u64::from(whole) * u64::from(self.0)).div_ceil(WHOLE);
        u32::try_from(part).unwrap_or(whole)
    }
}

impl FromStr for Percent {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let hundredths = text.strip_suffix('%').and_then(|number| scaled(number, 2));
        hundredths
            .filter(|hundredths| (1..=WHOLE).contains(hundredths))
            .and_then(|hundredths| u16::try_from(hundredths).ok())
            .map(Self)
            .ok_or_else(|| invalid("per cent", text, "write 0.01% to 100%"))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", unscaled(u64::from(self.0), 100, 2))
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}%", unscaled(u64::from(self.0), 100, 2)))
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text_or_number(deserializer, "a per cent such as \"20%\"")
    }
}

/// How many of all: a number, 1 or more, or a per cent. Written `50` or `10%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many of a hundred, rounded up.
    Percent(Percent),
}

impl Share {
    /// So many of a number; at least 1.
    #[must_use]
    pub fn of(self, whole: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => percent.of(whole).max(1),
        }
    }
}

impl FromStr for Share {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let wrong = || invalid("share", text, "write a number from 1, or 0.01% to 100%");
        if text.ends_with('%') {
            return text.parse().map(Self::Percent).map_err(|_| wrong());
        }
        match scaled(text, 0).and_then(|count| u32::try_from(count).ok()) {
            Some(count @ 1..) => Ok(Self::Count(count)),
            _ => Err(wrong()),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(percent) => percent.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text_or_number(deserializer, "a number, or a per cent such as \"10%\"")
    }
}

/// A number from 0.001 to [`MAX_RATE`], in thousandths. Written `5` or `0.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(u64);

impl Decimal {
    /// One.
    pub const ONE: Self = Self(MILLI);

    /// The highest.
    pub const MAX: Self = Self(MAX_RATE as u64 * MILLI);

    /// Its thousandths.
    #[must_use]
    pub fn millis(self) -> u64 {
        self.0
    }

    /// The product; at most [`Decimal::MAX`].
    #[must_use]
    pub(super) fn times(self, factor: Self) -> Self {
        Self((self.0 * factor.0 / MILLI).min(Self::MAX.0))
    }

    /// The next one.
    #[must_use]
    pub(super) fn next(self) -> Self {
        Self((self.0 + 1).min(Self::MAX.0))
    }
}

impl FromStr for Decimal {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        scaled(text, 3)
            .filter(|millis| (1..=Self::MAX.0).contains(millis))
            .map(Self)
            .ok_or_else(|| invalid("number", text, "write 0.001 to 100000"))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&unscaled(self.0, MILLI, 3))
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(MILLI) {
            return serializer.serialize_u64(self.0 / MILLI);
        }
        // Three places of a number this small come back from a float as they were.
        #[expect(clippy::cast_precision_loss, reason = "far below 2 to the 52nd")]
        serializer.serialize_f64(self.0 as f64 / MILLI as f64)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text_or_number(deserializer, "a number such as 5 or 0.5")
    }
}

/// Reads what is written as a text or as a number in the same way.
fn from_text_or_number<'de, T, D>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    T: FromStr<Err = InvalidAmount>,
    D: Deserializer<'de>,
{
    struct Amount<T>(&'static str, std::marker::PhantomData<T>);

    impl<T: FromStr<Err = InvalidAmount>> Visitor<'_> for Amount<T> {
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
    }

    deserializer.deserialize_any(Amount(expected, std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(text: &str) -> Percent {
        text.parse().unwrap()
    }

    #[test]
    fn per_cents_round_up_and_are_reached_exactly() {
        assert_eq!([1, 2, 3, 10, 11].map(|n| percent("10%").of(n)), [1, 1, 1, 1, 2]);
        assert_eq!(percent("100%").of(u32::MAX), u32::MAX);
        assert!(percent("20%").is_reached(1, 5) && !percent("20%").is_reached(1, 6));
        assert!(percent("33.33%").is_reached(1, 3) && !percent("33.34%").is_reached(1, 3));
        assert!(percent("100%").is_reached(0, 0), "all of nobody");
        assert_eq!(Share::Percent(percent("1%")).of(0), 1);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        for text in ["0%", "0.001%", "100.01%", "101%", "20", "-1%", "%", " 5%", "1e1%", "1.%"] {
            let error = text.parse::<Percent>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("per cent {text:?} is not valid")), "{error}");
        }
        for text in ["0", "-3", "1.5", "0%", "many", "4294967296", ""] {
            let error = text.parse::<Share>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
        for text in ["0", "0.0001", "100000.001", "-1", "NaN", "1e3"] {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
        let error = serde_json::from_str::<Share>("true").unwrap_err().to_string();
        assert!(error.contains("a number, or a per cent such as"), "{error}");
    }

    #[test]
    fn amounts_come_back_as_they_were_written() {
        for (text, written) in [("\"2.50%\"", "\"2.5%\""), ("\"100%\"", "\"100%\"")] {
            let read: Percent = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), written);
        }
        for (text, written) in [("50", "50"), ("\"50\"", "50"), ("\"10%\"", "\"10%\"")] {
            let read: Share = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), written);
        }
        for text in ["5", "0.1", "0.001", "99999.999", "2.675"] {
            let read: Decimal = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
    }
}
