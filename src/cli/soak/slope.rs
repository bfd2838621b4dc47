//! Slopes by a robust fit: how memory and disk grow over time, and whether that is noise.
//!
//! The slope is that of Theil and Sen, the median of the slopes of all pairs of points; its range
//! is that of Sen (1968), from Kendall's statistic, at 95 %. Samples that follow each other are
//! alike, which the range would not know; so the points are the medians of [`BLOCKS`] blocks of
//! samples. Pure.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of samples are small, and not below zero"
)]

use serde::Serialize;

/// Points that a fit goes through, at most.
const BLOCKS: usize = 24;

/// Points without which there is no fit.
const LEAST: usize = 6;

/// Seconds without which there is none: what a server does at its start is no trend.
const LEAST_SECONDS: f64 = 300.0;

/// The normal distribution's 97.5 % point.
const Z: f64 = 1.959_964;

/// Seconds in an hour.
const HOUR: f64 = 3_600.0;

/// How something grows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Slope {
    /// An hour.
    pub(super) per_hour: f64,
    /// The range in which it is at 95 %.
    pub(super) low: f64,
    pub(super) high: f64,
    /// Whether no growth at all is in that range.
    pub(super) within_noise: bool,
    /// The median of the values.
    pub(super) median: f64,
    /// Over how many seconds it was fitted.
    pub(super) over: f64,
}

/// Fits a slope to points of seconds and values, in the order of time; `None`: they are too few,
/// or span less than five minutes.
pub(super) fn slope(points: &[(f64, f64)]) -> Option<Slope> {
    let blocks = blocks(points);
    let n = blocks.len();
    let over = points.last()?.0 - points.first()?.0;
    if n < LEAST || over < LEAST_SECONDS {
        return None;
    }
    let mut slopes = Vec::with_capacity(n * (n - 1) / 2);
    for (place, a) in blocks.iter().enumerate() {
        for b in &blocks[place + 1..] {
            if b.0 > a.0 {
                slopes.push((b.1 - a.1) / (b.0 - a.0) * HOUR);
            }
        }
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let pairs = slopes.len() as f64;
    let n = n as f64;
    let spread = Z * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let rank = |at: f64| slopes.get(at.max(0.0) as usize).or(slopes.last()).copied();
    let (low, high) = (rank((pairs - spread) / 2.0)?, rank(f64::midpoint(pairs, spread).ceil())?);
    let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    Some(Slope {
        per_hour: median(slopes.clone())?,
        low,
        high,
        within_noise: low <= 0.0 && high >= 0.0,
        median: median(values)?,
        over,
    })
}

fn blocks(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(BLOCKS).max(1);
    let middle = |block: &[(f64, f64)]| {
        let of = |pick: fn(&(f64, f64)) -> f64| median(block.iter().map(pick).collect());
        Some((of(|point| point.0)?, of(|point| point.1)?))
    };
    points.chunks(size).filter_map(middle).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(values[middle - 1], upper)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..600).map(|at| (f64::from(at) * 2.0, value(f64::from(at) * 2.0))).collect()
    }

    #[test]
    fn a_line_has_its_slope_and_outliers_do_not_move_it() {
        let fit = slope(&points(|at| 100.0 + at / 36.0)).unwrap();
        assert!((fit.per_hour - 100.0).abs() < 1e-6 && !fit.within_noise, "{fit:?}");
        let wild =
            points(|at| if (at as u32).is_multiple_of(10) { 1e9 } else { 100.0 + at / 36.0 });
        let fit = slope(&wild).unwrap();
        assert!((fit.per_hour - 100.0).abs() < 1.0 && !fit.within_noise, "{fit:?}");
    }

    #[test]
    fn what_goes_up_and_down_is_within_noise() {
        let mut random = fastrand::Rng::with_seed(5);
        let noise: Vec<f64> = (0..600).map(|_| random.f64()).collect();
        let fit = slope(&points(|at| 100.0 + noise[at as usize / 2])).unwrap();
        assert!(fit.within_noise && fit.low < fit.high, "{fit:?}");
        let level = slope(&points(|_| 7.0)).unwrap();
        assert!(level.within_noise && level.per_hour.abs() < 1e-9, "{level:?}");
        assert!((level.median - 7.0).abs() < 1e-9);
    }

    #[test]
    fn a_few_points_are_no_fit() {
        assert_eq!(slope(&points(|at| at)[..5]), None);
        assert_eq!(slope(&points(|at| at)[..150]), None, "299 seconds");
        assert!(slope(&points(|at| at)[..152]).is_some());
        assert_eq!(slope(&[]), None);
    }
}
