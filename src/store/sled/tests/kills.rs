//! A process that is killed while sled moves pages together at a start, again and again: all is there
//! afterwards, whatever the kill has cut short, and when the next one cuts that short as well.
//!
//! `FLEETCRON_SEED=1 FLEETCRON_KILLS=200 cargo test --lib store::sled::tests::kills -- --nocapture`
//! kills it so often.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::*;
use crate::store::damaged::{all, copy};

/// How often a process is killed unless told otherwise.
const KILLS: u64 = 12;

/// Kills of one store, before the next is taken.
const OF_ONE: u64 = 3;

/// Tells the process that is killed which store it cleans up.
const PLACE: &str = "FLEETCRON_CLEANED_UP";

/// What the process does that is killed.
#[test]
#[ignore = "the other test starts it"]
fn cleans_up_until_it_is_killed() {
    let Ok(path) = std::env::var(PLACE) else { return };
    println!("begun");
    open::clean_up(Path::new(&path), 8 << 20).unwrap();
    println!("ended");
}

/// A process that cleans up.
struct Cleaning {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Cleaning {
    fn begin(path: &Path) -> Self {
        let name = module_path!().split_once("::").unwrap().1;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{name}::cleans_up_until_it_is_killed")])
            .args(["--ignored", "--nocapture"])
            .env(PLACE, path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut it = Self { child, lines };
        assert!(it.tells("begun"), "it was not started");
        it
    }

    fn tells(&mut self, word: &str) -> bool {
        self.lines.any(|line| line.unwrap().ends_with(word))
    }

    /// Whether it was killed before it had ended.
    fn kill(mut self) -> bool {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        !self.tells("ended")
    }
}

/// How long it takes when nobody kills it.
fn whole_time(path: &Path) -> Duration {
    let mut cleaning = Cleaning::begin(path);
    let begun = Instant::now();
    assert!(cleaning.tells("ended"));
    let took = begun.elapsed();
    assert!(cleaning.child.wait().unwrap().success());
    took
}

#[test]
fn all_is_there_after_a_kill_while_it_is_cleaned_up() {
    let kills = damage::number("FLEETCRON_KILLS", KILLS);
    let seed = damage::number("FLEETCRON_SEED", std::process::id().into());
    let mut random = Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let [whole, place, opened] = ["whole", "place", "opened"].map(|it| directory.path().join(it));
    let entries = all(&wasteful(&whole)).unwrap();
    let anew = |from: &Path, to: &Path| {
        if to.exists() {
            std::fs::remove_dir_all(to).unwrap();
        }
        copy(from, to);
    };
    anew(&whole, &place);
    let took = whole_time(&place);
    let (mut within, mut moved) = (0, 0);
    for kill in 0..kills {
        if kill % OF_ONE == 0 {
            anew(&whole, &place);
        }
        let before = marked(&place);
        let cleaning = Cleaning::begin(&place);
        std::thread::sleep(took.mul_f64(random.f64()));
        let is_within = cleaning.kill();
        within += u64::from(is_within);
        moved += u64::from(is_within && marked(&place) > before);
        anew(&place, &opened);
        let store = open(&opened);
        assert!(all(&store).unwrap() == entries, "FLEETCRON_SEED={seed}, kill {kill}");
        store.commit(vec![put("after")]).unwrap();
    }
    println!("FLEETCRON_SEED={seed}: {within} of {kills} kills within {took:?}, {moved} had moved");
    assert!(within > 0, "each came too late");
}
