//! Explain: every firing that was to be, every delivery that a client was to get, and what became
//! of each.
//!
//! Promises: what was to fire is computed from the rules alone, revision by revision, and not from
//! the engine's own bookkeeping; what was found for a firing is told with its reason, and where
//! nothing was found it is told as unexplained and counted. Nothing is changed. Everything is read
//! in parts of bounded size, so that the memory does not grow with the span. May import the domain
//! types, `engine`, `store` and `history`.
//!
//! A calendar is kept only as it is now. For a rule that names one which was changed since, a
//! firing that did not happen is told as [`Fate::Calendar`]: whether the day was closed is not
//! known any more.
//!
//! [`JobExplainer`] and [`ClientExplainer`] read; `fate` has the decision, which is a
//! pure function over what was read.

mod away;
mod cancels;
mod client;
mod deliveries;
mod down;
mod expected;
mod facts;
mod fate;
mod item;
mod job;
mod ledger;
mod listed;
mod meant;
mod missed;
mod names;
mod past;
mod query;
mod runs;
mod settings;
mod sums;
#[cfg(test)]
mod tests;

pub use client::ClientExplainer;
pub use expected::COUNTED;
pub use fate::{DUE_GRACE, Fate};
pub use item::{
    Away, Delivery, Down, Firing, Item, LateBecause, MissedFirings, Note, OneDelivery, Waits,
};
pub use job::{JobExplainer, MAX_FIRINGS, SHOWN_CLIENTS};
pub use query::{ClientQuery, DEFAULT_SPAN, InvalidExplain, JobQuery, MAX_SPAN, Only, Span};
pub use sums::Sums;

/// Firings or deliveries that one part has, about.
const PART: usize = 256;

/// Records of runs that one part looks at, at most.
const LOOKED_AT: usize = 2_048;
