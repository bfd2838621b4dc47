//! A run that is taken in: its pages are written as they fill, the run itself at last.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::super::ImportError as Error;
use super::super::line::{Late, Line, Marked, Open};
use crate::engine::{CHUNK, Change, Mark, PAGE_BYTES, PageEntry};
use crate::id::{ClientId, ClientNo};
use crate::run::{Response, Run};

/// Bytes of a response beside its result and its reason, about.
const ENTRY: usize = 24;

pub(super) struct RunAtHand {
    run: Run,
    page: u32,
    entries: Vec<PageEntry>,
    bytes: usize,
    open: RoaringBitmap,
    marks: BTreeMap<Mark, RoaringBitmap>,
}

impl RunAtHand {
    pub(super) fn new(run: Run) -> Self {
        let (open, marks) = (RoaringBitmap::new(), BTreeMap::new());
        Self { run, page: 0, entries: Vec::new(), bytes: 0, open, marks }
    }

    /// Takes a line of the run; gives what is to be written now, if anything.
    pub(super) fn take(
        &mut self,
        line: Line,
        number: impl Fn(&ClientId) -> Result<ClientNo, Error>,
    ) -> Result<Option<Vec<Change>>, Error> {
        match line {
            Line::Response(response) => {
                let Response { client, at, attempt, retried, outcome, .. } = *response;
                self.bytes += ENTRY
                    + outcome.reason.as_ref().map_or(0, String::len)
                    + outcome.result.as_ref().map_or(0, |result| result.text().len());
                let client = number(&client)?;
                self.entries.push(PageEntry { client, at, attempt, retried, outcome });
                Ok((self.bytes >= PAGE_BYTES).then(|| self.page()))
            }
            Line::Late(late) => {
                let Late { serial, answer } = *late;
                let client = number(&answer.client)?;
                Ok(Some(vec![Change::PutLate { serial, client, answer: Box::new(answer) }]))
            }
            Line::Open(Open { clients, .. }) => {
                for id in &clients {
                    self.open.insert(number(id)?.0);
                }
                Ok(None)
            }
            Line::Marked(Marked { mark, clients, .. }) => {
                for id in &clients {
                    self.marks.entry(mark).or_default().insert(number(id)?.0);
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn page(&mut self) -> Vec<Change> {
        let entries = std::mem::take(&mut self.entries);
        let change = Change::PutPage { serial: self.run.serial, page: self.page, entries };
        self.page += 1;
        self.bytes = 0;
        vec![change]
    }

    /// What is left to be written, the run last.
    pub(super) fn end(mut self) -> Vec<Vec<Change>> {
        let mut units = Vec::new();
        if !self.entries.is_empty() {
            units.push(self.page());
        }
        let serial = self.run.serial;
        let mut unit: Vec<Change> = chunks(&self.open)
            .map(|(chunk, open)| Change::PutOpen { serial, chunk, open })
            .collect();
        for (mark, clients) in &self.marks {
            let mark = *mark;
            unit.extend(chunks(clients).map(|(chunk, clients)| Change::PutMarks {
                serial,
                mark,
                chunk,
                clients,
            }));
        }
        unit.push(Change::PutRun(Arc::new(self.run)));
        units.push(unit);
        units
    }
}

/// A set cut into the chunks in which it is stored.
fn chunks(clients: &RoaringBitmap) -> impl Iterator<Item = (u32, RoaringBitmap)> {
    let mut chunks: BTreeMap<u32, RoaringBitmap> = BTreeMap::new();
    for no in clients {
        chunks.entry(no / CHUNK).or_default().insert(no);
    }
    chunks.into_iter()
}
