//! Replays in the storm: whatever happens, each item becomes one run, and what is counted is the
//! sum of these.

use fleetcron::Job;
use fleetcron::store::{Order, key, walk};

use super::*;

impl World {
    /// Past runs that are to run again: of the last minute, all or those that failed.
    pub(super) fn run_again(&mut self) -> Request {
        let from = Some(self.now.minus(Duration::from_secs(60)));
        let states = if self.random.chance(50) { vec![DeliveryState::Failed] } else { Vec::new() };
        let terms = match self.random.below(4) {
            0 => r#"{"speed": 100, "max_open": 3}"#,
            1 => r#"{"target": "group:few", "overlap": "allow"}"#,
            _ => r#"{"max_open": 2, "no_rollout": true}"#,
        };
        let terms: ReplayTerms = serde_json::from_str(terms).unwrap();
        let select = RunSelection { from, states, ..RunSelection::default() };
        let whole = terms.target.is_some();
        let selected = history::select_runs(&self.store, &select, whole).unwrap();
        let mut parts = selected.parts;
        // A few of them, so that the storm does not feed on itself.
        parts.items.truncate(4);
        let (kind, left_out) = (ReplayKind::Again, selected.left_out);
        let (job, to, again) = (None, None, true);
        Request::Replay(Box::new(NewReplay { kind, job, from, to, terms, left_out, again, parts }))
    }

    /// A back-fill of the last seconds of a job.
    pub(super) fn backfill(&mut self, name: &JobName) -> Request {
        let keys = key::all(key::JOB);
        let stored = walk(&self.store, keys, Order::Up).map(|entry| entry.unwrap().1);
        let mut jobs = stored.map(|value| serde_json::from_slice::<Job>(&value).unwrap());
        let Some(job) = jobs.find(|job| job.spec.name == *name) else { return Request::Status };
        let (from, to) = (self.now.minus(Duration::from_secs(20)), self.now);
        let selected = history::select_occurrences(&self.store, &job, from..to, false).unwrap();
        let (kind, job, again) = (ReplayKind::Backfill, Some(name.clone()), false);
        let (from, to, terms) = (Some(from), Some(to), ReplayTerms::default());
        let (left_out, parts) = (selected.left_out, selected.parts);
        Request::Replay(Box::new(NewReplay { kind, job, from, to, terms, left_out, again, parts }))
    }

    pub(super) fn cancel_replay(&mut self) -> Request {
        let replays = self.replays();
        let n = self.random.below(replays.len().max(1));
        replays.get(n / 4).map_or(Request::Status, |replay| Request::CancelReplay(replay.id))
    }

    fn replays(&self) -> Vec<Replay> {
        history::replays(&self.store, &Page::first()).unwrap()
    }

    /// Lets time pass for replays that have not ended; tells whether there are any.
    pub(super) fn wait_for_replays(&mut self) -> bool {
        let open = self.replays().into_iter().find(|replay| replay.ended_at.is_none());
        if let Some(replay) = &open {
            self.tally.waited += 1;
            assert!(self.tally.waited < 1_000, "it does not end: {replay:?}");
            self.approve_waves();
            self.now = self.now.plus(Duration::from_secs(5));
            self.commit();
        }
        open.is_some()
    }

    /// A run of a job that is gone is not ended by its removal, and its rollout may be held.
    fn approve_waves(&mut self) {
        for open in records::load(&self.store).unwrap().open_runs {
            let waits = open.run.rollout_state.is_some_and(|it| it.standing.wants_approval());
            if waits {
                self.call(Request::ApproveRun(open.run.serial));
            }
        }
    }

    pub(super) fn check_replays(&mut self, runs: &[Run]) {
        let of = |replay: &Replay| {
            let of =
                runs.iter().filter(|run| run.replay_of.is_some_and(|of| of.replay == replay.id));
            let mut of: Vec<&Run> = of.collect();
            of.sort_by_key(|run| run.replay_of.map(|of| of.item));
            of
        };
        for replay in self.replays() {
            let made = of(&replay);
            let mut counts = Counts::default();
            for (item, run) in (0_u32..).zip(&made) {
                assert_eq!(run.replay_of.map(|of| of.item), Some(item), "{replay:?}");
                let known = history::replay_run(&self.store, replay.id, item).unwrap();
                assert_eq!(known, Some(run.serial));
                counts.sum(&run.counts);
            }
            let made = u32::try_from(made.len()).unwrap();
            assert_eq!((replay.started, replay.ended), (made, made), "{replay:?}");
            assert!(made == replay.items || replay.cancelled_at.is_some(), "{replay:?}");
            assert!(replay.ended_at.is_some(), "{replay:?}");
            assert_eq!(replay.counts, counts, "{replay:?}");
            self.tally.replayed += made as usize;
        }
    }
}
