//! What a node commits, taken down, and the same written straight into a new store: what the store
//! alone would need for it.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleetcron::store::{Batch, Layer, Op, Store, StoreError};

use super::server::directory;
use super::stores;

/// A store that takes down what is committed to it, while it shall.
pub(crate) struct Capturing {
    store: Arc<dyn Store>,
    /// The commits so far; `None`: none are taken down.
    commits: Mutex<Option<Vec<Vec<Batch>>>>,
}

impl Capturing {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, commits: Mutex::new(None) }
    }

    /// Takes down from the next commit on.
    pub(crate) fn begin(&self) {
        *self.commits.lock().unwrap() = Some(Vec::new());
    }

    /// Gives what was taken down, and takes down no more.
    pub(crate) fn end(&self) -> Vec<Vec<Batch>> {
        self.commits.lock().unwrap().take().unwrap_or_default()
    }
}

impl Layer for Capturing {
    fn below(&self) -> &dyn Store {
        self.store.as_ref()
    }

    fn commit_through(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        if let Some(commits) = self.commits.lock().unwrap().as_mut() {
            commits.push(batches.clone());
        }
        self.store.commit(batches)
    }
}

/// Writes commits to a file: of each the number of batches, of each the number of operations, of
/// each the length of the key, the key, 1 and the length of the value, the value; or 0.
pub(crate) fn save(commits: &[Vec<Batch>], path: &Path) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let number = |file: &mut BufWriter<File>, number: usize| {
        file.write_all(&u32::try_from(number).unwrap().to_le_bytes()).unwrap();
    };
    for batches in commits {
        number(&mut file, batches.len());
        for batch in batches {
            number(&mut file, batch.len());
            for op in batch {
                number(&mut file, op.key().len());
                file.write_all(op.key()).unwrap();
                match op {
                    Op::Delete(_) => number(&mut file, 0),
                    Op::Put(_, value) => {
                        number(&mut file, 1);
                        number(&mut file, value.len());
                        file.write_all(value).unwrap();
                    }
                }
            }
        }
    }
    file.flush().unwrap();
}

/// Reads what [`save`] has written.
pub(crate) fn load(path: &Path) -> Vec<Vec<Batch>> {
    let mut file = BufReader::new(File::open(path).unwrap());
    let mut commits = Vec::new();
    while let Some(batches) = number(&mut file) {
        commits.push((0..batches).map(|_| load_batch(&mut file)).collect());
    }
    commits
}

fn load_batch(file: &mut BufReader<File>) -> Batch {
    let ops = number(file).expect("a batch has operations");
    let bytes = |file: &mut BufReader<File>| {
        let mut bytes = vec![0; number(file).expect("a length") as usize];
        file.read_exact(&mut bytes).unwrap();
        bytes
    };
    let mut op = || {
        let key = bytes(file);
        match number(file).expect("a kind") {
            0 => Op::Delete(key),
            _ => Op::Put(key, bytes(file)),
        }
    };
    (0..ops).map(|_| op()).collect()
}

/// The next number, or `None` at the end of the file.
fn number(file: &mut BufReader<File>) -> Option<u32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes).ok()?;
    Some(u32::from_le_bytes(bytes))
}

/// How long a new store takes for the same commits.
pub(crate) fn replay(commits: Vec<Vec<Batch>>) -> Duration {
    let directory = directory();
    let store = stores::open(&directory.path().join("data"));
    let begun = Instant::now();
    for batches in commits {
        store.commit(batches).unwrap();
    }
    begun.elapsed()
}

/// Operations in commits.
pub(crate) fn ops(commits: &[Vec<Batch>]) -> usize {
    commits.iter().flatten().map(Vec::len).sum()
}
