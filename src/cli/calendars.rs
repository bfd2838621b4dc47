//! `fleetcron calendars`: the days that jobs leave out by name. They are set by `apply`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::args::{Global, LIST_LIMIT};
use super::connect::{connect, read_all};
use super::error::CliError;
use super::jobs::each;
use super::output::{Field, NOTHING, Out, moment, note, relative};
use super::{Done, Verdict};
use crate::calendar::CalendarView;
use crate::id::CalendarName;
use crate::remote::Remote;
use crate::time::Timestamp;

/// Dates and ranges of dates that the list shows of a calendar, at most.
const DATES_LISTED: usize = 3;

/// The arguments of `calendars`.
#[derive(Debug, Args)]
pub(super) struct CalendarsArgs {
    #[command(flatten)]
    list: ListArgs,
    #[command(subcommand)]
    command: Option<CalendarsCommand>,
}

/// The arguments of `calendars list`.
#[derive(Debug, Default, PartialEq, Args)]
struct ListArgs {
    /// Show at most so many. Default: 1000.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Subcommand)]
enum CalendarsCommand {
    /// List calendars in the order of their names.
    List(ListArgs),
    /// Show one calendar.
    Show {
        /// The calendar's name.
        name: CalendarName,
    },
    /// Remove calendars that no job uses.
    Remove {
        /// The calendars' names.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<CalendarName>,
    },
}

pub(super) async fn execute(args: CalendarsArgs, global: &Global) -> Done {
    let out = Out::new(global);
    let command = match args.command {
        None => CalendarsCommand::List(args.list),
        Some(_) if args.list != ListArgs::default() => {
            return Err(CliError::Usage("--limit belongs after: calendars list".to_owned()));
        }
        Some(command) => command,
    };
    let remote = connect(global)?;
    match command {
        CalendarsCommand::List(args) => list(&out, &remote, args).await?,
        CalendarsCommand::Show { name } => show_one(&out, &remote.calendar(name).await?)?,
        CalendarsCommand::Remove { names } => {
            each(names, async |name| remove(&out, &remote, name).await).await?;
        }
    }
    Ok(Verdict::Succeeded)
}

async fn remove(out: &Out, remote: &Remote, name: CalendarName) -> Result<(), CliError> {
    remote.remove_calendar(name.clone()).await?;
    if out.is_json() {
        out.json(&json!({ "removed": name }))
    } else {
        out.line(&format!("removed {name}"))
    }
}

async fn list(out: &Out, remote: &Remote, args: ListArgs) -> Result<(), CliError> {
    let limit = args.limit.unwrap_or(LIST_LIMIT);
    let read = async |page| remote.calendars(page).await;
    let key = |view: &CalendarView| view.record.spec.name().clone();
    let (calendars, more) = read_all(limit, key, read).await?;
    if out.is_json() {
        out.json(&calendars)?;
    } else {
        let headings = ["NAME", "JOBS", "CHANGED", "DAYS", "DESCRIPTION"];
        out.table(&headings, calendars.iter().map(|view| row(view, out.now)).collect())?;
    }
    if calendars.is_empty() {
        note("no calendars");
    }
    if more {
        note(&format!("there are more than {limit} calendars; --limit shows more"));
    }
    Ok(())
}

fn row(view: &CalendarView, now: Timestamp) -> Vec<Field> {
    let spec = &view.record.spec;
    vec![
        spec.name().as_str().into(),
        view.jobs.to_string().into(),
        relative(view.record.updated_at, now).into(),
        days(view).into(),
        spec.description().unwrap_or(NOTHING).into(),
    ]
}

/// The days in a few words.
fn days(view: &CalendarView) -> String {
    let days = view.record.spec.days();
    let dates = days.dates().iter().take(DATES_LISTED).map(ToString::to_string);
    let more = days.dates().len().saturating_sub(DATES_LISTED);
    let more = (more > 0).then(|| format!("{more} more"));
    let weekdays = Vec::from(days.weekdays());
    weekdays.into_iter().chain(dates).chain(more).collect::<Vec<_>>().join(", ")
}

fn show_one(out: &Out, view: &CalendarView) -> Result<(), CliError> {
    if out.is_json() {
        return out.json(view);
    }
    let record = &view.record;
    let (spec, days) = (&record.spec, record.spec.days());
    let mut pairs: Vec<(&str, Field)> = vec![("name", spec.name().as_str().into())];
    pairs.extend(spec.description().map(|text| ("description", text.into())));
    if !days.weekdays().is_empty() {
        pairs.push(("weekdays", days.weekdays().to_string().into()));
    }
    // One a line: the first beside its name, the others below it.
    for (place, range) in days.dates().iter().enumerate() {
        pairs.push((if place == 0 { "dates" } else { "" }, range.to_string().into()));
    }
    pairs.push(("jobs", view.jobs.to_string().into()));
    let changed = moment(record.updated_at, out.now);
    pairs.push(("revision", format!("{}, {changed}", record.revision).into()));
    out.pairs(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_dates_are_listed_in_part() {
        let view = |dates: &[&str]| -> CalendarView {
            let spec = json!({ "name": "se", "dates": dates, "weekdays": ["sun"] });
            let at = "2026-11-22T06:00:00Z";
            let view = json!({ "revision": 1, "updated_at": at, "spec": spec, "jobs": 2 });
            serde_json::from_value(view).unwrap()
        };
        let dates = ["2026-12-24..2026-12-26", "2027-01-01", "2027-01-06", "2027-03-26"];
        assert_eq!(days(&view(&dates[..1])), "sun, 2026-12-24..2026-12-26");
        let listed = "sun, 2026-12-24..2026-12-26, 2027-01-01, 2027-01-06, 1 more";
        assert_eq!(days(&view(&dates)), listed);
    }
}
