//! Any bytes as an agent's configuration, for [`crate::fuzzing`].
//!
//! Imports the JSON type.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use super::config::{
    MAX_CONFIG, MAX_GRACE, MAX_MAX_LENGTH, MAX_OUTPUT_LIMIT, MAX_TIME_LIMIT, shorten,
};
use super::params::{Param, ParamRule, check_params};
use super::{AllowedCommand, Config, ConfigError, MAX_ARTEFACT_COUNT, MAX_ARTEFACTS};
use crate::fuzz::told;
use crate::json::Json;

/// What stands between a configuration and the params that each of its commands is asked for.
const PARAMS: &str = "\n%%\n";

/// The text of a configuration, and behind [`PARAMS`] a JSON. What is read holds together and is
/// the same from the same document written otherwise; an error names a line that is there.
pub(crate) fn agent(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, params) = text.split_once(PARAMS).unwrap_or((text, "{}"));
    assert!(text.len() as u64 <= MAX_CONFIG);
    let config = match Config::parse(text, Path::new("x/agent.toml")) {
        Ok(config) => config,
        Err(error) => {
            told(&error, text.len());
            let ConfigError::Invalid { line, .. } = error else { panic!("{error}") };
            return assert!((1..=text.matches('\n').count() + 1).contains(&line), "{error}");
        }
    };
    let document: toml::Table = text.parse().expect("it was read");
    let written = document.to_string();
    let again = Config::parse(&written, Path::new("x/agent.toml"));
    let again = again.unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(format!("{again:?}"), format!("{config:?}"), "{written}");
    let params: Option<Json> = params.parse().ok();
    for command in config.commands.values() {
        holds_together(command);
        if let Some(params) = &params {
            asked(command, params);
        }
    }
}

fn holds_together(command: &AllowedCommand) {
    assert!(command.program.is_absolute() && command.working_dir.is_absolute(), "{command:?}");
    assert!((Duration::from_millis(1)..=MAX_TIME_LIMIT).contains(&command.time_limit));
    assert!(command.grace <= MAX_GRACE && command.output_limit <= MAX_OUTPUT_LIMIT);
    assert!(command.success_codes.iter().all(|code| (0..=255).contains(code)));
    assert!(!command.success_codes.is_empty());
    assert!(command.artefacts.len() <= MAX_ARTEFACT_COUNT);
    assert!(command.artefact_limit <= MAX_ARTEFACTS);
    for (name, param) in &command.params {
        let used = |arg: &super::template::Template| arg.params().any(|used| used == name);
        assert!(command.args.iter().any(used), "{name} is used");
        let leads = |arg: &super::template::Template| arg.leading_params().any(|it| it == name);
        assert!(param.refuse_leading_dash <= command.args.iter().any(leads), "{name} leads");
        if let ParamRule::Text { max_length, .. } = param.rule {
            assert!((1..=MAX_MAX_LENGTH).contains(&max_length));
        }
    }
    let declared = |used| command.params.contains_key(used);
    assert!(command.args.iter().all(|arg| arg.params().all(declared)), "{command:?}");
}

/// What a command is called with from these params: one argument for each that it lists, with values
/// that fit.
fn asked(command: &AllowedCommand, params: &Json) {
    let values = match check_params(&command.params, params) {
        Ok(values) => values,
        Err(reason) => return drop(told(&reason, params.text().len() + declared(command))),
    };
    assert!(values.keys().copied().eq(command.params.keys()), "each has a value");
    for (name, value) in &values {
        fits(&command.params[*name], value);
    }
    for arg in &command.args {
        let rendered = arg.render(&values);
        assert!(!rendered.as_bytes().contains(&0), "{}", rendered.display());
    }
}

/// Bytes of what an error may repeat of a declaration.
fn declared(command: &AllowedCommand) -> usize {
    format!("{:?}", command.params).len()
}

fn fits(param: &Param, value: &OsStr) {
    let shown = || shorten(&format!("{} of {param:?}", value.display()));
    let text = value.to_str().expect("it was JSON");
    match &param.rule {
        ParamRule::Text { max_length, .. } => {
            assert!(text.chars().count() <= *max_length, "{}", shown());
            assert!(!param.refuse_leading_dash || !text.starts_with('-'), "{}", shown());
        }
        ParamRule::Integer { min, max } => {
            let number = text.parse().expect("a number");
            assert!((*min..=*max).contains(&number), "{}", shown());
        }
        ParamRule::Choice { of } => assert!(of.iter().any(|one| one == text), "{}", shown()),
        ParamRule::Path { below, .. } => {
            // Both as they are behind links.
            let root = below.canonicalize().unwrap_or_else(|_| below.clone());
            assert!(Path::new(text).starts_with(root), "{}", shown());
        }
    }
}
