//! How a replay goes on: its next items begin, its runs end, and it is cancelled.

use roaring::RoaringBitmap;

use super::{Open, Waits};
use crate::engine::change::Change;
use crate::engine::core::Engine;
use crate::engine::effect::{Reply, RequestError};
use crate::engine::event::What;
use crate::engine::runs::OpenRun;
use crate::engine::spread;
use crate::id::{ReplayId, Serial};
use crate::job::{Overlap, OverlapScope};
use crate::replay::{Replay, ReplayItem, ReplayKind, ReplayOf};
use crate::run::{Counts, Run};
use crate::target::Membership;
use crate::time::Timestamp;

/// Runs that replays begin before other things have their turn, at most.
const STARTED_AT_ONCE: usize = 64;

/// Why a back-fill ends early.
const JOB_REMOVED: &str = "the job was removed";

impl Engine {
    /// Begins the items whose turn has come, a bounded number; the others stay due.
    pub(in crate::engine) fn advance_replays(&mut self) {
        let mut left = STARTED_AT_ONCE;
        while let Some(id) = self.replays.stirred.pop_first() {
            self.look_at_runs(id);
            if self.has_lost_its_job(id) {
                self.stop_replay(id, Some(JOB_REMOVED));
                continue;
            }
            while self.may_begin_next(id) {
                if left == 0 {
                    self.replays.stirred.insert(id);
                    return;
                }
                left -= 1;
                self.begin_next(id);
            }
        }
    }

    /// Lets go the places of runs that only wait for clients that are away.
    fn look_at_runs(&mut self, id: ReplayId) {
        let Some(open) = self.replays.open.get_mut(&id) else { return };
        if !std::mem::take(&mut open.look) {
            return;
        }
        for serial in open.busy.iter().copied().collect::<Vec<_>>() {
            self.look_at_run(id, serial);
        }
    }

    /// The same for one run; tells whether it was one.
    fn look_at_run(&mut self, id: ReplayId, serial: Serial) -> bool {
        let connected = self.registry.connected();
        let under_way = self
            .runs
            .get(serial)
            .is_some_and(|run| self.replays.is_under_way(run, connected, self.started));
        let Some(open) = self.replays.open.get_mut(&id).filter(|_| !under_way) else {
            return false;
        };
        open.busy.remove(&serial) && open.waiting.insert(serial)
    }

    fn has_lost_its_job(&self, id: ReplayId) -> bool {
        let Some(open) = self.replays.open.get(&id) else { return false };
        let job = open.next().and_then(|item| open.template(item)?.job_id);
        open.now.kind == ReplayKind::Backfill && job.is_some_and(|job| !self.jobs.contains(job))
    }

    /// Whether a replay's next item may begin now. If it may not, what it waits for is noted.
    fn may_begin_next(&mut self, id: ReplayId) -> bool {
        let Some(open) = self.replays.open.get(&id) else { return false };
        let Some(item) = open.next() else { return false };
        let is_due = open.now.due(item.offset()) <= self.now;
        let places = usize::try_from(open.now.terms.max_open.get()).unwrap_or(usize::MAX);
        let waits = match self.in_the_way(open, item) {
            _ if !is_due => Waits::Moment,
            _ if open.busy.len() >= places => Waits::Place,
            Some((run, clients)) => Waits::Run(run, clients),
            None => Waits::Moment,
        };
        let may = is_due && waits == Waits::Moment;
        if let Some(open) = self.replays.open.get_mut(&id) {
            open.waits = waits;
        }
        may
    }

    /// A run for which the overlap policy would skip an item if it began now, or one of the
    /// replay's own that it would end, and the clients on which that is in the way. With a speed
    /// it overlaps as it did then, and nothing is in its way.
    fn in_the_way(&self, open: &Open, item: &ReplayItem) -> Option<(Serial, RoaringBitmap)> {
        let template = open.template(item).filter(|_| open.now.terms.speed.is_none())?;
        let job = template.in_turn().filter(|job| self.jobs.contains(*job))?;
        let target;
        let clients = if let Some(chosen) = open.clients(item) {
            chosen
        } else {
            target = self.resolve_of(template);
            &target
        };
        let connected = self.registry.connected();
        let busy = |other: &OpenRun| {
            let shared = match template.overlap_scope {
                OverlapScope::Job => other.open.clone(),
                OverlapScope::Client => &other.open & clients,
            };
            if self.replays.is_unsettled(other, self.started) {
                return shared;
            }
            (&shared & connected) | (&shared & &other.accepted)
        };
        self.runs.of_job(job).into_iter().find_map(|serial| {
            let other = self.runs.get(serial)?;
            let own = other.run.replay_of.is_some_and(|of| of.replay == open.now.id);
            let counts = own || template.overlap != Overlap::Replace;
            let there = busy(other);
            (counts && !there.is_empty()).then_some((serial, there))
        })
    }

    fn begin_next(&mut self, id: ReplayId) {
        let Some(open) = self.replays.open.get(&id) else { return };
        let (item, number, kind) = (open.next().cloned(), open.now.started, open.now.kind);
        let Some(item) = item else { return };
        let Some(template) = open.template(&item).cloned() else { return };
        let chosen = item.clients.map(|_| open.clients(&item).cloned().unwrap_or_default());
        let hash = spread::hash(&[&id.to_bytes(), &number.to_be_bytes()]);
        let serial = self.immediate_serial(u128::from(hash) << 16);
        let mut run = Run {
            serial,
            cause: kind.cause(),
            job_id: template.job_id.filter(|job| self.jobs.contains(*job)),
            scheduled_at: item.scheduled_at,
            fired_at: self.now,
            expires_at: expiry(&template, self.now),
            replay_of: Some(ReplayOf { replay: id, item: number, serial: item.of }),
            ..(*template).clone()
        };
        let (targets, gone) = match &chosen {
            None => (self.resolve_of(&run), 0),
            Some(chosen) => {
                let left = chosen & self.registry.defined();
                let gone = chosen.len() - left.len();
                (left, gone)
            }
        };
        if chosen.is_some() && targets.is_empty() {
            run.reason = Some("its clients were removed".to_owned());
        }
        self.went_on(id, serial, |step| step.started = Some(gone));
        let run = self.start_run_for(run, targets);
        if run.counts.total == 0 {
            // No delivery's end told of it.
            self.replay_went_on(
                ReplayOf { replay: id, item: number, serial: None },
                serial,
                Some(run.counts),
            );
        } else if run.ended_at.is_none() {
            if let Some(open) = self.replays.open.get_mut(&id) {
                open.busy.insert(serial);
            }
            self.look_at_run(id, serial);
        }
    }

    /// Notes a step of a replay; it is stored with the run.
    fn went_on(&mut self, id: ReplayId, serial: Serial, change: impl FnOnce(&mut super::Step)) {
        let Some(open) = self.replays.open.get_mut(&id) else { return };
        let mut step = super::Step { replay: id, started: None, ended: None };
        change(&mut step);
        step.apply(&mut open.now);
        self.replays.step(serial, id, |all| {
            all.started = step.started.or(all.started);
            all.ended = step.ended.or(all.ended);
        });
    }

    /// A delivery of a replay's run has ended, and with counts the run.
    pub(in crate::engine) fn replay_went_on(
        &mut self,
        of: ReplayOf,
        serial: Serial,
        ended: Option<Counts>,
    ) {
        let id = of.replay;
        let Some(open) = self.replays.open.get_mut(&id) else { return };
        let Some(counts) = ended else {
            if self.look_at_run(id, serial) {
                self.replays.stirred.insert(id);
            }
            return;
        };
        open.busy.remove(&serial);
        open.waiting.remove(&serial);
        self.replays.stirred.insert(id);
        let now = self.now;
        self.went_on(id, serial, |step| step.ended = Some((now, counts)));
        if self.replays.open.get(&id).is_some_and(|open| open.now.ended_at.is_some()) {
            self.tell_replay(id, "ended");
        }
    }

    /// Ends a replay: no further run is made, and its open runs are cancelled.
    pub(in crate::engine) fn cancel_replay(&mut self, id: ReplayId) -> Result<Reply, RequestError> {
        let open = self.replays.open.get(&id).filter(|open| open.now.ended_at.is_none());
        let Some(open) = open else {
            let message = format!("replay {id} is not open: it has ended or never was");
            return Err(RequestError::Conflict(message));
        };
        let (runs, before) = (open.runs(), open.now.clone());
        let stopped = self.stop_replay(id, None).unwrap_or(before);
        for serial in runs {
            // One may have ended with an earlier one's cancellation.
            if self.runs.get(serial).is_some_and(|run| run.run.ended_at.is_none()) {
                self.cancel_run(serial)?;
            }
        }
        let now = self.replays.open.get(&id).map_or(stopped, |open| open.now.clone());
        Ok(Reply::Replay(Box::new(now)))
    }

    /// Lets a replay make no further run. It ends when those that are open have ended.
    fn stop_replay(&mut self, id: ReplayId, reason: Option<&str>) -> Option<Replay> {
        // What was decided before is stored before; then all of it is.
        self.close();
        let now = self.now;
        let open = self.replays.open.get_mut(&id)?;
        open.now.cancelled_at.get_or_insert(now);
        if open.now.reason.is_none() {
            open.now.reason = reason.map(str::to_owned);
        }
        open.now.ended_at = open.now.is_over().then_some(now);
        open.stored = open.now.clone();
        let replay = open.now.clone();
        self.store(vec![Change::PutReplay(Box::new(replay.clone()))]);
        self.tell_replay(id, "cancelled");
        if replay.ended_at.is_some() {
            self.tell_replay(id, "ended");
            self.replays.open.remove(&id);
            self.replays.stirred.remove(&id);
        }
        Some(replay)
    }

    /// After a start: cancellations that a crash cut short are completed, and the others go on.
    pub(in crate::engine) fn take_up_replays(&mut self) {
        self.replays.stir_all();
        let cancelled = self
            .replays
            .open
            .values()
            .filter(|open| open.now.cancelled_at.is_some() && open.now.reason.is_none());
        let runs: Vec<Serial> = cancelled.flat_map(Open::runs).collect();
        for serial in runs {
            let stands = |run: &Run| run.ended_at.is_none() && run.cancelled_at.is_none();
            if self.runs.get(serial).is_some_and(|open| stands(&open.run)) {
                // It is open, so it can be.
                let _ = self.cancel_run(serial);
            }
        }
    }

    pub(super) fn tell_replay(&mut self, id: ReplayId, change: &str) {
        let Some(open) = self.replays.open.get(&id) else { return };
        let Replay { kind, started, items, counts, .. } = open.now;
        let (job, change) = (open.now.job.clone(), change.to_owned());
        self.notify(What::Replay { replay: id, kind, job, change, started, items, counts });
    }
}

/// When a run that begins now expires: after as long a time as the original, from now on.
fn expiry(template: &Run, now: Timestamp) -> Option<Timestamp> {
    template.expires_at.map(|at| now.plus(at.since(Timestamp::from_millis(0))))
}

/// What a replay's terms make of a template.
pub(super) fn under_terms(template: &Run, replay: &Replay, chosen: bool) -> Run {
    let mut run = template.clone();
    if let Some(target) = &replay.terms.target {
        run.target = target.clone();
    }
    if let Some(overlap) = replay.terms.overlap.filter(|_| run.job_id.is_some()) {
        run.overlap = overlap;
    }
    if replay.terms.no_rollout {
        run.rollout = None;
    }
    if chosen {
        // Exactly those clients, whoever comes into the target.
        run.membership = Membership::Snapshot;
    }
    run
}
