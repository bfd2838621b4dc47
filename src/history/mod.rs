//! What happened: events of the ledger, runs, responses and the past of jobs, read for people.
//!
//! Promises: reads the store only and changes nothing; the memory and the records of one read are
//! bounded, by the constants of this module. A read beside the node sees each run as some commit
//! left it. May import the domain types and the store.

mod count;
mod events;
mod index;
mod keep;
mod late;
mod ledger_age;
mod past;
mod replays;
mod responses;
mod runs;
mod select;
mod statistics;

pub use count::{
    COUNTED_EVENTS, COUNTED_STATISTICS, Delta, count, counted, counted_before, merged,
};
pub use events::{
    About, COLUMNS, CsvLines, Cursor, DEFAULT_EVENTS, EventKind, EventOrder, EventPage, EventQuery,
    EventReader, InvalidCursor, InvalidEventQuery, LOOK_BYTES, LOOK_EVENTS, LOOK_SEARCHED,
    MAX_EVENTS, MAX_TEXT, Recorded, ResultsShown, UnknownWord, end_state, events, words,
};
pub use index::{IndexStep, SEGMENT};
pub use keep::{
    Beyond, Census, Cut, LOOKED_AT, OldRuns, OldRunsQuery, Unlisted, Within, beyond, census,
    forgetting, left, old_runs, unlisted,
};
pub use late::{late_answer, late_answers};
pub use ledger_age::old_ledger;
pub use past::{
    DEFAULT_PAST, MAX_PAST, MAX_REVISIONS_BYTES, NAMESAKES, PastQuery, jobs_named, missed,
    nearest_removed, removed_before, revision, revisions,
};
pub use replays::{replay, replay_run, replays, replays_ended_before};
pub use responses::{
    MAX_RESPONSES_BYTES, MAX_RESPONSES_COUNT, MAX_RESPONSES_PAGES, ResponsePage, response,
    responses,
};
pub use runs::{DEFAULT_RUNS, MAX_RUNS, RUNS_LOOKED_AT, RunQuery, ended_of_jobs, run, runs};
pub use statistics::{Told, client_no, statistics};

pub use select::{
    OCCURRENCES_LOOKED_AT, RESPONSES_LOOKED_AT, SelectError, Selected, occurrences,
    select_occurrences, select_runs,
};

#[cfg(test)]
mod tests;
