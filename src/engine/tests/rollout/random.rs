//! Random fleets, rollouts and answers: no rule of a rollout is ever broken, and nothing is stuck.

use super::*;
use crate::policy::Retry;

#[path = "../../../../tests/common/random.rs"]
mod random_numbers;

use random_numbers::Random;

/// What a story may do, and what it has seen.
struct Story {
    fleet: Fleet,
    random: Random,
    serial: Serial,
    most: usize,
    /// How many of the order may have had their turn, by wave.
    ends: Vec<u32>,
    /// When the engine was started again, and who has come back since.
    restarted: Option<(Timestamp, BTreeSet<u64>)>,
    /// Clients that ran it at a restart, and did not say so in time.
    unknown: BTreeSet<u64>,
    aborts: bool,
    was_aborted: bool,
}

fn rollout(random: &mut Random) -> serde_json::Value {
    let mut parts = serde_json::Map::new();
    if random.chance(60) {
        let share = [serde_json::json!(1), serde_json::json!(3), serde_json::json!("20%")];
        parts.insert("max_in_flight".into(), random.pick(&share).clone());
    }
    if random.chance(40) {
        let growth = serde_json::json!({"factor": 2, "after": 3});
        parts.insert("rate".into(), serde_json::json!({"per_second": 0.5, "growth": growth}));
    }
    if random.chance(30) {
        parts.insert("abort_on".into(), serde_json::json!(["failed=40%@5"]));
    }
    if random.chance(70) || parts.is_empty() {
        let (approval, wait) = (random.chance(50), random.chance(50).then_some("5s"));
        let success = *random.pick(&["100%", "50%"]);
        parts.insert(
            "waves".into(),
            serde_json::json!([
                {"share": "10%", "approval": approval, "success": success},
                {"share": "40%", "success": success, "wait": wait},
                "100%",
            ]),
        );
    }
    parts.into()
}

impl Story {
    fn begin(seed: u64) -> Self {
        let mut random = Random(seed);
        let clients = 1 + random.below(30) as u64;
        let mut fleet = Fleet::away(clients);
        for client in 1..=clients {
            if random.chance(80) {
                fleet.come(client);
            }
        }
        let rollout = rollout(&mut random);
        let attempts = 1 + u32::try_from(random.below(2)).unwrap();
        let text = rollout.to_string();
        let serial = fleet.submit_with(&text, |it| {
            it.retry =
                Retry::new(attempts, Duration::from_secs(2), Duration::from_secs(2)).unwrap();
        });
        let parsed: crate::rollout::Rollout = serde_json::from_str(&text).unwrap();
        let total = u32::try_from(clients).unwrap();
        let most = parsed.max_in_flight().map_or(usize::MAX, |it| it.of(total) as usize);
        let ends = (1..=parsed.wave_count()).map(|wave| parsed.wave_end(wave, total)).collect();
        let aborts = !parsed.abort_on().is_empty();
        let (restarted, unknown) = (None, BTreeSet::new());
        Self { fleet, random, serial, most, ends, restarted, unknown, aborts, was_aborted: false }
    }

    fn step(&mut self, good: bool) {
        let client = 1 + self.random.next() % self.fleet.clients;
        match self.random.below(20) {
            0..=9 => {
                let at_work = self.fleet.at_work(self.serial);
                let connected: Vec<u64> =
                    at_work.into_iter().filter(|client| self.is_here(*client)).collect();
                if connected.is_empty() {
                    return;
                }
                let client = *self.random.pick(&connected);
                let fails = !good && self.random.chance(25);
                let state = if fails { DeliveryState::Failed } else { DeliveryState::Succeeded };
                self.fleet.answer(client, self.serial, state);
            }
            10..=13 => {
                let millis = 1 + self.random.below(4_000) as u64;
                let until = self.fleet.bench.now.plus(Duration::from_millis(millis));
                self.fleet.wait_until(until);
            }
            14 if !good && self.is_here(client) => self.fleet.leave(client),
            15 | 16 if !self.is_here(client) => {
                self.fleet.come(client);
                if let Some((_, back)) = &mut self.restarted {
                    back.insert(client);
                }
            }
            17 if !good && self.random.chance(20) => {
                let now = self.fleet.bench.now;
                self.fleet.restart(now.plus(Duration::from_millis(5)));
                self.restarted = Some((self.fleet.bench.now, BTreeSet::new()));
            }
            18 if self.random.chance(30) || good => drop(self.fleet.approve(self.serial)),
            _ => {}
        }
    }

    fn is_here(&self, client: u64) -> bool {
        let id = format!("r{client}").parse().unwrap();
        let no = self.fleet.bench.engine.registry.find(&id).unwrap();
        self.fleet.bench.engine.registry.connected().contains(no.0)
    }

    /// What must hold at every step.
    fn check(&mut self) {
        let run = self.fleet.run(self.serial).unwrap_or_else(|| self.fleet.stored(self.serial));
        let state = run.rollout_state.clone().unwrap();
        let end = self.ends[state.wave as usize - 1];
        assert!(state.released <= end, "{state:?}, the wave ends at {end}");
        let started: BTreeSet<u64> = self.fleet.started(self.serial).into_iter().collect();
        assert!(started.len() <= state.released as usize, "sent before it was released");
        self.check_places();
        let counts = run.counts;
        assert_eq!(counts.open() as usize + counts.ended() as usize, counts.total as usize);
        for end in self.fleet.bench.ends() {
            let client = end.0[1..].parse().unwrap();
            assert!(started.contains(&client) || end.1 == DeliveryState::Cancelled, "{end:?}");
        }
        assert!(run.ended_at.is_some() || run.counts.open() > 0);
        let ended = counts.failed + counts.succeeded;
        let over = self.aborts && ended >= 5 && counts.failed * 100 >= 40 * ended;
        if state.aborted().is_none() {
            assert!(!over || run.ended_at.is_some(), "it should have been aborted: {counts:?}");
        } else if !self.was_aborted {
            assert!(over, "it should not have been aborted: {counts:?}");
            self.was_aborted = true;
        }
    }

    /// That no more are at work than may be. After a restart, those are not known that do not
    /// come back in time.
    fn check_places(&mut self) {
        let at_work: BTreeSet<u64> = self.fleet.at_work(self.serial).into_iter().collect();
        if let Some((_, back)) = self
            .restarted
            .take_if(|(at, _)| at.plus(crate::engine::RETURN_GRACE) <= self.fleet.bench.now)
        {
            self.unknown.extend(at_work.difference(&back));
        }
        let known = at_work.difference(&self.unknown).count();
        assert!(known <= self.most, "{known} at work, the most is {}", self.most);
        self.unknown = self.unknown.intersection(&at_work).copied().collect();
    }
}

fn tell(seed: u64) -> (Counts, bool, usize) {
    let mut story = Story::begin(seed);
    for _ in 0..150 {
        story.step(false);
        story.check();
    }
    // From now on all come, stay, and answer well, and somebody approves.
    for _ in 0..4_000 {
        if story.fleet.run(story.serial).is_none() {
            break;
        }
        story.step(true);
        story.check();
    }
    let run = story.fleet.stored(story.serial);
    assert!(run.ended_at.is_some(), "stuck: {:?} {:?}", run.rollout, run.rollout_state);
    let counts = run.counts;
    assert_eq!(counts.ended(), counts.total, "every delivery has ended once");
    let aborted = run.rollout_state.unwrap().aborted().is_some();
    assert!(aborted || counts.cancelled == 0, "{counts:?}");
    (counts, aborted, story.fleet.starts.len())
}

use crate::run::Counts;

#[test]
fn random_rollouts_keep_every_rule_and_come_to_an_end() {
    let seeds = std::env::var("FLEETCRON_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds: Vec<u64> = seeds.map_or_else(|| (1..=200).collect(), |seed: u64| vec![seed]);
    let (mut aborted, mut failed, mut again) = (0, 0, 0);
    for seed in &seeds {
        println!("FLEETCRON_SEED={seed}");
        let (counts, was_aborted, starts) = tell(*seed);
        aborted += usize::from(was_aborted);
        failed += counts.failed;
        again += starts.saturating_sub(counts.total as usize);
    }
    if seeds.len() > 1 {
        println!("{aborted} aborted, {failed} failed, {again} sent again");
        assert!(aborted > 5 && failed > 100 && again > 20, "the stories are too tame");
    }
}
