//! Spread and jitter: the moment at which each client gets a run.
//!
//! Both are hashes, so that the same client starts at the same offset each time, and that a
//! restart in the middle changes nothing. What is away at its moment gets the run on its return.

use std::collections::BTreeMap;
use std::time::Duration;

use roaring::RoaringBitmap;
use sha2::{Digest, Sha256};

use super::core::Engine;
use crate::id::{ClientNo, Serial};
use crate::run::Run;
use crate::time::Timestamp;

/// Clients whose moments are nearer to each other than this go together.
const GRAIN_MS: u64 = 20;

/// Who is to be sent what and when: the earliest first.
pub(super) type Waves = BTreeMap<(Timestamp, Serial), RoaringBitmap>;

/// Whether a run is delivered otherwise than at once.
pub(super) fn spreads(run: &Run) -> bool {
    run.spread.is_some() || run.jitter.is_some()
}

/// The place of a hash within a time, in whole grains.
fn place(within: Option<Duration>, parts: &[&[u8]]) -> u64 {
    let millis = within.map_or(0, |within| u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
    let grains = millis / GRAIN_MS;
    if grains == 0 {
        return 0;
    }
    hash(parts) % grains * GRAIN_MS
}

/// A number that is always the same for the same parts, and as good as random.
pub(super) fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    u64::from_be_bytes(first)
}

impl Engine {
    /// When a client is to get a run.
    pub(super) fn moment(&self, run: &Run, no: ClientNo) -> Timestamp {
        if !spreads(run) && !bug!(FiredAheadNotSent) {
            // It may have fired by a clock that was ahead of the one that counts now.
            return run.fired_at.min(self.now);
        }
        let jitter = place(run.jitter, &[&run.serial.to_bytes()]);
        let job = run.job_id.map(crate::id::JobId::to_bytes).unwrap_or_default();
        let spread = self
            .registry
            .get(no)
            .map_or(0, |client| place(run.spread, &[&job, client.record.id.as_str().as_bytes()]));
        run.fired_at.plus(Duration::from_millis(jitter + spread))
    }

    /// Notes when a run's clients are to get it, those whose moment is still to come.
    pub(super) fn plan_waves(&mut self, serial: Serial) {
        let Some(open) = self.runs.get(serial).filter(|open| spreads(&open.run)) else { return };
        let mut waves: BTreeMap<Timestamp, RoaringBitmap> = BTreeMap::new();
        for no in &open.open {
            waves.entry(self.moment(&open.run, ClientNo(no))).or_default().insert(no);
        }
        let now = self.now;
        let coming = waves.into_iter().filter(|(at, _)| *at > now);
        self.waves.extend(coming.map(|(at, clients)| ((at, serial), clients)));
    }

    /// Sends to those whose moment has come.
    pub(super) fn send_waves(&mut self) {
        while let Some(wave) = self.waves.first_entry() {
            let (at, serial) = *wave.key();
            if at > self.now {
                return;
            }
            let clients = wave.remove();
            // A held run waits for more than its moment.
            if self.held.holds(serial) {
                continue;
            }
            let clients = self.rollouts.come(serial, clients);
            if let Some(run) = self.runs.get(serial) {
                let here = &(&clients & &run.open) & self.registry.connected();
                self.deliver_to(serial, &here);
            }
        }
    }
}
