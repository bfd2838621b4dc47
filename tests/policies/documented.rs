//! The tables in the engine's documentation have the rows and columns that are tested, and none
//! else.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{catch_up, overlap};

/// The rows of a module's tables: each line's cells, without the code marks of names.
fn rows(module: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine").join(module);
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("//! |")?.strip_suffix('|'));
    let cells = lines.map(|line| line.split('|').map(|cell| cell.trim().replace('`', "")));
    cells.map(Iterator::collect).filter(|row: &Vec<_>| row[0] != "---").collect()
}

#[test]
fn the_rows_of_catch_up() {
    let rows = rows("missed.rs");
    let (head, rows) = rows.split_first().unwrap();
    assert_eq!(head[2..], ["latest", "all", "skip"]);
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, catch_up::ROWS);
}

#[test]
fn the_cells_of_overlap() {
    let mut documented = BTreeSet::new();
    let mut head: Vec<String> = Vec::new();
    for row in rows("overlap.rs") {
        if row[0] == "client" || row[0] == "job" {
            head = row;
            continue;
        }
        for (policy, cell) in head[1..].iter().zip(&row[1..]) {
            // What stands in brackets explains the word before it.
            let word = cell.split(" (").next().unwrap().to_owned();
            documented.insert([head[0].clone(), policy.clone(), row[0].clone(), word]);
        }
    }
    let tested = overlap::cells().into_iter().map(|cell| cell.map(str::to_owned));
    assert_eq!(documented, tested.collect());
}
