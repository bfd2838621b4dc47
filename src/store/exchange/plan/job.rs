//! The past of one job: without gaps, and ending where the job says.

use super::super::line::{JobLine, Line};
use super::{Checked, wrong};
use crate::id::JobId;
use crate::job_past::{JobRevision, RemovedJob, RevisionChange};

pub(super) struct JobPlan {
    id: JobId,
    shown: String,
    /// Its revision and its last row of missed firings; `None`: it was removed.
    ends: Option<(u32, u64)>,
    revision: Option<(u32, RevisionChange)>,
    row: Option<u64>,
}

impl JobPlan {
    pub(super) fn live(line: JobLine) -> Self {
        let JobLine { job, state } = line;
        let row = state.missed.map_or(0, |missed| missed.row);
        let shown = format!("job {}", job.spec.name);
        Self { id: job.id, shown, ends: Some((job.revision, row)), revision: None, row: None }
    }

    pub(super) fn removed(removed: &RemovedJob) -> Self {
        let shown = format!("removed job {}", removed.name);
        Self { id: removed.job, shown, ends: None, revision: None, row: None }
    }

    pub(super) fn id(&self) -> JobId {
        self.id
    }

    /// Takes a line of its past.
    pub(super) fn take(&mut self, line: &Line) -> Checked {
        let shown = &self.shown;
        match line {
            Line::Revision(it) if it.job == self.id => {
                let JobRevision { revision, change, .. } = **it;
                if let Some((before, _)) = self.revision
                    && before.checked_add(1) != Some(revision)
                {
                    return wrong(format!("revision {revision} of {shown} follows {before}"));
                }
                self.revision = Some((revision, change));
                Ok(())
            }
            Line::Missed(it) if it.job == self.id => {
                if let Some(before) = self.row
                    && before.checked_add(1) != Some(it.no)
                {
                    let row = it.no;
                    return wrong(format!(
                        "row {row} of missed firings of {shown} follows {before}"
                    ));
                }
                self.row = Some(it.no);
                Ok(())
            }
            other => wrong(format!("a {} of another job stands behind {shown}", other.record())),
        }
    }

    /// That it ends where the job says.
    pub(super) fn end(self) -> Checked {
        let shown = &self.shown;
        match (self.ends, self.revision) {
            (Some((now, _)), Some((last, _))) if last.checked_add(1) != Some(now) => {
                return wrong(format!(
                    "{shown} is at revision {now}, and the last before is {last}"
                ));
            }
            (None, Some((last, change))) if change != RevisionChange::Removed => {
                return wrong(format!("the last revision of {shown}, {last}, is no removal"));
            }
            _ => {}
        }
        match (self.ends, self.row.unwrap_or(0)) {
            (Some((_, told)), last) if told != last => wrong(format!(
                "{shown} tells of row {told} of missed firings, and the last is {last}"
            )),
            _ => Ok(()),
        }
    }
}
