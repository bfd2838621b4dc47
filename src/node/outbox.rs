//! A queue between tasks that costs next to nothing while it is empty.
//!
//! Each connection has two of them, and most connections are idle most of the time. A channel of
//! tokio's holds a block of 32 messages and some cache lines from its beginning; of fifteen
//! thousand idle connections that was a fifth of all memory.
//!
//! Promises: messages come in the order in which they were sent, and never more than the limit
//! wait; what was sent before the last sender went is still received; a sender that waits for room
//! waits no longer when the receiver goes. Memory is given back when the queue is empty again.
//! Imports nothing of fleetcron.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Room for messages that an empty queue keeps.
const KEEP: usize = 8;

/// A queue of at most `limit` messages, at least one; its two ends.
#[must_use]
pub fn outbox<T>(limit: usize) -> (Outlet<T>, Outbox<T>) {
    let queue = Arc::new(Mutex::new(Queue {
        messages: VecDeque::new(),
        // A limit that is higher than that is none.
        limit: u32::try_from(limit.max(1)).unwrap_or(u32::MAX),
        senders: 1,
        received: true,
        receiver: None,
        blocked: None,
    }));
    (Outlet(Arc::clone(&queue)), Outbox(queue))
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// So many wait that the limit is reached.
    #[error("the queue is full")]
    Full,
    /// The receiver has gone.
    #[error("nobody receives from the queue")]
    Closed,
}

#[derive(Debug)]
struct Queue<T> {
    messages: VecDeque<T>,
    limit: u32,
    senders: u32,
    /// Whether there is a receiver.
    received: bool,
    /// Whom to wake when a message comes.
    receiver: Option<Waker>,
    /// Whom to wake when there is room.
    blocked: Blocked,
}

/// Nobody is, nearly always: so it is boxed.
type Blocked = Option<Box<Vec<Waker>>>;

impl<T> Queue<T> {
    fn put(&mut self, message: T) -> Result<Option<Waker>, (NotTaken, T)> {
        if !self.received {
            return Err((NotTaken::Closed, message));
        }
        if self.messages.len() >= self.limit as usize {
            return Err((NotTaken::Full, message));
        }
        self.messages.push_back(message);
        Ok(self.receiver.take())
    }

    fn take(&mut self) -> Option<(T, Blocked)> {
        let message = self.messages.pop_front()?;
        if self.messages.is_empty() && self.messages.capacity() > KEEP {
            self.messages = VecDeque::new();
        }
        Some((message, self.blocked.take()))
    }
}

/// What one end does with the queue lasts a few moves of memory, so a panic leaves it whole.
fn lock<T>(queue: &Mutex<Queue<T>>) -> MutexGuard<'_, Queue<T>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: Option<Waker>) {
    waker.into_iter().for_each(Waker::wake);
}

fn wake_all(blocked: Blocked) {
    blocked.into_iter().flat_map(|all| *all).for_each(Waker::wake);
}

/// The end that sends.
#[derive(Debug)]
pub struct Outlet<T>(Arc<Mutex<Queue<T>>>);

impl<T> Outlet<T> {
    /// Sends a message if there is room for it.
    ///
    /// # Errors
    /// [`NotTaken::Full`] at the limit, [`NotTaken::Closed`] when nobody receives any more.
    pub fn try_send(&self, message: T) -> Result<(), NotTaken> {
        let put = lock(&self.0).put(message);
        put.map(wake).map_err(|(why, _)| why)
    }

    /// Sends a message as soon as there is room for it.
    ///
    /// # Errors
    /// [`NotTaken::Closed`] when nobody receives any more; never [`NotTaken::Full`].
    pub async fn send(&self, message: T) -> Result<(), NotTaken> {
        let mut message = Some(message);
        poll_fn(|context| self.poll_send(&mut message, context)).await
    }

    fn poll_send(
        &self,
        message: &mut Option<T>,
        context: &Context<'_>,
    ) -> Poll<Result<(), NotTaken>> {
        let Some(one) = message.take() else { return Poll::Ready(Ok(())) };
        let mut queue = lock(&self.0);
        let put = match queue.put(one) {
            Ok(receiver) => Ok(receiver),
            Err((NotTaken::Full, one)) => {
                *message = Some(one);
                queue.blocked.get_or_insert_default().push(context.waker().clone());
                return Poll::Pending;
            }
            Err((why, _)) => Err(why),
        };
        drop(queue);
        Poll::Ready(put.map(wake))
    }
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        lock(&self.0).senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Outlet<T> {
    fn drop(&mut self) {
        let mut queue = lock(&self.0);
        queue.senders -= 1;
        let receiver = if queue.senders == 0 { queue.receiver.take() } else { None };
        drop(queue);
        wake(receiver);
    }
}

/// The end that receives.
#[derive(Debug)]
pub struct Outbox<T>(Arc<Mutex<Queue<T>>>);

impl<T> Outbox<T> {
    /// The next message; `None` when there is none and all senders have gone. Nothing is lost when
    /// the future is dropped.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// The next message if one is there.
    pub fn try_recv(&mut self) -> Option<T> {
        let taken = lock(&self.0).take();
        let (message, blocked) = taken?;
        wake_all(blocked);
        Some(message)
    }

    fn poll_recv(&mut self, context: &Context<'_>) -> Poll<Option<T>> {
        let mut queue = lock(&self.0);
        if let Some((message, blocked)) = queue.take() {
            drop(queue);
            wake_all(blocked);
            return Poll::Ready(Some(message));
        }
        if queue.senders == 0 {
            return Poll::Ready(None);
        }
        match &mut queue.receiver {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl<T> Drop for Outbox<T> {
    fn drop(&mut self) {
        let mut queue = lock(&self.0);
        queue.received = false;
        let (messages, blocked) = (std::mem::take(&mut queue.messages), queue.blocked.take());
        drop(queue);
        // What a message holds may be an end of a queue itself.
        drop(messages);
        wake_all(blocked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_come_in_order_from_whoever_sent_them() {
        let (outlet, mut outbox) = outbox(100);
        let other = outlet.clone();
        for n in 0..10 {
            if n % 2 == 0 { &outlet } else { &other }.try_send(n).unwrap();
        }
        drop((outlet, other));
        for n in 0..10 {
            assert_eq!(outbox.recv().await, Some(n));
        }
        assert_eq!(outbox.recv().await, None, "all senders have gone");
    }

    #[tokio::test]
    async fn a_receiver_that_waits_is_woken_by_a_message_and_by_the_end() {
        let (outlet, mut outbox) = outbox(1);
        let receiving = tokio::spawn(async move {
            let first = outbox.recv().await;
            (first, outbox.recv().await)
        });
        tokio::task::yield_now().await;
        outlet.try_send('a').unwrap();
        while outlet.try_send('b') == Err(NotTaken::Full) {
            tokio::task::yield_now().await;
        }
        drop(outlet);
        assert_eq!(receiving.await.unwrap(), (Some('a'), Some('b')));

        let (outlet, mut outbox) = super::outbox::<()>(1);
        let receiving = tokio::spawn(async move { outbox.recv().await });
        tokio::task::yield_now().await;
        drop(outlet);
        assert_eq!(receiving.await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_full_queue_takes_no_more_until_there_is_room() {
        let (outlet, mut outbox) = outbox(2);
        assert_eq!((outlet.try_send(1), outlet.try_send(2)), (Ok(()), Ok(())));
        assert_eq!(outlet.try_send(3), Err(NotTaken::Full));
        let waiting: Vec<_> = (3..6)
            .map(|n| {
                let outlet = outlet.clone();
                tokio::spawn(async move { outlet.send(n).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let mut came = Vec::new();
        while came.len() < 5 {
            came.extend(outbox.recv().await);
        }
        assert_eq!(came[..2], [1, 2]);
        came.sort_unstable();
        assert_eq!(came, [1, 2, 3, 4, 5], "nothing is lost or doubled");
        for one in waiting {
            assert_eq!(one.await.unwrap(), Ok(()));
        }
        assert_eq!(outbox.try_recv(), None);
    }

    #[tokio::test]
    async fn senders_learn_that_nobody_receives() {
        let (outlet, outbox) = outbox(1);
        outlet.try_send(1).unwrap();
        let other = outlet.clone();
        let waiting = tokio::spawn(async move { other.send(2).await });
        tokio::task::yield_now().await;
        drop(outbox);
        assert_eq!(waiting.await.unwrap(), Err(NotTaken::Closed));
        assert_eq!(outlet.try_send(3), Err(NotTaken::Closed));
        assert_eq!(outlet.send(4).await, Err(NotTaken::Closed));
    }

    #[test]
    fn an_empty_queue_is_small_and_holds_nothing() {
        // With its lock and two counts it takes 96 bytes.
        assert!(size_of::<Mutex<Queue<u128>>>() <= 80, "{}", size_of::<Queue<u128>>());
        let (outlet, mut outbox) = outbox(1_000);
        (0..1_000).for_each(|n| outlet.try_send(n).unwrap());
        while outbox.try_recv().is_some() {}
        assert!(lock(&outbox.0).messages.capacity() <= KEEP);
    }
}
