//! What parameters a command takes, and the check of those that came.
//!
//! Promises: a value that passes fits its declared rule wholly, holds no NUL character, and does
//! not begin an argument with `-` unless its declaration allows it.
//! Imports the JSON type.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use regex::Regex;
use serde_json::Value;

use super::config::shorten;
use super::path::resolve_below;
use crate::json::Json;
use crate::suggest::did_you_mean;

/// A declared parameter.
#[derive(Debug, Clone)]
pub(super) struct Param {
    pub(super) rule: ParamRule,
    /// The value of a param that is not given; without it the param is required.
    pub(super) default: Option<Value>,
    /// Whether a value with a leading `-` is refused: it could begin an argument, where a program
    /// would take it for an option.
    pub(super) refuse_leading_dash: bool,
}

/// What values a parameter may have.
#[derive(Debug, Clone)]
pub(super) enum ParamRule {
    /// A text of at most `max_length` characters that matches the anchored `pattern` wholly.
    Text { pattern: Option<Pattern>, max_length: usize },
    /// An integer from `min` to `max`.
    Integer { min: i64, max: i64 },
    /// One of these texts.
    Choice { of: Vec<String> },
    /// A path at or below a directory.
    Path { below: PathBuf, must_exist: bool },
}

/// A regular expression that matches a text as a whole.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    written: String,
    whole: Regex,
}

impl Pattern {
    pub(super) fn new(written: &str) -> Result<Self, regex::Error> {
        // Alone first: `a)|(b` is no pattern, but would be one within the brackets below.
        Regex::new(written)?;
        let whole = Regex::new(&format!(r"\A(?:{written})\z"))?;
        Ok(Self { written: written.into(), whole })
    }
}

impl Param {
    /// The text that stands for `value` in an argument; the error says what is wrong with it.
    pub(super) fn check(&self, value: &Value) -> Result<OsString, String> {
        match &self.rule {
            ParamRule::Path { below, must_exist } => self.path(value, below, *must_exist),
            ParamRule::Text { pattern, max_length } => {
                let text = self.text(value)?;
                let length = text.chars().count();
                if length > *max_length {
                    return Err(format!("has {length} characters; the most is {max_length}"));
                }
                match pattern {
                    Some(pattern) if !pattern.whole.is_match(text) => {
                        Err(format!("does not match the pattern {:?}", pattern.written))
                    }
                    _ => Ok(text.into()),
                }
            }
            ParamRule::Integer { min, max } => integer(value, *min, *max),
            ParamRule::Choice { of } => match value.as_str() {
                Some(text) if of.iter().any(|allowed| allowed == text) => Ok(text.into()),
                Some(text) => Err(format!(
                    "must be one of {}{}",
                    of.join(", "),
                    did_you_mean(text, of.iter().map(String::as_str))
                )),
                None => Err(wrong_type("a string", value)),
            },
        }
    }

    /// The same for a default when the configuration is loaded: a path need not exist yet.
    pub(super) fn check_default(&self, value: &Value) -> Result<(), String> {
        match &self.rule {
            ParamRule::Path { below, .. } => self.path(value, below, false),
            _ => self.check(value),
        }
        .map(drop)
    }

    fn text<'a>(&self, value: &'a Value) -> Result<&'a str, String> {
        let text = value.as_str().ok_or_else(|| wrong_type("a string", value))?;
        if text.contains('\0') {
            return Err("contains a NUL character".into());
        }
        if self.refuse_leading_dash && text.starts_with('-') {
            return Err("begins with \"-\", which the program would take for an option".into());
        }
        Ok(text)
    }

    fn path(
        &self,
        value: &Value,
        below: &std::path::Path,
        must_exist: bool,
    ) -> Result<OsString, String> {
        let text = self.text(value)?;
        if text.is_empty() {
            return Err("is empty".into());
        }
        resolve_below(text, below, must_exist).map(Into::into)
    }
}

fn integer(value: &Value, min: i64, max: i64) -> Result<OsString, String> {
    if !(value.is_i64() || value.is_u64()) {
        return Err(wrong_type("an integer", value));
    }
    value
        .as_i64()
        .filter(|number| (min..=max).contains(number))
        .map(|number| number.to_string().into())
        .ok_or_else(|| format!("must be {min} to {max}"))
}

fn wrong_type(wanted: &str, value: &Value) -> String {
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fraction or beyond 64 bits",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    format!("must be {wanted}, not {is}")
}

/// The values of a command's parameters, by name; the error is the reason of a rejection.
pub(super) fn check_params<'a>(
    declared: &'a BTreeMap<String, Param>,
    params: &Json,
) -> Result<BTreeMap<&'a str, OsString>, String> {
    let given: Value = params
        .to()
        .map_err(|error| format!("params {} are no JSON: {error}", shorten(params.text())))?;
    let Value::Object(given) = given else {
        return Err(format!(
            "params {}: {}",
            shorten(params.text()),
            wrong_type("an object", &given)
        ));
    };
    for (name, value) in &given {
        if !declared.contains_key(name) {
            return Err(unknown(declared, name, value));
        }
    }
    let mut values = BTreeMap::new();
    for (name, param) in declared {
        let value = given
            .get(name)
            .or(param.default.as_ref())
            .ok_or_else(|| format!("param {name:?} is missing"))?;
        let text = param.check(value).map_err(|problem| {
            format!("param {name:?} = {}: {problem}", shorten(&value.to_string()))
        })?;
        values.insert(name.as_str(), text);
    }
    Ok(values)
}

fn unknown(declared: &BTreeMap<String, Param>, name: &str, value: &Value) -> String {
    let names = || declared.keys().map(String::as_str);
    let known = if declared.is_empty() {
        "the command takes none".to_owned()
    } else {
        format!("known are {}", names().collect::<Vec<_>>().join(", "))
    };
    format!(
        "param {:?} = {} is unknown{}; {known}",
        shorten(name),
        shorten(&value.to_string()),
        did_you_mean(name, names()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Config;

    /// The params of a command that uses each of these declarations as `--of={name}`, and the
    /// first also as a whole argument.
    fn declared(params: &str) -> BTreeMap<String, Param> {
        let names: Vec<_> = params.lines().filter_map(|line| line.split_once(" = ")).collect();
        let args: Vec<_> = names.iter().map(|(name, _)| format!("--of={{{name}}}")).collect();
        let text = format!(
            "[[command]]\nname = \"c\"\nprogram = \"cat\"\nargs = {:?}\n[command.params]\n{params}",
            [&args[..], &[format!("{{{}}}", names[0].0)]].concat()
        );
        let mut config = Config::parse(&text, "test.toml".as_ref()).unwrap();
        config.commands.remove("c").unwrap().params
    }

    #[test]
    fn values_that_fit_become_texts() {
        let declared = declared(
            "word = { type = \"string\", pattern = \"a|ab\" }\n\
             port = { type = \"integer\", min = -1, max = 65535, default = 443 }\n\
             mode = { type = \"choice\", of = [\"fast\", \"-x\"] }\n\
             free = { type = \"string\", max_length = 3 }\n\
             dir = { type = \"path\", below = \"/\", default = \"usr\" }",
        );
        let params = r#"{"word": "ab", "mode": "-x", "free": "-ü;"}"#.parse().unwrap();
        let values = check_params(&declared, &params).unwrap();
        let values: Vec<_> = values.iter().map(|(k, v)| (*k, v.to_str().unwrap())).collect();
        let expected =
            [("dir", "/usr"), ("free", "-ü;"), ("mode", "-x"), ("port", "443"), ("word", "ab")];
        assert_eq!(values, expected);
        let params = r#"{"word": "a", "mode": "fast", "free": "", "port": -1}"#.parse().unwrap();
        assert_eq!(check_params(&declared, &params).unwrap()["port"], "-1");
    }

    #[test]
    fn rejections_name_param_and_value() {
        let all = "word = { type = \"string\", pattern = \"[a-z-]+\", max_length = 5, default = \"a\" }\n\
                   port = { type = \"integer\", min = 1, max = 9, default = 4 }\n\
                   mode = { type = \"choice\", of = [\"fast\", \"slow\"], default = \"fast\" }\n\
                   dir = { type = \"path\", below = \"/usr\", must_exist = true, default = \"/usr\" }";
        let declared = declared(all);
        let long = format!(r#"{{"word": "{}"}}"#, "x".repeat(1_000));
        let shown = format!("\"{}…", "x".repeat(119));
        for (params, reason) in [
            ("[1]", "params [1]: must be an object, not an array"),
            ("null", "params null: must be an object, not null"),
            (
                r#"{"prot": 1}"#,
                r#"param "prot" = 1 is unknown; did you mean "port"?; known are dir, mode, port, word"#,
            ),
            (r#"{"port": "1"}"#, r#"param "port" = "1": must be an integer, not a string"#),
            (
                r#"{"port": 1.0}"#,
                r#"param "port" = 1.0: must be an integer, not a fraction or beyond 64 bits"#,
            ),
            (r#"{"port": 0}"#, r#"param "port" = 0: must be 1 to 9"#),
            (
                r#"{"port": 18446744073709551615}"#,
                r#"param "port" = 18446744073709551615: must be 1 to 9"#,
            ),
            (r#"{"port": null}"#, r#"param "port" = null: must be an integer, not null"#),
            (r#"{"word": true}"#, r#"param "word" = true: must be a string, not a boolean"#),
            (r#"{"word": "a b"}"#, r#"param "word" = "a b": does not match the pattern "[a-z-]+""#),
            (r#"{"word": "a\n"}"#, r#"param "word" = "a\n": does not match the pattern "[a-z-]+""#),
            (r#"{"word": "a\u0000"}"#, r#"param "word" = "a\u0000": contains a NUL character"#),
            (
                r#"{"word": "-rf"}"#,
                r#"param "word" = "-rf": begins with "-", which the program would take for an option"#,
            ),
            (&long, &format!(r#"param "word" = {shown}: has 1000 characters; the most is 5"#)),
            (
                r#"{"mode": "slwo"}"#,
                r#"param "mode" = "slwo": must be one of fast, slow; did you mean "slow"?"#,
            ),
            (r#"{"mode": 1}"#, r#"param "mode" = 1: must be a string, not an integer"#),
            (r#"{"dir": ""}"#, r#"param "dir" = "": is empty"#),
            (r#"{"dir": "../etc"}"#, r#"param "dir" = "../etc": is not below /usr"#),
            (r#"{"dir": "/usr/none"}"#, r#"param "dir" = "/usr/none": does not exist"#),
            (r#"{"dir": "/usr\u0000"}"#, r#"param "dir" = "/usr\u0000": contains a NUL character"#),
        ] {
            let params = params.parse().unwrap();
            assert_eq!(check_params(&declared, &params).unwrap_err(), reason);
        }
    }

    #[test]
    fn required_params_and_commands_without_any() {
        let empty = Json::empty();
        let required = declared("word = { type = \"string\" }");
        assert_eq!(check_params(&required, &empty).unwrap_err(), "param \"word\" is missing");
        let none = BTreeMap::new();
        assert!(check_params(&none, &empty).unwrap().is_empty());
        assert_eq!(
            check_params(&none, &r#"{"a": 1}"#.parse().unwrap()).unwrap_err(),
            "param \"a\" = 1 is unknown; the command takes none"
        );
    }

    #[test]
    fn a_leading_dash_passes_where_it_is_allowed() {
        let allowed = declared("word = { type = \"string\", allow_leading_dash = true }");
        let params = r#"{"word": "-rf"}"#.parse().unwrap();
        assert_eq!(check_params(&allowed, &params).unwrap()["word"], "-rf");
    }
}
