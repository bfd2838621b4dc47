//! The engine: decides, and does nothing else.
//!
//! Pure: no sockets, no files, no threads, no clock. It is told what happened and when
//! ([`Input`]), it says when it wants to be woken, and it hands out decisions: changes to store
//! and effects to release once they are stored. The same inputs with the same times give the
//! same decisions.
//!
//! May import the domain types and `schedule`, nothing else of fleetcron.

mod change;
mod effect;
mod input;

pub use change::{CHUNK, Change, Decision, OpenRunRecord, PAGE_BYTES, PageEntry, Snapshot};
pub use effect::{
    CloseReason, Dispatch, Effect, Event, FieldChange, JobAction, JobChange, OpenDelivery, Reply,
    RequestError, Status, What,
};
pub use input::{Apply, CallId, Input, NewClient, Page, Regroup, Request, SessionId};
