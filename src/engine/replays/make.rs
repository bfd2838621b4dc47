//! How a replay comes to be: what was chosen is held against the registry and the limits.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use roaring::RoaringBitmap;

use super::go::under_terms;
use super::{Open, ReplayParts};
use crate::engine::change::Change;
use crate::engine::core::Engine;
use crate::engine::effect::{Reply, RequestError};
use crate::engine::resolve::Salt;
use crate::id::{ClientId, ClientNo, JobId, JobName, ReplayId, Serial};
use crate::job::{Command, Job};
use crate::replay::{
    InvalidReplay, LeftOut, MAX_REPLAY_DELIVERIES, MAX_REPLAY_ITEMS, MAX_REPLAYS,
    MAX_WAITING_ITEMS, PLAN_CLIENTS, PlannedRun, Replay, ReplayItem, ReplayKind, ReplayPlan,
    ReplayTerms,
};
use crate::run::{Cause, Counts, Run};
use crate::target::Target;
use crate::time::Timestamp;

/// A replay to make, as whoever has read history has chosen it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewReplay {
    /// What it repeats.
    pub kind: ReplayKind,
    /// The job that was asked for, if it was one.
    pub job: Option<JobName>,
    /// The begin of the span that was asked for.
    pub from: Option<Timestamp>,
    /// The end of that span.
    pub to: Option<Timestamp>,
    /// How it is to go about it.
    pub terms: ReplayTerms,
    /// What was not chosen already. Clients that were removed are found here.
    pub left_out: LeftOut,
    /// That an open back-fill of the same job is no obstacle.
    pub again: bool,
    /// What was chosen.
    pub parts: ReplayParts,
}

impl From<InvalidReplay> for RequestError {
    fn from(error: InvalidReplay) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// A job's run.
#[must_use]
pub fn run_of_job(
    job: &Job,
    serial: Serial,
    now: Timestamp,
    scheduled_at: Timestamp,
    cause: Cause,
) -> Run {
    let spec = &job.spec;
    Run {
        serial,
        job_id: Some(job.id),
        job: Some(spec.name.clone()),
        cause,
        // Its size was checked when the job was applied.
        command: Command { name: spec.command.clone(), params: spec.params.clone() },
        target: spec.target.clone(),
        scheduled_at,
        fired_at: now,
        offline: spec.offline,
        expires_at: spec.expires_after.map(|after| scheduled_at.plus(after)),
        overlap: spec.overlap,
        overlap_scope: spec.overlap_scope,
        spread: spec.spread,
        jitter: spec.jitter,
        on_client_crash: spec.on_client_crash,
        policy: spec.policy(),
        rollout: spec.rollout.clone(),
        rollout_state: None,
        cancelled_at: None,
        ended_at: None,
        reason: None,
        counts: Counts::default(),
        membership: spec.membership,
        replay_of: None,
        bytes: 0,
        forgotten: false,
    }
}

impl Engine {
    /// Makes a replay; its first items begin right after.
    pub(in crate::engine) fn replay(
        &mut self,
        new: NewReplay,
        entropy: u128,
    ) -> Result<Reply, RequestError> {
        let again = new.again;
        let (mut replay, parts) = self.settle(new)?;
        if parts.items.is_empty() {
            return Err(RequestError::Invalid(nothing(&replay)));
        }
        self.check_room(&replay, &parts, again)?;
        let id = ReplayId::from_parts(self.now, entropy);
        replay.id = id;
        let parts = Arc::new(parts);
        self.close();
        self.store(vec![
            Change::PutReplay(Box::new(replay.clone())),
            Change::PutReplayParts(id, Arc::clone(&parts)),
        ]);
        self.replays.open.insert(id, Open::new(replay.clone(), parts));
        self.replays.stirred.insert(id);
        self.tell_replay(id, "created");
        Ok(Reply::Replay(Box::new(replay)))
    }

    /// What a replay would run, as things stand.
    pub(in crate::engine) fn plan_replay(&self, new: NewReplay) -> Result<Reply, RequestError> {
        let (replay, parts) = self.settle(new)?;
        let mut left = PLAN_CLIENTS;
        let mut reach = Reach::new(self, &parts);
        let mut runs = Vec::with_capacity(parts.items.len());
        for item in &parts.items {
            let Some(template) = part(&parts.templates, item.template) else { continue };
            let clients = reach.of(item);
            let first = clients.iter().take(left);
            let shown: Vec<ClientId> = first.filter_map(|no| self.name_of(ClientNo(no))).collect();
            left -= shown.len();
            let after = replay.due(item.offset()).since(replay.created_at);
            runs.push(PlannedRun {
                serial: item.of,
                job: template.job.clone(),
                command: template.command.name.clone(),
                target: template.target.clone(),
                scheduled_at: item.scheduled_at,
                after_ms: replay.terms.speed.map(|_| millis(after)),
                deliveries: clients.len(),
                clients: shown,
            });
        }
        let Replay { kind, deliveries, left_out, .. } = replay;
        Ok(Reply::ReplayPlan(Box::new(ReplayPlan { kind, runs, deliveries, left_out })))
    }

    fn name_of(&self, no: ClientNo) -> Option<ClientId> {
        self.registry.get(no).map(|client| client.record.id.clone())
    }

    /// The clients that a run's target means now.
    pub(super) fn resolve_of(&self, run: &Run) -> RoaringBitmap {
        self.registry.resolve(&run.target, Salt::of_run(run))
    }

    /// A replay as it would be, and what it would run: without clients that were removed.
    fn settle(&self, new: NewReplay) -> Result<(Replay, ReplayParts), RequestError> {
        let NewReplay { kind, job, from, to, terms, mut left_out, again: _, parts } = new;
        if let Some(target) = &terms.target {
            self.check_target(target)?;
        }
        let ReplayParts { templates, sets, mut items } = parts;
        let kept: Vec<RoaringBitmap> =
            sets.iter().map(|set| set & self.registry.defined()).collect();
        items.retain(|item| match item.clients.map(|set| (part(&sets, set), part(&kept, set))) {
            Some((Some(before), Some(left))) => {
                left_out.removed += before.len() - left.len();
                !left.is_empty()
            }
            Some(_) => false,
            None => true,
        });
        let mut replay = Replay {
            id: ReplayId::from_bytes([0; 16]),
            kind,
            created_at: self.now,
            job,
            from,
            to,
            terms,
            items: u32::try_from(items.len()).unwrap_or(u32::MAX),
            deliveries: 0,
            left_out,
            started: 0,
            ended: 0,
            counts: Counts::default(),
            cancelled_at: None,
            reason: None,
            ended_at: None,
        };
        check_count(items.len())?;
        let chosen = items.iter().any(|item| item.clients.is_some());
        let templates = templates.iter().map(|run| Arc::new(under_terms(run, &replay, chosen)));
        let parts = ReplayParts { templates: templates.collect(), sets: kept, items };
        let mut reach = Reach::new(self, &parts);
        replay.deliveries = parts.items.iter().map(|item| reach.of(item).len()).sum();
        if replay.deliveries > MAX_REPLAY_DELIVERIES {
            return Err(RequestError::Invalid(format!(
                "it would be {} deliveries; the most is {MAX_REPLAY_DELIVERIES}: choose less",
                replay.deliveries
            )));
        }
        Ok((replay, parts))
    }

    fn check_room(
        &self,
        replay: &Replay,
        parts: &ReplayParts,
        again: bool,
    ) -> Result<(), RequestError> {
        let open = self.replays.open.values().filter(|open| open.now.ended_at.is_none());
        if open.clone().count() >= MAX_REPLAYS {
            let message = format!("{MAX_REPLAYS} replays are open, which is the most");
            return Err(RequestError::Limit(message));
        }
        let waiting = self.replays.waiting_items();
        if waiting + parts.items.len() > MAX_WAITING_ITEMS {
            return Err(RequestError::Limit(format!(
                "open replays have {waiting} runs to make, and this one {}; the most is \
                 {MAX_WAITING_ITEMS}",
                parts.items.len()
            )));
        }
        let job = job_of(parts).filter(|_| replay.kind == ReplayKind::Backfill && !again);
        let mut same = open.filter(|open| open.now.kind == ReplayKind::Backfill);
        match same.find(|open| job.is_some() && job_of(&open.parts) == job) {
            Some(other) => Err(RequestError::Conflict(format!(
                "replay {} of the same job is open; what it is still to run would run twice",
                other.now.id
            ))),
            None => Ok(()),
        }
    }

    /// Forgets a part of each of these replays, if they have ended; called again and again, all.
    pub(in crate::engine) fn forget_replays(&mut self, ids: Vec<ReplayId>) -> Reply {
        // The end of one may not be stored yet.
        self.close();
        for id in ids {
            if !self.replays.open.contains_key(&id) {
                self.store(vec![Change::ForgetReplay(id)]);
            }
        }
        Reply::Done
    }
}

/// The job of a back-fill, all of whose runs are of one.
fn job_of(parts: &ReplayParts) -> Option<JobId> {
    parts.templates.first()?.job_id
}

fn part<T>(parts: &[T], no: u32) -> Option<&T> {
    parts.get(usize::try_from(no).ok()?)
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn check_count(items: usize) -> Result<(), RequestError> {
    if items <= MAX_REPLAY_ITEMS {
        return Ok(());
    }
    let message = format!("it would be {items} runs; the most is {MAX_REPLAY_ITEMS}: choose less");
    Err(RequestError::Invalid(message))
}

/// Why there is nothing to do.
fn nothing(replay: &Replay) -> String {
    let LeftOut { removed, open, had_run } = replay.left_out;
    let mut why = vec!["nothing is to run".to_owned()];
    if had_run > 0 {
        why.push(format!("all {had_run} occurrences have a run; `again` runs them again"));
    }
    if removed > 0 {
        why.push(format!("{removed} deliveries were to clients that were removed since"));
    }
    if open > 0 {
        why.push(format!("{open} deliveries have not ended"));
    }
    if why.len() == 1 {
        why.push(match replay.kind {
            ReplayKind::Again => "no run or delivery is so".to_owned(),
            ReplayKind::Backfill => "the job's rule has no occurrence there".to_owned(),
        });
    }
    why.join(": ")
}

/// Whom items reach, as the registry stands; those of one target are looked up once.
struct Reach<'a> {
    engine: &'a Engine,
    parts: &'a ReplayParts,
    known: HashMap<(&'a Target, Option<JobId>), RoaringBitmap>,
    nobody: RoaringBitmap,
}

impl<'a> Reach<'a> {
    fn new(engine: &'a Engine, parts: &'a ReplayParts) -> Self {
        Self { engine, parts, known: HashMap::new(), nobody: RoaringBitmap::new() }
    }

    fn of(&mut self, item: &ReplayItem) -> &RoaringBitmap {
        if let Some(set) = item.clients {
            return part(&self.parts.sets, set).unwrap_or(&self.nobody);
        }
        let Some(template) = part(&self.parts.templates, item.template) else {
            return &self.nobody;
        };
        let engine = self.engine;
        let key = (&template.target, template.job_id);
        self.known.entry(key).or_insert_with(|| engine.resolve_of(template))
    }
}
