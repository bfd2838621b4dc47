//! The bar that a wait shows on a terminal: how many of the fleet have answered, and how.

use indicatif::{ProgressBar, ProgressStyle};

use super::output::is_watched;
use crate::run::{Counts, Response};

/// How the bar looks.
const TEMPLATE: &str = "{bar:30} {pos}/{len} {msg} {elapsed}";

/// A bar on standard error; nothing where nobody watches.
pub(super) struct Progress {
    bar: ProgressBar,
    counts: Counts,
}

impl Progress {
    pub(super) fn new(total: u32) -> Self {
        let bar =
            if is_watched() { ProgressBar::new(u64::from(total)) } else { ProgressBar::hidden() };
        // A template that cannot be read leaves indicatif's own look.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        Self { bar, counts: Counts::default() }
    }

    /// Counts one answer.
    pub(super) fn count(&mut self, response: &Response) {
        self.counts.add(response.outcome.state);
        let others = self.counts.ended() - self.counts.succeeded;
        if others > 0 {
            self.bar.set_message(format!("({others} not succeeded)"));
        }
        self.bar.set_position(u64::from(self.counts.ended()));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
