//! A run and what belongs to it, as of one moment even while the engine goes on.
//!
//! A store gives no snapshot, but an end is stored in one batch: out of the open set, into a page.
//! So the open set is read first, then the run, then the pages; whoever is in both has ended
//! meanwhile. If it does not add up, something larger was being stored, and it is read again.

use std::io::Write;
use std::time::Duration;

use roaring::RoaringBitmap;

use super::super::ExportError as Error;
use super::super::line::{CLIENTS_A_LINE, Late, Line, Marked, Open};
use super::Exporter;
use crate::engine::Mark;
use crate::id::{ClientId, ClientNo, Serial};
use crate::run::{LateAnswer, Response, Run};
use crate::store::page::{self, Row};
use crate::store::{Order, Store, StoreError, key, records, walk};

const PAGE: &str = "page of responses";

/// How often a run that does not add up is read again.
const TRIES: usize = 50;

/// The pause between two readings.
const PAUSE: Duration = Duration::from_millis(10);

/// A run, the first page that is not of it any more, and where it is open.
struct Moment {
    run: Run,
    pages: u32,
    open: RoaringBitmap,
}

/// A run at one moment; `None`: it is not there, not there yet, or not whole any more.
fn moment(store: &dyn Store, serial: Serial) -> Result<Option<Moment>, Error> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        let mut open = records::open_clients(store, serial)?;
        let Some(run) = records::run(store, serial)? else { return Ok(None) };
        if run.forgotten {
            // Retention takes it away part by part.
            return Ok(None);
        }
        if run.ended_at.is_some() {
            // Its pages were there when it had ended.
            let (pages, open) = (u32::MAX, RoaringBitmap::new());
            return Ok(Some(Moment { run, pages, open }));
        }
        let (pages, ended) = ended(store, serial)?;
        open -= &ended;
        if ended.len() + open.len() == u64::from(run.counts.total) && !open.is_empty() {
            return Ok(Some(Moment { run, pages, open }));
        }
    }
    let problem = "its deliveries do not add up; fleetcron store check tells more";
    Err(StoreError::corrupt("run", &key::run(serial), problem).into())
}

/// The page after the last, and the clients whose delivery has ended.
fn ended(store: &dyn Store, serial: Serial) -> Result<(u32, RoaringBitmap), StoreError> {
    let mut clients = RoaringBitmap::new();
    let mut pages = 0;
    for entry in records::pages(store, key::of_run(key::PAGE, serial)) {
        let (key, value) = entry?;
        pages = records::part_of(PAGE, &key, key::page_in)?.0.saturating_add(1);
        for row in rows(&key, &value)? {
            let row = row?;
            if !row.retried {
                clients.insert(row.client.0);
            }
        }
    }
    Ok((pages, clients))
}

fn rows<'a>(
    key: &'a [u8],
    value: &'a [u8],
) -> Result<impl Iterator<Item = Result<Row<'a>, StoreError>>, StoreError> {
    let damaged = |problem| StoreError::corrupt(PAGE, key, problem);
    Ok(page::rows(value).map_err(damaged)?.map(move |row| row.map_err(damaged)))
}

impl<W: Write> Exporter<'_, W> {
    /// Writes a run and what belongs to it.
    pub(super) fn run(&mut self, serial: Serial) -> Result<(), Error> {
        let Some(Moment { run, pages, open }) = moment(self.store, serial)? else {
            return Ok(());
        };
        self.line(&Line::Run(Box::new(run)))?;
        self.responses(serial, pages)?;
        self.late(serial)?;
        for clients in self.named(&open)? {
            self.line(&Line::Open(Open { serial, clients }))?;
        }
        if open.is_empty() {
            return Ok(());
        }
        for (mark, clients) in records::marks(self.store, serial)? {
            self.marked(serial, mark, &(clients & &open))?;
        }
        Ok(())
    }

    fn responses(&mut self, serial: Serial, pages: u32) -> Result<(), Error> {
        let keys = key::of_run(key::PAGE, serial).start..key::page(serial, pages, 0);
        for entry in records::pages(self.store, keys) {
            let (key, value) = entry?;
            for row in rows(&key, &value)? {
                let row = row?;
                let outcome = records::outcome(self.store, serial, &key, &row)?;
                let client = self.name(row.client)?;
                let Row { at, attempt, retried, .. } = row;
                let response = Response { serial, client, at, attempt, retried, outcome };
                self.line(&Line::Response(Box::new(response)))?;
            }
        }
        Ok(())
    }

    fn late(&mut self, serial: Serial) -> Result<(), Error> {
        for entry in walk(self.store, key::of_run(key::LATE, serial), Order::Up) {
            let (key, value) = entry?;
            let answer: LateAnswer = records::read("late answer", &key, &value)?;
            self.name(records::part_of("late answer", &key, key::late_in)?)?;
            self.line(&Line::Late(Box::new(Late { serial, answer })))?;
        }
        Ok(())
    }

    fn marked(&mut self, serial: Serial, mark: Mark, clients: &RoaringBitmap) -> Result<(), Error> {
        for clients in self.named(clients)? {
            self.line(&Line::Marked(Marked { serial, mark, clients }))?;
        }
        Ok(())
    }

    /// The names of clients, in parts that a line has room for.
    fn named(&mut self, clients: &RoaringBitmap) -> Result<Vec<Vec<ClientId>>, Error> {
        let mut parts: Vec<Vec<ClientId>> = Vec::new();
        for no in clients {
            let name = self.name(ClientNo(no))?;
            match parts.last_mut() {
                Some(part) if part.len() < CLIENTS_A_LINE => part.push(name),
                _ => parts.push(vec![name]),
            }
        }
        Ok(parts)
    }
}
