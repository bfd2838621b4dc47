//! Tails, watchers, and the bounds of both.

use super::*;
use crate::live::OutputStream;
use crate::time::Timestamp;

fn serial(n: u128) -> Serial {
    Serial::from_parts(Timestamp::from_millis(1), n)
}

fn client(name: &str) -> ClientId {
    name.parse().unwrap()
}

fn piece(offset: u64, text: &str) -> Piece {
    Piece { stream: OutputStream::Stdout, offset, text: text.into(), dropped: 0 }
}

/// What a watch has to show now, in short.
fn kept(watch: &mut Watch) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(live) = watch.kept() {
        all.push(match &*live {
            Live::Progress { client, progress, .. } => format!("{client} {progress}"),
            Live::Output { client, piece, .. } => format!("{client} {}", piece.text),
            Live::Ended { client, attempt } => format!("{client} ended {attempt}"),
            Live::Missed { count } => format!("missed {count}"),
        });
    }
    all
}

#[test]
fn a_watcher_sees_what_is_kept_and_then_what_comes_each_once() {
    let board = LiveBoard::default();
    let a = board.open(serial(1), &client("a"), 1).unwrap();
    assert!(a.output(piece(0, "one ")));
    assert!(a.output(piece(4, "two")));
    assert!(a.progress(Progress::new(Some(40), None)));
    let mut watch = board.watch(serial(1), None);
    let mut only_b = board.watch(serial(1), Some(client("b")));
    assert!(a.output(piece(7, " three")));
    assert_eq!(kept(&mut watch), ["a 40 %", "a one two three"]);
    let b = board.open(serial(1), &client("b"), 1).unwrap();
    assert!(b.output(piece(0, "other")) && a.output(piece(13, "!")));
    assert_eq!(kept(&mut watch), ["b other", "a !"]);
    board.close(serial(1), &client("a"));
    assert!(!a.output(piece(14, "late")) && !a.progress(Progress::default()));
    assert_eq!(kept(&mut watch), ["a ended 1"]);
    assert_eq!(kept(&mut only_b), ["b other"]);
    assert_eq!(board.progress(serial(1)).len(), 0, "a has ended, and b told none");
}

#[tokio::test]
async fn a_watch_ends_with_its_run_or_with_the_node_and_leaves_nothing() {
    let board = LiveBoard::default();
    let mut early = board.watch(serial(1), None);
    let a = board.open(serial(1), &client("a"), 1).unwrap();
    assert!(a.output(piece(0, "x")));
    assert!(board.kept() > 0);
    board.close_run(serial(1));
    assert!(matches!(&*early.next().await.unwrap(), Live::Output { .. }));
    assert!(matches!(&*early.next().await.unwrap(), Live::Ended { .. }));
    assert_eq!(early.next().await, Err(WatchEnd::RunEnded));
    let mut other = board.watch(serial(2), None);
    board.stop();
    assert_eq!(other.next().await, Err(WatchEnd::Stopped));
    assert_eq!(board.watch(serial(3), None).next().await, Err(WatchEnd::Stopped));
    drop((early, other));
    assert!(lock(&board.0.board).runs.is_empty() && board.kept() == 0);
}

#[test]
fn a_later_attempt_takes_the_place_of_the_one_before() {
    let board = LiveBoard::default();
    let first = board.open(serial(1), &client("a"), 1).unwrap();
    assert!(Arc::ptr_eq(&first, &board.open(serial(1), &client("a"), 1).unwrap()));
    assert!(first.output(piece(0, "first")));
    let second = board.open(serial(1), &client("a"), 2).unwrap();
    assert!(!first.output(piece(5, "late")) && second.output(piece(0, "second")));
    assert_eq!(kept(&mut board.watch(serial(1), None)), ["a second"]);
}

#[test]
fn a_tail_keeps_the_end_and_cuts_between_characters() {
    let board = LiveBoard::default();
    let a = board.open(serial(1), &client("a"), 1).unwrap();
    let mut offset = 0;
    for _ in 0..100 {
        let text = "é".repeat(1_000);
        assert!(a.output(piece(offset, &text)));
        offset += text.len() as u64;
    }
    assert!(board.kept() <= TAIL && board.kept() > TAIL - 200, "{}", board.kept());
    let mut watch = board.watch(serial(1), None);
    let mut next = None;
    while let Some(live) = watch.kept() {
        let Live::Output { piece, .. } = &*live else { panic!("{live:?}") };
        assert!(next.is_none_or(|next| next == piece.offset));
        next = Some(piece.end());
    }
    assert_eq!(next, Some(offset));
}

#[test]
fn the_tail_that_was_begun_first_goes_first() {
    let board = LiveBoard::default();
    let open = |n| board.open(serial(n), &client("a"), 1).unwrap();
    let deliveries: Vec<_> = (0..3).map(open).collect();
    for delivery in &deliveries {
        assert!(delivery.output(piece(0, &"x".repeat(1_000))));
    }
    let all = board.kept();
    board.0.make_room(all - 1);
    let tails = |n| kept(&mut board.watch(serial(n), None)).len();
    assert_eq!([tails(0), tails(1), tails(2)], [0, 1, 1]);
    assert!(deliveries[0].output(piece(1_000, &"x".repeat(1_000))));
    board.0.make_room(all - 1);
    assert_eq!([tails(0), tails(1), tails(2)], [1, 0, 1], "the first begins anew");
}

#[test]
fn a_watcher_that_is_behind_is_told_how_much_it_missed_and_others_are_not_held_up() {
    let board = LiveBoard::default();
    let a = board.open(serial(1), &client("a"), 1).unwrap();
    let mut slow = board.watch(serial(1), None);
    assert!(kept(&mut slow).is_empty());
    let text = "x".repeat(8_000);
    for n in 0..100 {
        assert!(a.output(piece(n * 8_000, &text)));
    }
    let seen = kept(&mut slow);
    let whole = BEHIND / (8_000 + 128);
    assert_eq!(seen.len(), whole + 1);
    assert_eq!(seen[whole], format!("missed {}", 100 - whole));
    assert!(a.output(piece(800_000, "again")));
    assert_eq!(kept(&mut slow), ["a again"]);
}
