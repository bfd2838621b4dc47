//! What a soak runs: clients, groups, jobs and submits, and what is to be expected of each.
//!
//! Pure: all of it follows from the numbers and one moment. When a job is due is counted here by
//! an own, simple rule, a phase and a period, and not by the rules of the server.

use std::ops::Range;

use serde_json::{Value, json};

use super::args::SoakArgs;
use crate::id::ClientId;
use crate::job::JobSpec;
use crate::run::Submission;
use crate::time::Timestamp;

/// The command that every job and submit sends.
pub(super) const COMMAND: &str = "soak.work";

/// Clients of one group, about.
const GROUP: u32 = 10;

/// Periods that a cron expression of seconds can have: they divide a minute.
const CRON: [u64; 11] = [2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60];

/// All that is run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) clients: u32,
    pub(super) groups: u32,
    pub(super) jobs: Vec<JobPlan>,
}

/// A job, and what it is to do.
#[derive(Debug)]
pub(super) struct JobPlan {
    pub(super) spec: JobSpec,
    pub(super) expects: Expects,
    /// When it is due: at every moment that is this many milliseconds after a multiple of the
    /// period.
    phase: i64,
    period: i64,
}

/// What is expected of each run of a job, or of a submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expects {
    /// How many clients it is for.
    pub(super) targets: u32,
    /// Whether a client that was killed while it ran runs it again.
    pub(super) reruns: bool,
}

/// The kinds of jobs, which come in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One client; late firings are made up for, runs may overlap.
    One,
    /// A group, by cron; all missed firings are made up for.
    Group,
    /// Everybody.
    All,
    /// One client; what it misses while it is away is dropped.
    Drop,
    /// A group, slowly; who is killed meanwhile runs it again.
    Slow,
    /// One client, at most once.
    AtMostOnce,
    /// A group; the command fails now and then and is tried again.
    Flaky,
    /// One client, by cron; what waits expires, the latest takes the place of the one before.
    Latest,
}

const KINDS: [Kind; 8] = [
    Kind::One,
    Kind::Group,
    Kind::All,
    Kind::Drop,
    Kind::Slow,
    Kind::AtMostOnce,
    Kind::Flaky,
    Kind::Latest,
];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Group => "group",
            Self::All => "all",
            Self::Drop => "drop",
            Self::Slow => "slow",
            Self::AtMostOnce => "at-most-once",
            Self::Flaky => "flaky",
            Self::Latest => "latest",
        }
    }

    /// The shortest period, in seconds.
    fn period(self) -> u64 {
        match self {
            Self::One | Self::AtMostOnce | Self::Latest => 2,
            Self::Drop => 3,
            Self::Group | Self::Slow | Self::Flaky => 5,
            Self::All => 10,
        }
    }

    fn more(self) -> Value {
        match self {
            Self::One => json!({ "overlap": "allow", "params": { "ms": 20 } }),
            Self::Group => json!({ "catch_up": "all", "overlap": "allow" }),
            Self::All => json!({ "overlap": "queue", "params": { "ms": 50 } }),
            Self::Drop => json!({ "catch_up": "skip", "offline": "drop" }),
            Self::Slow => json!({ "on_client_crash": "retry", "params": { "ms": 1_500 } }),
            Self::AtMostOnce => json!({ "delivery": "at_most_once", "overlap": "allow" }),
            Self::Flaky => json!({
                "retry": { "attempts": 3, "backoff": "500ms" }, "params": { "fails": 10 },
            }),
            Self::Latest => json!({
                "offline": "latest", "expires_after": "10s", "overlap": "replace",
                "params": { "ms": 500 },
            }),
        }
    }
}

impl Plan {
    /// The plan for these numbers. `start` is when the jobs are defined.
    pub(super) fn new(args: &SoakArgs, start: Timestamp) -> Result<Self, String> {
        let mut plan =
            Self { clients: args.clients, groups: args.clients.div_ceil(GROUP), jobs: Vec::new() };
        let from = start.millis() / 60_000 * 60_000;
        plan.jobs =
            (0..args.jobs).map(|number| plan.job(number, args, from)).collect::<Result<_, _>>()?;
        Ok(plan)
    }

    /// The members of a group.
    pub(super) fn members(&self, group: u32) -> u32 {
        let first_come = self.clients % self.groups;
        self.clients / self.groups + u32::from(group < first_come)
    }

    /// The group that a client is in.
    pub(super) fn group_of(&self, client: u32) -> String {
        format!("g-{}", client % self.groups)
    }

    fn job(&self, number: u32, args: &SoakArgs, from: i64) -> Result<JobPlan, String> {
        let kind = KINDS[number as usize % KINDS.len()];
        let one = number.wrapping_mul(7) % self.clients;
        let group = number % self.groups;
        let (target, targets) = match kind {
            Kind::One | Kind::Drop | Kind::AtMostOnce | Kind::Latest => {
                (format!("client:{}", client_name(one)), 1)
            }
            Kind::Group | Kind::Slow | Kind::Flaky => {
                (format!("group:g-{group}"), self.members(group))
            }
            Kind::All => ("all".to_owned(), self.clients),
        };
        // Each job has its share of the deliveries.
        let needed = u64::from(targets) * u64::from(args.jobs) / u64::from(args.rate);
        let seconds = kind.period().max(needed);
        let by_cron = matches!(kind, Kind::Group | Kind::Latest);
        let seconds = if by_cron {
            CRON.into_iter().find(|period| *period >= seconds).unwrap_or(60)
        } else {
            seconds
        };
        let period = i64::try_from(seconds * 1_000).map_err(|error| error.to_string())?;
        let phase = if by_cron { 0 } else { (from + i64::from(number) * 137) % period };
        let from = Timestamp::from_millis(from - from % period + phase);
        let rule = match seconds {
            60 if by_cron => json!({ "cron": "0 * * * * *" }),
            _ if by_cron => json!({ "cron": format!("*/{seconds} * * * * *") }),
            _ => json!({ "every": format!("{seconds}s"), "from": from }),
        };
        let mut job = json!({
            "name": format!("soak/{number:04}-{}", kind.name()),
            "target": target, "command": COMMAND, "rule": rule,
        });
        merge(&mut job, kind.more());
        let spec = serde_json::from_value(job).map_err(|error| error.to_string())?;
        let expects = Expects { targets, reruns: kind == Kind::Slow };
        Ok(JobPlan { spec, expects, phase, period })
    }

    /// A submit, which is the same for the same number. Its key tells this soak from others.
    pub(super) fn submission(&self, number: u64, soak: &str) -> Result<Submission, String> {
        let (target, expects) = self.target_of(number);
        let on_client_crash = if expects.reruns { "retry" } else { "fail" };
        let priority = if number.is_multiple_of(5) { "urgent" } else { "normal" };
        serde_json::from_value(json!({
            "target": target, "command": COMMAND, "params": { "n": number, "ms": number % 200 },
            "on_client_crash": on_client_crash, "priority": priority,
            "idempotency_key": format!("{soak}-{number}"),
        }))
        .map_err(|error| error.to_string())
    }

    /// What is expected of a submit.
    pub(super) fn expects(&self, number: u64) -> Expects {
        self.target_of(number).1
    }

    fn target_of(&self, number: u64) -> (String, Expects) {
        let reruns = number.is_multiple_of(3);
        let below = |most: u32| u32::try_from(number % u64::from(most)).unwrap_or(0);
        let (target, targets) = match number % 16 {
            3 => ("all".to_owned(), self.clients),
            7 | 11 => {
                let group = below(self.groups);
                (format!("group:g-{group}"), self.members(group))
            }
            _ => (format!("client:{}", client_name(below(self.clients))), 1),
        };
        (target, Expects { targets, reruns })
    }
}

impl JobPlan {
    /// The moments of a span at which it is due, in milliseconds.
    pub(super) fn due(&self, span: Range<i64>) -> impl Iterator<Item = i64> + use<> {
        let (phase, period) = (self.phase, self.period);
        let first = (span.start - phase + period - 1).div_euclid(period);
        (first..).map(move |n| n * period + phase).take_while(move |at| *at < span.end)
    }
}

/// A client's name.
pub(super) fn client_name(number: u32) -> String {
    format!("c-{number:05}")
}

/// The client of a name.
pub(super) fn client_number(client: &ClientId) -> Option<u32> {
    client.as_str().strip_prefix("c-")?.parse().ok()
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::args::tests::args;
    use super::*;
    use crate::schedule::Rule;

    fn plan(line: &str) -> Plan {
        Plan::new(&args(line), "2026-11-26T12:34:56.789Z".parse().unwrap()).unwrap()
    }

    #[test]
    fn each_job_is_due_when_its_rule_says() {
        let start: Timestamp = "2026-11-26T12:34:56.789Z".parse().unwrap();
        for line in ["", "--jobs 64 --clients 333", "--jobs 9 --clients 7 --rate 1"] {
            for job in plan(line).jobs {
                let mut by_rule = Vec::new();
                let rule: &Rule = &job.spec.rule;
                let mut after = start;
                while let Some(next) = rule.next_after(after, start) {
                    if next >= start.plus(Duration::from_secs(600)) {
                        break;
                    }
                    by_rule.push(next.millis());
                    after = next;
                }
                let span = start.millis() + 1..start.millis() + 600_000;
                assert_eq!(job.due(span).collect::<Vec<_>>(), by_rule, "{:?}", job.spec);
            }
        }
    }

    #[test]
    fn groups_have_all_clients_and_jobs_keep_to_the_rate() {
        let plan = plan("--jobs 100 --clients 333 --rate 50");
        let members: u32 = (0..plan.groups).map(|group| plan.members(group)).sum();
        assert_eq!(members, 333);
        for group in 0..plan.groups {
            let name = format!("g-{group}");
            let counted = (0..333).filter(|client| plan.group_of(*client) == name).count();
            assert_eq!(counted, plan.members(group) as usize);
        }
        let per_second: f64 = plan
            .jobs
            .iter()
            .map(|job| {
                f64::from(job.expects.targets)
                    / Duration::from_millis(job.period.unsigned_abs()).as_secs_f64()
            })
            .sum();
        assert!(per_second <= 60.0, "{per_second}");
    }

    #[test]
    fn a_submit_is_the_same_for_its_number_and_reaches_each_kind_of_target() {
        let plan = plan("--clients 20");
        let targets: Vec<u32> = (0..16).map(|number| plan.expects(number).targets).collect();
        assert!([1, 10, 20].iter().all(|targeted| targets.contains(targeted)), "{targets:?}");
        assert_eq!(plan.submission(7, "s").unwrap(), plan.submission(7, "s").unwrap());
        assert_eq!(client_number(&client_name(7).parse().unwrap()), Some(7));
    }
}
