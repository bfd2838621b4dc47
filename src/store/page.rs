//! The form of a page of responses.
//!
//! Promises: no value is above [`MAX_PART`]; what was written comes back, but for a reason longer
//! than [`MAX_REASON`]; reading never panics, whatever the bytes. Imports the engine's page entry
//! and the domain types.
//!
//! A page is one value, or several parts if its responses are too many bytes. Each part begins
//! with the version byte 1; then, to its end, response after response:
//!
//! | field | form |
//! | --- | --- |
//! | client | its number, varint |
//! | at | milliseconds after the response before in this part (the first: after 1970), zigzag varint |
//! | state | one byte: the state's code in the lower half, or 15 for a later attempt; 16 a run time, 32 a reason, 64 a result, 128 that result lies outside |
//! | attempt | after a 15 alone: the state's code, with 128 if another attempt follows, one byte; the attempt's number, varint |
//! | run time | milliseconds, varint |
//! | reason | its length, varint; UTF-8 |
//! | result | its length, varint; JSON text, unless it lies outside |
//!
//! Varints have seven bits to a byte, the lowest first, as in Protocol Buffers. A result longer
//! than [`MAX_INLINE`] lies outside, cut into pieces of [`RESULT_PART`] bytes under keys of its
//! own.

pub use crate::bytes::Damaged;
use crate::bytes::{Reader, put_signed, put_varint};
use crate::engine::PageEntry;
use crate::id::ClientNo;
use crate::json::Json;
use crate::run::{DeliveryState, Outcome};
use crate::time::Timestamp;

/// The most bytes of a part of a page.
pub const MAX_PART: usize = 32 * 1024;

/// The most bytes of a result within a page; a longer one lies outside.
pub const MAX_INLINE: usize = 16 * 1024;

/// Bytes of a piece of a result outside.
pub const RESULT_PART: usize = 32 * 1024;

/// The most bytes of a reason; a longer one is cut, with a note that says how long it was.
pub const MAX_REASON: usize = 4 * 1024;

const VERSION: u8 = 1;
const STATE: u8 = 0x0f;
const LATER_ATTEMPT: u8 = 0x0f;
const RETRIED: u8 = 0x80;
const HAS_RAN: u8 = 0x10;
const HAS_REASON: u8 = 0x20;
const HAS_RESULT: u8 = 0x40;
const OUTSIDE: u8 = 0x80;

// The longest response fits into a part: a reason with its note, a result, and the rest.
const _: () = assert!(MAX_REASON + MAX_INLINE + 256 <= MAX_PART);

/// A page as it is stored.
#[derive(Debug)]
pub struct Encoded<'a> {
    /// The page's parts, one at least.
    pub parts: Vec<Vec<u8>>,
    /// The results that lie outside, as JSON text.
    pub outside: Vec<(ClientNo, &'a str)>,
}

/// The stored form of responses.
#[must_use]
pub fn encode(entries: &[PageEntry]) -> Encoded<'_> {
    let mut parts = vec![vec![VERSION]];
    let mut outside = Vec::new();
    let (mut bytes, mut before) = (Vec::new(), 0);
    for entry in entries {
        if let Some(result) = &entry.outcome.result
            && result.text().len() > MAX_INLINE
        {
            outside.push((entry.client, result.text()));
        }
        write_entry(&mut bytes, entry, before);
        // One part at least is there from the start.
        if parts.last().is_some_and(|part| part.len() + bytes.len() > MAX_PART) {
            bytes.clear();
            write_entry(&mut bytes, entry, 0);
            parts.push(vec![VERSION]);
        }
        if let Some(part) = parts.last_mut() {
            part.append(&mut bytes);
        }
        before = entry.at.millis();
    }
    Encoded { parts, outside }
}

/// A reason of bounded length. A long one is cut, and a note says how long it was.
#[must_use]
pub fn cut_reason(reason: &str) -> std::borrow::Cow<'_, str> {
    if reason.len() <= MAX_REASON {
        return reason.into();
    }
    let note = format!(" … (cut, it had {} bytes)", reason.len());
    let most = MAX_REASON - note.len();
    // 0 is a boundary.
    let end = (0..=most).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{note}", &reason[..end]).into()
}

fn write_entry(out: &mut Vec<u8>, entry: &PageEntry, before: i64) {
    let PageEntry { client, at, attempt, retried, outcome } = entry;
    let Outcome { state, reason, result, ran_ms } = outcome;
    put_varint(out, client.0.into());
    put_signed(out, at.millis().wrapping_sub(before));
    let head = out.len();
    if *retried || *attempt != 1 {
        out.push(LATER_ATTEMPT);
        out.push(if *retried { state.code() | RETRIED } else { state.code() });
        put_varint(out, (*attempt).into());
    } else {
        out.push(state.code());
    }
    if let Some(ran_ms) = ran_ms {
        out[head] |= HAS_RAN;
        put_varint(out, *ran_ms);
    }
    if let Some(reason) = reason {
        out[head] |= HAS_REASON;
        let reason = cut_reason(reason);
        put_varint(out, reason.len() as u64);
        out.extend_from_slice(reason.as_bytes());
    }
    if let Some(result) = result {
        out[head] |= HAS_RESULT;
        let text = result.text().as_bytes();
        put_varint(out, text.len() as u64);
        if text.len() > MAX_INLINE {
            out[head] |= OUTSIDE;
        } else {
            out.extend_from_slice(text);
        }
    }
}

/// A response as it lies in a part of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// The client.
    pub client: ClientNo,
    /// When it was recorded.
    pub at: Timestamp,
    /// Which attempt ended.
    pub attempt: u32,
    /// Whether another attempt follows: then the delivery has not ended.
    pub retried: bool,
    /// How it ended.
    pub state: DeliveryState,
    /// How long the handler ran, in milliseconds.
    pub ran_ms: Option<u64>,
    /// Why.
    pub reason: Option<&'a str>,
    /// What the handler returned.
    pub result: Option<StoredResult<'a>>,
}

/// Where a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredResult<'a> {
    /// In the page, as JSON text.
    Inline(&'a str),
    /// Outside.
    Outside {
        /// Its length in bytes.
        bytes: u64,
    },
}

impl Row<'_> {
    /// About how many bytes it takes, as [`Outcome::kept_bytes`] counts them.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        let result = self.result.map(|result| match result {
            StoredResult::Inline(text) => text.len(),
            StoredResult::Outside { bytes } => usize::try_from(bytes).unwrap_or(usize::MAX),
        });
        Outcome::bytes_of(self.reason.map(str::len), result)
    }

    /// The outcome, with the result given: its text, or what was found outside.
    pub fn outcome(&self, result: Option<&str>) -> Result<Outcome, Damaged> {
        let result = match result {
            Some(text) => Some(
                text.parse::<Json>()
                    .map_err(|error| Damaged(format!("result is no JSON: {error}")))?,
            ),
            None => None,
        };
        let reason = self.reason.map(str::to_owned);
        Ok(Outcome { state: self.state, reason, result, ran_ms: self.ran_ms })
    }
}

/// The responses of a part of a page, in the order in which they were recorded.
pub fn rows(part: &[u8]) -> Result<Rows<'_>, Damaged> {
    match part.split_first() {
        Some((&VERSION, rest)) => Ok(Rows { rest: Reader::new(rest, "a response"), before: 0 }),
        Some((version, _)) => Err(Damaged(format!("version {version} is not known"))),
        None => Err(Damaged("it is empty".to_owned())),
    }
}

/// See [`rows`]. It ends after the first error.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    rest: Reader<'a>,
    before: i64,
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<Row<'a>, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let row = self.row();
        if row.is_err() {
            self.rest = Reader::new(&[], "a response");
        }
        Some(row)
    }
}

impl<'a> Rows<'a> {
    fn row(&mut self) -> Result<Row<'a>, Damaged> {
        let client = self.rest.varint()?;
        let client = u32::try_from(client)
            .map_err(|_| Damaged(format!("client number {client} is above the highest")))?;
        self.before = self.before.wrapping_add(self.rest.signed()?);
        let head = self.rest.byte()?;
        let (code, attempt, retried) = if head & STATE == LATER_ATTEMPT {
            let code = self.rest.byte()?;
            let attempt = self.rest.varint()?;
            let attempt = u32::try_from(attempt)
                .map_err(|_| Damaged(format!("attempt {attempt} is above the highest")))?;
            (code & !RETRIED, attempt, code & RETRIED != 0)
        } else {
            (head & STATE, 1, false)
        };
        let state = DeliveryState::from_code(code)
            .ok_or_else(|| Damaged(format!("state {code} is not known")))?;
        let ran_ms = if head & HAS_RAN == 0 { None } else { Some(self.rest.varint()?) };
        let reason = if head & HAS_REASON == 0 { None } else { Some(self.rest.text()?) };
        let result = match (head & HAS_RESULT != 0, head & OUTSIDE != 0) {
            (false, false) => None,
            (true, false) => Some(StoredResult::Inline(self.rest.text()?)),
            (true, true) => Some(StoredResult::Outside { bytes: self.rest.varint()? }),
            (false, true) => return Err(Damaged("a result that is not there lies outside".into())),
        };
        let at = Timestamp::from_millis(self.before);
        Ok(Row { client: ClientNo(client), at, attempt, retried, state, ran_ms, reason, result })
    }
}

#[cfg(test)]
mod tests;
