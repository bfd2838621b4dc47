//! One connection of a client: its handshake, its frames, its heartbeats, its end.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::MAX_TAKEN;
use super::connector::{Connector, Io};
use super::driver::{Done, Driver, GRACE};
use super::handle::{CallError, Request};
use super::intake::Verdict;
use crate::command_limit::CommandLimit;
use crate::id::{CommandName, Serial};
use crate::json::Json;
use crate::run::{Attempt, DeliveryState, Outcome};
use crate::wire::{
    Accepted, Ack, Call, ClientBye, ClientFrame, CommandFrame, Empty, FrameReader, FrameWriter,
    Hello, MAX_HELLO, ReplyFrame, ResponseFrame, SILENT_INTERVALS, ServerBye, ServerFrame, Started,
    Welcome, WireError, together,
};

/// How long an attempt to get a stream may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the server may take to answer the hello.
const WELCOME: Duration = Duration::from_secs(15);
/// How long the last frames may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The shortest heartbeat interval that a server may ask for.
const MIN_HEARTBEAT: Duration = Duration::from_millis(10);
/// The longest.
const MAX_HEARTBEAT: Duration = Duration::from_secs(3_600);
/// Calls without an answer.
const OPEN_CALLS: usize = 1_024;
/// What is still to be seen of a command when it ends goes out before its response, unless so
/// many bytes wait already.
const LAST_SEEN: usize = 64 * 1024;

/// Why a connection has ended.
#[derive(Debug)]
pub(super) enum Ended {
    Lost(String),
    Bye(ServerBye),
    Stopped,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(reason) => f.write_str(reason),
            Self::Bye(bye) => write!(f, "the server said bye: {}", bye.reason),
            Self::Stopped => f.write_str("the client stops"),
        }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum NotOpened {
    Unreachable(String),
    Refused { reason: String, retry_after: Option<Duration> },
    Bye(ServerBye),
}

struct OpenCall {
    command: CommandName,
    answer: oneshot::Sender<Result<Json, CallError>>,
}

/// A stop under way.
struct Drain {
    until: Instant,
    told: bool,
}

pub(super) struct Live {
    reader: FrameReader<ReadHalf<Box<dyn Io>>>,
    writer: FrameWriter<WriteHalf<Box<dyn Io>>>,
    interval: Duration,
    /// Whether the server wants progress and output.
    watched: bool,
    /// Whether the server wants to know when the client stops.
    told_stops: bool,
    heard: Instant,
    sent: Instant,
    /// Bytes written when the last beat was due, and beats since without one more.
    stalled: (u64, u32),
    calls: HashMap<u64, OpenCall>,
    next_call: u64,
    drain: Option<Drain>,
    /// How many commands may run at once, if the server says so.
    pub(super) max_running: Option<CommandLimit>,
}

impl Live {
    /// Gets a stream and is let in.
    pub(super) async fn open(
        connector: Arc<dyn Connector>,
        hello: Hello,
    ) -> Result<Self, NotOpened> {
        let stream = match timeout(CONNECT, connector.connect()).await {
            Ok(stream) => stream.map_err(|error| unreachable(&error))?,
            Err(_) => return Err(unreachable(&format_args!("no connection within {CONNECT:?}"))),
        };
        let (reader, writer) = tokio::io::split(stream);
        let now = Instant::now();
        let mut live = Self {
            reader: FrameReader::new(reader),
            writer: FrameWriter::new(writer),
            interval: MAX_HEARTBEAT,
            watched: false,
            told_stops: false,
            heard: now,
            sent: now,
            stalled: (0, 0),
            calls: HashMap::new(),
            next_call: 1,
            drain: None,
            max_running: None,
        };
        match timeout(WELCOME, live.shake_hands(hello)).await {
            Ok(welcomed) => welcomed?,
            Err(_) => return Err(unreachable(&format_args!("no welcome within {WELCOME:?}"))),
        }
        Ok(live)
    }

    async fn shake_hands(&mut self, hello: Hello) -> Result<(), NotOpened> {
        self.writer.set_max(MAX_HELLO);
        self.writer
            .push(&ClientFrame::Hello(Box::new(hello)))
            .map_err(|error| unreachable(&error))?;
        self.writer.flush().await.map_err(|error| unreachable(&error))?;
        match self.reader.next().await.map_err(|error| unreachable(&error))? {
            Some(ServerFrame::Welcome(welcome)) => {
                self.welcomed(&welcome);
                Ok(())
            }
            Some(ServerFrame::Refused(refused)) => Err(NotOpened::Refused {
                reason: refused.reason,
                retry_after: refused.retry_after_ms.map(Duration::from_millis),
            }),
            Some(ServerFrame::Bye(bye)) => Err(NotOpened::Bye(bye)),
            Some(_) => Err(unreachable(&"the server's first frame is neither welcome nor refused")),
            None => Err(unreachable(&"the server closed the connection before its welcome")),
        }
    }

    fn welcomed(&mut self, welcome: &Welcome) {
        self.writer.set_max(welcome.max_frame);
        self.max_running = welcome.max_running;
        self.watched = welcome.live;
        self.told_stops = welcome.stopping;
        self.interval =
            Duration::from_millis(welcome.heartbeat_ms).clamp(MIN_HEARTBEAT, MAX_HEARTBEAT);
        self.heard = Instant::now();
        self.sent = self.heard;
    }

    fn send(&mut self, frame: &ClientFrame) -> Result<(), WireError> {
        self.writer.push(frame)?;
        self.sent = Instant::now();
        Ok(())
    }

    /// Sends what is seen of a command; what is too long for this server is left out.
    fn send_seen(&mut self, frame: &ClientFrame) -> Result<(), WireError> {
        match self.send(frame) {
            Err(WireError::TooLong { .. }) => Ok(()),
            sent => sent,
        }
    }

    fn call(&mut self, request: Request) {
        let Request { command, params, answer } = request;
        if self.calls.len() >= OPEN_CALLS {
            self.calls.retain(|_, call| !call.answer.is_closed());
        }
        let id = self.next_call;
        let sent = if self.calls.len() >= OPEN_CALLS {
            Err(format!("{OPEN_CALLS} calls have no answer yet, the most allowed"))
        } else {
            let frame = ClientFrame::Call(Call { id, command: command.clone(), params });
            self.send(&frame).map_err(|error| error.to_string())
        };
        match sent {
            Ok(()) => {
                self.next_call += 1;
                self.calls.insert(id, OpenCall { command, answer });
            }
            Err(reason) => {
                // Nobody waits for the answer any more: nothing to do. The same holds below.
                let _ = answer.send(Err(CallError::NotSent { command, reason }));
            }
        }
    }

    fn replied(&mut self, reply: ReplyFrame) {
        let Some(OpenCall { command, answer }) = self.calls.remove(&reply.id) else { return };
        let _ = answer.send(match reply.error {
            Some(reason) => Err(CallError::Server { command, reason }),
            None => Ok(reply.result.unwrap_or_else(Json::null)),
        });
    }

    /// A beat is due: sends one, unless what was sent before does not leave.
    fn beat(&mut self) -> Result<Option<Ended>, WireError> {
        if !self.writer.is_dirty() {
            self.stalled = (self.writer.written(), 0);
            self.send(&ClientFrame::Heartbeat(Empty {}))?;
            return Ok(None);
        }
        self.sent = Instant::now();
        let (then, beats) = self.stalled;
        let now = self.writer.written();
        self.stalled = (now, if then == now { beats + 1 } else { 0 });
        Ok((self.stalled.1 >= SILENT_INTERVALS).then(|| {
            let stalled = self.interval * SILENT_INTERVALS;
            Ended::Lost(format!("the server has taken nothing for {stalled:?}"))
        }))
    }

    fn silence(&self) -> Instant {
        self.heard + self.interval * SILENT_INTERVALS
    }

    async fn say_bye(mut self, reason: String) {
        // The connection ends whether or not the last words arrive.
        if self.writer.push(&ClientFrame::Bye(ClientBye { reason })).is_ok() {
            let _ = timeout(LAST_WORDS, self.writer.shutdown()).await;
        }
    }
}

impl Driver {
    /// Serves a connection to its end.
    pub(super) async fn serve(&mut self, mut live: Live) -> Ended {
        self.feeds.open(live.watched);
        let ended = self.pump(&mut live).await;
        self.feeds.close();
        let ended = match ended {
            Ok(ended) => ended,
            Err(WireError::Io(error)) => return Ended::Lost(format!("the stream failed: {error}")),
            Err(error) => Ended::Lost(error.to_string()),
        };
        match &ended {
            Ended::Bye(_) => {}
            Ended::Stopped | Ended::Lost(_) => live.say_bye(ended.to_string()).await,
        }
        ended
    }

    async fn pump(&mut self, live: &mut Live) -> Result<Ended, WireError> {
        for serial in self.intake.ended() {
            if !bug!(ResponsesNotSentAgain) {
                self.respond(serial, live)?;
            }
        }
        self.begun = self.intake.limited();
        self.tell_begun(live)?;
        // Some may have come in one read with the welcome.
        if let Some(ended) = self.on_frames(live)? {
            return Ok(ended);
        }
        loop {
            if live.drain.is_none() {
                let begun = self.begin_ready();
                self.tell_begun(live)?;
                if begun {
                    self.answer_at_once(live).await?;
                }
            } else if self.intake.is_settled() && !live.writer.is_dirty() {
                return Ok(Ended::Stopped);
            }
            if let Some(ended) = self.step(live).await? {
                return Ok(ended);
            }
        }
    }

    /// Lets commands that have just begun run: those that end at once are answered in the write
    /// that says that they were taken.
    async fn answer_at_once(&mut self, live: &mut Live) -> Result<(), WireError> {
        tokio::task::yield_now().await;
        match self.jobs.try_join_next() {
            Some(done) => self.on_done(done, live),
            None => Ok(()),
        }
    }

    /// Tells the server which commands of limited time have begun.
    fn tell_begun(&mut self, live: &mut Live) -> Result<(), WireError> {
        for Attempt { serial, number } in std::mem::take(&mut self.begun) {
            live.send(&ClientFrame::Started(Started { serial, attempt: number }))?;
        }
        Ok(())
    }

    /// Waits for the next thing to happen, and does what it asks for.
    async fn step(&mut self, live: &mut Live) -> Result<Option<Ended>, WireError> {
        let beat = live.sent + live.interval;
        let silence = live.silence();
        let drained = live.drain.as_ref().map_or(silence, |drain| drain.until);
        // In this order: what is gathered leaves first, and a silence counts only when truly
        // nothing has come.
        tokio::select! {
            biased;
            flushed = live.writer.flush(), if live.writer.is_dirty() => flushed?,
            came = live.reader.fill() => {
                if !came? {
                    return Ok(Some(Ended::Lost("the server closed the connection".into())));
                }
                live.heard = Instant::now();
                return self.on_frames(live);
            }
            Some(done) = self.jobs.join_next() => self.on_done(done, live)?,
            Some(request) = self.calls.recv() => live.call(request),
            () = self.stop.cancelled(), if live.drain.is_none() => {
                self.begin_drain(live)?;
            }
            () = sleep_until(drained), if live.drain.is_some() => return Ok(self.drained(live)),
            () = sleep_until(silence) => {
                let heard = silence - live.heard;
                let reason = format!("nothing was heard from the server for {heard:?}");
                return Ok(Some(Ended::Lost(reason)));
            }
            () = sleep_until(beat) => return live.beat(),
            // Last, and only into an empty writer: what is seen of commands delays nothing else by
            // more than one frame of its own.
            frame = self.feeds.next(), if !live.writer.is_dirty() => live.send_seen(&frame)?,
        }
        Ok(None)
    }

    /// Sends the responses of commands that have ended, all that are ready.
    fn on_done(&mut self, first: Done, live: &mut Live) -> Result<(), WireError> {
        let mut done = Some(first);
        while let Some(one) = done {
            if let Some(serial) = self.take_done(one) {
                for frame in self.feeds.end(serial) {
                    if live.writer.pending() < LAST_SEEN {
                        live.send_seen(&frame)?;
                    }
                }
                self.respond(serial, live)?;
            }
            done = self.jobs.try_join_next();
        }
        Ok(())
    }

    /// A stop begins: the server keeps from now on what it has for this client.
    fn begin_drain(&self, live: &mut Live) -> Result<(), WireError> {
        let until = Instant::now() + self.stop_limit;
        live.drain = Some(Drain { until, told: false });
        if live.told_stops && !self.intake.is_settled() {
            live.send(&ClientFrame::Stopping(Empty {}))?;
        }
        Ok(())
    }

    /// The time for a stop is up: running commands are told once, and get a little more.
    fn drained(&mut self, live: &mut Live) -> Option<Ended> {
        let drain = live.drain.as_mut().filter(|drain| !drain.told && !self.jobs.is_empty());
        let Some(drain) = drain else { return Some(Ended::Stopped) };
        self.intake.cancel_all();
        drain.told = true;
        drain.until += GRACE;
        None
    }

    /// Deals with all frames that have come.
    fn on_frames(&mut self, live: &mut Live) -> Result<Option<Ended>, WireError> {
        while let Some(frame) = live.reader.take()? {
            if let Some(ended) = self.on_frame(frame, live)? {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    fn on_frame(
        &mut self,
        frame: ServerFrame,
        live: &mut Live,
    ) -> Result<Option<Ended>, WireError> {
        match frame {
            ServerFrame::Command(command) => return self.on_command(command, live),
            ServerFrame::Ack(Ack { serials, attempts }) => {
                for attempt in together(serials, &attempts) {
                    self.acknowledged(attempt);
                }
            }
            ServerFrame::Cancel(cancel) => {
                if self.intake.cancel(cancel.serial) {
                    self.respond(cancel.serial, live)?;
                }
            }
            ServerFrame::Reply(reply) => live.replied(reply),
            ServerFrame::Heartbeat(_) => {}
            ServerFrame::Bye(bye) => return Ok(Some(Ended::Bye(bye))),
            ServerFrame::Welcome(_) => return Err(unexpected("welcome")),
            ServerFrame::Refused(_) => return Err(unexpected("refused")),
        }
        Ok(None)
    }

    fn on_command(
        &mut self,
        command: CommandFrame,
        live: &mut Live,
    ) -> Result<Option<Ended>, WireError> {
        let CommandFrame { serial, attempt, .. } = command;
        if live.drain.is_some() {
            // Not accepted, so it stays open at the server for this client's successor.
            return Ok(None);
        }
        match self.intake.offer(command) {
            Verdict::Accept => {
                live.send(&ClientFrame::Accepted(Accepted { serial, attempt }))?;
            }
            Verdict::Respond => self.respond(serial, live)?,
            Verdict::Nothing => {
                tracing::debug!(%serial, "a command came after its acknowledgement");
            }
            Verdict::TooMany => {
                let reason = format!("more than {MAX_TAKEN} commands are open at this client");
                return Ok(Some(Ended::Lost(reason)));
            }
        }
        Ok(None)
    }

    /// Sends the response of a command that has ended. One that is longer than the server reads
    /// ends as `failed`, for no retry would make it shorter.
    fn respond(&mut self, serial: Serial, live: &mut Live) -> Result<(), WireError> {
        let Some((attempt, outcome)) = self.intake.outcome(serial) else { return Ok(()) };
        let ran_ms = outcome.ran_ms;
        let frame = ClientFrame::Response(ResponseFrame::new(attempt, outcome.clone()));
        match live.send(&frame) {
            Err(WireError::TooLong { length, max }) => {
                let reason = format!("the response has {length} bytes; the most is {max}");
                let outcome = Outcome { ran_ms, ..Outcome::ended(DeliveryState::Failed, reason) };
                self.intake.finish(serial, outcome.clone());
                live.send(&ClientFrame::Response(ResponseFrame::new(attempt, outcome)))
            }
            sent => sent,
        }
    }
}

fn unreachable(reason: &dyn fmt::Display) -> NotOpened {
    NotOpened::Unreachable(reason.to_string())
}

fn unexpected(found: &'static str) -> WireError {
    WireError::Unexpected { found, wanted: "the connection already stands" }
}
