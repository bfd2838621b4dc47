//! Journals that cannot be written, and when what is written counts.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use futures_util::future::join_all;

use super::*;

/// Runs a command between its records; tells whether it was run, and how it ended.
async fn around(journal: &Journal, n: u64) -> (bool, Outcome) {
    let ran = AtomicBool::new(false);
    let running = async {
        ran.store(true, Ordering::SeqCst);
        done(n)
    };
    let outcome = journal.pen().clone().around(fail(n), running).await;
    (ran.load(Ordering::SeqCst), outcome)
}

#[tokio::test]
async fn a_command_runs_only_when_it_is_on_the_device_and_so_does_its_answer_leave() {
    let directory = tempfile::tempdir().unwrap();
    let (options, watched) = watched(directory.path());
    let (journal, _) = open(&options);
    let steps = || watched.lock().unwrap().steps.split_off(0);
    steps();
    let running = async {
        assert_eq!(steps(), [Step::Write, Step::Sync], "before it begins");
        done(1)
    };
    journal.pen().clone().around(fail(1), running).await;
    assert_eq!(steps(), [Step::Write, Step::Sync], "before it is answered");
    journal.pen().acknowledged(first(1));
    journal.close().await;
    assert_eq!(steps(), [Step::Write], "an acknowledgement that is lost comes again");
}

#[tokio::test]
async fn commands_that_come_at_once_share_a_flush() {
    let directory = tempfile::tempdir().unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let (gate, syncs) = (Mutex::new(gate), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&syncs);
    let probe = move |step| {
        if step == Step::Sync && count.fetch_add(1, Ordering::SeqCst) == 0 {
            gate.lock().unwrap().recv().unwrap();
        }
        Ok(())
    };
    let options = JournalOptions { probe: Some(Arc::new(probe)), ..directory.path().into() };
    let (journal, _) = open(&options);
    let first = take(&journal, fail(0));
    let mut all = Box::pin(join_all((1..=100).map(|n| take(&journal, fail(n)))));
    let mut first = Box::pin(first);
    // Each is asked for when it is first looked at.
    assert!(futures_util::poll!(&mut first).is_pending());
    while syncs.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(futures_util::poll!(&mut all).is_pending());
    go.send(()).unwrap();
    first.await.unwrap();
    assert!(all.await.iter().all(Result::is_ok));
    assert_eq!(syncs.load(Ordering::SeqCst), 2);
    journal.close().await;
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_run_and_says_why() {
    for step in [Step::Write, Step::Sync] {
        let directory = tempfile::tempdir().unwrap();
        let (options, watched) = watched(directory.path());
        let (journal, _) = open(&options);
        assert!(around(&journal, 1).await.0);
        watched.lock().unwrap().broken = vec![step, Step::Rewrite];
        let path = directory.path().join(files::FILE);
        for n in [2, 3] {
            let (ran, outcome) = around(&journal, n).await;
            assert!(!ran, "{step:?}");
            assert_eq!(outcome.state, DeliveryState::Rejected);
            let why = "cannot be written: No space left on device (os error 28)";
            let reason = format!("the client's journal {} {why}", path.display());
            assert_eq!(outcome.reason, Some(reason), "{step:?}");
        }
        watched.lock().unwrap().broken.clear();
        assert_eq!(around(&journal, 4).await, (true, done(4)), "it goes on");
        journal.close().await;
        let kept = [1, 4].map(|n| Remembered::Ended(first(n), done(n)));
        assert_eq!(reopened(&options).await, kept, "{step:?}");
    }
}

#[tokio::test]
async fn a_result_that_cannot_be_written_down_is_answered_and_written_later() {
    let directory = tempfile::tempdir().unwrap();
    let (options, watched) = watched(directory.path());
    let (journal, _) = open(&options);
    let running = async {
        watched.lock().unwrap().broken = vec![Step::Sync, Step::Rewrite];
        done(1)
    };
    assert_eq!(journal.pen().clone().around(fail(1), running).await, done(1));
    watched.lock().unwrap().broken.clear();
    take(&journal, fail(2)).await.unwrap();
    journal.close().await;
    assert_eq!(reopened(&options).await, [Remembered::Ended(first(1), done(1)), cut_short(2)]);
}

#[tokio::test]
async fn one_that_cannot_be_compacted_is_written_on() {
    let directory = tempfile::tempdir().unwrap();
    let (options, watched) = watched(directory.path());
    let (journal, _) = open(&options);
    watched.lock().unwrap().broken = vec![Step::Rewrite];
    let long = Outcome::succeeded(Json::new(&"x".repeat(200_000)).unwrap());
    for n in 0..4 {
        take(&journal, fail(n)).await.unwrap();
        journal.pen().write(Note::Ended(first(n), long.clone())).await.unwrap();
        journal.pen().acknowledged(first(n));
    }
    take(&journal, fail(9)).await.unwrap();
    assert!(length(directory.path()) > 800_000);
    watched.lock().unwrap().broken.clear();
    journal.close().await;
    assert_eq!(reopened(&options).await, [cut_short(9)]);
    assert!(length(directory.path()) < 2_000, "the large results are gone");
}

#[tokio::test]
async fn a_directory_that_is_removed_is_told_and_one_that_comes_back_is_used() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("state/journal");
    let options = JournalOptions::from(&directory);
    let (journal, _) = open(&options);
    take(&journal, fail(1)).await.unwrap();
    fs::remove_dir_all(&directory).unwrap();
    let (ran, outcome) = around(&journal, 2).await;
    assert!(!ran);
    let why = "cannot be written: No such file or directory (os error 2)";
    let reason = format!("the client's journal {} {why}", directory.join("journal").display());
    assert_eq!(outcome.reason, Some(reason));
    fs::create_dir_all(&directory).unwrap();
    take(&journal, fail(3)).await.unwrap();
    let error = refusal(&directory);
    assert!(error.contains("is in use by process"), "it is locked again: {error}");
    fs::remove_file(directory.join(files::FILE)).unwrap();
    take(&journal, fail(4)).await.unwrap();
    journal.close().await;
    assert_eq!(reopened(&options).await, [1, 3, 4].map(cut_short), "nothing of it was lost");
}

#[tokio::test]
async fn a_second_one_in_its_place_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("journal");
    let options = JournalOptions::from(&directory);
    let (journal, _) = open(&options);
    fs::remove_dir_all(&directory).unwrap();
    let (second, _) = open(&options);
    take(&second, fail(1)).await.unwrap();
    let refused = take(&journal, fail(2)).await.unwrap_err().to_string();
    let who = format!("process {} has made a journal in its place", std::process::id());
    assert!(refused.ends_with(&who), "{refused}");
    second.close().await;
    journal.close().await;
    assert_eq!(reopened(&options).await, [cut_short(1)]);
}

#[tokio::test]
async fn the_second_to_open_it_is_told_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let options = JournalOptions::from(directory.path());
    let (journal, _) = open(&options);
    let (path, pid) = (directory.path().display(), std::process::id());
    let told = format!(
        "the journal {path} is in use by process {pid}; \
         stop that process, or choose another directory"
    );
    assert_eq!(refusal(directory.path()), told);
    journal.close().await;
    reopened(&options).await;
}

#[test]
fn a_path_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [file.join("below"), file, "/proc/fleetcron".into()] {
        let told = format!("the journal {} cannot be used: ", path.display());
        let error = refusal(&path);
        assert!(error.starts_with(&told) && error.contains("os error"), "{error}");
    }
}
