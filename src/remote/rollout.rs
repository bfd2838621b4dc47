//! Rollouts over HTTP: how far a run is, and its approvals.

use super::{Remote, RemoteError};
use crate::id::Serial;
use crate::rollout::RunProgress;
use crate::run::Run;

impl Remote {
    /// How far a run is, with a rollout or without; of one that has ended, how it ended.
    pub async fn progress(&self, serial: Serial) -> Result<RunProgress, RemoteError> {
        self.fetch(&["runs", &serial.to_string(), "progress"]).await
    }

    /// Lets the next wave of a run's rollout begin. Refused if nothing waits for an approval.
    pub async fn approve(&self, serial: Serial) -> Result<Run, RemoteError> {
        self.post(&["runs", &serial.to_string(), "approve"]).await
    }
}
