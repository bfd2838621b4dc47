//! The handle's forecasts: the engine gives where jobs stand, and a thread of its own computes, so
//! that the loop never does.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{CallError, Handle};
use crate::engine::{
    Applied, Apply, CalendarChange, CalendarPlan, JobChange, NextChange, Outlooks, Plan, Planned,
    Reply, Request, RequestError,
};
use crate::forecast::{self, Forecast, ForecastQuery, NextFirings, Outlook};
use crate::id::JobName;
use crate::time::Timestamp;

/// Forecasts that are computed at a time; further ones wait.
pub const FORECASTS: usize = 2;

pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(FORECASTS))
}

impl Handle {
    /// The next `count` firings of a job, 1 to [`forecast::MAX_NEXT`]. Of one that is paused,
    /// those that it would have were it resumed now.
    pub async fn next_firings(&self, job: JobName, count: usize) -> Result<NextFirings, CallError> {
        forecast::check_count(count).map_err(RequestError::from)?;
        match self.call(Request::Outlook(job)).await? {
            Reply::Outlook(now, outlook) => {
                self.compute(move || forecast::next_firings(outlook, now, count)).await
            }
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }

    /// All that fires in a span, by how jobs and registry stand now. They are looked at part by
    /// part: a change in between may be in it or not.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use fleetcron::{Apply, ForecastQuery, JobSpec, Node, Rule};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let node = Node::open(directory.path())?;
    /// let rule = Rule::every(std::time::Duration::from_secs(3_600))?;
    /// let job = JobSpec::new("sweep".parse()?, "all".parse()?, "cache.sweep".parse()?, rule);
    /// node.handle().apply(Apply { jobs: vec![job], ..Apply::default() }).await?;
    ///
    /// let day = node.handle().forecast(ForecastQuery::default()).await?;
    /// assert!((23..=24).contains(&day.total.firings));
    /// assert_eq!(day.total.deliveries, 0, "no client is defined yet");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn forecast(&self, query: ForecastQuery) -> Result<Forecast, CallError> {
        let mut query = query;
        let place = Arc::clone(&self.forecasts).acquire_owned().await;
        // It is never closed.
        let _place = place.map_err(|_| CallError::Stopped)?;
        let mut part = self.outlooks(&query, None).await?;
        // The parts are all of the span that the first begins.
        let span = part.span;
        (query.from, query.to) = (Some(span.from), Some(span.to));
        let (mut outlooks, mut paused) = (part.outlooks, part.paused);
        while let Some(after) = part.after {
            part = self.outlooks(&query, Some(after)).await?;
            outlooks.append(&mut part.outlooks);
            paused += part.paused;
            forecast::earliest(&mut outlooks);
        }
        let limit = query.limit;
        self.compute(move || Forecast { paused, ..forecast::forecast(outlooks, span, limit) }).await
    }

    /// What an apply would do, with the firings that jobs have and would have.
    pub(super) async fn plan(&self, apply: Apply) -> Result<Applied, CallError> {
        match self.call(Request::Apply(apply)).await? {
            Reply::Planned(Planned { calendars, jobs }) => {
                self.compute(move || Applied {
                    calendars: calendars.into_iter().map(calendar_planned).collect(),
                    jobs: jobs.into_iter().map(planned).collect(),
                })
                .await
            }
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }

    async fn outlooks(
        &self,
        query: &ForecastQuery,
        after: Option<JobName>,
    ) -> Result<Outlooks, CallError> {
        match self.call(Request::Outlooks { query: query.clone(), after }).await? {
            Reply::Outlooks(outlooks) => Ok(outlooks),
            other => Err(CallError::UnexpectedReply(format!("{other:?}"))),
        }
    }
}

fn planned(plan: Plan) -> JobChange {
    let Plan { mut change, outlooks, now } = plan;
    change.next = outlooks.map(|(before, after)| NextChange {
        before: before.map(|outlook| next(outlook, now)).unwrap_or_default(),
        after: next(after, now),
    });
    change
}

fn calendar_planned(plan: CalendarPlan) -> CalendarChange {
    let CalendarPlan { mut change, outlooks, now } = plan;
    for (moved, (before, after)) in change.moved.iter_mut().zip(outlooks) {
        moved.next = Some(NextChange { before: next(before, now), after: next(after, now) });
    }
    change
}

fn next(outlook: Outlook, now: Timestamp) -> Vec<Timestamp> {
    forecast::next_firings(outlook, now, NextChange::SHOWN).firings
}
