//! Paths that must stay below a root.
//!
//! Promises: what is returned is absolute, without `..` and without symbolic links in its
//! existing part, and at or below the root at the moment of the check. Who may write below the
//! root can still replace a directory by a link between the check and the program's own opening.
//! Imports nothing of fleetcron.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The place of `value`, taken from `below` when it is relative; the error says what is wrong.
pub(super) fn resolve_below(
    value: &str,
    below: &Path,
    must_exist: bool,
) -> Result<PathBuf, String> {
    let root = resolve(below)
        .map_err(|problem| format!("its root {} cannot be used: {problem}", below.display()))?
        .0;
    let (path, exists) = resolve(&root.join(value))?;
    if !path.starts_with(&root) {
        return Err(format!("is not below {}", below.display()));
    }
    if must_exist && !exists {
        return Err("does not exist".into());
    }
    Ok(path)
}

/// An absolute path with links and `..` of its existing part resolved, and whether all exists.
fn resolve(path: &Path) -> Result<(PathBuf, bool), String> {
    // Without `.` and a slash at the end, which would follow a link that is to be looked at.
    let path: PathBuf = path.components().collect();
    let mut missing = Vec::new();
    let mut existing = path.as_path();
    loop {
        match existing.canonicalize() {
            Ok(mut resolved) => {
                let exists = missing.is_empty();
                resolved.extend(missing.into_iter().rev());
                return Ok((resolved, exists));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("cannot be resolved: {error}")),
        }
        // A link whose end is missing: a program that writes would create what it points to.
        if existing.symlink_metadata().is_ok() {
            return Err(format!("{} is a link to nothing", existing.display()));
        }
        // `file_name` is none for `..`, which has no meaning below what does not exist.
        let (Some(name), Some(parent)) = (existing.file_name(), existing.parent()) else {
            return Err("goes up from a directory that does not exist".into());
        };
        missing.push(name);
        existing = parent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A root with a file, and beside it what must stay out of reach.
    fn tree() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("root");
        fs::create_dir_all(root.join("logs")).unwrap();
        fs::create_dir(dir.path().join("root-other")).unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        fs::write(root.join("logs/a"), "x").unwrap();
        (dir, root)
    }

    #[test]
    fn what_is_below_is_resolved() {
        let (_dir, root) = tree();
        let resolved = |value: &str| resolve_below(value, &root, false).unwrap();
        assert_eq!(resolved("logs/a"), root.join("logs/a"));
        assert_eq!(resolved("logs/../logs/./a"), root.join("logs/a"));
        assert_eq!(resolved(""), root);
        assert_eq!(resolved(root.join("logs").to_str().unwrap()), root.join("logs"));
        assert_eq!(resolved("new/file"), root.join("new/file"));
        assert_eq!(resolve_below("new", &root, true).unwrap_err(), "does not exist");
        symlink(root.join("logs"), root.join("inner")).unwrap();
        assert_eq!(resolved("inner/a"), root.join("logs/a"));
    }

    #[test]
    fn what_leads_out_is_refused() {
        let (dir, root) = tree();
        let problem = |value: &str| resolve_below(value, &root, false).unwrap_err();
        let outside = format!("is not below {}", root.display());
        assert_eq!(problem("../secret"), outside);
        assert_eq!(problem("/etc/passwd"), outside);
        assert_eq!(problem("../root-other"), outside, "a name that begins alike");
        assert_eq!(problem("none/../../secret"), "goes up from a directory that does not exist");

        symlink(dir.path().join("secret"), root.join("link")).unwrap();
        symlink(dir.path(), root.join("up")).unwrap();
        assert_eq!(problem("link"), outside);
        assert_eq!(problem("up/secret"), outside);
        assert_eq!(problem("up/not-yet"), outside);

        symlink("../not-yet", root.join("dangling")).unwrap();
        let dangling = format!("{} is a link to nothing", root.join("dangling").display());
        assert_eq!(problem("dangling"), dangling);
        assert_eq!(problem("dangling/x"), dangling);
        assert_eq!(problem("dangling/"), dangling);
        assert_eq!(problem("./dangling/."), dangling);
        assert!(problem("logs/a/b").starts_with("cannot be resolved: "), "a file as a directory");
    }

    #[test]
    fn a_root_that_is_a_link_counts_as_where_it_leads() {
        let (dir, root) = tree();
        let link = dir.path().join("link");
        symlink(&root, &link).unwrap();
        assert_eq!(resolve_below("logs/a", &link, true).unwrap(), root.join("logs/a"));
        let through = link.join("logs/a");
        assert_eq!(
            resolve_below(through.to_str().unwrap(), &link, true).unwrap(),
            root.join("logs/a")
        );
    }
}
