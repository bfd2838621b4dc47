//! How often times came, by their length: log-linear, so that short and long ones are told alike.
//!
//! Promises: a percentile is never below the exact one, and above it by an eighth of it at most;
//! adding two histograms is the same as one of all; at most [`BUCKETS`] numbers are kept. Imports
//! stored forms only.

use std::collections::BTreeMap;

use crate::bytes::{Damaged, Reader, put_varint};

/// Buckets that there are: milliseconds up to 7 have one each, and each doubling after that has
/// eight; times of 2³⁴ ms (198 days) and more are all in the last.
pub const BUCKETS: usize = 256;

/// Buckets to a doubling.
const STEPS: u64 = 8;

/// How often times in milliseconds came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: BTreeMap<u8, u64>,
    max: u64,
}

impl Histogram {
    /// Adds a time.
    pub fn add(&mut self, millis: u64) {
        *self.counts.entry(bucket(millis)).or_default() += 1;
        self.max = self.max.max(millis);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            let sum = self.counts.entry(*bucket).or_default();
            *sum = sum.saturating_add(*count);
        }
        self.max = self.max.max(other.max);
    }

    /// How many times were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The longest; `None`: nothing was added.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (!self.counts.is_empty()).then_some(self.max)
    }

    /// The time that so many of a hundred do not exceed, by the nearest rank, rounded up to the end
    /// of its bucket; `None`: nothing was added.
    #[must_use]
    pub fn percentile(&self, percent: u32) -> Option<u64> {
        let count = u128::from(self.count());
        let rank = (count * u128::from(percent.min(100))).div_ceil(100).max(1);
        let mut seen = 0;
        for (bucket, count) in &self.counts {
            seen += u128::from(*count);
            if seen >= rank {
                return Some(last_of(*bucket).min(self.max));
            }
        }
        None
    }

    /// Appends its stored form: how many buckets, varint; of each its number, one byte, and its
    /// count, varint; the longest, varint.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_varint(out, self.counts.len() as u64);
        for (bucket, count) in &self.counts {
            out.push(*bucket);
            put_varint(out, *count);
        }
        put_varint(out, self.max);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut counts = BTreeMap::new();
        for _ in 0..reader.varint()? {
            counts.insert(reader.byte()?, reader.varint()?);
        }
        Ok(Self { counts, max: reader.varint()? })
    }
}

fn bucket(millis: u64) -> u8 {
    if millis < STEPS {
        // Below 8.
        return u8::try_from(millis).unwrap_or(u8::MAX);
    }
    let doubling = u64::from(millis.ilog2()) - 3;
    let step = (millis >> doubling) & (STEPS - 1);
    u8::try_from(STEPS + doubling * STEPS + step).unwrap_or(u8::MAX)
}

/// The longest time of a bucket.
fn last_of(bucket: u8) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < STEPS {
        return bucket;
    }
    if bucket == u64::from(u8::MAX) {
        return u64::MAX;
    }
    let (doubling, step) = ((bucket - STEPS) / STEPS, (bucket - STEPS) % STEPS);
    ((STEPS + step + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(times: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for time in times {
            histogram.add(*time);
        }
        histogram
    }

    fn times() -> impl Strategy<Value = Vec<u64>> {
        let time = prop_oneof![0_u64..20, 0_u64..5_000, 0_u64..1 << 34, Just(u64::MAX)];
        proptest::collection::vec(time, 0..200)
    }

    proptest! {
        #[test]
        fn a_percentile_is_the_exact_one_rounded_up_by_an_eighth_at_most(
            times in times(), percent in 0_u32..=100,
        ) {
            let histogram = of(&times);
            let mut sorted = times.clone();
            sorted.sort_unstable();
            let rank = (sorted.len() * percent as usize).div_ceil(100).max(1);
            let exact = sorted.get(rank - 1).copied();
            prop_assert_eq!(histogram.percentile(percent).is_some(), exact.is_some());
            if let (Some(told), Some(exact)) = (histogram.percentile(percent), exact) {
                prop_assert!(told >= exact);
                let most = exact.saturating_add(exact / 8);
                prop_assert!(told <= most || exact >= (1 << 33) * 15 / 8, "{told} for {exact}");
            }
            prop_assert_eq!(histogram.max(), sorted.last().copied());
            prop_assert_eq!(histogram.count(), sorted.len() as u64);
        }

        #[test]
        fn two_added_are_one_of_all(a in times(), b in times()) {
            let mut sum = of(&a);
            sum.merge(&of(&b));
            prop_assert_eq!(sum, of(&[a, b].concat()));
        }

        #[test]
        fn what_was_written_comes_back(times in times()) {
            let histogram = of(&times);
            let mut out = Vec::new();
            histogram.write(&mut out);
            let mut reader = Reader::new(&out, "a histogram");
            prop_assert_eq!(Histogram::read(&mut reader).unwrap(), histogram);
            prop_assert!(reader.is_empty());
        }
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut next = 0;
        for at in 0..u8::MAX {
            assert_eq!((bucket(next), bucket(last_of(at))), (at, at));
            next = last_of(at) + 1;
        }
        assert_eq!((next, bucket(next), bucket(u64::MAX)), ((1 << 33) / 8 * 15, 255, 255));
    }
}
