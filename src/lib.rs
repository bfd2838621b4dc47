//! fleetcron: a cron for a whole fleet.

#![forbid(unsafe_code)]

mod client_record;
pub mod engine;
mod id;
mod job;
mod json;
mod run;
pub mod schedule;
pub mod store;
mod target;
pub mod time;

pub use client_record::{ClientRecord, ClientView, Presence, Proof, TokenHash};
pub use id::{
    ClientId, ClientNo, CommandName, GroupName, InvalidName, InvalidUlid, JobId, JobName, Serial,
};
pub use job::{
    CATCH_UP_WINDOW, CatchUp, Command, Job, JobSpec, JobState, JobStatus, JobView, MAX_PARAMS,
    Missed, Offline, ParamsTooLarge,
};
pub use json::Json;
pub use run::{Cause, Counts, DeliveryState, Outcome, Response, Run, Submission};
pub use schedule::Rule;
pub use target::{InvalidTarget, Target};
pub use time::Timestamp;
