//! Those who watch a run: each has a queue of its own, so that a slow one is a trouble to nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::{BEHIND, LiveBoard, LiveDelivery, lock};
use crate::id::{ClientId, Serial};
use crate::live::Live;

/// Why nothing more can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchEnd {
    /// The run has ended.
    RunEnded,
    /// The node has stopped.
    Stopped,
}

/// What waits for one who watches.
#[derive(Debug)]
pub(super) struct Watcher {
    client: Option<ClientId>,
    queue: Mutex<Queue>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Arc<Live>>,
    cost: usize,
    missed: u64,
    end: Option<WatchEnd>,
}

impl Watcher {
    pub(super) fn wants(&self, client: &ClientId) -> bool {
        self.client.as_ref().is_none_or(|wanted| wanted == client)
    }

    /// Adds something, or counts it as missed: once one is, so are those after it, until the
    /// queue is empty and the count can be told in its place.
    pub(super) fn push(&self, live: Arc<Live>) {
        let mut queue = lock(&self.queue);
        let cost = live.cost();
        if queue.missed > 0 || queue.cost + cost > BEHIND {
            queue.missed += 1;
        } else {
            queue.cost += cost;
            queue.items.push_back(live);
        }
        drop(queue);
        self.news.notify_one();
    }

    pub(super) fn end(&self, end: WatchEnd) {
        lock(&self.queue).end.get_or_insert(end);
        self.news.notify_one();
    }

    fn take(&self) -> Option<Arc<Live>> {
        let mut queue = lock(&self.queue);
        if let Some(live) = queue.items.pop_front() {
            queue.cost -= live.cost();
            return Some(live);
        }
        let count = std::mem::take(&mut queue.missed);
        (count > 0).then(|| Arc::new(Live::Missed { count }))
    }

    fn ended(&self) -> Option<WatchEnd> {
        lock(&self.queue).end
    }
}

/// One who watches a run: what is kept of it first, then what comes. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    board: LiveBoard,
    serial: Serial,
    watcher: Arc<Watcher>,
    /// Deliveries whose tails are still to be shown: one after the other, so that they do not
    /// all stand in the queue.
    joining: VecDeque<Arc<LiveDelivery>>,
}

impl LiveBoard {
    /// Watches a run, or one client's delivery of it.
    #[must_use]
    pub fn watch(&self, serial: Serial, client: Option<ClientId>) -> Watch {
        let watcher = Watcher { client, queue: Mutex::default(), news: Notify::new() };
        let watcher = Arc::new(watcher);
        let mut board = lock(&self.0.board);
        if board.stopped {
            watcher.end(WatchEnd::Stopped);
        }
        let run = board.runs.entry(serial).or_default();
        run.watchers.push(Arc::downgrade(&watcher));
        let wanted = |(client, _): &(&ClientId, _)| watcher.wants(client);
        let wanted = run.deliveries.iter().filter(wanted);
        let joining = wanted.map(|(_, delivery)| Arc::clone(delivery)).collect();
        self.0.count_runs(&board);
        drop(board);
        Watch { board: self.clone(), serial, watcher, joining }
    }
}

impl Watch {
    /// What is kept and not shown yet; `None`: all of it has been shown.
    pub fn kept(&mut self) -> Option<Arc<Live>> {
        loop {
            if let Some(live) = self.watcher.take() {
                return Some(live);
            }
            self.joining.pop_front()?.join(&self.watcher);
        }
    }

    /// The next thing to see; the error says why there is no more. May be dropped and called
    /// again.
    pub async fn next(&mut self) -> Result<Arc<Live>, WatchEnd> {
        loop {
            // Asked before taking: what came before the end is shown.
            let end = self.watcher.ended();
            if let Some(live) = self.kept() {
                return Ok(live);
            }
            if let Some(end) = end {
                return Err(end);
            }
            self.watcher.news.notified().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut board = lock(&self.board.0.board);
        if let Some(run) = board.runs.get_mut(&self.serial) {
            run.watchers.retain(|watcher| watcher.as_ptr() != Arc::as_ptr(&self.watcher));
        }
        board.forget_if_empty(self.serial);
        self.board.0.count_runs(&board);
    }
}
