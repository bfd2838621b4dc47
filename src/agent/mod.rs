//! A ready-made client that runs operating-system commands from its own allow-list.
//!
//! Taking over the server does not mean running anything on the fleet: the agent runs the
//! programs that its own file lists, with arguments whose values fit their declared types, and
//! never through a shell. [`config`] shows the file.
//!
//! Promises: a command that is not listed, or whose params do not fit, is rejected and starts
//! nothing; one that runs ends within its time limit, with all processes of its group. How many
//! run at once is for the caller to limit.
//! Imports the domain types.

mod artefact;
pub mod config;
mod exec;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod output;
mod params;
mod path;
mod report;
mod seen;
mod template;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::id::CommandName;
use crate::json::Json;
use crate::live::{LiveSink, Unseen};
use crate::run::{DeliveryState, Outcome};
pub use artefact::{Artefact, DEFAULT_ARTEFACT_LIMIT, MAX_ARTEFACT_COUNT, MAX_ARTEFACTS};
pub use config::{AllowedCommand, Config, ConfigError, Connection, JournalChoice};
pub use exec::SETTLE;

/// An allow-list for demonstrations: commands that any Linux with coreutils can run, and that
/// change nothing.
pub const DEMO_COMMANDS: &str = include_str!("demo.toml");

/// How many of the allowed commands a rejection names.
const NAMED: usize = 20;

/// Runs commands of an allow-list. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use fleetcron::agent::{Config, Runner};
/// use fleetcron::{DeliveryState, Json};
///
/// let config = r#"
///     [[command]]
///     name = "greet"
///     program = "printf"
///     args = ["hello %s", "{whom}"]
///     params.whom = { type = "string", pattern = "[a-z]+" }
/// "#;
/// let runner = Runner::new(Config::parse(config, "agent.toml".as_ref())?);
/// let params: Json = r#"{"whom": "world"}"#.parse()?;
/// let outcome = runner.run(&"greet".parse()?, &params, Default::default()).await;
/// assert_eq!(outcome.state, DeliveryState::Succeeded);
/// assert_eq!(
///     outcome.result.unwrap().text(),
///     r#"{"exit_code":0,"stdout":"hello world","stderr":"","stdout_cut":0,"stderr_cut":0}"#
/// );
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Runner {
    commands: Arc<BTreeMap<CommandName, Arc<AllowedCommand>>>,
}

impl Runner {
    /// A runner of the configuration's commands.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let commands = config.commands.into_iter();
        let commands = commands.map(|(name, command)| (name, Arc::new(command))).collect();
        Self { commands: Arc::new(commands) }
    }

    /// A runner of [`DEMO_COMMANDS`]. The error names a program that this machine lacks.
    pub fn demo() -> Result<Self, ConfigError> {
        Config::parse(DEMO_COMMANDS, Path::new("demo.toml")).map(Self::new)
    }

    /// The commands that it runs, by name.
    pub fn commands(&self) -> impl Iterator<Item = (&CommandName, &AllowedCommand)> {
        self.commands.iter().map(|(name, command)| (name, &**command))
    }

    /// Runs a command to its end, which the outcome tells:
    ///
    /// - `succeeded`: its exit code is one of its `success_codes`;
    /// - `failed`: another exit code, a signal, or it could not be started;
    /// - `rejected`: it is not listed, or its params do not fit; nothing was started;
    /// - `timed_out`, `cancelled` (by `stop`): its processes were ended.
    ///
    /// Whenever a program was started, the result is an object with `exit_code` or `signal`,
    /// `stdout`, `stderr`, and `stdout_cut` and `stderr_cut`, the bytes left out of them;
    /// `stdout_lossy`, `stderr_lossy` and `left_open` are there where true: bytes that are not
    /// UTF-8 were replaced, a process that left the group may still print.
    ///
    /// With `result = "json"` it has the JSON that the program printed on stdout as `value`, and
    /// an empty `stdout`; a program that succeeds and printed something else has `failed`. With
    /// `artefacts` it has a list of that name, of an [`Artefact`] for each file: `name` and `size`,
    /// with `sha256` and `base64`, or with `omitted`, which says why the content is not here.
    ///
    /// When the program ends, what it left running in its process group is killed, so that a
    /// command cannot leave a daemon behind unnoticed. Dropping the future kills them all. Needs
    /// a tokio runtime with I/O and time enabled.
    pub async fn run(
        &self,
        command: &CommandName,
        params: &Json,
        stop: CancellationToken,
    ) -> Outcome {
        self.run_seen(command, params, stop, &Unseen).await
    }

    /// The same, with its output and progress shown as they come. The sink gets all of it, and as
    /// fast as the program prints: how much goes on is for the sink to limit.
    pub async fn run_seen(
        &self,
        command: &CommandName,
        params: &Json,
        stop: CancellationToken,
        sink: &dyn LiveSink,
    ) -> Outcome {
        let Some(allowed) = self.commands.get(command) else {
            return Outcome::ended(DeliveryState::Rejected, self.not_listed(command));
        };
        let started = Instant::now();
        let mut outcome = run_allowed(allowed, params, started, &stop, sink).await;
        if outcome.state != DeliveryState::Rejected {
            outcome.ran_ms = u64::try_from(started.elapsed().as_millis()).ok();
        }
        outcome
    }

    fn not_listed(&self, command: &CommandName) -> String {
        let names = || self.commands.keys().map(CommandName::as_str);
        let suggestion = crate::suggest::did_you_mean(command.as_str(), names());
        let count = self.commands.len();
        let listed = names().take(NAMED).collect::<Vec<_>>().join(", ");
        let more = if count > NAMED { ", …" } else { "" };
        format!(
            "command {command:?} is not on this agent's list{suggestion}; \
             allowed are {count}: {listed}{more}"
        )
    }
}

async fn run_allowed(
    command: &Arc<AllowedCommand>,
    params: &Json,
    started: Instant,
    stop: &CancellationToken,
    sink: &dyn LiveSink,
) -> Outcome {
    let deadline = started + command.time_limit;
    let args = tokio::select! {
        biased;
        () = stop.cancelled() => {
            let reason = "cancelled before its program was started";
            return Outcome::ended(DeliveryState::Cancelled, reason);
        }
        args = arguments(Arc::clone(command), params.clone()) => args,
        () = sleep_until(deadline) => {
            let reason = "the check of its params took longer than its time limit";
            return Outcome::ended(DeliveryState::TimedOut, reason);
        }
    };
    let args = match args {
        Ok(args) => args,
        Err(reason) => return Outcome::ended(DeliveryState::Rejected, reason),
    };
    match exec::execute(command, &args, deadline, stop, sink).await {
        Ok(execution) => report::outcome(command, execution, artefacts(command).await),
        Err(reason) => Outcome::ended(DeliveryState::Failed, reason),
    }
}

/// The files that the program left, read on a thread for that.
async fn artefacts(command: &Arc<AllowedCommand>) -> Vec<Artefact> {
    if command.artefacts.is_empty() {
        return Vec::new();
    }
    let command = Arc::clone(command);
    let read =
        move || artefact::read(&command.artefacts, &command.working_dir, command.artefact_limit);
    // The runtime is ending, or reading has a fault: the result goes without them.
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

/// The program's arguments; the error is the reason of a rejection. Checking a path asks the file
/// system, which may take its time: it does so on a thread for that.
async fn arguments(command: Arc<AllowedCommand>, params: Json) -> Result<Vec<OsString>, String> {
    let check = move || {
        let values = params::check_params(&command.params, &params)?;
        Ok(command.args.iter().map(|template| template.render(&values)).collect())
    };
    let checked = tokio::task::spawn_blocking(check).await;
    checked.unwrap_or_else(|error| Err(format!("the check of its params failed: {error}")))
}
