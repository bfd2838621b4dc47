//! The demonstration's screen: a log that scrolls, and a line of state below it on a terminal.

use std::time::Duration;

use console::{Style, Term, truncate_str};
use indicatif::{ProgressBar, ProgressStyle};

use super::super::output;
use super::tally::Tally;
use crate::engine::{Event, What};
use crate::id::{CommandName, JobName, Serial};
use crate::run::{Counts, DeliveryState, Response};
use crate::time::{Clock as _, SystemClock, Timestamp};

/// Characters of a result that a line shows, at most.
const SHOWN: usize = 60;

/// The screen.
pub(super) struct Screen {
    bar: ProgressBar,
    colours: bool,
}

impl Screen {
    /// Lines go to standard output; the line of state only to a terminal.
    pub(super) fn new() -> Self {
        let term = Term::stdout();
        let bar = if term.is_term() {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            ProgressBar::hidden()
        };
        Self { bar, colours: output::colours(&term) }
    }

    /// A heading.
    pub(super) fn title(&self, text: &str) {
        let text = self.paint(Style::new().bold(), text);
        self.line(&format!("\n{text}"));
    }

    /// A sentence.
    pub(super) fn note(&self, text: &str) {
        self.line(text);
    }

    /// Something that the demonstration does by itself.
    pub(super) fn act(&self, text: &str) {
        let now = SystemClock.now();
        let text = self.paint(Style::new().magenta().bold(), &format!("* {text}"));
        self.line(&format!("{} {text}", self.time(now)));
    }

    /// Something that happened in the fleet.
    pub(super) fn event(&self, event: &Event) {
        if let Some(text) = self.words(&event.what) {
            self.line(&format!("{} {text}", self.time(event.at)));
        }
    }

    /// The line of state.
    pub(super) fn status(&self, tally: &Tally) {
        let ended: u64 = tally.ends.values().sum();
        let good = tally.ends.get(&DeliveryState::Succeeded).copied().unwrap_or_default();
        self.bar.set_message(format!(
            "{}/{} agents connected, {} runs, {good} of {ended} deliveries succeeded; Ctrl-C ends",
            tally.connected(),
            tally.clients.len(),
            tally.runs,
        ));
    }

    /// Takes the line of state away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn words(&self, what: &What) -> Option<String> {
        match what {
            What::RunStarted { serial, job, command, total, away, .. } => {
                Some(self.started(*serial, job.as_ref(), command, *total, *away))
            }
            What::DeliveryEnded { job, command, response }
            | What::AttemptEnded { job, command, response, .. } => {
                Some(self.answered(job.as_ref(), command, response))
            }
            What::RunEnded { serial, counts, .. } => self.short_of_success(*serial, *counts),
            What::Connected { client, queued: 0 } => {
                Some(self.paint(Style::new().cyan(), &format!("  {client} is connected")))
            }
            What::Connected { client, queued } => Some(self.paint(
                Style::new().cyan().bold(),
                &format!(
                    "  {client} is connected; {} waited for it",
                    count(*queued, "delivery", "deliveries")
                ),
            )),
            What::Disconnected { client, reason } => {
                Some(self.paint(Style::new().yellow(), &format!("  {client} is away: {reason}")))
            }
            What::Missed { job, missed } => Some(self.paint(
                Style::new().yellow(),
                &format!("  {job} missed {} firings: {}", missed.total, missed.reason),
            )),
            What::Job { .. }
            | What::Calendar { .. }
            | What::Forgotten { .. }
            | What::Rollout { .. }
            | What::Replay { .. }
            | What::LateAnswer { .. }
            | What::RunChanged { .. }
            | What::Client { .. }
            | What::Server { .. }
            | What::Setting { .. }
            | What::TokenUsed { .. }
            | What::ClockJumped => None,
        }
    }

    fn started(
        &self,
        serial: Serial,
        job: Option<&JobName>,
        command: &CommandName,
        total: u32,
        away: u32,
    ) -> String {
        let name = job.map_or_else(|| format!("submitted {command}"), JobName::to_string);
        let waiting = if away == 0 { String::new() } else { format!(", {away} away: queued") };
        let name = self.paint(Style::new().blue().bold(), &format!("> {name}"));
        let rest =
            format!("to {}{waiting} ({serial})", count(u64::from(total), "client", "clients"));
        format!("{name} {}", self.paint(Style::new().dim(), &rest))
    }

    fn answered(
        &self,
        job: Option<&JobName>,
        command: &CommandName,
        response: &Response,
    ) -> String {
        let outcome = &response.outcome;
        let style = match outcome.state {
            DeliveryState::Succeeded => Style::new().green(),
            DeliveryState::Failed | DeliveryState::Rejected | DeliveryState::TimedOut => {
                Style::new().red()
            }
            _ => Style::new().yellow(),
        };
        let name = job.map_or_else(|| command.to_string(), JobName::to_string);
        let state = self.paint(style, &format!("{:<9}", outcome.state.name()));
        let text = output::clean(&said(response));
        let text = self.paint(Style::new().dim(), &text);
        format!("    {state} {:<8} {name:<18} {text}", response.client)
    }

    /// A run that ended well has been told by its answers.
    fn short_of_success(&self, serial: Serial, counts: Counts) -> Option<String> {
        (counts.total > 0 && counts.succeeded == 0 && counts.failed > 0).then(|| {
            let text = format!("  run {serial} has failed on {} clients", counts.failed);
            self.paint(Style::new().red(), &text)
        })
    }

    fn time(&self, at: Timestamp) -> String {
        // The time of day is enough for half a minute: 11 characters into RFC 3339, 12 of them.
        let text: String = at.to_string().chars().skip(11).take(12).collect();
        self.paint(Style::new().dim(), &text)
    }

    fn paint(&self, style: Style, text: &str) -> String {
        style.force_styling(self.colours).apply_to(text).to_string()
    }

    fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            output::say(text);
        } else {
            // One event, one line: on a narrow terminal its end is cut.
            let width = usize::from(Term::stdout().size().1);
            let text = truncate_str(text, width, "…");
            self.bar.suspend(|| output::say(&text));
        }
    }
}

fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// The first words of an answer: its reason, or what the program printed.
fn said(response: &Response) -> String {
    let outcome = &response.outcome;
    if let Some(reason) = &outcome.reason {
        return shorten(reason);
    }
    let result: Option<serde_json::Value> =
        outcome.result.as_ref().and_then(|result| result.to().ok());
    match &result {
        Some(value) => match value.get("stdout").and_then(|text| text.as_str()) {
            Some(text) => shorten(text.trim().lines().last().unwrap_or_default()),
            None => shorten(&value.to_string()),
        },
        None => String::new(),
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN - 1).chain(['…']).collect()
}
