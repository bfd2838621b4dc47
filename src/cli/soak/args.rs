//! What `soak` can be told, and what is not valid.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::super::error::CliError;
use crate::idempotency::{IDEMPOTENCY_WINDOW, MAX_REPEATS};
use crate::time::duration;

/// The shortest time for which the server keeps history in a soak: what is checked must still be
/// there some two minutes later, with the clock set forward in between.
const LEAST_KEEP: Duration = Duration::from_secs(5 * 60);

/// The longest that is chosen when `--keep` is not given.
const MOST_KEEP: Duration = Duration::from_secs(60 * 60);

/// Try a real server and its clients for hours with faults, and tell whether anything was lost.
///
/// Starts a server and client processes of this program, runs jobs and submits commands, kills,
/// pauses and disconnects them at random moments, and compares in the end, and all the time, what
/// the clients have done by a ledger of their own with what the server's history tells.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct SoakArgs {
    /// How many clients there are, 1 to 10,000.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) clients: u32,
    /// How many jobs there are, 1 to 1,000, of eight kinds in turn.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) jobs: u32,
    /// How long faults are injected and jobs fire; what is open then may end. Ctrl-C ends it
    /// earlier, with the verdict over what was run.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration::parse)]
    pub(super) duration: Duration,
    /// The faults, with commas between them: kill (of the server, of client processes),
    /// disconnect (connections cut, silent, stalled, slow), pause (SIGSTOP), clock (the server's
    /// clock is set, the machine's is not); or none.
    #[arg(long, value_name = "KINDS", default_value = "kill,disconnect,pause,clock")]
    pub(super) faults: FaultKinds,
    /// The mean time between two faults, at least 100ms.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration::parse)]
    pub(super) fault_every: Duration,
    /// What is random follows from it: which faults come in which order and after which waits.
    /// Default: another one each time; the verdict tells it.
    #[arg(long, value_name = "NUMBER")]
    pub(super) seed: Option<u64>,
    /// The time between two submits, at least 10ms.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse)]
    pub(super) submit_every: Duration,
    /// How many deliveries a second the jobs come to, at most about, 1 to 10,000: their periods
    /// are as long as that needs.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) rate: u32,
    /// How many processes the clients are in, 1 to 64.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) processes: u32,
    /// How long the server keeps its history, at least 5m: that disk and memory can be seen to
    /// stay level. Default: a tenth of the duration, 5m to 1h.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(super) keep: Option<Duration>,
    /// An empty or new directory for all that comes about: the store, logs, journals, the outside
    /// ledger. It stays. Default: one in the temporary directory, which stays when the verdict is
    /// bad.
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Write a report here: one HTML file with plots over time. Offenders are listed beside it.
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Write the verdict as JSON, as --output json does.
    #[arg(long)]
    pub(super) json: bool,
}

impl SoakArgs {
    /// What no single flag can know.
    pub(super) fn check(&self) -> Result<(), CliError> {
        let least = |flag: &str, value: Duration, least: Duration| {
            let (value, shortest) = (duration::format(value), duration::format(least));
            let problem = format!("--{flag} {value} is too short: the shortest is {shortest}");
            CliError::Usage(problem)
        };
        for (flag, value, shortest) in [
            ("duration", self.duration, Duration::from_secs(1)),
            ("fault-every", self.fault_every, Duration::from_millis(100)),
            ("submit-every", self.submit_every, Duration::from_millis(10)),
            ("keep", self.keep(), LEAST_KEEP),
        ] {
            if value < shortest {
                return Err(least(flag, value, shortest));
            }
        }
        let remembered = self.duration.min(IDEMPOTENCY_WINDOW).as_millis();
        let keys = remembered / self.submit_every.as_millis();
        if keys > MAX_REPEATS as u128 {
            return Err(CliError::Usage(format!(
                "--submit-every {} makes {keys} idempotency keys in a day of {}, and a server \
                 remembers {MAX_REPEATS}; submit less often",
                duration::format(self.submit_every),
                duration::format(self.duration),
            )));
        }
        Ok(())
    }

    /// How long the server keeps its history.
    pub(super) fn keep(&self) -> Duration {
        self.keep.unwrap_or_else(|| (self.duration / 10).clamp(LEAST_KEEP, MOST_KEEP))
    }

    /// How many processes hold clients: no more than there are clients.
    pub(super) fn processes(&self) -> u32 {
        self.processes.min(self.clients)
    }
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FaultKind {
    /// `kill -9`.
    Kill,
    /// Connections fail.
    Disconnect,
    /// A process stands still.
    Pause,
    /// The server's clock is set.
    Clock,
}

impl FaultKind {
    pub(super) const ALL: [Self; 4] = [Self::Kill, Self::Disconnect, Self::Pause, Self::Clock];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Disconnect => "disconnect",
            Self::Pause => "pause",
            Self::Clock => "clock",
        }
    }
}

/// The kinds of faults that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FaultKinds(pub(super) BTreeSet<FaultKind>);

impl FromStr for FaultKinds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(BTreeSet::new()));
        }
        let kind = |word: &str| {
            let known = FaultKind::ALL.into_iter().find(|kind| kind.name() == word);
            known.ok_or_else(|| {
                format!("{word:?} is no fault: write kill, disconnect, pause, clock, or none alone")
            })
        };
        text.split(',').map(|word| kind(word.trim())).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for FaultKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let names: Vec<&str> = self.0.iter().map(|kind| kind.name()).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SoakArgs,
    }

    /// What a command line says.
    pub(crate) fn args(line: &str) -> SoakArgs {
        Line::try_parse_from(format!("soak {line}").split_whitespace()).unwrap().args
    }

    #[test]
    fn faults_are_read_and_written() {
        for (text, written) in [
            ("none", "none"),
            ("clock, kill", "kill,clock"),
            ("kill,disconnect,pause,clock", "kill,disconnect,pause,clock"),
        ] {
            assert_eq!(text.parse::<FaultKinds>().unwrap().to_string(), written);
        }
        assert!("kill,fire".parse::<FaultKinds>().unwrap_err().contains("\"fire\""));
        assert!("kill,none".parse::<FaultKinds>().unwrap_err().contains("\"none\""));
    }

    #[test]
    fn what_cannot_be_is_told_with_its_flag() {
        assert!(args("").check().is_ok());
        for (line, parts) in [
            ("--duration 0s", ["--duration 0s", "1s"]),
            ("--fault-every 10ms", ["--fault-every 10ms", "100ms"]),
            ("--submit-every 1ms", ["--submit-every 1ms", "10ms"]),
            ("--keep 1m", ["--keep 1m", "5m"]),
            ("--duration 7d --submit-every 500ms", ["172800 idempotency keys", "100000"]),
        ] {
            let told = args(line).check().unwrap_err().to_string();
            assert!(parts.iter().all(|part| told.contains(part)), "{told}");
        }
    }

    #[test]
    fn what_is_kept_goes_by_the_duration() {
        let keep = |line| args(line).keep().as_secs();
        assert_eq!(keep("--duration 20m"), 300);
        assert_eq!(keep("--duration 2h"), 720);
        assert_eq!(keep("--duration 7d"), 3_600);
        assert_eq!(keep("--duration 7d --keep 1d"), 86_400);
    }
}
