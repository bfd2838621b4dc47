//! The end of an output, within a limit. Pure.

use std::collections::VecDeque;

use crate::live::Piece;

/// What a piece takes beside its text, roughly, in bytes.
const ITSELF: usize = 64;

/// The last pieces of a delivery's output, both streams in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pieces: VecDeque<Piece>,
    cost: usize,
}

impl Tail {
    /// Bytes that it holds.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter()
    }

    /// Forgets everything, and tells how much that was.
    pub(super) fn clear(&mut self) -> usize {
        self.pieces = VecDeque::new();
        std::mem::take(&mut self.cost)
    }

    /// Adds a piece; what is then above `most` bytes goes from the start.
    pub(super) fn push(&mut self, piece: Piece, most: usize) {
        match self.pieces.back_mut() {
            // Many small pieces become one, for as long as it is small itself.
            Some(last)
                if last.stream == piece.stream
                    && piece.dropped == 0
                    && last.end() == piece.offset
                    && last.text.len() + piece.text.len() <= most / 8 =>
            {
                self.cost += piece.text.len();
                last.text.push_str(&piece.text);
            }
            _ => {
                self.cost += piece.text.len() + ITSELF;
                self.pieces.push_back(piece);
            }
        }
        while self.cost > most {
            let Some(first) = self.pieces.front_mut() else { return };
            let over = self.cost - most;
            if over >= first.text.len() {
                self.cost -= first.text.len() + ITSELF;
                self.pieces.pop_front();
                continue;
            }
            // Rounded up to a boundary between two characters.
            let mut from = over;
            while !first.text.is_char_boundary(from) {
                from += 1;
            }
            first.text.drain(..from);
            first.offset += from as u64;
            first.dropped = 0;
            self.cost -= from;
        }
    }
}
