//! Explanations as rows and words.

use std::time::Duration;

use super::error::CliError;
use super::forecast::short;
use super::output::{Field, NOTHING, Out, Tone, note, ran};
use super::show;
use crate::explain::{
    Away, Delivery, Down, Fate, Firing, Item, LateBecause, MissedFirings, OneDelivery, Sums,
};
use crate::id::{ClientId, JobName};
use crate::run::{Cause, Counts, DeliveryState};
use crate::time::duration;

/// Rows that are laid out together; of a longer table, each so many have widths of their own.
const ROWS: usize = 2_000;

const OF_JOB: [&str; 6] = ["DUE", "FATE", "SERIAL", "LATE", "OK", "WHY"];
const OF_CLIENT: [&str; 6] = ["DUE", "FATE", "SERIAL", "JOB", "AFTER", "WHY"];

/// A table in the making.
pub(super) struct Sheet {
    headings: [&'static str; 6],
    /// Of whom or what.
    subject: String,
    of_job: bool,
    rows: Vec<Vec<Field>>,
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

    /// Writes what is left.
    pub(super) fn end(&mut self, out: &Out) -> Result<(), CliError> {
        out.table(&self.headings, std::mem::take(&mut self.rows))
    }
}

fn firing_rows(firing: &Firing) -> Vec<Vec<Field>> {
    let Firing { counts, deliveries, .. } = firing;
    let ok = counts.map_or_else(
        || NOTHING.to_owned(),
        |counts| format!("{}/{}", counts.succeeded, counts.total),
    );
    let serial = if firing.fired_at.is_some() { firing.serial.to_string() } else { NOTHING.into() };
    let mut why = why(firing);
    let single = why.is_empty() && counts.is_some_and(|counts| counts.total == 1);
    let mut lines: Vec<String> =
        deliveries.iter().map(|delivery| told(delivery, !single)).collect();
    if firing.more > 0 {
        lines.push(format!("and {} more; --all-clients shows them", firing.more));
    }
    let mut lines = lines.into_iter();
    if why.is_empty() {
        why = lines.next().unwrap_or_default();
    }
    let first = vec![
        short(firing.at).into(),
        fate(firing),
        serial.into(),
        firing.late_ms.map_or_else(|| NOTHING.to_owned(), ran).into(),
        ok.into(),
        why.into(),
    ];
    let empty = || Field::from("");
    let more = |line: String| vec![empty(), empty(), empty(), empty(), empty(), line.into()];
    std::iter::once(first).chain(lines.map(more)).collect()
}

/// What became of a firing, in a word and its colour.
fn fate(firing: &Firing) -> Field {
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
    Field::toned(word, tone)
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

fn down(down: &Down) -> String {
    let how = if down.in_order { "down" } else { "down (it had not stopped in order)" };
    match down.from {
        Some(from) => format!("the server was {how} from {} to {}", short(from), short(down.to)),
        None => format!("the server was {how} until {}", short(down.to)),
    }
}

/// What is to be said of a firing as a whole.
fn why(firing: &Firing) -> String {
    let mut parts = Vec::new();
    match firing.cause {
        Cause::Scheduled if !firing.expected => {
            parts.push("the rule, with its calendars as they are now, does not have it".to_owned());
        }
        Cause::Scheduled | Cause::CatchUp => {}
        other => parts.push(other.to_string()),
    }
    parts.extend(firing.late_because.as_ref().map(|because| match because {
        LateBecause::Down(span) => format!("caught up: {}", down(span)),
        LateBecause::Paused { resumed_at } => {
            format!("caught up: the job was paused until {}", short(*resumed_at))
        }
        LateBecause::Late => "caught up".to_owned(),
    }));
    parts.extend(said(&firing.fate));
    parts.join("; ")
}

fn said(fate: &Fate) -> Option<String> {
    Some(match fate {
        Fate::Succeeded | Fate::NotSucceeded | Fate::Open => return None,
        Fate::NotForClient => "the run was not for it".to_owned(),
        Fate::Nobody { reason } | Fate::Unexplained { reason } => reason.clone(),
        Fate::Missed { reason, policy, down: span, .. } => {
            let why = span.as_ref().map_or_else(|| reason.clone(), down);
            match policy {
                Some(policy) => format!("{why}; catch_up is {}", word(policy)),
                None => why,
            }
        }
        Fate::Paused { since, until, reason } => {
            let until = until.map(|until| format!(" until {}", short(until))).unwrap_or_default();
            let why = reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("the job is paused since {}{until}{why}", short(*since))
        }
        Fate::Dropped { paused_since, at, revision } => {
            let since = paused_since.map(|at| format!(" since {}", short(at))).unwrap_or_default();
            let then = match revision {
                Some(revision) => format!("revision {revision} changed its rule"),
                None => "it was removed".to_owned(),
            };
            format!("the job was paused{since}, and {then} at {}", short(*at))
        }
        Fate::Due => "it is due now".to_owned(),
        Fate::Calendar { calendar, changed_at } => {
            let changed = match changed_at {
                Some(at) => format!("was changed at {}", short(*at)),
                None => "is no more".to_owned(),
            };
            format!("calendar {calendar} {changed}: it may have closed the day before")
        }
        Fate::Forgotten { fired_at, ends, .. } => match (fired_at, ends) {
            (Some(at), Some(ends)) => {
                let ends = show::counts(ends).join(", ");
                format!("retention has forgotten the run; it fired at {}: {ends}", short(*at))
            }
            _ => "from before the ledger; no run of then is kept".to_owned(),
        },
    })
}

/// A value as job files write it.
fn word<T: serde::Serialize>(value: &T) -> String {
    let json = serde_json::to_value(value).unwrap_or_default();
    json.as_str().unwrap_or_default().to_owned()
}

/// What became of a delivery, in a line; with `named`, the client and the state first.
fn told(delivery: &Delivery, named: bool) -> String {
    let mut parts = Vec::new();
    if named {
        parts.push(format!("{} {}", delivery.client, delivery.state));
    } else if !delivery.state.is_end() {
        parts.push(delivery.state.to_string());
    }
    if let Some(attempt) = delivery.attempt {
        parts.push(format!("attempt {attempt}"));
    }
    parts.extend(delivery.reason.clone());
    parts.extend(delivery.result.clone());
    if let Some(actor) = &delivery.cancelled_by {
        parts.push(format!("by {actor}"));
    }
    if let Some(waits) = &delivery.waits {
        if waits.away {
            let since = waits.away_since.map_or_else(
                || "it has never connected".to_owned(),
                |at| format!("away since {}", short(at)),
            );
            parts.push(since);
        }
        parts.extend(waits.reason.clone());
        parts.extend(waits.not_before.map(|at| format!("not before {}", short(at))));
        if waits.ahead > 0 {
            parts.push(format!("{} before it", waits.ahead));
        }
        parts.extend(waits.progress.as_ref().map(ToString::to_string));
    }
    if delivery.state == DeliveryState::Succeeded {
        let after = delivery.after_ms.map(|after| format!("{} after it was due", ran(after)));
        parts.extend(after);
    }
    parts.join(": ")
}

fn state(state: DeliveryState) -> Field {
    let tone = match state {
        DeliveryState::Succeeded => Tone::Good,
        state if state.is_end() => Tone::Bad,
        _ => Tone::Busy,
    };
    Field::toned(state.name(), tone)
}

/// A delivery below its firing.
fn client_row(delivery: &Delivery) -> Vec<Field> {
    let after = delivery.after_ms.map_or_else(|| NOTHING.to_owned(), ran);
    let mut why = format!("{} ", delivery.client);
    why += &told(&Delivery { after_ms: None, ..delivery.clone() }, false);
    vec!["".into(), state(delivery.state), "".into(), after.into(), "".into(), why.into()]
}

/// A delivery of a client.
fn delivery_row(one: &OneDelivery) -> Vec<Field> {
    let OneDelivery { delivery, cause, .. } = one;
    let mut why = match cause {
        Cause::Scheduled => String::new(),
        other => format!("{other}: "),
    };
    why += &told(&Delivery { after_ms: None, ..delivery.clone() }, false);
    let job = one.job.as_ref().map_or_else(|| one.command.to_string(), ToString::to_string);
    vec![
        short(one.scheduled_at).into(),
        state(delivery.state),
        one.serial.to_string().into(),
        job.into(),
        delivery.after_ms.map_or_else(|| NOTHING.to_owned(), ran).into(),
        why.trim_end_matches(": ").to_owned().into(),
    ]
}

fn away_row(away: &Away) -> Vec<Field> {
    let from = away.from.map_or_else(|| NOTHING.to_owned(), short);
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
    let nothing = || Field::from(NOTHING);
    vec![from.into(), Field::toned("away", Tone::Busy), nothing(), nothing(), nothing(), why.into()]
}

fn missed_row(missed: &MissedFirings) -> Vec<Field> {
    let MissedFirings { job, first, last, count, reason, policy } = missed;
    let which = match count {
        1 => String::new(),
        count => format!("{count} firings until {}: ", short(*last)),
    };
    let why = format!("{which}{reason}; catch_up is {}", word(policy));
    let nothing = || Field::from(NOTHING);
    let job = Field::from(job.as_str());
    vec![
        short(*first).into(),
        Field::toned("missed", Tone::Bad),
        nothing(),
        job,
        nothing(),
        why.into(),
    ]
}

/// A length in whole seconds, or in milliseconds below one.
fn rounded(length: Duration) -> String {
    match length.as_secs() {
        0 => duration::format(length),
        seconds => duration::format(Duration::from_secs(seconds)),
    }
}

fn sums_lines(subject: &str, sums: &Sums, of_job: bool) -> Vec<String> {
    let span = format!("from {} to {}", sums.since, sums.until);
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
