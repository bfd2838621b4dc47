//! What the files named `fuzz` share, see [`crate::fuzzing`]. Imports nothing of fleetcron.

use std::fmt::{Debug, Display};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// An error says something, and no more than a page beside what it is about.
#[track_caller]
pub(crate) fn told(error: &impl Display, about: usize) -> String {
    let text = error.to_string();
    assert!(!text.is_empty(), "an error says nothing");
    // A character of text may take ten to be shown.
    assert!(text.len() <= 4_096 + 10 * about, "an error of {} bytes: {text}", text.len());
    text
}

/// What is read from JSON is written as JSON that is read as the same.
#[track_caller]
pub(crate) fn json_comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &[u8]) {
    match serde_json::from_slice::<T>(json) {
        Ok(read) => {
            let written = serde_json::to_string(&read).expect("what was read can be written");
            match serde_json::from_str::<T>(&written) {
                Ok(again) => assert_eq!(again, read, "{written}"),
                Err(error) => panic!("{error}: {written}"),
            }
        }
        Err(error) => drop(told(&error, json.len())),
    }
}

/// Takes bytes from the front, as many as the first of them says.
pub(crate) fn some<'a>(pieces: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [bytes] = array(pieces)?;
    let (some, rest) = pieces.split_at_checked(usize::from(bytes))?;
    *pieces = rest;
    Some(some)
}

/// Takes so many bytes from the front.
pub(crate) fn array<const N: usize>(pieces: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = pieces.split_first_chunk()?;
    *pieces = rest;
    Some(*array)
}

/// A directory for as long as it is used, in memory where the system has a place for that: a disk
/// takes a hundred times as long.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let memory = PathBuf::from("/dev/shm");
        let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let (process, made) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let it = Self(place.join(format!("fleetcron-fuzz-{process}-{made}")));
        std::fs::create_dir(&it.0).expect("a directory of the fuzzer's own");
        it
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
