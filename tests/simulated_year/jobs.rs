//! A thousand random jobs.
//!
//! Most fire daily or weekly, or more often for a part of the year; many around the moments at
//! which their zone's clocks change. That keeps a year small enough to be checked as a whole.

use std::time::Duration;

use fleetcron::{CatchUp, JobName, JobSpec, Overlap, Target};

use crate::model;
use crate::random::Random;
use crate::rules::{
    ClockChanges, DAY, Field, HOUR, Kind, MINUTE, Pattern, Plan, SECOND, YEAR_START, ZONES, Zone,
};

pub(crate) const JOBS: usize = 1_000;

/// In the middle of the long row of [`LONG_ROW`] jobs, the server is down for a day and a half.
pub(crate) const LONG_OUTAGE: i64 = YEAR_START + 200 * DAY + 6 * HOUR;

/// Jobs that fire every minute of two days.
pub(crate) const LONG_ROW: usize = 3;

/// Jobs whose target is the client that is there; the others have nobody.
pub(crate) fn is_delivered(n: usize) -> bool {
    n.is_multiple_of(10)
}

pub(crate) fn name(n: usize) -> JobName {
    format!("job/{n}").parse().unwrap()
}

/// The jobs as the scheduler takes them, and as the model does.
pub(crate) fn random(
    random: &mut Random,
    changes: &mut ClockChanges,
) -> (Vec<JobSpec>, Vec<model::Job>) {
    let zones: Vec<Zone> = ZONES.iter().map(|name| Zone::new(name)).collect();
    let mut specs = Vec::new();
    let mut jobs = Vec::new();
    for n in 0..JOBS {
        let (plan, rule) = loop {
            let plan = if n < LONG_ROW { long_row() } else { plan(random, &zones, n) };
            if let Some(rule) = plan.rule(&zones) {
                break (plan, rule);
            }
        };
        let target = if is_delivered(n) { "client:worker" } else { "group:nobody" };
        let target: Target = target.parse().unwrap();
        let mut spec = JobSpec::new(name(n), target, "work".parse().unwrap(), rule);
        spec.overlap = Overlap::Allow;
        spec.catch_up = [CatchUp::All, CatchUp::Latest, CatchUp::Skip][n % 3];
        let window = if n < LONG_ROW { 3 * DAY } else { window(random) };
        spec.catch_up_window = Duration::from_millis(u64::try_from(window).unwrap());
        jobs.push(model::Job {
            occurrences: plan.occurrences(&zones, changes),
            catch_up: spec.catch_up,
            window,
            paused: false,
            dealt: 0,
            fired: Vec::new(),
            missed: Vec::new(),
        });
        specs.push(spec);
    }
    (specs, jobs)
}

fn window(random: &mut Random) -> i64 {
    match random.below(4) {
        0 => random.between(SECOND, HOUR),
        1 => random.between(HOUR, DAY),
        2 => DAY,
        _ => random.between(DAY, 30 * DAY),
    }
}

fn long_row() -> Plan {
    let start = Some(YEAR_START + 200 * DAY);
    let kind = Kind::Every { period: MINUTE, from: Some(YEAR_START) };
    Plan { kind, start, end: Some(YEAR_START + 202 * DAY), count: None }
}

fn plan(random: &mut Random, zones: &[Zone], n: usize) -> Plan {
    let zone = n % zones.len();
    match random.below(100) {
        0..2 => Plan { kind: Kind::Now, start: None, end: None, count: None },
        2..9 => {
            // A moment that has passed is caught up, or not.
            let days = if random.chance(20) { (-2, 0) } else { (0, 365) };
            let at = YEAR_START + random.between(days.0 * DAY, days.1 * DAY);
            Plan { kind: Kind::At(at), start: None, end: None, count: None }
        }
        9..24 => every(random),
        24..45 => weekly(random, zone),
        45..62 => daily(random, zone),
        62..72 => monthly(random, zone),
        72..88 => around_a_change(random, &zones[zone], |random| {
            let hour = [Field::range(0, 3), Field::list(&[1, 2]), Field::list(&[2])];
            let hour = random.pick(&hour).clone();
            let minute = [Field::list(&[0, 30]), Field::list(&[5]), Field::list(&[15, 45, 59])];
            (cron(zone, random.pick(&minute).clone(), hour), 4 * DAY)
        }),
        88..99 => around_a_change(random, &zones[zone], |random| {
            let steps = [Field::step(20, 59), Field::list(&[30]), Field::list(&[10, 45])];
            (cron(zone, random.pick(&steps).clone(), Field::any(23)), DAY)
        }),
        _ => around_a_change(random, &zones[zone], |_| {
            (cron(zone, Field::any(59), Field::range(0, 5)), DAY)
        }),
    }
}

fn cron(zone: usize, minute: Field, hour: Field) -> Kind {
    let pattern = Pattern { minute, hour, day: Field::any(31), weekday: Field::any(7) };
    Kind::Cron { pattern, zone }
}

/// Within so long before and after a moment at which the zone's clocks change; in a zone without,
/// any moment.
fn around_a_change(
    random: &mut Random,
    zone: &Zone,
    kind: impl FnOnce(&mut Random) -> (Kind, i64),
) -> Plan {
    let (kind, reach) = kind(random);
    let changes = zone.changes();
    let middle = if changes.is_empty() {
        random.between(YEAR_START, YEAR_START + 365 * DAY)
    } else {
        *random.pick(&changes)
    };
    let start = Some(middle - random.between(HOUR, reach));
    let end = Some(middle + random.between(HOUR, reach));
    Plan { kind, start, end, count: None }
}

/// A part of the year, or all of it.
fn limited(random: &mut Random, kind: Kind, days: i64) -> Plan {
    let start = YEAR_START + random.between(-DAY, 360 * DAY);
    let end = start + random.between(days * DAY / 2, days * DAY);
    let count = random.chance(30).then(|| 1 + random.below(40));
    let start = (days < 365 || random.chance(20)).then_some(start);
    Plan { kind, start, end: (days < 365).then_some(end), count }
}

fn every(random: &mut Random) -> Plan {
    let (period, days) = match random.below(4) {
        0 => (random.between(10 * SECOND, 20 * MINUTE), 1),
        1 => (random.between(20 * MINUTE, 6 * HOUR), 6),
        2 => (random.between(6 * HOUR, 2 * DAY), 120),
        _ => (random.between(3 * DAY, 60 * DAY), 365),
    };
    let from = match random.below(3) {
        0 => None,
        1 => Some(YEAR_START + random.between(-20 * DAY, 0)),
        _ => Some(YEAR_START + random.between(0, 300 * DAY)),
    };
    let mut plan = limited(random, Kind::Every { period, from }, days);
    if days == 1 {
        plan.end = plan.start.map(|start| start + (40 * period).min(DAY));
    }
    plan
}

fn minutes(random: &mut Random) -> Field {
    Field::list(&[u32::try_from(random.below(12) * 5).unwrap()])
}

/// On Sundays in the small hours, where clocks change in most zones, or at any time.
fn weekly(random: &mut Random, zone: usize) -> Plan {
    let minute = minutes(random);
    let (hour, weekday) = if random.chance(60) {
        (random.below(4), Field::list(&[0]))
    } else {
        (random.below(24), random.pick(&[Field::list(&[6]), Field::list(&[2, 4])]).clone())
    };
    let hour = Field::list(&[u32::try_from(hour).unwrap()]);
    let kind = Kind::Cron { pattern: Pattern { minute, hour, day: Field::any(31), weekday }, zone };
    limited(random, kind, 365)
}

fn daily(random: &mut Random, zone: usize) -> Plan {
    let minute = minutes(random);
    let hour = Field::list(&[u32::try_from(random.below(24)).unwrap()]);
    let weekday = random.pick(&[Field::any(7), Field::range(1, 5)]).clone();
    let kind = Kind::Cron { pattern: Pattern { minute, hour, day: Field::any(31), weekday }, zone };
    limited(random, kind, 60)
}

/// On days of the month; some on a day of the week as well, where either is enough.
fn monthly(random: &mut Random, zone: usize) -> Plan {
    let minute = minutes(random);
    let hour = Field::list(&[u32::try_from(random.below(24)).unwrap()]);
    let day = random.pick(&[Field::list(&[1, 15]), Field::list(&[31]), Field::list(&[29])]).clone();
    let weekday = random.pick(&[Field::any(7), Field::any(7), Field::list(&[1])]).clone();
    let kind = Kind::Cron { pattern: Pattern { minute, hour, day, weekday }, zone };
    limited(random, kind, 365)
}
