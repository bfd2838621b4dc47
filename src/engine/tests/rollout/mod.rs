//! Rollouts: a fleet whose clients take what they get at once, and answer when a test says so.

mod aborts;
mod places;
mod random;
mod waves;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::rollout::{RolloutState, RunProgress, Standing};

/// What a client has taken and not answered.
type Running = BTreeMap<(u64, Serial), u32>;

/// A bench with clients `r1`, `r2`, …, each on the connection of its number, or on one of a
/// thousand more for each return.
struct Fleet {
    bench: Bench,
    clients: u64,
    connections: BTreeMap<u64, u64>,
    running: Running,
    /// When each client was sent what.
    starts: Vec<(Timestamp, u64, Serial)>,
    takes: bool,
}

impl Fleet {
    fn new(clients: u64) -> Self {
        let mut fleet = Self::away(clients);
        (1..=clients).for_each(|client| fleet.come(client));
        fleet
    }

    /// Nobody is connected.
    fn away(clients: u64) -> Self {
        let mut bench = Bench::new();
        (1..=clients).for_each(|client| bench.add(&format!("r{client}"), &["fleet"]));
        let (connections, running) = (BTreeMap::new(), Running::new());
        Self { bench, clients, connections, running, starts: Vec::new(), takes: true }
    }

    /// Takes in what the last decision sent.
    fn gather(&mut self) {
        let sent: Vec<(u64, Serial, u32)> = self
            .bench
            .effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Send { session, dispatch } => {
                    Some((session.0 % 1_000, dispatch.serial, dispatch.attempt))
                }
                _ => None,
            })
            .collect();
        for (client, serial, number) in sent {
            self.starts.push((self.bench.now, client, serial));
            self.running.insert((client, serial), number);
            if self.takes {
                let session = SessionId(self.connections[&client]);
                let attempt = crate::Attempt { serial, number };
                self.bench.input(Input::Accepted { session, attempt });
                assert_eq!(self.bench.sent(), [], "taking something starts nothing");
            }
        }
    }

    fn come(&mut self, client: u64) {
        let session = self.connections.get(&client).map_or(client, |last| last + 1_000);
        self.connections.insert(client, session);
        let taken = self.running.iter().filter(|((of, _), _)| *of == client && self.takes);
        let taken =
            taken.map(|((_, serial), number)| crate::Attempt { serial: *serial, number: *number });
        let taken = taken.collect();
        self.bench.calls += 1;
        self.bench.input(Input::Connect {
            call: CallId(self.bench.calls),
            session: SessionId(session),
            client: format!("r{client}").parse().unwrap(),
            proof: Proof::Token(TokenHash::of(&format!("r{client}"))),
            taken,
        });
        self.gather();
    }

    fn leave(&mut self, client: u64) {
        self.bench.disconnect(self.connections[&client]);
        self.gather();
    }

    fn submit(&mut self, rollout: &str) -> Serial {
        self.submit_with(rollout, |_| {})
    }

    fn submit_with(&mut self, rollout: &str, change: impl FnOnce(&mut Submission)) -> Serial {
        let mut submission =
            Submission::new("group:fleet".parse().unwrap(), "noop".parse().unwrap());
        submission.rollout = Some(serde_json::from_str(rollout).unwrap());
        change(&mut submission);
        let reply = self.bench.call(Request::Submit(submission));
        let Reply::Run(run) = reply else { panic!("{reply:?}") };
        self.gather();
        run.serial
    }

    fn answer(&mut self, client: u64, serial: Serial, state: DeliveryState) {
        let number = self.running.remove(&(client, serial)).expect("it runs there");
        let session = SessionId(self.connections[&client]);
        let outcome = Outcome { state, reason: None, result: None, ran_ms: None };
        let attempt = crate::Attempt { serial, number };
        self.bench.input(Input::Responded { session, attempt, outcome });
        self.gather();
    }

    fn fail(&mut self, client: u64, serial: Serial) {
        self.answer(client, serial, DeliveryState::Failed);
    }

    /// Who runs it, in the order of their numbers.
    fn at_work(&self, serial: Serial) -> Vec<u64> {
        let here = self.running.keys().filter(|(_, of)| *of == serial);
        here.map(|(client, _)| *client).collect()
    }

    /// Lets all who run it succeed, those as well that get it by that, at most so many.
    fn succeed(&mut self, serial: Serial, most: usize) -> usize {
        let mut done = 0;
        while let Some(client) = self.at_work(serial).first().copied().filter(|_| done < most) {
            self.answer(client, serial, DeliveryState::Succeeded);
            done += 1;
        }
        done
    }

    /// Goes from deadline to deadline until a moment.
    fn wait_until(&mut self, until: Timestamp) {
        while let Some(next) = self.bench.engine.next_deadline().filter(|next| *next <= until) {
            self.bench.wait_until(next.max(self.bench.now));
            self.gather();
        }
        self.bench.wait_until(until);
        self.gather();
    }

    /// Starts the engine again; the clients are away, and keep what they run.
    fn restart(&mut self, now: Timestamp) {
        self.bench.restart(now);
        self.gather();
    }

    fn come_all(&mut self) {
        (1..=self.clients).for_each(|client| self.come(client));
    }

    fn run(&mut self, serial: Serial) -> Option<Run> {
        match self.bench.call(Request::OpenRuns(vec![serial])) {
            Reply::Runs(mut runs) => runs.pop(),
            other => panic!("{other:?}"),
        }
    }

    /// The run as the store has it, with its counts.
    fn stored(&self, serial: Serial) -> Run {
        let store = &self.bench.store;
        let mut run = records::run(store, serial).unwrap().unwrap();
        run.counts = records::ended(store, &run).unwrap().counts;
        run
    }

    fn state(&mut self, serial: Serial) -> RolloutState {
        self.run(serial).expect("it is open").rollout_state.expect("it has a rollout")
    }

    fn progress(&mut self, serial: Serial) -> RunProgress {
        match self.bench.call(Request::RunProgress(serial)) {
            Reply::Progress(Some(progress)) => *progress,
            other => panic!("{other:?}"),
        }
    }

    fn approve(&mut self, serial: Serial) -> Result<(), String> {
        let answer = self.bench.ask(Request::ApproveRun(serial));
        self.gather();
        answer.map(drop).map_err(|error| error.to_string())
    }

    /// The clients that were sent a run, in the order in which that happened.
    fn started(&self, serial: Serial) -> Vec<u64> {
        let starts = self.starts.iter().filter(|(_, _, of)| *of == serial);
        starts.map(|(_, client, _)| *client).collect()
    }
}

#[test]
fn a_run_without_a_rollout_keeps_nothing_of_one() {
    let mut fleet = Fleet::new(3);
    let run = fleet.bench.submit("group:fleet");
    assert!(fleet.bench.engine.rollouts.get(run.serial).is_none());
    assert_eq!(fleet.bench.engine.rollouts.next_deadline(), None);
    let text = serde_json::to_string(&fleet.stored(run.serial)).unwrap();
    assert!(!text.contains("rollout"), "{text}");
    let refused = fleet.approve(run.serial).unwrap_err();
    assert!(refused.contains("has no rollout: nothing waits"), "{refused}");
    fleet.gather();
    let progress = fleet.progress(run.serial);
    assert_eq!((progress.held_back, progress.in_flight, progress.rollout), (0, 3, None));
}

#[test]
fn a_rollout_with_open_membership_is_refused() {
    let mut fleet = Fleet::new(1);
    let mut spec = every("tick", "group:fleet", 60);
    spec.rollout = Some(serde_json::from_str(r#"{"max_in_flight": 1}"#).unwrap());
    spec.membership = crate::target::Membership::Open;
    let apply = Apply { jobs: vec![spec], ..Apply::default() };
    let refused = fleet.bench.ask(Request::Apply(apply)).unwrap_err().to_string();
    assert!(
        refused.starts_with("job \"tick\": a rollout needs membership \"snapshot\""),
        "{refused}"
    );
    let mut submission = Submission::new("all".parse().unwrap(), "noop".parse().unwrap());
    submission.rollout = Some(serde_json::from_str(r#"{"max_in_flight": 1}"#).unwrap());
    submission.membership = crate::target::Membership::Open;
    let refused = fleet.bench.ask(Request::Submit(submission)).unwrap_err().to_string();
    assert!(refused.starts_with("a rollout needs membership"), "{refused}");
}

#[test]
fn a_restart_of_a_run_with_a_rollout_knows_how_its_deliveries_ended() {
    let mut fleet = Fleet::new(4);
    let serial = fleet.submit(r#"{"max_in_flight": 2}"#);
    let first = fleet.at_work(serial)[0];
    fleet.fail(first, serial);
    let loaded = records::load(&fleet.bench.store).unwrap();
    assert_eq!(loaded.open_runs[0].ends.len(), 1);
    assert_eq!(loaded.open_runs[0].ends[0].1, DeliveryState::Failed);
    assert_eq!(loaded.open_runs[0].run.rollout_state.as_ref().unwrap().released, 3);
}
