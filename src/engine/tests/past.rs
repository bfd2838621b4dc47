//! What jobs keep of their past: rows of missed firings and revisions, and what a crash leaves.

use super::*;
use crate::history::{self, PastQuery};
use crate::job_past::{JobRevision, MissedRow, RevisionChange};

fn name(text: &str) -> JobName {
    text.parse().unwrap()
}

impl Bench {
    fn live(&mut self, job: &str) -> Option<crate::JobId> {
        match self.ask(Request::GetJob(name(job))) {
            Ok(Reply::Job(view)) => Some(view.job.id),
            _ => None,
        }
    }

    fn rows(&mut self, job: &str) -> Vec<MissedRow> {
        let live = self.live(job);
        history::missed(&self.store, &name(job), live, &PastQuery::default()).unwrap()
    }

    /// Kinds and numbers of a name's revisions, the newest first.
    fn revisions(&mut self, job: &str) -> Vec<(RevisionChange, u32)> {
        let live = self.live(job);
        let found = history::revisions(&self.store, &name(job), live, &PastQuery::default());
        found.unwrap().iter().map(|it| (it.change, it.revision)).collect()
    }

    fn remove(&mut self, job: &str) {
        self.call(Request::RemoveJob(name(job)));
    }
}

/// The total that the store has of each job is the sum of the rows that it has.
fn assert_rows_make_the_total(store: &MemoryStore) {
    for (job, state) in records::load(store).unwrap().jobs {
        let rows = history::missed(store, &job.spec.name, Some(job.id), &PastQuery::default());
        let rows = rows.unwrap();
        let total = state.missed.as_ref().map_or(0, |missed| missed.total);
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), total, "{rows:?}");
        assert_eq!(rows.len() as u64, state.missed.map_or(0, |missed| missed.row));
    }
}

fn tick(catch_up: CatchUp) -> JobSpec {
    let mut spec = every("tick", "all", 10);
    spec.catch_up = catch_up;
    spec
}

#[test]
fn each_reason_has_its_row() {
    let mut bench = Bench::new();
    bench.apply(tick(CatchUp::Latest));
    bench.restart(at(35));
    bench.wait_until(at(95));
    bench.call(Request::PauseJob(Pause::new(name("tick"))));
    bench.now = at(125);
    bench.call(Request::ResumeJob(name("tick")));
    let told: Vec<_> = bench
        .rows("tick")
        .into_iter()
        .map(|row| (row.no, row.count, row.fired, row.first, row.last, row.at, row.reason))
        .collect();
    let row = |no, count, first, last, now, reason: &str| {
        (no, count, 1, at(first), at(last), at(now), reason.to_owned())
    };
    assert_eq!(
        told,
        [
            row(3, 2, 100, 110, 125, "the job was paused"),
            row(2, 4, 40, 70, 95, "the server was late"),
            row(1, 2, 10, 20, 35, "the server was down"),
        ]
    );
    let mut once = every("once", "all", 10);
    once.rule = Rule::at(at(50));
    once.catch_up = CatchUp::Skip;
    bench.apply(once);
    let [row] = &bench.rows("once")[..] else { panic!("one row") };
    assert_eq!(row.reason, "it had passed when the job was defined");
    assert_eq!((row.count, row.fired, row.first, row.policy), (1, 0, at(50), CatchUp::Skip));
    assert_rows_make_the_total(&bench.store);
}

#[test]
fn one_row_tells_of_thousands_and_says_that_it_did_not_count_them_all() {
    let mut bench = Bench::new();
    bench.apply(tick(CatchUp::Skip));
    bench.restart(at(10 * 1_000_000));
    let [row] = &bench.rows("tick")[..] else { panic!("one row") };
    assert_eq!((row.count >= 10_000, row.counted_exactly), (true, false), "{row:?}");
    assert_eq!((row.first, row.last), (at(10), at(10 * 1_000_000 - 10)));
}

/// The first units of a decision, as a crash may leave them: no standing without its rows.
#[test]
fn a_crash_parts_no_row_from_the_total_that_counts_it() {
    for policy in [CatchUp::Latest, CatchUp::All, CatchUp::Skip] {
        let mut cut = 0;
        loop {
            let mut bench = Bench::new();
            let mut spec = tick(policy);
            spec.catch_up_window = Duration::from_secs(25);
            bench.apply(spec.clone());
            bench.connect("a", 1, &[]);
            // Missed and fired; then, in the same decision, changed and paused with all others.
            bench.now = at(65);
            bench.deadlines();
            spec.description = Some("other".into());
            let apply = Apply { jobs: vec![spec], ..Apply::default() };
            let terms = crate::PauseTerms::default();
            for request in [
                Request::Apply(apply),
                Request::PauseJobs { jobs: crate::JobSelection::All, terms },
            ] {
                let input = Input::Call {
                    call: CallId(9),
                    actor: crate::Actor::Library,
                    request,
                    entropy: 9,
                };
                bench.engine.handle(at(65), input);
            }
            let units = bench.engine.take().units;
            assert!(units.len() > 1, "{units:?}");
            if cut > units.len() {
                break;
            }
            records::write(&bench.store, &units[..cut]).unwrap();
            assert_rows_make_the_total(&bench.store);
            bench.restart(at(66));
            assert_rows_make_the_total(&bench.store);
            let missed = bench.state("tick").missed.map_or(0, |missed| missed.total);
            let fired = history::runs(&bench.store, &history::RunQuery::default()).unwrap();
            // A run whose job's standing was cut off may be counted as missed as well.
            assert!(missed + fired.len() as u64 >= 6, "{policy:?}: lost after {cut} units");
            cut += 1;
        }
    }
}

#[test]
fn a_row_goes_with_the_last_run_that_its_catch_up_fires() {
    let mut bench = Bench::new();
    let mut spec = tick(CatchUp::All);
    spec.catch_up_window = Duration::from_secs(25);
    bench.apply(spec);
    bench.now = at(65);
    bench.deadlines();
    let units = bench.engine.take().units;
    let has = |unit: &[Change]| unit.iter().any(|change| matches!(change, Change::PutMissed(_)));
    assert_eq!(units.iter().position(|unit| has(unit)), Some(units.len() - 1), "{units:?}");
    assert!(units.len() > 1);
    let last = units.last().unwrap();
    assert!(last.iter().any(|change| matches!(change, Change::PutJobState(..))));
    assert!(last.iter().any(|change| matches!(change, Change::PutRun(_))));
}

#[test]
fn a_job_that_is_removed_right_after_a_miss_keeps_its_row() {
    let mut bench = Bench::new();
    bench.apply(tick(CatchUp::Skip));
    bench.now = at(35);
    bench.deadlines();
    let request = Request::RemoveJob(name("tick"));
    bench.engine.handle(
        at(35),
        Input::Call { call: CallId(9), actor: crate::Actor::Library, request, entropy: 9 },
    );
    bench.settle();
    assert_eq!(bench.rows("tick").len(), 1);
    assert_eq!(bench.live("tick"), None);
}

#[test]
fn every_change_of_a_definition_is_a_revision_and_nothing_else_is() {
    use RevisionChange::{Changed, Created, Removed};
    let mut bench = Bench::new();
    let mut spec = tick(CatchUp::Latest);
    bench.apply(spec.clone());
    assert_eq!(bench.revisions("tick"), [(Created, 1)]);
    bench.apply(spec.clone());
    bench.call(Request::PauseJob(Pause::new(name("tick"))));
    bench.call(Request::ResumeJob(name("tick")));
    bench.call(Request::TriggerJob(name("tick")));
    assert_eq!(bench.revisions("tick"), [(Created, 1)]);
    bench.now = at(5);
    spec.description = Some("other".into());
    bench.apply(spec.clone());
    let dry =
        Apply { jobs: vec![tick(CatchUp::All)], prune: true, dry_run: true, ..Apply::default() };
    bench.call(Request::Apply(dry));
    assert_eq!(bench.revisions("tick"), [(Changed, 2), (Created, 1)]);
    bench.restart(at(6));
    bench.now = at(7);
    bench.remove("tick");
    let gone = [(Removed, 3), (Changed, 2), (Created, 1)];
    assert_eq!(bench.revisions("tick"), gone);
    bench.restart(at(8));
    assert_eq!(bench.revisions("tick"), gone);
    bench.apply(spec);
    let prune = Apply { jobs: Vec::new(), prune: true, ..Apply::default() };
    bench.now = at(9);
    bench.call(Request::Apply(prune));
    let all = bench.revisions("tick");
    assert_eq!(all, [&[(Removed, 2), (Created, 1)][..], &gone].concat(), "the later job first");
}

/// The unit of a change has the definition that it ends.
#[test]
fn a_revision_is_in_the_unit_of_its_change() {
    let mut bench = Bench::new();
    let mut spec = tick(CatchUp::Latest);
    bench.apply(spec.clone());
    spec.description = Some("other".into());
    let apply = Apply { jobs: vec![spec], ..Apply::default() };
    let request = Request::Apply(apply);
    bench.engine.handle(
        at(0),
        Input::Call { call: CallId(9), actor: crate::Actor::Library, request, entropy: 9 },
    );
    let units = bench.engine.take().units;
    let [unit] = &units[..] else { panic!("{units:?}") };
    let revisions: Vec<&JobRevision> = unit
        .iter()
        .filter_map(|change| match change {
            Change::PutRevision(revision) => Some(&**revision),
            _ => None,
        })
        .collect();
    let [revision] = revisions[..] else { panic!("{revisions:?}") };
    assert_eq!((revision.revision, revision.change), (1, RevisionChange::Created));
    assert_eq!(revision.spec, Some(tick(CatchUp::Latest)));
    assert!(unit.iter().any(|change| matches!(change, Change::PutJob(job) if job.revision == 2)));
}

/// Before rows were kept, a standing had the total and the last row.
#[test]
fn a_standing_of_before_goes_on_with_its_total_and_begins_with_row_1() {
    let mut bench = Bench::new();
    bench.apply(tick(CatchUp::Skip));
    let id = bench.live("tick").unwrap();
    let mut state = serde_json::to_value(bench.state("tick")).unwrap();
    let (first, last) = (at(-60), at(-10));
    state["missed"] =
        serde_json::json!({ "total": 7, "first": first, "last": last, "reason": "before" });
    let state: JobState = serde_json::from_value(state).unwrap();
    let missed = state.missed.clone().unwrap();
    assert_eq!((missed.total, missed.row, missed.reason.as_str()), (7, 0, "before"));
    let job = Arc::new(records::job(&bench.store, id).unwrap().unwrap());
    records::write(&bench.store, &[vec![Change::PutJobState(job, state)]]).unwrap();
    bench.restart(at(25));
    assert_eq!(bench.state("tick").missed.map(|missed| (missed.total, missed.row)), Some((9, 1)));
    assert_eq!(bench.rows("tick").len(), 1);
}

#[test]
fn only_the_past_of_removed_jobs_is_forgotten() {
    let mut bench = Bench::new();
    bench.apply(tick(CatchUp::Skip));
    bench.restart(at(25));
    let id = bench.live("tick").unwrap();
    let claimed = crate::RemovedJob { job: id, name: name("tick"), removed_at: at(0) };
    bench.call(Request::ForgetJobs(vec![claimed]));
    assert!(bench.changes.is_empty(), "it lives: {:?}", bench.changes);
    bench.remove("tick");
    let gone = history::removed_before(&bench.store, at(26), 10).unwrap();
    assert_eq!(gone.iter().map(|gone| gone.job).collect::<Vec<_>>(), [id]);
    bench.call(Request::ForgetJobs(gone));
    assert!(bench.rows("tick").is_empty() && bench.revisions("tick").is_empty());
}
