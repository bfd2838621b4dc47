//! Job definitions in files: `.toml` and `.json`.
//!
//! A file holds one job, its fields at the top level, or several: `[[job]]` tables in TOML, and
//! `{"job": [ … ]}` or an array in JSON.
//!
//! Promises: jobs come in the order of their files and lines; when anything is wrong, nothing is
//! returned but all that is wrong, each with its file, line, job and field. Whatever a file holds,
//! reading it neither panics nor takes more than the limits below. Imports domain types and
//! suggestions.

mod check;
mod error;
mod files;
mod json;
mod lines;
#[cfg(test)]
mod tests;
mod toml;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::id::JobName;
use crate::job::JobSpec;

pub use error::{JobFileError, JobFileErrors};
pub use files::read_dir_or_file;
use lines::Lines;

/// The largest job file, in bytes.
pub const MAX_FILE: u64 = 1024 * 1024;

/// The most jobs, and the most files, that are read at once.
pub const MAX_JOBS: usize = 100_000;

/// Reading ends after so many errors.
pub const MAX_ERRORS: usize = 1_000;

/// A job and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedJob {
    /// The definition.
    pub spec: JobSpec,
    /// Its file.
    pub file: PathBuf,
    /// The line at which it begins; 1 is the first.
    pub line: usize,
}

/// How a job file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.json`
    Json,
}

impl Format {
    /// The format that a file's name tells.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Reads the jobs of one file's text; `file` is the name that errors and jobs get.
///
/// ```
/// # use fleetcron::job_files::{Format, parse};
/// let text = r#"
/// name = "disk-report"
/// target = "all"
/// command = "disk.report"
/// rule = { cron = "61 * * * *" }
/// "#;
/// let errors = parse(text, "jobs/disk.toml".as_ref(), Format::Toml).unwrap_err();
/// assert!(errors.to_string().starts_with(
///     r#"jobs/disk.toml:5: job "disk-report": rule.cron: cron expression "61 * * * *" is not valid"#
/// ));
/// ```
pub fn parse(text: &str, file: &Path, format: Format) -> Result<Vec<LoadedJob>, JobFileErrors> {
    let mut reading = Reading::default();
    reading.text(text, file, format);
    reading.finish()
}

/// A field as written.
struct RawField {
    name: String,
    /// Where it begins, in bytes from the start of the file.
    offset: usize,
    value: Value,
    /// Its parts and where they begin: `.cron` of a table; `[1]` and `[1].cron` of a list.
    inner: Vec<(String, usize)>,
    /// What is wrong with it already; unless this is empty, its value is not to be used.
    problems: Vec<Problem>,
}

/// A job as written.
struct RawJob {
    /// Where it begins, in bytes from the start of the file.
    offset: usize,
    fields: Vec<RawField>,
}

/// Something wrong at some place of a file.
#[derive(Debug)]
struct Problem {
    /// In bytes from the start of the file; `None`: the file as a whole.
    offset: Option<usize>,
    /// The field's path, when it is about a field.
    field: Option<String>,
    text: String,
}

impl Problem {
    fn at(offset: usize, text: impl Into<String>) -> Self {
        Self { offset: Some(offset), field: None, text: text.into() }
    }

    fn field(offset: usize, field: impl Into<String>, text: impl Into<String>) -> Self {
        Self { offset: Some(offset), field: Some(field.into()), text: text.into() }
    }
}

/// The jobs of a file, and what is wrong with the file itself.
type Found = (Vec<RawJob>, Vec<Problem>);

/// What has been read so far.
#[derive(Default)]
struct Reading {
    jobs: Vec<LoadedJob>,
    /// The place in `jobs` of each name.
    names: HashMap<JobName, usize>,
    errors: Vec<JobFileError>,
    /// Jobs seen, good or bad.
    seen: usize,
    /// A limit is reached: read no more.
    stopped: bool,
}

impl Reading {
    fn text(&mut self, text: &str, file: &Path, format: Format) {
        if text.len() as u64 > MAX_FILE {
            return self.file_error(file, format!("has more than {MAX_FILE} bytes"));
        }
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = Lines::of(text);
        let found = match format {
            Format::Toml => toml::jobs(text),
            Format::Json => json::jobs(text),
        };
        let (before, seen) = (self.errors.len(), self.seen);
        self.found(found, file, &lines);
        if self.seen == seen && self.errors.len() == before {
            self.file_error(file, "defines no job".into());
        }
        self.errors[before..].sort_by_key(|error| error.line);
    }

    fn found(&mut self, (jobs, problems): Found, file: &Path, lines: &Lines) {
        for problem in problems {
            self.problem(file, lines, None, problem);
        }
        for raw in jobs {
            self.job(raw, file, lines);
            if self.stopped {
                return;
            }
        }
    }

    fn job(&mut self, raw: RawJob, file: &Path, lines: &Lines) {
        self.seen += 1;
        if self.seen > MAX_JOBS {
            self.stopped = true;
            return self.file_error(file, format!("defines more than {MAX_JOBS} jobs in all"));
        }
        let name = raw.field("name").and_then(|field| field.value.as_str()).map(str::to_owned);
        let name_offset = raw.field("name").map_or(raw.offset, |field| field.offset);
        let line = lines.line(raw.offset);
        let problems = match check::job(raw) {
            Ok(spec) => {
                let Some(text) = self.taken(&spec.name) else {
                    self.names.insert(spec.name.clone(), self.jobs.len());
                    return self.jobs.push(LoadedJob { spec, file: file.to_owned(), line });
                };
                vec![Problem::field(name_offset, "name", text)]
            }
            Err(problems) => problems,
        };
        for problem in problems {
            self.problem(file, lines, name.clone(), problem);
        }
    }

    /// Says where a name is taken already.
    fn taken(&self, name: &JobName) -> Option<String> {
        let first = &self.jobs[*self.names.get(name)?];
        let place = format!("{}:{}", first.file.display(), first.line);
        Some(format!("job name {name:?} is taken already, at {place}"))
    }

    fn problem(&mut self, file: &Path, lines: &Lines, job: Option<String>, problem: Problem) {
        self.error(JobFileError {
            file: file.to_owned(),
            line: problem.offset.map(|offset| lines.line(offset)),
            job,
            field: problem.field,
            problem: problem.text,
        });
    }

    fn file_error(&mut self, file: &Path, problem: String) {
        let file = file.to_owned();
        self.error(JobFileError { file, line: None, job: None, field: None, problem });
    }

    fn error(&mut self, error: JobFileError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        } else {
            self.stopped = true;
        }
    }

    fn finish(self) -> Result<Vec<LoadedJob>, JobFileErrors> {
        if self.errors.is_empty() {
            return Ok(self.jobs);
        }
        Err(JobFileErrors { errors: self.errors, more: self.stopped })
    }
}

impl RawJob {
    fn field(&self, name: &str) -> Option<&RawField> {
        self.fields.iter().find(|field| field.name == name)
    }
}
