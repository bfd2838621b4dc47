//! Files that were cut, damaged, or were never journals.

use proptest::prelude::*;
use record::{Acknowledged, Ended, Header, Record, Scan};

use super::*;

/// Records as a client writes them, each with the offset of its end.
fn written(acts: &[(u8, u64)]) -> (Vec<u8>, Vec<(usize, Record)>) {
    let mut records = vec![Record::Header(Header { version: 1, client: client() })];
    records.extend(acts.iter().map(|(kind, n)| match kind % 4 {
        0 => Record::Taken(Taken::new(fail(*n))),
        1 => Record::Taken(Taken::new(retry(*n))),
        2 => Record::Ended(Ended { serial: serial(*n), attempt: 1, outcome: done(*n) }),
        _ => Record::Acknowledged(Acknowledged { serial: serial(*n), attempt: 1 }),
    }));
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for record in records {
        record::encode(&record, &mut bytes).unwrap();
        ends.push((bytes.len(), record));
    }
    (bytes, ends)
}

fn read(bytes: &[u8]) -> (Vec<Record>, Scan) {
    let mut records = Vec::new();
    let scan = record::scan(bytes, |record, _| records.push(record)).unwrap();
    (records, scan)
}

/// What a file of these records comes to.
fn book_of<'a>(records: impl IntoIterator<Item = &'a (usize, Record)>) -> Vec<Remembered> {
    let mut book = Book::default();
    for (_, record) in records {
        book.apply(record.clone(), 1);
    }
    open_ones(remembered(&book))
}

fn file_of(bytes: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(files::FILE), bytes).unwrap();
    directory
}

#[tokio::test]
async fn cut_at_any_byte_it_stands_as_it_did_after_a_whole_record() {
    let acts = [(0, 1), (1, 2), (2, 1), (3, 1)];
    let (bytes, ends) = written(&acts);
    for cut in 0..=bytes.len() {
        let directory = file_of(&bytes[..cut]);
        let whole = || ends.iter().filter(|(end, _)| *end <= cut);
        let options = JournalOptions::from(directory.path());
        let (journal, remembered) = open(&options);
        assert_eq!(remembered, book_of(whole()), "cut at {cut}");
        take(&journal, fail(9)).await.unwrap();
        journal.close().await;
        let mut after = book_of(whole());
        after.push(cut_short(9));
        assert_eq!(reopened(&options).await, after, "what comes after it can be read: {cut}");
        assert!(!directory.path().join(files::DAMAGED).exists(), "{cut}");
    }
}

#[tokio::test]
async fn damage_in_the_middle_is_skipped_and_the_damaged_file_kept() {
    let (mut bytes, ends) = written(&[(0, 1), (0, 2), (1, 3)]);
    let at = ends[1].0 + record::HEAD + 20;
    bytes[at] ^= 0x10;
    let directory = file_of(&bytes);
    let options = JournalOptions::from(directory.path());
    let expected = [cut_short(1), Remembered::Again(retry(3))];
    assert_eq!(reopened(&options).await, expected);
    assert_eq!(fs::read(directory.path().join(files::DAMAGED)).unwrap(), bytes);
    let (_, scan) = read(&fs::read(directory.path().join(files::FILE)).unwrap());
    assert!(scan.damaged.is_empty(), "it was written anew");
    assert_eq!(reopened(&options).await, expected);
}

#[test]
fn what_is_no_journal_is_refused_and_not_touched() {
    let (other, _) = written(&[(0, 1)]);
    let newer = {
        let mut bytes = Vec::new();
        let header = Header { version: 2, client: client() };
        record::encode(&Record::Header(header), &mut bytes).unwrap();
        bytes.extend(raw(br#"{"forgotten":{"serial":"01JD0000000000000000000001"}}"#));
        bytes
    };
    let unknown = [other.clone(), raw(br#"{"forgotten":{}}"#)].concat();
    let place = other.len();
    let kinds = "`header`, `taken`, `ended`, `acknowledged`";
    for (bytes, problem) in [
        (
            b"[agent]\nserver = 1".to_vec(),
            "/journal is not a client's journal, and was not touched".to_owned(),
        ),
        (vec![0; 64], "/journal is not a client's journal, and was not touched".into()),
        (newer, "/journal has format 2; this version knows 1".into()),
        (
            unknown,
            format!(
                "/journal cannot be read at byte {place}: unknown variant `forgotten`, expected one of {kinds} at line 1 column 12"
            ),
        ),
    ] {
        let directory = file_of(&bytes);
        let message = refusal(directory.path());
        let file = directory.path().display().to_string();
        let (_, told) = message.split_once(&file).unwrap();
        assert_eq!(told, problem);
        assert_eq!(fs::read(directory.path().join(files::FILE)).unwrap(), bytes);
    }
    let directory = file_of(&other);
    let error = Journal::open(&directory.path().into(), &"web-02".parse().unwrap()).err().unwrap();
    let file = directory.path().join(files::FILE);
    let told = format!("the journal {} is that of client web-01, not of web-02", file.display());
    assert_eq!(error.to_string(), told);
}

/// A whole record of any JSON.
fn raw(json: &[u8]) -> Vec<u8> {
    let length = u32::try_from(json.len()).unwrap().to_be_bytes();
    let sum = crc32fast::hash(&[&length, json].concat()).to_be_bytes();
    [&record::MARK, &length[..], &sum, json].concat()
}

fn acts() -> impl Strategy<Value = Vec<(u8, u64)>> {
    proptest::collection::vec((0..4_u8, 0..5_u64), 1..25)
}

proptest! {
    #[test]
    fn a_cut_file_gives_the_records_before_the_cut(acts in acts(), cut: prop::sample::Index) {
        let (bytes, ends) = written(&acts);
        let cut = cut.index(bytes.len() + 1);
        let (records, scan) = read(&bytes[..cut]);
        let whole: Vec<_> = ends.iter().filter(|(end, _)| *end <= cut).collect();
        prop_assert_eq!(records, whole.iter().map(|(_, it)| it.clone()).collect::<Vec<_>>());
        prop_assert_eq!(scan.end, whole.last().map_or(0, |(end, _)| *end));
        prop_assert!(scan.damaged.is_empty());
    }

    #[test]
    fn a_flipped_bit_costs_its_own_record_and_is_told(
        acts in acts(),
        at: prop::sample::Index,
        bit in 0..8_u32,
    ) {
        let (mut bytes, ends) = written(&acts);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let hit = ends.iter().position(|(end, _)| at < *end).unwrap();
        let begin = if hit == 0 { 0 } else { ends[hit - 1].0 };
        let (records, scan) = read(&bytes);
        let mut expected: Vec<_> = ends.iter().map(|(_, record)| record.clone()).collect();
        expected.remove(hit);
        prop_assert_eq!(records, expected);
        if hit + 1 == ends.len() {
            prop_assert!(scan.end == begin && scan.damaged.is_empty(), "the tail");
        } else {
            prop_assert_eq!(scan.damaged, vec![begin..ends[hit].0]);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        start in acts(),
        noise in proptest::collection::vec(any::<u8>(), 0..400),
        place: prop::sample::Index,
    ) {
        let (bytes, ends) = written(&start);
        let place = place.index(bytes.len());
        let mixed = [&bytes[..place], &noise, &bytes[place..]].concat();
        let (records, scan) = read(&mixed);
        prop_assert!(records.len() == scan.records && records.len() + 1 >= ends.len());
    }
}
