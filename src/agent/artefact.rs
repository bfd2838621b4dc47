//! Files that a program leaves, as a part of its result.
//!
//! Promises: only regular files below the working directory are read, links that lead out of it
//! are not followed; no more is read than is sent. Imports the paths.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::path::resolve_below;
use crate::bytes;

/// How large one artefact may be, in bytes, when its command does not say otherwise.
pub const DEFAULT_ARTEFACT_LIMIT: usize = 64 * 1024;

/// How large all artefacts of a command may be together, in bytes; so is the largest one.
pub const MAX_ARTEFACTS: usize = 256 * 1024;

/// How many artefacts a command may have.
pub const MAX_ARTEFACT_COUNT: usize = 32;

/// One file in the `artefacts` of an agent's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// The file's name, without directories.
    pub name: String,
    /// Its length in bytes, if it was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The SHA-256 of its content, in hexadecimal digits; with `base64` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Why the content is not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted: Option<String>,
}

impl Artefact {
    /// The content, which is checked; the error says why there is none.
    pub fn content(&self) -> Result<Vec<u8>, String> {
        let Some(text) = &self.base64 else {
            return Err(self.omitted.clone().unwrap_or_else(|| "it has no content".into()));
        };
        let content = STANDARD.decode(text).map_err(|error| format!("its base64: {error}"))?;
        match &self.sha256 {
            Some(sum) if *sum != digest(&content) => Err(format!("its SHA-256 is not {sum}")),
            _ => Ok(content),
        }
    }

    fn of(name: String, content: &[u8]) -> Self {
        Self {
            name,
            size: Some(content.len() as u64),
            sha256: Some(digest(content)),
            base64: Some(STANDARD.encode(content)),
            omitted: None,
        }
    }

    fn omitted(name: String, size: Option<u64>, why: String) -> Self {
        Self { name, size, sha256: None, base64: None, omitted: Some(why) }
    }
}

fn digest(content: &[u8]) -> String {
    bytes::hex(&Sha256::digest(content))
}

/// The file's name in a declared path, which is relative and goes down only; the error says what
/// is wrong with it.
pub(super) fn name_of(path: &str) -> Result<String, String> {
    use std::path::Component;
    if path.contains('\0') {
        return Err("contains a NUL character".into());
    }
    let path = Path::new(path);
    if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err("must be relative to working_dir, without ..".into());
    }
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| "must name a file".into())
}

/// Reads the declared files, in their order. One that is too large, for itself or after those
/// before it, is named without its content.
pub(super) fn read(paths: &[String], working_dir: &Path, limit: usize) -> Vec<Artefact> {
    let mut left = MAX_ARTEFACTS;
    let mut artefacts = Vec::new();
    for path in paths {
        let Ok(name) = name_of(path) else { continue };
        let artefact = read_one(name, path, working_dir, limit, left);
        if artefact.base64.is_some() {
            left -= artefact.size.and_then(|size| usize::try_from(size).ok()).unwrap_or(left);
        }
        artefacts.push(artefact);
    }
    artefacts
}

fn read_one(name: String, path: &str, working_dir: &Path, limit: usize, left: usize) -> Artefact {
    let (size, content) = match content(path, working_dir, limit.min(left)) {
        Ok(read) => read,
        Err(why) => return Artefact::omitted(name, None, why),
    };
    match content {
        Some(content) => Artefact::of(name, &content),
        None if size > limit as u64 => {
            Artefact::omitted(name, Some(size), format!("is larger than {limit} bytes"))
        }
        None => {
            let why = format!("with those before it is larger than {MAX_ARTEFACTS} bytes");
            Artefact::omitted(name, Some(size), why)
        }
    }
}

/// The file's length, and its content unless that is above `most`.
fn content(path: &str, below: &Path, most: usize) -> Result<(u64, Option<Vec<u8>>), String> {
    let place = resolve_below(path, below, true)?;
    // The place has no links any more; one that has come since is not followed, and a pipe that
    // has come is not waited for.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(&place);
    let file = file.map_err(|error| format!("cannot be opened: {error}"))?;
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err("is not a regular file".into());
    }
    if about.len() > most as u64 {
        return Ok((about.len(), None));
    }
    let mut content = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut content).map_err(unreadable)?;
    let size = content.len() as u64;
    Ok((size, (content.len() <= most).then_some(content)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_paths_that_go_down_are_declared() {
        assert_eq!(name_of("out/./report.html"), Ok("report.html".into()));
        for bad in ["/etc/passwd", "../a", "a/../../b", "a/.."] {
            assert_eq!(name_of(bad).unwrap_err(), "must be relative to working_dir, without ..");
        }
        assert_eq!(name_of("").unwrap_err(), "must name a file");
        assert_eq!(name_of("a\0").unwrap_err(), "contains a NUL character");
    }

    #[test]
    fn files_are_read_up_to_their_limits_and_what_is_left_out_says_why() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("small"), "hello").unwrap();
        fs::write(dir.path().join("large"), vec![7; 101]).unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        let paths = ["small", "large", "none", "sub"].map(String::from);
        let read = read(&paths, dir.path(), 100);
        assert_eq!(read[0].content().unwrap(), b"hello");
        let sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!((read[0].size, read[0].sha256.as_deref()), (Some(5), Some(sum)));
        assert_eq!(read[1].size, Some(101));
        assert_eq!(read[1].content().unwrap_err(), "is larger than 100 bytes");
        assert_eq!(read[2].content().unwrap_err(), "does not exist");
        assert_eq!(read[3].content().unwrap_err(), "is not a regular file");
        let mut torn = read[0].clone();
        torn.base64 = Some("aGVsbE8=".into());
        assert!(torn.content().unwrap_err().contains("SHA-256"));
    }

    #[test]
    fn all_together_have_a_limit_too() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b", "c", "d"].map(String::from);
        for (path, size) in paths.iter().zip([200_000, 60_000, 2_144, 1]) {
            fs::write(dir.path().join(path), vec![b'x'; size]).unwrap();
        }
        let read = read(&paths, dir.path(), MAX_ARTEFACTS);
        let sizes: Vec<_> = read.iter().map(|it| it.content().ok().map(|it| it.len())).collect();
        assert_eq!(sizes, [Some(200_000), Some(60_000), Some(2_144), None]);
        assert!(read[3].omitted.as_ref().unwrap().contains("262144"), "{:?}", read[3]);
    }

    #[test]
    fn links_that_lead_out_are_not_followed_and_pipes_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(dir.path().join("secret"), "s3cret").unwrap();
        symlink("../secret", root.join("link")).unwrap();
        symlink(dir.path(), root.join("up")).unwrap();
        symlink("/dev/zero", root.join("endless")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(root.join("inner"), "fine").unwrap();
        symlink("inner", root.join("inside")).unwrap();
        let paths = ["link", "up/secret", "endless", "pipe", "inside"].map(String::from);
        let read = read(&paths, &root, 100);
        for artefact in &read[..4] {
            assert!(artefact.base64.is_none(), "{artefact:?}");
        }
        assert!(read[0].omitted.as_ref().unwrap().starts_with("is not below"), "{:?}", read[0]);
        assert_eq!(read[3].omitted.as_deref(), Some("is not a regular file"));
        assert_eq!(read[4].content().unwrap(), b"fine");
    }
}
