//! Runs, responses and rules as rows and words, for the subcommands that show them.

use super::error::CliError;
use super::output::{Field, NOTHING, Out, Tone, moment, ran, relative};
use crate::engine::OpenDelivery;
use crate::run::{Counts, DeliveryState, LateAnswer, Outcome, Response, Run};
use crate::schedule::{Rule, When};
use crate::time::{Timestamp, duration};

/// The headings of [`response_row`] and [`open_row`].
const ANSWERS: [&str; 5] = ["CLIENT", "STATE", "RAN", "WHEN", "REASON OR RESULT"];

/// A delivery's state, in its colour.
fn state(state: DeliveryState) -> Field {
    let tone = match state {
        DeliveryState::Succeeded => Tone::Good,
        state if state.is_end() => Tone::Bad,
        _ => Tone::Busy,
    };
    Field::toned(state.name(), tone)
}

/// What a client said: its reason, its result or both.
fn said(response: &Response) -> String {
    let said = told(&response.outcome);
    match (response.attempt, response.retried) {
        (1, false) => said,
        (attempt, false) => format!("attempt {attempt}: {said}"),
        (attempt, true) => format!("attempt {attempt}, to be tried again: {said}"),
    }
}

fn told(outcome: &Outcome) -> String {
    match (&outcome.reason, &outcome.result) {
        (Some(reason), None) => reason.clone(),
        (None, Some(result)) => result.text().to_owned(),
        (Some(reason), Some(result)) => format!("{reason}; {result}"),
        (None, None) => String::new(),
    }
}

/// A response as a line of its own, for lists whose end is not known yet.
pub(super) fn response_line(response: &Response) -> String {
    let Response { at, client, outcome, .. } = response;
    format!("{at}  {client}  {}  {}", outcome.state, said(response)).trim_end().to_owned()
}

/// A late answer as a line of its own.
pub(super) fn late_line(late: &LateAnswer, now: Timestamp) -> String {
    let LateAnswer { client, at, attempt, outcome } = late;
    let when = moment(*at, now);
    let attempt = if *attempt == 1 { String::new() } else { format!(" to attempt {attempt}") };
    let line = format!("late answer of {client}{attempt}, {when}: {} ", outcome.state);
    (line + &told(outcome)).trim_end().to_owned()
}

fn response_row(response: &Response, now: Timestamp) -> Vec<Field> {
    let outcome = &response.outcome;
    vec![
        response.client.as_str().into(),
        state(outcome.state),
        outcome.ran_ms.map_or_else(|| NOTHING.into(), ran).into(),
        relative(response.at, now).into(),
        said(response).into(),
    ]
}

fn open_row(open: &OpenDelivery) -> Vec<Field> {
    let nothing = || Field::from(NOTHING);
    let progress = open.progress.as_ref().map(ToString::to_string).unwrap_or_default();
    vec![open.client.as_str().into(), state(open.state), nothing(), nothing(), progress.into()]
}

/// A table of answers and of deliveries that are still open.
pub(super) fn answers<'a>(
    out: &Out,
    responses: impl IntoIterator<Item = &'a Response>,
    open: &[OpenDelivery],
) -> Result<(), CliError> {
    let mut rows: Vec<_> =
        responses.into_iter().map(|response| response_row(response, out.now)).collect();
    rows.extend(open.iter().map(open_row));
    out.table(&ANSWERS, rows)
}

/// How a run stands, in a few words and their colour.
pub(super) fn standing(run: &Run) -> Field {
    let counts = &run.counts;
    if run.ended_at.is_none() {
        return Field::toned(format!("{} open", counts.open()), Tone::Busy);
    }
    if run.all_succeeded() {
        return Field::toned("succeeded", Tone::Good);
    }
    if counts.total == 0 {
        return Field::toned("nobody to deliver to", Tone::Busy);
    }
    Field::toned(ends(run).join(", "), Tone::Bad)
}

/// The end states of a run's deliveries with their counts, without those that nobody has.
pub(super) fn ends(run: &Run) -> Vec<String> {
    counts(&run.counts)
}

/// The same of the counts alone.
pub(super) fn counts(counts: &Counts) -> Vec<String> {
    [
        (counts.succeeded, DeliveryState::Succeeded),
        (counts.failed, DeliveryState::Failed),
        (counts.rejected, DeliveryState::Rejected),
        (counts.timed_out, DeliveryState::TimedOut),
        (counts.expired, DeliveryState::Expired),
        (counts.cancelled, DeliveryState::Cancelled),
        (counts.superseded, DeliveryState::Superseded),
        (counts.skipped, DeliveryState::Skipped),
        (counts.removed, DeliveryState::Removed),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, state)| format!("{count} {state}"))
    .collect()
}

/// A run's names and values.
pub(super) fn run(out: &Out, run: &Run) -> Result<(), CliError> {
    let mut pairs: Vec<(&str, Field)> = vec![("serial", run.serial.to_string().into())];
    pairs.extend(run.job.as_ref().map(|job| ("job", job.as_str().into())));
    pairs.push(("command", format!("{} {}", run.command.name, run.command.params).into()));
    pairs.push(("target", run.target.to_string().into()));
    pairs.push(("cause", run.cause.to_string().into()));
    pairs.extend(run.replay_of.map(|of| {
        let original = of.serial.map(|serial| format!(", again {serial}")).unwrap_or_default();
        ("replay", format!("{}, item {}{original}", of.replay, of.item + 1).into())
    }));
    pairs.push(("scheduled", moment(run.scheduled_at, out.now).into()));
    pairs.push(("fired", moment(run.fired_at, out.now).into()));
    let times =
        [("expires", run.expires_at), ("cancelled", run.cancelled_at), ("ended", run.ended_at)];
    for (name, at) in times {
        pairs.extend(at.map(|at| (name, moment(at, out.now).into())));
    }
    pairs.push(("standing", standing(run)));
    let mut parts = ends(run);
    if run.counts.open() > 0 {
        parts.push(format!("{} open", run.counts.open()));
    }
    pairs.push(("deliveries", format!("{} ({})", run.counts.total, parts.join(", ")).into()));
    pairs.extend(run.reason.as_ref().map(|reason| ("reason", reason.as_str().into())));
    out.pairs(pairs)
}

/// A rule in a few words.
pub(super) fn rule(rule: &Rule) -> String {
    let when = match &rule.when {
        When::Now => "now".to_owned(),
        When::At(at) => format!("at {at}"),
        When::Every { period, .. } => format!("every {}", duration::format(*period)),
        When::RRule(recurrence) => {
            format!("rrule {recurrence} from {} {}", recurrence.from(), recurrence.time_zone())
        }
        When::Cron(cron) => format!("cron {} {}", cron.expression(), cron.time_zone()),
        When::Any(rules) => rules.iter().map(self::rule).collect::<Vec<_>>().join("; "),
    };
    let limits = [
        rule.start.map(|start| format!("from {start}")),
        rule.end.map(|end| format!("until {end}")),
        rule.count.map(|count| format!("{count} times")),
        rule.filter.as_ref().map(ToString::to_string),
    ];
    [Some(when)].into_iter().chain(limits).flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_in_a_few_words() {
        let told = |json: &str| rule(&serde_json::from_str(json).unwrap());
        assert_eq!(told(r#""now""#), "now");
        assert_eq!(told(r#"{"every": "90s", "count": 10}"#), "every 1m 30s, 10 times");
        assert_eq!(
            told(r#"{"cron": "30 6 * * mon-fri", "time_zone": "Europe/Berlin"}"#),
            "cron 30 6 * * mon-fri Europe/Berlin"
        );
        assert_eq!(told(r#"[{"every": "5m"}, {"cron": "@daily"}]"#), "every 5m; cron @daily UTC");
        let filtered = r#"{"every": "5m", "time_zone": "Europe/Berlin",
            "exclude": {"dates": ["2026-12-24..2027-01-06"], "weekdays": ["sat", "sun"]},
            "within": [{"from": "08:00", "to": "18:00"}, {"weekdays": ["fri"], "from": "22:00"}]}"#;
        assert_eq!(
            told(filtered),
            "every 5m, except 2026-12-24..2027-01-06,sat,sun, \
             within 08:00-18:00 or fri 22:00-24:00 Europe/Berlin"
        );
    }
}
