//! Runs that have fired, and clients that come into their target or leave it.
//!
//! A client that comes into the target of a run with open membership gets it too; the delivery is
//! stored in the unit of the change that let the client in. A delivery that no client has taken
//! ends as `removed` when its client leaves the target, in the unit of that change. A delivery has
//! one end: a client that comes back does not get a run again whose delivery to it has ended.

use roaring::RoaringBitmap;

use super::MAX_OPEN;
use super::change::Change;
use super::core::Engine;
use super::effect::{Reply, RequestError};
use super::resolve::Salt;
use super::spread;
use crate::client_record::{ClientRecord, Presence};
use crate::id::{ClientNo, JobId, Serial};
use crate::job::{Offline, Overlap, OverlapScope};
use crate::run::{DeliveryState, Outcome};
use crate::target::Membership;

impl Engine {
    /// Stores a client as it is now; `ungrouped`: it was taken out of a group.
    pub(super) fn put_client(
        &mut self,
        record: ClientRecord,
        ungrouped: bool,
    ) -> Result<Reply, RequestError> {
        let id = record.id.clone();
        self.change_client(record, ungrouped);
        Ok(Reply::Client(Box::new(self.registry.view(self.client(&id)?))))
    }

    /// Stores a client as it is now, and what that means for the open runs, as one unit.
    pub(super) fn change_client(&mut self, record: ClientRecord, ungrouped: bool) {
        if self.registry.is_alike(&record) {
            let record = self.registry.put(record, Presence::default());
            return self.store(vec![Change::PutClient(record)]);
        }
        // What was decided before is stored before.
        self.close();
        let no = record.no;
        let before = self.may_get(no);
        let record = self.registry.put(record, Presence::default());
        for serial in before {
            self.leave(serial, no, ungrouped);
        }
        let joined = self.join(no);
        let mut unit = vec![Change::PutClient(record)];
        let mut units = self.runs.units();
        self.put_replays(&mut units);
        unit.extend(units.into_values().flatten());
        self.store(unit);
        for serial in joined {
            self.deliver_joined(serial, no);
        }
    }

    /// The runs with an open delivery for a client that is in their target.
    fn may_get(&self, no: ClientNo) -> Vec<Serial> {
        let narrow = self.registry.get(no).into_iter().flat_map(|client| &client.narrow).copied();
        let open = narrow.chain(self.runs.wide_of(no));
        let is_in = |serial: &Serial| {
            let run = self.runs.get(*serial);
            run.is_some_and(|open| self.registry.may_mean(&open.run.target, no))
        };
        open.filter(is_in).collect()
    }

    /// Ends the delivery of a client that has left the target, unless the client has taken it.
    fn leave(&mut self, serial: Serial, no: ClientNo, ungrouped: bool) {
        let Some(open) = self.runs.get(serial) else { return };
        let follows = ungrouped || open.run.membership == Membership::Open;
        if !follows || open.accepted.contains(no.0) {
            return;
        }
        if !self.registry.may_mean(&open.run.target, no) {
            let reason = format!("no longer in {}", open.run.target);
            self.withdraw(serial, no, DeliveryState::Removed, &reason);
        }
    }

    /// Gives a client the runs with open membership in whose target it is now.
    fn join(&mut self, no: ClientNo) -> Vec<Serial> {
        let mut joined: Vec<Serial> = self.runs.joinable().collect();
        joined.retain(|serial| self.joins(*serial, no));
        for serial in &joined {
            self.join_run(*serial, no);
        }
        joined
    }

    fn joins(&self, serial: Serial, no: ClientNo) -> bool {
        let Some(open) = self.runs.get(serial) else { return false };
        let run = &open.run;
        let stands = run.ended_at.is_none()
            && run.cancelled_at.is_none()
            && run.expires_at.is_none_or(|at| at > self.now)
            && run.job_id.is_none_or(|job| self.jobs.contains(job));
        stands
            && !open.members.contains(no.0)
            && self.registry.means(&run.target, no, Salt::of_run(run))
    }

    fn join_run(&mut self, serial: Serial, no: ClientNo) {
        let Some(run) = self.runs.change(serial) else { return };
        run.join(no);
        let (wide, bytes) = (run.wide, run.bytes());
        self.deliveries_open += 1;
        let opened = self.registry.open(no, (serial, bytes), wide);
        let Some((before, away)) = opened else { return };
        if before >= MAX_OPEN {
            let reason = format!("the client has {MAX_OPEN} open deliveries already");
            self.end_delivery(serial, no, Outcome::ended(DeliveryState::Skipped, reason));
            return;
        }
        if let Some(newer) = self.newer_instead(serial, no, away) {
            let reason = format!("run {newer} is newer");
            self.end_delivery(serial, no, Outcome::ended(DeliveryState::Superseded, reason));
            return;
        }
        let one: RoaringBitmap = [no.0].into_iter().collect();
        if away {
            self.apply_offline_policy(serial, &one);
            self.limit_queues(serial, one.iter());
        }
        if !self.held.holds(serial) {
            self.overlap_on(serial, &one);
        }
    }

    /// A later run of the job that the client has and that takes the place of this one.
    fn newer_instead(&self, serial: Serial, no: ClientNo, away: bool) -> Option<Serial> {
        let run = &self.runs.get(serial)?.run;
        let job: JobId = run.job_id?;
        let replaces = run.overlap == Overlap::Replace && run.overlap_scope == OverlapScope::Client;
        let latest = run.offline == Offline::Latest && away;
        let later = self.runs.of_job(job).into_iter().rev().take_while(|other| *other > serial);
        later
            .filter(|_| replaces || latest)
            .find(|other| self.runs.get(*other).is_some_and(|run| run.open.contains(no.0)))
    }

    /// Sends a run to a client that has come into its target, or notes when.
    fn deliver_joined(&mut self, serial: Serial, no: ClientNo) {
        let Some(open) = self.runs.get(serial).filter(|open| open.open.contains(no.0)) else {
            return;
        };
        if spread::spreads(&open.run) {
            let moment = self.moment(&open.run, no);
            if moment > self.now {
                self.waves.entry((moment, serial)).or_default().insert(no.0);
                return;
            }
        }
        if !self.held.holds(serial) {
            self.deliver_to(serial, &[no.0].into_iter().collect());
        }
    }
}
