//! A store for tests that notes its commits and stops after so many batches, as a crash would.

use std::sync::Mutex;

use super::{Batch, Layer, MemoryStore, Store, StoreError};

/// Applies batches one by one until there are no more to spare; then every commit fails.
pub(crate) struct FaultyStore {
    inner: MemoryStore,
    state: Mutex<State>,
}

struct State {
    left: usize,
    commits: Vec<Vec<usize>>,
}

impl FaultyStore {
    /// A store that never fails.
    pub(crate) fn new(inner: MemoryStore) -> Self {
        Self::failing_after(inner, usize::MAX)
    }

    /// A store that fails after so many batches.
    pub(crate) fn failing_after(inner: MemoryStore, batches: usize) -> Self {
        Self { inner, state: Mutex::new(State { left: batches, commits: Vec::new() }) }
    }

    /// What is left after the crash.
    pub(crate) fn into_inner(self) -> MemoryStore {
        self.inner
    }

    /// The operations of each batch of each commit so far.
    pub(crate) fn commits(&self) -> Vec<Vec<usize>> {
        self.state.lock().unwrap().commits.clone()
    }
}

impl Layer for FaultyStore {
    fn below(&self) -> &dyn Store {
        &self.inner
    }

    fn commit_through(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap();
        state.commits.push(batches.iter().map(Vec::len).collect());
        for batch in batches {
            if state.left == 0 {
                return Err(StoreError::failed("commit", "the test's crash"));
            }
            state.left -= 1;
            self.inner.commit(vec![batch])?;
        }
        Ok(())
    }
}
