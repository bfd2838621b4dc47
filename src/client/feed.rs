//! What running commands let be seen, on its way to the server: it waits here, bounded and paced,
//! until the connection has nothing better to send.
//!
//! Promises: nobody who puts something in waits; what does not fit, comes too fast or finds no
//! connection is left out and counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::LiveLimits;
use crate::id::Serial;
use crate::live::{OutputStream, Piece, Progress, boundary, rate::Rate};
use crate::run::Attempt;
use crate::wire::{ClientFrame, OutputFrame, ProgressFrame};

/// The most text of one frame, in bytes: escaped, it still fits the shortest `max_frame` of a
/// server, which is 52 KiB.
const TEXT: usize = 8 * 1024;

/// What a piece takes beside its text, roughly, in bytes.
const ITSELF: usize = 64;

/// The feeds of all commands of a client.
#[derive(Debug)]
pub(super) struct Feeds {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug)]
struct Waiting {
    limits: LiveLimits,
    /// Whether there is a server that wants it.
    open: bool,
    commands: BTreeMap<Serial, Command>,
    /// Whose turn it was last.
    last: Option<Serial>,
    bytes: Rate,
    frames: Rate,
}

/// What waits of one command.
#[derive(Debug)]
struct Command {
    attempt: u32,
    progress: Option<Progress>,
    pieces: VecDeque<Piece>,
    cost: usize,
    /// Bytes of each stream so far, and of those the last that were left out.
    so_far: [u64; 2],
    dropped: [u64; 2],
    bytes: Rate,
    progresses: Rate,
}

/// A command's way to put something in.
#[derive(Debug, Clone)]
pub(super) struct Feed {
    feeds: Arc<Feeds>,
    attempt: Attempt,
}

impl Feeds {
    pub(super) fn new(limits: LiveLimits) -> Arc<Self> {
        let waiting = Waiting {
            limits,
            open: false,
            commands: BTreeMap::new(),
            last: None,
            bytes: Rate::new(limits.bytes_per_second_in_all),
            frames: Rate::new(limits.frames_per_second_in_all),
        };
        Arc::new(Self { waiting: Mutex::new(waiting), news: Notify::new() })
    }

    /// Locks; nothing that holds the lock panics half-way.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command begins.
    pub(super) fn begin(self: &Arc<Self>, attempt: Attempt) -> Feed {
        let mut waiting = self.lock();
        let limits = waiting.limits;
        let command = Command {
            attempt: attempt.number,
            progress: None,
            pieces: VecDeque::new(),
            cost: 0,
            so_far: [0; 2],
            dropped: [0; 2],
            bytes: Rate::new(limits.bytes_per_second),
            progresses: Rate::new(limits.progress_per_second),
        };
        waiting.commands.insert(attempt.serial, command);
        Feed { feeds: Arc::clone(self), attempt }
    }

    /// A command has ended: what still waits of it.
    pub(super) fn end(&self, serial: Serial) -> Vec<ClientFrame> {
        let Some(mut command) = self.lock().commands.remove(&serial) else { return Vec::new() };
        let mut frames = Vec::new();
        frames.extend(command.progress.take().map(|progress| command.told(serial, progress)));
        while let Some(piece) = command.pieces.pop_front() {
            frames.push(command.printed(serial, piece));
        }
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let dropped = std::mem::take(&mut command.dropped[stream as usize]);
            let offset = command.so_far[stream as usize];
            if dropped > 0 {
                let piece = Piece { stream, offset, text: String::new(), dropped };
                frames.push(command.printed(serial, piece));
            }
        }
        frames
    }

    /// There is a connection, to a server that wants it or not.
    pub(super) fn open(&self, wanted: bool) {
        self.lock().open = wanted;
    }

    /// There is no connection any more: what waits is left out.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.open = false;
        waiting.commands.values_mut().for_each(Command::drop_all);
    }

    /// The next frame that may be sent, each command in turn. May be dropped at any time: nothing
    /// is taken out before it is ready.
    pub(super) async fn next(&self) -> ClientFrame {
        loop {
            let news = self.news.notified();
            let ready = match self.lock().take(Instant::now().into_std()) {
                Ok(frame) => return frame,
                Err(ready) => ready,
            };
            match ready {
                None => news.await,
                Some(at) => tokio::select! {
                    () = news => {}
                    () = sleep_until(Instant::from_std(at)) => {}
                },
            }
        }
    }
}

impl Waiting {
    /// The next frame, or when there will be one, if anything waits.
    fn take(&mut self, now: std::time::Instant) -> Result<ClientFrame, Option<std::time::Instant>> {
        let all_ready = self.bytes.ready_at().max(self.frames.ready_at());
        let mut next: Option<std::time::Instant> = None;
        let order = self.commands.iter_mut();
        let mut order: Vec<_> = order.filter(|(_, command)| command.waits()).collect();
        let turn = order.partition_point(|(serial, _)| Some(**serial) <= self.last);
        order.rotate_left(turn);
        for (serial, command) in order {
            let ready = command.ready_at().max(all_ready);
            if ready.is_some_and(|at| at > now) {
                next = next.map_or(ready, |next| ready.map(|at| at.min(next)));
                continue;
            }
            let (frame, length) = command.take(*serial, now);
            self.last = Some(*serial);
            self.bytes.take(now, length);
            self.frames.take(now, 1);
            return Ok(frame);
        }
        Err(next)
    }
}

impl Command {
    fn waits(&self) -> bool {
        self.progress.is_some() || !self.pieces.is_empty()
    }

    /// When the first of what waits may be sent; `None`: at any time.
    fn ready_at(&self) -> Option<std::time::Instant> {
        let progress = self.progress.as_ref().map(|_| self.progresses.ready_at());
        let piece = self.pieces.front().map(|_| self.bytes.ready_at());
        progress.into_iter().chain(piece).min().flatten()
    }

    /// Takes out what may be sent now, and its length; something waits and may.
    fn take(&mut self, serial: Serial, now: std::time::Instant) -> (ClientFrame, usize) {
        if let Some(progress) = self.progress.take() {
            if self.progresses.take(now, 1) {
                return (self.told(serial, progress), 0);
            }
            self.progress = Some(progress);
        }
        let empty =
            Piece { stream: OutputStream::Stdout, offset: 0, text: String::new(), dropped: 0 };
        let piece = self.pieces.pop_front().unwrap_or(empty);
        self.cost = self.cost.saturating_sub(piece.text.len() + ITSELF);
        self.bytes.take(now, piece.text.len());
        let length = piece.text.len();
        (self.printed(serial, piece), length)
    }

    fn told(&self, serial: Serial, progress: Progress) -> ClientFrame {
        ClientFrame::Progress(ProgressFrame { serial, attempt: self.attempt, progress })
    }

    fn printed(&self, serial: Serial, piece: Piece) -> ClientFrame {
        ClientFrame::Output(OutputFrame { serial, attempt: self.attempt, piece })
    }

    fn push(&mut self, stream: OutputStream, text: &str, most: usize) {
        let at = stream as usize;
        let length = text.len();
        let offset = self.so_far[at];
        self.so_far[at] += length as u64;
        let dropped = self.dropped[at];
        if let Some(last) = self.pieces.back_mut()
            && last.stream == stream
            && dropped == 0
            && last.text.len() + length <= TEXT
            && self.cost + length <= most
        {
            last.text.push_str(text);
            self.cost += length;
        } else if self.cost + length + ITSELF <= most {
            self.pieces.push_back(Piece { stream, offset, text: text.to_owned(), dropped });
            self.cost += length + ITSELF;
            self.dropped[at] = 0;
        } else {
            self.dropped[at] += length as u64;
        }
    }

    fn drop_all(&mut self) {
        self.progress = None;
        // What was left out before a piece is counted with it.
        for Piece { stream, text, dropped, .. } in self.pieces.drain(..) {
            self.dropped[stream as usize] += text.len() as u64 + dropped;
        }
        self.cost = 0;
    }
}

impl Feed {
    pub(super) fn progress(&self, progress: Progress) {
        self.with(|command, _| command.progress = Some(progress));
    }

    pub(super) fn output(&self, stream: OutputStream, mut text: &str) {
        self.with(|command, most| {
            while !text.is_empty() {
                let (piece, rest) = text.split_at(boundary(text, TEXT));
                command.push(stream, piece, most);
                text = rest;
            }
        });
    }

    /// Puts something in, unless the command has ended; without a connection it is left out.
    fn with(&self, put: impl FnOnce(&mut Command, usize)) {
        let mut waiting = self.feeds.lock();
        let most = if waiting.open { waiting.limits.waiting } else { 0 };
        let Attempt { serial, number } = self.attempt;
        let command = waiting.commands.get_mut(&serial);
        let Some(command) = command.filter(|command| command.attempt == number) else { return };
        put(command, most);
        if most == 0 {
            command.progress = None;
        }
        drop(waiting);
        self.feeds.news.notify_one();
    }
}
