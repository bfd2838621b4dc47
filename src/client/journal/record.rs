//! What stands in a journal's file: records, one after the other.
//!
//! A record is [`MARK`], the length of its JSON and a checksum of length and JSON (four bytes
//! each, big-endian), then the JSON. No text holds the mark, for it begins with a byte that UTF-8
//! never has: so what follows a damaged record can be found.
//!
//! Promises: any bytes are read without a panic; what is not exactly as it was written is told
//! with its place, never read as something else. Imports the domain types and the wire.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, Serial};
use crate::job::OnClientCrash;
use crate::json::Json;
use crate::run::{Outcome, first_attempt, is_first_attempt};
use crate::wire::CommandFrame;

/// The version of the format that this library writes.
pub(super) const VERSION: u32 = 1;

/// The bytes with which every record begins.
pub(super) const MARK: [u8; 4] = [0xfc, b'j', b'r', b'1'];

/// Bytes before a record's JSON.
pub(super) const HEAD: usize = 12;

/// The longest record's JSON, in bytes: 16 MiB. A longer result is not kept, but reported as
/// failed.
pub(super) const MAX_RECORD: usize = 16 * 1024 * 1024;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// Whose journal it is; the first record.
    Header(Header),
    /// A command is about to be run.
    Taken(Taken),
    /// It has ended.
    Ended(Ended),
    /// The server has recorded its end.
    Acknowledged(Acknowledged),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) client: ClientId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {
    /// How many times this attempt has been begun, this one included.
    pub(super) times: u32,
    /// The command; only one that may run again keeps its parameters.
    pub(super) command: CommandFrame,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) serial: Serial,
    #[serde(default = "first_attempt", skip_serializing_if = "is_first_attempt")]
    pub(super) attempt: u32,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Acknowledged {
    pub(super) serial: Serial,
    #[serde(default = "first_attempt", skip_serializing_if = "is_first_attempt")]
    pub(super) attempt: u32,
}

impl Taken {
    /// What is kept of a command that is begun for the first time.
    pub(super) fn new(mut command: CommandFrame) -> Self {
        if command.on_client_crash == OnClientCrash::Fail {
            command.params = Json::empty();
        }
        Self { times: 1, command }
    }
}

/// The record's JSON is longer than [`MAX_RECORD`], or there is none.
#[derive(Debug)]
pub(super) struct Unwritable(pub(super) String);

/// Adds a record's bytes, and tells how many they are.
pub(super) fn encode(record: &Record, into: &mut Vec<u8>) -> Result<u64, Unwritable> {
    let json = serde_json::to_vec(record).map_err(|error| Unwritable(error.to_string()))?;
    if json.len() > MAX_RECORD {
        let bytes = json.len();
        return Err(Unwritable(format!("it has {bytes} bytes; the most is {MAX_RECORD}")));
    }
    seal(&json, into);
    Ok((HEAD + json.len()) as u64)
}

/// Adds the bytes of a record of this JSON, which has at most [`MAX_RECORD`].
pub(super) fn seal(json: &[u8], into: &mut Vec<u8>) {
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX).to_be_bytes();
    into.extend_from_slice(&MARK);
    into.extend_from_slice(&length);
    into.extend_from_slice(&checksum(length, json).to_be_bytes());
    into.extend_from_slice(json);
}

fn checksum(length: [u8; 4], json: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(json);
    hasher.finalize()
}

/// What reading a file's bytes found beside its records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Bytes that are no record, with records after them.
    pub(super) damaged: Vec<Range<usize>>,
    /// Where the last record ends; what follows is its torn tail.
    pub(super) end: usize,
    /// Records read.
    pub(super) records: usize,
}

/// A record that is as it was written, and means nothing to this library.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    pub(super) offset: usize,
    pub(super) problem: String,
}

/// Reads all records with their sizes, in their order.
pub(super) fn scan(bytes: &[u8], mut each: impl FnMut(Record, u64)) -> Result<Scan, Unknown> {
    let mut scan = Scan::default();
    let mut at = 0;
    while at < bytes.len() {
        let Some(json) = intact(bytes, at) else {
            let Some(next) = next_intact(bytes, at + 1) else { break };
            scan.damaged.push(at..next);
            at = next;
            continue;
        };
        let record = serde_json::from_slice(json)
            .map_err(|error| Unknown { offset: at, problem: error.to_string() })?;
        let size = HEAD + json.len();
        each(record, size as u64);
        at += size;
        scan.end = at;
        scan.records += 1;
    }
    Ok(scan)
}

/// The JSON of the record that begins here, if there is one and it is whole.
fn intact(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let (head, rest) = bytes.get(at..)?.split_at_checked(HEAD)?;
    let (mark, numbers) = head.split_at(MARK.len());
    let (length, sum) = numbers.split_at(4);
    let length: [u8; 4] = length.try_into().ok()?;
    let size = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let json = rest.get(..size).filter(|_| mark == MARK && size <= MAX_RECORD)?;
    (checksum(length, json).to_be_bytes() == sum).then_some(json)
}

fn next_intact(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find(|at| intact(bytes, *at).is_some())
}
