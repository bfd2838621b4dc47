//! How much history there is in all, by the minute in which runs were due: what the limits of
//! number and bytes need. It is made by reading every run once, and kept by looking again at the
//! minutes of which a run has ended since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use super::steps::Pace;
use crate::engine::What;
use crate::id::Serial;
use crate::node::{CallError, Handle};
use crate::time::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

/// Runs and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) runs: u64,
    pub(super) bytes: u64,
}

/// Minutes that are to be looked at again.
#[derive(Debug)]
struct Changed {
    minutes: BTreeSet<i64>,
    /// Events were lost: all are.
    all: bool,
}

/// What is kept, by minute; some 40 bytes for each that has runs.
#[derive(Debug)]
pub(super) struct Book {
    minutes: BTreeMap<i64, Amount>,
    changed: Arc<Mutex<Changed>>,
}

impl Book {
    /// An empty book. It hears of every run that ends from now on; [`Book::update`] reads what
    /// there is.
    pub(super) fn open(handle: &Handle) -> Self {
        let changed = Arc::new(Mutex::new(Changed { minutes: BTreeSet::new(), all: true }));
        let mut events = handle.subscribe();
        let heard = Arc::downgrade(&changed);
        // It ends with the node, or with the first event after the book is gone.
        tokio::spawn(async move {
            loop {
                let event = events.recv().await;
                let Some(changed) = heard.upgrade() else { return };
                let mut changed = changed.lock().unwrap_or_else(PoisonError::into_inner);
                match event {
                    Ok(event) => {
                        if let What::RunEnded { serial, .. } = &event.what {
                            changed.minutes.insert(minute(serial.time()));
                        }
                    }
                    Err(RecvError::Lagged(_)) => changed.all = true,
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Self { minutes: BTreeMap::new(), changed }
    }

    /// Reads what may have changed.
    pub(super) async fn update(&mut self, handle: &Handle, pace: &Pace) -> Result<(), CallError> {
        let changed = {
            let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *changed, Changed { minutes: BTreeSet::new(), all: false })
        };
        let done = self.read(&changed, handle, pace).await;
        if !matches!(done, Ok(true)) {
            self.changed.lock().unwrap_or_else(PoisonError::into_inner).all = true;
        }
        done.map(drop)
    }

    /// Tells whether it has read all of it.
    async fn read(
        &mut self,
        changed: &Changed,
        handle: &Handle,
        pace: &Pace,
    ) -> Result<bool, CallError> {
        let spans: Vec<_> = if changed.all {
            self.minutes.clear();
            vec![Timestamp::from_millis(0)..Timestamp::MAX]
        } else {
            for minute in &changed.minutes {
                self.minutes.remove(minute);
            }
            changed.minutes.iter().map(|minute| begin(*minute)..begin(minute + 1)).collect()
        };
        for span in spans {
            let mut after = None;
            loop {
                if pace.is_stopping() {
                    return Ok(false);
                }
                let census = pace.step(handle.census(span.clone(), after)).await?;
                for run in &census.runs {
                    let amount = self.minutes.entry(minute(run.serial.time())).or_default();
                    amount.runs += 1;
                    amount.bytes = amount.bytes.saturating_add(run.bytes);
                }
                after = census.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(true)
    }

    /// Takes a run out that is forgotten.
    pub(super) fn forgotten(&mut self, serial: Serial, bytes: u64) {
        let at = minute(serial.time());
        if let Some(amount) = self.minutes.get_mut(&at) {
            amount.runs = amount.runs.saturating_sub(1);
            amount.bytes = amount.bytes.saturating_sub(bytes);
            if amount.runs == 0 {
                self.minutes.remove(&at);
            }
        }
    }

    /// All that is kept.
    pub(super) fn total(&self) -> Amount {
        self.minutes.values().fold(Amount::default(), |sum, amount| Amount {
            runs: sum.runs + amount.runs,
            bytes: sum.bytes.saturating_add(amount.bytes),
        })
    }

    /// A serial before every ended run; `None`: there is none.
    pub(super) fn start(&self) -> Option<Serial> {
        let (first, _) = self.minutes.first_key_value()?;
        Some(Serial::from_parts(begin(*first).minus(Duration::from_millis(1)), u128::MAX))
    }
}

fn minute(at: Timestamp) -> i64 {
    at.millis().div_euclid(60_000)
}

fn begin(minute: i64) -> Timestamp {
    Timestamp::from_millis(0).plus(MINUTE * u32::try_from(minute).unwrap_or(u32::MAX))
}
