//! From a calendar as written to a calendar, or to all that is wrong with it.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::check::{place, unknown};
use super::{Problem, RawField, RawJob};
use crate::calendar::{CALENDAR_FIELDS, Calendar};

/// The calendar, or its problems in the order of their places.
pub(super) fn calendar(raw: RawJob) -> Result<Calendar, Vec<Problem>> {
    let fields = raw.fields.iter().map(|field| (field.name.clone(), field.value.clone()));
    let whole = Value::Object(fields.collect());
    let read = Calendar::deserialize(&whole);
    if raw.fields.iter().all(|field| field.problems.is_empty())
        && let Ok(calendar) = read
    {
        return Ok(calendar);
    }
    let mut problems = Vec::new();
    if raw.field("name").is_none() {
        problems.push(Problem::field(raw.offset, "name", "is missing"));
    }
    let offset = raw.offset;
    for field in raw.fields {
        check_field(field, &mut problems);
    }
    // Each field alone is right, but not all together.
    if problems.is_empty()
        && let Err(error) = read
    {
        problems.push(Problem::at(offset, error.to_string()));
    }
    problems.sort_by_key(|problem| problem.offset);
    Err(problems)
}

fn check_field(mut field: RawField, problems: &mut Vec<Problem>) {
    if !field.problems.is_empty() {
        return problems.append(&mut field.problems);
    }
    if !CALENDAR_FIELDS.contains(&field.name.as_str()) {
        let text = unknown(&field.name, &CALENDAR_FIELDS);
        return problems.push(Problem::field(field.offset, field.name, text));
    }
    if let Err((path, text)) = alone(&field) {
        problems.push(Problem::field(place(&field, &path), path, text));
    }
}

/// Reads a field within a calendar that is right otherwise; the error is its path and what is
/// wrong.
fn alone(field: &RawField) -> Result<(), (String, String)> {
    let right = [("name", json!("name")), ("weekdays", json!(["sat"]))];
    let mut calendar: Map<String, Value> =
        right.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    calendar.insert(field.name.clone(), field.value.clone());
    serde_path_to_error::deserialize::<_, Calendar>(&Value::Object(calendar)).map(drop).map_err(
        |error| {
            let path = error.path().to_string();
            // What the calendar as a whole says of it has no path of its own.
            let path = if path == "." { field.name.clone() } else { path };
            (path, error.inner().to_string())
        },
    )
}
