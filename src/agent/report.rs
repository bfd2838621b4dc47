//! The outcome of an execution: its state, reason and result.
//!
//! Imports the execution and the outcome.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde::Serialize;

use super::artefact::Artefact;
use super::config::AllowedCommand;
use super::exec::{Execution, Why};
use super::output::Text;
use crate::json::Json;
use crate::run::{DeliveryState, Outcome};
use crate::time::duration;

/// The result that the server records.
#[derive(Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    stdout: String,
    stderr: String,
    stdout_cut: u64,
    stderr_cut: u64,
    #[serde(skip_serializing_if = "is_false")]
    stdout_lossy: bool,
    #[serde(skip_serializing_if = "is_false")]
    stderr_lossy: bool,
    #[serde(skip_serializing_if = "is_false")]
    left_open: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Json>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    artefacts: Vec<Artefact>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

pub(super) fn outcome(
    command: &AllowedCommand,
    execution: Execution,
    artefacts: Vec<Artefact>,
) -> Outcome {
    let (mut state, mut reason) = state(command, &execution);
    let Execution { status, mut stdout, stderr, left_open, .. } = execution;
    let mut value = None;
    if command.json_result {
        match json(command, &stdout) {
            Ok(json) => {
                value = Some(json);
                stdout.content = String::new();
            }
            Err(problem) if state == DeliveryState::Succeeded => {
                (state, reason) = (DeliveryState::Failed, Some(problem));
            }
            // It has another reason to tell.
            Err(_) => {}
        }
    }
    let report = Report {
        exit_code: status.and_then(|status| status.code()),
        signal: status.and_then(|status| status.signal()),
        stdout: stdout.content,
        stderr: stderr.content,
        stdout_cut: stdout.cut,
        stderr_cut: stderr.cut,
        stdout_lossy: stdout.lossy,
        stderr_lossy: stderr.lossy,
        left_open,
        value,
        artefacts,
    };
    match Json::new(&report) {
        Ok(result) => Outcome { state, reason, result: Some(result), ran_ms: None },
        Err(error) => {
            Outcome::ended(DeliveryState::Failed, format!("its result is no JSON: {error}"))
        }
    }
}

/// What the program printed, as JSON.
fn json(command: &AllowedCommand, stdout: &Text) -> Result<Json, String> {
    if stdout.cut > 0 {
        let limit = command.output_limit;
        return Err(format!("its result is longer than output_limit = {limit}"));
    }
    if stdout.lossy {
        return Err("its result is not JSON: it is not UTF-8".into());
    }
    let text = stdout.content.trim();
    text.parse::<Json>().map_err(|error| format!("its result is not JSON: {error}"))
}

fn state(command: &AllowedCommand, execution: &Execution) -> (DeliveryState, Option<String>) {
    let grace = || duration::format(command.grace);
    let how = match (execution.status, execution.killed) {
        (None, _) => "; its process did not end on SIGKILL".to_owned(),
        (_, true) => format!("; killed after a grace of {}", grace()),
        (_, false) => String::new(),
    };
    match execution.why {
        Why::TimeLimit => {
            let limit = duration::format(command.time_limit);
            (DeliveryState::TimedOut, Some(format!("ran longer than its limit of {limit}{how}")))
        }
        Why::Cancelled => (DeliveryState::Cancelled, Some(format!("cancelled while it ran{how}"))),
        Why::Ended => match failure(command, execution.status) {
            Some(reason) => (DeliveryState::Failed, Some(reason)),
            None => (DeliveryState::Succeeded, None),
        },
    }
}

/// Why an ended program did not succeed.
fn failure(command: &AllowedCommand, status: Option<ExitStatus>) -> Option<String> {
    let Some(status) = status else { return Some("its exit code could not be read".into()) };
    match (status.code(), status.signal()) {
        (Some(code), _) if command.success_codes.contains(&code) => None,
        (Some(code), _) => Some(format!("exit code {code}")),
        (None, Some(signal)) => Some(format!("killed by signal {signal}")),
        (None, None) => Some(format!("ended with {status}")),
    }
}
