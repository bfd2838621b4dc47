//! Recorded inputs, commit by commit.

use super::{ReenactError, Source};
use crate::bytes::Reader;
use crate::recording::{self, Moment, Told};
use crate::store::ledger::Head;
use crate::store::{Entry, Order, StoreError, Walk, key, records, walk};

/// What a record is called in an error.
const WHAT: &str = "recorded inputs";

/// The inputs that led to one commit.
pub(super) struct Record {
    /// The commit's number.
    pub(super) commit: u64,
    /// The number of the commit's first event.
    pub(super) first_event: u64,
    /// The inputs as they are stored.
    pub(super) bytes: Vec<u8>,
    /// The inputs.
    pub(super) moments: Vec<Moment>,
    /// Whether the server was started with it.
    pub(super) starts: bool,
}

/// Every record of a store from a commit on, in order, with a look at the next.
pub(super) struct Records<'a> {
    entries: Walk<'a>,
    ahead: Option<Record>,
    last: Option<u64>,
}

impl<'a> Records<'a> {
    /// The records to re-enact; the first of them starts a server.
    pub(super) fn of(source: Source<'a>) -> Result<Self, ReenactError> {
        let all = key::all(key::INPUTS);
        let first = source.store.scan(&all.start..&all.end, Order::Up, 1)?;
        let Some((first, _)) = first.first() else { return Err(ReenactError::NothingRecorded) };
        let (first, _) = records::part_of(WHAT, first, key::inputs_in)?;
        let from = match source.base {
            None if first == 1 => 1,
            None => return Err(ReenactError::NoBeginning { commit: first }),
            Some(base) => Head::of(base)?.next_commit,
        };
        let entries = walk(source.store, key::inputs(from, 0)..all.end, Order::Up);
        let mut records = Self { entries, ahead: None, last: None };
        match records.peek()? {
            Some(record) if record.starts && record.commit == from => Ok(records),
            _ => Err(ReenactError::WrongBase { next: from }),
        }
    }

    /// The next record, without taking it.
    pub(super) fn peek(&mut self) -> Result<Option<&Record>, ReenactError> {
        if self.ahead.is_none()
            && let Some(record) = self.read()?
        {
            if let Some(last) = self.last.replace(record.commit)
                && record.commit != last + 1
            {
                return Err(ReenactError::Gap { commit: last + 1 });
            }
            self.ahead = Some(record);
        }
        Ok(self.ahead.as_ref())
    }

    /// The next record.
    pub(super) fn next(&mut self) -> Result<Option<Record>, ReenactError> {
        self.peek()?;
        Ok(self.ahead.take())
    }

    fn read(&mut self) -> Result<Option<Record>, StoreError> {
        while let Some(first) = self.entries.next().transpose()? {
            let (commit, piece) = records::part_of(WHAT, &first.0, key::inputs_in)?;
            // Others are what a commit left that was cut short before its first piece.
            if piece == 0 {
                return self.assemble(commit, first).map(Some);
            }
        }
        Ok(None)
    }

    /// Puts a record together, of which the first piece is at hand.
    fn assemble(&mut self, commit: u64, (key, value): Entry) -> Result<Record, StoreError> {
        let corrupt = |problem: String| StoreError::corrupt(WHAT, &key, problem);
        let mut reader = Reader::new(&value, "its head");
        let mut head = || Ok::<_, crate::bytes::Damaged>((reader.varint()?, reader.varint()?));
        let (pieces, first_event) = head().map_err(|problem| corrupt(problem.to_string()))?;
        let mut bytes = reader.rest().to_vec();
        for piece in 1..pieces {
            let Some((next, value)) = self.entries.next().transpose()? else {
                return Err(corrupt(format!("it has {piece} of {pieces} pieces")));
            };
            let found = records::part_of(WHAT, &next, key::inputs_in)?;
            if (found.0, u64::from(found.1)) != (commit, piece) {
                return Err(corrupt(format!("piece {piece} of {pieces} is missing")));
            }
            bytes.extend_from_slice(&value);
        }
        let moments = recording::read(&bytes)
            .and_then(Iterator::collect::<Result<Vec<Moment>, _>>)
            .map_err(|problem| corrupt(problem.to_string()))?;
        let starts = moments.first().is_some_and(|it| matches!(it.told, Told::Restored(_)));
        Ok(Record { commit, first_event, bytes, moments, starts })
    }
}
