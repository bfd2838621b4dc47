//! Pages of the ledger as they are read.

use super::{
    CONNECTED, DISCONNECTED, NOTHING, OTHER, RETRIED, ROWS, RUN_ENDED, RUN_STARTED, VERSION,
};
use crate::actor::Actor;
use crate::bytes::{Damaged, Reader};
use crate::engine::What;
use crate::id::{JobName, Serial};
use crate::run::{Cause, Counts, DeliveryState};
use crate::time::Timestamp;

/// What a page says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHead {
    /// The commit that wrote it.
    pub commit: u64,
    /// Which of the commit's batches, from 0.
    pub part: u32,
    /// CRC-32 of what that batch wrote beside it.
    pub digest: u32,
    /// The time of its first entry.
    pub at: Timestamp,
    /// How many event numbers it takes.
    pub events: u64,
}

/// One entry of the ledger.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The number of its event, or of the first of several.
    pub no: u64,
    /// When.
    pub at: Timestamp,
    /// Who brought it about.
    pub actor: Actor,
    /// What.
    pub item: Item,
}

/// What an entry tells.
#[derive(Debug, Clone)]
pub enum Item {
    /// Nothing: its batch had no event.
    Nothing,
    /// Ends of deliveries.
    Rows {
        /// The run.
        serial: Serial,
        /// The job's name, if the page tells it.
        job: Option<JobName>,
        /// The page of the run's responses that has them.
        page: u32,
        /// How many: as many event numbers.
        rows: u32,
    },
    /// An event. What a late answer had as its result is left out.
    Event(Box<What>),
}

impl Entry {
    /// How many event numbers it takes.
    #[must_use]
    pub fn events(&self) -> u64 {
        match self.item {
            Item::Rows { rows, .. } => u64::from(rows.max(1)),
            Item::Nothing | Item::Event(_) => 1,
        }
    }

    /// Whether it is the server's stop in order.
    #[must_use]
    pub fn is_stop(&self) -> bool {
        match &self.item {
            Item::Event(what) => {
                matches!(&**what, What::Server { change, .. } if change == "stopped")
            }
            Item::Nothing | Item::Rows { .. } => false,
        }
    }
}

fn reader(page: &[u8]) -> Reader<'_> {
    Reader::new(page, "an entry")
}

/// What a page says of itself.
pub fn head(page: &[u8]) -> Result<PageHead, Damaged> {
    read_head(&mut reader(page))
}

fn read_head(reader: &mut Reader<'_>) -> Result<PageHead, Damaged> {
    match reader.byte()? {
        VERSION => {}
        version => return Err(Damaged(format!("version {version} is not known"))),
    }
    let (commit, part) = (reader.varint()?, reader.number()?);
    let digest = u32::from_le_bytes(reader.array()?);
    let at = Timestamp::from_millis(reader.signed()?);
    Ok(PageHead { commit, part, digest, at, events: reader.varint()? })
}

/// The entries of a page whose first event has the number `first`.
pub fn entries(first: u64, page: &[u8]) -> Result<Entries<'_>, Damaged> {
    let mut reader = reader(page);
    let head = read_head(&mut reader)?;
    let count: u32 = reader.number()?;
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(reader.text()?);
    }
    let count: u32 = reader.number()?;
    let mut serials = Vec::new();
    for _ in 0..count {
        let serial = Serial::from_bytes(reader.array()?);
        let job = match reader.varint()? {
            0 => None,
            number => Some(parse(text(&texts, number - 1)?, "job name")?),
        };
        serials.push((serial, job));
    }
    let actors = vec![None; texts.len()];
    Ok(Entries { reader, texts, serials, actors, no: first, at: head.at })
}

fn text<'a>(texts: &[&'a str], number: u64) -> Result<&'a str, Damaged> {
    let known = usize::try_from(number).ok().and_then(|number| texts.get(number));
    known.copied().ok_or_else(|| Damaged(format!("text {number} is not among its texts")))
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: &str,
    what: &str,
) -> Result<T, Damaged> {
    text.parse().map_err(|error| Damaged(format!("a {what} is not valid: {error}")))
}

/// See [`entries`]. It ends after the first error.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    reader: Reader<'a>,
    texts: Vec<&'a str>,
    serials: Vec<(Serial, Option<JobName>)>,
    /// Actors that were read already, by the number of their text.
    actors: Vec<Option<Actor>>,
    no: u64,
    at: Timestamp,
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let entry = self.entry();
        match &entry {
            Ok(entry) => self.no = self.no.saturating_add(entry.events()),
            Err(_) => self.reader = Reader::new(&[], "an entry"),
        }
        Some(entry)
    }
}

impl Entries<'_> {
    fn entry(&mut self) -> Result<Entry, Damaged> {
        let kind = self.reader.byte()?;
        let passed = i64::try_from(self.reader.varint()?).unwrap_or(i64::MAX);
        self.at = Timestamp::from_millis(self.at.millis().saturating_add(passed));
        let actor = self.actor()?;
        let item = match kind {
            NOTHING => Item::Nothing,
            ROWS => {
                let (serial, job) = self.serial()?;
                let (page, rows) = (self.reader.number()?, self.reader.number()?);
                Item::Rows { serial, job, page, rows }
            }
            _ => Item::Event(Box::new(self.what(kind)?)),
        };
        Ok(Entry { no: self.no, at: self.at, actor, item })
    }

    fn what(&mut self, kind: u8) -> Result<What, Damaged> {
        Ok(match kind {
            RUN_STARTED => {
                let (serial, job) = self.serial()?;
                let command = parse(self.text()?, "command name")?;
                let code = self.reader.byte()?;
                let cause = Cause::from_code(code)
                    .ok_or_else(|| Damaged(format!("cause {code} is not known")))?;
                let late = self.reader.signed()?;
                let scheduled_at = Timestamp::from_millis(self.at.millis().wrapping_sub(late));
                let (total, away) = (self.reader.number()?, self.reader.number()?);
                What::RunStarted { serial, job, command, cause, scheduled_at, total, away }
            }
            RUN_ENDED => {
                let (serial, job) = self.serial()?;
                What::RunEnded { serial, job, counts: self.counts()? }
            }
            CONNECTED => {
                let client = parse(self.text()?, "client id")?;
                What::Connected { client, queued: self.reader.varint()? }
            }
            DISCONNECTED => {
                let client = parse(self.text()?, "client id")?;
                What::Disconnected { client, reason: self.text()?.to_owned() }
            }
            OTHER => serde_json::from_slice(self.reader.bytes()?)
                .map_err(|error| Damaged(format!("an event is not valid: {error}")))?,
            other => return Err(Damaged(format!("an entry of kind {other} is not known"))),
        })
    }

    fn counts(&mut self) -> Result<Counts, Damaged> {
        let mut counts = Counts { total: self.reader.number()?, ..Counts::default() };
        for _ in 0..self.reader.varint()? {
            let (code, count) = (self.reader.byte()?, self.reader.number()?);
            if code == RETRIED {
                counts.retried = count;
                continue;
            }
            let state = DeliveryState::from_code(code)
                .ok_or_else(|| Damaged(format!("state {code} is not known")))?;
            counts.set(state, count);
        }
        Ok(counts)
    }

    fn text(&mut self) -> Result<&str, Damaged> {
        text(&self.texts, self.reader.varint()?)
    }

    fn actor(&mut self) -> Result<Actor, Damaged> {
        let number = match self.reader.varint()? {
            0 => return Ok(Actor::Server),
            number => number - 1,
        };
        let text = text(&self.texts, number)?;
        let known = usize::try_from(number).ok().and_then(|number| self.actors.get_mut(number));
        match known {
            Some(Some(actor)) => Ok(actor.clone()),
            Some(place) => Ok(place.insert(parse(text, "actor")?).clone()),
            None => parse(text, "actor"),
        }
    }

    fn serial(&mut self) -> Result<(Serial, Option<JobName>), Damaged> {
        let number = self.reader.varint()?;
        let known = usize::try_from(number).ok().and_then(|number| self.serials.get(number));
        known.cloned().ok_or_else(|| Damaged(format!("serial {number} is not among its serials")))
    }
}
