//! The outside ledger: what clients did and what the submitter was told, in files that fleetcron
//! knows nothing of.
//!
//! A line is a whole write to a file that is opened to append. What was written before `kill -9`
//! is in the system's cache and is read by others; a flush to the disk would only help against a
//! power cut, and a soak makes none. The acknowledgements of submits are flushed all the same:
//! they are few. A line that a kill cut short has no end, and counts as not written: what it tells
//! of comes after it.
//!
//! | line | written |
//! | --- | --- |
//! | `B millis serial client number` | by a client, before the effect; of a job's run the number is `-` |
//! | `E millis serial client` | by a client, when the effect is complete |
//! | `A millis serial number repeated` | by the submitter, when the server has acknowledged it |
//!
//! Times are those of the machine's clock. Imports identifiers.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::id::{ClientId, Serial};

/// Bytes that one look reads of a file at most.
const LOOK: u64 = 4 * 1_024 * 1_024;

/// A line of the outside ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// A client begins.
    Begun {
        at: i64,
        serial: Serial,
        client: ClientId,
        /// Of a submit, its number.
        number: Option<u64>,
    },
    /// A client has ended.
    Ended { at: i64, serial: Serial, client: ClientId },
    /// A submit was acknowledged.
    Acknowledged { at: i64, serial: Serial, number: u64, repeated: bool },
}

impl Line {
    fn text(&self) -> String {
        match self {
            Self::Begun { at, serial, client, number } => {
                let number = number.map_or("-".to_owned(), |number| number.to_string());
                format!("B {at} {serial} {client} {number}\n")
            }
            Self::Ended { at, serial, client } => format!("E {at} {serial} {client}\n"),
            Self::Acknowledged { at, serial, number, repeated } => {
                format!("A {at} {serial} {number} {repeated}\n")
            }
        }
    }

    /// Reads a line; `None`: it is none.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let kind = words.next()?;
        let (at, serial) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let third = words.next()?;
        let fourth = words.next();
        if words.next().is_some() {
            return None;
        }
        match (kind, fourth) {
            ("B", Some(number)) => {
                let number = if number == "-" { None } else { Some(number.parse().ok()?) };
                Some(Self::Begun { at, serial, client: third.parse().ok()?, number })
            }
            ("E", None) => Some(Self::Ended { at, serial, client: third.parse().ok()? }),
            ("A", Some(repeated)) => {
                let (number, repeated) = (third.parse().ok()?, repeated.parse().ok()?);
                Some(Self::Acknowledged { at, serial, number, repeated })
            }
            _ => None,
        }
    }
}

/// Where lines are written.
#[derive(Debug)]
pub(super) struct Writer(File);

impl Writer {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).append(true).open(path).map(Self)
    }

    /// Writes a line, in one write.
    pub(super) fn write(&self, line: &Line) -> io::Result<()> {
        (&self.0).write_all(line.text().as_bytes())
    }

    /// Writes a line to the disk.
    pub(super) fn write_through(&self, line: &Line) -> io::Result<()> {
        self.write(line)?;
        self.0.sync_data()
    }
}

/// A file that is read while it grows.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    file: Option<File>,
    /// What has no end yet.
    rest: Vec<u8>,
}

impl Tail {
    /// A file that need not be there yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, rest: Vec::new() }
    }

    /// The lines that have come, a bounded part of them; none: there are no more for now. A line
    /// that is none is an error that shows it.
    pub(super) fn read(&mut self) -> io::Result<Vec<Line>> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        file.take(LOOK).read_to_end(&mut self.rest)?;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        let text = String::from_utf8_lossy(&whole);
        let line = |text: &str| {
            Line::read(text).ok_or_else(|| {
                let path = self.path.display();
                io::Error::other(format!("{path} has a line that was not written there: {text:?}"))
            })
        };
        text.lines().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> [Line; 4] {
        let serial: Serial = "01JD0000000000000000000000".parse().unwrap();
        let client: ClientId = "c-00001".parse().unwrap();
        let begun = |number| Line::Begun { at: 17, serial, client: client.clone(), number };
        [
            begun(None),
            begun(Some(4)),
            Line::Ended { at: 18, serial, client: client.clone() },
            Line::Acknowledged { at: 19, serial, number: 4, repeated: true },
        ]
    }

    #[test]
    fn lines_come_back_as_they_were_written_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let mut tail = Tail::new(path.clone());
        assert_eq!(tail.read().unwrap(), []);
        let [first, others @ ..] = lines();
        let writer = Writer::open(&path).unwrap();
        writer.write(&first).unwrap();
        assert_eq!(tail.read().unwrap(), [first]);
        for line in &others {
            writer.write_through(line).unwrap();
        }
        assert_eq!(tail.read().unwrap(), others);
        assert_eq!(tail.read().unwrap(), []);
    }

    #[test]
    fn a_line_that_was_cut_short_waits_for_its_end_and_another_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let text = lines()[0].text();
        let (begin, end) = text.split_at(20);
        let mut tail = Tail::new(path.clone());
        std::fs::write(&path, begin).unwrap();
        assert_eq!(tail.read().unwrap(), []);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(end.as_bytes()).unwrap();
        assert_eq!(tail.read().unwrap(), lines()[..1]);
        file.write_all(b"B 12 x y z\n").unwrap();
        assert!(tail.read().unwrap_err().to_string().contains("B 12 x y z"));
    }
}
