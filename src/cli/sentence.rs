//! An event of the ledger in words: what it was, what it is about, and one sentence.

use super::forecast::short;
use super::output::{NOTHING, Tone, ran};
use super::show;
use crate::engine::{Forgotten, What};
use crate::history::{About, EventKind};
use crate::job::Missed;
use crate::job_diff::FieldChange;
use crate::rollout::Standing;
use crate::run::{Cause, DeliveryState, Outcome, Response};
use crate::time::{Timestamp, duration};

/// An event's kind in a few words, with what it means.
pub(super) fn kind(what: &What) -> (String, Option<Tone>) {
    match what {
        What::DeliveryEnded { response, .. } => {
            let state = response.outcome.state;
            (format!("delivery {}", words(state.name())), Some(tone(state)))
        }
        What::AttemptEnded { response, .. } => {
            (format!("attempt {}", words(response.outcome.state.name())), Some(Tone::Busy))
        }
        What::Job { change, .. } => (format!("job {change}"), None),
        What::Client { change, .. } => (format!("client {change}"), None),
        What::Calendar { change, .. } => (format!("calendar {change}"), None),
        What::Server { change, .. } => (format!("server {change}"), Some(Tone::Busy)),
        What::RunChanged { change, client, .. } => {
            let of = if client.is_some() { "delivery" } else { "run" };
            (format!("{of} {change}"), Some(Tone::Busy))
        }
        What::RunEnded { counts, .. } => {
            let is_good = counts.succeeded == counts.total;
            ("run ended".to_owned(), Some(if is_good { Tone::Good } else { Tone::Bad }))
        }
        What::Missed { .. } => ("firings missed".to_owned(), Some(Tone::Bad)),
        What::Setting { .. } => ("setting changed".to_owned(), Some(Tone::Busy)),
        What::ClockJumped => ("clock jumped".to_owned(), Some(Tone::Bad)),
        other => (words(EventKind::of(other).name()), None),
    }
}

fn tone(state: DeliveryState) -> Tone {
    if state == DeliveryState::Succeeded { Tone::Good } else { Tone::Bad }
}

/// A name of the JSON, as people write it.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// The job and the client that an event is about.
pub(super) fn about(what: &What) -> String {
    let About { job, client, .. } = About::of(what);
    match (job, client, what) {
        (Some(job), Some(client), _) => format!("{job} → {client}"),
        (Some(job), None, _) => job.to_string(),
        (None, Some(client), _) => client.to_string(),
        (None, None, What::Calendar { calendar, .. }) => calendar.to_string(),
        (None, None, _) => NOTHING.to_owned(),
    }
}

/// What there is to say of an event, in one sentence.
pub(super) fn sentence(what: &What) -> String {
    match what {
        What::Job { .. } => job(what),
        What::Missed { missed, .. } => missed_firings(missed),
        What::RunStarted { .. } => started(what),
        What::Rollout { serial, wave, of, rollout, .. } => {
            format!("run {serial}: wave {wave} of {of} {}", standing(rollout))
        }
        What::RunEnded { serial, counts, .. } if counts.total == 0 => {
            format!("run {serial} had nobody to deliver to")
        }
        What::RunEnded { serial, counts, .. } => {
            let retried = match counts.retried {
                0 => String::new(),
                retried => format!(", after {retried} further attempts"),
            };
            format!("run {serial}: {}{retried}", show::counts(counts).join(", "))
        }
        What::DeliveryEnded { command, response, .. } => {
            format!("{command}{}; run {}", outcome(response), response.serial)
        }
        What::AttemptEnded { command, response, next_at, .. } => {
            let (told, again) = (outcome(response), short(*next_at));
            format!("{command}{told}; again at {again}; run {}", response.serial)
        }
        What::RunChanged { serial, .. } => format!("run {serial}"),
        What::Client { fields, change, .. } if fields.is_empty() => match change.as_str() {
            "described" => "it said what it is".to_owned(),
            _ => NOTHING.to_owned(),
        },
        What::Client { fields, .. } => changes(fields),
        What::Server { .. } => server(what),
        What::Setting { name, before, after } => {
            format!("{name}: {} → {}", or_none(before.as_ref()), or_none(after.as_ref()))
        }
        What::TokenUsed { token, from } => format!("token {token} from {from}"),
        What::ClockJumped => "the server's wall clock was set".to_owned(),
        What::Connected { queued: 0, .. } => "nothing waited for it".to_owned(),
        What::Connected { queued, .. } => format!("{queued} deliveries waited for it"),
        What::Disconnected { reason, .. } => reason.clone(),
        What::Forgotten { forgotten: Forgotten { runs, deliveries, before, .. } } => {
            format!(
                "{runs} runs with {deliveries} deliveries, by the limits as of {}",
                short(*before)
            )
        }
        What::Replay { replay, started, items, counts, .. } => {
            let ends = show::counts(counts).join(", ");
            let ends = if counts.total == 0 { String::new() } else { format!(": {ends}") };
            format!("replay {replay}, {started} of {items} runs{ends}")
        }
        What::Calendar { moved, .. } => format!("{moved} jobs have another next firing by it"),
        What::LateAnswer { serial, answer } => {
            let attempt = attempt(answer.attempt);
            let told = told(&answer.outcome);
            format!("run {serial}{attempt} had ended; it answered {}{told}", answer.outcome.state)
        }
    }
}

fn job(what: &What) -> String {
    let What::Job { change, revision, fields, reason, until, .. } = what else {
        return String::new();
    };
    let mut parts = Vec::new();
    parts.extend(revision.filter(|_| change != "removed").map(|no| format!("revision {no}")));
    if !fields.is_empty() {
        parts.push(changes(fields));
    }
    parts.extend(reason.clone());
    parts.extend(until.map(|until| format!("until {}", short(until))));
    if parts.is_empty() { NOTHING.to_owned() } else { parts.join("; ") }
}

fn missed_firings(missed: &Missed) -> String {
    let Missed { first, last, reason, .. } = missed;
    let which = if first == last {
        format!("that of {}", short(*first))
    } else {
        format!("those of {} to {}", short(*first), short(*last))
    };
    format!("{which}: {reason}")
}

fn started(what: &What) -> String {
    let What::RunStarted { serial, command, cause, scheduled_at, total, away, .. } = what else {
        return String::new();
    };
    let why = match cause {
        Cause::Scheduled => format!("due {}", short(*scheduled_at)),
        Cause::CatchUp => format!("catches up on {}", short(*scheduled_at)),
        Cause::Trigger => "triggered".to_owned(),
        Cause::Submit => "submitted".to_owned(),
        Cause::Replay => "run again by a replay".to_owned(),
        Cause::Backfill => format!("made up for {}", short(*scheduled_at)),
    };
    let clients = if *total == 1 { "client" } else { "clients" };
    let away = if *away == 0 { String::new() } else { format!(", {away} of them away") };
    format!("{command} to {total} {clients}{away}; {why}; run {serial}")
}

fn standing(rollout: &Standing) -> String {
    match rollout {
        Standing::Going => "begins".to_owned(),
        Standing::Waiting { until } => {
            format!("has succeeded; the next waits until {}", short(*until))
        }
        Standing::Approval { .. } => "has succeeded; the next waits for an approval".to_owned(),
        Standing::Held { reason } => format!("is held: {reason}"),
        Standing::Aborted { reason } => format!("is aborted: {reason}"),
    }
}

fn outcome(response: &Response) -> String {
    let ran = response.outcome.ran_ms.map(|ran_ms| format!(" ran {}", ran(ran_ms)));
    let ran = ran.unwrap_or_default();
    format!("{}{ran}{}", attempt(response.attempt), told(&response.outcome))
}

fn attempt(attempt: u32) -> String {
    if attempt == 1 { String::new() } else { format!(", attempt {attempt}") }
}

fn told(outcome: &Outcome) -> String {
    match (&outcome.reason, &outcome.result) {
        (Some(reason), None) => format!(": {reason}"),
        (None, Some(result)) => format!(": {result}"),
        (Some(reason), Some(result)) => format!(": {reason}; {result}"),
        (None, None) => String::new(),
    }
}

fn server(what: &What) -> String {
    let What::Server { version, down_since, stopped_in_order, change } = what else {
        return String::new();
    };
    if change == "stopped" {
        return format!("version {version}, in order");
    }
    let before = match (down_since, stopped_in_order) {
        (None, _) => "the store is new".to_owned(),
        (Some(since), Some(true)) => format!("it was down since {}", short(*since)),
        (Some(since), _) => {
            format!("it had ended without a stop, some time after {}", short(*since))
        }
    };
    format!("version {version}; {before}")
}

fn changes(fields: &[FieldChange]) -> String {
    let one = |change: &FieldChange| {
        let (before, after) = (or_none(change.before.as_ref()), or_none(change.after.as_ref()));
        format!("{}: {before} → {after}", change.field)
    };
    fields.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn or_none(value: Option<&String>) -> &str {
    value.map_or("(none)", String::as_str)
}

/// A moment of the command line: a time, or how long ago.
pub(super) fn ago(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    match duration::parse(text) {
        Ok(passed) => Ok(now.minus(passed)),
        Err(_) => Err(format!(
            "{text:?} is neither a time, such as 2026-11-22T06:00:00Z, nor how long ago, such as \
             90s, 2h or 1d"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(json: &str) -> What {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_kind_of_event_has_a_sentence() {
        let serial = "01JD0000000000000000000000";
        for (json, expected) in [
            (
                r#"{"event":"job","job":"a","id":"01JD0000000000000000000000","change":"updated","revision":2,"fields":[{"field":"rule.every","before":"\"1h\"","after":null}]}"#,
                ["job updated", "a", "revision 2; rule.every: \"1h\" → (none)"],
            ),
            (
                r#"{"event":"job","job":"a","id":"01JD0000000000000000000000","change":"paused","reason":"moving","until":"2026-11-22T06:00:00Z"}"#,
                ["job paused", "a", "moving; until 2026-11-22 06:00:00Z"],
            ),
            (
                r#"{"event":"missed","job":"a","missed":{"total":2,"first":"2026-11-22T06:00:00Z","last":"2026-11-22T07:00:00Z","reason":"the server was down"}}"#,
                [
                    "firings missed",
                    "a",
                    "those of 2026-11-22 06:00:00Z to 2026-11-22 07:00:00Z: the server was down",
                ],
            ),
            (
                r#"{"event":"run_started","serial":"01JD0000000000000000000000","job":"a","command":"work","cause":"scheduled","scheduled_at":"2026-11-22T06:00:00Z","total":3,"away":1}"#,
                [
                    "run started",
                    "a",
                    "work to 3 clients, 1 of them away; due 2026-11-22 06:00:00Z; run 01JD0000000000000000000000",
                ],
            ),
            (
                r#"{"event":"run_ended","serial":"01JD0000000000000000000000","job":null,"counts":{"total":3,"succeeded":2,"failed":1,"retried":4}}"#,
                [
                    "run ended",
                    "-",
                    "run 01JD0000000000000000000000: 2 succeeded, 1 failed, after 4 further attempts",
                ],
            ),
            (
                r#"{"event":"delivery_ended","job":"a","command":"work","response":{"serial":"01JD0000000000000000000000","client":"web-01","at":"2026-11-22T06:00:00Z","attempt":2,"state":"timed_out","reason":"it ran too long","ran_ms":1200}}"#,
                [
                    "delivery timed out",
                    "a → web-01",
                    "work, attempt 2 ran 1.2s: it ran too long; run 01JD0000000000000000000000",
                ],
            ),
            (
                r#"{"event":"connected","client":"web-01","queued":3}"#,
                ["connected", "web-01", "3 deliveries waited for it"],
            ),
            (
                r#"{"event":"server","change":"started","version":"1","down_since":"2026-11-22T06:00:00Z","stopped_in_order":false}"#,
                [
                    "server started",
                    "-",
                    "version 1; it had ended without a stop, some time after 2026-11-22 06:00:00Z",
                ],
            ),
            (
                r#"{"event":"run_changed","serial":"01JD0000000000000000000000","job":null,"change":"cancelled","client":"c"}"#,
                ["delivery cancelled", "c", "run 01JD0000000000000000000000"],
            ),
        ] {
            let what = what(json);
            assert_eq!([kind(&what).0, about(&what), sentence(&what)], expected, "{serial}");
        }
    }

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now = Timestamp::from_millis(100_000);
        assert_eq!(ago("90s", now), Ok(Timestamp::from_millis(10_000)));
        assert_eq!(ago("1970-01-01T00:00:01Z", now), Ok(Timestamp::from_millis(1_000)));
        assert!(ago("soon", now).unwrap_err().starts_with("\"soon\" is neither a time"));
    }
}
