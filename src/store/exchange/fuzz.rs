//! Any bytes as lines of an export, for [`crate::fuzzing`].

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use super::line::{Header, Line, Trailer};
use super::{ExportQuery, ImportError, ImportOptions, export, import_into};
use crate::fuzz::told;
use crate::store::{MemoryStore, check, prepare};
use crate::time::Timestamp;

/// One line. What is read is written as a line that reads as the same.
pub(crate) fn line(data: &[u8]) {
    let line = match Line::read(data) {
        Ok(line) => line,
        Err(problem) => return drop(told(&problem, data.len())),
    };
    let text = line.text().expect("what was read can be written");
    let ends = text.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    assert!(ends == 1 && text.ends_with(b"\n"), "one line");
    // Line ends between the tokens of parameters and results are blanks now.
    let again = Line::read(&text).unwrap_or_else(|problem| panic!("{problem}: {}", show(&text)));
    let written = again.text().expect("again");
    assert_eq!(show(&written), show(&text));
    assert_eq!((again.record(), again.of_run()), (line.record(), line.of_run()));
}

/// The lines of a file between its header and its trailer, which are made to fit. What is imported
/// is sound, and is exported as what an import makes the same again of.
pub(crate) fn import(data: &[u8]) {
    let file = whole(data);
    let store = MemoryStore::new();
    prepare(&store).expect("memory takes all");
    match import_into(&mut Cursor::new(&file), &store, ImportOptions::default()) {
        Ok(_) => {}
        Err(error @ (ImportError::Line { .. } | ImportError::Conflict { .. })) => {
            assert!(told(&error, file.len()).starts_with("line "));
            return;
        }
        Err(error) => panic!("{error}: {}", show(&file)),
    }
    let report = check::check(Arc::new(store.copy())).expect("what is imported can be read");
    assert!(report.sound, "{:#?} in {}", report.faults, show(&file));
    let text = exported(&store);
    let copy = MemoryStore::new();
    prepare(&copy).expect("memory takes all");
    let again = import_into(&mut Cursor::new(&text), &copy, ImportOptions::default());
    assert!(again.is_ok(), "{again:?}: {}", show(&text));
    assert_eq!(show(&exported(&copy)), show(&text));
}

fn exported(store: &MemoryStore) -> Vec<u8> {
    let mut text = Vec::new();
    let now = Timestamp::from_millis(0);
    export(store, &ExportQuery::default(), now, &mut text).expect("what is sound is exported");
    text
}

fn whole(lines: &[u8]) -> Vec<u8> {
    let mut counts = BTreeMap::new();
    let read = lines.split(|byte| *byte == b'\n').filter_map(|text| Line::read(text).ok());
    for line in read {
        *counts.entry(line.record().to_owned()).or_default() += 1;
    }
    let header = Header::new(&ExportQuery::default(), Timestamp::from_millis(0));
    let text = |line: Line| line.text().expect("a line of ours can be written");
    let end: &[u8] = if lines.is_empty() || lines.ends_with(b"\n") { b"" } else { b"\n" };
    [&text(Line::Header(header))[..], lines, end, &text(Line::Trailer(Trailer { counts }))].concat()
}

fn show(text: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text)
}
