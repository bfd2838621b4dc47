//! The bar that a wait shows on a terminal: how many of the fleet have answered, and how.

use std::cell::Cell;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{clean, is_watched};
use crate::live;
use crate::run::{Counts, Response};

/// How the bar looks.
const TEMPLATE: &str = "{bar:30} {pos}/{len} {msg} {elapsed}";

/// How it looks when there is one client that tells how far it is.
const ONE: &str = "{bar:30} {pos} % {msg} {elapsed}";

/// A bar on standard error; nothing where nobody watches.
pub(super) struct Progress {
    bar: ProgressBar,
    counts: Cell<Counts>,
    /// Whether one client alone is waited for, which may tell how far it is.
    one: bool,
    /// Whether it has.
    told: Cell<bool>,
}

impl Progress {
    pub(super) fn new(total: u32) -> Self {
        let bar =
            if is_watched() { ProgressBar::new(u64::from(total)) } else { ProgressBar::hidden() };
        let one = total == 1 && is_watched();
        let progress = Self { bar, counts: Cell::default(), one, told: Cell::new(false) };
        progress.look(TEMPLATE);
        progress.bar.enable_steady_tick(std::time::Duration::from_millis(200));
        progress
    }

    fn look(&self, template: &str) {
        // A template that cannot be read leaves indicatif's own look.
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }

    /// Prints something with the bar out of the way.
    pub(super) fn around<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Shows how far the one client is; `false`: the bar is not for that.
    pub(super) fn tell(&self, progress: &live::Progress) -> bool {
        if !self.one {
            return false;
        }
        if let Some(percent) = progress.percent {
            if !self.told.replace(true) {
                self.look(ONE);
                self.bar.set_length(100);
            }
            self.bar.set_position(u64::from(percent));
        }
        self.bar.set_message(clean(progress.note.as_deref().unwrap_or_default()));
        true
    }

    /// Counts one answer.
    pub(super) fn count(&self, response: &Response) {
        let mut counts = self.counts.take();
        counts.add(response.outcome.state);
        let (ended, succeeded) = (counts.ended(), counts.succeeded);
        self.counts.set(counts);
        if self.told.get() {
            return;
        }
        let others = ended - succeeded;
        if others > 0 {
            self.bar.set_message(format!("({others} not succeeded)"));
        }
        self.bar.set_position(u64::from(ended));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
