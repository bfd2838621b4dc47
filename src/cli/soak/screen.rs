//! What is seen while a soak runs: a line of state on a terminal, plain lines elsewhere, and every
//! fault as it is injected. All of it goes to standard error.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::super::output;
use super::marks::Mark;
use super::sample::Sample;
use super::watch::Sight;
use crate::time::{Timestamp, duration};

/// Where nobody watches, a line of state comes so often.
const EVERY: Duration = Duration::from_secs(10);

/// The screen.
pub(super) struct Screen {
    bar: Option<ProgressBar>,
    sight: Sight,
    clients: u32,
    /// When the last plain line was written, since the begin.
    told: Option<Duration>,
    /// Marks that were shown.
    pub(super) shown: usize,
}

impl Screen {
    pub(super) fn new(length: Duration, clients: u32, sight: Sight) -> Self {
        let bar = output::is_watched().then(|| {
            let bar = ProgressBar::new(length.as_secs());
            // A template that cannot be read leaves indicatif's own look.
            if let Ok(style) = ProgressStyle::with_template("{bar:20} {elapsed} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, sight, clients, told: None, shown: 0 }
    }

    /// It begins now: the next line of state is the first.
    pub(super) fn begin(&mut self) {
        self.told = None;
    }

    /// A sentence.
    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }

    /// Faults that were injected since the last time.
    pub(super) fn marks(&mut self, marks: &[Mark]) {
        self.shown += marks.len();
        for mark in marks {
            self.say(&format!("{} * {}", clock(mark.from), mark.what));
        }
    }

    /// How it stands.
    pub(super) fn sample(&mut self, sample: &Sample, elapsed: Duration, at: i64) {
        let text = self.text(sample);
        if let Some(bar) = &self.bar {
            bar.set_position(elapsed.as_secs());
            bar.set_message(text);
        } else if self.told.is_none_or(|told| elapsed >= told + EVERY) {
            self.told = Some(elapsed);
            let elapsed = duration::format(Duration::from_secs(elapsed.as_secs()));
            output::note(&format!("{} {elapsed}: {text}", clock(at)));
        }
    }

    fn text(&self, sample: &Sample) -> String {
        let mut text = match sample.connected {
            Some(connected) => format!("{connected}/{} clients", self.clients),
            None => "no answer".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = write!(text, ", {:.0} runs/s, {:.0} commands/s", sample.runs, sample.executions);
        if let Some(open) = sample.runs_open {
            let _ = write!(text, ", {open} runs open");
        }
        if let Some([middle, high, most]) = sample.late {
            let _ = write!(text, ", late {middle} {high} {most} ms");
        }
        if let Some(memory) = sample.memory {
            let _ = write!(text, ", {} MiB", memory >> 20);
        }
        let _ = write!(text, ", disk {} MiB", sample.disk >> 20);
        let [lost, doubled, unexplained] = self.sight.lock().faults;
        let _ = write!(text, "; lost {lost}, doubled {doubled}, unexplained {unexplained}");
        text
    }

    /// Takes the line of state away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The time of the day, in UTC.
fn clock(at: i64) -> String {
    let text = Timestamp::from_millis(at).to_string();
    text.get(11..19).unwrap_or(&text).to_owned()
}
