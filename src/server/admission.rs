//! How many come in a second. When a whole fleet connects at once, those above the rate are told
//! when to come again, each another time: the fleet returns as fast as the server lets it, and not
//! all at once again.
//!
//! The deciding part is pure, with time as a parameter; the gate adds a clock and a count.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::tally::Tally;
use crate::bucket::{Bucket, Rate};
use crate::id::ClientId;

/// The shortest time that a client is sent away for: less would only make it ask again.
const LEAST: Duration = Duration::from_millis(100);

/// The longest backlog that is believed, so that nobody is sent away for minutes because somebody
/// asks without end. A client is told one and a half of it at most, and adds half of that.
const LONGEST: Duration = Duration::from_secs(20);

/// Lets in at a rate, and gives those above it their time to come again.
#[derive(Debug)]
struct Admission {
    bucket: Bucket,
    /// When all that were sent away would be in, had each taken its token.
    cleared_at: Duration,
}

impl Admission {
    fn new(rate: Rate, now: Duration) -> Self {
        Self { bucket: Bucket::full(rate, now), cleared_at: now }
    }

    /// Lets a client in, or tells how long it shall stay away.
    fn admit(&mut self, now: Duration, client: &ClientId) -> Result<(), Duration> {
        if self.bucket.take(now) {
            return Ok(());
        }
        let slot = self.bucket.rate().time_for(1);
        self.cleared_at = (self.cleared_at.max(now) + slot).min(now + LONGEST);
        let backlog = self.cleared_at.saturating_sub(now).max(LEAST);
        // From half to one and a half of the time that those before it need. The n-th of a storm
        // comes back around its own turn, so that the storm fills the rate and hardly exceeds it.
        Err(backlog / 2 + backlog.mul_f64(share(client)))
    }
}

/// A client's own part of a whole, from 0 to 1.
fn share(client: &ClientId) -> f64 {
    let mut hasher = DefaultHasher::new();
    client.as_str().hash(&mut hasher);
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    f64::from(u32::from_le_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

/// The admission of a server: counts whom it sends away.
#[derive(Debug)]
pub(super) struct Gate {
    admission: Mutex<Admission>,
    began: Instant,
    /// Those who were sent away.
    deferred: Tally,
}

impl Gate {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            admission: Mutex::new(Admission::new(rate, Duration::ZERO)),
            began: Instant::now(),
            deferred: Tally::new(),
        }
    }

    /// Lets a client in, or tells how long it shall stay away.
    pub(super) fn admit(&self, client: &ClientId) -> Result<(), Duration> {
        let now = self.began.elapsed();
        // Whoever panicked with it has left it whole: each step leaves it so.
        let mut admission =
            self.admission.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        admission.admit(now, client).inspect_err(|_| self.deferred.add())
    }

    /// How many were sent away so far.
    pub(super) fn deferred(&self) -> u64 {
        self.deferred.all()
    }

    /// Whether the caller is the one to tell the log, with [`Gate::tell`], a second from now.
    pub(super) fn shall_tell(&self) -> bool {
        self.deferred.begin()
    }

    /// Tells the log how many were sent away since the last time.
    pub(super) fn tell(&self) {
        let connections = self.deferred.take();
        tracing::warn!(connections, "more connect than are let in a second: sent away for a while");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: usize) -> ClientId {
        format!("client-{number}").parse().unwrap()
    }

    /// Plays a storm to its end: everybody at once, and again when told, each staying away up to
    /// half longer, as clients do. Gives when each was let in, and the tries of the one with most.
    fn storm(clients: usize, rate: Rate, longer: bool) -> (Vec<Duration>, usize) {
        let mut admission = Admission::new(rate, Duration::ZERO);
        let mut coming: std::collections::BTreeSet<(Duration, usize)> =
            (0..clients).map(|number| (Duration::ZERO, number)).collect();
        let (mut entered, mut tries) = (Vec::new(), vec![0; clients]);
        while let Some((now, number)) = coming.pop_first() {
            tries[number] += 1;
            match admission.admit(now, &id(number)) {
                Ok(()) => entered.push(now),
                Err(after) => {
                    assert!((LEAST / 2..=LONGEST * 3 / 2).contains(&after), "{after:?}");
                    let salt =
                        u32::try_from((number * 7_919 + tries[number] * 104_729) % 100).unwrap();
                    let more = if longer { after / 2 * salt / 100 } else { Duration::ZERO };
                    coming.insert((now + after + more, number));
                }
            }
        }
        (entered, tries.into_iter().max().unwrap_or(0))
    }

    #[test]
    fn a_storm_of_fifteen_thousand_is_in_within_seconds_and_asks_little() {
        let rate = Rate::new(2_000, 1_000).unwrap();
        for longer in [false, true] {
            let (entered, tries) = storm(15_000, rate, longer);
            assert_eq!(entered.len(), 15_000);
            let last = *entered.last().unwrap();
            // The rate alone needs 7 s.
            assert!(last >= Duration::from_secs(7) && last <= Duration::from_secs(16), "{last:?}");
            assert!(tries <= 5, "{tries}");
            let in_ten = entered.iter().filter(|at| **at <= Duration::from_secs(10)).count();
            assert!(in_ten >= 12_000, "only {in_ten} are in after 10 s");
        }
    }

    #[test]
    fn one_that_asks_without_end_does_not_send_others_away_for_minutes() {
        let mut admission = Admission::new(Rate::new(10, 1).unwrap(), Duration::ZERO);
        let mut longest = Duration::ZERO;
        for _ in 0..100_000 {
            longest =
                longest.max(admission.admit(Duration::ZERO, &id(1)).err().unwrap_or_default());
        }
        for number in 0..1_000 {
            let after = admission.admit(Duration::ZERO, &id(number)).unwrap_err();
            longest = longest.max(after);
        }
        assert!(longest > LONGEST && longest <= LONGEST * 3 / 2, "{longest:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn everybody_gets_in_whatever_the_rate(
            clients in 1_usize..600, per_second in 1_u32..3_000, burst in 1_u32..300,
        ) {
            let (entered, _) = storm(clients, Rate::new(per_second, burst).unwrap(), true);
            prop_assert_eq!(entered.len(), clients);
            let last = entered.last().unwrap().as_secs_f64();
            let above = u32::try_from(clients).unwrap().saturating_sub(burst);
            let needed = f64::from(above) / f64::from(per_second);
            prop_assert!(last + 0.001 >= needed, "faster than the rate: {} s", last);
            prop_assert!(last <= 2.0 * needed + 45.0, "{} s for {} s of work", last, needed);
        }
    }
}
