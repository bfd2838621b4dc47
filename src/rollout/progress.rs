//! How far a run is: what is shown of it at any time.
//!
//! Imports the rest of the rollout and the words of runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Decimal, Percent, Standing};
use crate::id::{JobName, Serial};
use crate::run::{Counts, Run};
use crate::time::Timestamp;

/// How far a run is, with a rollout or without.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunProgress {
    /// The run.
    pub serial: Serial,
    /// The job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// When it fired.
    pub fired_at: Timestamp,
    /// When its last delivery ended; `None`: it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Open deliveries whose turn in the rollout is still to come.
    pub held_back: u64,
    /// Open deliveries whose turn has come, and that wait: for the client, a place, or an attempt.
    pub queued: u64,
    /// Deliveries on their way to a client.
    pub sent: u64,
    /// Deliveries that a client has taken.
    pub accepted: u64,
    /// All deliveries, and how those that have ended did.
    pub counts: Counts,
    /// Deliveries that hold a place: sent, taken, or between two attempts.
    pub in_flight: u64,
    /// How many may; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// How many may start in a second, now; `None`: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Decimal>,
    /// Ends in a second: since the wave at hand began, or since the run fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_per_second: Option<f64>,
    /// The wave at hand, of a rollout with waves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<WaveProgress>,
    /// Whether the rollout goes on; `None`: there is none, or it is over and was not aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Standing>,
    /// When it would have ended, if it went on as it did so far; `None`: that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_end: Option<Timestamp>,
    /// Why it ended without deliveries, or its rollout was aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How far a wave is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveProgress {
    /// Which, from 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// Its own deliveries that count.
    pub deliveries: u64,
    /// Those of them that have succeeded.
    pub succeeded: u64,
    /// Those of them that have not ended.
    pub open: u64,
    /// How many have to succeed; `None`: it is the last, and nothing follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<Percent>,
}

impl RunProgress {
    /// Of a run of which nothing is open, or nothing is known but the run.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        let over = run.ended_at.is_some() || run.cancelled_at.is_some();
        let standing = run.rollout_state.as_ref().map(|state| state.standing.clone());
        Self {
            serial: run.serial,
            job: run.job.clone(),
            fired_at: run.fired_at,
            ended_at: run.ended_at,
            held_back: 0,
            queued: 0,
            sent: 0,
            accepted: 0,
            counts: run.counts,
            in_flight: 0,
            max_in_flight: None,
            rate: None,
            ended_per_second: None,
            wave: None,
            rollout: standing.filter(|it| !over || matches!(it, Standing::Aborted { .. })),
            estimated_end: None,
            reason: run.reason.clone(),
        }
    }

    /// Notes that so many ended in a time, and what that makes of the end at `now`.
    ///
    /// Nothing can be told while nothing has ended, or while the rollout waits for somebody.
    pub fn estimate(&mut self, now: Timestamp, ended: u32, within: Duration) {
        let seconds = within.as_secs_f64();
        if ended == 0 || seconds <= 0.0 {
            return;
        }
        let pace = f64::from(ended) / seconds;
        // Thousandths are enough to look at.
        self.ended_per_second = Some((pace * 1_000.0).round() / 1_000.0);
        let waits = match &self.rollout {
            Some(standing) if standing.wants_approval() => return,
            Some(Standing::Waiting { until }) => until.since(now),
            _ => Duration::ZERO,
        };
        let open = f64::from(self.counts.open());
        if let Ok(rest) = Duration::try_from_secs_f64(open / pace) {
            self.estimated_end = Some(now.plus(waits).plus(rest));
        }
    }
}
