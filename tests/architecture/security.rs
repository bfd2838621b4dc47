//! The tables of the module `security` name tests: each must be there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use regex::Regex;

/// The rows of the tables that tell what is shown by which test: what, and by what.
fn rows(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .filter_map(|line| line.strip_prefix("//! | ")?.strip_suffix(" |")?.rsplit_once(" | "))
        .filter(|(_, by)| *by != "shown by" && !by.starts_with("---"))
        .collect()
}

/// The tests of a file: functions whose attributes say that they are tests.
fn tests(source: &str) -> Vec<&str> {
    let test =
        Regex::new(r"#\[(?:tokio::)?test(?:\([^)]*\))?\]\s*(?:#\[[^\]]*\]\s*)*(?:async )?fn (\w+)");
    let test = test.expect("a constant pattern");
    test.captures_iter(source).map(|found| found.get(1).map_or("", |name| name.as_str())).collect()
}

/// What is wrong with a row: a test that is not there, or none at all.
fn wrong(by: &str, read: &mut impl FnMut(&str) -> Option<String>) -> Vec<String> {
    // Nothing that could be shown: it says what is *not* promised.
    if by == "—" {
        return Vec::new();
    }
    let pair = Regex::new(r"^`([^`]+\.rs)` `(\w+)`$").expect("a constant pattern");
    let each = by.split(", ").filter_map(|one| {
        let Some(found) = pair.captures(one) else {
            return Some(format!("{one} is not a file and a test"));
        };
        let (file, name) = (&found[1], &found[2]);
        match read(file) {
            None => Some(format!("{file} cannot be read")),
            Some(source) if tests(&source).contains(&name) => None,
            Some(_) => Some(format!("{file} has no test {name}")),
        }
    });
    each.collect()
}

#[test]
fn every_test_that_the_tables_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut read = |path: &str| {
        let file = files.entry(path.to_owned());
        file.or_insert_with(|| fs::read_to_string(root.join(path)).ok()).clone()
    };
    let text = read("src/security.rs").expect("the module is there");
    let rows = rows(&text);
    assert!(rows.len() > 30, "the tables are read: {} rows", rows.len());
    let wrong: Vec<String> = rows.iter().flat_map(|(_, by)| wrong(by, &mut read)).collect();
    assert!(wrong.is_empty(), "src/security.rs:\n{}", wrong.join("\n"));
}

#[test]
fn a_test_that_is_not_there_is_seen() {
    let source =
        "#[test]\nfn one() {}\n#[tokio::test(flavor = \"x\")]\nasync fn two() {}\nfn three() {}";
    let mut read = |path: &str| (path == "a.rs").then(|| source.to_owned());
    for (by, expected) in [
        ("—", ""),
        ("`a.rs` `one`, `a.rs` `two`", ""),
        ("`a.rs` `one`, `a.rs` `three`", "a.rs has no test three"),
        ("`b.rs` `one`", "b.rs cannot be read"),
        ("a test", "a test is not a file and a test"),
    ] {
        assert_eq!(wrong(by, &mut read).join("; "), expected, "{by}");
    }
    let table = "//! | what | shown by |\n//! | --- | --- |\n//! | is a \\| b | `a.rs` `one` |\n";
    assert_eq!(rows(table), [("is a \\| b", "`a.rs` `one`")]);
}
