//! What a replay is made of: past runs and deliveries that are chosen, and occurrences of a job's
//! rule that have no run.
//!
//! What is read is bounded by the constants here; a selection beyond them is refused, with the
//! number.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::runs::RUNS_LOOKED_AT;
use crate::engine::{ReplayParts, run_of_job};
use crate::forecast;
use crate::id::{ClientId, ClientNo, Serial};
use crate::job::Job;
use crate::replay::{
    LeftOut, MAX_REPLAY_BYTES, MAX_REPLAY_DELIVERIES, MAX_REPLAY_ITEMS, Replay, ReplayItem,
    ReplayKind, RunSelection,
};
use crate::run::{Cause, Run};
use crate::schedule::When;
use crate::store::{Order, Store, StoreError, key, page, records, walk};
use crate::time::Timestamp;

/// Responses that one selection reads, at most.
pub const RESPONSES_LOOKED_AT: u64 = 5_000_000;

/// Occurrences of a rule that one selection looks at, at most.
pub const OCCURRENCES_LOOKED_AT: usize = 100_000;

/// What was chosen.
#[derive(Debug, Clone, Default)]
pub struct Selected {
    /// What is to run.
    pub parts: ReplayParts,
    /// What is not.
    pub left_out: LeftOut,
}

/// Why nothing can be chosen. The messages name the value.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No such run.
    #[error("no run named {0}")]
    NoRun(Serial),
    /// No client has had this name.
    #[error("no client named {0}")]
    NoClient(ClientId),
    /// More than is read or kept.
    #[error("{0}")]
    TooMuch(String),
}

/// Chooses past runs, and of each the clients that had a chosen delivery. With `whole`, runs alone,
/// for another target: those with a chosen delivery, or where all are chosen, all that have ended.
pub fn select_runs(
    store: &dyn Store,
    selection: &RunSelection,
    whole: bool,
) -> Result<Selected, SelectError> {
    let mut chooser = Chooser::new(store, selection, whole)?;
    if selection.serials.is_empty() {
        let from = Serial::from_parts(selection.from.unwrap_or(Timestamp::from_millis(0)), 0);
        let mut keys = key::run(from)..key::all(key::RUN).end;
        if let Some(to) = selection.to {
            keys.end = key::run(Serial::from_parts(to, 0));
        }
        for (looked_at, entry) in walk(store, keys, Order::Up).enumerate() {
            if looked_at == RUNS_LOOKED_AT {
                return Err(SelectError::TooMuch(format!(
                    "there are more than {RUNS_LOOKED_AT} runs from {} on, of all jobs: choose a \
                     shorter span",
                    from.time()
                )));
            }
            let (key, value) = entry?;
            chooser.look(&records::read("run", &key, &value)?)?;
        }
    } else {
        for serial in selection.serials.iter().copied().collect::<BTreeSet<_>>() {
            let run = records::run(store, serial)?.ok_or(SelectError::NoRun(serial))?;
            chooser.look(&run)?;
        }
    }
    chooser.finish()
}

struct Chooser<'a> {
    store: &'a dyn Store,
    selection: &'a RunSelection,
    whole: bool,
    /// The client that is asked for.
    client: Option<ClientNo>,
    builder: Builder,
    responses: u64,
}

impl<'a> Chooser<'a> {
    fn new(
        store: &'a dyn Store,
        selection: &'a RunSelection,
        whole: bool,
    ) -> Result<Self, SelectError> {
        let client = selection.client.as_ref();
        let client = client.map(|id| match records::client_no(store, id) {
            Ok(Some(no)) => Ok(no),
            Ok(None) => Err(SelectError::NoClient(id.clone())),
            Err(error) => Err(SelectError::Store(error)),
        });
        let client = client.transpose()?;
        Ok(Self { store, selection, whole, client, builder: Builder::default(), responses: 0 })
    }

    fn look(&mut self, run: &Run) -> Result<(), SelectError> {
        let RunSelection { job, from, to, states, .. } = self.selection;
        let at = run.serial.time();
        let meant = (job.is_none() || *job == run.job)
            && from.is_none_or(|from| at >= from)
            && to.is_none_or(|to| at < to);
        if !meant {
            return Ok(());
        }
        let chosen = self.deliveries(run)?;
        let all = states.is_empty() && self.client.is_none() && run.ended_at.is_some();
        if chosen.is_empty() && !(self.whole && all) {
            return Ok(());
        }
        let clients = (!self.whole).then_some(chosen);
        self.builder.add(&run.template(), Some(run.serial), (run.scheduled_at, at), clients)
    }

    /// The clients whose delivery of a run has ended as it is asked for.
    fn deliveries(&mut self, run: &Run) -> Result<RoaringBitmap, SelectError> {
        const WHAT: &str = "page of responses";
        let mut chosen = RoaringBitmap::new();
        let mut ended = 0;
        for entry in records::pages(self.store, key::of_run(key::PAGE, run.serial)) {
            let (key, value) = entry?;
            let damaged = |problem| StoreError::corrupt(WHAT, &key, problem);
            for row in page::rows(&value).map_err(damaged)? {
                let row = row.map_err(damaged)?;
                self.responses += 1;
                if row.retried {
                    continue;
                }
                ended += 1;
                let meant = self.client.is_none_or(|no| no == row.client);
                if meant && self.selection.wants(row.state) {
                    chosen.insert(row.client.0);
                }
            }
        }
        if self.responses > RESPONSES_LOOKED_AT {
            return Err(SelectError::TooMuch(format!(
                "the runs up to {} have more than {RESPONSES_LOOKED_AT} responses: choose a \
                 shorter span",
                run.serial
            )));
        }
        if run.ended_at.is_none() && self.client.is_none() {
            self.builder.left_out.open += u64::from(run.counts.total.saturating_sub(ended));
        }
        Ok(chosen)
    }

    fn finish(self) -> Result<Selected, SelectError> {
        self.builder.finish()
    }
}

/// What is chosen so far; what is the same is kept once.
#[derive(Default)]
struct Builder {
    parts: ReplayParts,
    left_out: LeftOut,
    templates: HashMap<Vec<u8>, u32>,
    sets: HashMap<Vec<u8>, u32>,
    first: Option<Timestamp>,
    runs: usize,
    deliveries: u64,
    bytes: usize,
}

impl Builder {
    /// Adds a run: what it is made of, what it repeats, when that was due, and when it was in the
    /// order of time.
    fn add(
        &mut self,
        template: &Run,
        of: Option<Serial>,
        (scheduled_at, at): (Timestamp, Timestamp),
        clients: Option<RoaringBitmap>,
    ) -> Result<(), SelectError> {
        self.runs += 1;
        self.deliveries += clients.as_ref().map_or(0, RoaringBitmap::len);
        if self.runs > MAX_REPLAY_ITEMS || self.deliveries > MAX_REPLAY_DELIVERIES {
            // It is refused; only its number is still to be found.
            return Ok(());
        }
        let template = self.template(template)?;
        let clients = clients.map(|set| self.set(set));
        let offset = at.since(*self.first.get_or_insert(at)).as_millis();
        let offset_ms = u64::try_from(offset).unwrap_or(u64::MAX);
        self.parts.items.push(ReplayItem { template, clients, of, scheduled_at, offset_ms });
        Ok(())
    }

    fn template(&mut self, template: &Run) -> Result<u32, SelectError> {
        let text = serde_json::to_vec(template).map_err(|error| {
            SelectError::TooMuch(format!("a run cannot be written as JSON: {error}"))
        })?;
        if let Some(known) = self.templates.get(&text) {
            return Ok(*known);
        }
        self.bytes += text.len();
        if self.bytes > MAX_REPLAY_BYTES {
            return Err(SelectError::TooMuch(format!(
                "the runs have more than {MAX_REPLAY_BYTES} bytes of commands and parameters that \
                 differ: choose less"
            )));
        }
        let no = number(self.parts.templates.len());
        self.parts.templates.push(Arc::new(template.clone()));
        self.templates.insert(text, no);
        Ok(no)
    }

    fn set(&mut self, set: RoaringBitmap) -> u32 {
        let mut bytes = Vec::with_capacity(set.serialized_size());
        // Writing to a Vec cannot fail; were it to, the set would only not be shared.
        let whole = set.serialize_into(&mut bytes).is_ok();
        if let Some(known) = self.sets.get(&bytes).filter(|_| whole) {
            return *known;
        }
        let no = number(self.parts.sets.len());
        self.parts.sets.push(set);
        self.sets.insert(bytes, no);
        no
    }

    fn finish(self) -> Result<Selected, SelectError> {
        let Self { runs, deliveries, parts, left_out, .. } = self;
        if runs > MAX_REPLAY_ITEMS {
            return Err(SelectError::TooMuch(format!(
                "it would be {runs} runs; the most is {MAX_REPLAY_ITEMS}: choose less"
            )));
        }
        if deliveries > MAX_REPLAY_DELIVERIES {
            return Err(SelectError::TooMuch(format!(
                "it would be {deliveries} deliveries; the most is {MAX_REPLAY_DELIVERIES}: choose \
                 less"
            )));
        }
        Ok(Selected { parts, left_out })
    }
}

/// There are no more than [`MAX_REPLAY_ITEMS`] of anything.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The occurrences of a job's rule in a span, its end excluded. A rule with a count has no more of
/// them than it counts, from the job's creation on; any other also has those before it.
pub fn occurrences(job: &Job, span: Range<Timestamp>) -> Result<Vec<Timestamp>, SelectError> {
    let rule = &job.spec.rule;
    let just_before = |at: Timestamp| at.minus(std::time::Duration::from_millis(1));
    let begin = match rule.when {
        When::At(_) => Timestamp::MIN,
        _ if rule.count.is_some() => job.created_at,
        _ => span.start,
    };
    let begins_after = is_anchored(&rule.when).then_some(job.created_at);
    let mut next = rule.next_after(just_before(begin), job.created_at);
    let mut found = Vec::new();
    let mut passed: u64 = 0;
    while let Some(at) = next.filter(|at| *at < span.end) {
        if Some(at) == begins_after {
            next = rule.next_after(at, job.created_at);
            continue;
        }
        passed += 1;
        if passed > OCCURRENCES_LOOKED_AT as u64 {
            return Err(SelectError::TooMuch(format!(
                "job {} has more than {OCCURRENCES_LOOKED_AT} occurrences from {} to {}: choose a \
                 shorter span",
                job.spec.name,
                begin.min(span.start),
                span.end
            )));
        }
        if at >= span.start {
            found.push(at);
        }
        next = forecast::following(job, at, passed);
    }
    Ok(found)
}

/// Whether a rule counts its periods from the job's creation, which is no occurrence itself.
fn is_anchored(when: &When) -> bool {
    match when {
        When::Every { from: None, .. } => true,
        When::Any(rules) => {
            let mut all = rules.iter().map(|rule| &rule.when);
            all.clone().any(is_anchored) && !all.any(|when| *when == When::Now)
        }
        _ => false,
    }
}

/// Chooses the occurrences of a job's rule in a span that have no run, or with `again` all.
///
/// An occurrence has a run if one fired by it, or if an earlier back-fill of the job has run it or
/// is about to. What retention has forgotten counts as never run.
pub fn select_occurrences(
    store: &dyn Store,
    job: &Job,
    span: Range<Timestamp>,
    again: bool,
) -> Result<Selected, SelectError> {
    let found = occurrences(job, span)?;
    let filled = if again { BTreeSet::new() } else { filled(store, job)? };
    let serial = Serial::from_bytes([0; 16]);
    let epoch = Timestamp::from_millis(0);
    let template = run_of_job(job, serial, epoch, epoch, Cause::Backfill).template();
    let mut builder = Builder::default();
    for at in found {
        let fired = Serial::of_firing(job.id, at);
        if !again && (filled.contains(&at) || store.get(&key::run(fired))?.is_some()) {
            builder.left_out.had_run += 1;
        } else {
            builder.add(&template, None, (at, at), None)?;
        }
    }
    builder.finish()
}

/// The occurrences that back-fills of a job have run, or are to run.
fn filled(store: &dyn Store, job: &Job) -> Result<BTreeSet<Timestamp>, StoreError> {
    let mut filled = BTreeSet::new();
    for entry in walk(store, key::replays(), Order::Up) {
        let (key, value) = entry?;
        let replay: Replay = records::read("replay", &key, &value)?;
        let named = replay.job.as_ref() == Some(&job.spec.name);
        if replay.kind != ReplayKind::Backfill || !named {
            continue;
        }
        if records::replay_job(store, replay.id)? != Some(job.id) {
            continue;
        }
        let over = replay.ended_at.is_some() || replay.cancelled_at.is_some();
        let run = if over { replay.started } else { replay.items };
        let items = records::replay_items(store, replay.id)?;
        let run = usize::try_from(run).unwrap_or(usize::MAX);
        filled.extend(items.iter().take(run).map(|item| item.scheduled_at));
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobSpec;
    use crate::{JobId, Target};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    /// The occurrences of a job that was made at 100 s.
    fn seconds(rule: &str, from: i64, to: i64) -> Vec<i64> {
        let rule = serde_json::from_str(rule).unwrap();
        let (name, command) = ("tick".parse().unwrap(), "tick".parse().unwrap());
        let spec = JobSpec::new(name, Target::All, command, rule);
        let id = JobId::from_parts(at(100), 1);
        let job = Job { id, revision: 1, created_at: at(100), updated_at: at(100), spec };
        let found = occurrences(&job, at(from)..at(to)).unwrap();
        found.iter().map(|at| at.millis() / 1_000).collect()
    }

    #[test]
    fn a_span_has_its_begin_and_not_its_end() {
        let minutely = r#"{"cron": "* * * * *"}"#;
        assert_eq!(seconds(minutely, 120, 240), [120, 180]);
        assert_eq!(seconds(minutely, 0, 61), [0, 60], "also before the job was");
    }

    #[test]
    fn a_period_is_counted_from_the_creation_which_is_no_occurrence() {
        assert_eq!(seconds(r#"{"every": "10s"}"#, 0, 131), [110, 120, 130]);
        let from = r#"{"every": "10s", "from": "1970-01-01T00:00:05Z"}"#;
        assert_eq!(seconds(from, 0, 30), [5, 15, 25]);
        assert_eq!(seconds(r#""now""#, 0, 131), [100]);
        assert_eq!(seconds(r#"[{"every": "10s"}, "now"]"#, 0, 121), [100, 110, 120]);
    }

    #[test]
    fn a_count_counts_from_the_creation_on() {
        assert_eq!(seconds(r#"{"every": "10s", "count": 3}"#, 115, 200), [120, 130]);
        assert_eq!(seconds(r#"{"cron": "* * * * *", "count": 2}"#, 0, 900), [120, 180]);
        assert_eq!(seconds(r#"{"at": "1970-01-01T00:00:50Z"}"#, 0, 900), [50]);
    }

    #[test]
    fn a_rule_that_fires_too_often_is_refused_with_its_span() {
        let rule = serde_json::from_str(r#"{"every": "1s"}"#).unwrap();
        let (name, command) = ("tick".parse().unwrap(), "tick".parse().unwrap());
        let spec = JobSpec::new(name, Target::All, command, rule);
        let id = JobId::from_parts(at(0), 1);
        let job = Job { id, revision: 1, created_at: at(0), updated_at: at(0), spec };
        assert_eq!(occurrences(&job, at(0)..at(100_001)).unwrap().len(), 100_000);
        let error = occurrences(&job, at(0)..at(100_002)).unwrap_err().to_string();
        assert!(error.starts_with("job tick has more than 100000 occurrences from"), "{error}");
    }
}
