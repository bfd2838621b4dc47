//! Any bytes as frames, for [`crate::fuzzing`].

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    ClientFrame, Frame, FrameReader, HEADER, MAX_FRAME, ServerFrame, WireError, decode, encode,
};
use crate::fuzz::told;

/// A stream. Of the first byte the lowest bit tells whose frames it has, the next whether only
/// short ones are allowed, and the others in pieces of how many bytes it comes.
pub(crate) fn frame(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    if how & 1 == 0 {
        stream::<ClientFrame>(*how, bytes);
    } else {
        stream::<ServerFrame>(*how, bytes);
    }
}

/// The JSON of one frame, of either side.
pub(crate) fn message(data: &[u8]) {
    one::<ClientFrame>(data);
    one::<ServerFrame>(data);
}

/// However it is cut, a stream has the same frames and the same end.
fn stream<T: Frame + PartialEq + Debug>(how: u8, bytes: &[u8]) {
    let max = if how & 2 == 0 { MAX_FRAME } else { 64 };
    let (frames, end) = read::<T>(bytes, bytes.len().max(1), max);
    let in_pieces = read::<T>(bytes, usize::from(how >> 2) + 1, max);
    assert_eq!(in_pieces, (frames, end));
    for frame in in_pieces.0 {
        comes_back(&frame);
    }
}

fn one<T: Frame + PartialEq + Debug>(json: &[u8]) {
    match decode::<T>(json) {
        Ok(frame) => comes_back(&frame),
        Err(error) => {
            told(&error, 240);
            match error {
                WireError::UnknownType { found, known } => assert!(!known.contains(&&*found)),
                WireError::Invalid { kind, .. } => assert!(T::TYPES.contains(&kind)),
                WireError::NotJson { .. } | WireError::NotAnObject { .. } => {}
                other => panic!("{other} of a whole frame"),
            }
        }
    }
}

fn comes_back<T: Frame + PartialEq + Debug>(frame: &T) {
    let bytes = encode(frame, 8 * MAX_FRAME).expect("what was read can be written");
    let again: T = decode(&bytes[HEADER..]).expect("what was written can be read");
    assert_eq!(again, *frame);
}

/// The frames of a stream, and what it ends with.
fn read<T: Frame>(bytes: &[u8], each: usize, max: usize) -> (Vec<T>, Option<String>) {
    let mut reader = FrameReader::new(Pieces { rest: bytes, each });
    reader.set_max(max);
    let mut frames = Vec::new();
    loop {
        match reader.next().now_or_never().expect("its bytes are there") {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(told(&error, 240))),
        }
    }
}

/// A stream that comes in pieces.
struct Pieces<'a> {
    rest: &'a [u8],
    each: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.each.min(self.rest.len()).min(buffer.remaining());
        let (piece, rest) = self.rest.split_at(length);
        buffer.put_slice(piece);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}
