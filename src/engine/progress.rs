//! How far a run is, answered from memory.

use super::core::Engine;
use crate::id::{ClientNo, Serial};
use crate::rollout::{RunProgress, Standing, WaveProgress};

impl Engine {
    /// How far a run is; `None`: it is not open.
    pub(super) fn progress(&self, serial: Serial) -> Option<RunProgress> {
        let open = self.runs.get(serial)?;
        let run = &open.run;
        let mut progress = RunProgress::of(run);
        progress.accepted = open.accepted.len();
        progress.sent = (&open.open - &open.accepted)
            .iter()
            .filter(|no| self.sent_over(serial, ClientNo(*no)).is_some())
            .count() as u64;
        progress.in_flight = progress.sent + progress.accepted;
        let mut since = (run.fired_at, 0);
        if let (Some(rolling), Some(rollout)) = (self.rollouts.get(serial), &run.rollout) {
            let total = run.counts.total;
            progress.held_back = open.open.len() - rolling.released.intersection_len(&open.open);
            let here = self.registry.connected() | &open.accepted;
            progress.in_flight = (&rolling.placed & &here).len();
            progress.max_in_flight = rollout.max_in_flight().map(|share| share.of(total));
            progress.rate = rollout.rate().map(|rate| rate.after(run.counts.succeeded));
            let state = run.rollout_state.clone().unwrap_or_default();
            if run.counts.ended() > rolling.pace.1 {
                since = rolling.pace;
            }
            let tally = rolling.tally(&open.open);
            let last = rollout.wave_end(state.wave, total) >= total;
            progress.wave = rollout.wave(state.wave).map(|wave| WaveProgress {
                number: state.wave,
                of: rollout.wave_count(),
                deliveries: tally.counted,
                succeeded: tally.succeeded,
                open: tally.open,
                success: Some(wave.success).filter(|_| !last),
            });
        }
        let told = progress.accepted + progress.sent + progress.held_back;
        progress.queued = open.open.len().saturating_sub(told);
        // Those that wait for a client that is away are not on their way to an end.
        let all_away = (&open.open & self.registry.connected()).is_empty();
        let stopped = matches!(progress.rollout, Some(Standing::Aborted { .. }));
        let (from, before) = since;
        progress.estimate(self.now, run.counts.ended() - before, self.now.since(from));
        if all_away || stopped && progress.queued > 0 {
            progress.estimated_end = None;
        }
        Some(progress)
    }
}
