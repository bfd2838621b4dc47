//! What a process printed: kept up to a limit, counted beyond it.
//!
//! Promises: reading never stops before the pipe's end, so a chatty process is not held up; the
//! text never takes more bytes than the limit, not even escaped as JSON.
//! Imports what is seen of it meanwhile.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::seen::Seen;

/// How much is read at a time, in bytes.
const CHUNK: usize = 16 << 10;

/// The start of an output, and how much more there was.
#[derive(Debug)]
pub(super) struct Captured {
    kept: Vec<u8>,
    limit: usize,
    cut: u64,
}

/// An output as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) content: String,
    /// How many bytes at the end are not in `content`.
    pub(super) cut: u64,
    /// Whether bytes that are not UTF-8 were replaced by U+FFFD.
    pub(super) lossy: bool,
}

impl Captured {
    /// Keeps at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { kept: Vec::new(), limit, cut: 0 }
    }

    /// Reads a pipe to its end, and shows what comes. What was read before it is dropped or fails
    /// stays.
    pub(super) async fn read(&mut self, pipe: Option<impl AsyncRead + Unpin>, mut seen: Seen<'_>) {
        let Some(mut pipe) = pipe else { return };
        let mut chunk = vec![0; CHUNK];
        // An error of a pipe means that no more will come, as its end does.
        while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
            seen.bytes(&chunk[..count]);
            let keep = count.min(self.limit - self.kept.len());
            self.kept.extend_from_slice(&chunk[..keep]);
            self.cut += (count - keep) as u64;
        }
        seen.end();
    }

    /// The output as text, within the limit as JSON writes it.
    pub(super) fn into_text(self) -> Text {
        let mut content = String::new();
        let mut left = self.limit;
        let mut taken = 0;
        let mut lossy = false;
        'all: for chunk in self.kept.utf8_chunks() {
            for c in chunk.valid().chars() {
                let Some(rest) = left.checked_sub(json_length(c)) else { break 'all };
                left = rest;
                taken += c.len_utf8();
                content.push(c);
            }
            let invalid = chunk.invalid();
            let is_end = taken + invalid.len() == self.kept.len();
            if invalid.is_empty() || (is_end && self.cut > 0) {
                // The limit cut a character in two, perhaps: then its start is cut as well.
                continue;
            }
            let mark = char::REPLACEMENT_CHARACTER;
            let Some(rest) = left.checked_sub(mark.len_utf8()) else { break };
            left = rest;
            taken += invalid.len();
            content.push(mark);
            lossy = true;
        }
        Text { content, cut: self.cut + (self.kept.len() - taken) as u64, lossy }
    }
}

/// How many bytes a character takes in a JSON string.
fn json_length(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::{OutputStream, Unseen};

    async fn text(output: &[u8], limit: usize) -> Text {
        let mut captured = Captured::new(limit);
        let seen = Seen::new(&Unseen, OutputStream::Stdout, false);
        captured.read(Some(output), seen).await;
        captured.into_text()
    }

    fn whole(text: &str) -> Text {
        Text { content: text.into(), cut: 0, lossy: false }
    }

    #[tokio::test]
    async fn what_is_beyond_the_limit_is_counted() {
        assert_eq!(text(b"hello", 5).await, whole("hello"));
        assert_eq!(text(b"hello", 3).await, Text { cut: 2, ..whole("hel") });
        assert_eq!(text(b"hello", 0).await, Text { cut: 5, ..whole("") });
        let long = vec![b'x'; 100_000];
        assert_eq!(text(&long, 10).await, Text { cut: 99_990, ..whole("xxxxxxxxxx") });
    }

    #[tokio::test]
    async fn bytes_that_are_not_utf8_are_replaced_and_told() {
        let expected = Text { lossy: true, ..whole("a\u{fffd}b") };
        assert_eq!(text(b"a\xffb", 10).await, expected);
        let at_end = Text { lossy: true, ..whole("a\u{fffd}") };
        assert_eq!(text(b"a\xc3", 10).await, at_end, "half a character that came so");
        let cut = Text { cut: 2, ..whole("a") };
        assert_eq!(text("aé".as_bytes(), 2).await, cut, "half a character that the limit made");
        let marks = Text { cut: 1, lossy: true, ..whole("\u{fffd}") };
        assert_eq!(text(b"\xff\xff", 5).await, marks, "the replacement counts as what it is");
    }

    #[tokio::test]
    async fn the_limit_holds_for_the_text_as_json() {
        for output in [&b"\x01\x02\x03\n\n\n\"\"\\\\abc"[..], &[0xff; 40], &[7; 40], &[0x7f; 40]] {
            for limit in 0..40 {
                let text = text(output, limit).await.content;
                let json = serde_json::to_string(&text).unwrap();
                assert!(json.len() - 2 <= limit, "{json} is longer than {limit}");
            }
        }
    }
}
