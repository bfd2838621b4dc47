//! What a journal remembers, and how much it takes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::client::RECENT;

#[tokio::test]
async fn only_its_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("journal");
    let (journal, _) = open(&directory.as_path().into());
    take(&journal, fail(1)).await.unwrap();
    journal.close().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&directory.join(files::FILE))), (0o700, 0o600));
}

#[tokio::test]
async fn what_was_cut_short_and_what_has_ended_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let options = JournalOptions::from(directory.path());
    let (journal, remembered) = open(&options);
    assert_eq!(remembered, []);
    take(&journal, fail(1)).await.unwrap();
    take(&journal, retry(2)).await.unwrap();
    for n in [3, 4] {
        take(&journal, retry(n)).await.unwrap();
        end(&journal, n).await.unwrap();
    }
    journal.pen().acknowledged(first(3));
    journal.close().await;
    let expected =
        [cut_short(1), Remembered::Again(retry(2)), Remembered::Ended(first(4), done(4))];
    assert_eq!(reopened(&options).await, expected);
    assert_eq!(reopened(&options).await, expected, "reading it changes nothing");
}

#[tokio::test]
async fn only_what_may_run_again_keeps_its_parameters() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(&directory.path().into());
    let secret = |policy| {
        let params = Json::new(&format!("{policy}-secret")).unwrap();
        CommandFrame { params, ..command(policy as u64, policy) }
    };
    take(&journal, secret(OnClientCrash::Fail)).await.unwrap();
    take(&journal, secret(OnClientCrash::Retry)).await.unwrap();
    journal.close().await;
    let text = fs::read(directory.path().join(files::FILE)).unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("retry-secret") && !text.contains("fail-secret"), "{text}");
}

#[tokio::test]
async fn a_command_that_ends_the_client_each_time_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let options = JournalOptions::from(directory.path());
    for time in 0..MAX_TIMES {
        let (journal, remembered) = open(&options);
        let expected = if time == 0 { vec![] } else { vec![Remembered::Again(retry(1))] };
        assert_eq!(remembered, expected, "{time}");
        take(&journal, retry(1)).await.unwrap();
        journal.close().await;
    }
    let reason = "interrupted: the client ended while it ran, 10 times, the most allowed";
    let outcome = Outcome::ended(DeliveryState::Failed, reason);
    assert_eq!(reopened(&options).await, [Remembered::Ended(first(1), outcome)]);
}

#[tokio::test]
async fn a_later_attempt_takes_the_place_of_the_earlier_one() {
    let directory = tempfile::tempdir().unwrap();
    let options = JournalOptions::from(directory.path());
    let (journal, _) = open(&options);
    let second = CommandFrame { attempt: 2, ..retry(1) };
    let attempt = Attempt { serial: serial(1), number: 2 };
    take(&journal, retry(1)).await.unwrap();
    take(&journal, retry(1)).await.unwrap();
    end(&journal, 1).await.unwrap();
    take(&journal, second.clone()).await.unwrap();
    journal.pen().acknowledged(first(1));
    end(&journal, 1).await.unwrap();
    journal.close().await;
    let (journal, remembered) = open(&options);
    assert_eq!(remembered, [Remembered::Again(second)], "what is said of the first is late");
    journal.pen().write(Note::Ended(attempt, done(2))).await.unwrap();
    journal.close().await;
    let (journal, remembered) = open(&options);
    assert_eq!(remembered, [Remembered::Ended(attempt, done(2))]);
    journal.pen().acknowledged(attempt);
    journal.close().await;
    assert_eq!(reopened(&options).await, []);
}

#[tokio::test]
async fn it_is_written_anew_while_it_runs_and_when_it_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let (options, watched) = watched(directory.path());
    let (journal, _) = open(&options);
    let long = Outcome::succeeded(Json::new(&"x".repeat(50_000)).unwrap());
    for n in 0..40 {
        take(&journal, fail(n)).await.unwrap();
        journal.pen().write(Note::Ended(first(n), long.clone())).await.unwrap();
        if n != 7 {
            journal.pen().acknowledged(first(n));
        }
        assert!(length(directory.path()) < 400_000, "{n}");
    }
    journal.close().await;
    let count = |watched: &Mutex<Watched>| {
        watched.lock().unwrap().steps.iter().filter(|step| **step == Step::Rewrite).count()
    };
    let rewritten = count(&watched);
    assert!((4..=12).contains(&rewritten), "{rewritten} times, the first one included");
    assert_eq!(reopened(&options).await, [Remembered::Ended(first(7), long)]);
    assert!(length(directory.path()) < 60_000, "most of it was dead");
}

/// The commands that were acknowledged, as a journal that is opened remembers them.
async fn acknowledged(options: &JournalOptions) -> Vec<(Attempt, Outcome)> {
    let Opened { journal, remembered, .. } = Journal::open(options, &client()).unwrap();
    journal.close().await;
    let of = |one| match one {
        Remembered::Acknowledged(attempt, outcome) => Some((attempt, outcome)),
        _ => None,
    };
    remembered.into_iter().filter_map(of).collect()
}

#[tokio::test]
async fn the_last_that_were_acknowledged_are_remembered_without_large_results() {
    let directory = tempfile::tempdir().unwrap();
    let options = JournalOptions::from(directory.path());
    let (journal, _) = open(&options);
    let large = Outcome::succeeded(Json::new(&"x".repeat(300_000)).unwrap());
    take(&journal, fail(1)).await.unwrap();
    journal.pen().write(Note::Ended(first(1), large)).await.unwrap();
    journal.pen().acknowledged(first(1));
    for n in 2..=4 {
        take(&journal, fail(n)).await.unwrap();
        end(&journal, n).await.unwrap();
    }
    journal.pen().acknowledged(first(3));
    journal.pen().acknowledged(first(2));
    journal.close().await;
    // Opened three times: it is written anew, and still remembers.
    for _ in 0..3 {
        let known = acknowledged(&options).await;
        let serials: Vec<_> = known.iter().map(|(attempt, _)| *attempt).collect();
        assert_eq!(serials, [1, 3, 2].map(first));
        assert_eq!(known[0].1.result, None);
        assert!(known[0].1.reason.as_ref().unwrap().contains("300002 bytes is not kept"));
        assert_eq!(known[1].1, done(3));
        assert_eq!(reopened(&options).await, [Remembered::Ended(first(4), done(4))]);
    }
    assert!(length(directory.path()) < 2_000);
}

#[tokio::test]
async fn more_than_are_remembered_are_forgotten_and_the_file_is_not_written_anew_for_each() {
    let directory = tempfile::tempdir().unwrap();
    let (options, watched) = watched(directory.path());
    let (journal, _) = open(&options);
    let all = RECENT as u64 + 300;
    for n in 0..all {
        take(&journal, fail(n)).await.unwrap();
        end(&journal, n).await.unwrap();
        journal.pen().acknowledged(first(n));
    }
    journal.close().await;
    let rewritten =
        watched.lock().unwrap().steps.iter().filter(|step| **step == Step::Rewrite).count();
    assert!(rewritten <= 4, "{rewritten} times");
    let known: Vec<_> =
        acknowledged(&options).await.into_iter().map(|(attempt, _)| attempt).collect();
    assert_eq!(known, (300..all).map(first).collect::<Vec<_>>());
}

#[tokio::test]
async fn when_it_is_full_commands_are_refused_and_results_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    let options = JournalOptions::from(directory.path()).max_entries(2);
    let (journal, _) = open(&options);
    take(&journal, fail(1)).await.unwrap();
    take(&journal, fail(2)).await.unwrap();
    let refused = take(&journal, fail(3)).await.unwrap_err().to_string();
    let what = "2 commands are not acknowledged, the most allowed";
    assert_eq!(refused, format!("the client's journal {path}/journal is full: {what}"));
    end(&journal, 1).await.unwrap();
    take(&journal, fail(3)).await.unwrap_err();
    journal.pen().acknowledged(first(1));
    take(&journal, fail(3)).await.unwrap();
    take(&journal, fail(2)).await.expect("one that is there takes no more room");
    journal.close().await;
    assert_eq!(reopened(&options).await, [cut_short(2), cut_short(3)]);

    let options = JournalOptions::from(directory.path()).max_bytes(400);
    let (journal, _) = open(&options);
    let refused = take(&journal, fail(4)).await.unwrap_err().to_string();
    assert!(refused.contains("bytes; the most is 400"), "{refused}");
    end(&journal, 2).await.unwrap();
    end(&journal, 3).await.unwrap();
    journal.close().await;
    let kept = [2, 3].map(|n| Remembered::Ended(first(n), done(n)));
    assert_eq!(reopened(&options).await, kept);
}

#[test]
fn a_result_that_no_record_holds_ends_as_failed() {
    let json = |length: usize| Json::new(&"x".repeat(length)).unwrap();
    assert_eq!(within_limit(done(1)), done(1));
    let long = Outcome { ran_ms: Some(7), ..Outcome::succeeded(json(MAX_RESULT)) };
    let outcome = within_limit(long);
    assert_eq!((outcome.state, outcome.ran_ms), (DeliveryState::Failed, Some(7)));
    assert!(outcome.reason.unwrap().contains("the journal keeps at most 16711680"));
    let fits = Outcome::succeeded(json(MAX_RESULT - 2));
    assert_eq!(within_limit(fits.clone()), fits);
    let ended = record::Ended { serial: serial(1), attempt: 1, outcome: fits };
    record::encode(&record::Record::Ended(ended), &mut Vec::new()).unwrap();
}

/// What a client does to its journal.
#[derive(Debug, Clone, Copy)]
enum Act {
    Take(u64, OnClientCrash),
    End(u64),
    Acknowledge(u64),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let policy = prop_oneof![Just(OnClientCrash::Fail), Just(OnClientCrash::Retry)];
    let act = prop_oneof![
        4 => (0..6_u64, policy).prop_map(|(n, policy)| Act::Take(n, policy)),
        4 => (0..6_u64).prop_map(Act::End),
        3 => (0..6_u64).prop_map(Act::Acknowledge),
        1 => Just(Act::Restart),
    ];
    proptest::collection::vec(act, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Against the simplest thing that could be right: a map of what stands.
    #[test]
    fn it_remembers_what_a_map_would(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let options = JournalOptions::from(directory.path());
            let mut model = BTreeMap::<u64, Remembered>::new();
            let (mut journal, _) = open(&options);
            for act in acts.into_iter().chain([Act::Restart]) {
                match act {
                    Act::Take(n, policy) if !model.contains_key(&n) => {
                        take(&journal, command(n, policy)).await.unwrap();
                        let again = Remembered::Again(retry(n));
                        let stands =
                            if policy == OnClientCrash::Retry { again } else { cut_short(n) };
                        model.insert(n, stands);
                    }
                    Act::End(n) if model.get(&n).is_some_and(|stands| *stands != ended(n)) => {
                        end(&journal, n).await.unwrap();
                        model.insert(n, ended(n));
                    }
                    Act::Acknowledge(n) => {
                        journal.pen().acknowledged(first(n));
                        model.remove(&n);
                    }
                    Act::Restart => {
                        journal.close().await;
                        let opened = open(&options);
                        let expected: Vec<_> = model.values().cloned().collect();
                        assert_eq!(opened.1, expected);
                        journal = opened.0;
                    }
                    Act::Take(..) | Act::End(_) => {}
                }
            }
            journal.close().await;
        });
    }
}

fn ended(n: u64) -> Remembered {
    Remembered::Ended(first(n), done(n))
}
