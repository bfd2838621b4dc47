//! `fleetcron soak`: a real server and real clients for minutes or days, with faults, and whether
//! anything was lost.
//!
//! Promises: what the server says of itself is not believed: what clients did is written down by
//! them, what was acknowledged by the submitter, and when jobs are due is counted by an own rule
//! ([`plan`]). What is compared, and by which definitions, is in [`book`]. All processes that were
//! started end with this one.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`args`], [`plan`] | what can be told; the clients, jobs and submits that follow |
//! | [`world`], [`process`], [`clients`], [`proxy`] | what runs: server, client processes, the network between |
//! | [`faults`], [`marks`] | what is done to it, and when |
//! | [`submit`], [`ledger`] | the submitter; the outside ledger |
//! | [`watch`], [`book`] | what is read of both sides; the comparison |
//! | [`sample`], [`slope`], [`screen`], [`verdict`], [`report`] | what is seen of it |

mod args;
mod book;
mod clients;
mod faults;
mod ledger;
mod marks;
mod plan;
mod process;
mod proxy;
mod report;
mod run;
mod sample;
mod screen;
mod slope;
mod submit;
mod verdict;
mod watch;
mod world;

use std::path::{Path, PathBuf};

use super::args::{Format, Global};
use super::error::CliError;
use super::output::{Out, note};
use super::{Done, Verdict, signals};
use crate::time::{Clock as _, SystemClock};
use run::Ran;
use verdict::{Judgement, Lateness, Percentiles};

pub(super) use args::SoakArgs;
pub(super) use clients::{SoakClientsArgs, execute as execute_clients};

/// Runs a soak to its end, and tells the verdict.
pub(super) async fn execute(args: SoakArgs, global: &Global) -> Done {
    args.check()?;
    let mut signals = signals::Signals::listen()?;
    if let Some(report) = &args.report {
        // What cannot be written is to be known before hours have passed.
        report::write(report, "").map_err(|error| CliError::file("write", report, &error))?;
        // Those of an earlier soak are not of this one; mostly there are none.
        let _ = std::fs::remove_file(Judgement::beside(report));
    }
    let data = place(args.data.as_deref())?;
    let keeps = args.data.is_some();
    let ended = run::run(&args, &data, &mut signals).await;
    let ran = match ended {
        Ok(ran) => ran,
        Err(error) => {
            note(&format!("all of it is in {}", data.display()));
            return Err(error);
        }
    };
    let judgement = judge(&args, &data, keeps, &ran)?;
    let json = args.json || global.output == Format::Json;
    let out = Out::new(global);
    if json {
        out.json(&judgement)?;
    } else {
        judgement.show(&out)?;
    }
    if judgement.is_good() && !keeps {
        std::fs::remove_dir_all(&data).map_err(|error| CliError::file("remove", &data, &error))?;
    }
    Ok(if judgement.is_good() { Verdict::Succeeded } else { Verdict::Failed })
}

/// The soak's directory: empty, and nobody else's.
fn place(given: Option<&Path>) -> Result<PathBuf, CliError> {
    use std::os::unix::fs::DirBuilderExt as _;

    let make = |path: &Path| {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| CliError::file("make", path, &error))
    };
    let Some(given) = given else {
        let (now, pid) = (SystemClock.now().millis(), std::process::id());
        let path = std::env::temp_dir().join(format!("fleetcron-soak-{now}-{pid}"));
        make(&path)?;
        return Ok(path);
    };
    make(given)?;
    let is_empty = std::fs::read_dir(given).map(|mut entries| entries.next().is_none());
    match is_empty {
        // What is started in there shall find it from wherever it is.
        Ok(true) => given.canonicalize().map_err(|error| CliError::file("find", given, &error)),
        Ok(false) => Err(CliError::Usage(format!(
            "--data {} is not empty: a soak begins with an empty directory",
            given.display()
        ))),
        Err(error) => Err(CliError::file("read", given, &error)),
    }
}

/// The verdict over what was run; the report and the offenders are written.
fn judge(args: &SoakArgs, data: &Path, keeps: bool, ran: &Ran) -> Result<Judgement, CliError> {
    let (book, seen) = (&ran.book, &ran.seen);
    let problems = verdict::problems(&book.sums, ran.store_sound, ran.open.as_deref());
    let is_good = problems.is_empty();
    let (memory, disk) = verdict::slopes(&ran.samples, args.keep());
    let offenders = (!book.offenders.is_empty()).then(|| {
        let beside = args.report.as_deref().map(Judgement::beside);
        beside.unwrap_or_else(|| data.join("offenders.ndjson"))
    });
    if let Some(path) = &offenders {
        verdict::write_offenders(path, &book.offenders)?;
    }
    let mut faults = std::collections::BTreeMap::new();
    for mark in &ran.marks {
        *faults.entry(mark.kind.name()).or_default() += 1;
    }
    let judgement = Judgement {
        verdict: if is_good { "good" } else { "bad" },
        problems,
        seed: ran.seed,
        started_at: ran.started.to_string(),
        ran_seconds: ran.length.as_secs_f64(),
        ended_early: ran.ended_early,
        clients: args.clients,
        jobs: args.jobs,
        faults,
        sums: book.sums.clone(),
        late_ms: Lateness { all: Percentiles::of(&seen.all), quiet: Percentiles::of(&seen.quiet) },
        memory,
        disk,
        processor: verdict::processor(&ran.samples),
        store_sound: ran.store_sound,
        data: (keeps || !is_good).then(|| data.to_owned()),
        report: args.report.clone(),
        offenders,
    };
    if let Some(path) = &args.report {
        let page = report::page(&judgement, ran);
        report::write(path, &page).map_err(|error| CliError::file("write", path, &error))?;
    }
    Ok(judgement)
}
