//! What one turn of the loop does, whoever drives it: look at the clock, do what is due, take in
//! letters, release what has become durable, begin the next commit.
//!
//! Nothing here waits, so that a thread ([`super::run_loop`]) and a simulation
//! ([`super::stepped`]) run the same.
//!
//! A commit that is begun just before a firing is due makes the firing wait for its end. So what was
//! decided waits for a firing that is nearer than a commit usually takes, and goes with it.
//!
//! When something keeps the store from taking more ([`Obstacle`]), what would be new is refused with
//! that cause, and deadlines are not looked at: what is due then is late, and each job's `catch_up`
//! says what becomes of it. While there is a little room, what clients answer, what ends something
//! and what forgets is still written. While a commit waits for room, or does not end, nobody new is
//! let in either, and questions are answered at once: the one case in which what is told is not on
//! disk yet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::CallError;
use super::core::{Core, Released};
use super::drift::Drift;
use super::link::Letter;
use super::run_loop::Fatal;
use crate::store::writer::Commit;
use crate::store::{Obstacle, StoreError};
use crate::time::Timestamp;

/// Letters that one turn takes in, at most: some milliseconds. A commit that ends meanwhile is
/// released after the turn, and the store has nothing to do until then.
const LETTERS: usize = 256;

/// Calls of the engine's deadline in one turn, at most.
const DEADLINES: usize = 8;

/// What may be decided while a commit is under way, in units, runs and effects: the next decision
/// waits for the commit, so that a slow disk slows the callers down and does not fill the memory.
const PENDING: usize = 65_536;

/// The longest wait: after it the clock is looked at again, in case somebody has set it.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The time between two looks at what keeps the store from taking more, when there is work to do.
const LOOK: Duration = Duration::from_millis(50);

/// The same, when something does and there is nothing else to do.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Where commits are made durable, one at a time.
pub(super) trait Commits {
    /// Begins a commit; none is under way.
    fn begin(&mut self, commit: Commit) -> Result<(), Fatal>;

    /// How the commit under way has ended, if it has; it is told once.
    fn ended(&mut self) -> Result<Option<Result<(), StoreError>>, Fatal>;

    /// What keeps further commits from being made. Default: nothing.
    fn obstacle(&mut self) -> Option<Obstacle> {
        None
    }

    /// After how long the commit under way is itself an obstacle. Default: never.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Whether this moment is near, and a commit that is begun now would probably last beyond it.
    /// Default: no.
    fn would_delay(&self, _at: Timestamp) -> bool {
        false
    }
}

/// What a turn comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// There may be more to do at once.
    Again,
    /// Nothing is to do before a letter comes, the commit ends, or this moment.
    Wait(Option<Timestamp>),
    /// All is done: the node has stopped.
    End,
}

impl Next {
    /// How long to wait, if that moment comes after `left`; at most until the clock is to be looked
    /// at again.
    pub(super) fn wait(left: Option<Duration>) -> Duration {
        left.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }
}

/// The loop's state.
pub(super) struct Turns<C> {
    core: Core,
    inbox: mpsc::Receiver<Letter>,
    drift: Drift,
    pub(super) commits: C,
    /// What waits for the commit that is under way.
    waiting: Option<Released>,
    /// What was taken out to answer questions, and is to be committed next; and how much that is.
    behind: VecDeque<(Commit, Released)>,
    pending_behind: usize,
    /// Something was due since the last commit was begun: it waits for nothing.
    was_due: bool,
    /// What keeps the store from taking more, and when that was looked at.
    obstacle: Option<Obstacle>,
    looked: Option<Instant>,
    stopping: bool,
    /// The engine was told that the node stops, as the last of all.
    told_stop: bool,
}

impl<C: Commits> Turns<C> {
    pub(super) fn new(
        core: Core,
        inbox: mpsc::Receiver<Letter>,
        (now, steady): (Timestamp, Instant),
        commits: C,
    ) -> Self {
        let drift = Drift::new(now, steady);
        Self {
            core,
            inbox,
            drift,
            commits,
            waiting: None,
            behind: VecDeque::new(),
            pending_behind: 0,
            was_due: false,
            obstacle: None,
            looked: None,
            stopping: false,
            told_stop: false,
        }
    }

    /// One turn at a moment of both clocks.
    pub(super) fn turn(&mut self, now: Timestamp, steady: Instant) -> Result<Next, Fatal> {
        self.look(now, steady);
        let pending = self.core.pending() + self.pending_behind;
        let full = self.waiting.is_some() && pending >= PENDING;
        let due = !full && self.obstacle.is_none() && self.deadlines(now);
        let letters = !full && self.letters(now);
        let released = self.act(now)?;
        if due || letters || released {
            return Ok(Next::Again);
        }
        if self.stopping && self.waiting.is_none() {
            if self.told_stop {
                self.core.close_all();
                return Ok(Next::End);
            }
            self.told_stop = true;
            self.core.stopping(now);
            return Ok(Next::Again);
        }
        Ok(Next::Wait(self.until(now, full)))
    }

    /// When to take the next turn if nothing comes.
    fn until(&self, now: Timestamp, full: bool) -> Option<Timestamp> {
        if self.obstacle.is_some() {
            return Some(now.plus(LOOK_AGAIN));
        }
        // With too much decided, only the end of the commit is waited for.
        let due = self.core.next_deadline().filter(|_| !self.stopping && !full);
        let slow = self.commits.patience().map(|patience| now.plus(patience));
        due.into_iter().chain(slow).min()
    }

    /// Takes in no more than what has arrived, makes it durable and ends.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.inbox.close();
    }

    /// Whether a commit is under way.
    pub(super) fn is_committing(&self) -> bool {
        self.waiting.is_some()
    }

    /// That the clock was set since the last turn is told and counted; so is what hinders.
    fn look(&mut self, now: Timestamp, steady: Instant) {
        if self.looked.is_none_or(|looked| steady.saturating_duration_since(looked) >= LOOK) {
            self.looked = Some(steady);
            let found = self.commits.obstacle();
            self.note(found);
        }
        if let Some(jump_ms) = self.drift.look(now, steady) {
            tracing::warn!(jump_ms, %now, "the clock has jumped");
            self.core.clock_jumped(now);
        }
    }

    fn note(&mut self, found: Option<Obstacle>) {
        let kind = |obstacle: &Option<Obstacle>| obstacle.as_ref().map(std::mem::discriminant);
        match &found {
            Some(obstacle) if kind(&found) != kind(&self.obstacle) => {
                tracing::warn!(%obstacle, "nothing new is taken in");
            }
            None if self.obstacle.is_some() => tracing::info!("what is new is taken in again"),
            _ => {}
        }
        self.obstacle = found;
    }

    fn deadlines(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        for _ in 0..DEADLINES {
            if self.stopping || self.core.next_deadline().is_none_or(|at| at > now) {
                break;
            }
            self.core.deadline(now);
            any = true;
        }
        self.was_due |= any;
        any
    }

    /// Whether what was decided is to wait for what is due next.
    fn waits_for_due(&self) -> bool {
        let waits =
            !(self.stopping || self.was_due || self.obstacle.is_some()) && self.behind.is_empty();
        waits && self.core.next_deadline().is_some_and(|at| self.commits.would_delay(at))
    }

    fn letters(&mut self, now: Timestamp) -> bool {
        for taken in 0..LETTERS {
            match self.inbox.try_recv() {
                Ok(Letter::Stop) | Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.stop();
                    return taken > 0;
                }
                Ok(letter) => self.take_in(now, letter),
                Err(mpsc::error::TryRecvError::Empty) => return taken > 0,
            }
        }
        true
    }

    /// Lets the engine decide on a letter, unless it would be new and something hinders.
    fn take_in(&mut self, now: Timestamp, letter: Letter) {
        let Some(obstacle) = &self.obstacle else { return self.core.receive(now, letter) };
        let refused = match letter {
            Letter::Call { request, answer, .. }
                if !(request.is_question() || request.is_ending() && obstacle.leaves_room()) =>
            {
                answer
            }
            Letter::Connect { answer, .. } if !obstacle.leaves_room() => answer,
            letter => return self.core.receive(now, letter),
        };
        // Whoever does not wait any more need not know.
        let _ = refused.send(Err(CallError::Hindered(obstacle.clone())));
    }

    /// Answers questions while a commit is hindered: what else was decided is taken out with the
    /// answers, and committed next.
    fn answer_questions(&mut self, now: Timestamp) -> Result<bool, Fatal> {
        let asking = self.core.asking();
        if self.obstacle.is_none() || asking == 0 {
            return Ok(false);
        }
        if let Some(waiting) = &mut self.waiting {
            self.core.answer_questions(now, waiting);
        }
        for (_, released) in &mut self.behind {
            self.core.answer_questions(now, released);
        }
        self.pending_behind += self.core.pending();
        let (commit, mut released) = self.taken()?;
        self.core.answer_questions(now, &mut released);
        if !commit.is_empty() || !released.is_empty() {
            self.behind.push_back((commit, released));
        }
        Ok(self.core.asking() < asking)
    }

    /// Takes out what has been decided, unless the engine could not read what it rests on.
    fn taken(&mut self) -> Result<(Commit, Released), Fatal> {
        match self.core.failure() {
            None => Ok(self.core.take()),
            Some(error) => Err(error.into()),
        }
    }

    /// What is to be committed next.
    fn next(&mut self) -> Result<(Commit, Released), Fatal> {
        if let Some(next) = self.behind.pop_front() {
            return Ok(next);
        }
        self.pending_behind = 0;
        self.was_due = false;
        self.taken()
    }

    /// Releases what has become durable, and begins the next commit if none is under way.
    fn act(&mut self, now: Timestamp) -> Result<bool, Fatal> {
        let mut any = false;
        if self.waiting.is_some() {
            let Some(ended) = self.commits.ended()? else {
                return self.answer_questions(now);
            };
            ended?;
            if let Some(released) = self.waiting.take() {
                self.core.release(now, released);
            }
            any = true;
        }
        if self.waits_for_due() {
            return Ok(any);
        }
        let (commit, released) = self.next()?;
        if commit.is_empty() {
            any |= !released.is_empty();
            self.core.release(now, released);
        } else {
            self.commits.begin(commit)?;
            self.waiting = Some(if bug!(ReleasedBeforeCommit) {
                self.core.release(now, released);
                Released::default()
            } else {
                released
            });
        }
        Ok(any)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::engine::Change;
    use crate::job::{Job, JobSpec, JobState};
    use crate::node::entropy::Entropy;
    use crate::node::{Assembled, Handle, Options, assemble};
    use crate::run::Submission;
    use crate::schedule::{Rule, When};
    use crate::store::{MemoryStore, prepare, records};
    use crate::target::Target;
    use crate::time::Clock;

    /// Commits that end when they are told to.
    #[derive(Default)]
    struct Noted {
        would_delay: bool,
        begun: Vec<Commit>,
        ended: bool,
    }

    impl Commits for Noted {
        fn begin(&mut self, commit: Commit) -> Result<(), Fatal> {
            self.begun.push(commit);
            Ok(())
        }

        fn ended(&mut self) -> Result<Option<Result<(), StoreError>>, Fatal> {
            Ok(std::mem::take(&mut self.ended).then_some(Ok(())))
        }

        fn would_delay(&self, _at: Timestamp) -> bool {
            self.would_delay
        }
    }

    const DUE: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    struct Before;

    impl Clock for Before {
        fn now(&self) -> Timestamp {
            DUE.minus(Duration::from_secs(1))
        }
    }

    /// Turns at a moment, until there is nothing more to do at once.
    fn turns_at(turns: &mut Turns<Noted>, now: Timestamp) -> Option<Timestamp> {
        loop {
            match turns.turn(now, Instant::now()).unwrap() {
                Next::Again => {}
                Next::Wait(until) => return until,
                Next::End => panic!("it has ended"),
            }
        }
    }

    /// The same with its commits made.
    fn settle(turns: &mut Turns<Noted>, now: Timestamp) {
        turns_at(turns, now);
        while turns.is_committing() {
            turns.commits.ended = true;
            turns_at(turns, now);
        }
    }

    /// A node with a job that is due each second from [`DUE`] on, and nothing else to do.
    fn with_a_job() -> (Turns<Noted>, Handle) {
        let store = MemoryStore::new();
        prepare(&store).unwrap();
        let (name, command) = ("tick".parse().unwrap(), "tick".parse().unwrap());
        let period = Duration::from_secs(1);
        let mut rule = Rule::every(period).unwrap();
        rule.when = When::Every { period, from: Some(DUE) };
        let (id, at) = (crate::id::JobId::from_parts(DUE, 1), Before.now());
        let spec = JobSpec::new(name, Target::All, command, rule);
        let job = Arc::new(Job { id, revision: 1, created_at: at, updated_at: at, spec });
        let state = JobState { next_due: Some(DUE), ..JobState::default() };
        let unit = vec![Change::PutJob(Arc::clone(&job)), Change::PutJobState(job, state)];
        records::write(&store, &[unit]).unwrap();
        let entropy = Entropy::seeded(7);
        let Assembled { core, letters, handle } =
            assemble(Arc::new(store), Arc::new(Before), Options::default(), entropy).unwrap();
        let mut turns = Turns::new(core, letters, (at, Instant::now()), Noted::default());
        settle(&mut turns, at);
        turns.commits.begun.clear();
        (turns, handle)
    }

    /// Submits a command, whose answer nobody waits for.
    fn submit(handle: &Handle) {
        let submission = Submission::new(Target::All, "now".parse().unwrap());
        assert!(handle.submit(submission).now_or_never().is_none());
    }

    /// How many runs each commit so far begins.
    fn runs(turns: &Turns<Noted>) -> Vec<usize> {
        let runs = |commit: &Commit| {
            let changes = commit.units.iter().flatten();
            changes.filter(|change| matches!(change, Change::PutRun(_))).count()
        };
        turns.commits.begun.iter().map(runs).collect()
    }

    #[test]
    fn what_comes_just_before_a_firing_goes_with_it() {
        let before = DUE.minus(Duration::from_millis(1));
        for would_delay in [false, true] {
            let (mut turns, handle) = with_a_job();
            turns.commits.would_delay = would_delay;
            submit(&handle);
            let until = turns_at(&mut turns, before);
            let held = runs(&turns).is_empty();
            assert_eq!((held, until), (would_delay, Some(DUE)));
            turns_at(&mut turns, DUE);
            assert_eq!(runs(&turns), if would_delay { vec![2] } else { vec![1] });
        }
    }

    #[test]
    fn a_firing_waits_for_nothing_and_a_node_that_stops_for_no_firing() {
        let (mut turns, handle) = with_a_job();
        turns.commits.would_delay = true;
        turns_at(&mut turns, DUE);
        assert_eq!(runs(&turns), [1], "the next one is near, too");
        settle(&mut turns, DUE);

        submit(&handle);
        turns.stop();
        turns_at(&mut turns, DUE.plus(Duration::from_millis(5)));
        assert_eq!(runs(&turns), [1, 1]);
    }
}
