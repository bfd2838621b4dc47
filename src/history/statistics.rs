//! Statistics as they stand: what is stored, and what of the ledger is not yet counted in it.

use super::count::{Delta, count, counted};
use crate::id::{ClientId, ClientNo};
use crate::statistics::{Bar, Period, Periods, Slot, Span, Statistics, Subject};
use crate::store::{Store, StoreError, key, records};
use crate::time::Timestamp;

/// Hours of the periods: the last whole one, a day's, a week's.
const PERIODS: [u32; 3] = [1, 24, 7 * 24];

/// Hours that are told one by one, before this one.
const HOURS: u32 = 24;

/// Days that are told one by one, before this one.
const DAYS: u32 = 30;

/// How often a read begins anew when what it reads changes meanwhile.
const TRIES: usize = 10;

/// The statistics of a job or a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// All that was recorded before this moment is counted.
    pub as_of: Timestamp,
    /// What the periods come to.
    pub periods: Periods,
    /// The last hours, the oldest first.
    pub hours: Vec<Bar>,
    /// The last days, the oldest first.
    pub days: Vec<Bar>,
}

/// What of the ledger is not yet in the records, or may not be.
struct Rest {
    /// What is in some records and not in others; `None`: there is no such thing.
    between: Option<Delta>,
    /// What is in none.
    after: Delta,
}

/// The statistics of a job, or of a client by its place in a page, at `now`. Reads some 200
/// records, and counts a bounded part of the ledger: if more is to be counted, `as_of` is earlier
/// than `now`.
pub fn statistics(
    store: &dyn Store,
    subject: Subject,
    place: u8,
    now: Timestamp,
) -> Result<Told, StoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let counted = counted(store)?;
        let between = (counted.done < counted.until)
            .then(|| count(store, counted.done, Some(counted.until)))
            .transpose()?;
        let rest = Rest { between, after: count(store, counted.until, None)? };
        if let Some(told) = told(store, &rest, (subject, place), now)? {
            return Ok(told);
        }
        if tries == TRIES {
            let (key, problem) = (key::counted(), "it changes faster than it can be read");
            return Err(StoreError::corrupt("statistics", &key, problem));
        }
    }
}

/// `None`: records have changed since the rest was counted.
fn told(
    store: &dyn Store,
    rest: &Rest,
    (subject, place): (Subject, u8),
    now: Timestamp,
) -> Result<Option<Told>, StoreError> {
    let of = |span| of(store, rest, Slot { span, subject }, place);
    let (hour, day) = (Span::hour_of(now), Span::day_of(now));
    let mut sums = [Statistics::default(), Statistics::default(), Statistics::default()];
    let (mut hours, mut days) = (Vec::new(), Vec::new());
    for no in hour.saturating_sub(PERIODS[2])..=hour {
        let Some(statistics) = of(Span::Hour(no))? else { return Ok(None) };
        for (sum, _) in sums.iter_mut().zip(PERIODS).filter(|(_, hours)| hour - no <= *hours) {
            sum.merge(&statistics);
        }
        if hour - no <= HOURS {
            hours.push(Bar::of(Span::Hour(no).begin(), &statistics));
        }
    }
    for no in day.saturating_sub(DAYS)..=day {
        let Some(statistics) = of(Span::Day(no))? else { return Ok(None) };
        days.push(Bar::of(Span::Day(no).begin(), &statistics));
    }
    let with_runs = matches!(subject, Subject::Job(_));
    let period = |at: usize| {
        let from = Span::Hour(hour.saturating_sub(PERIODS[at])).begin();
        Period::of(from, &sums[at], with_runs)
    };
    let periods = Periods { hour: period(0), day: period(1), week: period(2) };
    let as_of = if rest.after.is_last { now } else { rest.after.at };
    Ok(Some(Told { as_of, periods, hours, days }))
}

fn of(
    store: &dyn Store,
    rest: &Rest,
    slot: Slot,
    place: u8,
) -> Result<Option<Statistics>, StoreError> {
    let mut record = records::statistics(store, slot)?.unwrap_or_default();
    if record.until > rest.after.from {
        return Ok(None);
    }
    for delta in rest.between.iter().chain([&rest.after]) {
        if let Some(more) = delta.records.get(&slot).filter(|more| record.until < more.until) {
            record.merge(more);
        }
    }
    Ok(Some(record.of.remove(&place).unwrap_or_default()))
}

/// The number of a client of the registry, removed ones too.
pub fn client_no(store: &dyn Store, client: &ClientId) -> Result<Option<ClientNo>, StoreError> {
    records::client_no(store, client)
}
