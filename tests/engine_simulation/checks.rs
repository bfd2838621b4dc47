//! What must be true at the end, whatever has happened.

use super::*;

impl World {
    /// Notes since when the calendar that is stored closes the day.
    pub(super) fn see_calendar(&mut self) {
        let stored = records::load(&self.store).unwrap().calendars;
        let Some(record) = stored.first() else { return };
        let closed = !record.spec.days().weekdays().is_empty();
        // Several changes may come at one moment; the last of them counts.
        let now = (record.updated_at, closed);
        if self.closed.last() != Some(&now) {
            self.closed.push(now);
            self.tally.calendar_changes += 1;
        }
    }

    pub(super) fn check(&mut self) {
        let runs = all_runs(&self.store);
        assert!(runs.len() > 20, "the storm made only {} runs", runs.len());
        let stored: BTreeSet<Serial> = runs.iter().map(|run| run.serial).collect();
        let lost: Vec<_> = self.runs.difference(&stored).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        for run in &runs {
            assert!(run.ended_at.is_some(), "run {} has not ended: {:?}", run.serial, run.counts);
            self.check_calendar(run);
            let counts = self.check_responses(run);
            assert_eq!(run.counts, counts, "run {}", run.serial);
        }
        tools::is_sound(&self.store);
        let snapshot = records::load(&self.store).unwrap();
        assert!(snapshot.open_runs.is_empty());
        self.check_missed(&snapshot);
        self.check_replays(&runs);
    }

    /// What is counted as missed is the sum of the rows, and no row is left out.
    pub(super) fn check_missed(&mut self, snapshot: &Snapshot) {
        for (job, state) in &snapshot.jobs {
            let query = history::PastQuery { limit: history::MAX_PAST, ..Default::default() };
            let name = &job.spec.name;
            let mut rows = history::missed(&self.store, name, Some(job.id), &query).unwrap();
            // Earlier jobs of the name, removed since, have rows of their own.
            rows.retain(|row| row.job == job.id);
            let sum: u64 = rows.iter().map(|row| row.count).sum();
            let (total, last) =
                state.missed.as_ref().map_or((0, 0), |missed| (missed.total, missed.row));
            assert!(last < fleetcron::MISSED_KEPT, "not all rows of {name} are kept");
            assert_eq!(sum, total, "{name}: {rows:?}");
            let numbers: Vec<u64> = rows.iter().map(|row| row.no).collect();
            assert_eq!(numbers, (1..=last).rev().collect::<Vec<_>>(), "{name}");
            self.tally.rows = self.tally.rows.max(rows.len());
        }
    }

    /// What a rule fires by itself, it does on a day that was open by then. What is due at the
    /// moment of a change is due by the days before it.
    pub(super) fn check_calendar(&mut self, run: &Run) {
        let of_calendar = run.job.as_ref().is_some_and(|job| job.as_str() == "few/calendar");
        if !of_calendar || run.cause != Cause::Scheduled {
            return;
        }
        let before = self.closed.partition_point(|(at, _)| *at < run.scheduled_at);
        let closed = before.checked_sub(1).is_some_and(|last| self.closed[last].1);
        assert!(!closed, "run {} fired on a closed day: {:?}", run.serial, self.closed);
        self.tally.by_calendar += 1;
    }

    /// Every delivery of a run has ended once, and says why; counts the ends.
    pub(super) fn check_responses(&mut self, run: &Run) -> Counts {
        let mut counts = Counts { total: run.counts.total, ..Counts::default() };
        let mut seen = BTreeSet::new();
        let mut page = 0;
        loop {
            let part = history::responses(&self.store, run.serial, page).unwrap();
            if part.responses.is_empty() {
                break;
            }
            page = part.next_page;
            for response in part.responses {
                let state = response.outcome.state;
                let explained =
                    state == DeliveryState::Succeeded || response.outcome.reason.is_some();
                assert!(
                    explained,
                    "{} of {} is {state} for no reason",
                    run.serial, response.client
                );
                counts.add(state);
                *self.tally.ends.entry(state).or_default() += 1;
                let again = !seen.insert(response.client.clone());
                assert!(!again, "{} answered twice by {}", run.serial, response.client);
            }
        }
        assert_eq!(seen.len(), run.counts.total as usize, "run {}", run.serial);
        counts
    }
}
