//! fleetcron: a cron for a whole fleet.

#![forbid(unsafe_code)]

pub mod access;
pub mod agent;
pub mod api;
#[doc(hidden)]
pub mod cli;
pub mod client;
mod client_record;
pub mod engine;
pub mod handlers;
pub mod history;
pub mod housekeeping;
mod id;
mod job;
pub mod job_diff;
pub mod job_files;
mod json;
pub mod node;
pub mod remote;
mod run;
pub mod schedule;
pub mod server;
pub mod store;
pub mod suggest;
mod target;
pub mod time;
pub mod wire;

pub use client_record::{ClientRecord, ClientView, Presence, Proof, TokenHash};
pub use engine::{
    Apply, Event, JobAction, JobChange, NewClient, OpenDelivery, Page, Regroup, RequestError,
    Status, What,
};
pub use handlers::{HandlerError, Handlers};
pub use id::{
    ClientId, ClientNo, CommandName, GroupName, InvalidName, InvalidUlid, JobId, JobName, Serial,
};
pub use job::{
    CATCH_UP_WINDOW, CatchUp, Command, Job, JobSpec, JobState, JobStatus, JobView, MAX_DESCRIPTION,
    MAX_PARAMS, Missed, Offline, ParamsTooLarge,
};
pub use json::Json;
pub use node::{Handle, Node};
pub use run::{Cause, Counts, DeliveryState, Outcome, Response, Run, Submission};
pub use schedule::Rule;
pub use target::{InvalidTarget, Target};
pub use time::Timestamp;
