//! Definitions of jobs, and of the calendars that they use, in files: `.toml` and `.json`.
//!
//! A file holds one job, its fields at the top level, or several: `[[job]]` tables in TOML, and
//! `{"job": [ … ]}` or an array in JSON. Calendars stand beside a list of jobs, or alone: as
//! `[[calendar]]` tables in TOML, as `{"calendar": [ … ]}` in JSON. Whether the calendars that a
//! job names exist is not looked at here: the server may have them.
//!
//! Promises: jobs and calendars come in the order of their files and lines; when anything is wrong, nothing is
//! returned but all that is wrong, each with its file, line, job and field. Whatever a file holds,
//! reading it neither panics nor takes more than the limits below. Imports domain types and
//! suggestions.

mod calendar;
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

use crate::calendar::Calendar;
use crate::id::{CalendarName, JobName};
use crate::job::JobSpec;

pub use error::{JobFileError, JobFileErrors};
pub use files::read_dir_or_file;
use lines::Lines;

/// The largest job file, in bytes.
pub const MAX_FILE: u64 = 1024 * 1024;

/// The most jobs and calendars, and the most files, that are read at once.
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

/// A calendar and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedCalendar {
    /// The definition.
    pub spec: Calendar,
    /// Its file.
    pub file: PathBuf,
    /// The line at which it begins; 1 is the first.
    pub line: usize,
}

/// What files define.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The calendars.
    pub calendars: Vec<LoadedCalendar>,
    /// The jobs.
    pub jobs: Vec<LoadedJob>,
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

/// Reads one file's text; `file` is the name that errors and definitions get.
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
pub fn parse(text: &str, file: &Path, format: Format) -> Result<Loaded, JobFileErrors> {
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

/// A job, or a calendar, as written.
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

/// What a file holds, and what is wrong with the file itself.
#[derive(Default)]
struct Found {
    jobs: Vec<RawJob>,
    calendars: Vec<RawJob>,
    problems: Vec<Problem>,
}

impl Found {
    fn problem(problem: Problem) -> Self {
        Self { problems: vec![problem], ..Self::default() }
    }
}

/// What a definition is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Job,
    Calendar,
}

/// The names of the lists that a file may have.
const JOBS: &str = "job";
const CALENDARS: &str = "calendar";

/// What has been read so far.
#[derive(Default)]
struct Reading {
    loaded: Loaded,
    /// The place in `jobs` of each name.
    names: HashMap<JobName, usize>,
    /// The place in `calendars` of each name.
    calendar_names: HashMap<CalendarName, usize>,
    errors: Vec<JobFileError>,
    /// Jobs and calendars seen, good or bad.
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
            self.file_error(file, "defines no job and no calendar".into());
        }
        self.errors[before..].sort_by_key(|error| error.line);
    }

    fn found(&mut self, found: Found, file: &Path, lines: &Lines) {
        for problem in found.problems {
            self.problem(file, lines, None, problem);
        }
        let calendars = found.calendars.into_iter().map(|raw| (Kind::Calendar, raw));
        for (kind, raw) in calendars.chain(found.jobs.into_iter().map(|raw| (Kind::Job, raw))) {
            self.definition(kind, raw, file, lines);
            if self.stopped {
                return;
            }
        }
    }

    fn definition(&mut self, kind: Kind, raw: RawJob, file: &Path, lines: &Lines) {
        self.seen += 1;
        if self.seen > MAX_JOBS {
            self.stopped = true;
            return self.file_error(file, format!("defines more than {MAX_JOBS} jobs in all"));
        }
        let name = raw.field("name").and_then(|field| field.value.as_str()).map(str::to_owned);
        let place = (file, lines.line(raw.offset));
        let problems = match kind {
            Kind::Job => self.job(raw, place),
            Kind::Calendar => self.calendar(raw, place),
        };
        for problem in problems {
            self.problem(file, lines, name.clone().map(|name| (kind, name)), problem);
        }
    }

    /// Takes a job, or tells what is wrong with it.
    fn job(&mut self, raw: RawJob, (file, line): (&Path, usize)) -> Vec<Problem> {
        let name_offset = raw.field("name").map_or(raw.offset, |field| field.offset);
        let spec = match check::job(raw) {
            Ok(spec) => spec,
            Err(problems) => return problems,
        };
        if let Some(at) = self.names.get(&spec.name) {
            let first = &self.loaded.jobs[*at];
            return taken(name_offset, "job", spec.name.as_str(), (&first.file, first.line));
        }
        self.names.insert(spec.name.clone(), self.loaded.jobs.len());
        self.loaded.jobs.push(LoadedJob { spec, file: file.to_owned(), line });
        Vec::new()
    }

    /// Takes a calendar, or tells what is wrong with it.
    fn calendar(&mut self, raw: RawJob, (file, line): (&Path, usize)) -> Vec<Problem> {
        let name_offset = raw.field("name").map_or(raw.offset, |field| field.offset);
        let spec = match calendar::calendar(raw) {
            Ok(spec) => spec,
            Err(problems) => return problems,
        };
        if let Some(at) = self.calendar_names.get(spec.name()) {
            let first = &self.loaded.calendars[*at];
            let place = (first.file.as_path(), first.line);
            return taken(name_offset, "calendar", spec.name().as_str(), place);
        }
        self.calendar_names.insert(spec.name().clone(), self.loaded.calendars.len());
        self.loaded.calendars.push(LoadedCalendar { spec, file: file.to_owned(), line });
        Vec::new()
    }

    fn problem(
        &mut self,
        file: &Path,
        lines: &Lines,
        name: Option<(Kind, String)>,
        problem: Problem,
    ) {
        let (job, calendar) = match name {
            Some((Kind::Job, name)) => (Some(name), None),
            Some((Kind::Calendar, name)) => (None, Some(name)),
            None => (None, None),
        };
        self.error(JobFileError {
            file: file.to_owned(),
            line: problem.offset.map(|offset| lines.line(offset)),
            job,
            calendar,
            field: problem.field,
            problem: problem.text,
        });
    }

    fn file_error(&mut self, file: &Path, problem: String) {
        let file = file.to_owned();
        let (job, calendar) = (None, None);
        self.error(JobFileError { file, line: None, job, calendar, field: None, problem });
    }

    fn error(&mut self, error: JobFileError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        } else {
            self.stopped = true;
        }
    }

    fn finish(self) -> Result<Loaded, JobFileErrors> {
        if self.errors.is_empty() {
            return Ok(self.loaded);
        }
        Err(JobFileErrors { errors: self.errors, more: self.stopped })
    }
}

/// Says where a name is taken already.
fn taken(offset: usize, what: &str, name: &str, (file, line): (&Path, usize)) -> Vec<Problem> {
    let text = format!("{what} name {name:?} is taken already, at {}:{line}", file.display());
    vec![Problem::field(offset, "name", text)]
}

impl RawJob {
    fn field(&self, name: &str) -> Option<&RawField> {
        self.fields.iter().find(|field| field.name == name)
    }
}
