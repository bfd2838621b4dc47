//! The handle's reads of the ledger: by page, as one stream, and as it grows.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

use super::{CallError, Handle};
use crate::engine::{Event, Reply, Request, RequestError, What};
use crate::history::{
    Cursor, EventOrder, EventPage, EventQuery, EventReader, IndexStep, MAX_EVENTS, Recorded,
};
use crate::store::{Store, ledger, records};

impl Handle {
    /// A page of the events of the ledger. A group has the members that it has now.
    ///
    /// Refused are a query that nothing can meet, a group or a client that is not known, and a
    /// job that is not known and of which the ledger has nothing.
    pub async fn history(&self, query: EventQuery) -> Result<EventPage, CallError> {
        let (job, begins) = (query.job.clone(), query.after.is_none());
        let mut reader = self.event_reader(query).await?;
        let page = self.read(move |store| reader.read(store)).await?;
        if let Some(job) = job
            && begins
            && page.events.is_empty()
            && page.next.is_none()
        {
            self.past(job, |_, _, _| Ok(())).await?;
        }
        Ok(page)
    }

    /// All events that a query asks for, or the first `limit` of them, as they are read. However
    /// many there are, about a page of them is in memory.
    #[must_use]
    pub fn export_history(
        &self,
        query: EventQuery,
    ) -> BoxStream<'static, Result<Recorded, CallError>> {
        Export::stream(self, query, None)
    }

    /// The events that a query asks for and those to come, the oldest first; without `from` and
    /// `after` only those to come. None is left out and none comes twice. It ends after `limit`
    /// events, or when the node has stopped.
    ///
    /// Refused is a query with the newest first, or with a `to`: it would never come there.
    #[must_use]
    pub fn follow_history(
        &self,
        query: EventQuery,
    ) -> BoxStream<'static, Result<Recorded, CallError>> {
        // From before the first read, so that nothing falls between.
        Export::stream(self, query, Some(self.subscribe()))
    }

    /// Indexes the segments of the ledger that are complete and not indexed yet, `most` at most,
    /// and tells how many it has. Queries do not need it, and are faster with it.
    pub(crate) async fn index_history(&self, most: usize) -> Result<usize, CallError> {
        for made in 0..most {
            let Some(step) = self.read(IndexStep::next).await? else { return Ok(made) };
            for batch in step.batches {
                self.write_derived(batch).await?;
            }
        }
        Ok(most)
    }

    /// How many events there have ever been.
    pub(crate) async fn events_so_far(&self) -> Result<u64, CallError> {
        Ok(self.read(ledger::Head::of).await?.next_event - 1)
    }

    /// Refuses what the streams would refuse.
    pub(crate) async fn check_history(&self, query: &EventQuery) -> Result<(), CallError> {
        self.event_reader(query.clone()).await.map(drop)
    }

    async fn event_reader(&self, query: EventQuery) -> Result<EventReader, CallError> {
        query.check().map_err(|problem| RequestError::Invalid(problem.to_string()))?;
        let members = match &query.group {
            None => None,
            Some(group) => match self.call(Request::Members(group.clone())).await? {
                Reply::Members(members) => Some(members),
                other => return Err(CallError::UnexpectedReply(format!("{other:?}"))),
            },
        };
        if let Some(id) = query.client.clone() {
            let client = id.clone();
            if self.read(move |store| records::client_no(store, &client)).await?.is_none() {
                // The refusal names one that may have been meant.
                self.client(id).await?;
            }
        }
        self.read(move |store| EventReader::new(store, query, members)).await
    }
}

/// A reader of page after page.
struct Export {
    handle: Handle,
    /// Until the first page is read.
    query: Option<EventQuery>,
    reader: Option<EventReader>,
    buffer: VecDeque<Recorded>,
    /// Whether the ledger has no more for now.
    at_end: bool,
    /// Events that may still be given; `None`: all.
    left: Option<usize>,
    /// Present if what is to come is waited for.
    news: Option<broadcast::Receiver<Arc<Event>>>,
    /// The server's stop was told: what is read then is the end.
    stopped: bool,
}

impl Export {
    fn stream(
        handle: &Handle,
        query: EventQuery,
        news: Option<broadcast::Receiver<Arc<Event>>>,
    ) -> BoxStream<'static, Result<Recorded, CallError>> {
        let export = Self {
            handle: handle.clone(),
            left: query.limit,
            query: Some(query),
            reader: None,
            buffer: VecDeque::new(),
            at_end: false,
            news,
            stopped: false,
        };
        stream::try_unfold(export, |mut export| async move {
            Ok(export.next().await?.map(|event| (event, export)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Recorded>, CallError> {
        if self.left == Some(0) {
            return Ok(None);
        }
        loop {
            if let Some(event) = self.buffer.pop_front() {
                self.left = self.left.map(|left| left - 1);
                return Ok(Some(event));
            }
            if self.at_end && (self.stopped || !self.wait().await) {
                return Ok(None);
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), CallError> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.begin().await?,
        };
        reader.set_page(self.left.unwrap_or(MAX_EVENTS).min(MAX_EVENTS));
        let read = move |store: &dyn Store| Ok((reader.read(store)?, reader));
        let (page, reader) = self.handle.read(read).await?;
        self.at_end = page.next.is_none();
        self.buffer = page.events.into();
        self.reader = Some(reader);
        Ok(())
    }

    async fn begin(&mut self) -> Result<EventReader, CallError> {
        let mut query = self.query.take().unwrap_or_default();
        if self.news.is_some() {
            if query.order == EventOrder::Newest || query.to.is_some() {
                let message =
                    "what is to come is followed with the oldest first and without an end";
                return Err(RequestError::Invalid(message.to_owned()).into());
            }
            if query.from.is_none() && query.after.is_none() {
                let head = self.handle.read(ledger::Head::of).await?;
                query.after = Some(Cursor(head.next_event - 1));
            }
        }
        self.handle.event_reader(query).await
    }

    /// Waits until something has happened; `false`: nothing will be waited for.
    async fn wait(&mut self) -> bool {
        let Some(news) = &mut self.news else { return false };
        let mut told = news.recv().await;
        loop {
            // All that is there already is read at once.
            match told {
                Ok(event) => self.stopped |= is_stop(&event.what),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => self.stopped = true,
            }
            told = match news.try_recv() {
                Ok(event) => Ok(event),
                Err(TryRecvError::Lagged(lost)) => Err(RecvError::Lagged(lost)),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return true,
            };
        }
    }
}

fn is_stop(what: &What) -> bool {
    matches!(what, What::Server { change, .. } if change == "stopped")
}
