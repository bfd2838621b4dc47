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

    /// A command has ended: what still waits of it, where there is a server that wants it.
    pub(super) fn end(&self, serial: Serial) -> Vec<ClientFrame> {
        let mut waiting = self.lock();
        let command = waiting.commands.remove(&serial);
        let Some(mut command) = command.filter(|_| waiting.open) else { return Vec::new() };
        drop(waiting);
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
                    biased;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn serial(n: u128) -> Serial {
        Serial::from_parts(Timestamp::from_millis(1), n)
    }

    fn feeds() -> Arc<Feeds> {
        let feeds = Feeds::new(LiveLimits::default());
        feeds.open(true);
        feeds
    }

    fn begin(feeds: &Arc<Feeds>, n: u128) -> Feed {
        feeds.begin(Attempt { serial: serial(n), number: 1 })
    }

    /// What a frame shows: progress, or offset, text's length and what was left out before it.
    fn shown(frame: ClientFrame) -> (u64, usize, u64) {
        match frame {
            ClientFrame::Output(OutputFrame { piece, .. }) => {
                (piece.offset, piece.text.len(), piece.dropped)
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn small_texts_go_together_and_streams_keep_their_order() {
        let feeds = feeds();
        let feed = begin(&feeds, 1);
        feed.output(OutputStream::Stdout, "a");
        feed.output(OutputStream::Stdout, "b");
        feed.output(OutputStream::Stderr, "c");
        feed.output(OutputStream::Stdout, "d");
        let mut texts = Vec::new();
        for _ in 0..3 {
            let ClientFrame::Output(frame) = feeds.next().await else { panic!("no output") };
            texts.push((frame.piece.stream, frame.piece.offset, frame.piece.text));
        }
        let expected = [
            (OutputStream::Stdout, 0, "ab".to_owned()),
            (OutputStream::Stderr, 0, "c".to_owned()),
            (OutputStream::Stdout, 2, "d".to_owned()),
        ];
        assert_eq!(texts, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_is_left_out_and_counted() {
        let feeds = feeds();
        let feed = begin(&feeds, 1);
        let text = "x".repeat(TEXT);
        (0..100).for_each(|_| feed.output(OutputStream::Stdout, &text));
        let fit = 64 * 1024 / (TEXT + ITSELF);
        for n in 0..fit {
            assert_eq!(shown(feeds.next().await), ((n * TEXT) as u64, TEXT, 0));
        }
        feed.output(OutputStream::Stdout, "end");
        let dropped = ((100 - fit) * TEXT) as u64;
        assert_eq!(shown(feeds.next().await), (100 * TEXT as u64, 3, dropped));
    }

    #[tokio::test(start_paused = true)]
    async fn output_is_paced_and_the_commands_take_turns() {
        let feeds = feeds();
        let (one, other) = (begin(&feeds, 1), begin(&feeds, 2));
        let text = "x".repeat(TEXT);
        let start = Instant::now();
        let mut sent = BTreeMap::<Serial, usize>::new();
        while start.elapsed().as_secs() < 10 {
            one.output(OutputStream::Stdout, &text);
            other.output(OutputStream::Stderr, &text);
            let ClientFrame::Output(frame) = feeds.next().await else { panic!("no output") };
            *sent.entry(frame.serial).or_default() += frame.piece.text.len();
        }
        for sent in sent.values() {
            // Ten seconds' worth, and one that passes at once.
            let rate = 256 * 1024;
            assert!((10 * rate..=11 * rate + TEXT).contains(sent), "{sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_progress_replaces_one_that_waits() {
        let feeds = feeds();
        let feed = begin(&feeds, 1);
        let start = Instant::now();
        let mut told = Vec::new();
        for n in 0..=100 {
            feed.progress(Progress::new(Some(n), None));
            if n % 2 == 1 {
                let ClientFrame::Progress(frame) = feeds.next().await else { panic!("none") };
                told.push(frame.progress.percent.unwrap());
            }
        }
        assert_eq!(told, (1..100).step_by(2).collect::<Vec<_>>());
        assert!((3..=4).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_connection_and_after_the_end_nothing_waits() {
        let feeds = feeds();
        let feed = begin(&feeds, 1);
        feed.output(OutputStream::Stdout, "lost with the connection");
        feeds.close();
        feed.output(OutputStream::Stdout, "and without");
        feed.progress(Progress::new(Some(1), None));
        assert!(feeds.lock().commands[&serial(1)].cost == 0);
        feeds.open(true);
        feed.output(OutputStream::Stdout, "back");
        assert_eq!(shown(feeds.next().await), (35, 4, 35));
        feed.output(OutputStream::Stdout, "rest");
        let rest: Vec<_> = feeds.end(serial(1)).into_iter().map(shown).collect();
        assert_eq!(rest, [(39, 4, 0)]);
        feed.output(OutputStream::Stdout, "late");
        feed.progress(Progress::new(Some(1), None));
        assert!(feeds.end(serial(1)).is_empty() && feeds.lock().commands.is_empty());
    }

    #[test]
    fn a_server_that_does_not_want_it_gets_nothing() {
        let feeds = Feeds::new(LiveLimits::default());
        feeds.open(false);
        let feed = begin(&feeds, 1);
        feed.output(OutputStream::Stdout, "text");
        feed.progress(Progress::new(Some(1), None));
        assert!(feeds.lock().take(std::time::Instant::now()).is_err());
        assert!(feeds.end(serial(1)).is_empty(), "not even that something was left out");
    }
}
