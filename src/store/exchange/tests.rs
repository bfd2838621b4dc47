//! What is exported can be imported and is exported as the same again; what is not whole, or in
//! conflict, is named and changes nothing.

use std::io::Cursor;
use std::sync::Arc;

use super::*;
use crate::engine::{CHUNK, Change};
use crate::id::ClientNo;
use crate::run::{Counts, Outcome, Run};
use crate::store::check::check;
use crate::store::records::tests::{a_client, a_page, a_run, at, open, serial};
use crate::store::sample::{a_job, a_large_result, a_removed_job, store};
use crate::store::{
    Entry, MemoryStore, Op, Order, Store, StoreKind, StoreOptions, everything, key, open_at,
    records, walk,
};
use crate::{JobState, Json, Membership};

fn exported(store: &dyn Store, query: &ExportQuery) -> String {
    let mut text = Vec::new();
    export(store, query, at(100), &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn whole(store: &dyn Store) -> String {
    exported(store, &ExportQuery::default())
}

fn empty() -> MemoryStore {
    let store = MemoryStore::new();
    records::load(&store).unwrap();
    store
}

fn of_job() -> ExportQuery {
    ExportQuery { job: Some(a_job(1).spec.name), ..ExportQuery::default() }
}

fn take(text: &str, store: &MemoryStore) -> Result<Imported, ImportError> {
    import_into(&mut Cursor::new(text.as_bytes()), store, ImportOptions::default())
}

fn all(store: &dyn Store) -> Vec<Entry> {
    walk(store, everything(), Order::Up).map(Result::unwrap).collect()
}

#[track_caller]
fn sound(store: &MemoryStore) {
    let report = check(Arc::new(store.clone())).unwrap();
    assert!(report.sound, "{:#?}", report.faults);
}

fn records_of(text: &str) -> Vec<String> {
    let record = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["record"].as_str().unwrap().to_owned()
    };
    text.lines().map(record).collect()
}

#[test]
fn a_whole_export_makes_the_same_store_again() {
    let text = whole(&store());
    let copy = empty();
    let imported = take(&text, &copy).unwrap();
    assert!(imported.skipped.is_empty(), "{imported:?}");
    assert_eq!(imported.imported.values().sum::<u64>() + 2, text.lines().count() as u64);
    sound(&copy);
    assert_eq!(whole(&copy), text);
    // The engine can start on it.
    let snapshot = records::load(&copy).unwrap();
    assert_eq!((snapshot.jobs.len(), snapshot.open_runs.len()), (1, 1));
    // Once more: all is there.
    let again = take(&text, &copy);
    let error = again.unwrap_err().to_string();
    assert!(error.contains("is open, and the store is not empty"), "{error}");
    let options = ImportOptions { ended_only: true, ..ImportOptions::default() };
    let before = all(&copy);
    let again = import_into(&mut Cursor::new(text.as_bytes()), &copy, options).unwrap();
    assert!(again.imported.is_empty(), "{again:?}");
    assert_eq!(all(&copy), before);
}

#[test]
fn each_line_says_what_it_is_in_names() {
    let text = whole(&store());
    let expected = "header client client client client client calendar job revision revision missed \
                    missed removed_job revision revision missed run response response response late \
                    run response open mark repeat repeat trailer";
    assert_eq!(records_of(&text), expected.split_whitespace().collect::<Vec<_>>());
    let line = |start: &str| {
        text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}"))
    };
    assert!(
        line(r#"{"record":"header","version":1,"store_format":3,"fleetcron":""#).contains("at")
    );
    assert!(line(r#"{"record":"client","id":"web-0""#).contains(r#""token":""#));
    assert!(line(r#"{"record":"job","id":""#).contains(r#""params":{"a":[1],"z":1.5}"#));
    let open = line(r#"{"record":"open""#);
    assert!(open.ends_with(r#""clients":["web-2","web-3"]}"#), "{open}");
    let mark = line(r#"{"record":"mark""#);
    assert!(mark.ends_with(r#""mark":"sent","clients":["web-2"]}"#), "{mark}");
    assert!(text.contains(a_large_result().text()), "results are whole");
    assert!(text.contains(r#""result":{"a":  1}"#), "a line end between tokens is a space");
    assert!(line(r#"{"record":"trailer","counts":{"calendar":1,"client":5,"#).ends_with("}}"));
}

#[test]
fn an_export_of_a_job_has_what_the_job_needs_and_no_token() {
    let text = exported(&store(), &of_job());
    let expected = "header calendar job revision revision missed missed removed_job revision revision \
                    missed run client response response client response late trailer";
    assert_eq!(records_of(&text), expected.split_whitespace().collect::<Vec<_>>());
    assert!(!text.contains("token"));
    // Into a store that knows one of the clients under another number.
    let other = empty();
    let mine = crate::ClientRecord { no: ClientNo(0), ..a_client(1) };
    let mine = crate::ClientRecord { removed_at: None, ..mine };
    records::write(&other, &[vec![Change::PutClient(Arc::new(mine.clone()))]]).unwrap();
    let imported = take(&text, &other).unwrap();
    assert_eq!((imported.imported["client"], imported.skipped["client"]), (1, 1));
    sound(&other);
    assert_eq!(records::client(&other, ClientNo(0)).unwrap(), Some(mine), "it is as it was");
    let new = records::client(&other, ClientNo(1)).unwrap().unwrap();
    assert_eq!((new.id, new.token), (a_client(0).id, None));
    let again = exported(&other, &of_job());
    assert_eq!(again.lines().count(), text.lines().count());
    let imported = take(&text, &other).unwrap();
    assert!(imported.imported.is_empty(), "all is there: {imported:?}");
}

#[test]
fn a_span_and_a_name_that_are_not_there_are_told() {
    let from = |from, to| ExportQuery { from, to, ..ExportQuery::default() };
    let runs = |query: &ExportQuery| {
        exported(&store(), query).lines().filter(|line| line.contains("\"run\"")).count()
    };
    assert_eq!(runs(&from(Some(at(1)), None)), 3, "two runs and the trailer");
    assert_eq!(runs(&from(Some(at(2)), None)), 2);
    assert_eq!(runs(&from(None, Some(at(2)))), 2);
    assert_eq!(runs(&from(Some(at(3)), Some(at(9)))), 0);
    let refused = |query: &ExportQuery| {
        export(&store(), query, at(0), &mut Vec::new()).unwrap_err().to_string()
    };
    assert!(refused(&from(Some(at(2)), Some(at(2)))).contains("is no span"));
    let wrong = ExportQuery { job: Some("nightly/backu".parse().unwrap()), ..Default::default() };
    let expected = "no job named \"nightly/backu\"; did you mean \"nightly/backup\"?";
    assert_eq!(refused(&wrong), expected);
}

#[test]
fn a_file_that_is_not_whole_changes_nothing() {
    let text = whole(&store());
    let target = empty();
    let before = all(&target);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for count in 0..lines.len() {
        let error = take(&lines[..count].concat(), &target).unwrap_err().to_string();
        // A part that does not add up is told where that is seen.
        assert!(error.starts_with("line "), "{count} lines: {error}");
        let error = take(&[&lines[..count], &["{\"record\""]].concat().concat(), &target);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(&format!("line {}: ", count + 1)), "{count} lines: {error}");
    }
    // Without one line of any kind but headers and trailers it does not add up.
    for left_out in 1..lines.len() - 1 {
        let rest = [&lines[..left_out], &lines[left_out + 1..]].concat().concat();
        assert!(take(&rest, &target).is_err(), "without line {}", left_out + 1);
    }
    assert_eq!(all(&target), before);
}

/// The whole export with one part replaced is refused by these words.
#[track_caller]
fn refused(from: &str, to: &str, words: &str) {
    let text = whole(&store());
    assert!(text.contains(from), "{from}");
    let target = empty();
    let before = all(&target);
    let error = take(&text.replacen(from, to, 1), &target).unwrap_err().to_string();
    assert!(error.contains(words) && error.starts_with("line "), "{words:?}: {error}");
    assert_eq!(all(&target), before, "nothing is written");
}

#[test]
fn lines_that_are_wrong_are_named() {
    refused(r#""version":1"#, r#""version":2"#, "line 1: the export has version 2");
    refused(
        r#""store_format":3"#,
        r#""store_format":9"#,
        "line 1: the export is of a store of format 9",
    );
    refused(r#""record":"header""#, r#""record":"head""#, "record \"head\" is not known");
    refused(r#""record":"calendar""#, r#""record":"header""#, "");
    refused(r#""id":"web-0""#, r#""id":"web 0""#, "line 2: client id \"web 0\" is not valid");
    refused(r#""id":"web-1""#, r#""id":"web-0""#, "line 3: client web-0 has a line before");
    refused(r#""revision":3,"#, r#""revision":4,"#, "is at revision 4, and the last before is 2");
    refused(r#""row":2"#, r#""row":3"#, "tells of row 3 of missed firings, and the last is 2");
    refused(
        r#""calendars":["closed"]"#,
        r#""calendars":["open"]"#,
        "calendar open, which has no line",
    );
    refused(r#""succeeded":1"#, r#""succeeded":2"#, "has ended and does not add up");
    refused(r#""clients":["web-2","web-3"]"#, r#""clients":["web-2"]"#, "and 1 are open");
    refused(r#""mark":"sent""#, r#""mark":"seen""#, "mark \"seen\" is not known");
    refused(r#""clients":["web-2"]"#, r#""clients":["web-4"]"#, "has a mark and is not open");
    refused(r#""clients":["web-2","#, r#""clients":["web-9","#, "client web-9 has no line before");
    refused(r#""response":4"#, r#""response":5"#, "the trailer tells of");
}

#[test]
fn what_is_in_conflict_with_the_store_is_named_and_changes_nothing() {
    let text = exported(&store(), &of_job());
    let conflict = |ops: Vec<Op>, words: &str| {
        let target = store();
        target.commit(vec![ops]).unwrap();
        let before = all(&target);
        let error = take(&text, &target).unwrap_err();
        let is_conflict = matches!(&error, ImportError::Conflict { .. });
        let told = error.to_string();
        assert!(is_conflict && told.contains(words), "{words:?}: {told}");
        assert_eq!(all(&target), before);
    };
    let edited = |key: Vec<u8>, from: &str, to: &str| {
        let text = String::from_utf8(store().get(&key).unwrap().unwrap()).unwrap();
        assert!(text.contains(from), "{text}");
        Op::Put(key, text.replace(from, to).into_bytes())
    };
    let job = key::job(a_job(1).id);
    conflict(vec![edited(job.clone(), "backup.run", "backup.walk")], "with another definition");
    let id = crate::JobId::from_parts(at(70), 7);
    let named = Arc::new(crate::Job { id, ..a_job(3) });
    let state = Change::PutJobState(Arc::clone(&named), JobState::default());
    let mut named = records::encode(&MemoryStore::new(), &[Change::PutJob(named), state]).unwrap();
    named.push(Op::Delete(job));
    conflict(named, "another job is named nightly/backup there");
    let calendar = key::calendar(&"closed".parse().unwrap());
    conflict(vec![edited(calendar, "12-24", "12-25")], "calendar closed is there with other days");
    let run = key::run(serial(1));
    conflict(vec![edited(run, "backup.run", "backup.walk")], "is there, and not the same");
    let page = edited_page();
    conflict(vec![page], "is there, and not the same");
    let removed = a_removed_job();
    let removed_key = key::removed(&removed.name, removed.job);
    let at = serde_json::to_string(&removed.removed_at).unwrap();
    let later = serde_json::to_string(&crate::Timestamp::from_millis(0)).unwrap();
    conflict(vec![edited(removed_key, &at, &later)], "was removed there as nightly/backup");
}

/// The last page of run 1 with another reason.
fn edited_page() -> Op {
    let change = a_page(1, 2, vec![(1, Outcome::ended(crate::DeliveryState::TimedOut, "longer"))]);
    let mut ops = records::encode(&MemoryStore::new(), &[change]).unwrap();
    ops.swap_remove(0)
}

/// A run for more clients than one line and one chunk have, with more results than one page, taken
/// over with large open sets, and cut short anywhere: the import done again goes on where it was.
#[test]
fn an_import_that_was_cut_short_is_done_again() {
    const CLIENTS: u32 = CHUNK + 1_500;
    let from = empty();
    let clients = (0..CLIENTS).map(|no| Change::PutClient(Arc::new(a_client(no)))).collect();
    let result = |n: u32| Outcome::succeeded(Json::new(&format!("{n:0400}")).unwrap());
    let ended = |n: i64, total| {
        let counts = Counts { total, succeeded: total, ..Counts::default() };
        let ended_at = Some(at(n + 9));
        Change::PutRun(Arc::new(Run {
            counts,
            ended_at,
            membership: Membership::Snapshot,
            ..a_run(n, total)
        }))
    };
    let units = [
        clients,
        vec![ended(1, 300), a_page(1, 0, (0..300).map(|n| (n, result(n))).collect())],
        vec![
            Change::PutRun(Arc::new(a_run(2, CLIENTS))),
            open(2, 0, 0..CHUNK),
            open(2, 1, CHUNK..CLIENTS),
        ],
    ];
    records::write(&from, &units).unwrap();
    sound(&from);
    let text = whole(&from);
    let target = empty();
    take(&text, &target).unwrap();
    sound(&target);
    assert_eq!(whole(&target), text);
    let pages = key::of_run(key::PAGE, serial(1));
    assert!(walk(&target, pages, Order::Up).count() > 5, "pages are of the usual size");

    // Runs alone, so that each is cut short somewhere; what was there is the same again.
    let small = exported(&store(), &of_job());
    for batches in 0..12 {
        let faulty = crate::store::faulty::FaultyStore::failing_after(empty(), batches);
        let cut =
            import_into(&mut Cursor::new(small.as_bytes()), &faulty, ImportOptions::default());
        let store = faulty.into_inner();
        let done = cut.is_ok();
        take(&small, &store).unwrap();
        sound(&store);
        let once = empty();
        take(&small, &once).unwrap();
        assert_eq!(all(&store), all(&once), "after {batches} batches");
        assert!(batches > 0 || !done);
    }
}

#[test]
fn a_directory_gets_a_store_or_stays_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (place, text) = (directory.path().join("new"), whole(&store()));
    let options = ImportOptions::default();
    let half = &text[..text.len() / 2];
    import(Cursor::new(half.as_bytes()), &place, options).unwrap_err();
    assert!(!place.exists());
    let as_fjall = ImportOptions { store: Some(StoreKind::Fjall), ..options };
    import(Cursor::new(text.as_bytes()), &place, as_fjall).unwrap();
    let as_sled = ImportOptions { store: Some(StoreKind::Sled), ..options };
    let error = import(Cursor::new(text.as_bytes()), &place, as_sled).unwrap_err().to_string();
    assert!(error.contains("is a fjall store, not sled"), "{error}");
    let made = open_at(&place, StoreOptions::default()).unwrap();
    assert_eq!(whole(made.as_ref()), text);
    let error = import(Cursor::new(text.as_bytes()), &place, options).unwrap_err();
    assert!(error.to_string().contains("in use by process"), "{error}");
}
