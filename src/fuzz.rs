//! What the files named `fuzz` share, see [`crate::fuzzing`]. Imports nothing of fleetcron.

use std::fmt::{Debug, Display};

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
