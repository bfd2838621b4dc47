//! The firings of many jobs, merged in the order of their times and counted.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use super::{
    BUSIEST, Bucket, Cut, DEFAULT_LISTED, Firing, Forecast, Load, MAX_LISTED, MAX_LOOKED_AT,
    Outlook, Span,
};
use crate::time::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

/// Bucket lengths, and the longest span that each is for. With the last, a span of
/// [`super::MAX_SPAN`] has some 730 buckets; no span has more than 1,500.
const BUCKETS: [(Duration, Duration); 2] = [
    (Duration::from_secs(86_400), MINUTE),
    (Duration::from_secs(31 * 86_400), Duration::from_secs(30 * 60)),
];

/// The bucket length of the longest spans.
const LONGEST_BUCKET: Duration = Duration::from_secs(12 * 3_600);

/// What fires within a span, by where jobs stand now. Those that are paused are counted and left
/// out; `limit` firings are listed, at most [`MAX_LISTED`].
#[must_use]
pub fn forecast(outlooks: Vec<Outlook>, span: Span, limit: Option<usize>) -> Forecast {
    bounded(outlooks, span, limit, MAX_LOOKED_AT)
}

/// The same with a bound of the caller's.
pub(super) fn bounded(
    mut outlooks: Vec<Outlook>,
    span: Span,
    limit: Option<usize>,
    looks: usize,
) -> Forecast {
    let all = outlooks.len();
    outlooks.retain(|outlook| outlook.paused_at.is_none());
    let paused = all - outlooks.len();
    // By name, so that firings of the same moment are in the order of their jobs' names.
    outlooks.sort_unstable_by(|a, b| a.job.spec.name.cmp(&b.job.spec.name));
    let mut tally = Tally::new(span, limit);
    let mut fires = vec![false; outlooks.len()];
    let mut next: BinaryHeap<_> = outlooks
        .iter()
        .enumerate()
        .filter_map(|(at, outlook)| Some(Reverse((outlook.next_due?, at))))
        .filter(|Reverse((due, _))| *due < span.to)
        .collect();
    let mut looked = 0;
    while let Some(Reverse((due, at))) = next.pop() {
        if looked == looks {
            tally.cut(due.max(span.from), looks);
            break;
        }
        looked += 1;
        let outlook = &mut outlooks[at];
        if due < span.from {
            outlook.skip(span.from);
        } else {
            fires[at] = true;
            tally.fire(due, outlook);
            outlook.step();
        }
        if let Some(due) = outlook.next_due.filter(|due| *due < span.to) {
            next.push(Reverse((due, at)));
        }
    }
    let jobs = fires.iter().filter(|fires| **fires).count() as u64;
    Forecast { jobs, paused: paused as u64, ..tally.finish() }
}

/// A forecast in the making; firings come in the order of their times.
struct Tally {
    forecast: Forecast,
    limit: usize,
    minute: Bucket,
    /// The busiest minutes before, the least busy first.
    busiest: BTreeSet<(u64, u64, Reverse<Timestamp>)>,
}

impl Tally {
    fn new(span: Span, limit: Option<usize>) -> Self {
        let Span { from, to } = span;
        let bucket = bucket_of(to.since(from));
        let first = floor(from, bucket);
        let buckets = std::iter::successors(Some(first), |at| Some(at.plus(bucket)));
        let forecast = Forecast {
            from,
            to,
            total: Load::default(),
            jobs: 0,
            paused: 0,
            bucket,
            buckets: buckets
                .take_while(|at| *at < to)
                .map(|at| Bucket { at, load: Load::default() })
                .collect(),
            busiest: Vec::new(),
            firings: Vec::new(),
            cut: None,
        };
        let minute = Bucket { at: floor(from, MINUTE), load: Load::default() };
        let limit = limit.unwrap_or(DEFAULT_LISTED).min(MAX_LISTED);
        Self { forecast, limit, minute, busiest: BTreeSet::new() }
    }

    fn fire(&mut self, at: Timestamp, outlook: &Outlook) {
        let forecast = &mut self.forecast;
        let deliveries = outlook.deliveries;
        forecast.total.add(deliveries);
        let passed = at.since(forecast.buckets[0].at).as_millis() / forecast.bucket.as_millis();
        // A firing lies before the end of the span, which the buckets cover.
        if let Some(bucket) = usize::try_from(passed).ok().and_then(|n| forecast.buckets.get_mut(n))
        {
            bucket.load.add(deliveries);
        }
        if forecast.firings.len() < self.limit {
            let spec = &outlook.job.spec;
            forecast.firings.push(Firing {
                at,
                job: spec.name.clone(),
                target: spec.target.clone(),
                deliveries,
                time_zone: outlook.time_zone(),
            });
        }
        let minute = floor(at, MINUTE);
        if minute != self.minute.at {
            self.end_minute();
            self.minute = Bucket { at: minute, load: Load::default() };
        }
        self.minute.load.add(deliveries);
    }

    fn end_minute(&mut self) {
        let Bucket { at, load } = self.minute;
        if load.firings > 0 {
            self.busiest.insert((load.deliveries, load.firings, Reverse(at)));
        }
        if self.busiest.len() > BUSIEST {
            self.busiest.pop_first();
        }
    }

    fn cut(&mut self, at: Timestamp, looks: usize) {
        let reason = format!("{looks} occurrences were looked at, which is the most");
        self.forecast.cut = Some(Cut { at, reason });
        self.forecast.buckets.retain(|bucket| bucket.at <= at);
    }

    fn finish(mut self) -> Forecast {
        self.end_minute();
        let busiest = self.busiest.into_iter().rev();
        let bucket =
            |(deliveries, firings, Reverse(at))| Bucket { at, load: Load { firings, deliveries } };
        self.forecast.busiest = busiest.map(bucket).collect();
        self.forecast
    }
}

fn bucket_of(span: Duration) -> Duration {
    let fitting = BUCKETS.iter().find(|(longest, _)| span <= *longest);
    fitting.map_or(LONGEST_BUCKET, |(_, bucket)| *bucket)
}

/// The last multiple of `step` since 1970 that is not after `at`.
fn floor(at: Timestamp, step: Duration) -> Timestamp {
    let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(at.millis().div_euclid(step).saturating_mul(step))
}
