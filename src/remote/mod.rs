//! A node over HTTP: the same methods with the same types as [`crate::node::Handle`].
//!
//! Promises: the server's words are passed on as they are; a stream that ends too early is an
//! error, never a short answer. Speaks plain HTTP; TLS is a proxy's part.
//!
//! May import the domain types, `engine`, `explain`, `history` and the bodies of `api`.

mod error;
mod explain;
mod history;
mod http;
mod lines;
mod past;
mod replay;
mod rollout;
mod statistics;
mod store;
mod streams;
#[cfg(test)]
mod tests;

use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;

use crate::api::message::{
    ClientRequest, GroupsChange, LabelsChange, LimitChange, NewClientView, PauseRequest,
    ResumeRequest,
};
use crate::calendar::{Calendar, CalendarView};
use crate::client_record::ClientView;
use crate::engine::{
    Applied, Apply, CalendarChange, ClientLimit, OpenDelivery, Page, Pause, Regroup, Relabel,
    Status,
};
use crate::forecast::{Forecast, ForecastQuery, NextFirings};
use crate::history::RunQuery;
use crate::id::{CalendarName, ClientId, GroupName, JobName, Serial};
use crate::idempotency::Submitted;
use crate::job::JobView;
use crate::pause::{JobSelection, PauseTerms, SelectionChange};
use crate::run::{LateAnswer, Response, Run, Submission};
use http::Http;

pub use error::RemoteError;
pub use lines::MAX_LINE;
pub use store::ByteStream;

/// The way to a node over HTTP. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    http: Http,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("server", &self.http.base()).finish_non_exhaustive()
    }
}

impl Remote {
    /// The way to the node at `base_url`, such as `http://127.0.0.1:7401`. Connects to nothing
    /// yet.
    pub fn new(base_url: &str, token: &str) -> Result<Self, RemoteError> {
        Ok(Self { http: Http::new(base_url, token)? })
    }

    /// Runs a command now. The run is durable when this returns. It has not ended, unless the
    /// submission says by what it is known again and is: see [`Remote::submit_once`].
    pub async fn submit(&self, submission: Submission) -> Result<Run, RemoteError> {
        Ok(self.submit_once(submission).await?.run)
    }

    /// Runs a command now, or gives back the run of an earlier submit by the submission's
    /// `idempotency_key` or `unique_within`, as it stands; the answer tells which.
    pub async fn submit_once(&self, submission: Submission) -> Result<Submitted, RemoteError> {
        let request = self.http.request(Method::POST, &["runs"])?.json(&submission);
        let (status, run) = self.http.status_and_json(request).await?;
        Ok(Submitted { run, repeated: status == StatusCode::OK })
    }

    /// Creates and changes calendars and jobs and, with `prune`, removes jobs: all or nothing. A
    /// dry run tells, too, how the next firings change.
    pub async fn apply(&self, apply: Apply) -> Result<Applied, RemoteError> {
        let request = self.http.request(Method::POST, &["apply"])?.json(&apply);
        self.http.json(request).await
    }

    /// Stops a job's rule from firing until it is resumed.
    pub async fn pause(&self, job: JobName) -> Result<JobView, RemoteError> {
        self.pause_with(Pause::new(job)).await
    }

    /// Stops a job's rule from firing, with a reason, for a time. One that is paused already
    /// stays so since then, with the new reason and end.
    pub async fn pause_with(&self, pause: Pause) -> Result<JobView, RemoteError> {
        let Pause { job, terms } = pause;
        let request = self.http.request(Method::POST, &["jobs", job.as_str(), "pause"])?;
        self.http.json(request.json(&terms)).await
    }

    /// Stops the rules of many jobs from firing: all or nothing. Those that are paused already
    /// stay as they are.
    pub async fn pause_all(
        &self,
        jobs: JobSelection,
        terms: PauseTerms,
    ) -> Result<SelectionChange, RemoteError> {
        let PauseTerms { reason, until, lasting } = terms;
        let body = PauseRequest { jobs, reason, until, lasting };
        let request = self.http.request(Method::POST, &["pause"])?.json(&body);
        self.http.json(request).await
    }

    /// Lets the rules of many paused jobs fire again: all or nothing. Missed firings follow each
    /// job's `catch_up`, right after this returns.
    pub async fn resume_all(&self, jobs: JobSelection) -> Result<SelectionChange, RemoteError> {
        let request = self.http.request(Method::POST, &["resume"])?.json(&ResumeRequest { jobs });
        self.http.json(request).await
    }

    /// Lets a paused job's rule fire again; missed firings follow its `catch_up`.
    pub async fn resume(&self, job: JobName) -> Result<JobView, RemoteError> {
        self.post(&["jobs", job.as_str(), "resume"]).await
    }

    /// Runs a job now, whatever its rule says.
    pub async fn trigger(&self, job: JobName) -> Result<Run, RemoteError> {
        self.post(&["jobs", job.as_str(), "trigger"]).await
    }

    /// Ends every open run of a job as [`Remote::cancel`] does, and gives them back.
    pub async fn cancel_job(&self, job: JobName) -> Result<Vec<Run>, RemoteError> {
        self.post(&["jobs", job.as_str(), "cancel"]).await
    }

    /// Removes a job; its queued deliveries end as `removed`.
    pub async fn remove(&self, job: JobName) -> Result<(), RemoteError> {
        let request = self.http.request(Method::DELETE, &["jobs", job.as_str()])?;
        self.http.send(request).await.map(drop)
    }

    /// One job.
    pub async fn get(&self, job: JobName) -> Result<JobView, RemoteError> {
        self.fetch(&["jobs", job.as_str()]).await
    }

    /// Jobs in the order of their names.
    pub async fn list(&self, page: Page<JobName>) -> Result<Vec<JobView>, RemoteError> {
        let request = self.http.request(Method::GET, &["jobs"])?;
        self.http.json(request.query(&page_query(&page))).await
    }

    /// Creates or changes a calendar. The jobs that use it go by it from now on.
    pub async fn put_calendar(&self, calendar: Calendar) -> Result<CalendarChange, RemoteError> {
        let path = ["calendars", calendar.name().as_str()];
        let request = self.http.request(Method::PUT, &path)?.json(&calendar);
        self.http.json(request).await
    }

    /// Removes a calendar that no job uses.
    pub async fn remove_calendar(&self, calendar: CalendarName) -> Result<(), RemoteError> {
        let request = self.http.request(Method::DELETE, &["calendars", calendar.as_str()])?;
        self.http.send(request).await.map(drop)
    }

    /// One calendar.
    pub async fn calendar(&self, calendar: CalendarName) -> Result<CalendarView, RemoteError> {
        self.fetch(&["calendars", calendar.as_str()]).await
    }

    /// Calendars in the order of their names.
    pub async fn calendars(
        &self,
        page: Page<CalendarName>,
    ) -> Result<Vec<CalendarView>, RemoteError> {
        let request = self.http.request(Method::GET, &["calendars"])?;
        self.http.json(request.query(&page_query(&page))).await
    }

    /// The next `count` firings of a job, 1 to [`MAX_NEXT`](crate::forecast::MAX_NEXT). Of one
    /// that is paused, those that it would have were it resumed now.
    pub async fn next_firings(
        &self,
        job: JobName,
        count: usize,
    ) -> Result<NextFirings, RemoteError> {
        let request = self.http.request(Method::GET, &["jobs", job.as_str(), "next"])?;
        self.http.json(request.query(&[("count", count)])).await
    }

    /// All that fires in a span, by how jobs and registry stand now.
    pub async fn forecast(&self, query: ForecastQuery) -> Result<Forecast, RemoteError> {
        let request = self.http.request(Method::GET, &["forecast"])?;
        self.http.json(request.query(&query)).await
    }

    /// One run, with its counts as they stand.
    pub async fn run(&self, serial: Serial) -> Result<Run, RemoteError> {
        self.fetch(&["runs", &serial.to_string()]).await
    }

    /// Runs, newest first.
    pub async fn runs(&self, query: RunQuery) -> Result<Vec<Run>, RemoteError> {
        let request = self.http.request(Method::GET, &["runs"])?;
        self.http.json(request.query(&query)).await
    }

    /// Ends a run: queued deliveries as `cancelled`; clients that have it are asked to stop.
    pub async fn cancel(&self, serial: Serial) -> Result<Run, RemoteError> {
        self.post(&["runs", &serial.to_string(), "cancel"]).await
    }

    /// Ends one client's delivery of a run in the same way.
    pub async fn cancel_delivery(
        &self,
        serial: Serial,
        client: ClientId,
    ) -> Result<Run, RemoteError> {
        self.post(&["runs", &serial.to_string(), "cancel", client.as_str()]).await
    }

    /// The response of one client, if its delivery has ended.
    pub async fn response(
        &self,
        serial: Serial,
        client: ClientId,
    ) -> Result<Option<Response>, RemoteError> {
        self.fetch(&["runs", &serial.to_string(), "responses", client.as_str()]).await
    }

    /// What clients answered to a run after the server had ended their deliveries, or attempts, by
    /// itself, in the order in which the clients were defined.
    pub async fn late_answers(
        &self,
        serial: Serial,
        page: Page<ClientId>,
    ) -> Result<Vec<LateAnswer>, RemoteError> {
        let request = self.http.request(Method::GET, &["runs", &serial.to_string(), "late"])?;
        self.http.json(request.query(&page_query(&page))).await
    }

    /// The open deliveries of a run, in the order of their clients' names.
    pub async fn open_deliveries(&self, serial: Serial) -> Result<Vec<OpenDelivery>, RemoteError> {
        self.fetch(&["runs", &serial.to_string(), "open"]).await
    }

    /// Defines a client, or revives a removed one. Unlike the node's own handle this takes the
    /// token in the clear, or none for the server to make one; the answer holds it.
    pub async fn add_client(&self, client: ClientRequest) -> Result<NewClientView, RemoteError> {
        let request = self.http.request(Method::POST, &["clients"])?.json(&client);
        self.http.json(request).await
    }

    /// Removes a client; its queued deliveries end as `removed`, its connection is ended.
    pub async fn remove_client(&self, client: ClientId) -> Result<(), RemoteError> {
        let request = self.http.request(Method::DELETE, &["clients", client.as_str()])?;
        self.http.send(request).await.map(drop)
    }

    /// Puts a client into groups and takes it out of others.
    pub async fn regroup(&self, change: Regroup) -> Result<ClientView, RemoteError> {
        let Regroup { id, add, remove } = change;
        let request = self.http.request(Method::POST, &["clients", id.as_str(), "groups"])?;
        self.http.json(request.json(&GroupsChange { add, remove })).await
    }

    /// Sets labels of a client, and takes others away.
    pub async fn label_client(&self, change: Relabel) -> Result<ClientView, RemoteError> {
        let Relabel { id, set, remove } = change;
        let request = self.http.request(Method::POST, &["clients", id.as_str(), "labels"])?;
        self.http.json(request.json(&LabelsChange { set, remove })).await
    }

    /// Says how many commands a client may run at once, from its next connection on.
    pub async fn limit_client(&self, limit: ClientLimit) -> Result<ClientView, RemoteError> {
        let ClientLimit { id, max_running } = limit;
        let request = self.http.request(Method::POST, &["clients", id.as_str(), "limit"])?;
        self.http.json(request.json(&LimitChange { max_running })).await
    }

    /// One client.
    pub async fn client(&self, client: ClientId) -> Result<ClientView, RemoteError> {
        self.fetch(&["clients", client.as_str()]).await
    }

    /// Clients in the order of their names; only a group's members if `group` is given.
    pub async fn clients(
        &self,
        page: Page<ClientId>,
        group: Option<GroupName>,
    ) -> Result<Vec<ClientView>, RemoteError> {
        let mut query = page_query(&page);
        query.extend(group.map(|group| ("group", group.to_string())));
        let request = self.http.request(Method::GET, &["clients"])?;
        self.http.json(request.query(&query)).await
    }

    /// Counts of everything.
    pub async fn status(&self) -> Result<Status, RemoteError> {
        self.fetch(&["status"]).await
    }

    async fn fetch<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, RemoteError> {
        self.http.json(self.http.request(Method::GET, segments)?).await
    }

    async fn post<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, RemoteError> {
        self.http.json(self.http.request(Method::POST, segments)?).await
    }
}

fn page_query<K: ToString>(page: &Page<K>) -> Vec<(&'static str, String)> {
    // As the engine does with a limit above its own.
    let limit = page.limit.clamp(1, Page::<K>::MAX);
    let mut query = vec![("limit", limit.to_string())];
    query.extend(page.after.as_ref().map(|after| ("after", after.to_string())));
    query
}
