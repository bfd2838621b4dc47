//! From a store to lines.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;

use roaring::RoaringBitmap;

use super::line::{Client, Header, JobLine, Line, Trailer};
use super::select::{Selection, removed};
use super::{ExportError as Error, ExportQuery};
use crate::client_record::ClientRecord;
use crate::id::{CalendarName, ClientId, ClientNo, JobId};
use crate::job::{Job, JobState};
use crate::store::{Order, Store, StoreError, key, records, walk};
use crate::time::Timestamp;

mod run;

/// Names of clients that are kept at hand.
const NAMES: usize = 65_536;

/// Refuses a query for which there is no export.
pub fn check_query(store: &dyn Store, query: &ExportQuery) -> Result<(), Error> {
    Selection::new(store, query).map(drop)
}

/// Writes what a query asks for. `at` is now.
///
/// A store that commits meanwhile is not shown as of one moment; each job and each run is whole
/// all the same. What the engine has not finished storing is not there yet.
pub fn export(
    store: &dyn Store,
    query: &ExportQuery,
    at: Timestamp,
    out: impl Write,
) -> Result<(), Error> {
    let selection = Selection::new(store, query)?;
    let mut exporter = Exporter::new(store, query.is_whole(), Some(RoaringBitmap::new()), out);
    exporter.line(&Line::Header(Header::new(query, at)))?;
    if exporter.is_whole {
        exporter.clients()?;
    }
    exporter.calendars(&selection)?;
    exporter.jobs(&selection)?;
    exporter.runs(&selection)?;
    if exporter.is_whole {
        exporter.repeats()?;
    }
    exporter.end()
}

/// Writes the lines of one run alone, without those of clients.
pub(super) fn run_alone(
    store: &dyn Store,
    serial: crate::id::Serial,
    out: impl Write,
) -> Result<(), Error> {
    Exporter::new(store, false, None, out).run(serial)
}

struct Exporter<'a, W> {
    store: &'a dyn Store,
    out: W,
    is_whole: bool,
    /// The clients that have a line; `None`: none is wanted.
    written: Option<RoaringBitmap>,
    /// Names of some clients.
    names: HashMap<ClientNo, ClientId>,
    counts: BTreeMap<String, u64>,
    /// The jobs that are there, rising: one that is removed meanwhile is not told twice.
    live: Vec<JobId>,
}

impl<'a, W: Write> Exporter<'a, W> {
    fn new(store: &'a dyn Store, is_whole: bool, written: Option<RoaringBitmap>, out: W) -> Self {
        let (names, counts, live) = (HashMap::new(), BTreeMap::new(), Vec::new());
        Self { store, out, is_whole, written, names, counts, live }
    }

    fn line(&mut self, line: &Line) -> Result<(), Error> {
        let text = line.text().map_err(std::io::Error::from)?;
        *self.counts.entry(line.record().to_owned()).or_default() += 1;
        Ok(self.out.write_all(&text)?)
    }

    fn end(mut self) -> Result<(), Error> {
        let mut counts = std::mem::take(&mut self.counts);
        counts.remove("header");
        self.line(&Line::Trailer(Trailer { counts }))?;
        Ok(self.out.flush()?)
    }

    fn clients(&mut self) -> Result<(), Error> {
        for entry in walk(self.store, key::all(key::CLIENT), Order::Up) {
            let (key, value) = entry?;
            self.client(records::read("client", &key, &value)?)?;
        }
        Ok(())
    }

    fn client(&mut self, record: ClientRecord) -> Result<(), Error> {
        let no = record.no;
        let Some(written) = &mut self.written else { return Ok(()) };
        if !written.insert(no.0) {
            return Ok(());
        }
        let presence = records::get(self.store, "presence", &key::presence(no))?;
        let client = Client::new(record, presence, self.is_whole);
        self.line(&Line::Client(Box::new(client)))
    }

    /// The name of a client, which has a line from now on if it had none.
    fn name(&mut self, no: ClientNo) -> Result<ClientId, Error> {
        if let Some(name) = self.names.get(&no) {
            return Ok(name.clone());
        }
        let record = records::client(self.store, no)?
            .ok_or_else(|| StoreError::corrupt("client", &key::client(no), "it is missing"))?;
        let name = record.id.clone();
        self.client(record)?;
        if self.names.len() == NAMES {
            self.names.clear();
        }
        self.names.insert(no, name.clone());
        Ok(name)
    }

    fn calendars(&mut self, selection: &Selection) -> Result<(), Error> {
        let mut named: BTreeSet<CalendarName> = BTreeSet::new();
        if !self.is_whole {
            for job in jobs(self.store) {
                let job = job?;
                if selection.has_job(job.id) {
                    named.extend(job.spec.rule.calendars().into_iter().cloned());
                }
            }
        }
        for entry in walk(self.store, key::all(key::CALENDAR), Order::Up) {
            let (key, value) = entry?;
            let calendar: crate::CalendarRecord = records::read("calendar", &key, &value)?;
            if self.is_whole || named.contains(calendar.spec.name()) {
                self.line(&Line::Calendar(Box::new(calendar)))?;
            }
        }
        Ok(())
    }

    fn jobs(&mut self, selection: &Selection) -> Result<(), Error> {
        for job in jobs(self.store) {
            let id = job?.id;
            if selection.has_job(id) {
                self.job(id)?;
            }
        }
        for job in removed(self.store) {
            let job = job?;
            let id = job.job;
            if selection.has_job(id) && self.live.binary_search(&id).is_err() {
                self.line(&Line::Removed(job))?;
                self.past(id, u32::MAX, u64::MAX)?;
            }
        }
        Ok(())
    }

    fn job(&mut self, id: JobId) -> Result<(), Error> {
        // Its standing is read after it, and its past last: what comes meanwhile is left out.
        let Some(job) = records::job(self.store, id)? else { return Ok(()) };
        let state: Option<JobState> = records::get(self.store, "job state", &key::job_state(id))?;
        // It has been removed in between.
        let Some(state) = state else { return Ok(()) };
        let (revision, row) = (job.revision, state.missed.as_ref().map_or(0, |it| it.row));
        self.live.push(id);
        self.line(&Line::Job(Box::new(JobLine { job, state })))?;
        self.past(id, revision, row.saturating_add(1))
    }

    /// The past of a job before a revision and a row of missed firings.
    fn past(&mut self, id: JobId, revision: u32, row: u64) -> Result<(), Error> {
        let first = key::of_job(key::REVISION, id).start;
        for entry in walk(self.store, first..key::revision(id, revision), Order::Up) {
            let (key, value) = entry?;
            let revision = records::read("job revision", &key, &value)?;
            self.line(&Line::Revision(Box::new(revision)))?;
        }
        let first = key::of_job(key::MISSED, id).start;
        for entry in walk(self.store, first..key::missed(id, row), Order::Up) {
            let (key, value) = entry?;
            self.line(&Line::Missed(records::read("row of missed firings", &key, &value)?))?;
        }
        Ok(())
    }

    fn runs(&mut self, selection: &Selection) -> Result<(), Error> {
        for entry in walk(self.store, selection.runs.clone(), Order::Up) {
            let (key, value) = entry?;
            let run: crate::Run = records::read("run", &key, &value)?;
            if selection.has_run(&run) {
                self.run(run.serial)?;
            }
        }
        Ok(())
    }

    fn repeats(&mut self) -> Result<(), Error> {
        for entry in walk(self.store, key::all(key::REPEAT), Order::Up) {
            let (key, value) = entry?;
            let repeat = records::read("remembered submit", &key, &value)?;
            self.line(&Line::Repeat(Box::new(repeat)))?;
        }
        Ok(())
    }
}

fn jobs(store: &dyn Store) -> impl Iterator<Item = Result<Job, StoreError>> + '_ {
    walk(store, key::all(key::JOB), Order::Up).map(|entry| {
        let (key, value) = entry?;
        records::read("job", &key, &value)
    })
}
