//! Who gets a run that has fired already.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether clients that come to be in a run's target after it has fired get it too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// They do not: the run is for those who were in its target when it fired.
    #[default]
    Snapshot,
    /// They do, as long as the run is open: it has not expired, been cancelled or ended.
    Open,
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Snapshot => "snapshot",
            Self::Open => "open",
        })
    }
}
