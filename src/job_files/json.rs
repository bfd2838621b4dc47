//! Jobs written in JSON.
//!
//! The outer two levels are read as raw text, whose place in the file is known; `serde_json`
//! itself tells places only in errors.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::lines::Lines;
use super::{CALENDARS, Found, JOBS, Kind, Problem, RawField, RawJob};

const WRITTEN_TWICE: &str = "is written twice";

/// Finds the jobs and calendars of a text.
pub(super) fn jobs(text: &str) -> Found {
    let document = Document { text };
    let lists = match document.lists() {
        Ok(lists) => lists,
        Err(problem) => return Found::problem(problem),
    };
    let mut found = Found::default();
    for (kind, raw) in lists {
        match document.job(raw) {
            Ok(raw) if kind == Kind::Job => found.jobs.push(raw),
            Ok(raw) => found.calendars.push(raw),
            Err(problem) => found.problems.push(problem),
        }
    }
    found
}

/// The fields of an object, in order and with repetitions.
struct Fields<'a>(Vec<(Key<'a>, &'a RawValue)>);

#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

struct Document<'a> {
    text: &'a str,
}

impl<'a> Document<'a> {
    /// The raw text of each job and of each calendar.
    fn lists(&self) -> Result<Vec<(Kind, &'a str)>, Problem> {
        let jobs = |raw| Ok(self.list(raw)?.into_iter().map(|raw| (Kind::Job, raw)).collect());
        if self.text.trim_start().starts_with('[') {
            return jobs(self.text);
        }
        let fields: Fields<'a> = self.read(self.text)?;
        let is_list = |key: &Key<'_>| [JOBS, CALENDARS].contains(&key.0.as_ref());
        let Some((key, value)) = fields.0.iter().find(|(key, _)| is_list(key)) else {
            let whole = (!fields.0.is_empty()).then_some((Kind::Job, self.text));
            return Ok(whole.into_iter().collect());
        };
        if !fields.0.iter().all(|(key, _)| is_list(key)) {
            let text = "stands beside other fields; write either one job or a list of jobs";
            return Err(Problem::field(self.offset_of_key(key, value), key.0.as_ref(), text));
        }
        let mut seen = HashSet::new();
        let mut all = Vec::new();
        for (key, value) in &fields.0 {
            if !seen.insert(key.0.as_ref()) {
                let offset = self.offset_of_key(key, value);
                return Err(Problem::field(offset, key.0.as_ref(), WRITTEN_TWICE));
            }
            let kind = if key.0 == JOBS { Kind::Job } else { Kind::Calendar };
            all.extend(self.list(value.get())?.into_iter().map(|raw| (kind, raw)));
        }
        Ok(all)
    }

    fn list(&self, raw: &'a str) -> Result<Vec<&'a str>, Problem> {
        let items: Vec<&'a RawValue> = self.read(raw)?;
        Ok(items.into_iter().map(RawValue::get).collect())
    }

    fn job(&self, raw: &'a str) -> Result<RawJob, Problem> {
        let fields: Fields<'a> = self.read(raw)?;
        let mut job = RawJob { offset: self.offset(raw), fields: Vec::new() };
        for (key, value) in &fields.0 {
            let mut field = self.field(key, value);
            if job.field(&key.0).is_some() {
                let problem = Problem::field(field.offset, key.0.as_ref(), WRITTEN_TWICE);
                field.problems = vec![problem];
            }
            job.fields.push(field);
        }
        // A job that is the whole file begins where its text does, not at the blank before it.
        job.offset += raw.len() - raw.trim_start().len();
        Ok(job)
    }

    fn field(&self, key: &Key<'a>, raw: &'a RawValue) -> RawField {
        let offset = self.offset_of_key(key, raw);
        let name = key.0.clone().into_owned();
        let inner = self.inner(raw);
        let mut seen = HashSet::new();
        let mut problems: Vec<Problem> = inner
            .iter()
            .filter(|(part, _)| !seen.insert(part))
            .map(|(part, offset)| Problem::field(*offset, format!("{name}{part}"), WRITTEN_TWICE))
            .collect();
        let value = self.read(raw.get()).unwrap_or_else(|problem| {
            problems.push(Problem { field: Some(name.clone()), ..problem });
            Value::Null
        });
        RawField { name, offset, value, inner, problems }
    }

    /// The places of the fields in an object, or of the items of a list and of their fields.
    fn inner(&self, raw: &'a RawValue) -> Vec<(String, usize)> {
        let Ok(items) = serde_json::from_str::<Vec<&'a RawValue>>(raw.get()) else {
            return self.fields_at("", raw);
        };
        let mut inner = Vec::new();
        for (at, item) in items.into_iter().enumerate() {
            let place = format!("[{at}]");
            let fields = self.fields_at(&place, item);
            inner.push((place, self.offset(item.get())));
            inner.extend(fields);
        }
        inner
    }

    /// The places of an object's fields; anything else has none.
    fn fields_at(&self, place: &str, raw: &'a RawValue) -> Vec<(String, usize)> {
        if !raw.get().starts_with('{') {
            return Vec::new();
        }
        let fields = self.read::<Fields<'a>>(raw.get()).map(|fields| fields.0).unwrap_or_default();
        fields
            .iter()
            .map(|(key, value)| (format!("{place}.{}", key.0), self.offset_of_key(key, value)))
            .collect()
    }

    /// Reads a part of the text; the error leads to its place in the whole.
    fn read<T: Deserialize<'a>>(&self, raw: &'a str) -> Result<T, Problem> {
        serde_json::from_str(raw).map_err(|error| {
            let lines = Lines::of(raw);
            let column = error.column().saturating_sub(1);
            let within = (lines.start(error.line()) + column).min(raw.len());
            let text = error.to_string();
            // The place is told before the message.
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
            Problem::at(self.offset(raw) + within, text)
        })
    }

    fn offset_of_key(&self, key: &Key<'a>, value: &'a RawValue) -> usize {
        match key.0 {
            Cow::Borrowed(key) => self.offset(key),
            // A key with an escape is a copy; its value is close by.
            Cow::Owned(_) => self.offset(value.get()),
        }
    }

    /// The place of a part of the text; parts are always borrowed from it.
    fn offset(&self, part: &'a str) -> usize {
        part.as_ptr().addr().saturating_sub(self.text.as_ptr().addr())
    }
}
