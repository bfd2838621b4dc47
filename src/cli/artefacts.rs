//! `fleetcron runs artefacts`: files that a client's command left, written here.
//!
//! Promises: nothing is written outside the directory, whatever the names; nothing that is there
//! is overwritten without `--force`.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use super::error::CliError;
use super::output::{Out, note};
use super::{Done, Verdict};
use crate::agent::Artefact;
use crate::id::{ClientId, Serial};
use crate::remote::Remote;

/// The arguments of `runs artefacts`.
#[derive(Debug, Args)]
pub(super) struct ArtefactsArgs {
    /// The run's serial.
    serial: Serial,
    /// Whose artefacts.
    #[arg(long, value_name = "ID")]
    client: ClientId,
    /// Where they are written; the directory is made if it is not there.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
}

/// What of an agent's result is of interest here.
#[derive(Default, Deserialize)]
struct Results {
    #[serde(default)]
    artefacts: Vec<Artefact>,
}

pub(super) async fn execute(args: ArtefactsArgs, out: &Out, remote: &Remote) -> Done {
    let ArtefactsArgs { serial, client, to, force } = args;
    let Some(response) = remote.response(serial, client.clone()).await? else {
        let message = format!("run {serial} has no response of client {client:?} yet");
        return Err(CliError::Usage(message));
    };
    let results = response.outcome.result.map(|result| result.to::<Results>());
    let artefacts = results.and_then(Result::ok).unwrap_or_default().artefacts;
    if artefacts.is_empty() {
        note(&format!("the response of client {client} to run {serial} has no artefacts"));
        return Ok(Verdict::Failed);
    }
    fs::create_dir_all(&to).map_err(|error| failed(&to, &error))?;
    let mut verdict = Verdict::Succeeded;
    for artefact in &artefacts {
        match write(artefact, &to, force) {
            Ok(place) => out.line(&place.display().to_string())?,
            Err(problem) => {
                note(&format!("artefact {:?} is not written: {problem}", artefact.name));
                verdict = Verdict::Failed;
            }
        }
    }
    Ok(verdict)
}

fn failed(place: &Path, error: &std::io::Error) -> CliError {
    CliError::Usage(format!("cannot make the directory {}: {error}", place.display()))
}

/// Writes one artefact into a directory; the error says why not.
fn write(artefact: &Artefact, to: &Path, force: bool) -> Result<PathBuf, String> {
    check_name(&artefact.name)?;
    let content = artefact.content()?;
    let place = to.join(&artefact.name);
    let told = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => {
            format!("{} is there already; --force replaces it", place.display())
        }
        _ => format!("{}: {error}", place.display()),
    };
    if force {
        // Removed rather than opened: a link is replaced, and what it leads to stays.
        match fs::remove_file(&place) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(told(error)),
            _ => {}
        }
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(&place).map_err(told)?;
    file.write_all(&content).map_err(told)?;
    Ok(place)
}

/// The name comes from the client, who may be anybody by now.
fn check_name(name: &str) -> Result<(), String> {
    let is_name = Path::new(name).file_name().is_some_and(|file| file == name);
    if !is_name || name.contains(['/', '\\']) || name.chars().any(char::is_control) {
        return Err("its name is not that of a file within a directory".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn artefact(name: &str) -> Artefact {
        let json = serde_json::json!({ "name": name, "size": 5, "base64": "aGVsbG8=" });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["", ".", "..", "../a", "/etc/a", "a/b", "a\\b", "a/", "a\n", "a\0"] {
            let problem = write(&artefact(name), dir.path(), true).unwrap_err();
            assert!(problem.contains("its name"), "{name:?}: {problem}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn nothing_is_overwritten_without_force_and_links_are_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        fs::create_dir(&to).unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, "mine").unwrap();
        symlink(&outside, to.join("a")).unwrap();
        let problem = write(&artefact("a"), &to, false).unwrap_err();
        assert!(problem.contains("--force"), "{problem}");
        write(&artefact("a"), &to, true).unwrap();
        assert_eq!(fs::read_to_string(to.join("a")).unwrap(), "hello");
        assert_eq!(fs::read_to_string(outside).unwrap(), "mine");
    }
}
