//! The handle's way to rollouts: how far a run is, and its approvals.

use super::{CallError, Handle};
use crate::engine::{Reply, Request};
use crate::id::Serial;
use crate::rollout::RunProgress;
use crate::run::Run;

impl Handle {
    /// How far a run is, with a rollout or without; of one that has ended, how it ended.
    pub async fn progress(&self, serial: Serial) -> Result<RunProgress, CallError> {
        match self.call(Request::RunProgress(serial)).await? {
            Reply::Progress(Some(progress)) => Ok(*progress),
            // What the engine no longer has has ended, or was never there.
            Reply::Progress(None) => Ok(RunProgress::of(&self.run(serial).await?)),
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }

    /// Lets the next wave of a run's rollout begin. Refused if nothing waits for an approval.
    pub async fn approve(&self, serial: Serial) -> Result<Run, CallError> {
        match self.call(Request::ApproveRun(serial)).await? {
            Reply::Run(run) => Ok(*run),
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }
}
