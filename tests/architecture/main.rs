//! The rules of the source that a compiler does not know: who may import whom, how long a file
//! and a function may be, and what may stand where. Each failure names the file and the line.

#![expect(clippy::unwrap_used, reason = "the patterns are constants")]

mod scan;
mod security;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use scan::{Source, line_of};

/// Types and pure functions, below everything else; they may use each other.
const DOMAIN: &str = "actor bucket bytes calendar client_record command_limit delivery_state forecast id idempotency job \
     job_diff job_past json keep label live pause policy replay rollout run schedule size \
     statistics store_kind suggest target time";

/// Each top-level module and the others that it may import. `domain` stands for [`DOMAIN`].
/// Imports point upwards here: a module may name only those in rows above its own.
const TABLE: &[(&str, &str)] = &[
    ("seeded_bugs", ""),
    ("fuzz", ""),
    ("security", ""),
    ("domain", ""),
    ("engine", "domain"),
    ("recording", "domain engine fuzz"),
    ("lock_file", ""),
    ("store", "domain engine lock_file fuzz"),
    ("history", "domain engine store"),
    ("reenact", "domain engine recording store history"),
    ("explain", "domain engine store history"),
    ("node", "domain engine explain recording store history"),
    ("access", "domain"),
    ("agent", "domain fuzz"),
    ("job_files", "domain"),
    ("handlers", "domain"),
    ("wire", "domain fuzz"),
    ("client", "domain handlers lock_file wire fuzz"),
    ("server", "domain engine handlers node wire"),
    ("housekeeping", "domain engine store history node"),
    ("api", "domain access engine explain history node fuzz"),
    ("remote", "domain api engine explain history node"),
    ("fuzzing", "domain fuzz history recording store job_files wire agent client api"),
    (
        "cli",
        "domain engine explain store history node access agent job_files handlers reenact wire client server \
         housekeeping api remote",
    ),
];

/// Lines of a file, at most.
const FILE_LINES: usize = 500;

/// Lines of a function, at most; those of tests may be longer.
const FUNCTION_LINES: usize = 60;

/// Lines of `main.rs`, at most: all it does is in the library.
const MAIN_LINES: usize = 40;

/// The modules that a module may import; `None`: the table does not have it.
fn allowed(module: &str) -> Option<Vec<&'static str>> {
    let row = if DOMAIN.split(' ').any(|name| name == module) { "domain" } else { module };
    let (_, imports) = TABLE.iter().find(|(name, _)| *name == row)?;
    let mut modules: Vec<&str> = imports.split_whitespace().collect();
    if row == "domain" || modules.contains(&"domain") {
        modules.extend(DOMAIN.split(' '));
    }
    Some(modules)
}

fn imports(source: &Source, reexports: &BTreeMap<String, String>) -> Vec<String> {
    let module = source.module();
    if module == "lib" || module == "main" {
        return Vec::new();
    }
    let Some(allowed) = allowed(module) else {
        let why = "is not in the table of imports: add it to the table in tests/architecture";
        return vec![format!("{}:1: module {module} {why}", source.path)];
    };
    let mut wrong = Vec::new();
    for (byte, name) in scan::crate_paths(&source.shipped) {
        let imported = reexports.get(&name).unwrap_or(&name);
        if imported != module && !allowed.contains(&imported.as_str()) {
            let line = line_of(&source.shipped, byte);
            let named = if *imported == name { "" } else { &format!(" (by crate::{name})") };
            wrong.push(format!(
                "{}:{line}: {module} may not import {imported}{named}; it may import: {}",
                source.path,
                allowed.join(", ")
            ));
        }
    }
    // From a file, as many `super::` as it is deep lead out of its module, past the rule above.
    let depth = source.path.trim_end_matches("/mod.rs").matches('/').count();
    let out = format!("use {}", "super::".repeat(depth));
    for (line, text) in source.shipped.lines().enumerate() {
        if text.trim_start_matches("pub ").starts_with(&out) {
            let line = line + 1;
            wrong.push(format!("{}:{line}: `super` leads to the root; write `crate`", source.path));
        }
    }
    wrong
}

fn heads_and_lengths(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    if !source.text.starts_with("//!") {
        let why = "a file begins with `//!`: what it is for, what it promises, what it may import";
        wrong.push(format!("{}:1: {why}", source.path));
    }
    let most = if source.path == "src/main.rs" { MAIN_LINES } else { FILE_LINES };
    let lines = source.text.lines().count();
    if lines > most {
        wrong.push(format!("{}:{lines}: {lines} lines; the most is {most}", source.path));
    }
    for (name, line, lines) in scan::functions(&source.shipped) {
        if lines > FUNCTION_LINES {
            let path = &source.path;
            wrong
                .push(format!("{path}:{line}: fn {name} has {lines} lines, over {FUNCTION_LINES}"));
        }
    }
    wrong
}

/// What is banned, in which part of a file, where it may stand all the same, and why.
type Ban = (Regex, fn(&Source) -> &str, &'static str, &'static str);

static BANS: LazyLock<Vec<Ban>> = LazyLock::new(|| {
    let all: fn(&Source) -> &str = |source| &source.text;
    let code: fn(&Source) -> &str = |source| &source.code;
    let shipped: fn(&Source) -> &str = |source| &source.shipped;
    let clock = r"\b(SystemTime|Utc|Local)\s*::\s*now\b";
    [
        (clock, code, "src/time.rs", "time is an input; ask time::SystemClock"),
        (r"\be?print(ln)?!", shipped, "src/cli/", "only the command line prints"),
        (r"\bdbg!", code, "nowhere", "a trace left over"),
        (r"\b(todo|unimplemented)!", code, "nowhere", "no stubs"),
        (r"\b(FIXME|TODO|XXX)\b", all, "nowhere", "finish it, or write down the decision"),
        (r"\bunsafe\b", code, "nowhere", "no unsafe code"),
    ]
    .into_iter()
    .map(|(pattern, part, except, why)| (Regex::new(pattern).unwrap(), part, except, why))
    .collect()
});

fn banned(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (pattern, part, except, why) in &*BANS {
        if source.path.starts_with(*except) {
            continue;
        }
        let part = part(source);
        for found in pattern.find_iter(part) {
            let line = line_of(part, found.start());
            wrong.push(format!("{}:{line}: `{}`: {why}", source.path, found.as_str()));
        }
    }
    wrong
}

fn every_rule(source: &Source, reexports: &BTreeMap<String, String>) -> Vec<String> {
    [imports(source, reexports), heads_and_lengths(source), banned(source)].concat()
}

fn library() -> (Vec<Source>, BTreeMap<String, String>) {
    let sources = scan::read_all("src");
    let lib = sources.iter().find(|source| source.path == "src/lib.rs").expect("a library");
    let reexports = scan::reexports(&lib.code);
    (sources, reexports)
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} against the rules:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn imports_point_one_way() {
    let (sources, reexports) = library();
    assert!(reexports.contains_key("Handle"), "lib.rs is read: {reexports:?}");
    let wrong = sources.iter().flat_map(|source| imports(source, &reexports));
    assert_none(&wrong.collect::<Vec<_>>());
}

#[test]
fn files_and_functions_are_short_and_files_say_what_they_are_for() {
    let (sources, _) = library();
    assert!(sources.len() > 50, "the sources are found");
    assert_none(&sources.iter().flat_map(heads_and_lengths).collect::<Vec<_>>());
}

#[test]
fn nothing_stands_where_it_is_banned() {
    let (sources, _) = library();
    assert_none(&sources.iter().flat_map(banned).collect::<Vec<_>>());
}

#[test]
fn the_table_has_no_circle() {
    for (n, (module, imports)) in TABLE.iter().enumerate() {
        for import in imports.split_whitespace() {
            let above = TABLE[..n].iter().any(|(name, _)| *name == import);
            assert!(above, "{module} imports {import}, which is not in a row above it");
        }
    }
}

/// A source that breaks one rule, and the words that tell.
#[test]
fn every_rule_can_fail() {
    let reexports = [("Handle".to_owned(), "node".to_owned())].into();
    let long_function = format!("//! Long.\nfn long() {{\n{}}}\n", "    go();\n".repeat(60));
    let long_file = format!("//! Long.\n{}", "use std::fmt;\n".repeat(500));
    for (path, text, expected) in [
        (
            "src/engine/a.rs",
            "//! A.\nuse crate::store::Store;",
            "a.rs:2: engine may not import store",
        ),
        (
            "src/job.rs",
            "//! A.\nuse crate::{\n    id::{JobId, Serial},\n    Handle,\n};",
            "job.rs:4: job may not import node (by crate::Handle)",
        ),
        (
            "src/wire/a.rs",
            "//! A.\nfn a() { crate::engine::b() }",
            "a.rs:2: wire may not import engine",
        ),
        ("src/engine/a.rs", "//! A.\nuse super::super::store::Store;", "a.rs:2: `super` leads"),
        ("src/new/mod.rs", "//! A.\n", "mod.rs:1: module new is not in the table"),
        ("src/time.rs", "use std::fmt;", "time.rs:1: a file begins with"),
        ("src/engine/a.rs", &long_function, "a.rs:2: fn long has 62 lines"),
        ("src/engine/a.rs", &long_file, "a.rs:501: 501 lines"),
        ("src/node/a.rs", "//! A.\n\nfn a() { Utc::now() }", "a.rs:3: `Utc::now`"),
        ("src/node/a.rs", "//! A.\nfn a() { eprintln!() }", "a.rs:2: `eprintln!`"),
        ("src/node/a.rs", "//! A.\nfn a() { unsafe {} }", "a.rs:2: `unsafe`"),
        ("src/node/a.rs", "//! A.\nfn a() { todo!() }", "a.rs:2: `todo!`"),
        ("src/node/a.rs", concat!("//! A.\n// FIX", "ME: later"), "a.rs:2: `FIXME`"),
    ] {
        let wrong = every_rule(&Source::new(path, text), &reexports);
        assert!(wrong.len() == 1 && wrong[0].contains(expected), "{path} {text}: {wrong:?}");
    }
}

#[test]
fn comments_texts_and_tests_break_no_rule() {
    let reexports = BTreeMap::new();
    let text = r##"//! See [`crate::store`].
use crate::id::JobId;

/// Not `println!`, /* nor */ `crate::node`.
fn a<'a>(quote: char, _: &'a str) -> bool {
    let text = "crate::node \" println!" ;
    let raw = r#"unsafe "crate::cli" {"#;
    quote == '"' || quote == '\'' || quote == '{' || text == raw
}

#[cfg(test)]
use crate::store::MemoryStore;

#[cfg(test)]
mod tests {
    fn b() {
        println!("{}", crate::node::x());
    }
}
"##;
    assert_none(&every_rule(&Source::new("src/engine/a.rs", text), &reexports));
    let text = "//! A.\nuse crate::node::Node;\nfn a() { println!() }";
    assert_none(&every_rule(&Source::new("src/engine/tests/a.rs", text), &reexports));
}
