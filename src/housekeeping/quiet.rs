//! A chore that nobody waits for leaves a burst of firings alone.
//!
//! Many jobs fire at the full minute or hour. What the chores read and write in that moment, firings
//! wait for, while a minute later there is time for it.

use std::time::Duration;

use tokio::time::Instant;

/// Events a second that are a burst.
const BURST: f64 = 10_000.0;

/// For how long a chore waits for the end of a burst, at most. Then it works all the same, until it
/// has done everything once.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Whether it is quiet enough for a chore.
#[derive(Debug)]
pub(super) struct Quiet {
    patience: Duration,
    /// When it was last asked, and how many events there were then.
    looked: Option<(Instant, u64)>,
    /// Since when the chore waits.
    waits: Option<Instant>,
}

impl Quiet {
    pub(super) fn with(patience: Duration) -> Self {
        Self { patience, looked: None, waits: None }
    }

    /// Whether the chore should work now; `events` is how many there have ever been.
    pub(super) fn is_now(&mut self, now: Instant, events: u64) -> bool {
        let before = self.looked.replace((now, events));
        let in_burst = before.is_some_and(|(then, seen)| {
            let seconds = now.saturating_duration_since(then).as_secs_f64();
            // Far below 2^52.
            #[expect(clippy::cast_precision_loss)]
            let more = events.saturating_sub(seen) as f64;
            more > BURST * seconds
        });
        if !in_burst {
            self.waits = None;
            return true;
        }
        let since = *self.waits.get_or_insert(now);
        now.saturating_duration_since(since) >= self.patience
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
    fn it_waits_while_there_is_a_burst_but_not_for_ever() {
        let mut quiet = Quiet::with(3 * SECOND);
        let works = looks(&mut quiet, Instant::now(), &[50_000, 9_000, 11_000, 90_000, 0, 12_000]);
        assert_eq!(works, [true, true, false, false, true, false]);
        let works = looks(&mut Quiet::with(3 * SECOND), Instant::now(), &[20_000; 8]);
        assert_eq!(works, [true, false, false, false, true, true, true, true]);
    }

    #[test]
    fn it_waits_anew_when_everything_is_done() {
        let (mut quiet, begin) = (Quiet::with(2 * SECOND), Instant::now());
        let mut works = Vec::new();
        for second in 0..8 {
            works.push(quiet.is_now(begin + second * SECOND, u64::from(second) * 20_000));
            if works.last() == Some(&true) {
                quiet.done();
            }
        }
        assert_eq!(works, [true, false, false, true, false, false, true, false]);
    }

    #[test]
    fn a_look_in_the_same_moment_without_an_event_finds_no_burst() {
        let (mut quiet, now) = (Quiet::with(SECOND), Instant::now());
        assert!(quiet.is_now(now, 7));
        assert!(quiet.is_now(now, 7));
    }
}
