//! What a storm has done.

use std::collections::BTreeMap;

use fleetcron::DeliveryState;

/// What the storm has done: it proves nothing if it did nothing.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) crashes: usize,
    /// Crashes after some of a commit's batches and before others.
    pub(crate) torn: usize,
    /// Commits that the re-enactment found cut short.
    pub(crate) cut_short: usize,
    pub(crate) displaced: usize,
    pub(crate) sent_again: usize,
    /// Rows of missed firings that one job had.
    pub(crate) rows: usize,
    /// Runs of the job that names a calendar, fired by its rule.
    pub(crate) by_calendar: usize,
    /// Changes of the calendar from open to closed or back.
    pub(crate) calendar_changes: usize,
    /// Runs that replays made, and replays that a crash came between.
    pub(crate) replayed: usize,
    pub(crate) replays_cut: usize,
    /// Looks at replays that had still to end, after the storm.
    pub(crate) waited: usize,
    pub(crate) ends: BTreeMap<DeliveryState, usize>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.torn += other.torn;
        self.cut_short += other.cut_short;
        self.displaced += other.displaced;
        self.sent_again += other.sent_again;
        self.rows = self.rows.max(other.rows);
        self.by_calendar += other.by_calendar;
        self.calendar_changes += other.calendar_changes;
        self.replayed += other.replayed;
        self.replays_cut += other.replays_cut;
        for (state, n) in &other.ends {
            *self.ends.entry(*state).or_default() += n;
        }
    }

    /// Fails if the storm was a calm one.
    #[expect(clippy::print_stdout, reason = "what was tested is worth a look when it fails")]
    pub(crate) fn check(&self) {
        use DeliveryState::{
            Cancelled, Expired, Failed, Rejected, Removed, Skipped, Succeeded, Superseded,
        };
        let Self { crashes, torn, displaced, sent_again, .. } = *self;
        println!("{crashes} crashes, {torn} torn, {displaced} displaced, {sent_again} sent again");
        println!("{} commits cut short; ends: {:?}", self.cut_short, self.ends);
        assert_eq!(self.cut_short, torn, "what was torn is known from the store alone");
        assert!(crashes > 10 && torn > 5 && displaced > 10 && sent_again > 100, "a calm storm");
        assert!(self.rows > 3, "hardly any firing was missed: {} rows", self.rows);
        let Self { by_calendar, calendar_changes, .. } = *self;
        println!("{by_calendar} runs by calendar, {calendar_changes} changes of it");
        assert!(by_calendar > 100 && calendar_changes > 20, "a calendar that did nothing");
        let Self { replayed, replays_cut, .. } = *self;
        println!("{replayed} runs of replays, {replays_cut} crashes while one was open");
        assert!(replayed > 100 && replays_cut > 10, "replays that did nothing");
        for state in [Succeeded, Failed, Rejected, Cancelled, Expired, Superseded, Skipped, Removed]
        {
            assert!(self.ends.get(&state).is_some_and(|n| *n > 10), "hardly any is {state}");
        }
    }
}
