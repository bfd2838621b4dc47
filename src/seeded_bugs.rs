//! Bugs that are put in on purpose, to see that the simulation finds them. Without the feature
//! `seeded-bugs`, which nothing but that test turns on, there are none of them in the program.
//!
//! Each is at one place, `bug!(Name)`, and at most one is on at a time. Imports nothing of
//! fleetcron.

/// Whether a bug is on.
#[cfg(not(feature = "seeded-bugs"))]
macro_rules! bug {
    ($name:ident) => {
        false
    };
}

/// Whether a bug is on.
#[cfg(feature = "seeded-bugs")]
macro_rules! bug {
    ($name:ident) => {
        crate::seeded_bugs::is_on(crate::seeded_bugs::SeededBug::$name)
    };
}

#[cfg(feature = "seeded-bugs")]
pub use chosen::SeededBug;
#[cfg(feature = "seeded-bugs")]
pub(crate) use chosen::is_on;

#[cfg(feature = "seeded-bugs")]
mod chosen {
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// The place of the one that is on in [`SeededBug::ALL`], from 1; 0: none is.
    static ON: AtomicUsize = AtomicUsize::new(0);

    macro_rules! bugs {
        ($($(#[doc = $what:literal])+ $name:ident,)+) => {
            /// A bug that can be put in.
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum SeededBug {
                $($(#[doc = $what])+ $name,)+
            }

            impl SeededBug {
                /// All of them.
                pub const ALL: &[Self] = &[$(Self::$name,)+];
            }
        };
    }

    bugs! {
        /// Everything leaves when it is decided, before it is durable.
        ReleasedBeforeCommit,
        /// A response is acknowledged when it comes, before it is durable.
        AckBeforeCommit,
        /// An answer that is there already is not acknowledged.
        DuplicateNotAcknowledged,
        /// The last unit of a commit of several is not written.
        UnitForgotten,
        /// A large unit that a crash has cut short is neither completed nor dropped.
        StagedNotRecovered,
        /// That a command was sent that may be sent once is not written down.
        SentMarkForgotten,
        /// What was on its way when the connection ended is taken for delivered.
        UntakenNotResent,
        /// A delivery of a run that was cancelled is sent again when its client has lost it.
        CancelledSentAgain,
        /// After a restart, deliveries do not expire.
        ExpiryForgotten,
        /// After a restart, nothing is held for an earlier run of the job.
        HeldNotRebuilt,
        /// After a restart, what has fired by a clock that was ahead waits for its moment.
        FiredAheadNotSent,
        /// After a restart, what comes to its moment a second time, or was held, is sent again to
        /// those who have it.
        OfferedAgain,
        /// After a restart, an attempt that had failed counts twice.
        RetryCountedTwice,
        /// After a restart, serials begin anew.
        SerialReused,
        /// A delivery that a policy or a full queue drops is not recorded.
        SkippedUnrecorded,
        /// Firings that are not caught up with are not recorded.
        MissedUnrecorded,
        /// A job that was changed is let go before that is durable, and read as it was.
        LetGoUnsaved,
        /// That an occurrence has fired is not stored with its run.
        FiringNotStored,
        /// A client runs one command more at once than it may.
        OneTooManyAtOnce,
        /// A client runs the commands of a job beside each other that are to run in turn.
        TurnIgnored,
        /// A client runs what was cancelled while it was written down.
        CancelledAndRun,
        /// A client does not say at its return what it has run and not had acknowledged.
        EndedNotTold,
        /// A client does not send at its return the responses that were not acknowledged.
        ResponsesNotSentAgain,
        /// A command is written into the journal after it was run.
        JournalAfterExecution,
        /// What is written into the journal is not made durable.
        JournalNotSynced,
    }

    impl SeededBug {
        /// Puts this bug in, in place of the one before; `None`: takes it out.
        pub fn put_in(bug: Option<Self>) {
            let place = bug.and_then(|bug| Self::ALL.iter().position(|other| *other == bug));
            ON.store(place.map_or(0, |place| place + 1), Ordering::SeqCst);
        }
    }

    /// Whether a bug is on.
    #[must_use]
    pub(crate) fn is_on(bug: SeededBug) -> bool {
        ON.load(Ordering::Relaxed)
            .checked_sub(1)
            .is_some_and(|place| SeededBug::ALL.get(place) == Some(&bug))
    }
}
