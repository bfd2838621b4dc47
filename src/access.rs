//! The access file: where the server listens and the token that opens it, so that a command on
//! the same machine needs neither flag nor environment.
//!
//! Promises: the file is never readable by others, not even for a moment, and never half written.
//! Imports `bytes`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bytes;

/// The file's name in the data directory.
pub const FILE: &str = "access.toml";

/// Bytes of randomness in a token.
const TOKEN_BYTES: usize = 32;

/// The file's first lines.
const HEADER: &str = "# Opens the server to whoever can read this file. Keep it to yourself.\n";

/// Where a server is and what opens it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// The server's URL, such as `http://127.0.0.1:7401`.
    pub server: String,
    /// The bearer token.
    pub token: String,
}

/// The token stays out of logs and panics.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Why there is no access.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// `read`, `write` and the like.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is not an access file.
    #[error("{path} is not an access file: {problem}", path = .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file that others may read.
    #[error(
        "{path} holds a token and has mode {mode:04o}: others can read it; run: chmod 600 {path}",
        path = .path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The system gives no random bytes.
    #[error("cannot make a token: {0}")]
    Random(io::Error),
    /// Neither flag nor environment nor file.
    #[error("no {what}; tried: {}", .tried.join(", "))]
    Nothing {
        /// What is missing.
        what: String,
        /// Where it was looked for.
        tried: Vec<String>,
    },
}

/// What the caller says about access, and where else to look.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// The server's URL, by flag or environment.
    pub server: Option<String>,
    /// The token, by flag or environment.
    pub token: Option<String>,
    /// The access file, by flag: then no other is looked at.
    pub file: Option<PathBuf>,
    /// The files to look at otherwise, in this order.
    pub candidates: Vec<PathBuf>,
}

impl Access {
    /// The access file of a data directory; made with a new token if there is none, and written
    /// anew with the same token if the server's URL has changed. The directory must exist, and
    /// the caller must be the only one to write to it.
    pub fn load_or_create(dir: &Path, server: &str) -> Result<Self, AccessError> {
        let path = dir.join(FILE);
        let token = match Self::load(&path) {
            Ok(access) if access.server == server => return Ok(access),
            Ok(access) => access.token,
            Err(AccessError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                new_token().map_err(AccessError::Random)?
            }
            Err(error) => return Err(error),
        };
        let access = Self { server: server.to_owned(), token };
        access.write(&path)?;
        Ok(access)
    }

    /// Reads an access file, and refuses one that others can read.
    pub fn load(path: &Path) -> Result<Self, AccessError> {
        let failed = |source| AccessError::Io { action: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        // Of the open file, so that it is the one that is read.
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(AccessError::Open { path: path.to_owned(), mode });
        }
        let text = io::read_to_string(file).map_err(failed)?;
        toml::from_str(&text).map_err(|error| AccessError::Format {
            path: path.to_owned(),
            // The error's long form would show the line, and with it perhaps the token.
            problem: error.message().to_owned(),
        })
    }

    fn write(&self, path: &Path) -> Result<(), AccessError> {
        let new = path.with_extension("toml.new");
        let failed = |source| AccessError::Io { action: "write", path: new.clone(), source };
        let body = toml::to_string(self).map_err(|error| failed(io::Error::other(error)))?;
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600).to_owned();
        let mut file = options.open(&new).map_err(failed)?;
        file.write_all(format!("{HEADER}{body}").as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&new, path).map_err(failed)?;
        // The rename is durable when the directory is.
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(dir.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()).map_err(failed)
    }

    /// The access that the caller means: flags and environment first, then files. A file's token
    /// is not shown to another server than the file's.
    pub fn find(search: Search) -> Result<Self, AccessError> {
        let Search { server, token, file, candidates } = search;
        let server = server.map(|server| server.trim_end_matches('/').to_owned());
        let (server, token) = match (server, token) {
            (Some(server), Some(token)) => return Ok(Self { server, token }),
            given => given,
        };
        let fits = |found: &Self| {
            server.as_deref().is_none_or(|server| server == found.server.trim_end_matches('/'))
        };
        if let Some(path) = file {
            let found = Self::load(&path)?;
            if fits(&found) {
                return Ok(Self { token: token.unwrap_or(found.token), ..found });
            }
            let what = missing(server.as_deref());
            let tried = vec![format!("{} (for server {})", path.display(), found.server)];
            return Err(AccessError::Nothing { what, tried });
        }
        let mut tried = vec!["--server and --token".to_owned()];
        tried.push("FLEETCRON_SERVER and FLEETCRON_TOKEN".to_owned());
        for path in candidates {
            match Self::load(&path) {
                Ok(found) if fits(&found) => {
                    return Ok(Self { token: token.unwrap_or(found.token), ..found });
                }
                Ok(found) => {
                    tried.push(format!("{} (for server {})", path.display(), found.server));
                }
                Err(AccessError::Io { source, .. }) if passable(&source) => {
                    tried.push(format!("{} ({})", path.display(), why(&source)));
                }
                Err(error) => return Err(error),
            }
        }
        Err(AccessError::Nothing { what: missing(server.as_deref()), tried })
    }
}

/// The access files to look at when nothing is said: that of a data directory here, then the
/// user's own.
#[must_use]
pub fn default_candidates(home: Option<&Path>) -> Vec<PathBuf> {
    let here = Path::new("./fleetcron-data").join(FILE);
    let own = home.map(|home| home.join(".config/fleetcron").join(FILE));
    [Some(here), own].into_iter().flatten().collect()
}

/// A new random token: 64 hexadecimal digits.
pub fn new_token() -> io::Result<String> {
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(bytes::hex(&random))
}

fn missing(server: Option<&str>) -> String {
    match server {
        Some(server) => format!("token for server {server}"),
        None => "server and token".to_owned(),
    }
}

/// Whether the search goes on after this: the file is not there, or not for this user.
fn passable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

fn why(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::NotFound { "not there" } else { "permission denied" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn file(dir: &Path, name: &str, server: &str) -> PathBuf {
        let path = dir.join(name);
        write(&path, &format!("server = \"{server}\"\ntoken = \"from-{name}\"\n"), 0o600);
        path
    }

    #[test]
    fn the_file_is_private_and_keeps_its_token() {
        let dir = tempfile::tempdir().unwrap();
        let first = Access::load_or_create(dir.path(), "http://127.0.0.1:7401").unwrap();
        assert_eq!(first.token.len(), 64);
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(Access::load(&dir.path().join(FILE)).unwrap(), first);

        let moved = Access::load_or_create(dir.path(), "http://127.0.0.1:7501").unwrap();
        assert_eq!((moved.server.as_str(), &moved.token), ("http://127.0.0.1:7501", &first.token));
        assert_eq!(Access::load(&dir.path().join(FILE)).unwrap(), moved);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn a_left_over_of_a_crash_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("access.toml.new"), "serv", 0o644);
        let access = Access::load_or_create(dir.path(), "http://127.0.0.1:7401").unwrap();
        assert_eq!(Access::load(&dir.path().join(FILE)).unwrap(), access);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "a", "http://x");
        for mode in [0o640, 0o604, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Access::load(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("chmod 600 {}", path.display())), "{error}");
        }
    }

    #[test]
    fn a_bad_file_is_told_without_its_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, "server = \"http://x\"\ntokn = \"secret\"\n", 0o600);
        let error = Access::load(&path).unwrap_err().to_string();
        assert!(error.contains("tokn") && !error.contains("secret"), "{error}");
        assert!(
            !format!("{:?}", Access { server: "s".into(), token: "secret".into() })
                .contains("secret")
        );
    }

    #[test]
    fn flags_come_first_then_files_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let candidates = vec![
            dir.path().join("none"),
            file(dir.path(), "a", "http://a"),
            file(dir.path(), "b", "http://b"),
        ];
        let search = Search { candidates, ..Search::default() };
        assert_eq!(Access::find(search.clone()).unwrap().token, "from-a");

        let flags =
            Search { server: Some("http://c/".into()), token: Some("t".into()), ..search.clone() };
        let expected = Access { server: "http://c".into(), token: "t".into() };
        assert_eq!(Access::find(flags).unwrap(), expected);

        let token = Search { token: Some("t".into()), ..search.clone() };
        let expected = Access { server: "http://a".into(), token: "t".into() };
        assert_eq!(Access::find(token).unwrap(), expected);

        let named = Search { file: Some(dir.path().join("b")), ..search };
        assert_eq!(Access::find(named).unwrap().token, "from-b");
    }

    #[test]
    fn a_token_goes_to_the_server_of_its_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let candidates = vec![file(dir.path(), "a", "http://a"), file(dir.path(), "b", "http://b")];
        let to = |server: &str| Search {
            server: Some(server.into()),
            candidates: candidates.clone(),
            ..Search::default()
        };
        assert_eq!(Access::find(to("http://b/")).unwrap().token, "from-b");
        let error = Access::find(to("http://evil")).unwrap_err().to_string();
        assert!(error.starts_with("no token for server http://evil; tried: --server"), "{error}");
    }

    #[test]
    fn when_nothing_is_found_all_that_was_tried_is_told() {
        let search =
            Search { candidates: vec!["/nowhere/access.toml".into()], ..Search::default() };
        assert_eq!(
            Access::find(search).unwrap_err().to_string(),
            "no server and token; tried: --server and --token, FLEETCRON_SERVER and \
             FLEETCRON_TOKEN, /nowhere/access.toml (not there)"
        );
    }

    #[test]
    fn no_two_tokens_are_the_same() {
        assert_ne!(new_token().unwrap(), new_token().unwrap());
    }
}
