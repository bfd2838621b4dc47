//! A thread for what nobody waits for: it gets the processor when nothing else needs it.
//!
//! The chores read much: the index of the ledger and the statistics read all that happens once
//! more. On a busy machine they would take their time from the commits that firings wait for.
//!
//! Promises: what it is given is done in order, each to its end; the last that gives it something
//! waits for its end when it goes, so that nothing of the store is in use behind it. Imports the
//! store's trait.
//!
//! Low priority is not enough: a thread that has begun may keep its core for some milliseconds
//! before a more important one gets it. So what is read there is read through [`Pausing`]. To yield
//! after each look in place of that would starve the thread on a busy machine: Linux takes the share
//! of whoever yields away.
//!
//! On a machine that is busy all the time, what is left for this thread is not enough for a chore that
//! must keep up. It says so by its [`Hurry`]: then it works as everything else does.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::store::{Batch, Layer, Store, StoreError};

/// For how long the reader of [`Pausing`] works at a time.
const WORK: Duration = Duration::from_micros(250);

/// How long it pauses then, at least: timers are some 50 µs late.
const PAUSE: Duration = Duration::from_micros(50);

/// How nice the thread is to others: beside one that is busy all the time it gets a tenth.
const NICE: i32 = 10;

/// Whether a chore must keep up now, whatever else there is to do. By default it need not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hurry(Arc<AtomicBool>);

impl Hurry {
    pub(crate) fn set(&self, hurries: bool) {
        self.0.store(hurries, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// See the module.
#[derive(Debug)]
pub(super) struct Background {
    /// `None`: it goes.
    work: Option<Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let (work, given) = channel();
        let thread = thread::Builder::new().name("chores".into()).spawn(move || run(&given))?;
        Ok(Self { work: Some(work), thread: Some(thread) })
    }

    /// Works there. A panic comes back as such; `None`: the thread is gone.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let work = move || {
            let result = catch_unwind(AssertUnwindSafe(work));
            // Whoever asked may be gone.
            let _ = answer.send(result);
        };
        self.work.as_ref()?.send(Box::new(work)).ok()?;
        match answered.await.ok()? {
            Ok(result) => Some(result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.work = None;
        // The thread itself cannot wait for its end.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // What it was given catches its panics.
            let _ = thread.join();
        }
    }
}

/// A store whose one reader pauses a little whenever it has worked for a while, so that whoever else
/// needs the processor does not wait longer.
pub(super) struct Pausing {
    store: Arc<dyn Store>,
    /// While it is set there are no pauses.
    hurry: Hurry,
    /// The end of the last pause.
    paused: Mutex<Instant>,
}

impl Pausing {
    pub(super) fn new(store: Arc<dyn Store>, hurry: Hurry) -> Self {
        Self { store, hurry, paused: Mutex::new(Instant::now()) }
    }
}

impl Layer for Pausing {
    fn below(&self) -> &dyn Store {
        self.store.as_ref()
    }

    fn commit_through(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        self.store.commit(batches)
    }

    fn was_read(&self) {
        if self.hurry.is_set() {
            return;
        }
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.elapsed() >= WORK {
            thread::sleep(PAUSE);
            *paused = Instant::now();
        }
    }
}

fn run(given: &Receiver<Work>) {
    be_nice();
    for work in given {
        work();
    }
}

/// Elsewhere than on Linux it would be the whole process.
fn be_nice() {
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::setpriority_process(None, NICE)
    {
        tracing::warn!(%error, "the chores work at the priority of everything else");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_whose_reader_pauses_is_a_store() {
        crate::store::conformance::run(|| {
            let store = crate::store::MemoryStore::new();
            move || Pausing::new(Arc::new(store.clone()), Hurry::default())
        });
    }

    #[tokio::test]
    async fn works_in_a_thread_that_is_nice_to_others() {
        let background = Background::start().unwrap();
        let ours = rustix::process::getpriority_process(None).unwrap();
        let theirs = || rustix::process::getpriority_process(None).unwrap();
        let nice = if cfg!(target_os = "linux") { NICE.max(ours) } else { ours };
        assert_eq!(background.compute(theirs).await, Some(nice));
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), ours);
    }

    #[tokio::test]
    async fn what_was_begun_is_done_when_the_last_goes() {
        let background = Background::start().unwrap();
        let (begun, has_begun) = channel();
        let (go_on, may_go_on) = channel();
        let done = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&done);
        let mut work = Box::pin(background.compute(move || {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
            told.store(true, Ordering::SeqCst);
        }));
        // It is begun, and nobody waits for its answer any more.
        assert!(futures_util::FutureExt::now_or_never(work.as_mut()).is_none());
        has_begun.recv().unwrap();
        drop(work);
        go_on.send(()).unwrap();
        drop(background);
        assert!(done.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_panic_comes_back_and_the_next_is_done() {
        let background = std::sync::Arc::new(Background::start().unwrap());
        let other = std::sync::Arc::clone(&background);
        let work = async move { other.compute(|| panic!("a fault")).await };
        let error = tokio::spawn(work).await.unwrap_err();
        assert_eq!(error.into_panic().downcast_ref(), Some(&"a fault"));
        assert_eq!(background.compute(|| 7).await, Some(7));
    }
}
