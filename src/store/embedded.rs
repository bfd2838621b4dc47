//! What the embedded engines have in common: how their failures are told, those that damaged files
//! cause among them, and who is told of the steps of a commit.
//!
//! Imports the store's errors and the steps.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::StoreError;
use super::place::{OnStep, Step};

/// What an engine gives; a panic of its own as damage to the store in a directory.
pub(super) fn unwinding<T>(
    engine: &str,
    path: &Path,
    call: impl FnOnce() -> T,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
        let problem = format!("{engine} cannot make sense of its files: {text}");
        StoreError::Damaged { path: path.to_owned(), problem }
    })
}

/// A failure of input or output that an engine had, told apart: the disk, or what is on it. `file`
/// is what ends too early if something does.
pub(super) fn io_failed(
    engine: &str,
    path: &Path,
    file: &str,
    action: &'static str,
    cause: io::Error,
) -> StoreError {
    let problem = match cause.kind() {
        io::ErrorKind::UnexpectedEof => format!("{file} ends too early: {cause}"),
        io::ErrorKind::NotFound => format!("a file of {engine}'s is missing: {cause}"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            format!("a file of {engine}'s cannot be read: {cause}")
        }
        _ => return StoreError::failed(action, cause),
    };
    StoreError::Damaged { path: path.to_owned(), problem }
}

/// Tells of a step of a commit whoever is to be told.
pub(super) fn tell(on_step: Option<&OnStep>, step: Step) {
    if let Some(on_step) = on_step {
        on_step(step);
    }
}
