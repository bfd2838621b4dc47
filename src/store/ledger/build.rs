//! Pages of the ledger as they are written.

use std::collections::HashMap;

use super::{
    CONNECTED, DISCONNECTED, Head, NOTHING, OTHER, RETRIED, ROWS, RUN_ENDED, RUN_STARTED, VERSION,
};
use crate::actor::Actor;
use crate::bytes::{put_bytes, put_signed, put_varint};
use crate::engine::{Event, What};
use crate::id::{JobName, Serial};
use crate::run::{Counts, DeliveryState};
use crate::store::page::cut_reason;
use crate::store::{Op, key};
use crate::time::Timestamp;

/// Bytes after which a page is full; the entry that fills it may lead above it.
pub const MAX_PAGE: usize = 16 * 1024;

/// The most bytes of the JSON of one event. None is larger, by the limits of its texts.
const MAX_EVENT: usize = 40 * 1024;

/// The pages of one batch, in the making.
#[derive(Debug)]
pub struct Builder {
    commit: u64,
    part: u32,
    head: Head,
    /// Each with the number of its first event.
    pages: Vec<(u64, Page)>,
}

/// A page in the making.
#[derive(Debug)]
struct Page {
    at: Timestamp,
    events: u64,
    texts: Texts,
    serials: Vec<(Serial, u64)>,
    serial_numbers: HashMap<Serial, usize>,
    entries: Vec<u8>,
}

/// The texts of a page, each once.
#[derive(Debug, Default)]
struct Texts {
    all: Vec<String>,
    numbers: HashMap<String, u64>,
    bytes: usize,
}

impl Builder {
    /// Begins the pages of a batch of the next commit.
    #[must_use]
    pub fn new(head: Head, part: u32) -> Self {
        Self { commit: head.next_commit, part, head, pages: Vec::new() }
    }

    /// Adds an event. Ends of deliveries are added with [`Builder::rows`]; as events they are
    /// left out.
    pub fn event(&mut self, event: &Event) {
        let Some(kind) = kind(&event.what) else { return };
        let stops = matches!(&event.what, What::Server { change, .. } if change == "stopped");
        // What is told beside the time is told from the time that is written.
        let at = event.at.max(self.head.last_at);
        let page = self.begin(kind, at, &event.actor, 1);
        page.fields(&event.what, at);
        self.head.stopped = stops;
    }

    /// Adds the ends of deliveries that a page of responses has, one at least; `at` is the time
    /// of the last.
    pub fn rows(
        &mut self,
        serial: Serial,
        job: Option<&JobName>,
        (page_no, rows): (u32, u32),
        at: Timestamp,
    ) {
        let page = self.begin(ROWS, at, &Actor::Server, u64::from(rows.max(1)));
        page.serial(serial, job);
        put_varint(&mut page.entries, page_no.into());
        put_varint(&mut page.entries, rows.into());
    }

    /// Gives the pages as operations, one at least, and where the ledger goes on within the
    /// commit.
    #[must_use]
    pub fn finish(mut self, digest: u32) -> (Vec<Op>, Head) {
        if self.pages.is_empty() {
            // Every batch has a page, so that a commit that was cut short can be told.
            let (at, stopped) = (self.head.last_at, self.head.stopped);
            self.begin(NOTHING, at, &Actor::Server, 1);
            self.head.stopped = stopped;
        }
        let (commit, part) = (self.commit, self.part);
        let op = |(first, page): (u64, Page)| {
            Op::Put(key::ledger(first), page.encode(commit, part, digest))
        };
        (self.pages.into_iter().map(op).collect(), self.head)
    }

    /// Begins an entry; its fields follow.
    fn begin(&mut self, kind: u8, at: Timestamp, actor: &Actor, events: u64) -> &mut Page {
        // Times never go back, whatever the clock does.
        let at = at.max(self.head.last_at);
        let before = std::mem::replace(&mut self.head.last_at, at);
        let first = self.head.next_event;
        self.head.next_event = first.saturating_add(events);
        self.head.stopped = false;
        let full = self.pages.last().is_none_or(|(_, page)| page.size() >= MAX_PAGE);
        if full {
            self.pages.push((first, Page::new(at)));
        }
        let passed = if full { 0 } else { at.millis().saturating_sub(before.millis()) };
        let index = self.pages.len() - 1;
        let page = &mut self.pages[index].1;
        page.events += events;
        page.entries.push(kind);
        put_varint(&mut page.entries, u64::try_from(passed).unwrap_or(0));
        match actor {
            Actor::Server => page.entries.push(0),
            other => page.text(&other.to_string(), 1),
        }
        page
    }
}

/// How an event is written; `None`: not as an event.
fn kind(what: &What) -> Option<u8> {
    match what {
        What::DeliveryEnded { .. } | What::AttemptEnded { .. } => None,
        What::RunStarted { .. } => Some(RUN_STARTED),
        What::RunEnded { .. } => Some(RUN_ENDED),
        What::Connected { .. } => Some(CONNECTED),
        What::Disconnected { .. } => Some(DISCONNECTED),
        _ => Some(OTHER),
    }
}

impl Page {
    fn new(at: Timestamp) -> Self {
        Self {
            at,
            events: 0,
            texts: Texts::default(),
            serials: Vec::new(),
            serial_numbers: HashMap::new(),
            entries: Vec::new(),
        }
    }

    fn size(&self) -> usize {
        self.entries.len() + self.texts.bytes + 18 * self.serials.len()
    }

    fn fields(&mut self, what: &What, at: Timestamp) {
        match what {
            What::RunStarted { serial, job, command, cause, scheduled_at, total, away } => {
                self.serial(*serial, job.as_ref());
                self.text(command.as_str(), 0);
                self.entries.push(cause.code());
                put_signed(&mut self.entries, at.millis().wrapping_sub(scheduled_at.millis()));
                put_varint(&mut self.entries, (*total).into());
                put_varint(&mut self.entries, (*away).into());
            }
            What::RunEnded { serial, job, counts } => {
                self.serial(*serial, job.as_ref());
                self.counts(counts);
            }
            What::Connected { client, queued } => {
                self.text(client.as_str(), 0);
                put_varint(&mut self.entries, *queued);
            }
            What::Disconnected { client, reason } => {
                self.text(client.as_str(), 0);
                self.text(&cut_reason(reason), 0);
            }
            other => put_bytes(&mut self.entries, &json(other)),
        }
    }

    fn counts(&mut self, counts: &Counts) {
        put_varint(&mut self.entries, counts.total.into());
        let states = DeliveryState::ALL.into_iter().map(|state| (state.code(), counts.of(state)));
        let all = states.chain([(RETRIED, counts.retried)]).filter(|(_, count)| *count > 0);
        let all: Vec<(u8, u32)> = all.collect();
        put_varint(&mut self.entries, all.len() as u64);
        for (code, count) in all {
            self.entries.push(code);
            put_varint(&mut self.entries, count.into());
        }
    }

    /// Appends the number of a text, `more` above its place.
    fn text(&mut self, text: &str, more: u64) {
        let number = self.texts.number(text);
        put_varint(&mut self.entries, number + more);
    }

    fn serial(&mut self, serial: Serial, job: Option<&JobName>) {
        let job = job.map_or(0, |name| 1 + self.texts.number(name.as_str()));
        let next = self.serials.len();
        let number = *self.serial_numbers.entry(serial).or_insert(next);
        if number == next {
            self.serials.push((serial, job));
        } else if let Some((_, known @ 0)) = self.serials.get_mut(number) {
            *known = job;
        }
        put_varint(&mut self.entries, number as u64);
    }

    fn encode(self, commit: u64, part: u32, digest: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size() + 64);
        out.push(VERSION);
        put_varint(&mut out, commit);
        put_varint(&mut out, part.into());
        out.extend_from_slice(&digest.to_le_bytes());
        put_signed(&mut out, self.at.millis());
        put_varint(&mut out, self.events);
        put_varint(&mut out, self.texts.all.len() as u64);
        for text in &self.texts.all {
            put_bytes(&mut out, text.as_bytes());
        }
        put_varint(&mut out, self.serials.len() as u64);
        for (serial, job) in &self.serials {
            out.extend_from_slice(&serial.to_bytes());
            put_varint(&mut out, *job);
        }
        out.extend_from_slice(&self.entries);
        out
    }
}

impl Texts {
    fn number(&mut self, text: &str) -> u64 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.all.len() as u64;
        self.bytes += text.len() + 2;
        self.all.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }
}

/// The JSON of an event that has no form of its own. A late answer's result lies elsewhere.
fn json(what: &What) -> Vec<u8> {
    let text = match what {
        What::LateAnswer { serial, answer } => {
            let mut answer = answer.clone();
            answer.outcome.result = None;
            serde_json::to_vec(&What::LateAnswer { serial: *serial, answer })
        }
        other => serde_json::to_vec(other),
    };
    match text {
        Ok(text) if text.len() <= MAX_EVENT => text,
        Ok(text) => {
            tracing::error!(bytes = text.len(), "an event is too large: a fault in fleetcron");
            Vec::new()
        }
        Err(error) => {
            tracing::error!(%error, "an event cannot be written: a fault in fleetcron");
            Vec::new()
        }
    }
}
