//! The agent's configuration: whom it connects to, and the list of commands that it runs.
//!
//! ```toml
//! [agent]                       # optional; what is not given comes from elsewhere
//! server = "127.0.0.1:7400"
//! client = "web-01"
//! token_file = "token"          # taken from the configuration's directory when relative
//! journal = "journal"           # a directory, relative as above; false: none. Default: in the
//!                               # state directory, see `fleetcron agent --help`
//!
//! [labels]                      # optional; what the agent says of itself, beside its facts
//! rack = "r7"
//!
//! [[command]]
//! name = "disk.report"          # required
//! description = "Free space of a file system."
//! program = "df"                # required; absolute, or looked up in PATH when this is loaded
//! args = ["-P", "{path}"]       # default []; each is one argument, {param} stands for its value
//! working_dir = "/"             # default "/"
//! env = ["PATH", "HOME"]        # default []; passed through from the agent where set; no other is
//! set_env = { LC_ALL = "C" }    # default {}
//! time_limit = "30s"            # default 1m, at most 24h
//! grace = "2s"                  # default 2s, at most 1m; from SIGTERM to SIGKILL
//! output_limit = 65536          # default 64 KiB, at most 256 KiB; of stdout and of stderr each
//! success_codes = [0]           # default [0]
//! progress = false              # default false; true: a line of stdout such as
//!                               #   ::progress 40 copying
//!                               # tells progress (per cent, note), and is not shown as output
//! result = "text"               # default "text"; "json": stdout is the result's `value`
//! artefacts = ["out/report.html"]  # default []; files in the result, relative to working_dir
//! artefact_limit = 65536        # default 64 KiB each, at most 256 KiB; 256 KiB in all
//!
//! [command.params.path]
//! type = "path"                 # required: string, integer, choice or path
//! below = "/"                   # required for a path
//! must_exist = true             # default false
//! default = "/"                 # without it the param is required
//!
//! # type = "string":  pattern (matches the whole value), max_length (characters, default 1000),
//! #                   allow_leading_dash (also for a path; default false)
//! # type = "integer": min, max (default: 64 bits)
//! # type = "choice":  of = ["a", "b"]
//! ```
//!
//! Promises: a configuration that loads holds together. What does not is an error that names
//! file, line, field and value.
//! Imports the identifiers and the parsing of durations.

mod command;
mod fields;
mod param;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use command::{
    AllowedCommand, DEFAULT_GRACE, DEFAULT_OUTPUT_LIMIT, DEFAULT_TIME_LIMIT, MAX_GRACE,
    MAX_OUTPUT_LIMIT, MAX_TIME_LIMIT,
};
pub use fields::ConfigError;
pub(super) use fields::shorten;
use fields::{Document, Field, Table};
pub use param::{DEFAULT_MAX_LENGTH, MAX_MAX_LENGTH};

use crate::id::{ClientId, CommandName};
use crate::label::{Facts, InvalidLabel, Labels};

/// The longest configuration file, in bytes: 1 MiB.
pub const MAX_CONFIG: u64 = 1 << 20;

/// An agent's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The connection, as far as the file says it.
    pub connection: Connection,
    /// What the agent says of itself.
    pub labels: Labels,
    /// The commands that the agent runs.
    pub commands: BTreeMap<CommandName, AllowedCommand>,
}

/// The `[agent]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// The server's address, as `host:port`.
    pub server: Option<String>,
    /// The name under which the agent connects.
    pub client: Option<ClientId>,
    /// The file that holds the agent's token.
    pub token_file: Option<PathBuf>,
    /// Whether the agent keeps a journal, and where.
    pub journal: Option<JournalChoice>,
}

/// What a configuration says about the agent's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalChoice {
    /// It keeps none.
    None,
    /// It keeps one in this directory.
    At(PathBuf),
}

impl Config {
    /// Reads a configuration file.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { file: file.into(), source };
        let mut text = String::new();
        let opened = File::open(file).map_err(unreadable)?;
        let size = opened.take(MAX_CONFIG + 1).read_to_string(&mut text).map_err(unreadable)?;
        if size as u64 > MAX_CONFIG {
            return Err(ConfigError::TooLarge { file: file.into() });
        }
        Self::parse(&text, file)
    }

    /// Reads a configuration's text. `file` is what errors call it; a relative `token_file` is
    /// taken from its directory.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let document = Document { file, text };
        let parsed = document.parse()?;
        let top = Table::new(
            document,
            parsed.get_ref(),
            0,
            (String::new(), String::new()),
            &["agent", "labels", "command"],
        )?;
        let connection = match top.optional("agent") {
            Some(field) => read_connection(&field, file)?,
            None => Connection::default(),
        };
        let labels = match top.optional("labels") {
            Some(field) => read_labels(&field)?,
            None => Labels::default(),
        };
        let mut commands = BTreeMap::new();
        let mut lines = BTreeMap::new();
        for field in top.required("command")?.elements()? {
            let (name, command) = command::read(&field)?;
            if let Some(line) = lines.insert(name.clone(), field.line()) {
                let problem = format!("command {name:?} is already defined on line {line}");
                return Err(document.invalid(field.offset(), String::new(), problem));
            }
            commands.insert(name, command);
        }
        Ok(Self { connection, labels, commands })
    }
}

fn read_labels(field: &Field<'_>) -> Result<Labels, ConfigError> {
    let mut labels = BTreeMap::new();
    for (key, value) in field.entries()? {
        let bad = |error: InvalidLabel| value.bad(error.to_string());
        let text = value.string()?;
        labels.insert(key.parse().map_err(bad)?, text.parse().map_err(bad)?);
    }
    let labels = Labels::try_from(labels).map_err(|error| field.bad(error.to_string()))?;
    // The rule about names of facts.
    Facts::default().labelled(labels.clone()).map_err(|error| field.bad(error.to_string()))?;
    Ok(labels)
}

fn read_connection(field: &Field<'_>, file: &Path) -> Result<Connection, ConfigError> {
    let table = field.table(&["server", "client", "token_file", "journal"])?;
    let mut connection = Connection::default();
    if let Some(field) = table.optional("server") {
        let server = field.string()?;
        let port = server.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.and_then(|(_, port)| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
            return Err(field.bad("must be host:port, such as 127.0.0.1:7400"));
        }
        connection.server = Some(server.into());
    }
    if let Some(field) = table.optional("client") {
        let client = field.string()?.parse();
        connection.client =
            Some(client.map_err(|error: crate::InvalidName| field.bad(error.to_string()))?);
    }
    let directory = file.parent().unwrap_or(Path::new(""));
    if let Some(field) = table.optional("journal") {
        connection.journal = Some(read_journal(&field, directory)?);
    }
    if let Some(field) = table.optional("token_file") {
        connection.token_file = Some(directory.join(field.string()?));
    }
    Ok(connection)
}

fn read_journal(field: &Field<'_>, directory: &Path) -> Result<JournalChoice, ConfigError> {
    if field.value().as_bool() == Some(false) {
        return Ok(JournalChoice::None);
    }
    match field.value().as_str() {
        Some(path) if !path.is_empty() => Ok(JournalChoice::At(directory.join(path))),
        _ => Err(field.bad("must be a directory, or false")),
    }
}
