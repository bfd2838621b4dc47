//! Where a delivery stands, and which state may follow which.
//!
//! Promises: one table of transitions, [`DeliveryState::may_become`]; whoever ends a delivery goes
//! by it. Imports nothing of fleetcron.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a delivery stands.
///
/// `queued → sent → accepted → succeeded | failed | rejected | timed_out`, and from any of the
/// first three the ends that [`DeliveryState::may_become`] has in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum DeliveryState {
    /// It waits for the client.
    Queued = 0,
    /// Its bytes left for the client.
    Sent = 1,
    /// The client has taken it and runs it.
    Accepted = 2,
    /// The handler returned a result.
    Succeeded = 3,
    /// The handler returned an error.
    Failed = 4,
    /// The client would not run it.
    Rejected = 5,
    /// It ran longer than its limit.
    TimedOut = 6,
    /// No client accepted it in time.
    Expired = 7,
    /// Somebody cancelled the run.
    Cancelled = 8,
    /// A later run of the job took its place in the queue.
    Superseded = 9,
    /// The job's policy did not want it delivered.
    Skipped = 10,
    /// The job or the client was removed.
    Removed = 11,
}

impl DeliveryState {
    /// All states, in their order.
    pub const ALL: [Self; 12] = [
        Self::Queued,
        Self::Sent,
        Self::Accepted,
        Self::Succeeded,
        Self::Failed,
        Self::Rejected,
        Self::TimedOut,
        Self::Expired,
        Self::Cancelled,
        Self::Superseded,
        Self::Skipped,
        Self::Removed,
    ];

    /// Whether it is an end state.
    #[must_use]
    pub fn is_end(self) -> bool {
        self as u8 >= Self::Succeeded as u8
    }

    /// Whether a client may answer with it.
    #[must_use]
    pub fn is_answer(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Rejected | Self::TimedOut | Self::Cancelled
        )
    }

    /// Whether a delivery may go from this state to that. This is the table of all transitions:
    ///
    /// | from | to |
    /// | --- | --- |
    /// | `queued` | `sent`; `accepted`, when a client returns with it; every end: what was sent over an earlier connection is answered over the next |
    /// | `sent` | `queued`, when the connection is lost or the attempt is tried again; `accepted`; an answer; `expired`, `superseded`, `removed` |
    /// | `accepted` | `queued`, as above; an answer; `superseded`, by a later run that replaces it; `removed`, with its client |
    /// | every end | nothing |
    ///
    /// An answer is one of those that [`DeliveryState::is_answer`]; the server itself ends
    /// deliveries with some of them, too. What a client may have is not `skipped`, and what it has
    /// taken does not expire.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => next != Self::Queued,
            Self::Sent => {
                next.is_answer()
                    || matches!(
                        next,
                        Self::Queued
                            | Self::Accepted
                            | Self::Expired
                            | Self::Superseded
                            | Self::Removed
                    )
            }
            Self::Accepted => {
                next.is_answer() || matches!(next, Self::Queued | Self::Superseded | Self::Removed)
            }
            _ => false,
        }
    }

    /// The state's number in stored pages.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The state of a number in stored pages.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The state's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Accepted => "accepted",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::TimedOut => "timed_out",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Skipped => "skipped",
            Self::Removed => "removed",
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use DeliveryState::{
        Accepted, Cancelled, Expired, Failed, Queued, Rejected, Removed, Sent, Skipped, Succeeded,
        Superseded, TimedOut,
    };

    use super::*;

    #[test]
    fn each_pair_of_states_is_as_the_table_says() {
        let table: [(DeliveryState, &[DeliveryState]); 3] = [
            (
                Queued,
                &[
                    Sent, Accepted, Succeeded, Failed, Rejected, TimedOut, Expired, Cancelled,
                    Superseded, Skipped, Removed,
                ],
            ),
            (
                Sent,
                &[
                    Queued, Accepted, Succeeded, Failed, Rejected, TimedOut, Expired, Cancelled,
                    Superseded, Removed,
                ],
            ),
            (
                Accepted,
                &[Queued, Succeeded, Failed, Rejected, TimedOut, Cancelled, Superseded, Removed],
            ),
        ];
        let mut allowed = 0;
        for from in DeliveryState::ALL {
            let row = table.iter().find(|(state, _)| *state == from).map_or(&[][..], |row| row.1);
            for to in DeliveryState::ALL {
                assert_eq!(from.may_become(to), row.contains(&to), "{from} to {to}");
                allowed += usize::from(from.may_become(to));
            }
        }
        assert_eq!(allowed, 11 + 10 + 8);
    }

    #[test]
    fn an_end_is_reached_from_each_open_state_and_is_left_by_none() {
        for state in DeliveryState::ALL {
            assert!(!state.may_become(state), "{state}");
            let on = DeliveryState::ALL.into_iter().any(|next| state.may_become(next));
            assert_eq!(on, !state.is_end(), "{state}");
            if state.is_answer() {
                assert!([Queued, Sent, Accepted].iter().all(|open| open.may_become(state)));
            }
        }
    }
}
