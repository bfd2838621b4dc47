//! The lines of a file, one after the other.
//!
//! Promises: no line above [`MAX_LINE`] is held; an error has the line's number. Imports the line.

use std::io::{BufRead, Read as _};

use super::ImportError;
use super::line::Line;

/// The most bytes of one line.
pub const MAX_LINE: usize = 16 * 1024 * 1024;

/// Reads lines.
pub(super) struct Reader<R> {
    input: R,
    line: u64,
}

impl<R: BufRead> Reader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, line: 0 }
    }

    /// The next line with its number; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Line)>, ImportError> {
        let mut text = Vec::new();
        let most = MAX_LINE as u64 + 1;
        self.input.by_ref().take(most).read_until(b'\n', &mut text)?;
        if text.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        let line = self.line;
        if text.last() != Some(&b'\n') {
            let problem = if text.len() > MAX_LINE {
                format!("it has more than {MAX_LINE} bytes")
            } else {
                "the file ends within it".to_owned()
            };
            return Err(ImportError::Line { line, problem });
        }
        match Line::read(&text) {
            Ok(read) => Ok(Some((line, read))),
            Err(problem) => Err(ImportError::Line { line, problem }),
        }
    }

    /// The number of the last line.
    pub(super) fn line(&self) -> u64 {
        self.line
    }
}
