//! The engine: decides, and does nothing else.
//!
//! Pure: no sockets, no files, no threads, no clock. It is told what happened and when
//! ([`Input`]), it says when it wants to be woken, and it hands out decisions: changes to store
//! and effects to release once they are stored. The same inputs with the same times give the
//! same decisions.
//!
//! May import the domain types and `schedule`, nothing else of fleetcron.

mod applied;
mod apply;
mod attempts;
mod boot;
mod calendars;
mod change;
mod chunks;
mod clients;
mod core;
mod definitions;
mod dispatch;
mod drain;
mod effect;
mod event;
mod fire;
mod forecast;
mod in_flight;
mod input;
mod job_index;
mod jobs;
mod keep;
mod labels;
mod late;
mod membership;
mod missed;
mod overlap;
mod past;
mod pause;
mod progress;
mod queries;
mod queue;
mod registry;
mod repeats;
mod replays;
mod resolve;
mod rolling;
mod rollout;
mod runs;
mod sessions;
mod spread;
#[cfg(test)]
mod tests;
mod waits;
mod young;

use std::time::Duration;

pub use self::core::{EVENT_RESULT, Engine};
pub use crate::job_diff::FieldChange;
pub use applied::{Applied, CalendarChange, CalendarPlan, Moved, Planned};
pub use attempts::{RUN_GRACE, retry_at};
pub use change::{
    CHUNK, Change, Decision, LedgerEnd, Mark, OpenRunRecord, PAGE_BYTES, PageEntry, Snapshot,
    StoredJobs,
};
pub use definitions::{Definitions, JobHead, JobHeads, Unread};
pub use drain::DRAIN;
pub use effect::{
    CloseReason, Dispatch, Effect, JobAction, JobChange, NextChange, OpenDelivery, Outlooks, Plan,
    Reply, RequestError, Status,
};
pub use event::{EVENT_FIELD, EVENT_FIELDS, Event, What};
pub use forecast::OUTLOOKS;
pub use input::{
    Apply, CallId, ClientLimit, Forgotten, Input, NewClient, Page, Pause, Regroup, Relabel,
    Request, SessionId,
};
pub use late::MAX_WITHDRAWN;
pub use missed::{LATE, MAX_CATCH_UP};
pub use queue::{
    InvalidLimits, Limits, MAX_QUEUE_BYTES, MIN_QUEUE_BYTES, QUEUE_BYTES, QUEUE_DELIVERIES,
    QueueFull,
};
pub use replays::{NewReplay, ReplayParts, ReplayRecord, run_of_job};
pub use sessions::{URGENT_WINDOW, WINDOW};
pub use waits::{WAITS, Wait};

/// The version of fleetcron, as it is told at a start.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Jobs that one store holds, at most; an apply that would go above is refused.
pub const MAX_JOBS: usize = 20_000_000;

/// Clients that one registry holds, removed ones included; one more is refused.
pub const MAX_CLIENTS: u32 = 1_000_000;

/// Groups that one client is in, at most.
pub const MAX_GROUPS: usize = 64;

/// Open deliveries of one client, at most; further ones end as `skipped`.
pub const MAX_OPEN: u32 = 10_000;

/// After a start, nothing that had been sent before expires for so long: clients that hold
/// deliveries get time to return and say so.
pub const RETURN_GRACE: Duration = Duration::from_secs(30);

/// Calendars that one store holds, at most; an apply that would go above is refused.
pub const MAX_CALENDARS: usize = 10_000;

/// Jobs that the answer to a change of a calendar names, at most; the others are counted.
pub const MAX_MOVED: usize = 1_000;

fn not_found<'a>(
    what: &'static str,
    name: &str,
    among: impl Iterator<Item = &'a str>,
) -> RequestError {
    RequestError::NotFound {
        what,
        name: name.to_owned(),
        suggestion: crate::suggest::nearest(name, among),
    }
}
