//! Files and directories, and the jobs that come with the package.

use std::fs;

use super::*;
use crate::Timestamp;

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn job(name: &str) -> String {
    format!("name='{name}'\ntarget='all'\ncommand='x'\nrule='now'\n")
}

#[test]
fn directories_are_read_in_the_order_of_their_names() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "b/deep/er.toml", &job("three"));
    write(root.path(), "b/a.toml", &job("two"));
    write(root.path(), "a.toml", &job("one"));
    write(root.path(), "c.json", r#"{"name":"four","target":"all","command":"x","rule":"now"}"#);
    for left_out in [".hidden.toml", ".git/x.toml", "README.md", "b/a.toml.bak"] {
        write(root.path(), left_out, "not a job");
    }
    let jobs = jobs_at(root.path()).unwrap();
    assert_eq!(places(&jobs), [("one", 1), ("two", 1), ("three", 1), ("four", 1)]);
    assert_eq!(jobs[2].file, root.path().join("b/deep/er.toml"));
    assert_eq!(places(&jobs_at(&root.path().join("a.toml")).unwrap()), [("one", 1)]);
}

#[test]
fn links_to_files_are_followed_and_links_to_directories_are_not() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), ".data/a.toml", &job("mounted"));
    std::os::unix::fs::symlink(".data/a.toml", root.path().join("a.toml")).unwrap();
    std::os::unix::fs::symlink("..", root.path().join("loop")).unwrap();
    assert_eq!(places(&jobs_at(root.path()).unwrap()), [("mounted", 1)]);
}

#[test]
fn a_pipe_is_refused_rather_than_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let pipe = root.path().join("a.toml");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let expected = format!("{}: cannot be read: it is not a regular file", pipe.display());
    assert_errors(jobs_at(root.path()), &[&expected]);
}

#[test]
fn the_errors_of_all_files_are_told() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.toml", &job("same"));
    write(root.path(), "b.toml", "name = 5");
    write(root.path(), "c.toml", &job("same"));
    write(root.path(), "d.toml", "");
    fs::write(root.path().join("e.json"), b"{}\n\xff").unwrap();
    fs::write(root.path().join("f.json"), vec![b' '; 2_000_000]).unwrap();
    let told = jobs_at(root.path()).unwrap_err().to_string();
    let root = root.path().display();
    for expected in [
        format!("{root}/b.toml:1: name: invalid type: integer `5`, expected a string"),
        format!("{root}/b.toml:1: target: is missing"),
        format!(
            "{root}/c.toml:1: job \"same\": name: job name \"same\" is taken already, at {root}/a.toml:1"
        ),
        format!("{root}/d.toml: defines no job and no calendar"),
        format!("{root}/e.json:2: is not UTF-8 text"),
        format!("{root}/f.json: has more than 1048576 bytes"),
    ] {
        assert!(told.lines().any(|line| line == expected), "{expected}\nis not among\n{told}");
    }
}

#[test]
fn what_holds_no_jobs_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "notes/README.md", "nothing");
    let shown = root.path().display();
    assert_errors(jobs_at(root.path()), &[&format!("{shown}: holds no job file (*.toml, *.json)")]);
    assert_errors(
        jobs_at(&root.path().join("notes/README.md")),
        &[&format!("{shown}/notes/README.md: is neither a .toml nor a .json file")],
    );
    assert_errors(
        jobs_at(&root.path().join("none.toml")),
        &[&format!("{shown}/none.toml: cannot be read: No such file or directory")],
    );
}

#[test]
fn the_jobs_of_the_package_are_valid_and_have_a_future() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs");
    let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let Loaded { calendars, jobs } = read_dir_or_file(&root).unwrap();
    let defined: std::collections::BTreeSet<_> =
        calendars.iter().map(|calendar| calendar.spec.name()).collect();
    let in_rules: std::collections::BTreeSet<_> =
        jobs.iter().flat_map(|job| job.spec.rule.calendars()).collect();
    assert!(!defined.is_empty() && in_rules == defined, "{in_rules:?} against {defined:?}");
    assert!(jobs.len() >= 7, "{}", jobs.len());
    let names: std::collections::BTreeSet<_> = jobs.iter().map(|job| &job.spec.name).collect();
    assert_eq!(names.len(), jobs.len());
    for job in &jobs {
        let next = job.spec.rule.next_after(now, now);
        assert!(next.is_some_and(|next| next > now), "{} never fires", job.spec.name);
    }
}
