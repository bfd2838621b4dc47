//! Every order in which the steps of a few threads can fall, by loom.
#![cfg(all(test, loom))]
// A part of each file is used.
#![allow(dead_code, reason = "the server uses the rest")]

/// The count of those who are sent away, as the server has it.
#[path = "../../src/server"]
mod server {
    mod tally;

    use loom::sync::Arc;
    use loom::thread;
    use tally::Tally;

    /// Adds one, and takes what there is if told to; gives what was taken.
    fn one(tally: &Tally) -> u64 {
        tally.add();
        if tally.begin() { tally.take() } else { 0 }
    }

    #[test]
    fn each_of_them_is_told_exactly_once() {
        loom::model(|| {
            let tally = Arc::new(Tally::new());
            let other = Arc::clone(&tally);
            let other = thread::spawn(move || one(&other) + one(&other));
            let told = one(&tally);
            let told = told + other.join().unwrap();
            assert_eq!((told, tally.all()), (3, 3));
        });
    }
}
