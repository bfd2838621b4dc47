//! What happened: runs, responses and the past of jobs, read for people.
//!
//! Promises: reads the store only and changes nothing; the memory and the records of one read are
//! bounded, by the constants of this module. A read beside the node sees each run as some commit
//! left it. May import the domain types and the store.

mod count;
mod keep;
mod late;
mod ledger_age;
mod past;
mod responses;
mod runs;
mod statistics;

pub use count::{
    COUNTED_EVENTS, COUNTED_STATISTICS, Delta, count, counted, counted_before, merged,
};
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
pub use responses::{
    MAX_RESPONSES_BYTES, MAX_RESPONSES_COUNT, MAX_RESPONSES_PAGES, ResponsePage, response,
    responses,
};
pub use runs::{DEFAULT_RUNS, MAX_RUNS, RUNS_LOOKED_AT, RunQuery, run, runs};
pub use statistics::{Told, client_no, statistics};

#[cfg(test)]
mod tests;
