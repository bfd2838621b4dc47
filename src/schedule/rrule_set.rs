//! The times of one period of a recurrence: a day, week, month or year.
//!
//! Promises: the times of a period depend on the period alone, not on where a search comes from.
//! Dates are computed on the wall, without time zone. Imports nothing of fleetcron.

use std::cmp::Ordering;

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Weekday};

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Freq {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

impl Freq {
    pub(super) const ALL: [(&str, Self); 4] = [
        ("DAILY", Self::Daily),
        ("WEEKLY", Self::Weekly),
        ("MONTHLY", Self::Monthly),
        ("YEARLY", Self::Yearly),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, freq)| *freq == self).map_or("", |(name, _)| name)
    }

    /// How many periods there are in 400 years, after which days and weekdays are the same again:
    /// a rule that finds nothing in so many of its periods never does, whatever its interval.
    pub(super) fn cycle(self) -> i64 {
        match self {
            Self::Daily => 146_097,
            Self::Weekly => 20_871,
            Self::Monthly => 4_800,
            Self::Yearly => 400,
        }
    }
}

/// A weekday; with a number, the nth of its month or year, from the end if it is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByDay {
    pub(super) nth: Option<i32>,
    pub(super) weekday: Weekday,
}

/// Which times fire, as far as it depends on their period alone. An empty list leaves nothing
/// out; `hours`, `minutes` and `seconds` are sets of bits, at least one in each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) freq: Freq,
    pub(super) week_start: Weekday,
    pub(super) months: Vec<i32>,
    pub(super) week_numbers: Vec<i32>,
    pub(super) year_days: Vec<i32>,
    pub(super) month_days: Vec<i32>,
    pub(super) days: Vec<ByDay>,
    pub(super) hours: u64,
    pub(super) minutes: u64,
    pub(super) seconds: u64,
    pub(super) positions: Vec<i32>,
}

impl Parts {
    /// The number of the period in which a date lies; periods that follow each other have numbers
    /// that do.
    pub(super) fn period_of(&self, date: NaiveDate) -> i64 {
        match self.freq {
            Freq::Daily => date.num_days_from_ce().into(),
            Freq::Weekly => {
                // Day 1 is a Monday.
                let first = i64::from(self.week_start.num_days_from_monday()) + 1;
                (i64::from(date.num_days_from_ce()) - first).div_euclid(7)
            }
            Freq::Monthly => i64::from(date.year()) * 12 + i64::from(date.month0()),
            Freq::Yearly => date.year().into(),
        }
    }

    /// The first date of a period; `None` outside of chrono's calendar.
    fn first_day(&self, period: i64) -> Option<NaiveDate> {
        match self.freq {
            Freq::Daily => NaiveDate::from_num_days_from_ce_opt(i32::try_from(period).ok()?),
            Freq::Weekly => {
                let first = i64::from(self.week_start.num_days_from_monday()) + 1;
                NaiveDate::from_num_days_from_ce_opt(i32::try_from(period * 7 + first).ok()?)
            }
            Freq::Monthly => {
                let year = i32::try_from(period.div_euclid(12)).ok()?;
                let month0 = u32::try_from(period.rem_euclid(12)).ok()?;
                NaiveDate::from_ymd_opt(year, month0 + 1, 1)
            }
            Freq::Yearly => NaiveDate::from_ymd_opt(i32::try_from(period).ok()?, 1, 1),
        }
    }

    /// The times of a period; `None` outside of chrono's calendar.
    pub(super) fn times_of(&self, period: i64) -> Option<Times<'_>> {
        let first = self.first_day(period)?;
        let end = match self.freq {
            Freq::Daily => first.succ_opt()?,
            _ => self.first_day(period + 1)?,
        };
        if self.freq == Freq::Daily && !self.has(first) {
            return Some(Times { parts: self, days: Vec::new(), positions: None });
        }
        let days: Vec<NaiveDate> =
            first.iter_days().take_while(|date| *date < end).filter(|d| self.has(*d)).collect();
        let all = days.len() * self.times_of_day();
        let positions = (!self.positions.is_empty()).then(|| {
            let mut positions: Vec<usize> =
                self.positions.iter().filter_map(|at| position(*at, all)).collect();
            positions.sort_unstable();
            positions.dedup();
            positions
        });
        Some(Times { parts: self, days, positions })
    }

    fn has(&self, date: NaiveDate) -> bool {
        let within = |list: &[i32], number: u32, length: u32| {
            list.is_empty() || {
                let from_start = number.cast_signed();
                let from_end = from_start - length.cast_signed() - 1;
                list.iter().any(|at| *at == from_start || *at == from_end)
            }
        };
        within(&self.months, date.month(), 12)
            && within(&self.month_days, date.day(), days_in_month(date))
            && within(&self.year_days, date.ordinal(), days_in_year(date.year()))
            && (self.week_numbers.is_empty() || {
                let (week, weeks) = week_number(date, self.week_start);
                within(&self.week_numbers, week, weeks)
            })
            && (self.days.is_empty() || self.days.iter().any(|day| self.is_day(*day, date)))
    }

    fn is_day(&self, day: ByDay, date: NaiveDate) -> bool {
        if day.weekday != date.weekday() {
            return false;
        }
        let Some(nth) = day.nth else { return true };
        // In a year that is limited to months, the nth of each of them is meant.
        let (number, length) = if self.freq == Freq::Yearly && self.months.is_empty() {
            (date.ordinal(), days_in_year(date.year()))
        } else {
            (date.day(), days_in_month(date))
        };
        let from_start = (number - 1) / 7 + 1;
        let from_end = (length - number) / 7 + 1;
        nth == from_start.cast_signed() || nth == -from_end.cast_signed()
    }

    /// Whether no period can have enough times for any of the positions.
    pub(super) fn is_beyond_positions(&self) -> bool {
        let days = match self.freq {
            Freq::Daily => 1,
            Freq::Weekly => 7.min(self.days.len()),
            Freq::Monthly => 31,
            Freq::Yearly => 366,
        };
        let most = days * self.times_of_day();
        !self.positions.is_empty() && self.positions.iter().all(|at| position(*at, most).is_none())
    }

    /// How many times a day has.
    fn times_of_day(&self) -> usize {
        [self.hours, self.minutes, self.seconds].map(ones).iter().product()
    }

    /// How many times of a day lie before one.
    fn times_before(&self, time: NaiveTime) -> usize {
        let (minutes, seconds) = (ones(self.minutes), ones(self.seconds));
        let below = |set: u64, value: u32| ones(set & ((1 << value) - 1));
        let has = |set: u64, value: u32| set & (1 << value) != 0;
        let mut count = below(self.hours, time.hour()) * minutes * seconds;
        if has(self.hours, time.hour()) {
            count += below(self.minutes, time.minute()) * seconds;
            if has(self.minutes, time.minute()) {
                count += below(self.seconds, time.second());
            }
        }
        count
    }

    /// The time of a day that has so many before it.
    fn nth_time(&self, nth: usize) -> Option<NaiveTime> {
        let (minutes, seconds) = (ones(self.minutes), ones(self.seconds));
        let hour = nth_bit(self.hours, nth / (minutes * seconds))?;
        let minute = nth_bit(self.minutes, nth / seconds % minutes)?;
        NaiveTime::from_hms_opt(hour, minute, nth_bit(self.seconds, nth % seconds)?)
    }
}

/// The times of a period, in order.
pub(super) struct Times<'a> {
    parts: &'a Parts,
    days: Vec<NaiveDate>,
    /// Of all times of these days, the places of those that fire; `None`: each.
    positions: Option<Vec<usize>>,
}

impl Times<'_> {
    pub(super) fn len(&self) -> usize {
        match &self.positions {
            Some(positions) => positions.len(),
            None => self.days.len() * self.parts.times_of_day(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<NaiveDateTime> {
        let index = match &self.positions {
            Some(positions) => *positions.get(index)?,
            None => index,
        };
        let each = self.parts.times_of_day();
        Some(self.days.get(index / each)?.and_time(self.parts.nth_time(index % each)?))
    }

    /// How many of them lie before a time, which has no fraction of a second.
    pub(super) fn before(&self, wall: NaiveDateTime) -> usize {
        let each = self.parts.times_of_day();
        let days = self.days.partition_point(|date| *date < wall.date());
        let today = if self.days.get(days) == Some(&wall.date()) {
            self.parts.times_before(wall.time())
        } else {
            0
        };
        let all = days * each + today;
        match &self.positions {
            Some(positions) => positions.partition_point(|at| *at < all),
            None => all,
        }
    }
}

/// The index that a position of `BYSETPOS`, from 1 or from -1 backwards, has among so many.
fn position(at: i32, among: usize) -> Option<usize> {
    let distance = usize::try_from(at.unsigned_abs()).ok()?;
    match at.cmp(&0) {
        Ordering::Greater => Some(distance - 1).filter(|index| *index < among),
        Ordering::Less => among.checked_sub(distance),
        Ordering::Equal => None,
    }
}

fn ones(set: u64) -> usize {
    // At most 64.
    set.count_ones() as usize
}

fn nth_bit(set: u64, nth: usize) -> Option<u32> {
    (0..64).filter(|bit| set & (1 << bit) != 0).nth(nth)
}

fn days_in_month(date: NaiveDate) -> u32 {
    date.num_days_in_month().into()
}

fn days_in_year(year: i32) -> u32 {
    if NaiveDate::from_ymd_opt(year, 2, 29).is_some() { 366 } else { 365 }
}

/// The number of a date's week, and how many weeks the year has to which that week belongs: that
/// of its fourth day. Weeks begin with `week_start`.
fn week_number(date: NaiveDate, week_start: Weekday) -> (u32, u32) {
    let into_week = u64::from(date.weekday().days_since(week_start));
    // Dates here lie thousands of years within chrono's calendar.
    let fourth = date - Days::new(into_week) + Days::new(3);
    let week = fourth.ordinal0() / 7;
    let weeks_after = (days_in_year(fourth.year()) - fourth.ordinal()) / 7;
    (week + 1, week + 1 + weeks_after)
}
