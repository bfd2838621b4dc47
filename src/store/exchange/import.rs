//! From lines to a store.
//!
//! The file is read twice: first to find whether all of it can be taken in (see [`plan`]), then to
//! take it in. A job and a run are written last of what belongs to them: an import that a crash
//! cuts short is done again, and goes on where it was.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::ImportError as Error;
use super::line::{JobLine, Line};
use super::plan;
use super::reader::Reader;
use crate::engine::Change;
use crate::id::{ClientId, ClientNo};
use crate::store::format::border_above_all;
use crate::store::fresh::Fresh;
use crate::store::{Order, Store, StoreError, StoreKind, key, kind_at, open_at, records};

mod run;

use run::RunAtHand;

/// Units that are made durable at once.
const UNITS: usize = 64;

/// How a file is imported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Whether open runs are left out. Otherwise they are taken into an empty store, and refused by
    /// any other.
    pub ended_only: bool,
    /// The kind of store that is made, or that the one that is there must be. Default: of a new
    /// store sled, of one that is there its own.
    pub store: Option<StoreKind>,
}

/// What an import has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Lines that were taken in, by record.
    pub imported: BTreeMap<String, u64>,
    /// Lines of what was there already, or is not wanted, by record.
    pub skipped: BTreeMap<String, u64>,
}

/// Imports a file into the store of a directory, of a server that does not run; makes a store there
/// if the directory is empty or not there.
///
/// A file that cannot be taken in as a whole changes nothing. An import into a new store that is
/// cut short leaves one that does not open, see [`StoreError::Unfinished`].
pub fn import(
    mut file: impl BufRead + Seek,
    directory: &Path,
    options: ImportOptions,
) -> Result<Imported, Error> {
    if kind_at(directory)?.is_some() {
        let store = open_at(directory, options.store.into())?;
        return import_into(&mut file, store.as_ref(), options);
    }
    let fresh = Fresh::create(directory, options.store.unwrap_or_default())?;
    fresh.put_format()?;
    let imported = import_into(&mut file, fresh.store()?, options)?;
    fresh.store()?.commit(vec![vec![border_above_all(fresh.store()?)?]])?;
    fresh.finish()?;
    Ok(imported)
}

/// Imports a file into any store, which nobody else uses and which has been
/// [prepared](crate::store::prepare). A file that cannot be taken in as a whole changes nothing;
/// one whose import is cut short is imported again, and what is there is skipped.
pub fn import_into(
    file: &mut (impl BufRead + Seek),
    store: &dyn Store,
    options: ImportOptions,
) -> Result<Imported, Error> {
    plan::check(&mut *file, store, options)?;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = Reader::new(file);
    let mut importer = Importer::new(store, options)?;
    while let Some((line, read)) = reader.next()? {
        importer.take(line, read)?;
    }
    importer.end()
}

/// What is to become of the lines of a job or a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Import,
    Skip,
}

struct Importer<'a> {
    store: &'a dyn Store,
    options: ImportOptions,
    next_client: u32,
    numbers: HashMap<ClientId, ClientNo>,
    units: Vec<Vec<Change>>,
    /// What becomes of the past of the job at hand.
    past: Fate,
    /// What is written when the past of the job at hand has been.
    job: Vec<Change>,
    /// `None`: the lines of the run at hand are skipped.
    run: Option<RunAtHand>,
    done: Imported,
}

impl<'a> Importer<'a> {
    fn new(store: &'a dyn Store, options: ImportOptions) -> Result<Self, StoreError> {
        Ok(Self {
            store,
            options,
            next_client: next_client(store)?,
            numbers: HashMap::new(),
            units: Vec::new(),
            past: Fate::Skip,
            job: Vec::new(),
            run: None,
            done: Imported::default(),
        })
    }

    fn take(&mut self, at: u64, line: Line) -> Result<(), Error> {
        let record = line.record();
        let is_past = matches!(line, Line::Revision(_) | Line::Missed(_) | Line::Client(_));
        if !is_past {
            self.end_job()?;
        }
        if line.of_run().is_none() && !matches!(line, Line::Client(_)) {
            self.end_run()?;
        }
        let fate = match line {
            Line::Header(_) | Line::Trailer(_) => return Ok(()),
            Line::Client(client) => self.client(*client)?,
            Line::Calendar(calendar) => {
                let key = key::calendar(calendar.spec.name());
                self.unless_there(&key, vec![Change::PutCalendar(Arc::new(*calendar))])?
            }
            Line::Job(job) => self.job(*job)?,
            Line::Removed(job) => self.removed(job)?,
            Line::Revision(revision) => self.of_job(Change::PutRevision(revision))?,
            Line::Missed(row) => self.of_job(Change::PutMissed(row))?,
            Line::Run(run) => self.run(*run)?,
            Line::Repeat(repeat) => {
                let key = key::repeat(&repeat.key);
                self.unless_there(&key, vec![Change::PutRepeat(repeat)])?
            }
            line => self.of_run(at, line)?,
        };
        let counts = match fate {
            Fate::Import => &mut self.done.imported,
            Fate::Skip => &mut self.done.skipped,
        };
        *counts.entry(record.to_owned()).or_default() += 1;
        Ok(())
    }

    fn end(mut self) -> Result<Imported, Error> {
        self.end_job()?;
        self.end_run()?;
        records::write(self.store, &self.units)?;
        Ok(self.done)
    }

    fn write(&mut self, unit: Vec<Change>) -> Result<(), Error> {
        self.units.push(unit);
        if self.units.len() >= UNITS {
            records::write(self.store, &std::mem::take(&mut self.units))?;
        }
        Ok(())
    }

    fn unless_there(&mut self, key: &[u8], unit: Vec<Change>) -> Result<Fate, Error> {
        if self.store.get(key)?.is_some() {
            return Ok(Fate::Skip);
        }
        self.write(unit)?;
        Ok(Fate::Import)
    }

    /// Gives a client that is not known the next number.
    fn client(&mut self, client: super::line::Client) -> Result<Fate, Error> {
        let id = client.id.clone();
        if let Some(no) = records::client_no(self.store, &id)? {
            self.numbers.insert(id, no);
            return Ok(Fate::Skip);
        }
        let no = ClientNo(self.next_client);
        self.next_client += 1;
        self.numbers.insert(id, no);
        let presence = client.presence.clone();
        let mut unit = vec![Change::PutClient(Arc::new(client.record(no)))];
        unit.extend(presence.map(|presence| Change::PutPresence(no, presence)));
        self.write(unit)?;
        Ok(Fate::Import)
    }

    fn number(&self, line: u64, id: &ClientId) -> Result<ClientNo, Error> {
        // The plan has found that each has a line before.
        self.numbers.get(id).copied().ok_or_else(|| {
            let problem = format!("client {id} has no line before");
            Error::Line { line, problem }
        })
    }

    fn job(&mut self, line: JobLine) -> Result<Fate, Error> {
        let JobLine { job, state } = line;
        let key = key::job(job.id);
        let job = Arc::new(job);
        let standing = Change::PutJobState(Arc::clone(&job), state);
        self.begin_job(&key, vec![Change::PutJob(job), standing])
    }

    fn removed(&mut self, job: crate::RemovedJob) -> Result<Fate, Error> {
        let key = key::removed(&job.name, job.job);
        self.begin_job(&key, vec![Change::PutRemoved(job)])
    }

    fn begin_job(&mut self, key: &[u8], job: Vec<Change>) -> Result<Fate, Error> {
        self.past = match self.store.get(key)? {
            Some(_) => Fate::Skip,
            None => Fate::Import,
        };
        if self.past == Fate::Import {
            self.job = job;
        }
        Ok(self.past)
    }

    fn of_job(&mut self, change: Change) -> Result<Fate, Error> {
        if self.past == Fate::Import {
            self.write(vec![change])?;
        }
        Ok(self.past)
    }

    fn end_job(&mut self) -> Result<(), Error> {
        if self.job.is_empty() {
            return Ok(());
        }
        let job = std::mem::take(&mut self.job);
        self.write(job)
    }

    fn run(&mut self, run: crate::Run) -> Result<Fate, Error> {
        let is_left_out = run.ended_at.is_none() && self.options.ended_only;
        if is_left_out || records::run(self.store, run.serial)?.is_some() {
            return Ok(Fate::Skip);
        }
        self.run = Some(RunAtHand::new(run));
        Ok(Fate::Import)
    }

    fn of_run(&mut self, at: u64, line: Line) -> Result<Fate, Error> {
        let Some(mut run) = self.run.take() else { return Ok(Fate::Skip) };
        let unit = run.take(line, |id| self.number(at, id))?;
        self.run = Some(run);
        if let Some(unit) = unit {
            self.write(unit)?;
        }
        Ok(Fate::Import)
    }

    fn end_run(&mut self) -> Result<(), Error> {
        if let Some(run) = self.run.take() {
            for unit in run.end() {
                self.write(unit)?;
            }
        }
        Ok(())
    }
}

/// The number that the next client gets.
pub(super) fn next_client(store: &dyn Store) -> Result<u32, StoreError> {
    let keys = key::all(key::CLIENT);
    let last = store.scan(&keys.start..&keys.end, Order::Down, 1)?;
    match last.first() {
        Some((key, _)) => {
            let ClientNo(no) = records::part_of("client", key, key::client_in)?;
            Ok(no.saturating_add(1))
        }
        None => Ok(0),
    }
}
