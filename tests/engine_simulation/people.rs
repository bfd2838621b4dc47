//! What people ask for, and the jobs and the calendar that they have.

use super::*;

impl World {
    /// Something that a person asks for.
    pub(super) fn change(&mut self) -> Request {
        let job = self.random.below(jobs().len());
        let job = jobs().swap_remove(job).name;
        match self.random.below(24) {
            0..4 => Request::TriggerJob(job),
            4 => Request::PauseJob(Pause::new(job)),
            5 => Request::ResumeJob(job),
            6 => {
                let n = self.random.below(self.runs.len().max(1));
                let serial = self.runs.iter().rev().nth(n / 4);
                serial.map_or(Request::Status, |serial| Request::CancelRun(*serial))
            }
            7 => Request::RemoveJob(job),
            8 => apply(jobs()),
            10..13 => Request::PutCalendar(calendar(self.random.chance(50))),
            13 => Request::RemoveCalendar("closed".parse().unwrap()),
            14..18 => self.regroup(),
            18..20 => self.run_again(),
            20..22 => self.backfill(&job),
            22 => self.cancel_replay(),
            _ => {
                let id = client_id(self.random.below(CLIENTS));
                if self.removed.contains(&id) { Request::Status } else { Request::RemoveClient(id) }
            }
        }
    }

    /// Puts a client into the group or takes it out.
    pub(super) fn regroup(&mut self) -> Request {
        let id = client_id(self.random.below(CLIENTS));
        if self.removed.contains(&id) {
            return Request::Status;
        }
        let mut sides = [BTreeSet::new(), BTreeSet::from(["few".parse().unwrap()])];
        if self.random.chance(25) {
            sides.reverse();
        }
        let [add, remove] = sides;
        Request::GroupClient(Regroup { id, add, remove })
    }

    pub(super) fn submit(&mut self, id: &ClientId) {
        let target = match self.random.below(4) {
            3 => "group:few or 30% of not group:few".parse().unwrap(),
            0 => Target::All,
            1 => Target::Group("few".parse().unwrap()),
            _ if self.removed.contains(id) => return,
            _ => Target::One(id.clone()),
        };
        let mut submission = Submission::new(target, "noop".parse().unwrap());
        if self.random.chance(30) {
            submission.expires_after = Some(Duration::from_secs(20));
        }
        if self.random.chance(10) {
            submission.offline = Offline::Drop;
        }
        if self.random.chance(40) {
            submission.membership = Membership::Open;
        }
        self.call(Request::Submit(submission));
    }
}

pub(super) fn apply(jobs: Vec<JobSpec>) -> Request {
    let calendars = vec![calendar(false)];
    Request::Apply(Apply { jobs, calendars, prune: true, ..Apply::default() })
}

/// The calendar that one job names: it closes every day, or one that is long over.
pub(super) fn calendar(closes: bool) -> Calendar {
    let name = "closed".parse().unwrap();
    if closes {
        // Sunday is left, so that the rule has a future; the simulation is on a Friday.
        let days = vec!["mon-sat".to_owned()].try_into().unwrap();
        return Calendar::new(name, None, Vec::new(), Some(days)).unwrap();
    }
    Calendar::new(name, None, vec!["2001-01-01".parse().unwrap()], None).unwrap()
}

pub(super) fn jobs() -> Vec<JobSpec> {
    use Offline::{Drop, Latest, Queue};
    let job = |name: &str, target: Target, seconds: u64, catch_up: CatchUp, offline| {
        let rule = Rule::every(Duration::from_secs(seconds)).unwrap();
        let mut spec = JobSpec::new(name.parse().unwrap(), target, "noop".parse().unwrap(), rule);
        spec.catch_up = catch_up;
        spec.offline = offline;
        spec
    };
    let few = || Target::Group("few".parse().unwrap());
    let mut jobs = vec![
        job("all/latest", Target::All, 7, CatchUp::Latest, Latest),
        job("few/all", few(), 3, CatchUp::All, Queue),
        job("few/latest", few(), 5, CatchUp::Latest, Latest),
        job("few/drop", few(), 5, CatchUp::Skip, Drop),
    ];
    let overlaps = [Overlap::Allow, Overlap::Skip, Overlap::Queue, Overlap::Replace];
    for (spec, overlap) in jobs.iter_mut().zip(overlaps) {
        spec.overlap = overlap;
    }
    let mut by_calendar = job("few/calendar", few(), 2, CatchUp::Latest, Drop);
    let rule = r#"{"every": "2s", "exclude": {"calendars": ["closed"]}}"#;
    by_calendar.rule = serde_json::from_str(rule).unwrap();
    jobs.push(by_calendar);
    for spec in jobs.iter_mut().step_by(2) {
        spec.membership = Membership::Open;
    }
    jobs[0].spread = Some(Duration::from_secs(3));
    jobs[2].jitter = Some(Duration::from_secs(2));
    for (job, rollout) in [
        (1, r#"{"max_in_flight": 2, "rate": 20}"#),
        (3, r#"{"waves": [{"share": "30%", "success": "0.01%", "wait": "500ms"}]}"#),
    ] {
        jobs[job].rollout = Some(serde_json::from_str(rollout).unwrap());
    }
    for (n, overlap) in [Overlap::Skip, Overlap::Queue, Overlap::Replace].into_iter().enumerate() {
        let mut spec = job(&format!("few/job-{n}"), few(), 4, CatchUp::Latest, Queue);
        (spec.overlap, spec.overlap_scope) = (overlap, OverlapScope::Job);
        jobs.push(spec);
    }
    jobs
}
