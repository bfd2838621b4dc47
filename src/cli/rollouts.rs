//! Options of `run` that say how it reaches its clients, and `runs progress`, which shows how far
//! that is.

use clap::Args;

use super::error::CliError;
use super::output::{Field, Out, Tone, moment};
use super::show;
use crate::rollout::{
    AbortRule, Decimal, Growth, InvalidRollout, Percent, Rate, Rollout, RunProgress, Share,
    Standing, Wave,
};

/// How a run reaches its clients.
#[derive(Debug, Args)]
#[command(next_help_heading = "How it reaches the clients")]
pub(super) struct Rollouts {
    /// Let at most so many clients have it at a time: a number, or a per cent such as 10%.
    #[arg(long, value_name = "N")]
    max_in_flight: Option<Share>,
    /// Start at most so many a second, such as 5 or 0.5.
    #[arg(long, value_name = "N")]
    rate: Option<Decimal>,
    /// Multiply the rate by FACTOR each time that so many deliveries have succeeded: 2/100.
    #[arg(long, value_name = "FACTOR/N", requires = "rate", value_parser = growth)]
    rate_growth: Option<Growth>,
    /// The highest rate, of one that grows.
    #[arg(long, value_name = "N", requires = "rate_growth")]
    max_rate: Option<Decimal>,
    /// Go in waves, each of so many of all clients: 10%,50%,100%. A wave begins when the one before
    /// has succeeded.
    #[arg(long, value_name = "PERCENTS", value_delimiter = ',')]
    waves: Vec<Percent>,
    /// How many deliveries of a wave have to succeed for that. Default 100%.
    #[arg(long, value_name = "PERCENT", requires = "waves")]
    wave_success: Option<Percent>,
    /// Wait for `runs approve` before each wave but the first.
    #[arg(long, requires = "waves")]
    approve_waves: bool,
    /// Cancel what nobody has yet when so many of the ended deliveries went wrong: failed=20%, or
    /// failed=20%@10 to count from 10 ended on; also `timed_out`, rejected or any. May be repeated.
    #[arg(long, value_name = "RULE")]
    abort_on: Vec<AbortRule>,
}

fn growth(text: &str) -> Result<Growth, String> {
    let wrong = || format!("{text:?} is not FACTOR/N, such as 2/100");
    let (factor, after) = text.split_once('/').ok_or_else(wrong)?;
    let after = after.parse().map_err(|_| wrong())?;
    Ok(Growth { factor: factor.parse().map_err(|_| wrong())?, after })
}

impl Rollouts {
    /// The rollout that the options say; `None`: they say none.
    pub(super) fn rollout(self) -> Result<Option<Rollout>, CliError> {
        let said = self.max_in_flight.is_some()
            || self.rate.is_some()
            || !self.waves.is_empty()
            || !self.abort_on.is_empty();
        if !said {
            return Ok(None);
        }
        let usage = |error: InvalidRollout| CliError::Usage(error.to_string());
        let rate = self
            .rate
            .map(|rate| Rate::new(rate, self.rate_growth, self.max_rate).map_err(usage))
            .transpose()?;
        let success = self.wave_success.unwrap_or(Percent::ALL);
        let waves = self.waves.into_iter().map(|share| match share {
            Percent::ALL => Wave::new(share),
            _ => Wave { success, approval: self.approve_waves, ..Wave::new(share) },
        });
        let rollout = Rollout::new(self.max_in_flight, rate, waves.collect(), self.abort_on)
            .map_err(usage)?;
        Ok(Some(rollout))
    }
}

/// Shows how far a run is.
pub(super) fn progress(out: &Out, progress: &RunProgress) -> Result<(), CliError> {
    if out.is_json() {
        return out.json(progress);
    }
    let mut pairs: Vec<(&str, Field)> = vec![("serial", progress.serial.to_string().into())];
    pairs.extend(progress.job.as_ref().map(|job| ("job", job.as_str().into())));
    pairs.push(("fired", moment(progress.fired_at, out.now).into()));
    pairs.extend(progress.ended_at.map(|at| ("ended", moment(at, out.now).into())));
    pairs.push(("deliveries", deliveries(progress).into()));
    pairs.extend(progress.wave.map(|wave| {
        let success = wave.success.map(|it| format!(", {it} have to succeed"));
        let (number, of, total) = (wave.number, wave.of, wave.deliveries);
        let told = format!(
            "{number} of {of}: {} of {total} succeeded, {} open{}",
            wave.succeeded,
            wave.open,
            success.unwrap_or_default()
        );
        ("wave", told.into())
    }));
    if progress.ended_at.is_none() {
        let limit = progress.max_in_flight.map(|most| format!(", at most {most}"));
        let told = format!("{}{}", progress.in_flight, limit.unwrap_or_default());
        pairs.push(("in flight", told.into()));
    }
    pairs.extend(progress.rate.map(|rate| ("rate", format!("at most {rate} a second").into())));
    pairs.extend(
        progress.ended_per_second.map(|pace| ("pace", format!("{pace:.3} ends a second").into())),
    );
    pairs.extend(progress.rollout.as_ref().map(|standing| ("rollout", standing_of(standing))));
    pairs.extend(progress.estimated_end.map(|at| ("end", moment(at, out.now).into())));
    pairs.extend(progress.reason.as_ref().map(|reason| ("reason", reason.as_str().into())));
    out.pairs(pairs)
}

fn deliveries(progress: &RunProgress) -> String {
    let open = [
        (progress.held_back, "held back"),
        (progress.queued, "queued"),
        (progress.sent, "sent"),
        (progress.accepted, "accepted"),
    ];
    let open = open.into_iter().filter(|(count, _)| *count > 0);
    let open = open.map(|(count, state)| format!("{count} {state}"));
    let parts: Vec<String> = show::counts(&progress.counts).into_iter().chain(open).collect();
    format!("{} ({})", progress.counts.total, parts.join(", "))
}

fn standing_of(standing: &Standing) -> Field {
    match standing {
        Standing::Going => Field::toned("goes on", Tone::Good),
        Standing::Waiting { until } => Field::toned(format!("waits until {until}"), Tone::Busy),
        Standing::Approval { since } => {
            let told = format!("waits since {since} for: fleetcron runs approve");
            Field::toned(told, Tone::Busy)
        }
        Standing::Held { reason } => {
            let told = format!("held: {reason}; go on with: fleetcron runs approve");
            Field::toned(told, Tone::Bad)
        }
        Standing::Aborted { .. } => Field::toned("aborted", Tone::Bad),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        rollouts: Rollouts,
    }

    fn parse(line: &str) -> Result<Option<Rollout>, String> {
        let words = std::iter::once("run").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.rollouts.rollout().map_err(|error| error.to_string())
    }

    #[test]
    fn the_options_say_what_a_job_file_says() {
        let line = "--max-in-flight 10% --rate 0.5 --rate-growth 2/10 --max-rate 8 \
                    --waves 10%,50%,100% --wave-success 90% --approve-waves \
                    --abort-on failed=20%@5 --abort-on any=50%";
        let file = r#"{"max_in_flight": "10%",
            "rate": {"per_second": 0.5, "growth": {"factor": 2, "after": 10}, "max_per_second": 8},
            "waves": [{"share": "10%", "success": "90%", "approval": true},
                      {"share": "50%", "success": "90%", "approval": true}, "100%"],
            "abort_on": [{"state": "failed", "percent": "20%", "minimum": 5}, "any=50%"]}"#;
        let said: Rollout = serde_json::from_str(file).unwrap();
        assert_eq!(parse(line), Ok(Some(said)));
        assert_eq!(parse(""), Ok(None));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_value() {
        for (line, problem) in [
            ("--max-in-flight 0", "share \"0\" is not valid"),
            ("--rate fast", "number \"fast\" is not valid"),
            ("--rate 1 --rate-growth 2", "\"2\" is not FACTOR/N"),
            ("--rate 1 --rate-growth 1/5", "factor 1 is not valid"),
            ("--max-rate 5", "--rate-growth"),
            ("--waves 50%,10%", "wave 2 of 10 % is not above the one before, of 50 %"),
            ("--waves 10", "per cent \"10\" is not valid"),
            ("--approve-waves", "--waves"),
            ("--abort-on lost=5%", "abort rule \"lost=5%\" is not valid"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(problem), "{line}: {error}");
        }
    }
}
