//! A chore that nobody waits for leaves a burst of firings alone.
//!
//! Many jobs fire at the full minute or hour. What the chores read and write in that moment, firings
//! wait for, while a minute later there is time for it. Of a load that is there all the time this is
//! not so: it is no burst however large it is, for to wait for its end would only make the chore
//! late, with all that it has not done still in the store.

use std::time::Duration;

use tokio::time::Instant;

/// Events a second that are a burst, if they are not usual.
const BURST: f64 = 10_000.0;

/// How many times as many events as usual are a burst.
const UNUSUAL: f64 = 1.5;

/// Over how long it is known what is usual: the time constant of an exponentially weighted mean.
const USUAL: Duration = Duration::from_secs(60);

/// For how long a chore waits for the end of a burst, at most. Then it works all the same, until it
/// has done everything once.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Whether it is quiet enough for a chore.
#[derive(Debug)]
pub(super) struct Quiet {
    patience: Duration,
    /// When it was last asked, and how many events there were then.
    looked: (Instant, u64),
    /// Events a second that are usual; at the beginning none are.
    usual: f64,
    /// Since when the chore waits.
    waits: Option<Instant>,
}

impl Quiet {
    /// Begins to look now, when there have been so many events.
    pub(super) fn new(patience: Duration, now: Instant, events: u64) -> Self {
        Self { patience, looked: (now, events), usual: 0.0, waits: None }
    }

    /// Whether the chore should work now; `events` is how many there have ever been.
    pub(super) fn is_now(&mut self, now: Instant, events: u64) -> bool {
        let (then, seen) = std::mem::replace(&mut self.looked, (now, events));
        let seconds = now.saturating_duration_since(then).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^52")]
        let more = events.saturating_sub(seen) as f64;
        let is_burst = more > seconds * BURST.max(UNUSUAL * self.usual);
        if seconds > 0.0 {
            let forgotten = (-seconds / USUAL.as_secs_f64()).exp();
            self.usual = self.usual * forgotten + more / seconds * (1.0 - forgotten);
        }
        if !is_burst {
            self.waits = None;
            return true;
        }
        let since = *self.waits.get_or_insert(now);
        now.saturating_duration_since(since) >= self.patience
    }

    /// Whether the chore works although there is a burst: it could not wait any longer.
    pub(super) fn is_exhausted(&self) -> bool {
        self.waits.is_some()
    }

    /// The chore has done everything that there was.
    pub(super) fn done(&mut self) {
        self.waits = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks each second, with so many events since the look before; whether the chore works then.
    fn looks(quiet: &mut Quiet, begin: Instant, events: &[u64]) -> Vec<bool> {
        let mut all = 0;
        let mut now = begin;
        let look = |more: &u64| {
            (all, now) = (all + more, now + SECOND);
            quiet.is_now(now, all)
        };
        events.iter().map(look).collect()
    }

    #[test]
    fn it_is_exhausted_when_it_works_in_a_burst() {
        let now = Instant::now();
        let mut quiet = Quiet::new(3 * SECOND, now, 0);
        assert!(quiet.is_now(now + SECOND, 5_000) && !quiet.is_exhausted());
        let mut looks =
            (2..9).map(|second| quiet.is_now(now + second * SECOND, u64::from(second) * 20_000));
        assert!(looks.any(|works| works));
        assert!(quiet.is_exhausted());
        quiet.done();
        assert!(!quiet.is_exhausted());
    }

    #[test]
    fn it_waits_while_there_is_a_burst_but_not_for_ever() {
        let now = Instant::now();
        let quiet = || Quiet::new(3 * SECOND, now, 0);
        let works = looks(&mut quiet(), now, &[9_000, 11_000, 90_000, 0, 12_000]);
        assert_eq!(works, [true, false, false, true, false]);
        let works = looks(&mut quiet(), now, &[20_000; 6]);
        assert_eq!(works, [false, false, false, true, true, true]);
    }

    #[test]
    fn it_waits_anew_when_everything_is_done() {
        let begin = Instant::now();
        let mut quiet = Quiet::new(2 * SECOND, begin, 0);
        let mut works = Vec::new();
        for second in 1..8 {
            works.push(quiet.is_now(begin + second * SECOND, u64::from(second) * 20_000));
            if works.last() == Some(&true) {
                quiet.done();
            }
        }
        assert_eq!(works, [false, false, true, false, false, true, false]);
    }

    #[test]
    fn what_is_there_all_the_time_is_no_burst_but_more_than_that_is() {
        let begin = Instant::now();
        let mut quiet = Quiet::new(PATIENCE, begin, 0);
        let steady = [50_000; 300];
        let works = looks(&mut quiet, begin, &steady);
        let first = works.iter().position(|works| *works).unwrap();
        assert!((30..=60).contains(&first), "{first}");
        assert!(works[70..].iter().all(|works| *works));
        assert!(!quiet.is_exhausted());
        let (now, all) = (begin + 301 * SECOND, 300 * 50_000);
        assert!(!quiet.is_now(now, all + 100_000));
        // Once a minute, for ten seconds each time.
        let mut quiet = Quiet::new(PATIENCE, begin, 0);
        let minute = |second: u64| if second % 60 < 10 { 50_000 } else { 0 };
        let bursts: Vec<_> = (0..600).map(minute).collect();
        let works = looks(&mut quiet, begin, &bursts);
        assert!(works.iter().zip(&bursts).all(|(works, more)| *works == (*more == 0)));
    }

    #[test]
    fn a_look_in_the_same_moment_without_an_event_finds_no_burst() {
        let now = Instant::now();
        assert!(Quiet::new(SECOND, now, 7).is_now(now, 7));
    }
}
