//! From a job as written to a job, or to all that is wrong with it.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Problem, RawField, RawJob};
use crate::job::JobSpec;
use crate::schedule::RULE_FIELDS;
use crate::suggest;

/// The fields of a job; a test holds them against [`JobSpec`].
pub(super) const JOB_FIELDS: [&str; 24] = [
    "name",
    "description",
    "target",
    "command",
    "params",
    "rule",
    "catch_up",
    "catch_up_window",
    "offline",
    "expires_after",
    "overlap",
    "overlap_scope",
    "spread",
    "jitter",
    "retry",
    "timeout",
    "delivery",
    "pause_on_failure",
    "on_client_crash",
    "membership",
    "priority",
    "rollout",
    "per_client",
    "history",
];

/// The fields that every job has, and what stands in for them while another one is checked.
const REQUIRED: [(&str, &str); 4] =
    [("name", "name"), ("target", "all"), ("command", "command"), ("rule", "now")];

/// The job, or its problems in the order of their places.
pub(super) fn job(raw: RawJob) -> Result<JobSpec, Vec<Problem>> {
    if raw.fields.iter().all(|field| field.problems.is_empty())
        && let Ok(spec) = JobSpec::deserialize(&object(&raw))
    {
        return within_limits(&raw, spec);
    }
    let mut problems = Vec::new();
    for (name, _) in REQUIRED {
        if raw.field(name).is_none() {
            problems.push(Problem::field(raw.offset, name, "is missing"));
        }
    }
    let whole = object(&raw);
    let offset = raw.offset;
    for field in raw.fields {
        check_field(field, &mut problems);
    }
    // Each field alone is right, but not all together.
    if problems.is_empty()
        && let Err(error) = JobSpec::deserialize(&whole)
    {
        problems.push(Problem::at(offset, error.to_string()));
    }
    problems.sort_by_key(|problem| problem.offset);
    Err(problems)
}

fn object(raw: &RawJob) -> Value {
    let fields = raw.fields.iter().map(|field| (field.name.clone(), field.value.clone()));
    Value::Object(fields.collect())
}

fn within_limits(raw: &RawJob, spec: JobSpec) -> Result<JobSpec, Vec<Problem>> {
    let problem = |name: &'static str, error: String| {
        let offset = raw.field(name).map_or(raw.offset, |field| field.offset);
        vec![Problem::field(offset, name, error)]
    };
    spec.command().map_err(|error| problem("params", error.to_string()))?;
    spec.policy().check().map_err(|error| problem("retry", error.to_string()))?;
    let overlap = spec.policy().check_overlap(spec.overlap);
    overlap.map_err(|error| problem("per_client", error.to_string()))?;
    spec.check_size().map_err(|error| vec![Problem::at(raw.offset, error.to_string())])?;
    Ok(spec)
}

fn check_field(mut field: RawField, problems: &mut Vec<Problem>) {
    if !field.problems.is_empty() {
        return problems.append(&mut field.problems);
    }
    if !JOB_FIELDS.contains(&field.name.as_str()) {
        let text = unknown(&field.name, &JOB_FIELDS);
        problems.push(Problem::field(field.offset, field.name, text));
        return;
    }
    let before = problems.len();
    if field.name == "rule" {
        take_unknown_rule_fields(&mut field, problems);
    }
    let only_known = problems.len() == before;
    let Err((path, text)) = alone(&field) else { return };
    // Without its unknown fields, nothing can be said of a rule as a whole.
    if only_known || path.contains('.') {
        let offset = place(&field, &path);
        problems.push(Problem::field(offset, path, text));
    }
}

/// The place of the innermost part of a field that a path leads through and whose place is known.
pub(super) fn place(field: &RawField, path: &str) -> usize {
    let inner = path.strip_prefix(&field.name).unwrap_or_default();
    let leads_through = |part: &str| {
        let rest = inner.strip_prefix(part);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let through = field.inner.iter().filter(|(part, _)| leads_through(part));
    through.max_by_key(|(part, _)| part.len()).map_or(field.offset, |(_, offset)| *offset)
}

fn take_unknown_rule_fields(rule: &mut RawField, problems: &mut Vec<Problem>) {
    let whole = rule.value.is_object();
    let tables = match &mut rule.value {
        Value::Array(rules) => rules.iter_mut().collect(),
        table => vec![table],
    };
    for (n, table) in tables.into_iter().enumerate() {
        let Value::Object(table) = table else { continue };
        let place = if whole { String::new() } else { format!("[{n}]") };
        for (part, offset) in &rule.inner {
            let name = part.strip_prefix(&place).and_then(|part| part.strip_prefix('.'));
            let Some(name) = name.filter(|name| !RULE_FIELDS.contains(name)) else { continue };
            table.remove(name);
            let text = unknown(name, &RULE_FIELDS);
            problems.push(Problem::field(*offset, format!("rule{part}"), text));
        }
    }
}

pub(super) fn unknown(name: &str, known: &[&str]) -> String {
    if known == JOB_FIELDS && RULE_FIELDS.contains(&name) {
        return format!("is not a field of a job; write it in rule, as rule.{name}");
    }
    let nearest = suggest::nearest(name, known.iter().copied());
    let instead = nearest.map_or_else(
        || format!("; known are {}", known.join(", ")),
        |nearest| suggest::hint(Some(&nearest)),
    );
    format!("is not a known field{instead}")
}

/// Reads a field within a job that is right otherwise; the error is its path and what is wrong.
fn alone(field: &RawField) -> Result<(), (String, String)> {
    let mut job: Map<String, Value> =
        REQUIRED.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    job.insert(field.name.clone(), field.value.clone());
    let job = Value::Object(job);
    serde_path_to_error::deserialize::<_, JobSpec>(&job)
        .map(drop)
        .map_err(|error| (error.path().to_string(), error.inner().to_string()))
}
