//! fleetcron wakes a fleet on time: a cron for many machines, with a memory.
//!
//! One server keeps jobs in an embedded store, decides when each is due, and delivers its command
//! to every client that it is meant for: one, a group, or all. Clients hold one connection each,
//! run the command with a handler that their owner registered, and answer; the answer is recorded
//! under the run's serial. A client that is away gets its commands when it comes back.
//!
//! This library is all of it: the scheduler to embed ([`Node`]), the server for clients
//! ([`server`]), the client library ([`client`]), the HTTP interface ([`api`]) and the way to it
//! ([`remote`]). The program `fleetcron` is the same library behind a command line.
//!
//! # An example
//!
//! A node, a client in the same process, and one command from the one to the other:
//!
//! ```
//! use fleetcron::client::{Client, Context};
//! use fleetcron::server::Server;
//! use fleetcron::{NewClient, Node, Submission, TokenHash};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let node = Node::open(directory.path())?;
//! let handle = node.handle();
//!
//! // A client must be in the registry before it is let in.
//! let token = Some(TokenHash::of("s3cret"));
//! let client = NewClient { id: "web-01".parse()?, groups: ["web".parse()?].into(), token };
//! handle.add_client(client).await?;
//!
//! let server = Server::builder(handle.clone()).bind("127.0.0.1:0").await?;
//! let address = server.local_addr().ok_or("it does not listen")?.to_string();
//! let client = Client::builder(address, "web-01".parse()?)
//!     .token("s3cret")
//!     .on("greet", |_: Context, name: String| async move { Ok(format!("hello {name}")) })
//!     .start()?;
//! # client.connected().await.map_err(|end| end.to_string())?;
//!
//! let mut submission = Submission::new("group:web".parse()?, "greet".parse()?);
//! submission.params = r#""fleet""#.parse()?;
//! let run = handle.submit(submission).await?;
//! let run = handle.wait(run.serial).await?;
//! assert!(run.all_succeeded());
//! let response = handle.response(run.serial, "web-01".parse()?).await?.ok_or("no response")?;
//! assert_eq!(response.outcome.result, Some(r#""hello fleet""#.parse()?));
//!
//! client.stop().await;
//! server.shutdown().await;
//! node.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The files in `examples/` have one idea each: a job that fires every second (`embed`), typed
//! handlers (`client`), responses as a stream (`submit`), authentication of one's own (`server`),
//! commands from a client to the server (`call`), and the same over HTTP (`remote`).
//!
//! # The words
//!
//! | word | meaning | type |
//! | --- | --- | --- |
//! | client | a named endpoint that holds a connection and runs commands | [`ClientId`] |
//! | group | a named set of clients; the registry says who is in it | [`GroupName`] |
//! | target | one client, a group, all, or an expression of these and labels | [`Target`] |
//! | command | a name and a JSON parameter | [`Command`] |
//! | job | a stored command with a target, a rule and policies | [`JobSpec`], [`Job`] |
//! | rule | `now`, `at`, `every` or `cron`, with optional start, end and count | [`Rule`] |
//! | calendar | days, under a name, that the rules of many jobs leave out | [`Calendar`] |
//! | run | one firing of a job, or one submitted command, to all its targets | [`Run`], [`Serial`] |
//! | delivery | one run for one client | [`DeliveryState`] |
//! | response | how a delivery ended, recorded by serial and client | [`Response`] |
//! | registry | the clients that are defined; the connected are among them | [`ClientView`] |
//! | ledger | every event in order: when, who, what and why | [`Event`], [`Actor`] |
//!
//! # The promises
//!
//! 1. **Accepted is durable.** A change that was acknowledged is on disk.
//! 2. **Decide, commit, act.** A command leaves for a client, and an answer for a caller, only
//!    after the decision behind it is committed.
//! 3. **Every delivery ends in exactly one recorded state**, with a reason where the state alone
//!    does not say it.
//! 4. **At least once to the client, once in effect**: a delivery is sent again until it is
//!    answered, and a client does not run a serial twice, with a journal not even after a crash.
//! 5. **Order.** A client gets its deliveries in the order of their serials.
//! 6. **Bounds.** Every queue, frame, batch and list has a limit and a behaviour at it.
//! 7. **Time is an input.** The same inputs at the same times give the same decisions.
//!
//! # The map
//!
//! Imports point one way: domain types, [`engine`], [`store`], [`node`], then those around it.
//!
//! | module | what it is |
//! | --- | --- |
//! | the types here | names, jobs, runs, responses, targets |
//! | [`schedule`], [`time`] | rules, cron expressions, time zones; times and durations as text |
//! | [`engine`] | all decisions, without I/O: inputs in, changes and effects out |
//! | [`recording`] | what the engine is told, as it is recorded |
//! | [`store`] | the trait; sled, fjall and memory behind it, the key layout, the ledger, the conformance suite |
//! | [`reenact`] | the engine's decisions made once more: verified, or with other definitions |
//! | [`node`] | the loop that owns engine and store, and its [`Handle`] |
//! | [`history`] | events of the ledger, runs, responses and the past of jobs, read from the store |
//! | [`explain`] | every firing that was to be, and what became of it |
//! | [`forecast`] | when jobs fire next, and how much that is |
//! | [`housekeeping`] | retention, statistics and the index of the ledger |
//! | [`wire`] | the protocol between client and server, every frame shown |
//! | [`handlers`] | handlers by command name, for both ends |
//! | [`server`], [`client`] | the two ends of the wire |
//! | [`agent`] | a client's handlers that run the programs of an allow-list |
//! | [`api`], [`remote`] | the HTTP interface, and the handle's methods over it |
//! | [`access`] | where the server is and the token that opens it |
//! | [`job_files`], [`job_diff`] | jobs in TOML and JSON files; what an apply would change |
//! | [`live`] | progress and output of commands that run |
//! | [`statistics`] | what runs and deliveries come to, by hour and day |
//! | [`security`] | who is trusted with what, and which test shows it |
//! | [`size`] | sizes as text |
//! | [`suggest`] | "did you mean" |

#![forbid(unsafe_code)]

// First of all, for its macro.
#[macro_use]
mod seeded_bugs;

pub mod access;
mod actor;
pub mod agent;
pub mod api;
pub mod bucket;
mod bytes;
mod calendar;
#[doc(hidden)]
pub mod cli;
pub mod client;
mod client_record;
mod command_limit;
mod delivery_state;
pub mod engine;
pub mod explain;
pub mod forecast;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod handlers;
pub mod history;
pub mod housekeeping;
mod id;
mod idempotency;
mod job;
pub mod job_diff;
pub mod job_files;
mod job_past;
mod json;
mod keep;
mod label;
pub mod live;
mod lock_file;
pub mod node;
mod pause;
mod policy;
pub mod recording;
pub mod reenact;
pub mod remote;
mod replay;
pub mod rollout;
mod run;
pub mod schedule;
pub mod security;
pub mod server;
pub mod size;
pub mod statistics;
pub mod store;
mod store_kind;
pub mod suggest;
mod target;
pub mod time;
pub mod wire;

pub use actor::{Actor, InvalidActor, MAX_TOKEN_NAME, TokenName};
pub use calendar::{Calendar, CalendarRecord, CalendarView, InvalidCalendar};
pub use client_record::{ClientRecord, ClientView, Presence, Proof, TokenHash};
pub use command_limit::{CommandLimit, InvalidCommandLimit};
pub use engine::{
    Apply, ClientLimit, Event, Forgotten, JobAction, JobChange, NewClient, OpenDelivery, Page,
    Pause, Regroup, Relabel, RequestError, Status, What,
};
pub use forecast::{Forecast, ForecastQuery, NextFirings};
pub use handlers::{HandlerError, Handlers};
pub use id::{
    CalendarName, ClientId, ClientNo, CommandName, GroupName, InvalidName, InvalidUlid, JobId,
    JobName, ReplayId, Serial,
};
pub use idempotency::{
    Fingerprint, IDEMPOTENCY_WINDOW, IdempotencyKey, InvalidIdempotencyKey, MAX_REPEATS,
    MAX_UNIQUE_WITHIN, Repeat, RepeatKey, Submitted,
};
pub use job::{
    CATCH_UP_WINDOW, CatchUp, Command, DefinitionTooLarge, Job, JobSpec, JobState, JobStatus,
    JobView, MAX_DEFINITION, MAX_DESCRIPTION, MAX_PARAMS, MAX_SPREAD, Missed, Offline,
    OnClientCrash, Overlap, OverlapScope, ParamsTooLarge, SHOTS_KEPT,
};
pub use job_past::{
    InvalidPlace, JobRevision, MISSED_KEPT, MissedRow, Place, REVISIONS_KEPT, RemovedJob,
    RevisionChange,
};
pub use json::Json;
pub use keep::{InvalidKeep, Keep, MAX_KEEP_BYTES, MAX_KEEP_RUNS, MIN_KEEP_BYTES, MIN_KEEP_FOR};
pub use label::{
    FACT_KEYS, Facts, InvalidLabel, LabelKey, LabelTrust, LabelValue, Labels, MAX_LABEL_KEY,
    MAX_LABEL_VALUE, MAX_LABELS,
};
pub use node::{Handle, Node};
pub use pause::{
    FailureLimit, InvalidFailureLimit, InvalidPause, InvalidSelection, JobSelection,
    MAX_PAUSE_REASON, PauseTerms, Paused, SelectionChange,
};
pub use policy::{
    ACCEPT_TIMEOUT, BACKOFF, DeliveryMode, InvalidPolicy, LONGEST_BACKOFF, MAX_ATTEMPTS,
    MAX_BACKOFF, MAX_TIMEOUT, MIN_BACKOFF, MIN_TIMEOUT, Policy, Priority, Retry, Timeout,
};
pub use replay::{
    Backfill, InvalidMaxOpen, InvalidReplay, LeftOut, MAX_REPLAY_BYTES, MAX_REPLAY_DELIVERIES,
    MAX_REPLAY_ITEMS, MAX_REPLAYS, MAX_SELECTED_SERIALS, MAX_WAITING_ITEMS, MaxOpen, PLAN_CLIENTS,
    PlannedRun, Replay, ReplayItem, ReplayKind, ReplayOf, ReplayPlan, ReplayRun, ReplayTerms,
    RunAgain, RunSelection,
};
pub use run::{
    Attempt, Cause, Counts, DeliveryState, LateAnswer, Outcome, Response, Run, Submission,
};
pub use schedule::Rule;
#[cfg(feature = "seeded-bugs")]
#[doc(hidden)]
pub use seeded_bugs::SeededBug;
pub use target::{Expr, InvalidTarget, MAX_DEPTH, MAX_TARGET, Membership, Share, Target};
pub use time::Timestamp;

/// The README's Rust snippets, compiled with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
