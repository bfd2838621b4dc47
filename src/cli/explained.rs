//! Explanations as rows.

use std::time::Duration;

use super::error::CliError;
use super::forecast::short;
use super::output::{Field, NOTHING, Out, Tone, note, ran};
use super::reasons::{Lead, told, why, word};
use super::show;
use crate::explain::{Away, Delivery, Fate, Firing, Item, MissedFirings, OneDelivery, Sums};
use crate::id::{ClientId, JobName};
use crate::run::{Cause, Counts, DeliveryState};
use crate::time::duration;

/// Rows that are laid out together; of a longer table, each so many have widths of their own.
const ROWS: usize = 2_000;

const OF_JOB: [&str; 6] = ["DUE", "FATE", "SERIAL", "LATE", "OK", "WHY"];
const OF_CLIENT: [&str; 6] = ["DUE", "FATE", "SERIAL", "JOB", "AFTER", "WHY"];

/// A row, before it is known how wide the last column can be.
#[derive(Default)]
struct Row {
    /// All cells but the last.
    cells: [String; 5],
    /// What the second means.
    tone: Option<Tone>,
    why: String,
}

/// A table in the making.
pub(super) struct Sheet {
    headings: [&'static str; 6],
    /// Of whom or what.
    subject: String,
    of_job: bool,
    rows: Vec<Row>,
}

/// The table of a job's firings.
pub(super) fn of_job(job: &JobName) -> Sheet {
    let subject = format!("job {job}");
    Sheet { headings: OF_JOB, subject, of_job: true, rows: Vec::new() }
}

/// The table of a client's deliveries.
pub(super) fn of_client(client: &ClientId) -> Sheet {
    let subject = format!("client {client}");
    Sheet { headings: OF_CLIENT, subject, of_job: false, rows: Vec::new() }
}

impl Sheet {
    /// Takes an item in, and writes the table when it has rows enough.
    pub(super) fn put(&mut self, out: &Out, item: &Item) -> Result<(), CliError> {
        match item {
            Item::Firing(firing) => self.rows.extend(firing_rows(firing)),
            Item::Delivery(one) if self.of_job => self.rows.push(client_row(&one.delivery)),
            Item::Delivery(one) => self.rows.push(delivery_row(one)),
            Item::Away(away) => self.rows.push(away_row(away)),
            Item::Missed(missed) => self.rows.push(missed_row(missed)),
            Item::Note(told) => note(&format!("note: {}", told.note)),
            Item::Sums(sums) => {
                self.end(out)?;
                for line in sums_lines(&self.subject, sums, self.of_job) {
                    note(&line);
                }
            }
        }
        if self.rows.len() >= ROWS { self.end(out) } else { Ok(()) }
    }

    /// Writes what is left. On a terminal a long reason goes on below itself: it is what was asked
    /// for.
    pub(super) fn end(&mut self, out: &Out) -> Result<(), CliError> {
        let rows = std::mem::take(&mut self.rows);
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row.cells[column].chars().count());
            cells.chain([self.headings[column].len()]).max().unwrap_or(0)
        };
        let room = out.room(&[0, 1, 2, 3, 4].map(width));
        out.table(&self.headings, rows.into_iter().flat_map(|row| laid_out(row, room)).collect())
    }
}

/// A row, and further ones for the lines of its last cell.
fn laid_out(row: Row, room: Option<usize>) -> Vec<Vec<Field>> {
    let Row { cells, tone, why } = row;
    let mut lines = room.map_or_else(|| vec![why.clone()], |room| wrapped(&why, room)).into_iter();
    let mut fields: Vec<Field> = cells.map(Field::from).into();
    if let Some(tone) = tone {
        fields[1] = Field::toned(fields[1].text(), tone);
    }
    fields.push(lines.next().unwrap_or_default().into());
    let more = |line: String| {
        let mut fields = vec![Field::from(""); 5];
        fields.push(format!("  {line}").into());
        fields
    };
    std::iter::once(fields).chain(lines.map(more)).collect()
}

/// A text in lines of at most so many characters, but for longer words; all but the first are
/// two shorter.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let first = lines.len() == 1;
        let Some(line) = lines.last_mut() else { break };
        let room = if first { room } else { room.saturating_sub(2) };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

fn row(cells: [String; 5], tone: Tone, why: String) -> Row {
    Row { cells, tone: Some(tone), why }
}

fn nothing() -> String {
    NOTHING.to_owned()
}

fn firing_rows(firing: &Firing) -> Vec<Row> {
    let Firing { counts, deliveries, .. } = firing;
    let ok = counts.map(|counts| format!("{}/{}", counts.succeeded, counts.total));
    let serial = firing.fired_at.map(|_| firing.serial.to_string());
    let mut why = why(firing);
    let single = why.is_empty() && counts.is_some_and(|counts| counts.total == 1);
    let lead = if single { Lead::State } else { Lead::Client };
    let mut lines: Vec<String> = deliveries.iter().map(|delivery| told(delivery, lead)).collect();
    if firing.more > 0 {
        lines.push(format!("and {} more; --all-clients shows them", firing.more));
    }
    let mut lines = lines.into_iter();
    if why.is_empty() {
        why = lines.next().unwrap_or_default();
    }
    let (word, tone) = fate(firing);
    let late = firing.late_ms.map_or_else(nothing, ran);
    let serial = serial.unwrap_or_else(nothing);
    let cells = [short(firing.at), word, serial, late, ok.unwrap_or_else(nothing)];
    let more = lines.map(|why| Row { why, ..Row::default() });
    std::iter::once(row(cells, tone, why)).chain(more).collect()
}

/// What became of a firing, in a word and its colour.
fn fate(firing: &Firing) -> (String, Tone) {
    let (word, tone) = match &firing.fate {
        Fate::Succeeded => ("succeeded".to_owned(), Tone::Good),
        Fate::NotSucceeded => {
            let counts = firing.counts.unwrap_or_default();
            (worst(&counts).map_or("ended", DeliveryState::name).to_owned(), Tone::Bad)
        }
        Fate::Open => {
            let open = firing.counts.unwrap_or_default().open();
            (format!("{open} open"), if firing.problem { Tone::Bad } else { Tone::Busy })
        }
        Fate::Nobody { .. } => ("nobody".to_owned(), Tone::Bad),
        Fate::NotForClient => ("not for it".to_owned(), Tone::Quiet),
        Fate::Missed { .. } => ("missed".to_owned(), Tone::Bad),
        Fate::Paused { .. } => ("paused".to_owned(), Tone::Busy),
        Fate::Dropped { .. } => ("dropped".to_owned(), Tone::Bad),
        Fate::Due => ("due".to_owned(), Tone::Busy),
        Fate::Calendar { .. } => ("not known".to_owned(), Tone::Quiet),
        Fate::Forgotten { .. } => ("forgotten".to_owned(), Tone::Quiet),
        Fate::Unexplained { .. } => ("UNEXPLAINED".to_owned(), Tone::Bad),
    };
    (word, tone)
}

/// The end by which a run is called that did not succeed.
fn worst(counts: &Counts) -> Option<DeliveryState> {
    use DeliveryState::{
        Cancelled, Expired, Failed, Rejected, Removed, Skipped, Superseded, TimedOut,
    };
    [Failed, TimedOut, Rejected, Expired, Cancelled, Superseded, Skipped, Removed]
        .into_iter()
        .find(|state| counts.of(*state) > 0)
}

fn tone(state: DeliveryState) -> Tone {
    match state {
        DeliveryState::Succeeded => Tone::Good,
        state if state.is_end() => Tone::Bad,
        _ => Tone::Busy,
    }
}

/// The same without how long after its moment it ended, which has a column of its own.
fn told_beside(delivery: &Delivery) -> String {
    told(&Delivery { after_ms: None, ..delivery.clone() }, Lead::Reason)
}

/// A delivery below its firing.
fn client_row(delivery: &Delivery) -> Row {
    let after = delivery.after_ms.map_or_else(nothing, ran);
    let said = told_beside(delivery);
    let colon = if said.is_empty() { "" } else { ": " };
    let why = format!("{}{colon}{said}", delivery.client);
    let state = delivery.state.to_string();
    let empty = String::new;
    row([empty(), state, empty(), after, empty()], tone(delivery.state), why)
}

/// A delivery of a client.
fn delivery_row(one: &OneDelivery) -> Row {
    let OneDelivery { delivery, cause, .. } = one;
    let cause = Some(cause).filter(|cause| **cause != Cause::Scheduled).map(ToString::to_string);
    let said = Some(told_beside(delivery)).filter(|said| !said.is_empty());
    let why = cause.into_iter().chain(said).collect::<Vec<_>>().join(": ");
    let job = one.job.as_ref().map_or_else(|| one.command.to_string(), ToString::to_string);
    let after = delivery.after_ms.map_or_else(nothing, ran);
    let (due, state) = (short(one.scheduled_at), delivery.state.to_string());
    row([due, state, one.serial.to_string(), job, after], tone(delivery.state), why)
}

fn away_row(away: &Away) -> Row {
    let from = away.from.map_or_else(nothing, short);
    let until = match away.to {
        Some(to) => {
            let lasted = away.from.map(|from| to.since(from));
            let lasted = lasted.map(|it| format!(" for {}", rounded(it))).unwrap_or_default();
            format!("until {}{lasted}", short(to))
        }
        None => "until the end of the span".to_owned(),
    };
    let waited = match away.queued {
        0 => String::new(),
        queued => format!("; {queued} deliveries had waited"),
    };
    let why = format!("{until}: {}{waited}", away.reason);
    row([from, "away".into(), nothing(), nothing(), nothing()], Tone::Busy, why)
}

fn missed_row(missed: &MissedFirings) -> Row {
    let MissedFirings { job, first, last, count, reason, policy } = missed;
    let which = match count {
        1 => String::new(),
        count => format!("{count} firings until {}: ", short(*last)),
    };
    let why = format!("{which}{reason}; catch_up is {}", word(policy));
    let cells = [short(*first), "missed".into(), nothing(), job.to_string(), nothing()];
    row(cells, Tone::Bad, why)
}

/// A length in whole seconds, or in milliseconds below one.
fn rounded(length: Duration) -> String {
    match length.as_secs() {
        0 => duration::format(length),
        seconds => duration::format(Duration::from_secs(seconds)),
    }
}

fn sums_lines(subject: &str, sums: &Sums, of_job: bool) -> Vec<String> {
    let span = format!("from {} to {}", short(sums.since), short(sums.until));
    let counted = |pairs: &[(u64, &str)]| {
        let some = pairs.iter().filter(|(count, _)| *count > 0);
        some.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
    };
    let mut lines = Vec::new();
    if of_job {
        let fates = counted(&[
            (sums.fired, "fired"),
            (sums.missed, "missed"),
            (sums.paused, "paused"),
            (sums.dropped, "dropped"),
            (sums.due, "due"),
            (sums.calendar, "not known"),
            (sums.forgotten, "forgotten"),
            (sums.unexplained, "UNEXPLAINED"),
        ]);
        let fates = if fates.is_empty() { fates } else { format!(": {fates}") };
        lines.push(format!("{subject}: {} firings were due {span}{fates}", sums.expected));
        let more = counted(&[
            (sums.caught_up, "of them caught up"),
            (sums.others, "more runs that the rule does not have"),
            (sums.nobody, "runs with nobody to deliver to"),
        ]);
        lines.extend(Some(more).filter(|more| !more.is_empty()));
    } else {
        let away = sums.away_ms.map(Duration::from_millis).filter(|it| !it.is_zero());
        let away = away.map(|it| format!(", away for {}", rounded(it))).unwrap_or_default();
        let missed = counted(&[(sums.missed, "firings missed")]);
        let missed = if missed.is_empty() { missed } else { format!(", {missed}") };
        lines.push(format!("{subject} {span}{away}{missed}"));
    }
    let mut ends = show::counts(&sums.deliveries);
    if sums.deliveries.open() > 0 {
        ends.push(format!("{} open", sums.deliveries.open()));
    }
    let ends = if ends.is_empty() { String::new() } else { format!(": {}", ends.join(", ")) };
    lines.push(format!("{} deliveries{ends}", sums.deliveries.total));
    if sums.problems > 0 {
        lines.push(format!("{} did not do what they were to do", sums.problems));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_goes_on_below_itself() {
        let lines = wrapped("the server was down from here to there", 20);
        assert_eq!(lines, ["the server was down", "from here to there"]);
        assert_eq!(wrapped("short", 20), ["short"]);
        assert_eq!(wrapped(&"x".repeat(30), 20), ["x".repeat(30)]);
        let rows = laid_out(Row { why: "one two".into(), ..Row::default() }, Some(3));
        assert_eq!(rows.len(), 2);
        let rows = laid_out(Row { why: "one two".into(), ..Row::default() }, None);
        assert_eq!(rows.len(), 1, "nothing is wrapped without a terminal");
    }
}
