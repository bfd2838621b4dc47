//! What differs between two definitions of a job, or of a calendar.
//!
//! Promises: equal definitions have no differences; the differences are sorted by field; defaults
//! that are not written are not listed. Imports domain types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::calendar::Calendar;
use crate::job::JobSpec;

/// One field of a definition, before and after, as JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The field's path, such as `rule.cron`.
    pub field: String,
    /// Its value before; `None`: it was not there.
    pub before: Option<String>,
    /// Its value after; `None`: it is no longer there.
    pub after: Option<String>,
}

/// The fields that change from `before` to `after`, as flattened paths such as `rule.cron`,
/// `rule[1].every` or `params.path`, with the values as JSON text. Without `before`, all fields of `after`.
#[must_use]
pub fn fields(before: Option<&JobSpec>, after: &JobSpec) -> Vec<FieldChange> {
    if before == Some(after) {
        return Vec::new();
    }
    differences(before.map(flattened).unwrap_or_default(), flattened(after))
}

/// The fields of a calendar that change, as [`fields`] tells those of a job.
#[must_use]
pub fn calendar_fields(before: Option<&Calendar>, after: &Calendar) -> Vec<FieldChange> {
    let flattened = |calendar| {
        let mut fields = BTreeMap::new();
        // Names, texts and dates always have a JSON form.
        if let Ok(value) = serde_json::to_value(calendar) {
            flatten(String::new(), &value, &mut fields);
        }
        fields
    };
    differences(before.map(flattened).unwrap_or_default(), flattened(after))
}

fn differences(
    mut old: BTreeMap<String, String>,
    new: BTreeMap<String, String>,
) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    for (field, after) in new {
        let before = old.remove(&field);
        if before.as_ref() != Some(&after) {
            changes.push(FieldChange { field, before, after: Some(after) });
        }
    }
    changes.extend(old.into_iter().map(|(field, before)| FieldChange {
        field,
        before: Some(before),
        after: None,
    }));
    changes.sort_by(|a, b| a.field.cmp(&b.field));
    changes
}

fn flattened(spec: &JobSpec) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    // A definition is made of texts and JSON, which always have a JSON form; numbers beyond what
    // a `Value` holds are the one exception, and then the parameters are shown as they are.
    match serde_json::to_value(spec) {
        Ok(value) => flatten(String::new(), &value, &mut fields),
        Err(_) => drop(fields.insert("params".into(), spec.params.text().to_owned())),
    }
    fields
}

fn flatten(path: String, value: &Value, fields: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                let separator = if path.is_empty() { "" } else { "." };
                flatten(format!("{path}{separator}{key}"), value, fields);
            }
        }
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_object) => {
            for (place, item) in items.iter().enumerate() {
                flatten(format!("{path}[{place}]"), item, fields);
            }
        }
        other => drop(fields.insert(path, other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> JobSpec {
        serde_json::from_str(text).unwrap()
    }

    fn told(changes: &[FieldChange]) -> Vec<String> {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        let told = |c: &FieldChange| format!("{} {} {}", c.field, side(&c.before), side(&c.after));
        changes.iter().map(told).collect()
    }

    const BEFORE: &str = r#"{"name": "disk", "target": "all", "command": "disk.report",
        "params": {"path": "/", "warn": [80, 90], "old": {"a": null}},
        "rule": {"cron": "0 6 * * *", "time_zone": "UTC"}, "offline": "drop"}"#;

    #[test]
    fn equal_definitions_do_not_differ() {
        assert_eq!(fields(Some(&job(BEFORE)), &job(BEFORE)), []);
        let mut spaced = job(BEFORE);
        spaced.params = r#" {"path":"/", "old": {"a":null}, "warn": [80,90]}"#.parse().unwrap();
        assert_eq!(fields(Some(&job(BEFORE)), &spaced), []);
    }

    #[test]
    fn differences_are_listed_by_path_with_their_json() {
        let after = r#"{"name": "disk", "target": "group:web", "command": "disk.report",
            "params": {"path": "/var", "warn": [80, 95], "dry": true},
            "rule": {"every": "5m"}, "expires_after": "1h"}"#;
        assert_eq!(
            told(&fields(Some(&job(BEFORE)), &job(after))),
            [
                r#"expires_after - "1h""#,
                r#"offline "drop" -"#,
                "params.dry - true",
                "params.old.a null -",
                r#"params.path "/" "/var""#,
                "params.warn [80,90] [80,95]",
                r#"rule.cron "0 6 * * *" -"#,
                r#"rule.every - "5m""#,
                r#"rule.time_zone "UTC" -"#,
                r#"target "all" "group:web""#,
            ]
        );
    }

    #[test]
    fn lists_of_tables_are_told_by_their_items() {
        let list = r#"{"name": "disk", "target": "all", "command": "disk.report",
            "params": {"path": "/", "warn": [80, 90], "old": {"a": null}},
            "rule": [{"cron": "0 6 * * *", "exclude": {"weekdays": ["sun"]}}, {"every": "5m"}],
            "offline": "drop"}"#;
        let added = [
            r#"rule.cron "0 6 * * *" -"#,
            r#"rule.time_zone "UTC" -"#,
            r#"rule[0].cron - "0 6 * * *""#,
            r#"rule[0].exclude.weekdays - ["sun"]"#,
            r#"rule[0].time_zone - "UTC""#,
            r#"rule[1].every - "5m""#,
        ];
        assert_eq!(told(&fields(Some(&job(BEFORE)), &job(list))), added);
        let other = list.replace("5m", "6m").replace(r#"["sun"]"#, r#"["sat", "sun"]"#);
        let changed =
            [r#"rule[0].exclude.weekdays ["sun"] ["sat","sun"]"#, r#"rule[1].every "5m" "6m""#];
        assert_eq!(told(&fields(Some(&job(list)), &job(&other))), changed);
    }

    #[test]
    fn a_new_job_has_all_its_fields() {
        let new = job(r#"{"name": "n", "target": "all", "command": "c", "rule": "now"}"#);
        let expected = [
            r#"command - "c""#,
            r#"name - "n""#,
            "params - {}",
            r#"rule - "now""#,
            r#"target - "all""#,
        ];
        assert_eq!(told(&fields(None, &new)), expected);
    }
}
