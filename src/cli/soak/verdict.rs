//! The verdict: what was run, what of it is wrong, and how the server held.

#![expect(clippy::cast_precision_loss, reason = "sizes are told by a few digits")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::super::error::CliError;
use super::super::output::{Field, Out, Tone};
use super::book::{Offender, Sums};
use super::sample::Sample;
use super::slope::{Slope, slope};
use crate::statistics::Histogram;
use crate::time::duration;

/// Of the time that was run, the part after which slopes are fitted, at most: until then caches
/// fill, and nothing is old enough to be forgotten.
const WARM_UP: f64 = 0.5;

/// The verdict, as `--json` writes it.
#[derive(Debug, Serialize)]
pub(super) struct Judgement {
    /// `good` or `bad`.
    pub(super) verdict: &'static str,
    /// What makes it bad, each in a sentence.
    pub(super) problems: Vec<String>,
    pub(super) seed: u64,
    pub(super) started_at: String,
    pub(super) ran_seconds: f64,
    /// Whether it ended before its time.
    pub(super) ended_early: bool,
    pub(super) clients: u32,
    pub(super) jobs: u32,
    /// How many faults of each kind were injected.
    pub(super) faults: BTreeMap<&'static str, u64>,
    #[serde(flatten)]
    pub(super) sums: Sums,
    /// How late clients began what was due, in milliseconds.
    pub(super) late_ms: Lateness,
    /// The server's resident memory in bytes, after the warm-up.
    pub(super) memory: Option<Slope>,
    /// Its data directory in bytes, after the warm-up.
    pub(super) disk: Option<Slope>,
    /// Processors that the server kept busy, on average.
    pub(super) processor: f64,
    /// Whether `store check` found the store sound.
    pub(super) store_sound: bool,
    pub(super) data: Option<PathBuf>,
    pub(super) report: Option<PathBuf>,
    pub(super) offenders: Option<PathBuf>,
}

/// Lateness, in milliseconds; percentiles are rounded up by an eighth at most.
#[derive(Debug, Serialize)]
pub(super) struct Lateness {
    /// Of all.
    pub(super) all: Option<Percentiles>,
    /// Of those that no fault touched, nor followed by ten seconds.
    pub(super) quiet: Option<Percentiles>,
}

/// How times are spread.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Percentiles {
    pub(super) count: u64,
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

impl Percentiles {
    pub(super) fn of(times: &Histogram) -> Option<Self> {
        let at = |percent| times.percentile(percent);
        let (p50, p90, p99) = (at(50)?, at(90)?, at(99)?);
        Some(Self { count: times.count(), p50, p90, p99, max: times.max()? })
    }
}

/// How memory and disk grew: `keep` is how long the server keeps what has ended.
pub(super) fn slopes(samples: &[Sample], keep: Duration) -> (Option<Slope>, Option<Slope>) {
    let end = samples.last().map_or(0.0, |sample| sample.at);
    let warm = (keep.as_secs_f64() * 1.2).min(end * WARM_UP);
    let after = || samples.iter().filter(|sample| sample.at >= warm);
    let memory: Vec<(f64, f64)> =
        after().filter_map(|sample| Some((sample.at, sample.memory? as f64))).collect();
    let disk: Vec<(f64, f64)> = after().map(|sample| (sample.at, sample.disk as f64)).collect();
    (slope(&memory), slope(&disk))
}

/// How many processors the server kept busy, on average.
pub(super) fn processor(samples: &[Sample]) -> f64 {
    let busy: Vec<f64> = samples.iter().filter_map(|sample| sample.processor).collect();
    busy.iter().sum::<f64>() / busy.len().max(1) as f64
}

/// What makes a soak's outcome bad.
pub(super) fn problems(sums: &Sums, store_sound: bool, open: Option<&str>) -> Vec<String> {
    let mut problems = Vec::new();
    for (count, what) in
        [(sums.lost, "lost"), (sums.doubled, "doubled"), (sums.unexplained, "unexplained")]
    {
        if count > 0 {
            problems.push(format!("{count} {what}"));
        }
    }
    if sums.firings_ran == 0 || sums.executions == 0 {
        problems.push("nothing was checked: no firing ran and was executed".to_owned());
    }
    if !store_sound {
        problems.push("the store is not sound: see fleetcron store check".to_owned());
    }
    problems.extend(open.map(str::to_owned));
    problems
}

impl Judgement {
    /// The name of the file with the offenders, beside a report.
    pub(super) fn beside(report: &Path) -> PathBuf {
        report.with_extension("offenders.ndjson")
    }

    pub(super) fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    /// Writes it for people.
    pub(super) fn show(&self, out: &Out) -> Result<(), CliError> {
        let tone = if self.is_good() { Tone::Good } else { Tone::Bad };
        out.toned(&format!("verdict: {}", self.verdict), tone)?;
        let rows = self.rows();
        let counts = ["lost", "doubled", "unexplained"];
        let rows = rows.into_iter().map(|(name, text)| {
            let wrong = counts.contains(&name) && text != "0";
            (name, if wrong { Field::toned(text, Tone::Bad) } else { Field::from(text) })
        });
        out.pairs(rows.collect())
    }

    /// What it says, by name.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let sums = &self.sums;
        let early = if self.ended_early { ", ended early" } else { "" };
        let ran = Duration::from_secs_f64(self.ran_seconds.floor());
        let (clients, jobs, seed) = (self.clients, self.jobs, self.seed);
        let ran = duration::format(ran);
        let mut rows = Vec::new();
        if !self.problems.is_empty() {
            rows.push(("problems", self.problems.join("; ")));
        }
        rows.extend([
            ("lost", sums.lost.to_string()),
            ("doubled", sums.doubled.to_string()),
            ("unexplained", sums.unexplained.to_string()),
            ("ran", format!("{ran}{early}; {clients} clients, {jobs} jobs, seed {seed}")),
            ("faults", counted(&self.faults)),
            ("firings", firings(sums)),
            (
                "submits",
                format!(
                    "{} acknowledged, {} of them by a second request",
                    sums.submits_acknowledged, sums.submits_repeated
                ),
            ),
            ("runs", format!("{}; deliveries: {}", sums.runs, counted(&sums.deliveries))),
            (
                "executions",
                format!(
                    "{} by the clients' own ledger; {} attempts tried again; {} executions again \
                     as permitted",
                    sums.executions, sums.retried, sums.permitted_again
                ),
            ),
            ("late", late(self.late_ms.all)),
            ("late, quiet", late(self.late_ms.quiet)),
            ("memory", grown(self.memory)),
            ("disk", grown(self.disk)),
            ("processor", format!("{:.2} of one", self.processor)),
            ("store", if self.store_sound { "sound" } else { "not sound" }.to_owned()),
        ]);
        for (name, path) in
            [("data", &self.data), ("report", &self.report), ("offenders", &self.offenders)]
        {
            rows.extend(path.iter().map(|path| (name, path.display().to_string())));
        }
        rows
    }
}

fn counted(counts: &BTreeMap<&'static str, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    parts.join(", ")
}

fn firings(sums: &Sums) -> String {
    let mut text = format!("{} due, {} ran", sums.firings_due, sums.firings_ran);
    for (reason, count) in &sums.firings_not_run {
        // Writing to a String cannot fail.
        let _ = write!(text, ", {count} not: {reason}");
    }
    text
}

fn late(times: Option<Percentiles>) -> String {
    times.map_or("-".to_owned(), |Percentiles { count, p50, p90, p99, max }| {
        format!("p50 {p50} ms, p90 {p90} ms, p99 {p99} ms, longest {max} ms; of {count}")
    })
}

fn grown(slope: Option<Slope>) -> String {
    let Some(slope) = slope else { return "too short for a slope".to_owned() };
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let noise = if slope.within_noise { "within noise" } else { "not noise" };
    format!(
        "{:.1} MiB; {:+.1} MiB an hour ({:+.1} to {:+.1}), {noise}",
        mib(slope.median),
        mib(slope.per_hour),
        mib(slope.low),
        mib(slope.high)
    )
}

/// Writes the offenders, one JSON object a line.
pub(super) fn write_offenders(path: &Path, offenders: &[Offender]) -> Result<(), CliError> {
    let mut text = String::new();
    for offender in offenders {
        text.push_str(&serde_json::to_string(offender).map_err(CliError::server)?);
        text.push('\n');
    }
    std::fs::write(path, text).map_err(|error| CliError::file("write", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums() -> Sums {
        Sums { firings_ran: 5, executions: 5, ..Sums::default() }
    }

    #[test]
    fn only_what_is_right_in_all_is_good() {
        assert!(problems(&sums(), true, None).is_empty());
        let told = |sums: Sums| problems(&sums, true, None).join("; ");
        assert_eq!(told(Sums { lost: 2, ..sums() }), "2 lost");
        assert_eq!(told(Sums { doubled: 1, unexplained: 3, ..sums() }), "1 doubled; 3 unexplained");
        assert!(told(Sums::default()).contains("nothing was checked"));
        assert!(told(Sums { executions: 0, ..sums() }).contains("nothing was checked"));
        assert!(problems(&sums(), false, None)[0].contains("not sound"));
        assert_eq!(problems(&sums(), true, Some("open")), ["open"]);
    }

    #[test]
    fn slopes_leave_the_warm_up_out() {
        let sample = |at: u32| Sample {
            at: f64::from(at),
            runs: 0.0,
            executions: 0.0,
            late: None,
            memory: (!at.is_multiple_of(7)).then_some(if at < 300 {
                u64::from(at) << 20
            } else {
                300 << 20
            }),
            disk: u64::from(at.min(300)) << 20,
            processor: None,
            runs_open: None,
            connected: None,
        };
        let samples: Vec<Sample> = (0..1_200).map(sample).collect();
        let (memory, disk) = slopes(&samples, Duration::from_secs(300));
        for slope in [memory.unwrap(), disk.unwrap()] {
            assert!(slope.within_noise && slope.per_hour.abs() < 1e-9, "{slope:?}");
            assert!((slope.median - f64::from(300 << 20)).abs() < 1.0);
        }
        let (_, disk) = slopes(&samples, Duration::from_secs(10));
        assert!((disk.unwrap().over - (1_199.0 - 12.0)).abs() < 1e-9);
    }
}
