//! What happened: events of the ledger, runs, responses and the past of jobs, read for people.
//!
//! Promises: reads the store only and changes nothing; the memory and the records of one read are
//! bounded, by the constants of this module. A read beside the node sees each run as some commit
//! left it. May import the domain types and the store.

mod events;
mod index;
mod late;
mod past;
mod responses;
mod runs;

pub use events::{
    About, COLUMNS, CsvLines, Cursor, DEFAULT_EVENTS, EventKind, EventOrder, EventPage, EventQuery,
    EventReader, InvalidCursor, InvalidEventQuery, LOOK_BYTES, LOOK_EVENTS, LOOK_SEARCHED,
    MAX_EVENTS, MAX_TEXT, Recorded, ResultsShown, UnknownWord, end_state, events, words,
};
pub use index::{IndexStep, SEGMENT};
pub use late::{late_answer, late_answers};
pub use past::{
    DEFAULT_PAST, MAX_PAST, MAX_REVISIONS_BYTES, NAMESAKES, PastQuery, jobs_named, missed,
    nearest_removed, removed_before, revision, revisions,
};
pub use responses::{
    MAX_RESPONSES_BYTES, MAX_RESPONSES_COUNT, MAX_RESPONSES_PAGES, ResponsePage, response,
    responses,
};
pub use runs::{DEFAULT_RUNS, MAX_RUNS, RUNS_LOOKED_AT, RunQuery, ended_before, run, runs};

#[cfg(test)]
mod tests;
