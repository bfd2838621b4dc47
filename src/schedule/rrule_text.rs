//! Reading recurrence rules of RFC 5545, with errors that name the part and its value.
//!
//! Promises: what is read keeps to the table of section 3.3.10 and is written back in one form.
//! Imports [`super::rrule_set`] and suggestions.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{NaiveDate, NaiveDateTime, Weekday};

use super::cron_text::shown;
use super::rrule_set::{ByDay, Freq, Parts};
use crate::suggest;

/// The longest recurrence rule, in bytes.
pub const MAX_RRULE: usize = 1_024;

/// The longest interval, in periods: 100 years of days.
pub const MAX_INTERVAL: u32 = 36_525;

/// The parts, in the order in which they are written.
const PARTS: [&str; 14] = [
    "FREQ",
    "INTERVAL",
    "BYMONTH",
    "BYWEEKNO",
    "BYYEARDAY",
    "BYMONTHDAY",
    "BYDAY",
    "BYHOUR",
    "BYMINUTE",
    "BYSECOND",
    "BYSETPOS",
    "WKST",
    "UNTIL",
    "COUNT",
];

/// What stands beside a recurrence rule in a calendar, and what says the same here.
const PROPERTIES: [(&str, &str); 5] = [
    ("DTSTART", "write it as from"),
    ("TZID", "write it as time_zone"),
    ("EXDATE", "write exclude = { dates = […] } beside rrule"),
    ("EXRULE", "write exclude or within beside rrule"),
    ("RDATE", "write a list of rules, with at for single moments"),
];

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("MO", Weekday::Mon),
    ("TU", Weekday::Tue),
    ("WE", Weekday::Wed),
    ("TH", Weekday::Thu),
    ("FR", Weekday::Fri),
    ("SA", Weekday::Sat),
    ("SU", Weekday::Sun),
];

/// The last occurrence, as far as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    None,
    Count(u32),
    /// The whole day is part of it.
    UntilDay(NaiveDate),
    UntilLocal(NaiveDateTime),
    UntilUtc(NaiveDateTime),
}

/// A recurrence rule as it is written; in `parts`, what is not written is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) interval: u32,
    pub(super) parts: Parts,
    pub(super) limit: Limit,
}

impl Written {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.len() > MAX_RRULE {
            return Err(format!("it has {} bytes; the most is {MAX_RRULE}", text.len()));
        }
        let values = split(text)?;
        let freq = frequency(&values)?;
        let numbers = |name, range| numbers(&values, name, range);
        let parts = Parts {
            freq,
            week_start: week_start(&values)?,
            months: numbers("BYMONTH", 1..=12)?,
            week_numbers: numbers("BYWEEKNO", -53..=53)?,
            year_days: numbers("BYYEARDAY", -366..=366)?,
            month_days: numbers("BYMONTHDAY", -31..=31)?,
            days: by_day(&values)?,
            hours: bits(&numbers("BYHOUR", 0..=23)?),
            minutes: bits(&numbers("BYMINUTE", 0..=59)?),
            seconds: bits(&numbers("BYSECOND", 0..=59)?),
            positions: numbers("BYSETPOS", -366..=366)?,
        };
        check(&values, &parts)?;
        Ok(Self { interval: interval(&values)?, parts, limit: limit(&values)? })
    }
}

type Values<'a> = BTreeMap<&'static str, &'a str>;

fn split(text: &str) -> Result<Values<'_>, String> {
    let text = text.trim();
    let text = match text.split_at_checked(6) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("RRULE:") => rest,
        _ => text,
    };
    if text.is_empty() {
        return Err("it is empty; write one such as FREQ=MONTHLY;BYDAY=2TU".into());
    }
    refuse_properties(text)?;
    let mut values = Values::new();
    for part in text.split(';') {
        let Some((name, value)) = part.split_once('=') else {
            return Err(if part.is_empty() {
                "a part is empty: there is a ; too many".into()
            } else {
                format!("part {part:?} has no value; write NAME=VALUE")
            });
        };
        let Some(known) = PARTS.iter().find(|known| known.eq_ignore_ascii_case(name)) else {
            let nearest = suggest::nearest(name, PARTS.into_iter());
            let hint = nearest.map_or_else(
                || format!("; known are {}", PARTS.join(", ")),
                |nearest| suggest::hint(Some(&nearest)),
            );
            return Err(format!("{name:?} is not a known part{hint}"));
        };
        if value.is_empty() {
            return Err(format!("{known} has no value"));
        }
        if values.insert(known, value).is_some() {
            return Err(format!("{known} is written twice"));
        }
    }
    Ok(values)
}

/// Properties of a calendar stand on their own lines, or where somebody took them for parts.
fn refuse_properties(text: &str) -> Result<(), String> {
    for word in text.split(['\r', '\n', ';']) {
        let name = word.split([':', '=']).next().unwrap_or_default().trim();
        if let Some((name, instead)) = PROPERTIES.iter().find(|(p, _)| p.eq_ignore_ascii_case(name))
        {
            return Err(format!("{name} is not a part of it; {instead}"));
        }
    }
    if text.contains(['\r', '\n']) {
        return Err("it has several lines; write one rule, or a list of rules".into());
    }
    Ok(())
}

fn frequency(values: &Values<'_>) -> Result<Freq, String> {
    let Some(value) = values.get("FREQ") else {
        return Err("FREQ is missing; write FREQ=DAILY, WEEKLY, MONTHLY or YEARLY".into());
    };
    if let Some((_, freq)) = Freq::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(value)) {
        return Ok(*freq);
    }
    let short = ["HOURLY", "MINUTELY", "SECONDLY"];
    Err(if short.iter().any(|name| name.eq_ignore_ascii_case(value)) {
        format!("FREQ={value} is shorter than a day; write every or cron instead")
    } else {
        format!("FREQ={value} is not valid; write DAILY, WEEKLY, MONTHLY or YEARLY")
    })
}

fn number(text: &str) -> Option<i32> {
    // The standard allows five digits at most, and no sign but one.
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// The numbers of a part, sorted; none when it is not written.
fn numbers(
    values: &Values<'_>,
    name: &str,
    range: std::ops::RangeInclusive<i32>,
) -> Result<Vec<i32>, String> {
    let Some(value) = values.get(name) else { return Ok(Vec::new()) };
    let (low, high) = range.clone().into_inner();
    let signed = low < 0;
    let mut found = Vec::new();
    for item in value.split(',') {
        let sign_fits = signed || !item.starts_with(['+', '-']);
        let number =
            number(item).filter(|n| sign_fits && range.contains(n) && (!signed || *n != 0));
        found.push(number.ok_or_else(|| {
            let range = if signed {
                format!("1 to {high} or -1 to {low}")
            } else {
                format!("{low} to {high}")
            };
            format!("{name} has {item:?}; write numbers of {range}, with commas between")
        })?);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn bits(numbers: &[i32]) -> u64 {
    numbers.iter().fold(0, |set, number| set | 1 << number)
}

fn weekday(text: &str) -> Option<Weekday> {
    let found = WEEKDAYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, weekday)| *weekday)
}

fn weekday_name(weekday: Weekday) -> &'static str {
    WEEKDAYS[weekday.num_days_from_monday() as usize].0
}

fn week_start(values: &Values<'_>) -> Result<Weekday, String> {
    let Some(value) = values.get("WKST") else { return Ok(Weekday::Mon) };
    weekday(value).ok_or_else(|| format!("WKST={value} is not valid; write MO, TU, … SU"))
}

fn by_day(values: &Values<'_>) -> Result<Vec<ByDay>, String> {
    let Some(value) = values.get("BYDAY") else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for item in value.split(',') {
        let (nth, name) = item.split_at(item.find(|c: char| c.is_alphabetic()).unwrap_or(0));
        let day = weekday(name).and_then(|weekday| {
            if nth.is_empty() {
                return Some(ByDay { nth: None, weekday });
            }
            let nth = number(nth).filter(|nth| *nth != 0 && nth.abs() <= 53)?;
            Some(ByDay { nth: Some(nth), weekday })
        });
        found.push(day.ok_or_else(|| {
            format!("BYDAY has {item:?}; write days such as MO, 2TU or -1FR, with commas between")
        })?);
    }
    found.sort_by_key(|day| (day.nth, day.weekday.num_days_from_monday()));
    found.dedup();
    Ok(found)
}

/// What the standard does not allow together.
fn check(values: &Values<'_>, parts: &Parts) -> Result<(), String> {
    let freq = parts.freq;
    let written = |name: &str| values.contains_key(name);
    let allowed = [
        ("BYWEEKNO", freq == Freq::Yearly),
        ("BYYEARDAY", freq == Freq::Yearly),
        ("BYMONTHDAY", freq != Freq::Weekly),
    ];
    if let Some((name, _)) = allowed.iter().find(|(name, allowed)| !allowed && written(name)) {
        return Err(format!("{name} does not go with FREQ={}", freq.name()));
    }
    if let Some(nth) = parts.days.iter().filter_map(|day| day.nth).max_by_key(|nth| nth.abs()) {
        let value = values.get("BYDAY").copied().unwrap_or_default();
        let problem = if matches!(freq, Freq::Daily | Freq::Weekly) {
            format!("needs FREQ=MONTHLY or YEARLY, not {}", freq.name())
        } else if written("BYWEEKNO") {
            "does not go with BYWEEKNO".into()
        } else if nth.abs() > 5 && (freq == Freq::Monthly || written("BYMONTH")) {
            "counts within a month; write 1 to 5 or -1 to -5".into()
        } else {
            return check_positions(parts);
        };
        return Err(format!("BYDAY={value}: a weekday with a number {problem}"));
    }
    check_positions(parts)
}

fn check_positions(parts: &Parts) -> Result<(), String> {
    let Parts { months, week_numbers, year_days, month_days, .. } = parts;
    let lists = [months, week_numbers, year_days, month_days];
    let times = [parts.hours, parts.minutes, parts.seconds];
    let none = parts.days.is_empty()
        && lists.iter().all(|list| list.is_empty())
        && times.iter().all(|set| *set == 0);
    if none && !parts.positions.is_empty() {
        return Err("BYSETPOS needs another BY part to pick from".into());
    }
    Ok(())
}

fn interval(values: &Values<'_>) -> Result<u32, String> {
    let Some(value) = values.get("INTERVAL") else { return Ok(1) };
    whole(value, MAX_INTERVAL)
        .ok_or_else(|| format!("INTERVAL={value} is not valid; write 1 to {MAX_INTERVAL}"))
}

fn whole(text: &str, most: u32) -> Option<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|number| (1..=most).contains(number))
}

fn limit(values: &Values<'_>) -> Result<Limit, String> {
    match (values.get("UNTIL"), values.get("COUNT")) {
        (None, None) => Ok(Limit::None),
        (Some(until), Some(count)) => {
            Err(format!("UNTIL={until} and COUNT={count} do not go together; write one of them"))
        }
        (None, Some(count)) => whole(count, u32::MAX)
            .map(Limit::Count)
            .ok_or_else(|| format!("COUNT={count} is not valid; write 1 to {}", u32::MAX)),
        (Some(until), None) => read_until(until).ok_or_else(|| {
            format!(
                "UNTIL={until} is not valid; write a day such as 20261224, or a time such as \
                 20261224T170000 (local) or 20261224T170000Z (UTC)"
            )
        }),
    }
}

fn read_until(text: &str) -> Option<Limit> {
    let upper = text.to_ascii_uppercase();
    let (local, utc) = match upper.strip_suffix('Z') {
        Some(local) => (local, true),
        None => (upper.as_str(), false),
    };
    if !local.bytes().all(|b| b.is_ascii_digit() || b == b'T') {
        return None;
    }
    if local.len() == 8 && !utc {
        return NaiveDate::parse_from_str(local, "%Y%m%d").ok().map(Limit::UntilDay);
    }
    let at = NaiveDateTime::parse_from_str(local, "%Y%m%dT%H%M%S").ok();
    // chrono reads a leap second, which no wall of ours shows.
    let at = at.filter(|at| local.len() == 15 && at.and_utc().timestamp_subsec_nanos() == 0)?;
    Some(if utc { Limit::UntilUtc(at) } else { Limit::UntilLocal(at) })
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interval, parts, limit } = self;
        write!(f, "FREQ={}", parts.freq.name())?;
        if *interval != 1 {
            write!(f, ";INTERVAL={interval}")?;
        }
        let set = |bits: u64| (0..60).filter(move |bit| bits & (1 << bit) != 0).collect();
        let days = |day: &ByDay| {
            let nth = day.nth.map(|nth| nth.to_string()).unwrap_or_default();
            nth + weekday_name(day.weekday)
        };
        let days: Vec<String> = parts.days.iter().map(days).collect();
        write_list(f, "BYMONTH", &parts.months)?;
        write_list(f, "BYWEEKNO", &parts.week_numbers)?;
        write_list(f, "BYYEARDAY", &parts.year_days)?;
        write_list(f, "BYMONTHDAY", &parts.month_days)?;
        write_list(f, "BYDAY", &days)?;
        write_list::<i32>(f, "BYHOUR", &set(parts.hours))?;
        write_list::<i32>(f, "BYMINUTE", &set(parts.minutes))?;
        write_list::<i32>(f, "BYSECOND", &set(parts.seconds))?;
        write_list(f, "BYSETPOS", &parts.positions)?;
        if parts.week_start != Weekday::Mon {
            write!(f, ";WKST={}", weekday_name(parts.week_start))?;
        }
        match limit {
            Limit::None => Ok(()),
            Limit::Count(count) => write!(f, ";COUNT={count}"),
            Limit::UntilDay(day) => write!(f, ";UNTIL={}", day.format("%Y%m%d")),
            Limit::UntilLocal(at) => write!(f, ";UNTIL={}", at.format("%Y%m%dT%H%M%S")),
            Limit::UntilUtc(at) => write!(f, ";UNTIL={}", at.format("%Y%m%dT%H%M%SZ")),
        }
    }
}

#[expect(clippy::ptr_arg, reason = "callers collect into it")]
fn write_list<T: ToString>(f: &mut fmt::Formatter<'_>, name: &str, items: &Vec<T>) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    write!(f, ";{name}={}", items.join(","))
}

/// Refuses with the beginning of what was written.
pub(super) fn quoted(text: &str) -> String {
    shown(text)
}
