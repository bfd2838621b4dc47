//! What a client has taken: which commands wait, run, or have ended without an acknowledgement.
//! Pure: no I/O, no time. It is where a command that comes twice is found out.

use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;

use super::MAX_TAKEN;
use super::journal::Remembered;
use super::recent::Recent;
use crate::command_limit::CommandLimit;
use crate::id::{JobName, Serial};
use crate::policy::Priority;
use crate::run::{Attempt, DeliveryState, Outcome};
use crate::wire::CommandFrame;

/// Why a command ends that was asked to stop in time.
pub(super) const CANCELLED: &str = "cancelled before it began";

/// What to do about a command that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is new, or taken and not ended: say that it is accepted.
    Accept,
    /// It has ended: send the response again.
    Respond,
    /// The response of a later attempt is acknowledged: nothing is left to say.
    Nothing,
    /// The server has sent more than it may.
    TooMany,
}

/// The commands taken. Each serial is in at most one of the four, but that a further attempt may
/// wait for the end of the one before.
#[derive(Debug, Default)]
pub(super) struct Intake {
    waiting: BTreeMap<Serial, CommandFrame>,
    /// The order in which what waits begins.
    line: BTreeSet<(Priority, Serial)>,
    running: BTreeMap<Serial, Running>,
    /// How many commands of a job run.
    busy: BTreeMap<JobName, usize>,
    ended: BTreeMap<Serial, (u32, Outcome)>,
    acked: Recent,
}

/// A command that runs.
#[derive(Debug)]
struct Running {
    attempt: u32,
    limited: bool,
    cancel: CancellationToken,
    job: Option<JobName>,
}

impl Intake {
    /// What was taken before the client was started.
    pub(super) fn remember(&mut self, remembered: Vec<Remembered>) {
        for one in remembered {
            match one {
                Remembered::Ended(Attempt { serial, number }, outcome) => {
                    self.ended.insert(serial, (number, outcome));
                }
                Remembered::Again(command) => {
                    self.wait(command);
                }
                Remembered::Acknowledged(attempt, outcome) => self.acked.insert(attempt, outcome),
            }
        }
    }

    /// A command came.
    pub(super) fn offer(&mut self, command: CommandFrame) -> Verdict {
        let CommandFrame { serial, attempt, .. } = command;
        if self.waiting.get(&serial).is_some_and(|waiting| waiting.attempt >= attempt) {
            return Verdict::Accept;
        }
        if let Some(running) = self.running.get(&serial) {
            if running.attempt >= attempt {
                return Verdict::Accept;
            }
            // The server has given the earlier attempt up.
            running.cancel.cancel();
        }
        if let Some((ended, _)) = self.ended.get(&serial) {
            if *ended >= attempt {
                return Verdict::Respond;
            }
            self.ended.remove(&serial);
        }
        if let Some((number, outcome)) = self.acked.get(serial).filter(|it| it.0 >= attempt) {
            if number > attempt {
                return Verdict::Nothing;
            }
            // The server has lost what it had acknowledged: it stands on a restored backup.
            self.ended.insert(serial, (number, outcome));
            return Verdict::Respond;
        }
        if self.waiting.len() + self.running.len() + self.ended.len() >= MAX_TAKEN {
            return Verdict::TooMany;
        }
        self.wait(command);
        Verdict::Accept
    }

    fn wait(&mut self, command: CommandFrame) {
        self.leave(command.serial);
        self.line.insert((command.priority, command.serial));
        self.waiting.insert(command.serial, command);
    }

    /// Takes out what waits under a serial.
    fn leave(&mut self, serial: Serial) -> Option<CommandFrame> {
        let command = self.waiting.remove(&serial)?;
        self.line.remove(&(command.priority, serial));
        Some(command)
    }

    /// The command to begin now, if fewer than `concurrency` run: of the highest class that waits
    /// the earliest that does not have to wait for others of its job. One that is urgent begins
    /// beside `concurrency` others too, so that long routine ones do not hold it up.
    pub(super) fn start(
        &mut self,
        concurrency: usize,
    ) -> Option<(CommandFrame, CancellationToken)> {
        let may_begin = |command: &CommandFrame| {
            let busy = command.job.as_ref().and_then(|job| self.busy.get(job)).copied();
            let earlier = self.running.contains_key(&command.serial);
            !earlier && busy.unwrap_or(0) < side_by_side(command)
        };
        let slots = |class| {
            concurrency
                + usize::from(class == Priority::Urgent)
                + usize::from(bug!(OneTooManyAtOnce))
        };
        let (_, serial) = *self
            .line
            .iter()
            .take_while(|(class, _)| self.running.len() < slots(*class))
            .find(|(_, serial)| self.waiting.get(serial).is_some_and(may_begin))?;
        let command = self.leave(serial)?;
        if let Some(job) = &command.job {
            *self.busy.entry(job.clone()).or_default() += 1;
        }
        let cancel = CancellationToken::new();
        let running = Running {
            attempt: command.attempt,
            limited: command.timeout_ms.is_some(),
            cancel: cancel.clone(),
            job: command.job.clone(),
        };
        self.running.insert(serial, running);
        Some((command, cancel))
    }

    /// A command has ended. The outcome is kept until it is acknowledged, unless a further attempt
    /// has taken its place.
    pub(super) fn finish(&mut self, serial: Serial, outcome: Outcome) {
        let running = self.running.remove(&serial);
        let number = running.as_ref().map(|running| running.attempt);
        if let Some(Running { job: Some(job), .. }) = running
            && let Some(count) = self.busy.get_mut(&job)
        {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(&job);
            }
        }
        let ended = self.ended.get(&serial).map(|(number, _)| *number);
        let number = number.or(ended).unwrap_or(1);
        if !self.waiting.contains_key(&serial) && ended.is_none_or(|ended| ended <= number) {
            self.ended.insert(serial, (number, outcome));
        }
    }

    /// The server asks to stop a command. One that waits ends here, with `true`; one that runs is
    /// told, and ends when its handler does.
    pub(super) fn cancel(&mut self, serial: Serial) -> bool {
        if let Some(running) = self.running.get(&serial) {
            running.cancel.cancel();
        }
        let Some(CommandFrame { attempt, .. }) = self.leave(serial) else {
            return false;
        };
        let outcome = Outcome::ended(DeliveryState::Cancelled, CANCELLED);
        self.ended.insert(serial, (attempt, outcome));
        true
    }

    /// Tells every running command to stop.
    pub(super) fn cancel_all(&self) {
        self.running.values().for_each(|running| running.cancel.cancel());
    }

    /// The server has recorded a response.
    pub(super) fn ack(&mut self, attempt: Attempt) {
        let Attempt { serial, number } = attempt;
        if self.ended.get(&serial).is_some_and(|(ended, _)| *ended == number)
            && let Some((_, outcome)) = self.ended.remove(&serial)
        {
            self.acked.insert(attempt, outcome);
        }
    }

    /// For the hello: running or ended without an acknowledgement. Those that wait are here too:
    /// they were accepted, and will be run.
    pub(super) fn taken(&self) -> Vec<Attempt> {
        let running = self.running.iter().map(|(serial, running)| (*serial, running.attempt));
        let ended = self.ended.iter().map(|(serial, (number, _))| (*serial, *number));
        let ended = ended.filter(|_| !bug!(EndedNotTold));
        let waiting = self.waiting.values().map(|command| (command.serial, command.attempt));
        // Of two attempts, the later one counts: it waits, or was cancelled while it did.
        let taken: BTreeMap<Serial, u32> = running.chain(ended).chain(waiting).collect();
        taken.into_iter().map(|(serial, number)| Attempt { serial, number }).collect()
    }

    /// The running commands that may run for a limited time.
    pub(super) fn limited(&self) -> Vec<Attempt> {
        let limited = self.running.iter().filter(|(_, running)| running.limited);
        limited.map(|(serial, run)| Attempt { serial: *serial, number: run.attempt }).collect()
    }

    /// The outcome of a command that has ended and is not acknowledged.
    pub(super) fn outcome(&self, serial: Serial) -> Option<(Attempt, &Outcome)> {
        let (number, outcome) = self.ended.get(&serial)?;
        Some((Attempt { serial, number: *number }, outcome))
    }

    /// The serials that have ended and are not acknowledged, in order.
    pub(super) fn ended(&self) -> Vec<Serial> {
        self.ended.keys().copied().collect()
    }

    /// Whether nothing runs and every response is acknowledged. What waits does not count.
    pub(super) fn is_settled(&self) -> bool {
        self.running.is_empty() && self.ended.is_empty()
    }
}

/// How many commands of its job run at once when a command has begun, at most.
fn side_by_side(command: &CommandFrame) -> usize {
    if bug!(TurnIgnored) {
        return usize::MAX;
    }
    let limit = command.per_client.map_or(usize::MAX, CommandLimit::count);
    if command.in_turn { 1 } else { limit }
}

#[cfg(test)]
mod tests {
    use super::super::{RECENT, RECENT_RESULT};
    use super::*;
    use crate::job::OnClientCrash;
    use crate::time::Timestamp;

    fn serial(n: u128) -> Serial {
        Serial::from_parts(Timestamp::from_millis(1), n)
    }

    fn command(n: u128) -> CommandFrame {
        CommandFrame {
            serial: serial(n),
            attempt: 1,
            timeout_ms: None,
            command: "a".parse().unwrap(),
            params: crate::Json::empty(),
            job: None,
            scheduled_at: Timestamp::from_millis(1),
            in_turn: false,
            on_client_crash: OnClientCrash::default(),
            priority: Priority::default(),
            per_client: None,
        }
    }

    fn done() -> Outcome {
        Outcome::succeeded(crate::Json::null())
    }

    #[test]
    fn commands_begin_in_serial_order_and_within_the_limit() {
        let mut intake = Intake::default();
        for n in [3, 1, 2] {
            assert_eq!(intake.offer(command(n)), Verdict::Accept);
        }
        assert_eq!(intake.start(2).unwrap().0.serial, serial(1));
        assert_eq!(intake.start(2).unwrap().0.serial, serial(2));
        assert!(intake.start(2).is_none());
        intake.finish(serial(2), done());
        assert_eq!(intake.start(2).unwrap().0.serial, serial(3));
    }

    #[test]
    fn a_higher_class_begins_first_and_an_urgent_one_beside_the_limit() {
        let of = |n, priority| CommandFrame { priority, ..command(n) };
        let mut intake = Intake::default();
        for (n, class) in [
            (1, Priority::Low),
            (2, Priority::Normal),
            (3, Priority::Urgent),
            (4, Priority::Normal),
            (5, Priority::Urgent),
            (6, Priority::Urgent),
        ] {
            intake.offer(of(n, class));
        }
        let next = |intake: &mut Intake| intake.start(1).map(|(command, _)| command.serial);
        assert_eq!(next(&mut intake), Some(serial(3)));
        assert_eq!(next(&mut intake), Some(serial(5)), "one above the limit");
        assert_eq!(next(&mut intake), None, "no more than one");
        intake.finish(serial(3), done());
        assert!(intake.cancel(serial(6)), "what is cancelled does not begin");
        assert_eq!(next(&mut intake), None, "the slot above the limit is for urgent ones alone");
        for (ended, begun) in [(5, 2), (2, 4), (4, 1)] {
            intake.finish(serial(ended), done());
            assert_eq!(next(&mut intake), Some(serial(begun)));
        }
        assert_eq!(intake.taken().len(), 6, "none is lost");
    }

    #[test]
    fn commands_of_a_job_that_go_in_turn_do_not_run_beside_each_other() {
        let of_job = |n, job: &str, in_turn| CommandFrame {
            job: Some(job.parse().unwrap()),
            in_turn,
            ..command(n)
        };
        let mut intake = Intake::default();
        intake.offer(of_job(1, "a", true));
        intake.offer(of_job(2, "a", true));
        intake.offer(of_job(3, "b", true));
        intake.offer(of_job(4, "c", false));
        intake.offer(of_job(5, "c", false));
        intake.offer(command(6));
        let mut begun = Vec::new();
        while let Some((command, _)) = intake.start(8) {
            begun.push(command.serial);
        }
        assert_eq!(begun, [1, 3, 4, 5, 6].map(serial), "2 waits for 1");
        intake.finish(serial(3), done());
        assert!(intake.start(8).is_none());
        intake.finish(serial(1), done());
        assert_eq!(intake.start(8).unwrap().0.serial, serial(2));
    }

    #[test]
    fn no_more_commands_of_a_job_run_at_once_than_it_says() {
        let of_job = |n, job: &str| CommandFrame {
            job: Some(job.parse().unwrap()),
            per_client: Some("2".parse().unwrap()),
            ..command(n)
        };
        let mut intake = Intake::default();
        for n in 1..=4 {
            intake.offer(of_job(n, "a"));
        }
        intake.offer(of_job(5, "b"));
        let mut begun = Vec::new();
        while let Some((command, _)) = intake.start(8) {
            begun.push(command.serial);
        }
        assert_eq!(begun, [1, 2, 5].map(serial));
        intake.finish(serial(2), done());
        assert_eq!(intake.start(8).unwrap().0.serial, serial(3));
        assert!(intake.start(8).is_none());
    }

    #[test]
    fn a_command_that_comes_again_is_not_run_again_in_any_state() {
        let mut intake = Intake::default();
        intake.offer(command(1));
        assert_eq!(intake.offer(command(1)), Verdict::Accept, "it waits");
        intake.start(1).unwrap();
        assert_eq!(intake.offer(command(1)), Verdict::Accept, "it runs");
        intake.finish(serial(1), done());
        assert_eq!(intake.offer(command(1)), Verdict::Respond, "it has ended");
        assert_eq!(intake.outcome(serial(1)), Some((serial(1).into(), &done())));
        intake.ack(serial(1).into());
        assert!(intake.is_settled() && intake.taken().is_empty());
        assert_eq!(intake.offer(command(1)), Verdict::Respond, "the server has lost the answer");
        assert_eq!(intake.outcome(serial(1)), Some((serial(1).into(), &done())));
        assert!(intake.start(1).is_none());
        intake.ack(serial(1).into());
        assert!(intake.is_settled() && intake.taken().is_empty());
    }

    #[test]
    fn a_large_result_is_not_kept_after_its_acknowledgement() {
        let mut intake = Intake::default();
        let large = crate::Json::new(&"x".repeat(RECENT_RESULT)).unwrap();
        intake.offer(command(1));
        intake.start(1).unwrap();
        intake.finish(serial(1), Outcome::succeeded(large));
        intake.ack(serial(1).into());
        assert_eq!(intake.offer(command(1)), Verdict::Respond);
        let (_, outcome) = intake.outcome(serial(1)).unwrap();
        assert_eq!((outcome.state, &outcome.result), (DeliveryState::Succeeded, &None));
        let reason = "acknowledged before; its result of 4098 bytes is not kept";
        assert_eq!(outcome.reason.as_deref(), Some(reason));
    }

    #[test]
    fn taken_tells_all_that_is_not_acknowledged() {
        let mut intake = Intake::default();
        for n in 1..=4 {
            intake.offer(command(n));
        }
        intake.start(2).unwrap();
        intake.start(2).unwrap();
        intake.finish(serial(1), done());
        intake.start(2).unwrap();
        intake.finish(serial(3), done());
        intake.ack(serial(1).into());
        intake.ack(serial(2).into());
        assert_eq!(intake.taken(), [2, 3, 4].map(|n| serial(n).into()), "2 runs, 3 ended, 4 waits");
        assert_eq!(intake.ended(), [serial(3)]);
        assert!(!intake.is_settled());
    }

    #[test]
    fn cancelling_ends_what_waits_and_tells_what_runs() {
        let mut intake = Intake::default();
        intake.offer(command(1));
        intake.offer(command(2));
        let (_, token) = intake.start(1).unwrap();
        assert!(intake.cancel(serial(2)));
        assert_eq!(intake.outcome(serial(2)).unwrap().1.state, DeliveryState::Cancelled);
        assert!(!intake.cancel(serial(1)) && token.is_cancelled());
        assert!(!intake.cancel(serial(9)), "one that is not known is nothing to do");
    }

    #[test]
    fn a_further_attempt_waits_for_the_one_before_and_takes_its_place() {
        let further = CommandFrame { attempt: 2, ..command(1) };
        let second = Attempt { serial: serial(1), number: 2 };
        let mut intake = Intake::default();
        intake.offer(command(1));
        let (_, token) = intake.start(8).unwrap();
        assert_eq!(intake.offer(further.clone()), Verdict::Accept);
        assert!(token.is_cancelled(), "the server has given it up");
        assert!(intake.start(8).is_none(), "not beside each other");
        assert_eq!(intake.taken(), [second]);
        intake.finish(serial(1), done());
        assert_eq!(intake.outcome(serial(1)), None, "nobody asks for it any more");
        assert_eq!(intake.start(8).unwrap().0.attempt, 2);
        intake.finish(serial(1), done());
        intake.ack(serial(1).into());
        assert_eq!(intake.outcome(serial(1)), Some((second, &done())), "the ack is of the first");
        assert_eq!(intake.offer(command(1)), Verdict::Respond, "an old one is not run again");
        intake.ack(second);
        assert_eq!(intake.offer(command(1)), Verdict::Nothing, "the second is acknowledged");
        assert_eq!(intake.offer(further), Verdict::Respond);
        let third = CommandFrame { attempt: 3, ..command(1) };
        assert_eq!(intake.offer(third), Verdict::Accept, "one that is new");
        intake.cancel(serial(1));
        assert_eq!(intake.taken(), [Attempt { serial: serial(1), number: 3 }]);
    }

    #[test]
    fn there_is_a_most_that_can_be_taken() {
        let mut intake = Intake::default();
        for n in 0..MAX_TAKEN as u128 {
            assert_eq!(intake.offer(command(n)), Verdict::Accept);
        }
        assert_eq!(intake.offer(command(u128::from(u32::MAX))), Verdict::TooMany);
        assert_eq!(intake.offer(command(0)), Verdict::Accept, "one that is taken is no more");
    }

    #[test]
    fn only_the_recent_acknowledged_serials_are_remembered() {
        let mut intake = Intake::default();
        for n in 0..=RECENT as u128 {
            intake.offer(command(n));
            intake.start(1).unwrap();
            intake.finish(serial(n), done());
            intake.ack(serial(n).into());
        }
        assert_eq!(intake.offer(command(1)), Verdict::Respond);
        assert_eq!(intake.offer(command(0)), Verdict::Accept, "forgotten, so it is new");
        assert_eq!(intake.acked.len(), RECENT);
    }
}
