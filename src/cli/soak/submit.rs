//! The submitter: submits one command after the other, each under a key of its own, and writes
//! down which the server has acknowledged.
//!
//! Promises: a submit whose answer did not come is made again under the same key until one comes;
//! an acknowledgement is on the disk before the next submit of the same row.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::super::error::CliError;
use super::ledger::{Line, Writer};
use super::world::World;
use crate::remote::{Remote, RemoteError};
use crate::time::{Clock as _, SystemClock};

/// How long an answer may take before the submit is made again.
const ANSWER: Duration = Duration::from_secs(2);

/// The pause before a submit is made again.
const PAUSE: Duration = Duration::from_millis(200);

/// How many rows of submits there are: one waits for its answer while others go on.
const ROWS: u32 = 4;

/// The file of the acknowledgements, in the outside ledger.
pub(super) const FILE: &str = "ledger/submits";

/// Submits until it is told to stop and the last submits are acknowledged.
pub(super) async fn submit(
    world: Arc<World>,
    soak: String,
    every: Duration,
    stop: CancellationToken,
) -> Result<(), CliError> {
    let path = world.data.join(FILE);
    let ledger = Writer::open(&path).map_err(|error| CliError::file("write", &path, &error))?;
    let remote = world.remote_by_line()?;
    let row = |first: u32| row(&world, &remote, &ledger, &soak, every, first, &stop);
    let rows = futures_util::future::try_join_all((0..ROWS).map(row));
    rows.await.map(drop)
}

async fn row(
    world: &World,
    remote: &Remote,
    ledger: &Writer,
    soak: &str,
    every: Duration,
    first: u32,
    stop: &CancellationToken,
) -> Result<(), CliError> {
    sleep(every * first).await;
    let mut ticks = interval(every.saturating_mul(ROWS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in (0..).map(|turn| turn * u64::from(ROWS) + u64::from(first)) {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
        let submission = world.plan.submission(number, soak).map_err(CliError::Server)?;
        loop {
            // An answer that does not come is not known to be none.
            let answer = timeout(ANSWER, remote.submit_once(submission.clone())).await;
            match answer {
                Ok(Ok(submitted)) => {
                    let (at, serial) = (SystemClock.now().millis(), submitted.run.serial);
                    let repeated = submitted.repeated;
                    let line = Line::Acknowledged { at, serial, number, repeated };
                    ledger.write_through(&line).map_err(CliError::server)?;
                    break;
                }
                Ok(Err(error)) if !passes(&error) => {
                    let problem = format!("submit {number} was refused: {error}");
                    return Err(CliError::Server(problem));
                }
                Ok(Err(_)) | Err(_) => sleep(PAUSE).await,
            }
        }
    }
    Ok(())
}

/// Whether a submit may succeed if it is made again.
fn passes(error: &RemoteError) -> bool {
    match error {
        RemoteError::Refused { kind, .. } => kind == "stopped" || kind == "limit",
        // A connection that was cut within an answer leaves a part of it.
        RemoteError::Answer { .. } => true,
        error => error.is_connection(),
    }
}
