//! Frames over a byte stream, whatever the stream is.
//!
//! Both halves keep their progress in themselves: a future of theirs may be dropped at any point
//! and made anew, and nothing is lost or sent twice.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::codec::{self, WireError};
use super::frame::Frame;
use super::{HEADER, MAX_FRAME};

/// Room for one read at first.
const FIRST_READ: usize = 512;
/// The least room for one read. It is doubled while reads fill it, up to [`MAX_READ`], and halved
/// when they need little of it: of a connection that does nothing but live, this is what its buffer
/// takes.
const MIN_READ: usize = 64;
/// The most room for one read.
const MAX_READ: usize = 64 * 1024;
/// A drained buffer above this is given back.
const KEEP: usize = 16 * 1024;
/// Shared frames from this length on are not copied into the gathered bytes.
const SHARE: usize = 1024;
/// Pieces handed to one write.
const PIECES: usize = 32;

/// Reads frames. Memory grows with what has come, not with what was announced.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    room: usize,
    max: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader of frames of at most [`MAX_FRAME`] bytes.
    pub fn new(stream: R) -> Self {
        Self { stream, buffer: BytesMut::new(), room: FIRST_READ, max: MAX_FRAME }
    }

    /// Sets the longest frame from here on, in bytes of JSON.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// What was long has come: from here on, little is expected at once.
    pub fn settle(&mut self) {
        self.room = MIN_READ;
    }

    /// The next frame, or `None` at the end of the stream between two frames.
    pub async fn next<T: Frame>(&mut self) -> Result<Option<T>, WireError> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Waits for more bytes; `false` at the end of the stream between two frames. The end within
    /// a frame is [`WireError::Truncated`].
    pub async fn fill(&mut self) -> Result<bool, WireError> {
        let anew = self.buffer.is_empty();
        if anew && self.buffer.capacity() > self.room {
            self.buffer = BytesMut::new();
        }
        self.buffer.reserve(self.room);
        let came = self.stream.read_buf(&mut self.buffer).await?;
        if came >= self.room {
            self.room = (self.room * 2).min(MAX_READ);
        } else if anew && came < self.room / 4 {
            self.room = (self.room / 2).max(MIN_READ);
        }
        match (came, self.unread()) {
            (0, None) => Ok(false),
            (0, Some((have, want))) => Err(WireError::Truncated { have, want }),
            _ => Ok(true),
        }
    }

    /// The next frame of those whose bytes have all come; incomplete is `None`, not an error.
    pub fn take<T: Frame>(&mut self) -> Result<Option<T>, WireError> {
        let Some(length) = codec::length(&self.buffer, self.max)? else { return Ok(None) };
        let Some(json) = self.buffer.get(HEADER..HEADER + length) else { return Ok(None) };
        let frame = codec::decode(json)?;
        self.buffer.advance(HEADER + length);
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP {
            self.buffer = BytesMut::new();
            self.room = FIRST_READ;
        }
        Ok(Some(frame))
    }

    /// How much of an incomplete frame has come: bytes there, bytes of the whole.
    #[must_use]
    pub fn unread(&self) -> Option<(usize, usize)> {
        if self.buffer.is_empty() {
            return None;
        }
        let length = codec::length(&self.buffer, usize::MAX).ok().flatten().unwrap_or(0);
        Some((self.buffer.len(), HEADER + length))
    }

    /// Reads and throws away what still comes, so that closing does not cut off what was sent:
    /// a socket closed with unread bytes resets the connection.
    pub async fn discard(&mut self, most: usize) -> io::Result<()> {
        let mut left = most;
        while left > 0 {
            self.buffer.clear();
            self.buffer.reserve(FIRST_READ);
            match self.stream.read_buf(&mut self.buffer).await? {
                0 => return Ok(()),
                came => left = left.saturating_sub(came),
            }
        }
        Ok(())
    }
}

/// Writes frames: gathers them, and sends them together at [`flush`](Self::flush).
#[derive(Debug)]
pub struct FrameWriter<W> {
    stream: W,
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    pending: usize,
    written: u64,
    dirty: bool,
    max: usize,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// A writer of frames of at most [`MAX_FRAME`] bytes.
    pub fn new(stream: W) -> Self {
        Self {
            stream,
            pieces: VecDeque::new(),
            tail: BytesMut::new(),
            pending: 0,
            written: 0,
            dirty: false,
            max: MAX_FRAME,
        }
    }

    /// Sets the longest frame from here on, in bytes of JSON.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Bytes gathered and not yet written.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Whether there is something to [`flush`](Self::flush).
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Gathers a frame. The only errors are about the frame; nothing is gathered then.
    pub fn push<T: Frame>(&mut self, frame: &T) -> Result<(), WireError> {
        let before = self.tail.len();
        codec::encode_into(&mut self.tail, frame, self.max)?;
        self.pending += self.tail.len() - before;
        self.dirty = true;
        Ok(())
    }

    /// Gathers a frame that [`encode`](super::encode) has made, without copying a long one.
    pub fn push_encoded(&mut self, frame: &Bytes) {
        self.pending += frame.len();
        self.dirty = true;
        if frame.len() < SHARE {
            self.tail.extend_from_slice(frame);
        } else {
            self.cut();
            self.pieces.push_back(frame.clone());
        }
    }

    /// Writes all that is gathered.
    pub async fn flush(&mut self) -> io::Result<()> {
        while self.pending > 0 {
            let wrote = if self.pieces.is_empty() {
                self.stream.write(&self.tail).await?
            } else {
                self.cut();
                let slices: Vec<IoSlice<'_>> =
                    self.pieces.iter().take(PIECES).map(|piece| IoSlice::new(piece)).collect();
                self.stream.write_vectored(&slices).await?
            };
            if wrote == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.advance(wrote);
        }
        self.stream.flush().await?;
        self.dirty = false;
        // Most connections are idle most of the time.
        self.tail = BytesMut::new();
        Ok(())
    }

    /// Writes all that is gathered, then ends this direction of the stream.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown().await
    }

    fn cut(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }

    fn advance(&mut self, mut wrote: usize) {
        self.pending -= wrote;
        self.written += wrote as u64;
        while let Some(first) = self.pieces.front_mut() {
            if wrote < first.len() {
                first.advance(wrote);
                return;
            }
            wrote -= first.len();
            self.pieces.pop_front();
        }
        self.tail.advance(wrote);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ClientFrame, Empty, ServerBye, ServerFrame};

    #[tokio::test]
    async fn a_connection_that_only_lives_holds_next_to_nothing() {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (mut writer, mut reader) = (FrameWriter::new(near), FrameReader::new(far));
        let beat = ClientFrame::Heartbeat(Empty {});
        let long = "x".repeat(40_000);
        let long = ServerBye { reason: long, reconnect: true, retry_after_ms: None };
        writer.push(&ServerFrame::Bye(long.clone())).unwrap();
        writer.flush().await.unwrap();
        let came = reader.next().await.unwrap();
        assert!(matches!(came, Some(ServerFrame::Bye(bye)) if bye == long));
        for _ in 0..10 {
            writer.push(&beat).unwrap();
            writer.flush().await.unwrap();
            assert_eq!(writer.tail.capacity(), 0);
            assert!(reader.next::<ClientFrame>().await.unwrap().is_some());
        }
        assert!(reader.buffer.capacity() <= MIN_READ, "{}", reader.buffer.capacity());
    }
}
