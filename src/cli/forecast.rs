//! `fleetcron forecast` and `fleetcron jobs next`: what is to come.

use std::time::Duration;

use clap::Args;

use super::args::Global;
use super::connect::connect;
use super::error::CliError;
use super::heat::{self, ASCII, BLOCKS};
use super::output::{Field, NOTHING, Out, moment, note, relative};
use super::{Done, Verdict};
use crate::forecast::{
    Bucket, DEFAULT_NEXT, Firing, Forecast, ForecastQuery, MAX_LISTED, MAX_NEXT, NextFirings,
};
use crate::id::JobName;
use crate::remote::Remote;
use crate::target::Target;
use crate::time::{Timestamp, duration};

/// The arguments of `forecast`.
#[derive(Debug, Args)]
pub(super) struct ForecastArgs {
    /// From when on, RFC 3339 with an offset. Default: now.
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// How long a span, at most 366 days.
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = duration::parse)]
    span: Duration,
    /// Only what reaches this target: all, group:NAME or client:ID.
    #[arg(long)]
    target: Option<Target>,
    /// Only jobs whose names begin so.
    #[arg(long)]
    prefix: Option<JobName>,
    /// List so many of the firings, at most 10000.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_NEXT, value_parser = listed)]
    limit: usize,
}

/// The arguments of `jobs next`.
#[derive(Debug, Args)]
pub(super) struct NextArgs {
    /// The job's name.
    name: JobName,
    /// How many firings, at most 1000.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_NEXT, value_parser = counted)]
    count: usize,
}

fn listed(text: &str) -> Result<usize, String> {
    number(text, MAX_LISTED)
}

fn counted(text: &str) -> Result<usize, String> {
    number(text, MAX_NEXT)
}

fn number(text: &str, most: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("write a number from 1 to {most}")),
    }
}

pub(super) async fn execute(args: ForecastArgs, global: &Global) -> Done {
    let out = Out::new(global);
    let from = args.from.unwrap_or(out.now);
    if args.span.is_zero() {
        return Err(CliError::Usage("--for 0s is no span: write 24h or 7days".to_owned()));
    }
    let query = ForecastQuery {
        from: Some(from),
        to: Some(from.plus(args.span)),
        target: args.target,
        prefix: args.prefix,
        limit: Some(args.limit),
    };
    let forecast = connect(global)?.forecast(query).await?;
    if out.is_json() {
        out.json(&forecast)?;
    } else {
        show(&out, &forecast)?;
    }
    tell(&forecast);
    Ok(Verdict::Succeeded)
}

fn show(out: &Out, forecast: &Forecast) -> Result<(), CliError> {
    if forecast.total.firings == 0 {
        return Ok(());
    }
    // Nobody may be defined yet: then firings are all that there is to see.
    let (unit, value): (_, fn(&Bucket) -> u64) = match forecast.total.deliveries {
        0 => ("firings", |bucket| bucket.load.firings),
        _ => ("deliveries", |bucket| bucket.load.deliveries),
    };
    let marks = if out.has_blocks() { &BLOCKS } else { &ASCII };
    for row in heat::rows(&forecast.buckets, forecast.bucket, marks, unit, value) {
        out.line(&row)?;
    }
    out.line("")?;
    let busiest = forecast.busiest.iter().map(|minute| busy(minute, out.now)).collect();
    out.table(&["BUSIEST MINUTE", "IN", "FIRINGS", "DELIVERIES"], busiest)?;
    out.line("")?;
    let rows = forecast.firings.iter().map(|firing| row(firing, out.now)).collect();
    out.table(&["NEXT", "IN", "LOCAL", "DELIVERIES", "TARGET", "JOB"], rows)
}

fn busy(minute: &Bucket, now: Timestamp) -> Vec<Field> {
    vec![
        utc(minute.at, "%Y-%m-%d %H:%MZ").into(),
        relative(minute.at, now).into(),
        minute.load.firings.to_string().into(),
        minute.load.deliveries.to_string().into(),
    ]
}

fn row(firing: &Firing, now: Timestamp) -> Vec<Field> {
    vec![
        utc(firing.at, "%Y-%m-%d %H:%M:%SZ").into(),
        relative(firing.at, now).into(),
        local(firing.at, firing.time_zone.as_deref()).into(),
        firing.deliveries.to_string().into(),
        firing.target.to_string().into(),
        firing.job.as_str().into(),
    ]
}

/// What is no result, but to be known.
fn tell(forecast: &Forecast) {
    let Forecast { from, to, total, jobs, .. } = forecast;
    note(&format!(
        "{} firings of {jobs} jobs with {} deliveries, from {from} to {to}",
        total.firings, total.deliveries
    ));
    if forecast.paused > 0 {
        note(&format!("left out: {} paused jobs", forecast.paused));
    }
    if let Some(cut) = &forecast.cut {
        note(&format!("warning: nothing is told of {} and later: {}", cut.at, cut.reason));
    }
}

pub(super) async fn next(out: &Out, remote: &Remote, args: NextArgs) -> Result<(), CliError> {
    let next = remote.next_firings(args.name, args.count).await?;
    if out.is_json() {
        out.json(&next)?;
    } else {
        let NextFirings { time_zone, firings, .. } = &next;
        let row = |at: &Timestamp| {
            let mut row: Vec<Field> =
                vec![utc(*at, "%Y-%m-%d %H:%M:%S%.3fZ").into(), relative(*at, out.now).into()];
            row.extend(time_zone.as_ref().map(|zone| local(*at, Some(zone)).into()));
            row
        };
        let headings = &["NEXT", "IN", "LOCAL"][..if time_zone.is_some() { 3 } else { 2 }];
        out.table(headings, firings.iter().map(row).collect())?;
    }
    let job = &next.job;
    if let Some(at) = next.paused_at {
        let since = moment(at, out.now);
        note(&format!("job {job} is paused since {since}: this is what it would fire if resumed"));
    }
    if next.firings.len() < args.count {
        let then = if next.firings.is_empty() { "it fires no more" } else { "then its rule ends" };
        note(&format!("job {job}: {then}"));
    }
    Ok(())
}

fn utc(at: Timestamp, format: &str) -> String {
    at.to_chrono().map_or_else(|| at.to_string(), |utc| utc.format(format).to_string())
}

/// A moment on the wall clocks of a zone, with the zone's name; nothing for UTC.
fn local(at: Timestamp, zone: Option<&str>) -> String {
    let known = zone.filter(|zone| *zone != "UTC").and_then(|zone| zone.parse().ok());
    match (at.to_chrono(), known) {
        (Some(utc), Some(zone)) => {
            let zone: chrono_tz::Tz = zone;
            format!("{} {zone}", utc.with_timezone(&zone).format("%a %m-%d %H:%M:%S"))
        }
        _ => NOTHING.to_owned(),
    }
}

/// A moment as a list of a few has it: seconds, and no more.
pub(super) fn short(at: Timestamp) -> String {
    utc(at, "%Y-%m-%d %H:%M:%SZ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_times_are_told_where_there_is_a_zone() {
        let at = "2026-07-01T22:30:00Z".parse().unwrap();
        assert_eq!(local(at, Some("Europe/Stockholm")), "Thu 07-02 00:30:00 Europe/Stockholm");
        assert_eq!((local(at, Some("UTC")), local(at, None)), ("-".into(), "-".into()));
    }

    #[test]
    fn numbers_are_within_their_limits() {
        assert_eq!((number("1", 10), number("10", 10)), (Ok(1), Ok(10)));
        for text in ["0", "11", "-1", "few", ""] {
            assert_eq!(number(text, 10), Err("write a number from 1 to 10".to_owned()), "{text}");
        }
    }
}
