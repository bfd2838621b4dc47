//! What a check has found.
//!
//! Imports the store's keys and counts.

use serde::Serialize;

use crate::store::{KindStats, key};

/// Faults that are told one by one; further ones are counted.
pub const MAX_FAULTS: usize = 1_000;

/// A fault that a copy from before it undoes.
pub(super) const RESTORE: &str = "restore the store from a backup: fleetcron store restore";

/// Something that nothing leads to any more.
pub(super) const LEFTOVER: &str =
    "it does no harm and nothing shows it; it is gone after: fleetcron store export, then import";

/// Something of a later version.
pub(super) const VERSION: &str = "use the version of fleetcron that wrote it";

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The key, as [`show`](crate::store::key::show) writes it.
    pub key: String,
    /// Which rule of the layout it breaks, in a few words.
    pub rule: &'static str,
    /// What is wrong.
    pub problem: String,
    /// The way out.
    pub way_out: &'static str,
}

/// What a check has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub sound: bool,
    /// How much there is of each kind.
    pub kinds: Vec<KindStats>,
    /// What is wrong, at most [`MAX_FAULTS`].
    pub faults: Vec<Fault>,
    /// How many things are wrong.
    pub faults_total: u64,
    /// What is worth knowing and not wrong.
    pub notes: Vec<String>,
}

impl Report {
    /// Notes a fault.
    pub(super) fn fault(
        &mut self,
        key: &[u8],
        rule: &'static str,
        problem: impl Into<String>,
        way_out: &'static str,
    ) {
        self.faults_total += 1;
        if self.faults.len() < MAX_FAULTS {
            let (key, problem) = (key::show(key), problem.into());
            self.faults.push(Fault { key, rule, problem, way_out });
        }
    }

    /// Notes a fault that a backup undoes.
    pub(super) fn broken(&mut self, key: &[u8], rule: &'static str, problem: impl Into<String>) {
        self.fault(key, rule, problem, RESTORE);
    }
}
