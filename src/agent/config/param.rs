//! Reads the declaration of a parameter.
//!
//! Promises: a default fits its own rule; a field that the type does not have is refused.
//! Imports the agent's params.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use toml::de::DeValue;

use super::fields::{ConfigError, Field, Table};
use crate::agent::params::{Param, ParamRule, Pattern};

/// The most characters of a text, when its param does not say otherwise.
pub const DEFAULT_MAX_LENGTH: usize = 1_000;
/// The most characters that a text's `max_length` may allow; an argument has room for them all.
pub const MAX_MAX_LENGTH: usize = 16_384;

/// Reads a param; `leads` says whether its value can begin an argument.
pub(super) fn read(field: &Field<'_>, leads: bool) -> Result<Param, ConfigError> {
    let kind = kind(field)?;
    let known: &[&str] = match kind {
        Kind::String => &["type", "default", "allow_leading_dash", "pattern", "max_length"],
        Kind::Path => &["type", "default", "allow_leading_dash", "below", "must_exist"],
        Kind::Integer => &["type", "default", "min", "max"],
        Kind::Choice => &["type", "default", "of"],
    };
    let table = field.table(known)?;
    let rule = match kind {
        Kind::String => read_text(&table)?,
        Kind::Integer => read_integer(&table)?,
        Kind::Choice => read_choice(&table)?,
        Kind::Path => read_path(&table)?,
    };
    let dash = table.optional("allow_leading_dash").map(|field| field.boolean()).transpose()?;
    let refuse_leading_dash = leads && !dash.unwrap_or(false);
    let mut param = Param { rule, default: None, refuse_leading_dash };
    if let Some(field) = table.optional("default") {
        let value = json(&field)?;
        param.check_default(&value).map_err(|problem| field.bad(problem))?;
        param.default = Some(value);
    }
    Ok(param)
}

#[derive(Clone, Copy)]
enum Kind {
    String,
    Integer,
    Choice,
    Path,
}

/// The type comes first: which other fields a param may have depends on it.
fn kind(field: &Field<'_>) -> Result<Kind, ConfigError> {
    let all = ["type", "default", "allow_leading_dash"];
    let all = [&all[..], &["pattern", "max_length", "min", "max", "of", "below", "must_exist"]];
    let kind = field.table(&all.concat())?.required("type")?;
    match kind.string()? {
        "string" => Ok(Kind::String),
        "integer" => Ok(Kind::Integer),
        "choice" => Ok(Kind::Choice),
        "path" => Ok(Kind::Path),
        _ => Err(kind.bad("must be string, integer, choice or path")),
    }
}

fn json(field: &Field<'_>) -> Result<Value, ConfigError> {
    match field.value() {
        DeValue::Integer(_) => field.integer().map(Value::from),
        DeValue::String(text) => Ok(Value::from(text.as_ref())),
        _ => Err(field.bad("must be a string or an integer")),
    }
}

fn read_text(table: &Table<'_>) -> Result<ParamRule, ConfigError> {
    let read_pattern = |field: Field<'_>| {
        Pattern::new(field.string()?)
            .map_err(|error| field.bad(format!("is no regular expression: {}", last_line(&error))))
    };
    let pattern = table.optional("pattern").map(read_pattern).transpose()?;
    let max_length = match table.optional("max_length") {
        Some(field) => field.between(1, MAX_MAX_LENGTH)?,
        None => DEFAULT_MAX_LENGTH,
    };
    Ok(ParamRule::Text { pattern, max_length })
}

/// What is wrong with a pattern: `regex` draws a picture and says it in the last line.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

fn read_integer(table: &Table<'_>) -> Result<ParamRule, ConfigError> {
    let min = table.optional("min").map(|field| field.integer()).transpose()?.unwrap_or(i64::MIN);
    let max = match table.optional("max") {
        Some(field) => {
            let max = field.integer()?;
            if max < min {
                return Err(field.bad(format!("is below min = {min}")));
            }
            max
        }
        None => i64::MAX,
    };
    Ok(ParamRule::Integer { min, max })
}

fn read_choice(table: &Table<'_>) -> Result<ParamRule, ConfigError> {
    let field = table.required("of")?;
    let mut of = Vec::new();
    for element in field.elements()? {
        let choice = element.string()?.to_owned();
        if choice.contains('\0') {
            return Err(element.bad("contains a NUL character"));
        }
        if of.contains(&choice) {
            return Err(element.bad("is given twice"));
        }
        of.push(choice);
    }
    if of.is_empty() {
        return Err(field.bad("must have at least one choice"));
    }
    Ok(ParamRule::Choice { of })
}

fn read_path(table: &Table<'_>) -> Result<ParamRule, ConfigError> {
    let field = table.required("below")?;
    let below = PathBuf::from(field.string()?);
    if !is_plain(&below) {
        return Err(field.bad("must be absolute and without .."));
    }
    let must_exist = table.optional("must_exist").map(|field| field.boolean()).transpose()?;
    Ok(ParamRule::Path { below, must_exist: must_exist.unwrap_or(false) })
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}
