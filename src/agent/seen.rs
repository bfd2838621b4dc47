//! What is seen of a program while it runs: its output as text, and lines that tell its progress.
//!
//! Promises: no character is torn between two reads; what is held back is bounded. Pure. Imports
//! `live`.

use crate::live::{LiveSink, OutputStream, Progress};

/// How a line begins that tells a progress.
const MARK: &str = "::progress ";

/// The longest line that can tell a progress, in bytes.
const LINE: usize = 1024;

/// One output of a program, on its way to those who watch.
pub(super) struct Seen<'a> {
    sink: &'a dyn LiveSink,
    stream: OutputStream,
    /// The start of a character that is not whole yet.
    torn: Vec<u8>,
    /// Lines are looked at for progress; this is the start of one that may tell it.
    lines: Option<Line>,
}

#[derive(Default)]
struct Line {
    held: String,
    /// The line under way is known to tell none.
    passed: bool,
}

impl<'a> Seen<'a> {
    /// With `lines`, a line that begins with the mark tells progress and is not shown.
    pub(super) fn new(sink: &'a dyn LiveSink, stream: OutputStream, lines: bool) -> Self {
        Self { sink, stream, torn: Vec::new(), lines: lines.then(Line::default) }
    }

    /// The program printed this.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let joined = (!self.torn.is_empty()).then(|| {
            let mut joined = std::mem::take(&mut self.torn);
            joined.extend_from_slice(bytes);
            joined
        });
        let bytes = joined.as_deref().unwrap_or(bytes);
        let mut text = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let is_last = chunks.peek().is_none();
            if is_last && is_start(chunk.invalid()) {
                self.torn = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.text(&text);
    }

    /// Nothing more comes: what was held back is shown.
    pub(super) fn end(&mut self) {
        if !std::mem::take(&mut self.torn).is_empty() {
            self.text("\u{fffd}");
        }
        let held = self.lines.as_mut().map(|line| std::mem::take(&mut line.held));
        if let Some(held) = held.filter(|held| !held.is_empty()) {
            self.line(&held);
        }
    }

    fn text(&mut self, text: &str) {
        if self.lines.is_none() {
            return self.show(text);
        }
        for part in text.split_inclusive('\n') {
            let Some(line) = &mut self.lines else { return };
            let ends = part.ends_with('\n');
            if line.passed {
                line.passed = !ends;
                self.show(part);
                continue;
            }
            line.held.push_str(part);
            let may_tell = line.held.starts_with(MARK) || MARK.starts_with(&line.held);
            if !ends && may_tell && line.held.len() < LINE {
                continue;
            }
            line.passed = !ends;
            let held = std::mem::take(&mut line.held);
            self.line(&held);
        }
    }

    /// A line, or as much of one as is sure.
    fn line(&self, line: &str) {
        match line.strip_prefix(MARK).and_then(progress) {
            Some(progress) => self.sink.progress(progress),
            None => self.show(line),
        }
    }

    fn show(&self, text: &str) {
        if !text.is_empty() {
            self.sink.output(self.stream, text);
        }
    }
}

/// What `40 copying` says.
fn progress(text: &str) -> Option<Progress> {
    let text = text.trim();
    let (number, note) = text.split_once(' ').unwrap_or((text, ""));
    let percent: u8 = number.trim_end_matches('%').parse().ok().filter(|n| *n <= 100)?;
    Some(Progress::new(Some(percent), Some(note.trim())))
}

/// Whether bytes that are not UTF-8 may be the start of a character.
fn is_start(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => false,
        Err(error) => error.error_len().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl LiveSink for Notes {
        fn progress(&self, progress: Progress) {
            self.0.lock().unwrap().push(format!("[{progress}]"));
        }

        fn output(&self, _: OutputStream, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }

    /// What is seen of an output that comes in pieces of `size` bytes.
    fn seen(bytes: &[u8], size: usize, lines: bool) -> String {
        let notes = Notes::default();
        let mut seen = Seen::new(&notes, OutputStream::Stdout, lines);
        bytes.chunks(size).for_each(|piece| seen.bytes(piece));
        seen.end();
        notes.0.into_inner().unwrap().concat()
    }

    #[test]
    fn any_pieces_show_the_same_text() {
        let text = "aé€🦀\n::progress 40 copying\nmid ::progress 1\n::progres\n::progress x\nend";
        for size in 1..text.len() {
            assert_eq!(seen(text.as_bytes(), size, false), text);
            let told = text.replace("::progress 40 copying\n", "[40 % copying]");
            assert_eq!(seen(text.as_bytes(), size, true), told, "in pieces of {size}");
        }
        assert_eq!(seen(b"a\xffb\xc3", 1, false), "a\u{fffd}b\u{fffd}");
        assert_eq!(seen(b"::progress 7%", 3, true), "[7 %]", "without a line end");
        assert_eq!(seen(b"::progress 101 x\n", 3, true), "::progress 101 x\n");
    }

    #[test]
    fn a_long_line_is_not_held_back() {
        let long = format!("{MARK}40 {}\n", "x".repeat(3_000));
        let shown = seen(long.as_bytes(), 100, true);
        assert!(shown.starts_with("[40 % xxx") && shown.ends_with("x\n"), "{}", shown.len());
        assert!(shown.len() < 3_000);
    }

    #[test]
    fn a_prompt_is_shown_before_its_line_ends() {
        let notes = Notes::default();
        let mut seen = Seen::new(&notes, OutputStream::Stdout, true);
        seen.bytes(b"sure? ");
        assert_eq!(*notes.0.lock().unwrap(), ["sure? "]);
    }
}
