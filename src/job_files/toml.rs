//! Jobs written in TOML.

use std::thread;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::Datetime;

use super::{CALENDARS, Found, JOBS, Problem, RawField, RawJob};

/// The deepest nesting of tables and lists.
const MAX_DEPTH: usize = 64;

/// A text that cannot nest deeper than this is read on the caller's stack.
const SHALLOW: usize = 500;

/// The stack for other texts, in bytes. `toml` limits brackets and the parts of a key to 80 each,
/// which makes up to 6,480 levels, and frees them by recursion: measured at 600 bytes a level in
/// a debug build.
const STACK: usize = 16 * 1024 * 1024;

/// Finds the jobs and calendars of a text.
pub(super) fn jobs(text: &str) -> Found {
    // Each level needs one of these characters.
    let levels = text.bytes().filter(|byte| b".[{".contains(byte)).count();
    if levels <= SHALLOW {
        return find(text);
    }
    let found = thread::scope(|scope| {
        let reader = thread::Builder::new().stack_size(STACK);
        reader.spawn_scoped(scope, || find(text)).ok().and_then(|reader| reader.join().ok())
    });
    found.unwrap_or_else(|| {
        let text = "cannot be read: there is no thread for it".to_owned();
        Found::problem(Problem { offset: None, field: None, text })
    })
}

fn find(text: &str) -> Found {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problems = errors.iter().map(|error| Problem {
            offset: error.span().map(|span| span.start),
            field: None,
            text: error.message().to_owned(),
        });
        return Found { problems: problems.collect(), ..Found::default() };
    }
    let document = document.into_inner();
    let is_list = |name: &str| [JOBS, CALENDARS].contains(&name);
    let mut lists: Vec<_> = document.iter().filter(|(key, _)| is_list(key.get_ref())).collect();
    lists.sort_by_key(|(key, _)| key.span().start);
    let Some((key, _)) = lists.first() else {
        let jobs = if document.is_empty() { Vec::new() } else { vec![top_level(&document)] };
        return Found { jobs, ..Found::default() };
    };
    if document.len() > lists.len() {
        let text = "stands beside other fields; write either one job or [[job]] tables";
        let name = key.get_ref().to_string();
        return Found::problem(Problem::field(key.span().start, name, text));
    }
    let mut found = Found::default();
    for (key, value) in lists {
        let (items, problems) = items(key.get_ref(), key.span().start, value);
        found.problems.extend(problems);
        if key.get_ref() == JOBS {
            found.jobs = items;
        } else {
            found.calendars = items;
        }
    }
    found
}

/// The tables of a list, and what is wrong with it.
fn items(name: &str, offset: usize, value: &Spanned<DeValue<'_>>) -> (Vec<RawJob>, Vec<Problem>) {
    let Some(items) = value.get_ref().as_array() else {
        let text = if name == JOBS {
            "is not a list; write [[job]] above each job, or its fields at the top"
        } else {
            "is not a list; write [[calendar]] above each calendar"
        };
        return (Vec::new(), vec![Problem::field(offset, name, text)]);
    };
    let mut raw = Vec::new();
    let mut problems = Vec::new();
    for item in items {
        match item.get_ref().as_table() {
            Some(table) => raw.push(job(item.span().start, table)),
            None => problems.push(Problem::field(item.span().start, name, "is not a table")),
        }
    }
    (raw, problems)
}

/// A job that is the whole file begins at its name, or at its first field.
fn top_level(document: &DeTable<'_>) -> RawJob {
    let mut job = job(0, document);
    let name = job.field("name").map(|field| field.offset);
    job.offset = name.or(job.fields.first().map(|field| field.offset)).unwrap_or(0);
    job
}

fn job(offset: usize, table: &DeTable<'_>) -> RawJob {
    let mut fields: Vec<RawField> =
        table.iter().map(|(key, value)| field(key.get_ref(), key.span().start, value)).collect();
    fields.sort_by_key(|field| field.offset);
    RawJob { offset, fields }
}

fn field(name: &str, offset: usize, value: &Spanned<DeValue<'_>>) -> RawField {
    let inner = match value.get_ref() {
        DeValue::Table(table) => inner(table, "").collect(),
        DeValue::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(at, item)| {
                let place = format!("[{at}]");
                let within: Vec<_> = item
                    .get_ref()
                    .as_table()
                    .map(|table| inner(table, &place).collect())
                    .unwrap_or_default();
                std::iter::once((place, item.span().start)).chain(within)
            })
            .collect(),
        _ => Vec::new(),
    };
    // Parameters are the command's own affair: any date will do there.
    let moments = name != "params";
    let mut place = Place {
        path: name.to_owned(),
        offset,
        moments,
        local: false,
        depth: 0,
        problems: Vec::new(),
    };
    let value = place.convert(value);
    RawField { name: name.to_owned(), offset, value, inner, problems: place.problems }
}

/// The fields of a table at a place, with theirs.
fn inner(table: &DeTable<'_>, place: &str) -> impl Iterator<Item = (String, usize)> {
    table.iter().map(move |(key, _)| (format!("{place}.{}", key.get_ref()), key.span().start))
}

/// Where a conversion stands, and what it has found.
struct Place {
    path: String,
    offset: usize,
    /// Dates and times must be moments: have an offset.
    moments: bool,
    /// The field is the beginning of a recurrence rule: a local time or a date.
    local: bool,
    depth: usize,
    problems: Vec<Problem>,
}

impl Place {
    /// Notes a problem; null stands for the value.
    fn problem(&mut self, text: impl Into<String>) -> Value {
        self.problems.push(Problem::field(self.offset, self.path.clone(), text));
        Value::Null
    }

    /// Converts a part under its own name and place.
    fn within(&mut self, name: &str, offset: usize, value: &Spanned<DeValue<'_>>) -> Value {
        if self.depth == MAX_DEPTH {
            return self.problem(format!("is nested more than {MAX_DEPTH} levels deep"));
        }
        let length = self.path.len();
        let outer = std::mem::replace(&mut self.offset, offset);
        self.path.push_str(name);
        self.depth += 1;
        let value = self.convert(value);
        self.path.truncate(length);
        self.offset = outer;
        self.depth -= 1;
        value
    }

    fn convert(&mut self, value: &Spanned<DeValue<'_>>) -> Value {
        match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Integer(integer) => {
                match i64::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(number) => Value::from(number),
                    Err(_) => self.problem(format!("integer {integer} does not fit into 64 bits")),
                }
            }
            DeValue::Float(float) => {
                // TOML's floats are Rust's, but for inf and nan, which JSON does not have.
                let number = float.as_str().parse().ok().and_then(serde_json::Number::from_f64);
                match number {
                    Some(number) => Value::Number(number),
                    None => self.problem(format!("number {float} has no JSON form")),
                }
            }
            DeValue::Datetime(datetime) => self.time(*datetime),
            DeValue::Array(items) => {
                let items = items.iter().enumerate();
                items.map(|(at, v)| self.within(&format!("[{at}]"), v.span().start, v)).collect()
            }
            DeValue::Table(table) => {
                let recurs = table.contains_key("rrule");
                let fields = table.iter().map(|(key, value)| {
                    let name = key.get_ref();
                    self.local = recurs && name == "from";
                    let value = self.within(&format!(".{name}"), key.span().start, value);
                    self.local = false;
                    (name.to_string(), value)
                });
                Value::Object(fields.collect())
            }
        }
    }

    /// A date or time as RFC 3339 text.
    fn time(&mut self, mut datetime: Datetime) -> Value {
        if let Some(time) = &mut datetime.time {
            // TOML may leave out the seconds, RFC 3339 may not.
            time.second.get_or_insert(0);
        }
        let plain = match (datetime.date, datetime.time) {
            (Some(_), None) => {
                self.local
                    || self.path.contains(".exclude.dates[")
                    || self.path.starts_with("dates[")
            }
            (Some(_), Some(_)) => self.local,
            (None, Some(_)) => self.path.contains(".within["),
            _ => false,
        };
        if !self.moments || plain || datetime.offset.is_some() {
            return Value::String(datetime.to_string());
        }
        self.problem(if datetime.date.is_some() && datetime.time.is_some() {
            format!("time {datetime} has no offset; add one, such as {datetime}Z")
        } else {
            format!("time {datetime} is not a moment; write one such as 2026-12-01T02:00:00Z")
        })
    }
}
