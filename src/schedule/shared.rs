//! Parsed patterns, shared by all rules that write the same.
//!
//! A parsed pattern takes some 6 KB (croner keeps a byte for every year to 5000) and a while to
//! make, and a fleet's jobs share a few expressions: 100,000 daily jobs have 1,440 at most.
//! Promises: nobody can tell that it is there but by time and memory; a pattern that no rule uses
//! is freed, and names of freed ones never outnumber the others by more than [`SLACK`] and their
//! own number. Imports nothing of fleetcron.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

/// How many names may gather before those of freed patterns are thrown out.
const SLACK: usize = 1_024;

static PATTERNS: LazyLock<Mutex<Patterns>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Patterns {
    by_text: HashMap<String, Weak<croner::Cron>>,
    /// How many of them were in use when they were last counted.
    in_use: usize,
}

/// The pattern of a text, made by `make` unless a rule has it already.
pub(super) fn get_or_make<E>(
    text: &str,
    make: impl FnOnce() -> Result<croner::Cron, E>,
) -> Result<Arc<croner::Cron>, E> {
    // A panic elsewhere cannot leave the map half changed in a way that matters here.
    let lock = || PATTERNS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pattern) = lock().by_text.get(text).and_then(Weak::upgrade) {
        return Ok(pattern);
    }
    // Not under the lock: two threads may make the same, and one of the two is dropped later.
    let pattern = Arc::new(make()?);
    lock().keep(text, &pattern);
    Ok(pattern)
}

impl Patterns {
    fn keep(&mut self, text: &str, pattern: &Arc<croner::Cron>) {
        if self.by_text.len() >= 2 * self.in_use + SLACK {
            self.by_text.retain(|_, pattern| pattern.strong_count() > 0);
            self.in_use = self.by_text.len();
        }
        self.by_text.insert(text.to_owned(), Arc::downgrade(pattern));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<croner::Cron, croner::errors::CronError> {
        text.parse()
    }

    #[test]
    fn the_same_text_is_parsed_once_while_it_is_in_use() {
        let text = "7 7 7 7 7";
        let first = get_or_make(text, || parse(text)).unwrap();
        let again =
            get_or_make(text, || panic!("it is there")).unwrap_or_else(|e: String| panic!("{e}"));
        assert!(Arc::ptr_eq(&first, &again));
        assert!(get_or_make("x", || parse("x")).is_err());
    }

    #[test]
    fn names_of_freed_patterns_are_thrown_out() {
        let mut patterns = Patterns::default();
        let kept = Arc::new(parse("* * * * *").unwrap());
        patterns.keep("kept", &kept);
        for n in 0..5_000 {
            patterns.keep(&n.to_string(), &Arc::new(kept.as_ref().clone()));
            assert!(patterns.by_text.len() <= SLACK + 2);
        }
        assert!(patterns.by_text["kept"].upgrade().is_some());
    }
}
