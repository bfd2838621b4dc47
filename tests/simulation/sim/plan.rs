//! What a seed decides before its story begins: who there is, what runs, and which faults there
//! are. Seeds differ much from each other, so that each looks at a part of all there is closely.

use std::time::Duration;

use fleetcron::{
    CatchUp, CommandLimit, DeliveryMode, JobName, JobSpec, Json, Offline, OnClientCrash, Overlap,
    OverlapScope, Priority, Retry, Rule, Submission, Target, Timeout,
};

use super::random::Random;

/// The clients' group that has every second of them.
pub(super) const HALF: &str = "half";

pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) clients: Vec<ClientPlan>,
    pub(super) jobs: Vec<JobSpec>,
    pub(super) steps: usize,
    /// The longest pause between two steps, in milliseconds.
    pub(super) pause_ms: usize,
    /// The longest way of bytes over the network, in milliseconds.
    pub(super) latency_ms: usize,
    /// What may wait for a client that is away; `None`: the default.
    pub(super) queue: Option<(usize, bool)>,
    pub(super) faults: Faults,
    /// Whether many jobs are applied at once: more than one batch of the store takes.
    pub(super) many: bool,
    /// A client that is away until late, also when all faults are over.
    pub(super) late: Option<usize>,
}

/// How often each kind of step comes, beside the others.
pub(super) struct Faults {
    pub(super) network: usize,
    pub(super) server: usize,
    pub(super) disk: usize,
    pub(super) clients: usize,
    pub(super) journals: usize,
    pub(super) clock: usize,
    /// Submissions and other wishes.
    pub(super) wishes: usize,
}

pub(super) struct ClientPlan {
    pub(super) journal: bool,
    pub(super) concurrency: usize,
}

/// What a run promises, in the words of the README; made when it is asked for.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// The job; `None`: it was submitted.
    pub(super) job: Option<JobName>,
    pub(super) target: TargetPlan,
    pub(super) offline: Offline,
    pub(super) expires: Option<Duration>,
    pub(super) once: bool,
    pub(super) attempts: u32,
    pub(super) limit: Option<Duration>,
    pub(super) crash_retry: bool,
    pub(super) priority: Priority,
    /// Of a job.
    pub(super) overlap: Option<(Overlap, OverlapScope)>,
    pub(super) per_client: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum TargetPlan {
    All,
    Half,
    One(usize),
}

impl TargetPlan {
    fn of(random: &mut Random, clients: usize) -> Self {
        match random.below(4) {
            0 => Self::All,
            1 => Self::Half,
            _ => Self::One(random.below(clients)),
        }
    }

    pub(super) fn has(self, client: usize) -> bool {
        match self {
            Self::All => true,
            Self::Half => client.is_multiple_of(2),
            Self::One(one) => one == client,
        }
    }

    fn target(self) -> Target {
        match self {
            Self::All => Target::All,
            Self::Half => Target::Group(HALF.parse().expect("a name")),
            Self::One(one) => Target::One(client_id(one)),
        }
    }

    fn back(target: &Target) -> Self {
        match target {
            Target::Group(_) => Self::Half,
            Target::One(id) => Self::One(id.as_str()[1..].parse().expect("a number")),
            _ => Self::All,
        }
    }
}

pub(super) fn client_id(client: usize) -> fleetcron::ClientId {
    format!("c{client}").parse().expect("a name")
}

pub(super) fn token(client: usize) -> String {
    format!("token of client {client}")
}

pub(super) fn job_name(job: usize) -> JobName {
    format!("j{job}").parse().expect("a name")
}

/// Jobs that are applied at once, and hardly ever fire.
pub(super) fn many_jobs() -> Vec<JobSpec> {
    let job = |number: usize| {
        let rule = Rule::every(seconds(30 * 86_400)).expect("a rule");
        let name = format!("{MANY}{number}").parse().expect("a name");
        JobSpec::new(name, Target::All, "work".parse().expect("a name"), rule)
    };
    (0..130).map(job).collect()
}

/// How the names of these begin.
pub(super) const MANY: &str = "x";

fn seconds(seconds: usize) -> Duration {
    Duration::from_secs(seconds as u64)
}

/// What submissions and jobs have in common.
struct Policies {
    offline: Offline,
    expires: Option<Duration>,
    retry: Retry,
    timeout: Timeout,
    delivery: DeliveryMode,
    crash: OnClientCrash,
    priority: Priority,
}

impl Policies {
    fn of(random: &mut Random, job: bool) -> Self {
        let offline = match random.below(10) {
            0 => Offline::Drop,
            1 | 2 if job => Offline::Latest,
            _ => Offline::Queue,
        };
        let expires = random.chance(15).then(|| seconds(5 + random.below(60)));
        let (delivery, retry) = match random.below(10) {
            0..3 => (DeliveryMode::AtMostOnce, Retry::default()),
            3..6 => {
                let attempts = 2 + u32::try_from(random.below(3)).expect("few");
                let retry = Retry::new(attempts, seconds(1), seconds(15)).expect("valid");
                (DeliveryMode::AtLeastOnce, retry)
            }
            _ => (DeliveryMode::AtLeastOnce, Retry::default()),
        };
        let limit = random.chance(25).then(|| seconds(3 + random.below(15)));
        let accept = if random.chance(20) { seconds(5) } else { seconds(30) };
        let crash = if random.chance(20) { OnClientCrash::Retry } else { OnClientCrash::Fail };
        Self {
            offline,
            expires,
            retry,
            timeout: Timeout::new(accept, limit).expect("valid"),
            delivery,
            crash,
            priority: *random.pick(&Priority::ALL),
        }
    }
}

/// A command to submit; its parameters have its number.
pub(super) fn submission(random: &mut Random, clients: usize, number: u64) -> Submission {
    let target = TargetPlan::of(random, clients).target();
    let mut submission = Submission::new(target, "work".parse().expect("a name"));
    let of = Policies::of(random, false);
    submission.params = Json::new(&serde_json::json!({ "n": number })).expect("JSON");
    submission.offline = of.offline;
    submission.expires_after = of.expires;
    submission.retry = of.retry;
    submission.timeout = of.timeout;
    submission.delivery = of.delivery;
    submission.on_client_crash = of.crash;
    submission.priority = of.priority;
    submission.idempotency_key = Some(format!("submission {number}").parse().expect("a key"));
    submission
}

fn job(random: &mut Random, clients: usize, number: usize) -> JobSpec {
    let target = TargetPlan::of(random, clients).target();
    let rule = Rule::every(seconds(15 + random.below(90))).expect("a rule");
    let mut spec = JobSpec::new(job_name(number), target, "work".parse().expect("a name"), rule);
    let of = Policies::of(random, true);
    spec.offline = of.offline;
    spec.expires_after = of.expires;
    spec.retry = of.retry;
    spec.timeout = of.timeout;
    spec.delivery = of.delivery;
    spec.on_client_crash = of.crash;
    spec.priority = of.priority;
    spec.catch_up = *random.pick(&[CatchUp::Latest, CatchUp::All, CatchUp::Skip]);
    spec.overlap = *random.pick(&[
        Overlap::Skip,
        Overlap::Queue,
        Overlap::Queue,
        Overlap::Replace,
        Overlap::Allow,
    ]);
    if random.chance(60) {
        spec.overlap_scope = OverlapScope::Job;
    }
    if spec.overlap == Overlap::Allow && random.chance(50) {
        spec.per_client = Some(CommandLimit::try_from(random.between(1, 2)).expect("valid"));
    }
    if random.chance(10) {
        spec.spread = Some(seconds(1 + random.below(10)));
    }
    spec
}

impl Terms {
    pub(super) fn of_submission(submission: &Submission) -> Self {
        Self {
            job: None,
            target: TargetPlan::back(&submission.target),
            offline: submission.offline,
            expires: submission.expires_after,
            once: submission.delivery == DeliveryMode::AtMostOnce,
            attempts: submission.retry.attempts(),
            limit: submission.timeout.run(),
            crash_retry: submission.on_client_crash == OnClientCrash::Retry,
            priority: submission.priority,
            overlap: None,
            per_client: None,
        }
    }

    pub(super) fn of_job(spec: &JobSpec) -> Self {
        Self {
            job: Some(spec.name.clone()),
            target: TargetPlan::back(&spec.target),
            offline: spec.offline,
            expires: spec.expires_after,
            once: spec.delivery == DeliveryMode::AtMostOnce,
            attempts: spec.retry.attempts(),
            limit: spec.timeout.run(),
            crash_retry: spec.on_client_crash == OnClientCrash::Retry,
            priority: spec.priority,
            overlap: Some((spec.overlap, spec.overlap_scope)),
            per_client: spec.per_client.map(CommandLimit::count),
        }
    }
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        // Seeds that follow each other shall have nothing in common.
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let clients: Vec<ClientPlan> = (0..=random.below(4))
            .map(|_| ClientPlan {
                journal: random.chance(60),
                concurrency: *random.pick(&[1, 2, 8]),
            })
            .collect();
        let jobs = random.below(4);
        let jobs = (0..jobs).map(|number| job(&mut random, clients.len(), number)).collect();
        let mut often = |percent, most: usize| {
            if random.chance(percent) { 1 + random.below(most) } else { 0 }
        };
        let faults = Faults {
            network: often(70, 20),
            server: often(70, 12),
            disk: often(30, 6),
            clients: often(60, 12),
            journals: often(15, 4),
            clock: often(20, 4),
            wishes: 20 + often(100, 30),
        };
        let many = random.chance(8);
        let late = random.chance(25).then(|| random.below(clients.len()));
        Self {
            seed,
            jobs,
            steps: 15 + random.below(25),
            pause_ms: *random.pick(&[500, 3_000, 3_000, 20_000]),
            latency_ms: *random.pick(&[1, 20, 20, 200]),
            queue: random.chance(20).then(|| (1 + random.below(4), random.chance(50))),
            faults,
            many,
            late,
            clients,
        }
    }
}
