//! Rollouts: who is let go when, and when nobody is any more.
//!
//! Promises: what is released is stored in the same unit as the decision, before anything is sent;
//! a delivery that is not released is given to no connection; a run without a rollout costs
//! nothing here.
//!
//! A delivery is under way, and holds one of the places, from when it is given to a connection
//! until it has ended, its pauses between attempts included. If the connection ends, one that the
//! client had taken keeps its place, for it may be running: a command that restarts its host must
//! not let a further one go. One that it had not taken gives it back.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;

use super::core::Engine;
use super::effect::{Reply, RequestError};
use super::event::What;
use super::rolling::{Bucket, Rolling, order};
use super::runs::OpenRun;
use crate::id::{ClientNo, JobId, Serial};
use crate::job::{Offline, Overlap};
use crate::rollout::{Decimal, Rollout, RolloutState, Standing, Verdict};
use crate::run::{DeliveryState, Outcome, Run};
use crate::target::Membership;
use crate::time::Timestamp;

/// The rollouts under way.
#[derive(Debug, Default)]
pub(super) struct Rollouts {
    by_run: BTreeMap<Serial, Rolling>,
    /// Those of which something has changed since the last look.
    stirred: BTreeSet<Serial>,
    wakes: BTreeSet<(Timestamp, Serial)>,
}

/// Whom a look at a rollout lets go.
#[derive(Default)]
struct Picked {
    /// They get it now.
    given: RoaringBitmap,
    /// They had their turn while they were away.
    away: RoaringBitmap,
    /// When to look again.
    wake: Option<Timestamp>,
}

impl Rollouts {
    pub(super) fn get(&self, serial: Serial) -> Option<&Rolling> {
        self.by_run.get(&serial)
    }

    /// Whether a run's deliveries wait for their turn; the run is then looked at soon.
    pub(super) fn stir(&mut self, serial: Serial) -> bool {
        let governs = self.by_run.contains_key(&serial);
        if governs {
            self.stirred.insert(serial);
        }
        governs
    }

    /// When the first wants to be looked at.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Stirs those that want to be looked at by now.
    pub(super) fn stir_due(&mut self, now: Timestamp) {
        while let Some((at, serial)) = self.wakes.first().copied()
            && at <= now
        {
            self.wakes.pop_first();
            if let Some(rolling) = self.by_run.get_mut(&serial) {
                rolling.wake = None;
                self.stirred.insert(serial);
            }
        }
    }

    fn wake(&mut self, serial: Serial, at: Option<Timestamp>) {
        let Some(rolling) = self.by_run.get_mut(&serial) else { return };
        if let Some(old) = std::mem::replace(&mut rolling.wake, at) {
            self.wakes.remove(&(old, serial));
        }
        self.wakes.extend(at.map(|at| (at, serial)));
    }

    /// Notes that a client has what it was given.
    pub(super) fn place(&mut self, serial: Serial, ClientNo(no): ClientNo) {
        if let Some(rolling) = self.by_run.get_mut(&serial) {
            rolling.placed.insert(no);
        }
    }

    /// Notes that a client does not have what it was given.
    pub(super) fn unplace(&mut self, serial: Serial, ClientNo(no): ClientNo) {
        if let Some(rolling) = self.by_run.get_mut(&serial) {
            rolling.placed.remove(no);
        }
    }

    /// Notes that a client has gone.
    pub(super) fn left(&mut self, ClientNo(no): ClientNo) {
        let held = self.by_run.iter().filter(|(_, rolling)| rolling.placed.contains(no));
        self.stirred.extend(held.map(|(serial, _)| *serial));
    }

    /// Of clients whose moment has come, those that hold a place already; the others compete for
    /// one.
    pub(super) fn come(&mut self, serial: Serial, clients: RoaringBitmap) -> RoaringBitmap {
        let Some(rolling) = self.by_run.get_mut(&serial) else { return clients };
        rolling.later -= &clients;
        self.stirred.insert(serial);
        clients & &rolling.placed
    }

    /// Notes that a delivery has ended, and its run if `last`.
    pub(super) fn ended(
        &mut self,
        serial: Serial,
        no: ClientNo,
        state: DeliveryState,
        job: Option<JobId>,
        last: bool,
    ) {
        if self.by_run.is_empty() {
            return;
        }
        if last {
            self.wake(serial, None);
            self.by_run.remove(&serial);
        } else if let Some(rolling) = self.by_run.get_mut(&serial) {
            rolling.ended(no, state);
            self.stirred.insert(serial);
        }
        let behind = self.by_run.iter().filter(|(_, it)| job.is_some() && it.behind == job);
        self.stirred.extend(behind.map(|(serial, _)| *serial));
    }
}

/// That a rollout knows its clients: one with open membership would have to place those that come
/// later in an order that is settled when the run fires.
pub(super) fn check(rollout: Option<&Rollout>, membership: Membership) -> Result<(), String> {
    match (rollout, membership) {
        (Some(_), Membership::Open) => Err(
            "a rollout needs membership \"snapshot\": its waves are shares of the clients that \
                 the target has when it fires"
                .into(),
        ),
        _ => Ok(()),
    }
}

/// How fast a run's rollout may go, as it stands.
fn rate_of(run: &Run) -> Option<Decimal> {
    let rate = run.rollout.as_ref()?.rate()?;
    Some(rate.after(run.counts.succeeded))
}

impl Engine {
    /// Takes up the rollout of a run, a new one or, with how its deliveries have ended so far, one
    /// that the store gave back.
    pub(super) fn take_up_rollout(
        &mut self,
        serial: Serial,
        ends: Option<&[(ClientNo, DeliveryState)]>,
    ) {
        let Some(open) = self.runs.get(serial) else { return };
        let run = &open.run;
        let Some(rollout) = run.rollout.as_ref().filter(|_| !open.open.is_empty()) else { return };
        let state = run.rollout_state.clone().unwrap_or_default();
        let seed = run.job_id.map_or(serial.to_bytes(), JobId::to_bytes);
        let ended = ends.unwrap_or_default().iter().map(|(no, _)| no.0);
        let clients = open.open.iter().chain(ended);
        let named = clients
            .filter_map(|no| self.registry.get(ClientNo(no)).map(|client| (no, &client.record.id)));
        let rate = rate_of(run);
        let bucket = match ends {
            None => Bucket::new(rate, self.now),
            Some(_) => Bucket::empty(rate, self.now),
        };
        let pace = (self.now, run.counts.ended());
        let mut rolling = Rolling::new(order(seed, named), state.released, bucket, pace);
        rolling.behind = run.in_turn().filter(|_| run.overlap == Overlap::Queue);
        let total = run.counts.total;
        rolling.set_wave(
            rollout.wave_end(state.wave.saturating_sub(1), total),
            rollout.wave_end(state.wave, total),
        );
        for (no, state) in ends.unwrap_or_default() {
            rolling.ended(*no, *state);
        }
        rolling.settles_at = ends.map(|_| self.started.plus(super::RETURN_GRACE));
        self.rollouts.by_run.insert(serial, rolling);
        if ends.is_some() {
            // What it waits for may come about without anything that happens.
            self.rollouts.wake(serial, Some(self.now));
        } else {
            self.set_state(serial, |_| {});
        }
    }

    /// Changes where a rollout stands; it is stored with the decision.
    fn set_state(&mut self, serial: Serial, change: impl FnOnce(&mut RolloutState)) {
        if let Some(open) = self.runs.change(serial) {
            change(open.run.rollout_state.get_or_insert_default());
            open.touch();
        }
    }

    fn stand(&mut self, serial: Serial, standing: Standing) {
        self.set_state(serial, |state| state.standing = standing);
        self.tell_rollout(serial);
    }

    fn tell_rollout(&mut self, serial: Serial) {
        let Some((rollout, state, run)) = self.rollout_of(serial) else { return };
        let what = What::Rollout {
            serial,
            job: run.job.clone(),
            wave: state.wave,
            of: rollout.wave_count(),
            rollout: state.standing.clone(),
        };
        self.notify(what);
    }

    fn rollout_of(&self, serial: Serial) -> Option<(&Rollout, &RolloutState, &Run)> {
        let run = &self.runs.get(serial)?.run;
        Some((run.rollout.as_ref()?, run.rollout_state.as_ref()?, run))
    }

    /// Looks at the rollouts of which something has changed; tells whether there were any.
    pub(super) fn advance_rollouts(&mut self) -> bool {
        let stirred = std::mem::take(&mut self.rollouts.stirred);
        for serial in &stirred {
            self.advance_rollout(*serial);
        }
        !stirred.is_empty()
    }

    /// Aborts a rollout, begins its next wave, and lets go whom it may.
    pub(super) fn advance_rollout(&mut self, serial: Serial) {
        if self.held.holds(serial) {
            return;
        }
        let Some((rollout, state, run)) = self.rollout_of(serial) else { return };
        if state.aborted().is_some() || run.cancelled_at.is_some() {
            return self.rollouts.wake(serial, None);
        }
        if let Some(reason) = rollout.why_abort(&run.counts).filter(|_| run.ended_at.is_none()) {
            return self.abort_rollout(serial, &reason);
        }
        let next_wave = self.judge_wave(serial);
        let stopped = self
            .rollout_of(serial)
            .is_none_or(|(_, state, _)| matches!(state.standing, Standing::Held { .. }));
        if stopped {
            return self.rollouts.wake(serial, None);
        }
        let next_release = self.release(serial);
        self.rollouts.wake(serial, next_wave.into_iter().chain(next_release).min());
    }

    fn abort_rollout(&mut self, serial: Serial, reason: &str) {
        tracing::info!(%serial, %reason, "a rollout is aborted");
        if let Some(open) = self.runs.change(serial) {
            open.run.reason = Some(reason.to_owned());
        }
        self.rollouts.wake(serial, None);
        self.stand(serial, Standing::Aborted { reason: reason.to_owned() });
        self.end_unsent(serial, DeliveryState::Cancelled, reason, false);
    }

    /// Looks whether the wave at hand is over, and goes on to the next; tells when to look again.
    fn judge_wave(&mut self, serial: Serial) -> Option<Timestamp> {
        loop {
            let (rollout, state, run) = self.rollout_of(serial)?;
            let wave = *rollout.wave(state.wave)?;
            if rollout.wave_end(state.wave, run.counts.total) >= run.counts.total {
                // Nothing follows.
                return None;
            }
            let rolling = self.rollouts.get(serial)?;
            let tally = rolling.tally(&self.runs.get(serial)?.open);
            let standing = match &state.standing {
                Standing::Going if rolling.wave_is_empty() => None,
                Standing::Going => match (tally.verdict(wave.success), wave.wait) {
                    (Verdict::Open, _) => return None,
                    (Verdict::OutOfReach, _) => {
                        let lost = tally.counted - tally.succeeded - tally.open;
                        let (number, of) = (state.wave, rollout.wave_count());
                        let (success, counted) = (wave.success, tally.counted);
                        let reason = format!(
                            "wave {number} of {of} cannot reach {success}: {lost} of its {counted} \
                             deliveries did not succeed"
                        );
                        Some(Standing::Held { reason })
                    }
                    (Verdict::Reached, Some(wait)) => {
                        Some(Standing::Waiting { until: self.now.plus(wait) })
                    }
                    (Verdict::Reached, None) => {
                        wave.approval.then_some(Standing::Approval { since: self.now })
                    }
                },
                Standing::Waiting { until } if *until > self.now => return Some(*until),
                Standing::Waiting { .. } => {
                    wave.approval.then_some(Standing::Approval { since: self.now })
                }
                Standing::Approval { .. } | Standing::Held { .. } | Standing::Aborted { .. } => {
                    return None;
                }
            };
            match standing {
                Some(standing) => self.stand(serial, standing),
                None => self.begin_next_wave(serial),
            }
        }
    }

    fn begin_next_wave(&mut self, serial: Serial) {
        self.set_state(serial, |state| {
            state.wave += 1;
            state.standing = Standing::Going;
        });
        let Some((rollout, state, run)) = self.rollout_of(serial) else { return };
        let total = run.counts.total;
        let (from, to) =
            (rollout.wave_end(state.wave - 1, total), rollout.wave_end(state.wave, total));
        let pace = (self.now, run.counts.ended());
        if let Some(rolling) = self.rollouts.by_run.get_mut(&serial) {
            rolling.set_wave(from, to);
            rolling.pace = pace;
        }
        self.tell_rollout(serial);
    }

    /// Lets go whom places and rate allow, up to the end of the wave at hand; tells when to look
    /// again.
    fn release(&mut self, serial: Serial) -> Option<Timestamp> {
        let mut rolling = self.rollouts.by_run.remove(&serial)?;
        let before = rolling.turns();
        let picked = self.pick(serial, &mut rolling);
        let turns = rolling.turns();
        self.rollouts.by_run.insert(serial, rolling);
        if turns != before {
            // A registry has fewer clients than u32 has numbers.
            let released = u32::try_from(turns).unwrap_or(u32::MAX);
            self.set_state(serial, |state| state.released = released);
        }
        self.deliver_to(serial, &picked.given);
        let drops = self.runs.get(serial).is_some_and(|open| open.run.offline == Offline::Drop);
        for no in picked.away.iter().filter(|_| drops) {
            let reason = "the client was away when its turn in the rollout came";
            let outcome = Outcome::ended(DeliveryState::Skipped, reason);
            self.end_delivery(serial, ClientNo(no), outcome);
        }
        picked.wake
    }

    fn pick(&self, serial: Serial, rolling: &mut Rolling) -> Picked {
        let mut picked = Picked::default();
        let Some((rollout, state, run)) = self.rollout_of(serial) else { return picked };
        let Some(open) = self.runs.get(serial) else { return picked };
        let connected = self.registry.connected();
        if let Some(at) = rolling.settles_at {
            if at > self.now && !open.open.is_subset(connected) {
                return Picked { wake: Some(at), ..picked };
            }
            rolling.settles_at = None;
        }
        let total = run.counts.total;
        let places = rollout.max_in_flight().map_or(u64::MAX, |share| share.of(total).into());
        let end = rollout.wave_end(state.wave, total);
        rolling.bucket.fill(self.now, rate_of(run));
        rolling.placed &= &open.open & &(connected | &open.accepted);
        let blocked = self.blocked(serial, rolling);
        // Those that had their turn and got no place come before those whose turn is to come.
        let mut waiting =
            (((&rolling.released & &open.open) & connected) - &rolling.placed) - &rolling.later;
        waiting -= &blocked;
        let mut waiting = waiting.into_iter();
        while rolling.placed.len() < places {
            if !rolling.bucket.has_one() {
                // Only if somebody waits for it: who is away is looked at on its return.
                if waiting.next().is_some() || rolling.next(end).is_some() {
                    picked.wake = rolling.bucket.ready_at();
                }
                break;
            }
            let no = match waiting.next() {
                Some(no) => no,
                None => match rolling.next(end) {
                    Some(no) => no,
                    None => break,
                },
            };
            rolling.released.insert(no);
            if !open.open.contains(no) || blocked.contains(no) {
                continue;
            }
            if !connected.contains(no) {
                picked.away.insert(no);
            } else if self.is_due(open, ClientNo(no)) {
                rolling.bucket.take();
                rolling.placed.insert(no);
                picked.given.insert(no);
            } else {
                rolling.later.insert(no);
            }
        }
        picked
    }

    /// Whether a client's moment has come, by spread, jitter and the pause between attempts.
    fn is_due(&self, open: &OpenRun, no: ClientNo) -> bool {
        let not_before = open.not_before(no).unwrap_or(Timestamp::MIN);
        not_before.max(self.moment(&open.run, no)) <= self.now
    }

    /// The clients that an earlier run of the job comes first for.
    fn blocked(&self, serial: Serial, rolling: &Rolling) -> RoaringBitmap {
        let Some(job) = rolling.behind else { return RoaringBitmap::new() };
        let earlier = self.runs.of_job(job).into_iter().take_while(|other| *other < serial);
        let open = earlier.filter_map(|other| self.runs.get(other)).map(|open| &open.open);
        open.fold(RoaringBitmap::new(), |all, open| all | open)
    }

    /// Lets the next wave of a run's rollout begin.
    pub(super) fn approve_run(&mut self, serial: Serial) -> Result<Reply, RequestError> {
        let conflict = |why: String| Err(RequestError::Conflict(why));
        if self.runs.get(serial).is_none() {
            return conflict(format!("run {serial} is not open: it has ended or never was"));
        }
        let Some((rollout, state, run)) = self.rollout_of(serial) else {
            return conflict(format!("run {serial} has no rollout: nothing waits for an approval"));
        };
        let at = format!("wave {} of {}", state.wave, rollout.wave_count());
        let why = match &state.standing {
            _ if run.cancelled_at.is_some() => Some("the run was cancelled".to_owned()),
            Standing::Approval { .. } | Standing::Held { .. } => None,
            Standing::Going => Some(format!("{at} is under way")),
            Standing::Waiting { until } => {
                Some(format!("{at} has succeeded, and waits until {until}"))
            }
            Standing::Aborted { reason } => Some(reason.clone()),
        };
        if let Some(why) = why {
            return conflict(format!("run {serial} waits for no approval: {why}"));
        }
        self.notify_run(serial, "approved", None);
        self.begin_next_wave(serial);
        self.advance_rollout(serial);
        let run = self.runs.get(serial).map(|open| open.run.clone());
        run.map(|run| Reply::Run(Box::new(run)))
            .ok_or_else(|| RequestError::Conflict(format!("run {serial} is not open")))
    }
}
