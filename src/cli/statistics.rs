//! The statistics of a job or a client, as `jobs show` and `clients show` tell them.

use super::error::CliError;
use super::heat::{ASCII, BLOCKS};
use super::output::{Field, NOTHING, Out, Tone, moment, ran};
use crate::delivery_state::DeliveryState;
use crate::statistics::{Bar, ClientStatistics, JobStatistics, Period, Periods, Quantiles};
use crate::time::Timestamp;

/// What is told of either.
pub(super) struct Told<'a> {
    periods: &'a Periods,
    hours: &'a [Bar],
    days: &'a [Bar],
    as_of: Timestamp,
}

impl<'a> From<&'a JobStatistics> for Told<'a> {
    fn from(it: &'a JobStatistics) -> Self {
        Self { periods: &it.periods, hours: &it.hours, days: &it.days, as_of: it.as_of }
    }
}

impl<'a> From<&'a ClientStatistics> for Told<'a> {
    fn from(it: &'a ClientStatistics) -> Self {
        Self { periods: &it.periods, hours: &it.hours, days: &it.days, as_of: it.as_of }
    }
}

/// Writes a table of the periods, and the last hours and days as one mark each. Nothing of a job or
/// a client of which nothing was counted.
pub(super) fn write(out: &Out, told: &Told<'_>) -> Result<(), CliError> {
    let Told { periods, hours, days, as_of } = told;
    let any = |bars: &[Bar]| bars.iter().any(|bar| bar.succeeded + bar.others > 0);
    let week = &periods.week;
    if week.deliveries == 0 && week.runs.is_none_or(|runs| runs.fired == 0) && !any(days) {
        return Ok(());
    }
    out.line("")?;
    out.table(&headings(week), rows(periods))?;
    out.line("")?;
    let mut lines: Vec<(&str, Field)> = Vec::new();
    for (succeeded, others, bars) in [
        ("24 h, succeeded", "24 h, otherwise", hours),
        ("30 d, succeeded", "30 d, otherwise", days),
    ] {
        lines.push((succeeded, Field::toned(marks(out, bars, |bar| bar.succeeded), Tone::Good)));
        lines.push((others, Field::toned(marks(out, bars, |bar| bar.others), Tone::Bad)));
    }
    // Within a second it is now.
    if out.now.since(*as_of).as_secs() > 0 {
        lines.push(("counted until", moment(*as_of, out.now).into()));
    }
    out.pairs(lines)
}

fn headings(period: &Period) -> Vec<&'static str> {
    let mut headings = vec!["LAST"];
    if period.runs.is_some() {
        headings.extend(["RUNS", "FIRED LATE"]);
    }
    headings.extend(["DELIVERIES", "SUCCEEDED", "RAN", "RECORDED LATE", "OTHERWISE"]);
    headings
}

fn rows(periods: &Periods) -> Vec<Vec<Field>> {
    let of = [("hour", &periods.hour), ("day", &periods.day), ("week", &periods.week)];
    of.map(|(name, period)| row(name, period)).into()
}

fn row(name: &str, period: &Period) -> Vec<Field> {
    let mut row: Vec<Field> = vec![name.into()];
    if let Some(runs) = period.runs {
        row.push(runs.fired.to_string().into());
        row.push(times(period.times.fired_late_ms).into());
    }
    row.push(period.deliveries.to_string().into());
    row.push(rate(period));
    row.push(times(period.times.ran_ms).into());
    row.push(times(period.times.recorded_late_ms).into());
    let others = period.states.iter().filter(|(state, _)| **state != DeliveryState::Succeeded);
    let mut others: Vec<String> = others.map(|(state, count)| format!("{count} {state}")).collect();
    if period.retried > 0 {
        others.push(format!("{} tried again", period.retried));
    }
    row.push(if others.is_empty() { NOTHING.into() } else { others.join(", ").into() });
    row
}

/// The share that succeeded; one that is not all is never told as all.
fn rate(period: &Period) -> Field {
    let Some(rate) = period.success_rate else { return NOTHING.into() };
    if rate >= 1.0 {
        return Field::toned("100 %", Tone::Good);
    }
    let text = format!("{:.1} %", (rate * 1_000.0).floor() / 10.0);
    Field::toned(text, Tone::Bad)
}

/// The four times of a measurement, as `p50 p95 p99 max`.
fn times(times: Option<Quantiles>) -> String {
    times.map_or_else(
        || NOTHING.to_owned(),
        |Quantiles { p50, p95, p99, max, .. }| [p50, p95, p99, max].map(ran).join(" "),
    )
}

/// One mark for each hour or day, the latest last.
fn marks(out: &Out, bars: &[Bar], value: impl Fn(&Bar) -> u64) -> String {
    let marks = if out.has_blocks() { &BLOCKS } else { &ASCII };
    let most = bars.iter().map(&value).max().unwrap_or(0);
    let line: String = bars.iter().map(|bar| marks.of(value(bar), most)).collect();
    format!("{line}  at most {most}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Statistics;
    use std::time::Duration;

    #[test]
    fn a_period_is_told_in_a_row() {
        let mut statistics = Statistics::default();
        statistics.add_fired(Duration::from_millis(2));
        for n in 0..1_000 {
            let state = if n == 0 { DeliveryState::Failed } else { DeliveryState::Succeeded };
            statistics.add_delivery(state, Duration::from_millis(5), Some(1_500));
        }
        statistics.retried = 2;
        let of = |with_runs| {
            let period = Period::of(Timestamp::from_millis(0), &statistics, with_runs);
            let cells = row("hour", &period);
            assert_eq!(cells.len(), headings(&period).len());
            format!("{cells:?}")
        };
        let told = of(true);
        for part in ["\"99.9 %\"", "2ms 2ms 2ms 2ms", "1 failed, 2 tried again", "1.5s 1.5s"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!of(false).contains("2ms 2ms"), "a client has no runs");
    }

    #[test]
    fn nearly_all_is_not_all() {
        let rate_of = |failed: u32, all: u32| {
            let mut statistics = Statistics::default();
            for n in 0..all {
                let state =
                    if n < failed { DeliveryState::Failed } else { DeliveryState::Succeeded };
                statistics.add_delivery(state, Duration::ZERO, None);
            }
            format!("{:?}", rate(&Period::of(Timestamp::from_millis(0), &statistics, false)))
        };
        assert!(rate_of(1, 100_000).contains("99.9 %"));
        assert!(rate_of(0, 3).contains("100 %"));
        assert!(rate_of(3, 3).contains("\"0.0 %\""));
    }
}
