//! Reads one `[[command]]` of the list.
//!
//! Promises: arguments and params name each other completely; the program could be run and the
//! working directory was there when the list was loaded.
//! Imports the command's name, durations, and the agent's params and templates.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, access};

use super::fields::{ConfigError, Field, Table};
use super::param;
use crate::agent::artefact::{self, DEFAULT_ARTEFACT_LIMIT, MAX_ARTEFACT_COUNT, MAX_ARTEFACTS};
use crate::agent::params::Param;
use crate::agent::template::Template;
use crate::id::CommandName;
use crate::suggest::did_you_mean;
use crate::time::duration;

/// How long a command may run, when it does not say otherwise.
pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(60);
/// The longest time that a command may be allowed.
pub const MAX_TIME_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long processes have from SIGTERM to SIGKILL, when their command does not say otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(2);
/// The longest grace.
pub const MAX_GRACE: Duration = Duration::from_secs(60);
/// How many bytes of stdout and of stderr are kept each, when a command does not say otherwise.
pub const DEFAULT_OUTPUT_LIMIT: usize = 64 << 10;
/// The most bytes of stdout and of stderr each: both together fit a frame of 1 MiB.
pub const MAX_OUTPUT_LIMIT: usize = 256 << 10;

const FIELDS: [&str; 16] = [
    "name",
    "description",
    "program",
    "args",
    "working_dir",
    "env",
    "set_env",
    "time_limit",
    "grace",
    "output_limit",
    "success_codes",
    "progress",
    "result",
    "artefacts",
    "artefact_limit",
    "params",
];

/// A command that the agent runs.
#[derive(Debug, Clone)]
pub struct AllowedCommand {
    /// What it is for, for people.
    pub description: Option<String>,
    /// The program's absolute path.
    pub program: PathBuf,
    pub(in crate::agent) args: Vec<Template>,
    pub(in crate::agent) working_dir: PathBuf,
    pub(in crate::agent) env: BTreeMap<OsString, OsString>,
    pub(in crate::agent) time_limit: Duration,
    pub(in crate::agent) grace: Duration,
    pub(in crate::agent) output_limit: usize,
    pub(in crate::agent) success_codes: Vec<i32>,
    /// Whether lines of its output tell its progress.
    pub(in crate::agent) progress: bool,
    /// Whether its output is JSON.
    pub(in crate::agent) json_result: bool,
    /// Files that are part of its result, relative to the working directory.
    pub(in crate::agent) artefacts: Vec<String>,
    pub(in crate::agent) artefact_limit: usize,
    pub(in crate::agent) params: BTreeMap<String, Param>,
}

pub(super) fn read(field: &Field<'_>) -> Result<(CommandName, AllowedCommand), ConfigError> {
    // Errors name the command by its name, but for those about the name itself.
    let named = field.value().as_table().and_then(|entries| entries.get("name"));
    let (owner, path) = match named.and_then(|name| name.get_ref().as_str()) {
        Some(name) if CommandName::new(name).is_ok() => (format!("command {name:?}: "), ""),
        _ => (String::new(), "command."),
    };
    let table = field.table_of(owner, path.into(), &FIELDS)?;
    let name = table.required("name")?;
    let name: CommandName =
        name.string()?.parse().map_err(|error: crate::InvalidName| name.bad(error.to_string()))?;
    let args = read_args(&table)?;
    let params = read_params(&table, &args)?;
    let description =
        table.optional("description").map(|field| field.string()).transpose()?.map(str::to_owned);
    let output_limit = match table.optional("output_limit") {
        Some(field) => field.between(0, MAX_OUTPUT_LIMIT)?,
        None => DEFAULT_OUTPUT_LIMIT,
    };
    let least = Duration::from_millis(1);
    let command = AllowedCommand {
        description,
        program: read_program(&table.required("program")?)?,
        args: args.into_iter().map(|(_, template)| template).collect(),
        working_dir: read_working_dir(&table)?,
        env: read_env(&table)?,
        time_limit: read_time(&table, "time_limit", DEFAULT_TIME_LIMIT, (least, MAX_TIME_LIMIT))?,
        grace: read_time(&table, "grace", DEFAULT_GRACE, (Duration::ZERO, MAX_GRACE))?,
        output_limit,
        success_codes: read_success_codes(&table)?,
        progress: table.optional("progress").map_or(Ok(false), |field| field.boolean())?,
        json_result: read_result(&table)?,
        artefacts: read_artefacts(&table)?,
        artefact_limit: match table.optional("artefact_limit") {
            Some(field) => field.between(0, MAX_ARTEFACTS)?,
            None => DEFAULT_ARTEFACT_LIMIT,
        },
        params,
    };
    Ok((name, command))
}

fn read_args<'a>(table: &Table<'a>) -> Result<Vec<(Field<'a>, Template)>, ConfigError> {
    let Some(field) = table.optional("args") else { return Ok(Vec::new()) };
    let read = |element: Field<'a>| {
        let template =
            Template::parse(element.string()?).map_err(|problem| element.bad(problem))?;
        Ok((element, template))
    };
    field.elements()?.into_iter().map(read).collect()
}

/// Reads the params, and sees that args use all of them and no others.
fn read_params(
    table: &Table<'_>,
    args: &[(Field<'_>, Template)],
) -> Result<BTreeMap<String, Param>, ConfigError> {
    let declared = match table.optional("params") {
        Some(field) => field.entries()?,
        None => Vec::new(),
    };
    for (field, template) in args {
        for used in template.params() {
            if !declared.iter().any(|(name, _)| *name == used) {
                let names = declared.iter().map(|(name, _)| *name);
                let problem =
                    format!("param {used:?} is not declared{}", did_you_mean(used, names));
                return Err(field.bad(problem));
            }
        }
    }
    let mut params = BTreeMap::new();
    for (name, field) in &declared {
        if !args.iter().any(|(_, template)| template.params().any(|used| used == *name)) {
            return Err(field.bad("no argument uses it"));
        }
        let leads = args.iter().any(|(_, arg)| arg.leading_params().any(|used| used == *name));
        params.insert((*name).to_owned(), param::read(field, leads)?);
    }
    Ok(params)
}

fn read_program(field: &Field<'_>) -> Result<PathBuf, ConfigError> {
    let written = Path::new(field.string()?);
    if written.is_absolute() {
        return if is_program(written) {
            Ok(written.into())
        } else {
            Err(field.bad("is not a program that can be run"))
        };
    }
    if written.components().count() != 1 {
        return Err(field.bad("must be an absolute path, or a name that PATH has"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        // An empty or relative entry means the current directory, which may be anybody's.
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(written))
        .find(|program| is_program(program))
        .ok_or_else(|| field.bad("is not found in PATH"))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

fn read_working_dir(table: &Table<'_>) -> Result<PathBuf, ConfigError> {
    let Some(field) = table.optional("working_dir") else { return Ok("/".into()) };
    let directory = PathBuf::from(field.string()?);
    if !directory.is_absolute() {
        return Err(field.bad("must be absolute"));
    }
    if !directory.is_dir() {
        return Err(field.bad("is not a directory"));
    }
    Ok(directory)
}

fn read_env(table: &Table<'_>) -> Result<BTreeMap<OsString, OsString>, ConfigError> {
    let mut passed = Vec::new();
    let mut env = BTreeMap::new();
    if let Some(field) = table.optional("env") {
        for element in field.elements()? {
            let name = element.string()?;
            check_env_name(name, &element)?;
            passed.push(name);
            if let Some(value) = std::env::var_os(name) {
                env.insert(name.into(), value);
            }
        }
    }
    if let Some(field) = table.optional("set_env") {
        for (name, entry) in field.entries()? {
            check_env_name(name, &entry)?;
            let value = entry.string()?;
            if value.contains('\0') {
                return Err(entry.bad("contains a NUL character"));
            }
            if passed.contains(&name) {
                return Err(entry.bad("is also passed through by env"));
            }
            env.insert(name.into(), value.into());
        }
    }
    Ok(env)
}

fn check_env_name(name: &str, field: &Field<'_>) -> Result<(), ConfigError> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(field.bad(format!("{name:?} is not the name of an environment variable")));
    }
    Ok(())
}

fn read_time(
    table: &Table<'_>,
    name: &str,
    default: Duration,
    (least, most): (Duration, Duration),
) -> Result<Duration, ConfigError> {
    let Some(field) = table.optional(name) else { return Ok(default) };
    let time = duration::parse(field.string()?).map_err(|problem| field.bad(problem))?;
    if time < least || time > most {
        let (least, most) = (duration::format(least), duration::format(most));
        return Err(field.bad(format!("must be {least} to {most}")));
    }
    Ok(time)
}

fn read_result(table: &Table<'_>) -> Result<bool, ConfigError> {
    let Some(field) = table.optional("result") else { return Ok(false) };
    match field.string()? {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => Err(field.bad("must be text or json")),
    }
}

fn read_artefacts(table: &Table<'_>) -> Result<Vec<String>, ConfigError> {
    let Some(field) = table.optional("artefacts") else { return Ok(Vec::new()) };
    let (mut paths, mut names) = (Vec::new(), Vec::new());
    for element in field.elements()? {
        let path = element.string()?;
        let name = artefact::name_of(path).map_err(|problem| element.bad(problem))?;
        if names.contains(&name) {
            return Err(element.bad(format!("has the same name, {name:?}, as one before it")));
        }
        names.push(name);
        paths.push(path.to_owned());
    }
    if paths.len() > MAX_ARTEFACT_COUNT {
        return Err(field.bad(format!("must be at most {MAX_ARTEFACT_COUNT}")));
    }
    Ok(paths)
}

fn read_success_codes(table: &Table<'_>) -> Result<Vec<i32>, ConfigError> {
    let Some(field) = table.optional("success_codes") else { return Ok(vec![0]) };
    let mut codes = Vec::new();
    for element in field.elements()? {
        let code = u8::try_from(element.integer()?);
        codes.push(i32::from(code.map_err(|_| element.bad("must be 0 to 255"))?));
    }
    if codes.is_empty() {
        return Err(field.bad("must have at least one code"));
    }
    Ok(codes)
}
