//! Replays: what is open, and how far it is.
//!
//! Promises: a replay's record is stored in the same unit as the run that it tells of, each in
//! serial order and telling nothing of a later one, so that a crash between any two units leaves a
//! replay that goes on with the very next item. Each item becomes one run.
//!
//! A replay's runs begin in the order of its items. A run is under way, and holds one of the
//! replay's places, until it has ended or only waits for clients that are away; after a start of
//! the server, until clients have had [`RETURN_GRACE`](super::RETURN_GRACE) to return, too.

mod go;
mod make;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::RETURN_GRACE;
use super::change::Change;
use super::core::Engine;
use super::runs::OpenRun;
use crate::id::{ClientNo, ReplayId, Serial};
use crate::replay::{Replay, ReplayItem};
use crate::run::{Counts, Run};
use crate::time::Timestamp;

pub use make::{NewReplay, run_of_job};

/// What a replay is to run. It is settled when the replay is made, and never changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayParts {
    /// What runs are made of, see [`Run::template`].
    pub templates: Vec<Arc<Run>>,
    /// Sets of clients, by their numbers.
    #[serde(with = "sets")]
    pub sets: Vec<RoaringBitmap>,
    /// The runs, in the order in which they begin.
    pub items: Vec<ReplayItem>,
}

/// Sets of clients in JSON: each as the Base64 of its portable form.
mod sets {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use roaring::RoaringBitmap;
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        sets: &[RoaringBitmap],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = |set: &RoaringBitmap| {
            let mut bytes = Vec::with_capacity(set.serialized_size());
            set.serialize_into(&mut bytes).map_err(S::Error::custom)?;
            Ok(BASE64_STANDARD.encode(bytes))
        };
        let texts = sets.iter().map(text).collect::<Result<Vec<String>, S::Error>>()?;
        serializer.collect_seq(texts)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<RoaringBitmap>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let set = |text: String| {
            let bytes = BASE64_STANDARD.decode(text).map_err(D::Error::custom)?;
            RoaringBitmap::deserialize_from(&bytes[..]).map_err(D::Error::custom)
        };
        texts.into_iter().map(set).collect()
    }
}

/// A replay that has not ended, as the store gives it back.
#[derive(Debug)]
pub struct ReplayRecord {
    /// The replay as last put.
    pub replay: Replay,
    /// What it is to run.
    pub parts: ReplayParts,
}

/// A replay that has not ended.
#[derive(Debug)]
struct Open {
    /// As it stands.
    now: Replay,
    /// As the units so far tell of it.
    stored: Replay,
    parts: Arc<ReplayParts>,
    /// Its runs that are under way.
    busy: BTreeSet<Serial>,
    /// Its open runs that only wait for clients that are away.
    waiting: BTreeSet<Serial>,
    /// What its next item waits for.
    waits: Waits,
    /// Whether a client has gone since the last look at its runs.
    look: bool,
}

/// What a replay's next item waits for.
#[derive(Debug, PartialEq)]
enum Waits {
    /// Its moment, if that is still to come.
    Moment,
    /// One of the replay's places.
    Place,
    /// Another run of its job, and the clients on which that still is.
    Run(Serial, RoaringBitmap),
}

/// What came about with one run, and is still to be told by a unit.
#[derive(Debug)]
struct Step {
    replay: ReplayId,
    /// The run has begun; so many of its clients were removed since the replay was made.
    started: Option<u64>,
    ended: Option<(Timestamp, Counts)>,
}

impl Step {
    fn apply(&self, replay: &mut Replay) {
        if let Some(removed) = self.started {
            replay.started += 1;
            replay.left_out.removed += removed;
        }
        if let Some((at, counts)) = &self.ended {
            replay.ended += 1;
            replay.counts.sum(counts);
            replay.ended_at = replay.is_over().then_some(*at);
        }
    }
}

/// The replays that have not ended.
#[derive(Debug, Default)]
pub(super) struct Replays {
    open: BTreeMap<ReplayId, Open>,
    /// Those of which something has changed since the last look.
    stirred: BTreeSet<ReplayId>,
    /// By run.
    steps: BTreeMap<Serial, Step>,
    /// Whether clients have had their time to return since the start.
    settled: bool,
}

impl Open {
    fn new(replay: Replay, parts: Arc<ReplayParts>) -> Self {
        let stored = replay.clone();
        let (busy, waiting) = (BTreeSet::new(), BTreeSet::new());
        let waits = Waits::Moment;
        Self { now: replay, stored, parts, busy, waiting, waits, look: false }
    }

    /// What comes next; `None`: no further run is made.
    fn next(&self) -> Option<&ReplayItem> {
        let next = usize::try_from(self.now.started).unwrap_or(usize::MAX);
        self.parts.items.get(next).filter(|_| self.now.cancelled_at.is_none())
    }

    fn due(&self) -> Option<Timestamp> {
        self.next().map(|item| self.now.due(item.offset()))
    }

    fn template(&self, item: &ReplayItem) -> Option<&Arc<Run>> {
        self.parts.templates.get(usize::try_from(item.template).unwrap_or(usize::MAX))
    }

    fn clients(&self, item: &ReplayItem) -> Option<&RoaringBitmap> {
        self.parts.sets.get(usize::try_from(item.clients?).unwrap_or(usize::MAX))
    }

    /// Its runs that have not ended.
    fn runs(&self) -> Vec<Serial> {
        self.busy.iter().chain(&self.waiting).copied().collect()
    }
}

impl Replays {
    /// Takes in what the store gave back, before the open runs.
    pub(super) fn restore(&mut self, record: ReplayRecord) {
        let ReplayRecord { replay, parts } = record;
        self.open.insert(replay.id, Open::new(replay, Arc::new(parts)));
    }

    /// Takes in an open run that the store gave back.
    pub(super) fn adopt(&mut self, run: &Run) {
        if let Some(of) = run.replay_of
            && let Some(open) = self.open.get_mut(&of.replay)
        {
            open.busy.insert(run.serial);
        }
    }

    /// When the replays want to be looked at; a time that has passed means at once.
    pub(super) fn next_deadline(&self, started: Timestamp) -> Option<Timestamp> {
        if self.open.is_empty() {
            return None;
        }
        let settles = started.plus(RETURN_GRACE);
        let stirred = self.stirred.iter().filter_map(|id| self.open.get(id));
        let due = self.open.values().filter(|open| open.waits == Waits::Moment);
        let due = due.filter_map(Open::due);
        let first = stirred.map(|open| open.now.created_at).chain(due).min();
        first.into_iter().chain((!self.settled).then_some(settles)).min()
    }

    /// Stirs those whose next item is due.
    pub(super) fn stir_due(&mut self, now: Timestamp, started: Timestamp) {
        if !self.settled && now >= started.plus(RETURN_GRACE) {
            self.settled = true;
            self.stir_all();
        }
        let due = self.open.iter().filter(|(_, open)| {
            open.waits == Waits::Moment && open.due().is_some_and(|due| due <= now)
        });
        self.stirred.extend(due.map(|(id, _)| *id));
    }

    /// Notes that a client has gone: what is under way may be no longer.
    pub(super) fn stir_all(&mut self) {
        for (id, open) in &mut self.open {
            open.look = true;
            self.stirred.insert(*id);
        }
    }

    /// Notes that a delivery has ended: what waits for it may begin.
    pub(super) fn out_of_the_way(&mut self, serial: Serial, ClientNo(no): ClientNo) {
        for (id, open) in &mut self.open {
            if let Waits::Run(run, clients) = &mut open.waits
                && *run == serial
                && clients.remove(no)
                && clients.is_empty()
            {
                self.stirred.insert(*id);
            }
        }
    }

    fn step(&mut self, serial: Serial, id: ReplayId, change: impl FnOnce(&mut Step)) {
        let new = || Step { replay: id, started: None, ended: None };
        change(self.steps.entry(serial).or_insert_with(new));
    }

    /// Whether a run holds its place: it runs somewhere, or its client may say so yet.
    fn is_under_way(&self, run: &OpenRun, connected: &RoaringBitmap, started: Timestamp) -> bool {
        self.is_unsettled(run, started)
            || !run.accepted.is_empty()
            || !run.open.is_disjoint(connected)
    }

    /// Whether clients that have not returned since the start may run it.
    fn is_unsettled(&self, run: &OpenRun, started: Timestamp) -> bool {
        !self.settled && run.run.fired_at < started
    }

    fn waiting_items(&self) -> usize {
        let left = |open: &Open| open.now.items.saturating_sub(open.now.started);
        let left = self.open.values().filter(|open| open.now.cancelled_at.is_none()).map(left);
        usize::try_from(left.map(u64::from).sum::<u64>()).unwrap_or(usize::MAX)
    }
}

impl Engine {
    /// Writes how replays stand into the units of the runs that have brought it about.
    pub(super) fn put_replays(&mut self, runs: &mut BTreeMap<Serial, Vec<Change>>) {
        for (serial, step) in std::mem::take(&mut self.replays.steps) {
            let replay = step.replay;
            let Some(open) = self.replays.open.get_mut(&replay) else { continue };
            let item = open.stored.started;
            step.apply(&mut open.stored);
            let unit = runs.entry(serial).or_default();
            unit.push(Change::PutReplay(Box::new(open.stored.clone())));
            if step.started.is_some() {
                unit.push(Change::PutReplayRun { replay, item, serial });
            }
            if open.stored.ended_at.is_some() {
                self.replays.open.remove(&replay);
                self.replays.stirred.remove(&replay);
            }
        }
    }
}
