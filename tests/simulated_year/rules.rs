//! What a rule means, written down a second time and as plainly as it goes: every wall clock time
//! of every day is taken in turn and looked up in a table of its zone's offsets.
//!
//! Nothing here asks the scheduler. All times are milliseconds since 1970.

use chrono::{DateTime, Datelike, NaiveDate, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;
use fleetcron::schedule::When;
use fleetcron::{Rule, Timestamp};

pub(crate) const SECOND: i64 = 1_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// 2026-01-01T00:00:00Z.
pub(crate) const YEAR_START: i64 = 1_767_225_600_000;
pub(crate) const YEAR_END: i64 = YEAR_START + 365 * DAY;

/// Beyond the year on both sides: a jump may end after it.
const TABLE_START: i64 = YEAR_START - 10 * DAY;
const TABLE_END: i64 = YEAR_END + 10 * DAY;

/// The last moment of which the model knows the occurrences.
pub(crate) const HORIZON: i64 = TABLE_END - 2 * DAY;

/// Forty zones of all continents: with and without clock changes, by an hour, by half an hour,
/// and in Casablanca and El Aaiun backwards around Ramadan.
pub(crate) const ZONES: [&str; 40] = [
    "UTC",
    "Europe/Stockholm",
    "Europe/London",
    "Europe/Dublin",
    "Europe/Lisbon",
    "Europe/Athens",
    "Europe/Chisinau",
    "Europe/Moscow",
    "Europe/Istanbul",
    "Atlantic/Azores",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/El_Aaiun",
    "Africa/Lagos",
    "Africa/Nairobi",
    "Africa/Johannesburg",
    "Asia/Beirut",
    "Asia/Jerusalem",
    "Asia/Tehran",
    "Asia/Dubai",
    "Asia/Karachi",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Australia/Perth",
    "Australia/Eucla",
    "Australia/Adelaide",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Apia",
    "America/New_York",
    "America/Chicago",
    "America/St_Johns",
    "America/Havana",
    "America/Santiago",
    "America/Asuncion",
    "America/Sao_Paulo",
];

/// A zone's offsets: one span for each time between two changes.
pub(crate) struct Zone {
    pub(crate) name: &'static str,
    spans: Vec<Span>,
}

struct Span {
    from: i64,
    until: i64,
    offset: i64,
}

impl Zone {
    /// Looks at every day, and for the minute of a change where two days differ.
    pub(crate) fn new(name: &'static str) -> Self {
        let tz: Tz = name.parse().unwrap();
        let offset = |at: i64| {
            let at = DateTime::from_timestamp_millis(at).unwrap().naive_utc();
            i64::from(tz.offset_from_utc_datetime(&at).fix().local_minus_utc()) * SECOND
        };
        let mut spans = vec![Span { from: TABLE_START, until: 0, offset: offset(TABLE_START) }];
        let mut day = TABLE_START;
        while day < TABLE_END {
            let (before, after) = (offset(day), offset(day + DAY));
            if before != after {
                let mut change = day;
                while offset(change) == before {
                    change += MINUTE;
                }
                spans.last_mut().unwrap().until = change;
                spans.push(Span { from: change, until: 0, offset: after });
            }
            day += DAY;
        }
        spans.last_mut().unwrap().until = TABLE_END;
        Self { name, spans }
    }

    /// The moments of the year at which the clock changes.
    pub(crate) fn changes(&self) -> Vec<i64> {
        let changes = self.spans.iter().skip(1).map(|span| span.from);
        changes.filter(|at| (YEAR_START..YEAR_END).contains(at)).collect()
    }

    /// The instants at which the wall clock shows `wall`: none, one or two.
    fn instants(&self, wall: i64) -> Vec<i64> {
        let instants = self.spans.iter().map(|span| (span, wall - span.offset));
        instants.filter(|(span, at)| (span.from..span.until).contains(at)).map(|it| it.1).collect()
    }

    /// The first instant after the gap in which `wall` lies, if it lies in one.
    fn after_gap(&self, wall: i64) -> Option<i64> {
        let mut pairs = self.spans.windows(2);
        let gap = |pair: &&[Span]| {
            wall - pair[0].offset >= pair[0].until && wall - pair[1].offset < pair[1].from
        };
        pairs.find(gap).map(|pair| pair[1].from)
    }
}

/// One field of a cron expression.
#[derive(Clone)]
pub(crate) struct Field {
    text: String,
    values: Vec<u32>,
}

impl Field {
    pub(crate) fn any(last: u32) -> Self {
        Self { text: "*".into(), values: (0..=last).collect() }
    }

    pub(crate) fn step(step: u32, last: u32) -> Self {
        let values = (0..=last).filter(|n| n % step == 0).collect();
        Self { text: format!("*/{step}"), values }
    }

    pub(crate) fn range(first: u32, last: u32) -> Self {
        Self { text: format!("{first}-{last}"), values: (first..=last).collect() }
    }

    pub(crate) fn list(values: &[u32]) -> Self {
        let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
        Self { text: texts.join(","), values: values.to_vec() }
    }

    fn is_any(&self) -> bool {
        self.text == "*"
    }
}

/// Minute, hour, day of month, day of week; the month is always `*`.
#[derive(Clone)]
pub(crate) struct Pattern {
    pub(crate) minute: Field,
    pub(crate) hour: Field,
    pub(crate) day: Field,
    pub(crate) weekday: Field,
}

impl Pattern {
    fn text(&self) -> String {
        let Self { minute, hour, day, weekday } = self;
        format!("{} {} {} * {}", minute.text, hour.text, day.text, weekday.text)
    }

    fn on(&self, date: NaiveDate) -> bool {
        let day = self.day.values.contains(&date.day());
        let weekday = self.weekday.values.contains(&date.weekday().num_days_from_sunday());
        match (self.day.is_any(), self.weekday.is_any()) {
            (true, true) => true,
            (true, false) => weekday,
            (false, true) => day,
            (false, false) => day || weekday,
        }
    }
}

/// The kind of a rule.
pub(crate) enum Kind {
    Now,
    At(i64),
    Every { period: i64, from: Option<i64> },
    Cron { pattern: Pattern, zone: usize },
}

/// A rule with its limits.
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) start: Option<i64>,
    pub(crate) end: Option<i64>,
    pub(crate) count: Option<usize>,
}

/// What clock changes did to the occurrences of cron rules.
#[derive(Debug, Default)]
pub(crate) struct ClockChanges {
    /// A fixed time that did not exist came after the gap.
    pub(crate) moved: usize,
    /// A time of an interval pattern that did not exist was left out.
    pub(crate) left_out: usize,
    /// A fixed time that came twice counted once.
    pub(crate) once: usize,
    /// A time of an interval pattern that came twice counted twice.
    pub(crate) twice: usize,
}

impl Plan {
    /// The rule as the scheduler takes it; `None` if nothing lies within its limits, which the
    /// scheduler refuses.
    pub(crate) fn rule(&self, zones: &[Zone]) -> Option<Rule> {
        let when = match &self.kind {
            Kind::Now => When::Now,
            Kind::At(at) => When::At(Timestamp::from_millis(*at)),
            Kind::Every { period, from } => {
                let period = std::time::Duration::from_millis(u64::try_from(*period).unwrap());
                When::Every { period, from: from.map(Timestamp::from_millis) }
            }
            Kind::Cron { pattern, zone } => {
                Rule::cron(&pattern.text(), zones[*zone].name).unwrap().when
            }
        };
        let start = self.start.map(Timestamp::from_millis);
        let end = self.end.map(Timestamp::from_millis);
        let count = self.count.map(|count| count as u64);
        Rule { when, start, end, count, filter: None }.checked().ok()
    }

    /// Every occurrence of a job that is created at the year's start, up to some days after its
    /// end.
    pub(crate) fn occurrences(&self, zones: &[Zone], changes: &mut ClockChanges) -> Vec<i64> {
        let first = self.start.unwrap_or(i64::MIN);
        let last = self.end.unwrap_or(i64::MAX).min(HORIZON);
        let all = match &self.kind {
            Kind::Now => vec![YEAR_START],
            Kind::At(at) => vec![*at],
            Kind::Every { period, from } => {
                let from = from.unwrap_or(YEAR_START);
                let moments = (0..).map(|n| from + n * period);
                let moments = moments.take_while(|at| *at <= last);
                moments.filter(|at| *at > YEAR_START).collect()
            }
            Kind::Cron { pattern, zone } => {
                let first = first.max(YEAR_START + 1);
                cron(pattern, &zones[*zone], first, last, changes)
            }
        };
        let within = all.into_iter().filter(|at| (first..=last).contains(at));
        within.take(self.count.unwrap_or(usize::MAX)).collect()
    }
}

fn cron(
    pattern: &Pattern,
    zone: &Zone,
    first: i64,
    last: i64,
    changes: &mut ClockChanges,
) -> Vec<i64> {
    let interval = pattern.minute.text.contains('*') || pattern.hour.text.contains('*');
    let date = |at: i64| DateTime::from_timestamp_millis(at).unwrap().date_naive();
    let mut day = date(first - DAY);
    let mut found = Vec::new();
    while day <= date(last + DAY) {
        let midnight = day.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp_millis();
        let hours = if pattern.on(day) { &pattern.hour.values[..] } else { &[] };
        for (hour, minute) in
            hours.iter().flat_map(|hour| pattern.minute.values.iter().map(move |m| (hour, m)))
        {
            let wall = midnight + i64::from(*hour) * HOUR + i64::from(*minute) * MINUTE;
            // Within the limits, give or take the hour of the change.
            let counts = usize::from((first..=last).contains(&(wall - zone.spans[0].offset)));
            match (zone.instants(wall)[..].as_ref(), interval) {
                ([at], _) => found.push(*at),
                ([], false) => {
                    changes.moved += counts;
                    found.extend(zone.after_gap(wall));
                }
                ([], true) => changes.left_out += counts,
                ([early, ..], false) => {
                    changes.once += counts;
                    found.push(*early);
                }
                (both, true) => {
                    changes.twice += counts;
                    found.extend(both);
                }
            }
        }
        day += TimeDelta::days(1);
    }
    found.sort_unstable();
    found.dedup();
    found.retain(|at| (first..=last).contains(at));
    found
}
