//! The judgement of runs: whether each was executed as often as it had to be, and was permitted.

use std::mem::take;

use super::{Book, Delivery, Entry, Execution, Fault, GRACE, JUDGED, Offender};
use crate::cli::soak::plan::client_name;
use crate::id::Serial;
use crate::run::DeliveryState;
use crate::time::Timestamp;

impl Book {
    /// Judges the runs to which nothing more can come. `read` is the moment up to which the
    /// history's events were read to their end, by the machine's clock.
    pub(in crate::cli::soak) fn settle(&mut self, now: i64, read: i64) {
        let due = |entry: &Entry| {
            // Of one that no event tells of, the event may be still to be read.
            let since = if entry.ended { now } else { read };
            (entry.ended || entry.total.is_none()) && since - entry.changed >= GRACE
        };
        let serials: Vec<Serial> =
            self.open.iter().filter(|(_, entry)| due(entry)).map(|(serial, _)| *serial).collect();
        for serial in serials {
            if let Some(entry) = self.open.remove(&serial) {
                self.judge(serial, &entry);
            }
        }
    }

    /// Judges all that is left. Everything has stopped, and all was read.
    pub(in crate::cli::soak) fn judge_all(&mut self) {
        for (serial, entry) in take(&mut self.open) {
            self.judge(serial, &entry);
        }
    }

    fn judge(&mut self, serial: Serial, entry: &Entry) {
        let (total, expects) = (entry.total, self.expects(entry));
        let again = self.judged.contains(&serial);
        match total {
            None if again => self.late(serial, entry),
            None => self.unknown(serial, entry),
            Some(total) => {
                if let Some(expects) = expects.filter(|expects| expects.targets != total) {
                    let why = format!(
                        "its run went to {total} clients; its target has {}",
                        expects.targets
                    );
                    self.accuse_of(serial, entry, None, Fault::Lost, why);
                }
                self.deliveries(serial, entry, total, expects.is_some_and(|it| it.reruns));
            }
        }
        self.judged.insert(serial);
        if self.judged.len() > JUDGED {
            self.judged.pop_first();
        }
    }

    /// More came of a run that was judged.
    fn late(&mut self, serial: Serial, entry: &Entry) {
        for (client, delivery) in &entry.deliveries {
            if !delivery.executions.is_empty() {
                let why = "executed again, or more than a minute after its run had ended";
                self.accuse_of(serial, entry, Some(*client), Fault::Doubled, why);
            } else if delivery.end.is_some() {
                let why = "a delivery ended after its run had";
                self.accuse_of(serial, entry, Some(*client), Fault::Unexplained, why);
            }
        }
    }

    /// No event tells of such a run.
    fn unknown(&mut self, serial: Serial, entry: &Entry) {
        if entry.acknowledged {
            let why = "the submit was acknowledged, and the history has no such run";
            self.accuse_of(serial, entry, None, Fault::Lost, why);
        }
        for (client, delivery) in &entry.deliveries {
            let why = if delivery.executions.is_empty() {
                "a delivery ended of a run that the history does not have"
            } else {
                "executed, and the history has no such run"
            };
            self.accuse_of(serial, entry, Some(*client), Fault::Unexplained, why);
        }
    }

    fn deliveries(&mut self, serial: Serial, entry: &Entry, total: u32, reruns: bool) {
        let known = entry.deliveries.values().filter(|delivery| delivery.end.is_some()).count();
        let executed =
            |delivery: &&Delivery| delivery.end.is_none() && !delivery.executions.is_empty();
        let open = entry.deliveries.values().filter(executed).count();
        let without = i64::from(total) - i64::try_from(known + open).unwrap_or(i64::MAX);
        for _ in 0..without {
            let state = if entry.ended { "its run has ended" } else { "it is open to the last" };
            let why = format!("neither executed nor ended with a reason; {state}");
            self.accuse_of(serial, entry, None, Fault::Lost, why);
        }
        for (client, delivery) in &entry.deliveries {
            if let Some((fault, why)) = fault_of(delivery) {
                self.accuse_of(serial, entry, Some(*client), fault, why);
            }
            self.doubled(serial, entry, *client, reruns);
        }
    }

    /// Whether it was executed more often than is permitted.
    fn doubled(&mut self, serial: Serial, entry: &Entry, client: u32, reruns: bool) {
        let delivery = &entry.deliveries[&client];
        let executions = delivery.executions.len();
        let attempts = delivery.attempts.max(1) as usize;
        let caught = if reruns {
            let caught = |execution: &&Execution| self.was_caught(execution);
            delivery.executions.iter().filter(caught).count()
        } else {
            0
        };
        let permitted = attempts + caught;
        if executions > permitted {
            let why = format!(
                "executed {executions} times; {permitted} are permitted: {attempts} attempts, and \
                 {caught} that a kill cut short and that are to be run again"
            );
            self.accuse_of(serial, entry, Some(client), Fault::Doubled, why);
        } else if executions > 1 {
            self.sums.permitted_again += executions as u64 - 1;
        }
    }

    /// Whether the kill of its process may have come before the journal had its end.
    fn was_caught(&self, execution: &Execution) -> bool {
        let Some(killed) = self.kills.get(&execution.life) else { return false };
        execution.ended.is_none_or(|ended| ended >= killed.since)
    }

    /// Accuses a run that is still open.
    pub(super) fn accuse(
        &mut self,
        serial: Serial,
        client: Option<u32>,
        fault: Fault,
        why: impl Into<String>,
    ) {
        let entry = self.open.remove(&serial).unwrap_or_default();
        self.accuse_of(serial, &entry, client, fault, why);
        self.open.insert(serial, entry);
    }

    fn accuse_of(
        &mut self,
        serial: Serial,
        entry: &Entry,
        client: Option<u32>,
        fault: Fault,
        why: impl Into<String>,
    ) {
        let job = entry.job.map(|job| self.plan.jobs[job as usize].spec.name.to_string());
        let delivery = client.and_then(|client| entry.deliveries.get(&client));
        let executions = delivery.map_or(&[][..], |delivery| &delivery.executions);
        self.list(Offender {
            serial: Some(serial),
            job,
            client: client.map(client_name),
            submit: entry.number,
            executions: executions.iter().map(|execution| self.told(execution)).collect(),
            ..Offender::new(fault, why)
        });
    }

    fn told(&self, execution: &Execution) -> String {
        let Execution { life: (process, life), begun, ended } = execution;
        let moment = |millis: i64| Timestamp::from_millis(millis);
        let ended =
            ended.map_or("not complete".to_owned(), |at| format!("complete {}", moment(at)));
        let killed = self.kills.get(&(*process, *life));
        let killed = killed.map_or(String::new(), |killed| {
            format!(
                "; that life was killed, and its journal certain until {}",
                moment(killed.since)
            )
        });
        format!("process {process}, life {life}: begun {}, {ended}{killed}", moment(*begun))
    }
}

/// What is wrong with how a delivery ended, whatever the number of its executions.
fn fault_of(delivery: &Delivery) -> Option<(Fault, String)> {
    let executed = !delivery.executions.is_empty();
    let complete = delivery.executions.iter().any(|execution| execution.ended.is_some());
    match delivery.end {
        None if executed => Some((Fault::Unexplained, "executed, and open to the last".to_owned())),
        Some((DeliveryState::Succeeded, _)) if !complete => {
            let why = "told as succeeded, and the client has no complete execution";
            Some((Fault::Lost, why.to_owned()))
        }
        Some((DeliveryState::Skipped, _)) if executed => {
            Some((Fault::Unexplained, "told as skipped, and executed".to_owned()))
        }
        None | Some((DeliveryState::Succeeded, _) | (_, true)) => None,
        Some((state, false)) => {
            Some((Fault::Unexplained, format!("ended as {state} without a reason")))
        }
    }
}
