//! Whatever a file holds, it is read or refused.

use proptest::prelude::*;

use super::*;

/// Pieces of job files, to be put together at random.
const PIECES: [&str; 43] = [
    "name",
    "target",
    "command",
    "rule",
    "params",
    "job",
    "cron",
    "every",
    "at",
    "=",
    ":",
    ",",
    ".",
    "[",
    "]",
    "[[job]]\n",
    "[[calendar]]\n",
    "calendar",
    "dates",
    "[rule]\n",
    "{",
    "}",
    "\"",
    "'",
    "\n",
    "\\u0000",
    "\\uD800",
    "# ",
    "\"all\"",
    "\"now\"",
    "\"1s\"",
    "'@daily'",
    "2026-12-01T02:00:00Z",
    "2026-12-01",
    "07:32",
    "-1",
    "1e999",
    "inf",
    "0xFFFFFFFFFFFFFFFF",
    "true",
    "null",
    "\u{feff}",
    "é",
];

fn pieces() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(&PIECES), 0..40)
        .prop_map(|pieces| pieces.concat())
}

/// A good file of which one part is replaced.
fn damaged() -> impl Strategy<Value = (String, String)> {
    let in_toml = "# c\n[[calendar]]\nname = \"c\"\ndates = [2026-12-24]\n[[job]]\nname = \"a\"\ntarget = \"all\"\ncommand = \"x\"\n\
                   rule = { every = \"1s\" }\n";
    let in_json = "{\"job\": [\n{\"name\": \"a\", \"target\": \"all\", \"command\": \"x\",\n\
                   \"rule\": {\"every\": \"1s\"}}\n],\n\
                   \"calendar\": [{\"name\": \"c\", \"weekdays\": [\"sat\"]}]}";
    let damage = |text: &'static str| {
        (0..text.len(), 0..8_usize, prop_oneof![pieces(), Just(String::new()), ".{0,6}"]).prop_map(
            move |(at, length, with)| {
                let end = (at + length).min(text.len());
                format!("{}{with}{}", &text[..at], &text[end..])
            },
        )
    };
    (damage(in_toml), damage(in_json))
}

fn check(text: &str, format: Format) -> Result<(), TestCaseError> {
    let lines = text.matches('\n').count() + 1;
    match parse(text, Path::new("x"), format) {
        Ok(Loaded { calendars, jobs }) => {
            prop_assert!(!jobs.is_empty() || !calendars.is_empty());
            let calendars = calendars.iter().map(|calendar| calendar.line);
            let mut places = jobs.iter().map(|job| job.line).chain(calendars);
            prop_assert!(places.all(|line| (1..=lines).contains(&line)));
        }
        Err(errors) => {
            prop_assert!(!errors.errors.is_empty());
            let places = errors.errors.iter().filter_map(|error| error.line);
            prop_assert!(places.into_iter().all(|line| (1..=lines).contains(&line)));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in prop_oneof![".{0,60}", "(?s).{0,60}", pieces()]) {
        check(&text, Format::Toml)?;
        check(&text, Format::Json)?;
    }

    #[test]
    fn a_damaged_file_is_read_or_refused((in_toml, in_json) in damaged()) {
        check(&in_toml, Format::Toml)?;
        check(&in_json, Format::Json)?;
    }
}
