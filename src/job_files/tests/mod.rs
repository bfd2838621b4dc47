//! Tests of reading job files.

mod calendars;
mod on_disk;
mod properties;
mod rollouts;
mod shapes;
mod wrong;

use std::path::Path;

use super::*;

fn toml(text: &str) -> Result<Vec<LoadedJob>, JobFileErrors> {
    Ok(toml_file(text)?.jobs)
}

fn json(text: &str) -> Result<Vec<LoadedJob>, JobFileErrors> {
    Ok(json_file(text)?.jobs)
}

fn toml_file(text: &str) -> Result<Loaded, JobFileErrors> {
    parse(text, Path::new("jobs/a.toml"), Format::Toml)
}

fn json_file(text: &str) -> Result<Loaded, JobFileErrors> {
    parse(text, Path::new("jobs/a.json"), Format::Json)
}

fn jobs_at(path: &Path) -> Result<Vec<LoadedJob>, JobFileErrors> {
    Ok(read_dir_or_file(path)?.jobs)
}

/// The names and lines of jobs.
fn places(jobs: &[LoadedJob]) -> Vec<(&str, usize)> {
    jobs.iter().map(|job| (job.spec.name.as_str(), job.line)).collect()
}

/// Checks that the errors are exactly these lines; each is given by its beginning.
#[track_caller]
fn assert_errors(found: Result<Vec<LoadedJob>, JobFileErrors>, expected: &[&str]) {
    let told = found.unwrap_err().to_string();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{told}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\nshould begin with\n{expected}");
    }
}
