//! `fleetcron agent`: a client that runs allow-listed programs.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::{Done, Verdict, signals};
use crate::agent::{Config, JournalChoice, Runner};
use crate::client::{Client, ClientHandle, Context, End, JournalError, StartError};
use crate::handlers::Handlers;
use crate::id::{ClientId, CommandName};
use crate::json::Json;
use crate::label::{InvalidLabel, Labels};
use clap::Args;

/// Run the programs that this machine's own list allows, when the server says so.
#[derive(Debug, Args)]
pub(super) struct AgentArgs {
    /// The list of what may run, in TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where the server listens for clients. Default: `server` in the list's `[agent]`.
    #[arg(long, value_name = "ADDRESS")]
    connect: Option<String>,
    /// This client's id. Default: `client` in the list's `[agent]`.
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
    /// The file that holds this client's token. Default: `token_file` in the list's `[agent]`.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The directory of the journal, in which it is written down what was begun and how it
    /// ended, so that a restart neither runs a finished command again nor loses a result.
    /// Default: `journal` in the list's `[agent]`, or `journal-ID` in the state directory:
    /// `$STATE_DIRECTORY`, as systemd sets it, or `$XDG_STATE_HOME/fleetcron`, or
    /// `~/.local/state/fleetcron`.
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// Keep no journal: what was running when the agent ended runs again.
    #[arg(long, conflicts_with = "journal")]
    no_journal: bool,
    /// Commands that run at the same time; one more may, if it is urgent.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// A label that the agent says of itself, in place of one of the same key in the list's
    /// `[labels]`; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// End when standard input ends: for agents that another program has started.
    #[arg(long)]
    with_stdin: bool,
}

/// Runs until a signal comes or the server dismisses the client.
pub(super) async fn execute(args: AgentArgs) -> Done {
    let mut signals = signals::Signals::listen()?;
    let config = Config::load(&args.config).map_err(|error| CliError::Usage(error.to_string()))?;
    let client = start(&args, config)?;
    tokio::select! {
        end = client.wait() => return ended(&end),
        () = signals.first() => {}
        () = signals::stdin_ends(), if args.with_stdin => {}
    }
    tracing::info!("stopping when what runs has ended; a second signal ends at once");
    tokio::select! {
        _ = client.stop() => Ok(Verdict::Succeeded),
        () = signals.first() => Err(CliError::Server("ended by a second signal".into())),
    }
}

fn start(args: &AgentArgs, config: Config) -> Result<ClientHandle, CliError> {
    let missing = |flag: &str, field: &str| {
        let list = args.config.display();
        CliError::Usage(format!("give {flag}, or {field} in the [agent] table of {list}"))
    };
    let known = &config.connection;
    let server = args.connect.clone().or_else(|| known.server.clone());
    let server = server.ok_or_else(|| missing("--connect", "server"))?;
    let id = args.client.clone().or_else(|| known.client.clone());
    let id = id.ok_or_else(|| missing("--client", "client"))?;
    let token_file = args.token_file.clone().or_else(|| known.token_file.clone());
    let token_file = token_file.ok_or_else(|| missing("--token-file", "token_file"))?;
    let token = read_token(&token_file)?;
    let journal = journal(args, known.journal.as_ref(), &id)?;
    let usage = |error: InvalidLabel| CliError::Usage(error.to_string());
    let given = Labels::parse(args.labels.iter().map(String::as_str)).map_err(usage)?;
    let labels = config.labels.changed(&given, []).map_err(usage)?;
    let runner = Runner::new(config);
    tracing::info!(client = %id, %server, commands = runner.commands().count(), "agent starts");
    let mut client = Client::builder(server, id);
    if let Some(journal) = journal {
        tracing::info!(journal = %journal.display(), "the journal is kept there");
        client = client.journal(journal);
    }
    for (key, value) in labels.iter() {
        client = client.label(key.as_str(), value.as_str());
    }
    if let Some(hostname) = hostname() {
        client = client.hostname(hostname);
    }
    client
        .token(token)
        .handlers(handlers(&runner))
        .concurrency(usize::from(args.concurrency))
        .on_connect(|client| tracing::info!(client = %client.id(), "connected"))
        .on_disconnect(
            |client, reason| tracing::info!(client = %client.id(), reason, "disconnected"),
        )
        .start()
        .map_err(|error| match error {
            // Who has it now may be gone at the next start.
            StartError::Journal(error @ JournalError::Locked { .. }) => CliError::server(error),
            StartError::Journal(error) => CliError::Usage(error.to_string()),
            StartError::Handlers(error) => CliError::server(error),
            StartError::Label(error) => usage(error),
        })
}

/// The journal's directory; `None`: the agent keeps none.
fn journal(
    args: &AgentArgs,
    listed: Option<&JournalChoice>,
    client: &ClientId,
) -> Result<Option<PathBuf>, CliError> {
    match (&args.journal, listed) {
        _ if args.no_journal => Ok(None),
        (Some(path), _) | (None, Some(JournalChoice::At(path))) => Ok(Some(path.clone())),
        (None, Some(JournalChoice::None)) => Ok(None),
        (None, None) => {
            let state = state_directory(|name| std::env::var_os(name)).ok_or_else(|| {
                let problem = "there is no state directory for the journal";
                CliError::Usage(format!("{problem}: give --journal DIR, or --no-journal"))
            })?;
            // A client's id alone could be "..".
            Ok(Some(state.join(format!("journal-{client}"))))
        }
    }
}

/// Where programs of this user keep what they have to remember.
fn state_directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    if let Some(given) = set("STATE_DIRECTORY") {
        // systemd separates several by colons.
        return std::env::split_paths(&given).next();
    }
    if let Some(home) = set("XDG_STATE_HOME").map(PathBuf::from).filter(|it| it.is_absolute()) {
        return Some(home.join("fleetcron"));
    }
    Some(PathBuf::from(set("HOME")?).join(".local/state/fleetcron"))
}

/// The machine's name as Linux tells it; elsewhere the agent says none.
fn hostname() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn read_token(path: &Path) -> Result<String, CliError> {
    let text = fs::read_to_string(path).map_err(|error| {
        CliError::Usage(format!("cannot read the token file {}: {error}", path.display()))
    })?;
    let open = fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0);
    if open {
        let path = path.display();
        tracing::warn!("others can read the token file {path}; run: chmod 600 {path}");
    }
    match text.trim() {
        "" => Err(CliError::Usage(format!("the token file {} is empty", path.display()))),
        token => Ok(token.to_owned()),
    }
}

/// A handler for each allowed command; every other name is rejected by the runner too, with the
/// names that it allows.
fn handlers(runner: &Runner) -> Handlers<Context> {
    let mut handlers = Handlers::new();
    for (name, _) in runner.commands() {
        let (runner, command) = (runner.clone(), name.clone());
        handlers = handlers.on_raw(name.as_str(), move |cx: Context, params| {
            let (runner, command) = (runner.clone(), command.clone());
            async move { runner.run_seen(&command, &params, cx.cancel.clone(), &cx).await }
        });
    }
    let runner = runner.clone();
    handlers.fallback(move |cx: Context, command: CommandName, params: Json| {
        let runner = runner.clone();
        async move { runner.run_seen(&command, &params, cx.cancel.clone(), &cx).await }
    })
}

fn ended(end: &End) -> Done {
    match end {
        End::Stopped => Ok(Verdict::Succeeded),
        End::Dismissed(_) | End::Aborted => Err(CliError::Server(format!("the agent was {end}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_is_that_of_the_service_or_of_the_user() {
        let found = |set: &[(&str, &str)]| {
            let variable = |name: &str| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
            };
            state_directory(variable).map(|path| path.display().to_string())
        };
        let home = ("HOME", "/home/a");
        let xdg = ("XDG_STATE_HOME", "/state");
        let service = ("STATE_DIRECTORY", "/var/lib/fleetcron:/var/lib/more");
        assert_eq!(found(&[home, xdg, service]).unwrap(), "/var/lib/fleetcron");
        assert_eq!(found(&[home, xdg]).unwrap(), "/state/fleetcron");
        let relative = ("XDG_STATE_HOME", "state");
        assert_eq!(found(&[home, relative]).unwrap(), "/home/a/.local/state/fleetcron");
        assert_eq!(
            found(&[home, ("STATE_DIRECTORY", "")]).unwrap(),
            "/home/a/.local/state/fleetcron"
        );
        assert_eq!(found(&[]), None);
    }
}
