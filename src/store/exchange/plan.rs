//! Whether a file can be taken in as a whole: read to its end before anything is written.
//!
//! Promises: what it lets pass is whole, adds up, and is in no conflict with what the store has.
//! Its memory is bounded by clients, jobs and one run.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::BufRead;

use super::ImportError as Error;
use super::import::ImportOptions;
use super::line::{EXPORT_VERSION, Header, Line};
use super::reader::Reader;
use crate::engine::{MAX_CALENDARS, MAX_CLIENTS, MAX_JOBS};
use crate::id::{CalendarName, ClientId, JobId, JobName};
use crate::idempotency::MAX_REPEATS;
use crate::store::{FORMAT, Store, is_known};

mod job;
mod run;
mod stored;

use job::JobPlan;
use run::RunPlan;
use stored::Stored;

/// Why a line is not taken in.
enum Refusal {
    /// It is not what it should be.
    Wrong(String),
    /// The store has something else, or no room.
    Conflict(String),
    /// The store cannot be read.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

type Checked = Result<(), Refusal>;

fn wrong<T>(problem: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Wrong(problem.into()))
}

fn conflict<T>(problem: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Conflict(problem.into()))
}

/// Reads a file to its end, and refuses one that cannot be taken in as a whole.
pub(super) fn check(
    file: impl BufRead,
    store: &dyn Store,
    options: ImportOptions,
) -> Result<(), Error> {
    let mut reader = Reader::new(file);
    let mut plan = Plan::new(store, options)?;
    while let Some((line, read)) = reader.next()? {
        plan.take(read).map_err(|refusal| at(line, refusal))?;
    }
    plan.end().map_err(|refusal| at(reader.line(), refusal))
}

fn at(line: u64, refusal: Refusal) -> Error {
    match refusal {
        Refusal::Wrong(problem) => Error::Line { line, problem },
        Refusal::Conflict(problem) => Error::Conflict { line, problem },
        Refusal::Failed(error) => error,
    }
}

/// Where in the file a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Nothing,
    Header,
    Calendars,
    Jobs,
    Removed,
    Runs,
    Repeats,
    Trailer,
}

impl Part {
    /// The part in which a line stands; `None`: anywhere.
    fn of(line: &Line) -> Option<Self> {
        match line {
            Line::Header(_) => Some(Self::Header),
            Line::Calendar(_) => Some(Self::Calendars),
            Line::Job(_) => Some(Self::Jobs),
            Line::Removed(_) => Some(Self::Removed),
            Line::Run(_) => Some(Self::Runs),
            Line::Repeat(_) => Some(Self::Repeats),
            Line::Trailer(_) => Some(Self::Trailer),
            _ => None,
        }
    }
}

struct Plan<'a> {
    stored: Stored<'a>,
    part: Part,
    counts: BTreeMap<String, u64>,
    /// Each client of the file with its place.
    clients: HashMap<ClientId, u32>,
    new_clients: u32,
    calendars: BTreeSet<CalendarName>,
    job_ids: HashSet<JobId>,
    job_names: HashSet<JobName>,
    new: New,
    job: Option<JobPlan>,
    run: Option<RunPlan>,
    last_run: Option<crate::Serial>,
}

/// How much is new to the store.
#[derive(Default)]
struct New {
    jobs: usize,
    calendars: usize,
    repeats: usize,
}

impl<'a> Plan<'a> {
    fn new(store: &'a dyn Store, options: ImportOptions) -> Result<Self, Error> {
        Ok(Self {
            stored: Stored::read(store, options)?,
            part: Part::Nothing,
            counts: BTreeMap::new(),
            clients: HashMap::new(),
            new_clients: 0,
            calendars: BTreeSet::new(),
            job_ids: HashSet::new(),
            job_names: HashSet::new(),
            new: New::default(),
            job: None,
            run: None,
            last_run: None,
        })
    }

    fn take(&mut self, line: Line) -> Checked {
        self.place(&line)?;
        if !matches!(line, Line::Revision(_) | Line::Missed(_) | Line::Client(_))
            && let Some(job) = self.job.take()
        {
            job.end()?;
        }
        if line.of_run().is_none()
            && !matches!(line, Line::Client(_))
            && let Some(run) = self.run.take()
        {
            run.end(&self.stored)?;
        }
        if !matches!(line, Line::Header(_) | Line::Trailer(_)) {
            *self.counts.entry(line.record().to_owned()).or_default() += 1;
        }
        match line {
            Line::Header(header) => Self::header(&header),
            Line::Client(client) => self.client(client.id),
            Line::Calendar(calendar) => {
                let name = calendar.spec.name().clone();
                self.new.calendars += usize::from(self.stored.calendar(&calendar)?);
                if self.stored.calendars + self.new.calendars > MAX_CALENDARS {
                    return conflict(format!("there would be more than {MAX_CALENDARS} calendars"));
                }
                once(self.calendars.insert(name.clone()), "calendar", &name)
            }
            Line::Job(_) | Line::Removed(_) => self.job(line),
            Line::Revision(_) | Line::Missed(_) => match &mut self.job {
                Some(job) => job.take(&line),
                None => wrong(format!("a {} stands behind no job", line.record())),
            },
            Line::Run(run) => {
                if self.last_run.is_some_and(|last| last >= run.serial) {
                    return wrong(format!("run {} does not rise", run.serial));
                }
                self.last_run = Some(run.serial);
                self.run = Some(RunPlan::new(*run, &self.stored)?);
                Ok(())
            }
            Line::Repeat(repeat) => {
                self.new.repeats += usize::from(self.stored.is_new_repeat(&repeat)?);
                if self.stored.repeats + self.new.repeats > MAX_REPEATS {
                    let problem = format!("more than {MAX_REPEATS} submits would be remembered");
                    return conflict(problem);
                }
                Ok(())
            }
            Line::Trailer(trailer) if trailer.counts == self.counts => Ok(()),
            Line::Trailer(trailer) => {
                let (told, found) = (told(&trailer.counts), told(&self.counts));
                wrong(format!("the trailer tells of {told}, and there are {found}"))
            }
            line => match &mut self.run {
                Some(run) => run.take(&line, &self.clients),
                None => wrong(format!("a {} stands behind no run", line.record())),
            },
        }
    }

    /// That the line may stand here.
    fn place(&mut self, line: &Line) -> Checked {
        let record = line.record();
        match (Part::of(line), self.part) {
            (_, Part::Trailer) => wrong(format!("a {record} follows the trailer")),
            (Some(Part::Header), Part::Nothing) => {
                self.part = Part::Header;
                Ok(())
            }
            (_, Part::Nothing) => wrong("the first line is no header; is it an export?"),
            (Some(Part::Header), _) => wrong("a second header"),
            (Some(part), before) if part < before => {
                wrong(format!("a {record} stands too late, behind what builds on it"))
            }
            (Some(part), _) => {
                self.part = part;
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    fn header(header: &Header) -> Checked {
        if header.version != EXPORT_VERSION {
            let found = header.version;
            return wrong(format!(
                "the export has version {found}, this version of fleetcron knows version {EXPORT_VERSION}"
            ));
        }
        if !is_known(header.store_format) {
            let found = header.store_format;
            return wrong(format!(
                "the export is of a store of format {found}, this version of fleetcron knows format {FORMAT}"
            ));
        }
        Ok(())
    }

    fn client(&mut self, id: ClientId) -> Checked {
        // There are fewer than 2^32 lines of clients: the limit comes before.
        let place = u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
        if self.stored.is_new_client(&id)? {
            self.new_clients += 1;
            if self.stored.next_client.saturating_add(self.new_clients) > MAX_CLIENTS {
                return conflict(format!(
                    "client {id} would be one more than the {MAX_CLIENTS} that a registry holds"
                ));
            }
        }
        let shown = id.clone();
        once(self.clients.insert(id, place).is_none(), "client", &shown)
    }

    fn job(&mut self, line: Line) -> Checked {
        let plan = match line {
            Line::Job(line) => {
                let name = &line.job.spec.name;
                once(self.job_names.insert(name.clone()), "job", name)?;
                for calendar in line.job.spec.rule.calendars() {
                    if !self.calendars.contains(calendar) && !self.stored.has_calendar(calendar)? {
                        return wrong(format!(
                            "job {name} leaves out calendar {calendar}, which has no line before"
                        ));
                    }
                }
                self.new.jobs += usize::from(self.stored.job(&line.job)?);
                if self.stored.jobs() + self.new.jobs > MAX_JOBS {
                    return conflict(format!("there would be more than {MAX_JOBS} jobs"));
                }
                JobPlan::live(*line)
            }
            Line::Removed(removed) => {
                self.stored.removed(&removed)?;
                JobPlan::removed(&removed)
            }
            // The caller has asked for these two.
            _ => return Ok(()),
        };
        once(self.job_ids.insert(plan.id()), "job", &plan.id())?;
        self.job = Some(plan);
        Ok(())
    }

    fn end(self) -> Checked {
        match self.part {
            Part::Trailer => Ok(()),
            Part::Nothing => wrong("the file is empty"),
            _ => wrong("the file is cut short: its last line is no trailer"),
        }
    }
}

/// Refuses a second line of the same thing.
fn once(is_first: bool, what: &str, name: &dyn std::fmt::Display) -> Checked {
    if is_first { Ok(()) } else { wrong(format!("{what} {name} has a line before")) }
}

/// Counts for people.
fn told(counts: &BTreeMap<String, u64>) -> String {
    let each: Vec<String> =
        counts.iter().map(|(record, count)| format!("{count} {record}")).collect();
    if each.is_empty() { "nothing".to_owned() } else { each.join(", ") }
}
