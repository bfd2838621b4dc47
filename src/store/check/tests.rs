//! Stores are damaged, one rule of the layout after the other, and the check names what is wrong.

use super::*;
use crate::engine::Change;
use crate::id::{ClientNo, Serial};
use crate::job::JobState;
use crate::job_past::RemovedJob;
use crate::store::records::tests::{at, serial};
use crate::store::sample::{a_job, a_removed_job, store};
use crate::store::{FORMAT, MAX_OPS, MemoryStore, Op, records, staging};

fn checked(store: &MemoryStore) -> Report {
    check(Arc::new(store.clone())).unwrap()
}

fn put(key: Vec<u8>, value: impl Into<Vec<u8>>) -> Op {
    Op::Put(key, value.into())
}

/// The record under a key with parts of its text replaced.
fn edited(key: Vec<u8>, parts: &[(&str, &str)]) -> Op {
    let value = store().get(&key).unwrap().unwrap();
    let mut text = String::from_utf8(value).unwrap();
    for (from, to) in parts {
        assert!(text.contains(from), "{text}");
        text = text.replace(from, to);
    }
    put(key, text)
}

/// The value under a key of the whole store.
fn value(key: &[u8]) -> Vec<u8> {
    store().get(key).unwrap().unwrap()
}

#[test]
fn a_store_with_something_of_every_kind_is_sound() {
    let report = checked(&store());
    assert_eq!((report.sound, report.faults, report.notes), (true, vec![], vec![]));
    let missing: Vec<&str> = crate::store::kinds::KINDS
        .iter()
        .filter(|kind| report.kinds.iter().all(|it| it.name != kind.name))
        .map(|kind| kind.name)
        .collect();
    assert_eq!(missing, ["index of the ledger", "staged operations"]);
    assert!(
        checked(&{
            let empty = MemoryStore::new();
            records::load(&empty).unwrap();
            empty
        })
        .sound
    );
}

#[test]
fn an_index_or_a_replay_that_is_damaged_is_named() {
    let sealed = |body: &[u8]| [&[1][..], &crc32fast::hash(body).to_le_bytes(), body].concat();
    let lists = key::index_lists(7);
    let sound = store();
    sound.commit(vec![vec![put(lists.clone(), sealed(b"lists"))]]).unwrap();
    assert!(checked(&sound).sound);
    let mut value = sealed(b"lists");
    value[7] ^= 1;
    named(vec![put(lists.clone(), value)], &lists, "index of the ledger", "checksum");
    named(vec![put(lists.clone(), vec![9])], &lists, "index of the ledger", "ends within");
    let id = crate::ReplayId::from_parts(at(3), 3);
    let items = key::replay_part(key::OfReplay::Items, id, 0);
    named(vec![Op::Delete(key::replay(id))], &items, "parts of a replay", "is missing");
    named(vec![put(items.clone(), b"[".to_vec())], &items, "replays and their parts", "be read");
}

/// Each damage alone is named: by a key that begins so, by its rule, and by words of the problem.
#[track_caller]
fn named(damage: Vec<Op>, key: &[u8], rule: &str, problem: &str) {
    let damaged = store();
    damaged.commit(vec![damage]).unwrap();
    let before: Vec<_> = walk(&damaged, everything(), Order::Up).map(Result::unwrap).collect();
    let report = checked(&damaged);
    let after: Vec<_> = walk(&damaged, everything(), Order::Up).map(Result::unwrap).collect();
    assert_eq!(before, after, "a check writes nothing");
    let shown = key::show(key);
    let found = report.faults.iter().any(|fault| {
        fault.key.starts_with(&shown)
            && fault.rule == rule
            && fault.problem.contains(problem)
            && !fault.way_out.is_empty()
    });
    assert!(found, "{shown}, {rule:?}, {problem:?} is not among {:#?}", report.faults);
    assert!(!report.sound && report.faults_total == report.faults.len() as u64);
}

#[test]
fn a_letter_that_nobody_knows_and_a_format_that_is_not_this_ones_are_named() {
    named(vec![put(b"?x".to_vec(), "")], b"?x", "kinds of keys", "no kind of keys");
    named(vec![put(vec![255, 1], "")], &[255, 1], "kinds of keys", "no kind of keys");
    let (key, facts) = (key::format(), "facts about the store");
    named(vec![Op::Delete(key.clone())], &key, facts, "missing");
    named(vec![put(key.clone(), (FORMAT + 1).to_be_bytes())], &key, facts, "format 3");
    named(vec![put(key.clone(), "x")], &key, facts, "1 bytes, not 4");
}

#[test]
fn a_value_that_cannot_be_read_is_named_whatever_its_kind() {
    let sample = store();
    let mut kinds = std::collections::BTreeSet::new();
    for entry in walk(&sample, everything(), Order::Up) {
        let (key, value) = entry.unwrap();
        let kind = Kind::of(&key).unwrap();
        // Any bytes are a part of a result or of inputs; what is missing is told of the whole.
        let any = matches!(kind.letter, key::RESULT | key::INPUTS);
        if any || !kinds.insert(kind.letter) {
            continue;
        }
        named(vec![put(key.clone(), "{!")], &key, kind.name, "");
        named(vec![put(key.clone(), vec![b' '; MAX_VALUE + 1])], &key, kind.name, "the most is");
        // A key that is too short or too long.
        let other = [&key[..], &[1]].concat();
        if !matches!(kind.letter, key::META | key::CLIENT_ID) {
            named(vec![put(other.clone(), value)], &other, kind.name, "");
        }
    }
    assert!(kinds.len() >= 17, "{kinds:?}");
}

const MAX_VALUE: usize = crate::store::MAX_VALUE;

#[test]
fn a_record_under_the_key_of_another_is_named() {
    let (key, other) = (key::run(serial(1)), key::run(serial(7)));
    named(vec![put(other.clone(), value(&key))], &other, "runs", "belongs under r:");
    let id = JobId::from_parts(at(77), 7);
    let job = key::job(id);
    named(vec![put(job.clone(), value(&key::job(a_job(1).id)))], &job, "jobs", "belongs under j:");
}

#[test]
fn a_job_without_a_standing_and_a_standing_without_a_job_are_named() {
    let (job, state) = (key::job(a_job(1).id), key::job_state(a_job(1).id));
    let rule = "a job and its standing";
    named(vec![Op::Delete(state.clone())], &state, rule, "has none");
    named(vec![Op::Delete(job)], &state, rule, "there is no job");
}

/// What is stored of a job that was never due.
fn stored(job: &crate::Job) -> Vec<Op> {
    let job = Arc::new(job.clone());
    let unit = [Change::PutJob(Arc::clone(&job)), Change::PutJobState(job, JobState::default())];
    records::encode(&MemoryStore::new(), &unit).unwrap()
}

#[test]
fn a_head_that_is_missing_or_another_one_is_named() {
    let mut renamed = a_job(3);
    renamed.spec.name = "nightly/other".parse().unwrap();
    let (mine, other) = (stored(&a_job(3)), stored(&renamed));
    let key = key::job_state(a_job(3).id);
    let state = value_of(mine[1].clone());
    let (json, _) = records::split(&state);
    named(vec![put(key.clone(), json)], &key, "heads of jobs", "has none");
    named(vec![other[1].clone()], &key, "heads of jobs", "the job is ");
    let torn = &state[..json.len() + 2];
    named(vec![put(key.clone(), torn)], &key, "standings of jobs", "it ends within");
}

#[test]
fn gaps_in_the_past_of_a_job_are_named() {
    let (id, gone) = (a_job(1).id, a_removed_job().job);
    let (revisions, missed) = ("revisions of a job", "rows of missed firings");
    let [first, last] = [1, 2].map(|no| key::revision(id, no));
    let fourth = edited(last.clone(), &[("\"revision\":2", "\"revision\":4")]);
    let fourth = put(key::revision(id, 4), value_of(fourth));
    named(vec![fourth], &key::revision(id, 4), revisions, "revision 4 follows revision 2");
    named(vec![Op::Delete(last)], &first, revisions, "the last is 1");
    let removal = key::revision(gone, 2);
    named(vec![Op::Delete(removal)], &key::revision(gone, 1), revisions, "is no removal");

    let row = edited(key::missed(id, 2), &[("\"no\":2", "\"no\":4")]);
    let row = put(key::missed(id, 4), value_of(row));
    named(vec![row], &key::missed(id, 4), missed, "row 4 follows row 2");
    let second = key::missed(id, 2);
    named(vec![Op::Delete(second)], &key::missed(id, 1), missed, "standing tells of 2");
    // Nothing leads to the past of a job that never was.
    let keys = [key::removed(&a_removed_job().name, gone), key::removal(at(40), gone)];
    let forget = keys.map(Op::Delete).to_vec();
    named(forget.clone(), &key::revision(gone, 2), revisions, "neither there nor removed");
    named(forget, &key::missed(gone, 1), missed, "neither there nor removed");
}

fn value_of(op: Op) -> Vec<u8> {
    match op {
        Op::Put(_, value) => value,
        Op::Delete(_) => Vec::new(),
    }
}

#[test]
fn two_jobs_of_one_name_are_named() {
    let job = crate::Job { id: JobId::from_parts(at(50), 5), revision: 1, ..a_job(1) };
    let records = stored(&job);
    named(records, &key::job(job.id), "names of jobs", "nightly/backup is the name of job");
}

#[test]
fn removed_jobs_whose_two_keys_differ_are_named() {
    let RemovedJob { job, name, removed_at } = a_removed_job();
    let [by_name, by_time] = [key::removed(&name, job), key::removal(removed_at, job)];
    let rule = "the two keys of a removed job";
    named(vec![Op::Delete(by_time.clone())], &by_name, rule, "is not the same under o:");
    named(vec![Op::Delete(by_name)], &by_time, rule, "is not the same under n:");
    let live = a_job(3).id;
    let both = RemovedJob { job: live, ..a_removed_job() };
    let text = serde_json::to_vec(&both).unwrap();
    let keys = [key::removed(&name, live), key::removal(removed_at, live)];
    let ops = keys.map(|key| put(key, text.clone())).to_vec();
    named(ops, &key::job(live), "removed jobs", "is there and removed");
}

#[test]
fn a_calendar_that_is_missing_is_named() {
    let calendar = key::calendar(&"closed".parse().unwrap());
    let problem = "calendar closed, which is missing";
    named(vec![Op::Delete(calendar)], &key::job(a_job(1).id), "calendars of a job", problem);
}

#[test]
fn clients_and_their_numbers_are_held_against_each_other() {
    let (record, number) = (key::client(ClientNo(2)), key::client_id(&"web-2".parse().unwrap()));
    let rule = "client and number";
    named(vec![Op::Delete(number.clone())], &record, rule, "by its id it is missing");
    let other = put(number.clone(), 4_u32.to_be_bytes());
    named(vec![other.clone()], &record, rule, "has number 2, but by its id it is 4");
    named(vec![other], &number, rule, "number 4 is no client of this id");
    named(vec![Op::Delete(record.clone())], &number, rule, "number 2 is no client of this id");

    // Open deliveries, marks and responses of what is no client.
    let registry = "clients of the registry";
    let [open, mark] = [key::open(serial(2), 0), key::mark(serial(2), 1, 0)];
    named(vec![Op::Delete(record.clone())], &open, registry, "number 2 is no client");
    named(vec![Op::Delete(record)], &mark, registry, "number 2 is no client");
    let first = Op::Delete(key::client(ClientNo(0)));
    named(vec![first.clone()], &key::page(serial(2), 0, 0), registry, "number 0, which is");
    named(vec![first], &key::presence(ClientNo(0)), "presence of a client", "number 0");
}

#[test]
fn open_deliveries_that_do_not_fit_their_run_are_named() {
    let (ended, open) = (serial(1), serial(2));
    let rule = "open deliveries of a run";
    let set = value(&key::open(open, 0));
    let on_ended = vec![put(key::open(ended, 0), set.clone())];
    named(
        on_ended,
        &key::run(ended),
        rule,
        "the run has ended, and its delivery to client number 2",
    );
    let none = vec![Op::Delete(key::open(open, 0)), Op::Delete(key::mark(open, 1, 0))];
    named(none, &key::run(open), rule, "none of its deliveries is");
    let both = vec![put(key::open(open, 0), [0, 0, 0, 0, 2, 0, 3])];
    named(both, &key::run(open), rule, "client number 0 is open and has ended");
    let unmarked = vec![put(key::open(open, 0), [0, 0, 3])];
    named(unmarked, &key::mark(open, 1, 0), "marks on open deliveries", "client number 2");
    let unknown = vec![put(key::mark(open, 9, 0), set)];
    named(unknown, &key::mark(open, 9, 0), "sets of marked deliveries", "mark 9 is not known");
    let empty = vec![put(key::open(open, 0), [0])];
    named(empty, &key::open(open, 0), "sets of open deliveries", "it has no client");
}

#[test]
fn counts_that_do_not_add_up_are_named() {
    let (ended, open) = (key::run(serial(1)), key::run(serial(2)));
    let rule = "counts of a run";
    let wrong = edited(ended.clone(), &[("\"succeeded\":1", "\"succeeded\":2")]);
    named(
        vec![wrong],
        &ended,
        rule,
        "tells of 1 retried, 2 succeeded, 1 timed_out, 2 total, its pages",
    );
    let more = edited(ended.clone(), &[("\"total\":2", "\"total\":3")]);
    named(vec![more], &ended, rule, "3 total");
    let more = edited(open.clone(), &[("\"total\":3", "\"total\":4")]);
    named(vec![more], &open, rule, "1 deliveries have ended and 2 are open, of 4");
}

#[test]
fn pages_with_a_gap_and_deliveries_that_end_twice_are_named() {
    let rule = "pages of a run";
    let page = |no| key::page(serial(1), no, 0);
    named(vec![Op::Delete(page(1))], &page(2), rule, "page 2 part 0 follows page 0 part 0");
    named(vec![Op::Delete(page(0))], &page(1), rule, "page 1 part 0 is the first");
    let again = vec![put(page(3), value(&page(2)))];
    named(again, &page(3), rule, "client number 1 has ended twice");
}

#[test]
fn large_results_that_are_not_whole_are_named() {
    let rule = "large results of a run";
    let part = |client, part| key::result(serial(1), ClientNo(client), part);
    named(vec![Op::Delete(part(0, 1))], &part(0, 0), rule, "has 32768 bytes of 32870");
    named(vec![Op::Delete(part(0, 0))], &part(0, 1), rule, "part 1 of client number 0, where 0");
    let none = vec![Op::Delete(part(0, 0)), Op::Delete(part(0, 1))];
    named(none, &part(0, 0), rule, "2 parts, is missing");
    named(vec![put(part(1, 0), "x")], &part(1, 0), rule, "no response of client number 1");
}

#[test]
fn what_belongs_to_no_run_is_named() {
    let rule = "what belongs to a run";
    for (n, letter) in
        [(1, key::PAGE), (1, key::RESULT), (1, key::LATE), (2, key::OPEN), (2, key::MARK)]
    {
        let serial: Serial = serial(n);
        let key = key::of_run(letter, serial).start;
        named(vec![Op::Delete(key::run(serial))], &key, rule, "is missing");
    }
    let late = key::late(serial(1), ClientNo(3));
    let other = put(late.clone(), value(&key::late(serial(1), ClientNo(1))));
    named(vec![other], &late, "late answers to a run", "of client web-1, and number 3 is not");
}

#[test]
fn a_ledger_with_a_gap_and_inputs_that_are_not_whole_are_named() {
    let pages: Vec<Vec<u8>> =
        walk(&store(), key::all(key::LEDGER), Order::Up).map(|entry| entry.unwrap().0).collect();
    let events: Vec<u64> = pages.iter().map(|key| key::event_in(key).unwrap()).collect();
    // One page a commit; three ends of deliveries and an attempt have numbers of their own.
    assert_eq!(events, [1, 2, 3, 4, 7, 8], "three responses in the fourth");
    let rule = "pages of the ledger";
    let gap = "event 3 follows, where 2 should";
    named(vec![Op::Delete(pages[1].clone())], &pages[2], rule, gap);
    let shorter = vec![put(pages[3].clone(), value(&pages[2]))];
    named(shorter, &pages[4], rule, "event 7 follows, where 5 should");
    let before = vec![put(pages[2].clone(), value(&pages[0]))];
    named(before, &pages[2], rule, "commit 1 follows commit 2");
    let responses = "responses that the ledger tells of";
    let page = Op::Delete(key::page(serial(1), 2, 0));
    named(vec![page], &pages[3], responses, "has 0 responses, not 1");
    // A beginning that was forgotten is none.
    let later = store();
    later.commit(vec![pages[..2].iter().cloned().map(Op::Delete).collect()]).unwrap();
    sound(&later);

    let inputs = "recorded inputs";
    let [first, second] = [key::inputs(1, 0), key::inputs(1, 1)];
    named(vec![Op::Delete(second)], &first, inputs, "has 2 pieces; 1 of them are there");
    named(vec![put(first.clone(), [0x80])], &first, "pieces of recorded inputs", "");
    let nothing = store();
    nothing.commit(vec![vec![Op::Delete(first)]]).unwrap();
    sound(&nothing);
}

#[track_caller]
fn sound(store: &MemoryStore) {
    let report = checked(store);
    assert!(report.sound, "{:#?}", report.faults);
}

#[test]
fn ended_runs_are_held_against_the_list_of_their_job() {
    let rule = "ended runs by job";
    let (run, listed) = (key::run(serial(1)), key::ended(Some(a_job(1).id), serial(1)));
    let missing = Op::Delete(listed.clone());
    named(vec![missing.clone()], &run, rule, "is not among those of its job");
    named(vec![Op::Delete(run.clone())], &listed, rule, "is missing");
    let later = edited(run.clone(), &[("\"total\":2", "\"total\":3")]);
    named(vec![later], &listed, rule, "has not ended so");
    let open = put(key::ended(None, serial(2)), value(&listed));
    named(vec![open], &key::ended(None, serial(2)), rule, "has not ended so");
    // A store from before has no list yet.
    let before = store();
    before.commit(vec![vec![missing, Op::Delete(key::ended_runs_listed())]]).unwrap();
    sound(&before);
}

#[test]
fn a_run_that_is_being_forgotten_need_not_add_up() {
    let store = store();
    let mut run: crate::Run =
        serde_json::from_slice(&store.get(&key::run(serial(1))).unwrap().unwrap()).unwrap();
    run.forgotten = true;
    let gone = vec![
        put(key::run(serial(1)), serde_json::to_vec(&run).unwrap()),
        Op::Delete(key::ended(run.job_id, run.serial)),
        Op::Delete(key::page(serial(1), 0, 0)),
        Op::Delete(key::result(serial(1), ClientNo(0), 1)),
    ];
    store.commit(vec![gone]).unwrap();
    sound(&store);
}

#[test]
fn what_a_crash_cut_short_is_a_note_and_is_looked_at_as_it_will_be() {
    let large: Vec<Op> = (0..=MAX_OPS)
        .map(|n| put(key::staged(u32::try_from(n).unwrap(), true, b"?"), ""))
        .collect();
    let dropped = store();
    dropped.commit(vec![large]).unwrap();
    let report = checked(&dropped);
    assert!(report.sound, "{:?}", report.faults);
    assert!(report.notes[0].contains("drops it"), "{:?}", report.notes);

    // A run goes, and a crash comes when the half of it has gone.
    let half = store();
    let gone: Vec<Op> = [key::OPEN, key::MARK, key::PAGE, key::RESULT, key::LATE]
        .into_iter()
        .flat_map(|kind| walk(&half, key::of_run(kind, serial(1)), Order::Up))
        .map(|entry| Op::Delete(entry.unwrap().0))
        .chain([
            Op::Delete(key::ended(Some(a_job(1).id), serial(1))),
            Op::Delete(key::run(serial(1))),
        ])
        .collect();
    let staged = (0..).zip(&gone).map(|(n, op)| put(key::staged(n, false, op.key()), "")).collect();
    let done = vec![gone.last().unwrap().clone(), gone[0].clone()];
    half.commit(vec![staged, done]).unwrap();
    assert!(!checked(&half).sound, "without the marker the half that is left is a fault");
    half.commit(vec![vec![put(key::staging_marker(), "")]]).unwrap();
    let report = checked(&half);
    assert!(report.sound, "{:?}", report.faults);
    assert!(report.notes[0].contains("completes it"), "{:?}", report.notes);
    staging::recover(&half).unwrap();
    assert!(checked(&half).sound && checked(&half).notes.is_empty());
}

#[test]
fn many_faults_are_counted_and_not_all_told() {
    let damaged = store();
    let count = u32::try_from(MAX_FAULTS).unwrap() + 10;
    let batch = (0..count).map(|n| put([b"?", &n.to_be_bytes()[..]].concat(), "")).collect();
    damaged.commit(vec![batch]).unwrap();
    let report = checked(&damaged);
    assert_eq!((report.faults.len(), report.faults_total), (MAX_FAULTS, u64::from(count)));
}
