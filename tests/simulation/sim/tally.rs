//! How much was simulated.

use std::collections::BTreeMap;
use std::fmt;

/// Counts by name, and the time that passed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) seeds: u64,
    pub(crate) virtual_ms: u64,
    /// What was done to the fleet.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// What came of it.
    pub(crate) seen: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn fault(&mut self, what: &'static str) {
        *self.faults.entry(what).or_default() += 1;
    }

    pub(crate) fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.virtual_ms += other.virtual_ms;
        for (what, count) in &other.faults {
            *self.faults.entry(what).or_default() += count;
        }
        for (what, count) in &other.seen {
            *self.seen.entry(what).or_default() += count;
        }
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.seen.get(what).or(self.faults.get(what)).copied().unwrap_or(0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: u64 = self.faults.values().sum();
        let hours = std::time::Duration::from_millis(self.virtual_ms).as_secs_f64() / 3_600.0;
        writeln!(
            f,
            "{} seeds: {hours:.1} simulated hours, {faults} faults, {} deliveries, {} executions",
            self.seeds,
            self.of("deliveries"),
            self.of("executions"),
        )?;
        let line = |counts: &BTreeMap<&'static str, u64>| {
            let each: Vec<String> =
                counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
            each.join(", ")
        };
        writeln!(f, "faults: {}", line(&self.faults))?;
        write!(f, "seen: {}", line(&self.seen))
    }
}
