//! Why, in words: of firings and deliveries that are explained.

use super::forecast::short;
use super::output::ran;
use super::show;
use crate::explain::{Delivery, Down, Fate, Firing, LateBecause};
use crate::run::{Cause, DeliveryState};

fn down(down: &Down) -> String {
    let how = if down.in_order { "" } else { ", without a stop in order" };
    match down.from {
        Some(from) => {
            format!("the server was down from {} to {}{how}", short(from), short(down.to))
        }
        None => format!("the server was down until {}{how}", short(down.to)),
    }
}

/// What is to be said of a firing as a whole.
pub(super) fn why(firing: &Firing) -> String {
    let mut parts = Vec::new();
    match firing.cause {
        Cause::Scheduled if !firing.expected => {
            parts.push("the rule, with its calendars as they are now, does not have it".to_owned());
        }
        Cause::Scheduled | Cause::CatchUp => {}
        other => parts.push(other.to_string()),
    }
    parts.extend(firing.late_because.as_ref().map(|because| match because {
        LateBecause::Down(span) => format!("caught up: {}", down(span)),
        LateBecause::Paused { resumed_at } => {
            format!("caught up: the job was paused until {}", short(*resumed_at))
        }
        LateBecause::Late => "caught up".to_owned(),
    }));
    parts.extend(said(&firing.fate));
    parts.join("; ")
}

fn said(fate: &Fate) -> Option<String> {
    Some(match fate {
        Fate::Succeeded | Fate::NotSucceeded | Fate::Open => return None,
        Fate::NotForClient => "the run was not for it".to_owned(),
        Fate::Nobody { reason } | Fate::Unexplained { reason } => reason.clone(),
        Fate::Missed { reason, policy, down: span, .. } => {
            let why = span.as_ref().map_or_else(|| reason.clone(), down);
            match policy {
                Some(policy) => format!("{why}; catch_up is {}", word(policy)),
                None => why,
            }
        }
        Fate::Paused { since, until, reason } => {
            let until = until.map(|until| format!(" until {}", short(until))).unwrap_or_default();
            let why = reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("the job is paused since {}{until}{why}", short(*since))
        }
        Fate::Dropped { paused_since, at, revision } => {
            let since = paused_since.map(|at| format!(" since {}", short(at))).unwrap_or_default();
            let then = match revision {
                Some(revision) => format!("revision {revision} changed its rule"),
                None => "it was removed".to_owned(),
            };
            format!("the job was paused{since}, and {then} at {}", short(*at))
        }
        Fate::Due => "it is due now".to_owned(),
        Fate::Calendar { calendar, changed_at } => {
            let changed = match changed_at {
                Some(at) => format!("was changed at {}", short(*at)),
                None => "is no more".to_owned(),
            };
            format!("calendar {calendar} {changed}: it may have closed the day before")
        }
        Fate::Forgotten { fired_at, ends, .. } => match (fired_at, ends) {
            (Some(at), Some(ends)) => {
                let ends = show::counts(ends).join(", ");
                format!("retention has forgotten the run; it fired at {}: {ends}", short(*at))
            }
            _ => "from before the ledger; no run of then is kept".to_owned(),
        },
    })
}

/// A value as job files write it.
pub(super) fn word<T: serde::Serialize>(value: &T) -> String {
    let json = serde_json::to_value(value).unwrap_or_default();
    json.as_str().unwrap_or_default().to_owned()
}

/// How a line on a delivery begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    /// With the client and the state.
    Client,
    /// With the state, where it is open.
    State,
    /// With the reason.
    Reason,
}

/// What became of a delivery, in a line.
pub(super) fn told(delivery: &Delivery, lead: Lead) -> String {
    let lead = match lead {
        Lead::Client => Some(format!("{} {}", delivery.client, delivery.state)),
        Lead::State if !delivery.state.is_end() => Some(delivery.state.to_string()),
        Lead::State | Lead::Reason => None,
    };
    let said = said_of(delivery);
    match (lead, said.is_empty()) {
        (Some(lead), true) => lead,
        (Some(lead), false) => format!("{lead}: {said}"),
        (None, _) => said,
    }
}

fn said_of(delivery: &Delivery) -> String {
    let mut parts = Vec::new();
    parts.extend(delivery.attempt.map(|attempt| format!("attempt {attempt}")));
    let said = [delivery.reason.as_deref(), delivery.result.as_deref()];
    let mut said = said.into_iter().flatten().collect::<Vec<_>>().join(": ");
    if let Some(actor) = &delivery.cancelled_by {
        said = format!("{said} by {actor}");
    }
    parts.extend(Some(said).filter(|said| !said.is_empty()));
    if let Some(waits) = &delivery.waits {
        if waits.away {
            let never = || "the client has never connected".to_owned();
            let since =
                waits.away_since.map(|at| format!("the client is away since {}", short(at)));
            parts.push(since.unwrap_or_else(never));
        }
        parts.extend(waits.reason.clone());
        parts.extend(waits.not_before.map(|at| format!("not before {}", short(at))));
        if waits.ahead > 0 {
            parts.push(format!("{} wait before it", waits.ahead));
        }
        parts.extend(waits.progress.as_ref().map(ToString::to_string));
    }
    if delivery.state == DeliveryState::Succeeded {
        parts.extend(delivery.after_ms.map(|after| format!("{} after it was due", ran(after))));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::Waits;

    #[test]
    fn a_delivery_is_told_in_a_line() {
        let delivery: Delivery = serde_json::from_str(
            r#"{"client": "web-01", "state": "failed", "attempt": 2, "reason": "exit code 3",
                "result": "no space"}"#,
        )
        .unwrap();
        assert_eq!(
            told(&delivery, Lead::Client),
            "web-01 failed: attempt 2; exit code 3: no space"
        );
        let open = Delivery {
            state: DeliveryState::Queued,
            attempt: None,
            reason: None,
            result: None,
            waits: Some(Waits { ahead: 3, away: true, ..Waits::default() }),
            ..delivery.clone()
        };
        let waits = "the client has never connected; 3 wait before it";
        assert_eq!(told(&open, Lead::State), format!("queued: {waits}"));
        assert_eq!(told(&open, Lead::Reason), waits);
        let cancelled = Delivery {
            cancelled_by: Some("token:ops".parse().unwrap()),
            reason: Some("the run was cancelled".into()),
            state: DeliveryState::Cancelled,
            attempt: None,
            result: None,
            ..delivery
        };
        assert_eq!(told(&cancelled, Lead::Reason), "the run was cancelled by token:ops");
    }
}
