//! The handle's explanations: the store tells what was, the engine what is still open.
//!
//! An explanation is read part by part as its reader takes it, away from the threads that serve
//! connections; at most [`EXPLANATIONS`] parts are read at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::Semaphore;

use super::{CallError, Handle};
use crate::engine::{Reply, Request, RequestError, WAITS, Wait};
use crate::explain::{
    ClientExplainer, ClientQuery, Delivery, InvalidExplain, Item, JobExplainer, JobQuery, Span,
    Waits,
};
use crate::history;
use crate::id::{ClientId, GroupName, Serial};
use crate::live::Progress;
use crate::store::{Store, StoreError};
use crate::time::Timestamp;

/// Parts of explanations that are read at a time; further ones wait.
pub const EXPLANATIONS: usize = 2;

pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(EXPLANATIONS))
}

/// What reads part after part.
trait Explainer: Send + Sized + 'static {
    fn part(&mut self, store: &dyn Store) -> Result<Option<Vec<Item>>, StoreError>;
}

impl Explainer for JobExplainer {
    fn part(&mut self, store: &dyn Store) -> Result<Option<Vec<Item>>, StoreError> {
        self.part(store)
    }
}

impl Explainer for ClientExplainer {
    fn part(&mut self, store: &dyn Store) -> Result<Option<Vec<Item>>, StoreError> {
        self.part(store)
    }
}

impl From<InvalidExplain> for CallError {
    fn from(error: InvalidExplain) -> Self {
        RequestError::Invalid(error.to_string()).into()
    }
}

impl Handle {
    /// Every firing that a job was to have in a span, and what became of it; then the sums.
    /// Of a name that several jobs have had, all of them. An error is the last item.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use fleetcron::explain::{Item, JobQuery};
    /// use fleetcron::{Apply, JobSpec, Node, Rule};
    /// use futures_util::TryStreamExt as _;
    ///
    /// let directory = tempfile::tempdir()?;
    /// let node = Node::open(directory.path())?;
    /// let job = JobSpec::new("once".parse()?, "all".parse()?, "sweep".parse()?, Rule::now());
    /// node.handle().apply(Apply { jobs: vec![job], ..Apply::default() }).await?;
    ///
    /// let items = node.handle().explain_job(JobQuery::new("once".parse()?));
    /// let items: Vec<Item> = items.try_collect().await?;
    /// let Some(Item::Sums(sums)) = items.last() else { panic!("the sums are the last") };
    /// assert_eq!((sums.expected, sums.unexplained), (1, 0));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn explain_job(&self, query: JobQuery) -> BoxStream<'static, Result<Item, CallError>> {
        let handle = self.clone();
        let opened = async move { handle.open_job(query).await.map(|it| (handle, it)) };
        explained(opened)
    }

    /// Every delivery that a client was to get in a span, what became of it, and when the client
    /// was away; then the sums. An error is the last item.
    #[must_use]
    pub fn explain_client(
        &self,
        query: ClientQuery,
    ) -> BoxStream<'static, Result<Item, CallError>> {
        let handle = self.clone();
        let opened = async move { handle.open_client(query).await.map(|it| (handle, it)) };
        explained(opened)
    }

    async fn open_job(&self, query: JobQuery) -> Result<JobExplainer, CallError> {
        if let (Some(client), Some(group)) = (&query.client, &query.group) {
            let (client, group) = (client.clone(), group.clone());
            return Err(InvalidExplain::Both { client, group }.into());
        }
        let (now, _) = self.waits(Vec::new()).await?;
        let span = Span::of(query.since, query.until, now)?;
        if let Some(client) = &query.client {
            self.known_client(client).await?;
        }
        if let Some(group) = &query.group {
            self.known_group(group).await?;
        }
        self.past(query.job.clone(), move |store, _, live| {
            JobExplainer::open(store, query, live, span, now)
        })
        .await
    }

    async fn open_client(&self, query: ClientQuery) -> Result<ClientExplainer, CallError> {
        let (now, _) = self.waits(Vec::new()).await?;
        let span = Span::of(query.since, query.until, now)?;
        let id = query.client.clone();
        let found = self.read(move |store| ClientExplainer::open(store, query, span)).await?;
        match found {
            Some(explainer) => Ok(explainer),
            None => Err(self.unknown_client(&id).await),
        }
    }

    /// What open deliveries wait for, and the node's own time.
    async fn waits(
        &self,
        deliveries: Vec<(Serial, ClientId)>,
    ) -> Result<(Timestamp, Vec<Option<Wait>>), CallError> {
        match self.call(Request::Waits(deliveries)).await? {
            Reply::Waits(now, waits) => Ok((now, waits)),
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }

    /// That a client is in the registry, or was.
    async fn known_client(&self, id: &ClientId) -> Result<(), CallError> {
        let asked = id.clone();
        let no = self.read(move |store| crate::store::records::client_no(store, &asked)).await?;
        if no.is_some() { Ok(()) } else { Err(self.unknown_client(id).await) }
    }

    /// The refusal of a client that never was.
    async fn unknown_client(&self, id: &ClientId) -> CallError {
        let refused = self.client(id.clone()).await.err();
        refused.unwrap_or_else(|| {
            let (what, name) = ("client", id.to_string());
            RequestError::NotFound { what, name, suggestion: None }.into()
        })
    }

    async fn known_group(&self, group: &GroupName) -> Result<(), CallError> {
        let page = crate::engine::Page { after: None, limit: 1 };
        self.clients(page, Some(group.clone())).await.map(drop)
    }

    async fn part<E: Explainer>(&self, explainer: E) -> Result<Option<(Vec<Item>, E)>, CallError> {
        let mut explainer = explainer;
        let place = Arc::clone(&self.explanations).acquire_owned().await;
        // It is never closed.
        let _place = place.map_err(|_| CallError::Stopped)?;
        let read = self.read(move |store| {
            let items = explainer.part(store)?;
            Ok(items.map(|items| (items, explainer)))
        });
        let Some((mut items, explainer)) = read.await? else { return Ok(None) };
        self.tell_open(&mut items).await?;
        Ok(Some((items, explainer)))
    }

    /// Fills in what the engine knows of the deliveries that are open.
    async fn tell_open(&self, items: &mut [Item]) -> Result<(), CallError> {
        let mut open: Vec<(Serial, &mut Delivery)> = items.iter_mut().flat_map(open_of).collect();
        let mut progress: BTreeMap<Serial, BTreeMap<ClientId, Progress>> = BTreeMap::new();
        for some in open.chunks_mut(WAITS) {
            let asked = some.iter().map(|(serial, it)| (*serial, it.client.clone())).collect();
            let (_, waits) = self.waits(asked).await?;
            for ((serial, delivery), wait) in some.iter_mut().zip(waits) {
                let Some(wait) = wait else {
                    self.ended_since(*serial, delivery).await?;
                    continue;
                };
                let board = progress.entry(*serial);
                let board = board.or_insert_with(|| self.live.progress(*serial));
                delivery.state = wait.state;
                delivery.attempt = (wait.attempt != 1).then_some(wait.attempt);
                delivery.waits = Some(Waits {
                    ahead: wait.ahead,
                    away_since: wait.away_since,
                    away: wait.away,
                    reason: wait.reason.map(str::to_owned),
                    not_before: wait.not_before,
                    progress: board.get(&delivery.client).cloned(),
                });
            }
        }
        Ok(())
    }

    /// A delivery has ended since the store was read.
    async fn ended_since(&self, serial: Serial, delivery: &mut Delivery) -> Result<(), CallError> {
        let client = delivery.client.clone();
        let response = self.read(move |store| history::response(store, serial, &client)).await?;
        if let Some(response) = response {
            delivery.state = response.outcome.state;
            delivery.at = Some(response.at);
            delivery.reason = response.outcome.reason;
            delivery.ran_ms = response.outcome.ran_ms;
        }
        Ok(())
    }
}

/// The open deliveries of an item.
fn open_of(item: &mut Item) -> Vec<(Serial, &mut Delivery)> {
    let is_open = |delivery: &&mut Delivery| !delivery.state.is_end();
    match item {
        Item::Firing(firing) => {
            let serial = firing.serial;
            firing.deliveries.iter_mut().filter(is_open).map(|it| (serial, it)).collect()
        }
        Item::Delivery(one) if !one.delivery.state.is_end() => {
            vec![(one.serial, &mut one.delivery)]
        }
        _ => Vec::new(),
    }
}

/// The items as their reader takes them.
fn explained<E: Explainer>(
    opened: impl Future<Output = Result<(Handle, E), CallError>> + Send + 'static,
) -> BoxStream<'static, Result<Item, CallError>> {
    enum At<E, F> {
        Begin(F),
        Part(Handle, Option<E>, VecDeque<Item>),
    }
    stream::try_unfold(At::Begin(Box::pin(opened)), |mut at| async move {
        loop {
            at = match at {
                At::Begin(opened) => {
                    let (handle, explainer) = opened.await?;
                    At::Part(handle, Some(explainer), VecDeque::new())
                }
                At::Part(handle, explainer, mut items) => {
                    if let Some(item) = items.pop_front() {
                        return Ok(Some((item, At::Part(handle, explainer, items))));
                    }
                    let Some(explainer) = explainer else { return Ok(None) };
                    match handle.part(explainer).await? {
                        Some((items, explainer)) => At::Part(handle, Some(explainer), items.into()),
                        None => At::Part(handle, None, VecDeque::new()),
                    }
                }
            };
        }
    })
    .boxed()
}
