//! Numbers, names and due times in columns, a job in each slot.
//!
//! The columns are in pieces, so that they grow without being moved, and a name that comes or goes
//! moves no more than the names of its piece.

use crate::id::JobId;
use crate::time::Timestamp;

/// Jobs in a piece.
const PIECE: usize = 256;

/// Later than any moment: not due.
const NEVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// See the module.
#[derive(Debug, Default)]
pub(in super::super) struct Slots {
    pieces: Vec<Piece>,
    /// Slots without a job.
    free: Vec<u32>,
}

/// The columns of some jobs.
#[derive(Debug)]
struct Piece {
    ids: Vec<JobId>,
    dues: Vec<Timestamp>,
    /// All names, one behind the other, and where each of them ends.
    names: String,
    ends: Vec<u16>,
}

// The names of a piece are not longer than `ends` can tell.
const _: () = assert!(PIECE * crate::id::JobName::MAX <= u16::MAX as usize);

impl Slots {
    /// Slots with a job or without one.
    pub(in super::super) fn len(&self) -> u32 {
        let full = self.pieces.len().saturating_sub(1) * PIECE;
        let last = self.pieces.last().map_or(0, |piece| piece.ids.len());
        // A store has fewer jobs than u32 has numbers.
        u32::try_from(full + last).unwrap_or(u32::MAX)
    }

    /// Puts a job into a slot.
    pub(in super::super) fn add(&mut self, id: JobId, name: &str, due: Option<Timestamp>) -> u32 {
        let due = due.unwrap_or(NEVER);
        if let Some(slot) = self.free.pop() {
            let (piece, at) = place(slot);
            let piece = &mut self.pieces[piece];
            (piece.ids[at], piece.dues[at]) = (id, due);
            piece.rename(at, name);
            return slot;
        }
        let slot = self.len();
        if self.pieces.last().is_none_or(|piece| piece.ids.len() == PIECE) {
            self.pieces.push(Piece::new());
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.push(id, name, due);
        }
        slot
    }

    /// Takes in the jobs of others, which were added in falling order of their numbers, without
    /// those up to a number. Pieces are taken as they are: there is never a copy of many jobs.
    pub(in super::super) fn append(&mut self, mut others: Self, after: JobId) {
        while let Some(last) = others.pieces.last()
            && let Some(id) = last.ids.last().copied()
        {
            let is_full = self.pieces.last().is_none_or(|piece| piece.ids.len() == PIECE);
            if id > after && is_full {
                break;
            }
            if id > after {
                let at = last.ids.len() - 1;
                self.add(id, last.name(at), Some(last.dues[at]).filter(|due| *due != NEVER));
            }
            others.pop();
        }
        self.pieces.append(&mut others.pieces);
    }

    /// Drops the job that was added last.
    fn pop(&mut self) {
        if let Some(piece) = self.pieces.last_mut() {
            piece.ids.pop();
            piece.dues.pop();
            piece.ends.pop();
            piece.names.truncate(piece.ends.last().copied().map_or(0, usize::from));
            if piece.ids.is_empty() {
                self.pieces.pop();
            }
        }
    }

    /// Takes the job out of a slot, and its name.
    pub(super) fn free(&mut self, slot: u32) {
        let (piece, at) = place(slot);
        self.pieces[piece].rename(at, "");
        self.free.push(slot);
    }

    pub(in super::super) fn id(&self, slot: u32) -> JobId {
        let (piece, at) = place(slot);
        self.pieces[piece].ids[at]
    }

    pub(in super::super) fn name(&self, slot: u32) -> &str {
        let (piece, at) = place(slot);
        self.pieces[piece].name(at)
    }

    pub(in super::super) fn due(&self, slot: u32) -> Option<Timestamp> {
        let (piece, at) = place(slot);
        Some(self.pieces[piece].dues[at]).filter(|due| *due != NEVER)
    }

    pub(super) fn set_due(&mut self, slot: u32, due: Option<Timestamp>) {
        let (piece, at) = place(slot);
        self.pieces[piece].dues[at] = due.unwrap_or(NEVER);
    }
}

/// The piece of a slot, and where in it.
fn place(slot: u32) -> (usize, usize) {
    (slot as usize / PIECE, slot as usize % PIECE)
}

impl Piece {
    fn new() -> Self {
        Self {
            ids: Vec::with_capacity(PIECE),
            dues: Vec::with_capacity(PIECE),
            names: String::new(),
            ends: Vec::with_capacity(PIECE),
        }
    }

    fn push(&mut self, id: JobId, name: &str, due: Timestamp) {
        self.ids.push(id);
        self.dues.push(due);
        self.names.push_str(name);
        self.ends.push(end(self.names.len()));
        if self.ids.len() == PIECE {
            self.names.shrink_to_fit();
        }
    }

    fn begin(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before].into())
    }

    fn name(&self, at: usize) -> &str {
        &self.names[self.begin(at)..self.ends[at].into()]
    }

    fn rename(&mut self, at: usize, name: &str) {
        let (begin, before) = (self.begin(at), usize::from(self.ends[at]));
        self.names.replace_range(begin..before, name);
        for other in &mut self.ends[at..] {
            *other = end(usize::from(*other) + begin + name.len() - before);
        }
    }
}

/// See the assertion above: it always fits.
fn end(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}
