//! Reads fields of a TOML document so that every error names file, line, field and value.
//!
//! Promises: a table with a field that nobody knows is refused before any of its fields is
//! read, so a mistyped field is told as such and not as a missing one.
//! Imports nothing of fleetcron but the agent's suggestions.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::suggest::did_you_mean;

/// How many characters of a bad value an error message repeats.
const SHOWN: usize = 120;

/// Why an agent's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is longer than [`MAX_CONFIG`](super::MAX_CONFIG).
    #[error("{}: is longer than {} bytes", file.display(), super::MAX_CONFIG)]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// A line says something that cannot be.
    #[error("{}:{line}: {at}{problem}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The command, field and value, as far as there are such, with a colon after them.
        at: String,
        /// What is wrong.
        problem: String,
    },
}

/// A document: its text and the file it came from, to say where something is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Document<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
}

impl<'a> Document<'a> {
    /// The line of a byte offset, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    pub(super) fn invalid(&self, offset: usize, at: String, problem: String) -> ConfigError {
        ConfigError::Invalid { file: self.file.into(), line: self.line(offset), at, problem }
    }

    /// Parses the text as TOML.
    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'a>>, ConfigError> {
        DeTable::parse(self.text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            self.invalid(offset, String::new(), error.message().to_owned())
        })
    }
}

/// A table whose fields are all known.
#[derive(Debug)]
pub(super) struct Table<'a> {
    document: Document<'a>,
    entries: &'a DeTable<'a>,
    offset: usize,
    /// Whose table it is, such as `command "disk.report": `.
    pub(super) owner: String,
    /// The path of its fields within the owner, such as `params.path.`.
    path: String,
}

impl<'a> Table<'a> {
    /// A table that may have the fields `known` and no other.
    pub(super) fn new(
        document: Document<'a>,
        entries: &'a DeTable<'a>,
        offset: usize,
        (owner, path): (String, String),
        known: &[&str],
    ) -> Result<Self, ConfigError> {
        let table = Self { document, entries, offset, owner, path };
        for key in entries.keys() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let problem = format!(
                    "unknown field{}; known are {}",
                    did_you_mean(name, known.iter().copied()),
                    known.join(", ")
                );
                let at = format!("{}{}{name}: ", table.owner, table.path);
                return Err(document.invalid(key.span().start, at, problem));
            }
        }
        Ok(table)
    }

    /// A field, if it is given.
    pub(super) fn optional(&self, name: &str) -> Option<Field<'a>> {
        let value = self.entries.get(name)?;
        Some(self.field(name, value))
    }

    /// A field that must be given.
    pub(super) fn required(&self, name: &str) -> Result<Field<'a>, ConfigError> {
        self.optional(name).ok_or_else(|| {
            let at = format!("{}{}{name}: ", self.owner, self.path);
            self.document.invalid(self.offset, at, "is missing".into())
        })
    }

    fn field(&self, name: &str, value: &'a Spanned<DeValue<'a>>) -> Field<'a> {
        Field {
            document: self.document,
            owner: self.owner.clone(),
            path: format!("{}{name}", self.path),
            value,
        }
    }
}

/// One value and where it stands.
#[derive(Debug)]
pub(super) struct Field<'a> {
    document: Document<'a>,
    owner: String,
    path: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Field<'a> {
    /// The error that this value has `problem`.
    pub(super) fn bad(&self, problem: impl Into<String>) -> ConfigError {
        let at = format!("{}{} = {}: ", self.owner, self.path, shown(self.value.get_ref()));
        self.document.invalid(self.value.span().start, at, problem.into())
    }

    fn wants(&self, kind: &str) -> ConfigError {
        self.bad(format!("must be {kind}, not of type {}", self.value.get_ref().type_str()))
    }

    pub(super) fn offset(&self) -> usize {
        self.value.span().start
    }

    /// The value's line, counted from 1.
    pub(super) fn line(&self) -> usize {
        self.document.line(self.value.span().start)
    }

    pub(super) fn value(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    pub(super) fn string(&self) -> Result<&'a str, ConfigError> {
        self.value().as_str().ok_or_else(|| self.wants("a string"))
    }

    pub(super) fn boolean(&self) -> Result<bool, ConfigError> {
        self.value().as_bool().ok_or_else(|| self.wants("true or false"))
    }

    pub(super) fn integer(&self) -> Result<i64, ConfigError> {
        let integer = self.value().as_integer().ok_or_else(|| self.wants("an integer"))?;
        i64::from_str_radix(integer.as_str(), integer.radix())
            .map_err(|_| self.bad("is not within the range of 64 bits"))
    }

    /// An integer from `min` to `max`.
    pub(super) fn between(&self, min: usize, max: usize) -> Result<usize, ConfigError> {
        let value = usize::try_from(self.integer()?).ok();
        value
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(|| self.bad(format!("must be {min} to {max}")))
    }

    /// The elements of an array.
    pub(super) fn elements(&self) -> Result<Vec<Field<'a>>, ConfigError> {
        let array = self.value().as_array().ok_or_else(|| self.wants("an array"))?;
        let element = |(at, value)| Field {
            document: self.document,
            owner: self.owner.clone(),
            path: format!("{}[{at}]", self.path),
            value,
        };
        Ok(array.iter().enumerate().map(element).collect())
    }

    /// The entries of a table whose keys are free, with each key's text.
    pub(super) fn entries(&self) -> Result<Vec<(&'a str, Field<'a>)>, ConfigError> {
        let table = self.value().as_table().ok_or_else(|| self.wants("a table"))?;
        let entry = |(key, value): (&'a Spanned<std::borrow::Cow<'a, str>>, _)| {
            let path = format!("{}.{}", self.path, key.get_ref());
            let (document, owner) = (self.document, self.owner.clone());
            (key.get_ref().as_ref(), Field { document, owner, path, value })
        };
        Ok(table.iter().map(entry).collect())
    }

    /// A table that may have the fields `known` and no other.
    pub(super) fn table(&self, known: &[&str]) -> Result<Table<'a>, ConfigError> {
        self.table_of(self.owner.clone(), format!("{}.", self.path), known)
    }

    /// The same for a table that is named otherwise than by its place.
    pub(super) fn table_of(
        &self,
        owner: String,
        path: String,
        known: &[&str],
    ) -> Result<Table<'a>, ConfigError> {
        let entries = self.value().as_table().ok_or_else(|| self.wants("a table"))?;
        Table::new(self.document, entries, self.value.span().start, (owner, path), known)
    }
}

/// A value as an error message repeats it.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => shorten(&format!("{text:?}")),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(at) => at.to_string(),
        DeValue::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| shown(item.get_ref())).collect();
            shorten(&format!("[{}]", items.join(", ")))
        }
        DeValue::Table(_) => "{…}".to_owned(),
    }
}

/// The start of a text, and "…" if that is not all.
pub(in crate::agent) fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
