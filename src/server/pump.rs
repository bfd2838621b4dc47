//! The service of a connection: what the client sends goes to the node and to the handlers, what
//! the node has goes to the client.
//!
//! The two directions do not wait for each other, so a client that does not read cannot keep
//! its own answers from being recorded, and a busy node does not keep heartbeats from leaving.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::fleet::Fleet;
use super::live::{Inflow, Seen};
use super::session::RETRY_STOPPING;
use super::shared::{Caller, Limits, Shared};
use crate::engine::{CloseReason, Dispatch, SessionId};
use crate::node::{CallError, Outbox, Outlet, ToSession, outbox};
use crate::run::{Attempt, DeliveryState, Outcome};
use crate::wire::{
    Accepted, Ack, Call, Cancel, ClientFrame, CommandFrame, Empty, FrameReader, FrameWriter,
    MAX_FRAME, OutputFrame, ProgressFrame, ReplyFrame, SILENT_INTERVALS, ServerBye, ServerFrame,
    Started, WireError, apart, encode,
};

/// Bytes gathered before they are written.
const GATHER_BYTES: usize = 64 * 1024;
/// Messages gathered before they are written.
const GATHER: usize = 1_024;
/// Replies that wait for the socket.
const REPLIES: usize = 64;
/// How long acknowledgements wait for something that they can leave with. A write costs the server
/// and the client more than all else about an acknowledgement, and nobody waits for it but a client
/// that stops.
const ACK_DELAY: Duration = Duration::from_millis(250);
/// So many acknowledgements wait no longer.
const ACKS: usize = 32;
/// How long a client that is too slow stays away.
const RETRY_SLOW: Duration = Duration::from_secs(5);

/// The end of a connection.
pub(super) struct End {
    pub(super) reason: String,
    /// What the client is told; `None`: nobody listens.
    pub(super) bye: Option<ServerBye>,
}

impl End {
    /// The client has gone.
    pub(super) fn quiet(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), bye: None }
    }

    /// The server ends it; the client may come back.
    pub(super) fn told(reason: impl Into<String>, retry_after: Option<Duration>) -> Self {
        let reason = reason.into();
        let retry_after_ms = retry_after.map(millis);
        let bye = ServerBye { reason: reason.clone(), reconnect: true, retry_after_ms };
        Self { reason, bye: Some(bye) }
    }

    /// The server ends it; the client shall stay away.
    fn dismissed(reason: &str) -> Self {
        let bye = ServerBye { reason: reason.to_owned(), reconnect: false, retry_after_ms: None };
        Self { reason: reason.to_owned(), bye: Some(bye) }
    }

    fn stopping() -> Self {
        Self::told("the server stops", Some(RETRY_STOPPING))
    }
}

impl From<&CloseReason> for End {
    fn from(reason: &CloseReason) -> Self {
        match reason {
            CloseReason::Displaced => {
                Self::dismissed("another connection has taken this client's place")
            }
            CloseReason::Removed => Self::dismissed("the client was removed from the registry"),
            CloseReason::Stopping => Self::stopping(),
            CloseReason::TooSlow => {
                Self::told("the client does not take what it is sent", Some(RETRY_SLOW))
            }
        }
    }
}

impl From<CallError> for End {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Stopped => Self::stopping(),
            error => Self::told(error.to_string(), None),
        }
    }
}

/// Serves both directions until one of them ends.
pub(super) async fn pump<F: Fleet, R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    shared: &Shared<F>,
    caller: &Caller,
    session: SessionId,
    outbound: Outbox<ToSession>,
    reader: &mut FrameReader<R>,
    writer: &mut FrameWriter<W>,
) -> End {
    let (replies, ready) = outbox(REPLIES);
    let (calls, inflow) = (None, None);
    let mut inbound = Inbound { shared, caller, session, replies, calls, inflow };
    let reading = async {
        match inbound.read(reader).await {
            ControlFlow::Break(end) => end,
        }
    };
    let mut sender = Outbound {
        limits: &shared.limits,
        messages: outbound,
        ready,
        writer,
        acks: None,
        client_stops: false,
        sent: Instant::now(),
    };
    let end = tokio::select! {
        // What the client has said already counts before the server's own stop.
        biased;
        end = reading => end,
        end = sender.write() => end,
        () = shared.stopping.cancelled() => End::stopping(),
    };
    if end.bye.is_some() {
        // In front of the last words; if there is no room for them, the client asks again.
        let _ = sender.push_acks();
    }
    end
}

/// What the server says because of something that the client has said.
enum Answer {
    Reply(ReplyFrame),
    Heartbeat,
    /// The client stops, once its answers are acknowledged.
    Stopping,
}

struct Inbound<'a, F> {
    shared: &'a Shared<F>,
    caller: &'a Caller,
    session: SessionId,
    replies: Outlet<Answer>,
    /// Commands of the client that run; they end with the connection. Like what follows, most
    /// connections never have it.
    calls: Option<Box<JoinSet<()>>>,
    /// What the client lets be seen of its commands.
    inflow: Option<Box<Inflow>>,
}

impl<F: Fleet> Inbound<'_, F> {
    async fn read<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut FrameReader<R>,
    ) -> ControlFlow<End, std::convert::Infallible> {
        let silence = self.shared.limits.heartbeat * SILENT_INTERVALS;
        loop {
            loop {
                match reader.take() {
                    Ok(Some(frame)) => self.on_frame(frame).await?,
                    Ok(None) => break,
                    Err(error) => return ControlFlow::Break(error.into()),
                }
            }
            match timeout(silence, reader.fill()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => {
                    return ControlFlow::Break(End::quiet("the client closed the connection"));
                }
                Ok(Err(error)) => return ControlFlow::Break(error.into()),
                Err(_) => {
                    return ControlFlow::Break(End::told(silent(silence, reader.unread()), None));
                }
            }
        }
    }

    async fn on_frame(&mut self, frame: ClientFrame) -> ControlFlow<End> {
        let fleet = &self.shared.fleet;
        let done = match frame {
            ClientFrame::Accepted(Accepted { serial, attempt: number }) => {
                fleet.accepted(self.session, Attempt { serial, number }).await
            }
            ClientFrame::Started(Started { serial, attempt: number }) => {
                fleet.started(self.session, Attempt { serial, number }).await
            }
            ClientFrame::Response(response) if !response.state.is_answer() => {
                let problem = format!("state {:?} is not an answer", response.state.name());
                return ControlFlow::Break(invalid("response", problem));
            }
            ClientFrame::Progress(ProgressFrame { serial, attempt: number, progress }) => {
                if let Err(problem) = progress.check() {
                    return ControlFlow::Break(invalid("progress", problem));
                }
                let seen = Seen::Progress(progress);
                Box::pin(self.seen(Attempt { serial, number }, seen)).await
            }
            ClientFrame::Output(OutputFrame { serial, attempt: number, piece }) => {
                if let Err(problem) = piece.check() {
                    return ControlFlow::Break(invalid("output", problem));
                }
                let seen = Seen::Output(piece);
                Box::pin(self.seen(Attempt { serial, number }, seen)).await
            }
            ClientFrame::Response(response) => {
                let attempt = Attempt { serial: response.serial, number: response.attempt };
                if let Some(inflow) = &mut self.inflow {
                    inflow.end(attempt.serial);
                }
                fleet.responded(self.session, attempt, response.into_outcome()).await
            }
            ClientFrame::Call(call) => {
                // Boxed as what is rare: the connection's own memory has no room for it.
                Box::pin(self.on_call(call)).await;
                Ok(())
            }
            ClientFrame::Heartbeat(_) => {
                // Where replies wait, something is sent anyway.
                let _ = self.replies.try_send(Answer::Heartbeat);
                Ok(())
            }
            ClientFrame::Stopping(_) => Box::pin(self.on_stopping()).await,
            ClientFrame::Bye(bye) => {
                let reason = format!("the client said bye: {}", bye.reason);
                return ControlFlow::Break(End::quiet(reason));
            }
            ClientFrame::Hello(_) => {
                let wanted = "the connection already stands";
                let error = WireError::Unexpected { found: "hello", wanted };
                return ControlFlow::Break(error.into());
            }
        };
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error.into()),
        }
    }

    async fn seen(&mut self, attempt: Attempt, seen: Seen) -> Result<(), CallError> {
        let inflow = self.inflow.get_or_insert_with(|| Box::new(Inflow::new(self.session)));
        inflow.take(&self.shared.fleet, attempt, seen).await
    }

    async fn on_stopping(&mut self) -> Result<(), CallError> {
        // A connection that has ended needs no acknowledgement.
        let _ = self.replies.send(Answer::Stopping).await;
        self.shared.fleet.leaving(self.session).await
    }

    async fn on_call(&mut self, call: Call) {
        let Call { id, command, params } = call;
        let calls = self.calls.get_or_insert_default();
        while calls.try_join_next().is_some() {}
        let most = self.shared.limits.max_calls;
        let problem = if !self.shared.handlers.knows(&command) {
            self.shared.handlers.unknown(&command)
        } else if calls.len() >= most {
            format!("{most} calls of this client are running, the most allowed")
        } else {
            let running = self.shared.handlers.run(self.caller.clone(), command, params);
            let replies = self.replies.clone();
            calls.spawn(async move {
                // A connection that has ended needs no reply.
                let _ = replies.send(Answer::Reply(reply(id, running.await))).await;
            });
            return;
        };
        // As above. A client that does not read its replies is not read either.
        let reply = ReplyFrame { id, result: None, error: Some(problem) };
        let _ = self.replies.send(Answer::Reply(reply)).await;
    }
}

/// Acknowledgements that wait.
struct Acks {
    attempts: Vec<Attempt>,
    /// When they leave at the latest.
    due: Instant,
}

impl Acks {
    fn soon() -> Self {
        Self { attempts: Vec::new(), due: Instant::now() + ACK_DELAY }
    }
}

struct Outbound<'a, W> {
    limits: &'a Limits,
    messages: Outbox<ToSession>,
    ready: Outbox<Answer>,
    writer: &'a mut FrameWriter<W>,
    acks: Option<Box<Acks>>,
    client_stops: bool,
    /// When something was last sent.
    sent: Instant,
}

impl<W: AsyncWrite + Unpin> Outbound<'_, W> {
    async fn write(&mut self) -> End {
        loop {
            // First of all the welcome leaves, which is gathered already.
            if self.writer.is_dirty() {
                let writing = timeout(self.limits.write_timeout, self.writer.flush());
                match writing.await {
                    Ok(Ok(())) => self.sent = Instant::now(),
                    Ok(Err(error)) => return WireError::Io(error).into(),
                    Err(_) => {
                        let limit = self.limits.write_timeout;
                        return End::quiet(format!("the client has taken nothing for {limit:?}"));
                    }
                }
            }
            let beat = self.sent + self.limits.heartbeat;
            let due = self.acks.as_ref().map_or(beat, |acks| acks.due.min(beat));
            let first = tokio::select! {
                // As in what is gathered after it.
                biased;
                message = self.messages.recv() => self.on_message(message),
                Some(answer) = self.ready.recv() => self.on_answer(answer),
                () = sleep_until(due) => self.on_time(),
            };
            let gathered = match first {
                ControlFlow::Continue(()) => self.gather(),
                ended @ ControlFlow::Break(_) => ended,
            };
            let acked =
                if self.can_acks_wait() { ControlFlow::Continue(()) } else { self.push_acks() };
            if let (ControlFlow::Break(end), _) | (_, ControlFlow::Break(end)) = (gathered, acked) {
                return end;
            }
        }
    }

    /// Takes what else is ready, so that it leaves in the same write.
    fn gather(&mut self) -> ControlFlow<End> {
        for _ in 0..GATHER {
            if self.writer.pending() >= GATHER_BYTES {
                break;
            }
            if let Some(message) = self.messages.try_recv() {
                self.on_message(Some(message))?;
            } else if let Some(answer) = self.ready.try_recv() {
                self.on_answer(answer)?;
            } else {
                break;
            }
        }
        ControlFlow::Continue(())
    }

    fn on_message(&mut self, message: Option<ToSession>) -> ControlFlow<End> {
        match message {
            Some(ToSession::Command(dispatch)) => {
                self.writer.push_encoded(dispatch.frame.get_or_init(|| command_frame(&dispatch)));
                ControlFlow::Continue(())
            }
            Some(ToSession::Ack(attempt)) => {
                self.acks.get_or_insert_with(|| Box::new(Acks::soon())).attempts.push(attempt);
                ControlFlow::Continue(())
            }
            Some(ToSession::Cancel(serial)) => self.push(&ServerFrame::Cancel(Cancel { serial })),
            Some(ToSession::Close(reason)) => ControlFlow::Break(End::from(&reason)),
            // The node has let go of the connection without a word: its queue was full.
            None => ControlFlow::Break(End::from(&CloseReason::TooSlow)),
        }
    }

    /// The heartbeat of a client is answered with the server's own if that comes in the next half of
    /// its interval: the connection wakes once for both.
    fn on_answer(&mut self, answer: Answer) -> ControlFlow<End> {
        match answer {
            Answer::Reply(reply) => self.on_reply(reply),
            Answer::Stopping => {
                self.client_stops = true;
                ControlFlow::Continue(())
            }
            Answer::Heartbeat if self.writer.is_dirty() => ControlFlow::Continue(()),
            Answer::Heartbeat if self.sent.elapsed() < self.limits.heartbeat / 2 => {
                ControlFlow::Continue(())
            }
            Answer::Heartbeat => self.push(&ServerFrame::Heartbeat(Empty {})),
        }
    }

    fn on_reply(&mut self, reply: ReplyFrame) -> ControlFlow<End> {
        let id = reply.id;
        match self.writer.push(&ServerFrame::Reply(reply)) {
            Err(WireError::TooLong { length, max }) => {
                let error = format!("the reply has {length} bytes; the most is {max}");
                self.push(&ServerFrame::Reply(ReplyFrame { id, result: None, error: Some(error) }))
            }
            Err(error) => ControlFlow::Break(error.into()),
            Ok(()) => ControlFlow::Continue(()),
        }
    }

    /// The acknowledgements have waited long enough, or else a heartbeat is due.
    fn on_time(&mut self) -> ControlFlow<End> {
        match self.acks {
            None => self.push(&ServerFrame::Heartbeat(Empty {})),
            Some(_) => self.push_acks(),
        }
    }

    /// Whether the acknowledgements stay where they are: nothing else leaves, they are few, and the
    /// client does not wait for them.
    fn can_acks_wait(&self) -> bool {
        let few = self.acks.as_ref().is_none_or(|acks| acks.attempts.len() < ACKS);
        few && !self.writer.is_dirty() && !self.client_stops
    }

    fn push_acks(&mut self) -> ControlFlow<End> {
        let Some(acks) = self.acks.take() else { return ControlFlow::Continue(()) };
        let (serials, attempts) = apart(&acks.attempts);
        self.push(&ServerFrame::Ack(Ack { serials, attempts }))
    }

    fn push(&mut self, frame: &ServerFrame) -> ControlFlow<End> {
        match self.writer.push(frame) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error.into()),
        }
    }
}

fn invalid(kind: &'static str, problem: String) -> End {
    WireError::Invalid { kind, problem }.into()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The bytes of a run's command, the same for every client: they are made once.
fn command_frame(dispatch: &Dispatch) -> bytes::Bytes {
    let frame = ServerFrame::Command(CommandFrame {
        serial: dispatch.serial,
        attempt: dispatch.attempt,
        timeout_ms: dispatch.timeout.map(millis),
        command: dispatch.command.name.clone(),
        params: dispatch.command.params.clone(),
        job: dispatch.job.clone(),
        scheduled_at: dispatch.scheduled_at,
        in_turn: dispatch.in_turn,
        on_client_crash: dispatch.on_client_crash,
        priority: dispatch.priority,
        per_client: dispatch.per_client,
    });
    encode(&frame, MAX_FRAME).unwrap_or_else(|error| {
        // Parameters are limited far below a frame, so this is a fault; one run is not sent.
        tracing::error!(serial = %dispatch.serial, %error, "a command cannot be encoded");
        bytes::Bytes::new()
    })
}

fn reply(id: u64, outcome: Outcome) -> ReplyFrame {
    if outcome.state == DeliveryState::Succeeded {
        return ReplyFrame { id, result: outcome.result, error: None };
    }
    let reason = outcome.reason.unwrap_or_default();
    ReplyFrame { id, result: None, error: Some(format!("{}: {reason}", outcome.state)) }
}

fn silent(limit: Duration, unread: Option<(usize, usize)>) -> String {
    match unread {
        Some((have, want)) => {
            format!("{have} of {want} bytes of a frame came, and then nothing for {limit:?}")
        }
        None => format!("nothing was heard for {limit:?}"),
    }
}
