//! What is wrong with job files.

use std::fmt;
use std::path::PathBuf;

/// How much of a job's or field's name an error message repeats.
const SHOWN: usize = 160;

/// One thing that is wrong.
///
/// Written `file:line: job "name": field: problem`, without the parts that are not known; of a
/// calendar with `calendar` in place of `job`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFileError {
    /// The file, or the directory.
    pub file: PathBuf,
    /// The line of the field or job; 1 is the first; `None`: the file as a whole.
    pub line: Option<usize>,
    /// The name of the job, as written.
    pub job: Option<String>,
    /// The name of the calendar, as written.
    pub calendar: Option<String>,
    /// The field's path, such as `rule.cron`.
    pub field: Option<String>,
    /// What is wrong, with the value.
    pub problem: String,
}

/// Everything that is wrong; never empty. Written one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFileErrors {
    /// In the order of files and lines.
    pub errors: Vec<JobFileError>,
    /// Reading was given up at a limit: there may be more.
    pub more: bool,
}

impl fmt::Display for JobFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        for (what, name) in [("job", &self.job), ("calendar", &self.calendar)] {
            if let Some(name) = name {
                write!(f, "{what} {:?}: ", name.chars().take(SHOWN).collect::<String>())?;
            }
        }
        if let Some(field) = &self.field {
            write!(f, "{}: ", field.chars().take(SHOWN).collect::<String>())?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for JobFileError {}

impl fmt::Display for JobFileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.errors.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        if self.more {
            f.write_str("\nreading ended here: there may be more errors")?;
        }
        Ok(())
    }
}

impl std::error::Error for JobFileErrors {}
