//! Rust source as the rules look at it: code without comments, texts and tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// One source file.
pub(crate) struct Source {
    /// From the package's root, such as `src/engine/core.rs`.
    pub(crate) path: String,
    /// The file as it is.
    pub(crate) text: String,
    /// The code, lines kept, with blanks in place of comments and texts.
    pub(crate) code: String,
    /// [`Source::code`] with blanks in place of what only tests compile; all of it in a test file.
    pub(crate) shipped: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = without_texts(text);
        let of_tests = Path::new(path).components().any(|part| {
            let part = part.as_os_str().to_string_lossy();
            part == "tests" || part == "tests.rs"
        });
        let shipped = if of_tests { blank(&code) } else { without_tests(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, shipped }
    }

    /// The top-level module that the file belongs to: `engine` for `src/engine/core.rs`.
    pub(crate) fn module(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        below.split(['/', '.']).next().unwrap_or(below)
    }
}

/// Every Rust file below a directory of the package, in the order of their paths.
pub(crate) fn read_all(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    walk(&root.join(directory), &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file can be read");
        let path = path.strip_prefix(root).expect("it is in the package");
        Source::new(&path.to_string_lossy(), &text)
    };
    paths.into_iter().map(read).collect()
}

fn walk(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a source directory can be read") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            walk(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// The line, from 1, of a byte.
pub(crate) fn line_of(code: &str, byte: usize) -> usize {
    code[..byte].matches('\n').count() + 1
}

/// What `lib.rs` re-exports: name to top-level module.
pub(crate) fn reexports(lib: &str) -> BTreeMap<String, String> {
    let exports = Regex::new(r"pub use (\w+)::(\{[^}]*\}|\w+)").unwrap();
    let name = Regex::new(r"\w+").unwrap();
    let mut modules = BTreeMap::new();
    for found in exports.captures_iter(lib) {
        for item in name.find_iter(&found[2]) {
            modules.insert(item.as_str().to_owned(), found[1].to_owned());
        }
    }
    modules
}

static CRATE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bcrate\s*::\s*(\w+|\{)").unwrap());

static FUNCTION: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bfn\s+(\w+)").unwrap());

/// At each place the first that fits is taken: comments, raw texts, texts, characters. A lifetime
/// has no closing quote and stays.
static TEXT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"//[^\n]*|(?s:/\*.*?\*/)"#,
        r###"|\bb?r"[^"]*"|\bb?r#"(?s:.*?)"#|\bb?r##"(?s:.*?)"##"###,
        r###"|\bb?r\x23{3}"(?s:.*?)"\x23{3}"###,
        r#"|"(?s:\\.|[^"\\])*"|'(?:\\[^\n]+?|[^'\\\n])'"#,
    ))
    .unwrap()
});

/// The first names after each `crate::`, with the byte where they stand. Groups give several.
pub(crate) fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    for found in CRATE.captures_iter(code) {
        let first = found.get(1).expect("the group always takes part");
        if first.as_str() != "{" {
            paths.push((first.start(), first.as_str().to_owned()));
            continue;
        }
        let end = closing(code, first.start()).unwrap_or(code.len());
        let mut depth = 0;
        let mut at_name = true;
        for (byte, c) in code[first.start()..end].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' => at_name = depth == 1,
                c if c.is_whitespace() => {}
                _ if at_name => {
                    let byte = first.start() + byte;
                    let rest = &code[byte..];
                    let word = |c: char| !c.is_alphanumeric() && c != '_';
                    let name = &rest[..rest.find(word).unwrap_or(rest.len())];
                    paths.push((byte, name.to_owned()));
                    at_name = false;
                }
                _ => {}
            }
        }
    }
    paths
}

/// Every function with a body: its name, its first line and how many lines it has.
pub(crate) fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut functions = Vec::new();
    for found in FUNCTION.captures_iter(code) {
        let whole = found.get(0).expect("a match has itself");
        let Some(open) = body(code, whole.end()) else { continue };
        let Some(close) = closing(code, open) else { continue };
        let first = line_of(code, whole.start());
        functions.push((found[1].to_owned(), first, line_of(code, close) - first + 1));
    }
    functions
}

/// Where the body of a function begins, if it has one.
fn body(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0;
    for (byte, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 => return None,
            '{' if depth == 0 => return Some(from + byte),
            _ => {}
        }
    }
    None
}

/// Where the brace that is opened at `open` is closed.
fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0;
    for (byte, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(open + byte),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { c } else { ' ' }).collect()
}

/// Blanks out each item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        let item = &rest[start..];
        let end = match body(item, MARK.len()) {
            Some(open) => closing(item, open).map_or(item.len(), |close| close + 1),
            None => item.find(';').map_or(item.len(), |semicolon| semicolon + 1),
        };
        kept.push_str(&rest[..start]);
        kept.push_str(&blank(&item[..end]));
        rest = &item[end..];
    }
    kept + rest
}

/// Blanks out comments, and what stands between quotes.
fn without_texts(text: &str) -> String {
    TEXT.replace_all(text, |found: &regex::Captures<'_>| blank(&found[0])).into_owned()
}
