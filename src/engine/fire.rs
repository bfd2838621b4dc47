//! Runs begin here: jobs that are due, triggers and submissions.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::MAX_OPEN;
use super::core::Engine;
use super::dispatch::{hand_over, is_marked};
use super::effect::{Reply, RequestError};
use super::event::What;
use super::jobs::Entry;
use super::missed::{self, LATE};
use super::overlap::Start;
use super::repeats::Sought;
use super::replays::run_of_job;
use super::resolve::Salt;
use super::runs::OpenRun;
use super::spread;
use crate::id::{ClientNo, JobId, JobName, Serial};
use crate::job::{Command, Job, JobState, Offline, Overlap, OverlapScope};
use crate::run::{Cause, Counts, DeliveryState, Outcome, Run, Submission};
use crate::target::Target;
use crate::time::Timestamp;

/// Jobs that one call of the deadline looks at, at most.
const DUE_AT_ONCE: usize = 1_024;

/// Firings after which one call of the deadline looks at no further job.
const FIRINGS_AT_ONCE: usize = 4_096;

/// An occurrence that fires.
struct Firing {
    serial: Serial,
    job: JobId,
    scheduled_at: Timestamp,
    cause: Cause,
}

/// Why a submission cannot ask for the latest run alone.
const NO_LATER_RUN: &str = "offline \"latest\" needs a job: a submitted command has no later run";

impl Engine {
    /// Fires what is due by now, a bounded part of it, in serial order.
    pub(super) fn fire_due(&mut self) {
        let mut firings = Vec::new();
        for id in self.jobs.due(self.now, DUE_AT_ONCE) {
            if firings.len() >= FIRINGS_AT_ONCE {
                // The others stay due, and the next call looks at them.
                break;
            }
            let until = self.started.max(self.now.minus(LATE));
            self.plan(id, until, None, &mut firings);
        }
        self.fire(firings);
    }

    /// Deals with what a job missed before `until`, then with what is due by now.
    fn plan(&mut self, id: JobId, until: Timestamp, why: Option<&str>, firings: &mut Vec<Firing>) {
        let Some(mut entry) = self.jobs.get(id) else { return };
        let due = entry.state.next_due;
        let mut kept = Vec::new();
        if due.is_some_and(|due| due < until) {
            let reason = why.map_or_else(|| self.why_missed(&entry, due), str::to_owned);
            let caught = missed::catch_up(&mut entry, self.now, until, &reason);
            kept = caught.kept;
            self.standing_changed(id, None);
            if let (Some(row), Some(missed)) = (caught.missed, entry.state.missed.clone())
                && !bug!(MissedUnrecorded)
            {
                let job = entry.job.spec.name.clone();
                self.notify(What::Missed { job, missed });
                self.note_missed(row);
            }
        }
        let firing = |scheduled_at, cause| Firing {
            serial: Serial::of_firing(id, scheduled_at),
            job: id,
            scheduled_at,
            cause,
        };
        firings.extend(kept.iter().map(|at| firing(*at, Cause::CatchUp)));
        let mut ahead = entry.clone();
        for at in &kept {
            ahead.pass(*at);
        }
        while let Some(at) = ahead.state.next_due.filter(|at| *at <= self.now) {
            firings.push(firing(at, Cause::Scheduled));
            ahead.pass(at);
        }
        if kept.is_empty() && entry.state.next_due.is_none() {
            self.notify_ended(&entry);
        }
        self.jobs.put(entry);
    }

    fn why_missed(&self, entry: &Entry, due: Option<Timestamp>) -> String {
        match due {
            Some(due) if due < entry.job.updated_at => {
                "it had passed when the job was defined".into()
            }
            Some(due) if due < self.started => "the server was down".into(),
            _ => "the server was late".into(),
        }
    }

    fn notify_ended(&mut self, entry: &Entry) {
        self.notify_job(entry, "ended");
    }

    fn fire(&mut self, mut firings: Vec<Firing>) {
        firings.sort_unstable_by_key(|firing| firing.serial);
        for firing in firings {
            let Some(mut entry) = self.jobs.get(firing.job) else { continue };
            entry.pass(firing.scheduled_at);
            entry.note_shot(firing.scheduled_at);
            entry.state.last_serial = Some(firing.serial);
            if !bug!(FiringNotStored) {
                self.standing_changed(firing.job, Some(firing.serial));
            }
            let job = Arc::clone(&entry.job);
            if entry.state.next_due.is_none() {
                self.notify_ended(&entry);
            }
            self.jobs.put(entry);
            self.last_serial = self.last_serial.max(firing.serial);
            // After a crash between a run's unit and its job's the run is there already.
            if self.runs.get(firing.serial).is_none() {
                self.start_job_run(firing.serial, &job, firing.scheduled_at, firing.cause);
            }
        }
    }

    fn start_job_run(
        &mut self,
        serial: Serial,
        job: &Job,
        scheduled_at: Timestamp,
        cause: Cause,
    ) -> Run {
        self.start_run(run_of_job(job, serial, self.now, scheduled_at, cause))
    }

    /// Runs a job now.
    pub(super) fn trigger(&mut self, name: &JobName, entropy: u128) -> Result<Reply, RequestError> {
        let entry = self.job(name)?;
        let serial = self.immediate_serial(entropy);
        let id = entry.job.id;
        let run = self.start_job_run(serial, &entry.job, self.now, Cause::Trigger);
        let state = JobState { last_serial: Some(serial), ..entry.state };
        self.jobs.put(Entry { job: entry.job, state });
        self.standing_changed(id, Some(serial));
        Ok(Reply::Run(Box::new(run)))
    }

    /// Runs a command now, without a job.
    pub(super) fn submit(
        &mut self,
        submission: Submission,
        entropy: u128,
    ) -> Result<Reply, RequestError> {
        let policy = submission.policy();
        policy.check().map_err(|error| RequestError::Invalid(error.to_string()))?;
        super::rollout::check(submission.rollout.as_ref(), submission.membership)
            .map_err(RequestError::Invalid)?;
        let sought = Sought::of(&submission)?;
        let (on_client_crash, membership) = (submission.on_client_crash, submission.membership);
        let Submission { target, command, params, offline, expires_after, .. } = submission;
        if offline == Offline::Latest {
            return Err(RequestError::Invalid(NO_LATER_RUN.into()));
        }
        let command = Command::new(command, params)
            .map_err(|error| RequestError::Invalid(error.to_string()))?;
        if let Some(sought) = &sought
            && let Some(serial) = self.repeat_of(sought)?
        {
            return Ok(Reply::Repeated(serial));
        }
        self.check_target(&target)?;
        if let Some(sought) = &sought {
            self.make_room(sought)?;
        }
        let serial = self.immediate_serial(entropy);
        if let Some(sought) = sought {
            self.remember(sought, serial);
        }
        let run = self.start_run(Run {
            serial,
            job_id: None,
            job: None,
            cause: Cause::Submit,
            command,
            target,
            scheduled_at: self.now,
            fired_at: self.now,
            offline,
            expires_at: expires_after.map(|after| self.now.plus(after)),
            overlap: Overlap::Allow,
            overlap_scope: OverlapScope::Client,
            spread: None,
            jitter: None,
            on_client_crash,
            policy,
            rollout: submission.rollout,
            rollout_state: None,
            cancelled_at: None,
            ended_at: None,
            reason: None,
            counts: Counts::default(),
            membership,
            bytes: 0,
            forgotten: false,
            replay_of: None,
        });
        Ok(Reply::Run(Box::new(run)))
    }

    /// A submitted command must be for somebody: a name that is not there is a mistake.
    pub(super) fn check_target(&self, target: &Target) -> Result<(), RequestError> {
        target.check().map_err(|error| RequestError::Invalid(error.to_string()))?;
        for id in target.clients() {
            self.client(id)?;
        }
        match target.groups().find(|group| !self.registry.has_group(group)) {
            Some(group) => {
                Err(super::not_found("group", group.as_str(), self.registry.group_names()))
            }
            None => Ok(()),
        }
    }

    /// Begins a run for those whom its target means now.
    fn start_run(&mut self, run: Run) -> Run {
        let targets = self.registry.resolve(&run.target, Salt::of_run(&run));
        self.start_run_for(run, targets)
    }

    /// Begins a run for these clients: records it, ends what its policy does not want delivered,
    /// and sends the rest to those who are here.
    pub(super) fn start_run_for(&mut self, mut run: Run, mut targets: RoaringBitmap) -> Run {
        let serial = run.serial;
        let start = self.overlap_of_job(&run);
        if let Start::Never(reason) = &start {
            targets.clear();
            run.reason = Some(reason.clone());
        }
        let away = &targets - self.registry.connected();
        // A registry has fewer clients than u32 has numbers.
        run.counts.total = u32::try_from(targets.len()).unwrap_or(u32::MAX);
        if targets.is_empty() {
            run.ended_at = Some(self.now);
            run.reason.get_or_insert_with(|| self.registry.why_nobody(&run.target));
        }
        let waiting = if run.offline == Offline::Drop { 0 } else { away.len() };
        self.notify(What::RunStarted {
            serial,
            job: run.job.clone(),
            command: run.command.name.clone(),
            cause: run.cause,
            scheduled_at: run.scheduled_at,
            total: run.counts.total,
            away: u32::try_from(waiting).unwrap_or(u32::MAX),
        });
        if let (Some(reason), counts) = (&run.reason, run.counts) {
            tracing::debug!(%serial, %reason, "run has nobody to go to");
            self.notify(What::RunEnded { serial, job: run.job.clone(), counts });
        }
        let expires_at = run.expires_at;
        self.open_deliveries(run.clone(), &targets);
        self.apply_offline_policy(serial, &away);
        if expires_at.is_some_and(|at| at <= self.now) {
            self.expire(serial);
        }
        self.limit_queues(serial, away.iter());
        if matches!(start, Start::Now) {
            self.overlap_on_clients(serial);
            self.deliver(serial);
        }
        // It stays in memory until the decision is taken, even if it has ended by now.
        self.runs.get(serial).map_or(run, |open| open.run.clone())
    }

    /// Puts a run and its deliveries into memory.
    fn open_deliveries(&mut self, run: Run, targets: &RoaringBitmap) {
        let serial = run.serial;
        let expires_at = run.expires_at;
        let young = self.runs.young.begin(&run);
        let open = OpenRun::new(run, targets.clone(), young);
        let (wide, bytes) = (open.wide, open.bytes());
        self.runs.insert(open, expires_at);
        self.runs.change(serial);
        self.deliveries_open += targets.len();
        self.take_up_rollout(serial, None);
        self.plan_waves(serial);
        let mut full = Vec::new();
        for no in targets {
            let opened = self.registry.open(ClientNo(no), (serial, bytes), wide);
            if opened.is_some_and(|(before, _)| before >= MAX_OPEN) {
                full.push(no);
            }
        }
        for no in full {
            let reason = format!("the client has {MAX_OPEN} open deliveries already");
            let outcome = Outcome::ended(DeliveryState::Skipped, reason);
            self.end_delivery(serial, ClientNo(no), outcome);
        }
    }

    /// Ends what a client that is away shall not get when it returns.
    pub(super) fn apply_offline_policy(&mut self, serial: Serial, away: &RoaringBitmap) {
        let Some(run) = self.runs.get(serial) else { return };
        match (run.run.offline, run.run.job_id) {
            (Offline::Drop, _) => {
                for no in away {
                    let outcome = Outcome::ended(DeliveryState::Skipped, "the client was away");
                    self.end_delivery(serial, ClientNo(no), outcome);
                }
            }
            (Offline::Latest, Some(job)) => self.supersede(job, serial, away),
            (Offline::Queue | Offline::Latest, _) => {}
        }
    }

    /// Ends the earlier deliveries of a job that still wait for clients that are away.
    fn supersede(&mut self, job: JobId, by: Serial, away: &RoaringBitmap) {
        for earlier in self.runs.of_job(job).into_iter().filter(|serial| *serial < by) {
            let Some(run) = self.runs.get(earlier) else { continue };
            let victims = (&run.open & away) - &run.accepted;
            for no in victims {
                let outcome =
                    Outcome::ended(DeliveryState::Superseded, format!("run {by} is newer"));
                self.end_delivery(earlier, ClientNo(no), outcome);
            }
        }
    }

    /// Gives a run's open deliveries to those who are here and whose moment has come.
    pub(super) fn deliver(&mut self, serial: Serial) {
        if self.rollouts.stir(serial) {
            return self.advance_rollout(serial);
        }
        let Some(run) = self.runs.get(serial) else { return };
        let mut here = &run.open & self.registry.connected();
        if spread::spreads(&run.run) {
            here =
                here.iter().filter(|no| self.moment(&run.run, ClientNo(*no)) <= self.now).collect();
        }
        self.deliver_to(serial, &here);
    }

    /// Gives a run's deliveries to connected clients.
    ///
    /// There can be a million of them: what is the same for all is looked up once.
    pub(super) fn deliver_to(&mut self, serial: Serial, clients: &RoaringBitmap) {
        let Some(run) = self.runs.get_mut(serial) else { return };
        let (class, is_marked) = (run.run.policy.priority, is_marked(run));
        let (before, mut waiting) = (self.effects.len(), Vec::new());
        self.effects.reserve(usize::try_from(clients.len()).unwrap_or(0));
        for no in clients {
            let client = ClientNo(no);
            let Some(session) = self.registry.session(client) else { continue };
            let Some(link) = self.sessions.get_mut(session) else { continue };
            if !link.offer(class, serial) {
                waiting.push(session);
                continue;
            }
            let (effect, look_at) = hand_over(run, link, (session, client), self.now);
            self.deadlines.look_at(session, look_at);
            self.effects.push(effect);
        }
        if is_marked && self.effects.len() > before {
            self.runs.change(serial);
        }
        for session in waiting {
            self.pump(session);
        }
    }

    /// Fires what a job missed while it was paused, until its own end or now, and what is due
    /// since; tells how many firings that makes.
    pub(super) fn catch_up_after_pause(&mut self, id: JobId, until: Option<Timestamp>) -> usize {
        let up = self.started.max(self.now.minus(LATE));
        let until = until.unwrap_or(self.now).max(up).min(self.now);
        let mut firings = Vec::new();
        self.plan(id, until, Some("the job was paused"), &mut firings);
        let count = firings.len();
        self.fire(firings);
        count
    }

    /// Ends deliveries that no client accepted in time.
    pub(super) fn expire_due(&mut self) {
        while let Some(serial) = self.runs.pop_expired(self.now) {
            self.expire(serial);
        }
    }

    fn expire(&mut self, serial: Serial) {
        let Some(run) = self.runs.get(serial) else { return };
        let Some(at) = run.run.expires_at else { return };
        let victims = &run.open - &run.accepted;
        let reason = format!("no client took it by {at}");
        for no in victims {
            self.withdraw(serial, ClientNo(no), DeliveryState::Expired, &reason);
        }
    }
}
