//! `fleetcron store check`.

use std::path::Path;

use super::{open_as_it_is, stats};
use crate::cli::error::CliError;
use crate::cli::output::{Out, Tone, note};
use crate::cli::{Done, Verdict};
use crate::store::check::{self, Report};

/// Looks for what is wrong; it succeeds if nothing is.
pub(super) fn check(out: &Out, data: &Path) -> Done {
    let store = open_as_it_is(data)?;
    let report = check::check(store).map_err(CliError::store)?;
    if out.is_json() {
        out.json(&report)?;
    } else {
        show(out, &report)?;
    }
    for text in &report.notes {
        note(text);
    }
    Ok(if report.sound { Verdict::Succeeded } else { Verdict::Failed })
}

fn show(out: &Out, report: &Report) -> Result<(), CliError> {
    for fault in &report.faults {
        let text = format!("{}  {}: {}", fault.key, fault.rule, fault.problem);
        out.toned(&text, Tone::Bad)?;
        out.line(&format!("    {}", fault.way_out))?;
    }
    if !report.faults.is_empty() {
        out.line("")?;
    }
    stats::kinds(out, &report.kinds)?;
    out.line("")?;
    let more = report.faults_total - report.faults.len() as u64;
    match (report.faults_total, more) {
        (0, _) => out.toned("sound", Tone::Good),
        (faults, 0) => out.toned(&format!("not sound: {faults} faults"), Tone::Bad),
        (faults, more) => {
            out.toned(&format!("not sound: {faults} faults, {more} more than shown"), Tone::Bad)
        }
    }
}
