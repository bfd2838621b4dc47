//! Questions: answered from memory, nothing changes.

use super::core::Engine;
use super::effect::{OpenDelivery, Reply, RequestError, Status};
use super::input::{Page, Request, SessionId};
use super::jobs::Entry;
use super::not_found;
use crate::id::{ClientId, ClientNo, GroupName, JobName, Serial};
use crate::run::Attempt;

impl Engine {
    /// A job by name.
    pub(super) fn job(&self, name: &JobName) -> Result<Entry, RequestError> {
        self.jobs.find(name).ok_or_else(|| not_found("job", name.as_str(), self.jobs.names()))
    }

    /// Answers a question. Requests that change something are dealt with before.
    pub(super) fn answer(&self, question: Request) -> Result<Reply, RequestError> {
        match question {
            Request::GetJob(name) => Ok(Reply::Job(Box::new(self.job(&name)?.view()))),
            Request::ListJobs(page) => Ok(self.list_jobs(&page)),
            Request::Keeping(page) => Ok(self.keeping(&page)),
            Request::OpenRuns(serials) => Ok(Reply::Runs(
                serials
                    .into_iter()
                    .filter_map(|serial| self.runs.get(serial))
                    .map(|open| open.run.clone())
                    .collect(),
            )),
            Request::OpenRunsOfJobs { jobs, after, before, limit } => {
                let of_job = |job| self.runs.of_job_between(job, after, before).rev().take(limit);
                let mut serials: Vec<Serial> = jobs.into_iter().flat_map(of_job).collect();
                serials.sort_unstable_by(|a, b| b.cmp(a));
                let runs = serials.into_iter().filter_map(|serial| self.runs.get(serial));
                Ok(Reply::Runs(runs.take(limit).map(|open| open.run.clone()).collect()))
            }
            Request::OpenDeliveries(serial) => Ok(self.open_deliveries_of(serial)),
            Request::Waits(deliveries) => Ok(self.waits(&deliveries)),
            Request::GetClient(id) => {
                Ok(Reply::Client(Box::new(self.registry.view(self.client(&id)?))))
            }
            Request::RunProgress(serial) => {
                Ok(Reply::Progress(self.progress(serial).map(Box::new)))
            }
            Request::ListClients { page, group } => self.list_clients(&page, group.as_ref()),
            Request::Members(group) => {
                let members = self.registry.members(&group).cloned().map(Reply::Members);
                members
                    .ok_or_else(|| not_found("group", group.as_str(), self.registry.group_names()))
            }
            Request::Calendar(name) => Ok(Reply::Calendar(Box::new(self.calendar(&name)?))),
            Request::Calendars(page) => Ok(self.list_calendars(&page)),
            Request::Status => Ok(Reply::Status(self.status())),
            Request::Time => Ok(Reply::Time(self.now)),
            Request::PlanReplay(replay) => self.plan_replay(*replay),
            Request::Outlook(name) => self.outlook(&name),
            Request::Outlooks { query, after } => self.outlooks(&query, after.as_ref()),
            change => Err(RequestError::Invalid(format!("{change:?} is not a question"))),
        }
    }

    fn list_jobs(&self, page: &Page<JobName>) -> Reply {
        let jobs = self.jobs.after(page.after.as_ref());
        Reply::Jobs(jobs.take(page.limit.min(Page::<()>::MAX)).map(|entry| entry.view()).collect())
    }

    fn list_clients(
        &self,
        page: &Page<ClientId>,
        group: Option<&GroupName>,
    ) -> Result<Reply, RequestError> {
        if let Some(group) = group
            && !self.registry.has_group(group)
        {
            return Err(not_found("group", group.as_str(), self.registry.group_names()));
        }
        let views = self
            .registry
            .defined_after(page.after.as_ref())
            .filter(|client| group.is_none_or(|group| client.record.groups.contains(group)))
            .take(page.limit.min(Page::<()>::MAX))
            .map(|client| self.registry.view(client))
            .collect();
        Ok(Reply::Clients(views))
    }

    /// The client of a connection, if it has an attempt in flight there. Changes nothing.
    #[must_use]
    pub fn in_flight(&self, session: SessionId, attempt: Attempt) -> Option<&ClientId> {
        let session = self.sessions.get(session)?;
        let sent = session.in_flight.get(attempt.serial)?;
        let client = self.registry.get(session.client)?;
        (sent.attempt == attempt.number).then_some(&client.record.id)
    }

    fn open_deliveries_of(&self, serial: Serial) -> Reply {
        let Some(run) = self.runs.get(serial) else { return Reply::Deliveries(Vec::new()) };
        let mut open: Vec<OpenDelivery> = run
            .open
            .iter()
            .filter_map(|no| {
                let client = self.registry.get(ClientNo(no))?;
                let state = self.standing_of(serial, ClientNo(no))?;
                Some(OpenDelivery { client: client.record.id.clone(), state, progress: None })
            })
            .collect();
        open.sort_by(|a, b| a.client.cmp(&b.client));
        Reply::Deliveries(open)
    }

    fn status(&self) -> Status {
        Status {
            clients_defined: self.registry.len(),
            clients_connected: self.registry.connected().len(),
            jobs: self.jobs.len() as u64,
            jobs_active: self.jobs.active() as u64,
            runs_open: self.runs.len() as u64,
            deliveries_open: self.deliveries_open,
            next_due: self.jobs.next_due(),
            clock_jumps: self.clock_jumps,
            store: None,
        }
    }
}
