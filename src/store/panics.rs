//! Panics of the embedded engines, which damaged files can cause, as errors.
//!
//! Imports the store's errors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::StoreError;

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
