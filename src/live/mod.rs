//! What a running command lets be seen before it ends: progress, and pieces of its output.
//!
//! Nothing of it is recorded. What lasts is the response. Imports identifiers and end states only.

pub(crate) mod rate;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::ClientId;

/// The longest note of a progress, in bytes; a longer one is cut.
pub const MAX_NOTE: usize = 500;

/// The most text of one piece of output, in bytes.
pub const MAX_PIECE: usize = 16 * 1024;

/// One of the two outputs of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Its results.
    Stdout,
    /// What it says beside them.
    Stderr,
}

/// How far a command is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// In per cent, 0 to 100; `None`: it cannot say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// In words, at most [`MAX_NOTE`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Progress {
    /// A progress within the limits: above 100 per cent is 100, a note that is too long is cut.
    #[must_use]
    pub fn new(percent: Option<u8>, note: Option<&str>) -> Self {
        let percent = percent.map(|percent| percent.min(100));
        let cut = |note: &str| note[..boundary(note, MAX_NOTE)].to_owned();
        Self { percent, note: note.filter(|note| !note.is_empty()).map(cut) }
    }

    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if let Some(percent) = self.percent.filter(|percent| *percent > 100) {
            return Err(format!("percent is {percent}; the most is 100"));
        }
        match self.note.as_ref().map(String::len) {
            Some(length) if length > MAX_NOTE => {
                Err(format!("note has {length} bytes; the most is {MAX_NOTE}"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.percent, &self.note) {
            (Some(percent), Some(note)) => write!(f, "{percent} % {note}"),
            (Some(percent), None) => write!(f, "{percent} %"),
            (None, Some(note)) => f.write_str(note),
            (None, None) => f.write_str("under way"),
        }
    }
}

/// A piece of a command's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Of which output.
    pub stream: OutputStream,
    /// How many bytes of this output were before it, those left out among them.
    pub offset: u64,
    /// UTF-8, at most [`MAX_PIECE`] bytes; what was not UTF-8 is replaced.
    pub text: String,
    /// How many bytes right before it were left out. Default 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
}

impl Piece {
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        match self.text.len() {
            ..=MAX_PIECE => Ok(()),
            length => Err(format!("text has {length} bytes; the most is {MAX_PIECE}")),
        }
    }

    /// How many bytes of this output there were up to its end.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.text.len() as u64)
    }
}

/// The last boundary between two characters at or before `at`.
pub(crate) fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Whether it is 0.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Something that can be seen of a run, for those who watch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "live", rename_all = "snake_case")]
pub enum Live {
    /// A client is so far.
    Progress {
        /// The client.
        client: ClientId,
        /// Which attempt.
        attempt: u32,
        /// How far.
        #[serde(flatten)]
        progress: Progress,
    },
    /// A client's command printed something.
    Output {
        /// The client.
        client: ClientId,
        /// Which attempt.
        attempt: u32,
        /// What.
        #[serde(flatten)]
        piece: Piece,
    },
    /// A client's attempt has ended; nothing of it follows.
    Ended {
        /// The client.
        client: ClientId,
        /// Which attempt.
        attempt: u32,
    },
    /// The watcher was too slow for so many of the others, which are left out here.
    Missed {
        /// How many.
        count: u64,
    },
}

impl Live {
    /// How much memory it holds, roughly, in bytes.
    #[must_use]
    pub fn cost(&self) -> usize {
        const ITSELF: usize = 128;
        ITSELF
            + match self {
                Self::Progress { progress, .. } => progress.note.as_ref().map_or(0, String::len),
                Self::Output { piece, .. } => piece.text.len(),
                Self::Ended { .. } | Self::Missed { .. } => 0,
            }
    }
}

/// What takes in what a command lets be seen. None of it may block.
pub trait LiveSink: Send + Sync {
    /// The command is so far.
    fn progress(&self, progress: Progress);

    /// The command printed this.
    fn output(&self, stream: OutputStream, text: &str);
}

/// A sink for commands that nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unseen;

impl LiveSink for Unseen {
    fn progress(&self, _: Progress) {}

    fn output(&self, _: OutputStream, _: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_is_made_within_its_limits() {
        let long = "é".repeat(400);
        let progress = Progress::new(Some(140), Some(&long));
        assert_eq!(progress.check(), Ok(()));
        assert_eq!((progress.percent, progress.note.unwrap().len()), (Some(100), 500));
        assert_eq!(Progress::new(None, Some("")).note, None);
        let bad = Progress { percent: Some(101), note: None };
        assert_eq!(bad.check().unwrap_err(), "percent is 101; the most is 100");
        let bad = Progress { percent: None, note: Some("x".repeat(501)) };
        assert_eq!(bad.check().unwrap_err(), "note has 501 bytes; the most is 500");
    }

    #[test]
    fn what_is_seen_is_one_flat_object() {
        let client: ClientId = "web-01".parse().unwrap();
        let piece =
            Piece { stream: OutputStream::Stderr, offset: 7, text: "a\n".into(), dropped: 0 };
        assert_eq!(piece.end(), 9);
        let live = Live::Output { client: client.clone(), attempt: 1, piece };
        let json = r#"{"live":"output","client":"web-01","attempt":1,"stream":"stderr","offset":7,"text":"a\n"}"#;
        assert_eq!(serde_json::to_string(&live).unwrap(), json);
        assert_eq!(serde_json::from_str::<Live>(json).unwrap(), live);
        let progress = Progress::new(Some(4), Some("copy"));
        let live = Live::Progress { client, attempt: 2, progress };
        let json = r#"{"live":"progress","client":"web-01","attempt":2,"percent":4,"note":"copy"}"#;
        assert_eq!(serde_json::to_string(&live).unwrap(), json);
        assert_eq!(serde_json::from_str::<Live>(json).unwrap(), live);
    }
}
