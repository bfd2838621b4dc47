//! Watching runs: events say that something is new, the store says what.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::broadcast::{self, error::RecvError};

use super::live::{Watch, WatchEnd};
use super::{CallError, Handle};
use crate::engine::{Event, What};
use crate::history;
use crate::id::{ClientId, Serial};
use crate::live::Live;
use crate::run::{Response, Run};

impl Handle {
    /// The responses recorded so far, in the order in which they were recorded.
    #[must_use]
    pub fn responses(&self, serial: Serial) -> BoxStream<'static, Result<Response, CallError>> {
        Follow::stream(self, serial, false)
    }

    /// The responses recorded so far and those to come, until the run has ended.
    #[must_use]
    pub fn follow(&self, serial: Serial) -> BoxStream<'static, Result<Response, CallError>> {
        Follow::stream(self, serial, true)
    }

    /// What is seen of a run's open deliveries, or of one client's: what is kept, and with
    /// `follow` what comes until the run has ended.
    #[must_use]
    pub fn output(
        &self,
        serial: Serial,
        client: Option<ClientId>,
        follow: bool,
    ) -> BoxStream<'static, Result<Arc<Live>, CallError>> {
        let handle = self.clone();
        let opened = async move {
            // Before the look at the run, so that its end does not fall between.
            let watch = handle.live.watch(serial, client);
            let ended = handle.run(serial).await?.ended_at.is_some();
            Ok::<_, CallError>((watch, follow && !ended))
        };
        let shown = |(watch, follow): (Watch, bool)| {
            stream::try_unfold(watch, move |mut watch| async move {
                if !follow {
                    return Ok(watch.kept().map(|live| (live, watch)));
                }
                match watch.next().await {
                    Ok(live) => Ok(Some((live, watch))),
                    Err(WatchEnd::RunEnded) => Ok(None),
                    Err(WatchEnd::Stopped) => Err(CallError::Stopped),
                }
            })
        };
        stream::once(opened).map_ok(shown).try_flatten().boxed()
    }

    /// Waits for a run's end.
    pub async fn wait(&self, serial: Serial) -> Result<Run, CallError> {
        let mut events = self.subscribe();
        loop {
            let run = self.run(serial).await?;
            if run.ended_at.is_some() {
                return Ok(run);
            }
            news(
                &mut events,
                |what| matches!(what, What::RunEnded { serial: ended, .. } if *ended == serial),
            )
            .await?;
        }
    }

    /// What happens from now on; ends when the node stops. A watcher that falls behind by
    /// [`super::EVENTS`] goes on with what is newest.
    #[must_use]
    pub fn events(&self) -> BoxStream<'static, Result<Arc<Event>, CallError>> {
        stream::unfold(self.subscribe(), |mut events| async move {
            loop {
                match events.recv().await {
                    Ok(event) => return Some((Ok(event), events)),
                    Err(RecvError::Lagged(lost)) => {
                        tracing::warn!(lost, "a watcher of events is too slow");
                    }
                    Err(RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }
}

/// Waits until an event is of interest, or some were lost and it may have been among them.
pub(super) async fn news(
    events: &mut broadcast::Receiver<Arc<Event>>,
    interesting: impl Fn(&What) -> bool,
) -> Result<(), CallError> {
    loop {
        match events.recv().await {
            Ok(event) if interesting(&event.what) => return Ok(()),
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return Ok(()),
            Err(RecvError::Closed) => return Err(CallError::Stopped),
        }
    }
}

/// A reader of a run's pages, one after the other.
struct Follow {
    handle: Handle,
    serial: Serial,
    /// Present if the reader waits for what is still to come.
    events: Option<broadcast::Receiver<Arc<Event>>>,
    next_page: u32,
    buffer: VecDeque<Response>,
    ended: bool,
}

impl Follow {
    fn stream(
        handle: &Handle,
        serial: Serial,
        wait: bool,
    ) -> BoxStream<'static, Result<Response, CallError>> {
        let follow = Self {
            handle: handle.clone(),
            serial,
            // From before the first read, so that nothing falls between.
            events: wait.then(|| handle.subscribe()),
            next_page: 0,
            buffer: VecDeque::new(),
            ended: false,
        };
        stream::try_unfold(follow, |mut follow| async move {
            Ok(follow.next().await?.map(|response| (response, follow)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Response>, CallError> {
        loop {
            if let Some(response) = self.buffer.pop_front() {
                return Ok(Some(response));
            }
            // Asked before reading: a run that has ended gets no further pages.
            self.ended = self.ended || self.handle.run(self.serial).await?.ended_at.is_some();
            let (serial, from) = (self.serial, self.next_page);
            let page =
                self.handle.read(move |store| history::responses(store, serial, from)).await?;
            self.next_page = page.next_page;
            self.buffer = page.responses.into();
            if !self.buffer.is_empty() {
                continue;
            }
            match &mut self.events {
                Some(events) if !self.ended => {
                    news(events, |what| concerns(what, serial)).await?;
                }
                _ => return Ok(None),
            }
        }
    }
}

fn concerns(what: &What, serial: Serial) -> bool {
    match what {
        What::RunEnded { serial: ended, .. } => *ended == serial,
        What::DeliveryEnded { response, .. } | What::AttemptEnded { response, .. } => {
            response.serial == serial
        }
        _ => false,
    }
}
