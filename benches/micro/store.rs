//! Commits of a few operations, each durable, on a store of its own beside the build.

use divan::Bencher;
use divan::counter::ItemsCount;
use fleetcron::store::{Batch, Op, SledOptions, SledStore, Store as _};
use tempfile::TempDir;

/// Bytes of a value that barely compresses.
const VALUE: usize = 300;

/// One batch of puts, under keys that follow `last`.
fn batch(last: &mut u64, ops: usize) -> Batch {
    let mut put = || {
        *last += 1;
        let key = [b"bench".as_slice(), &last.to_be_bytes()].concat();
        let byte =
            |place: u64| (*last + place).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0];
        Op::Put(key, (0..VALUE as u64).map(byte).collect())
    };
    (0..ops).map(|_| put()).collect()
}

/// One batch of so many operations.
#[divan::bench(args = [1, 100], sample_count = 300, sample_size = 1)]
fn commit(bencher: Bencher<'_, '_>, ops: usize) {
    let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = SledStore::open(directory.path(), SledOptions::default()).unwrap();
    let mut last = 0;
    bencher
        .counter(ItemsCount::new(ops))
        .with_inputs(|| vec![batch(&mut last, ops)])
        .bench_local_values(|batches| store.commit(batches).unwrap());
}
