//! From the times of a wall clock to moments, where clocks change.
//!
//! Promises: every time of a wall clock stands for one instant, in order: itself, the first of
//! two, or the end of the gap in which it lies. Imports nothing of fleetcron.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::{GapInfo, Tz};

/// The start of the year 5000, the last of which croner knows anything: every search by the
/// calendar ends before it.
pub(super) const END_OF_SEARCH: i64 = 95_617_584_000_000;

/// The first instant after `after` that a series of wall clock times stands for. `next_wall` finds
/// the first of them after a time, or, when its second argument is true, at or after it.
pub(super) fn next_fixed(
    after: &DateTime<Tz>,
    next_wall: impl Fn(NaiveDateTime, bool) -> Option<NaiveDateTime>,
) -> Option<DateTime<Tz>> {
    let time_zone = after.timezone();
    let mut wall = next_wall(after.naive_local(), false)?;
    loop {
        match time_zone.from_local_datetime(&wall) {
            LocalResult::Single(at) if at > *after => return Some(at),
            LocalResult::Ambiguous(first, _) if first > *after => return Some(first),
            // In the second half of a repeated range: it has fired in the first.
            LocalResult::Ambiguous(first, second) => {
                let fold = Fold::between(&first, &second);
                wall = next_wall(fold.wall_end, true)?;
            }
            LocalResult::None => match gap_end(wall, time_zone) {
                Some(end) if end > *after => return Some(end),
                _ => wall = next_wall(wall, false)?,
            },
            LocalResult::Single(_) => wall = next_wall(wall, false)?,
        }
    }
}

/// The first instant after the gap in which `wall` lies.
pub(super) fn gap_end(wall: NaiveDateTime, time_zone: Tz) -> Option<DateTime<Tz>> {
    GapInfo::new(&wall, &time_zone)?.end
}

/// A range of wall clock times that occurs twice.
pub(super) struct Fold {
    /// Its first time.
    pub(super) wall_start: NaiveDateTime,
    /// The first time that occurs once again.
    pub(super) wall_end: NaiveDateTime,
}

impl Fold {
    /// The fold in which one wall clock time is both `first` and `second`: the moment at which
    /// the offset changes is found by halving the time between them.
    pub(super) fn between(first: &DateTime<Tz>, second: &DateTime<Tz>) -> Self {
        let (before, after) = (first.offset().fix(), second.offset().fix());
        let shift = i64::from(before.local_minus_utc()) - i64::from(after.local_minus_utc());
        let mut low = first.timestamp();
        let mut high = second.timestamp();
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let at =
                DateTime::from_timestamp(middle, 0).map(|at| at.with_timezone(&first.timezone()));
            // Moments between two valid ones are valid; `None` would end the search as well.
            if at.is_some_and(|at| at.offset().fix() == before) {
                low = middle;
            } else {
                high = middle;
            }
        }
        // `second` may carry milliseconds, the change itself has none.
        let fraction = TimeDelta::nanoseconds(i64::from(second.timestamp_subsec_nanos()));
        let since_change = TimeDelta::seconds(second.timestamp() - high) + fraction;
        let wall_start = second.naive_local() - since_change;
        Self { wall_start, wall_end: wall_start + TimeDelta::seconds(shift) }
    }
}
