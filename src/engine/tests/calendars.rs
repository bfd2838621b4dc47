//! Calendars: what their changes do to jobs, and what is refused.

use super::*;
use crate::calendar::{Calendar, CalendarView};
use crate::engine::{Applied, CalendarChange, Moved};
use crate::job::{JobSpec, JobStatus};

/// A moment of the bench's first days; `at(0)` is midnight of Wednesday, 1972-09-27.
fn hours(hours: i64) -> Timestamp {
    at(hours * 3_600)
}

fn calendar(name: &str, dates: &[&str]) -> Calendar {
    let dates = dates.iter().map(|date| date.parse().unwrap()).collect();
    Calendar::new(name.parse().unwrap(), None, dates, None).unwrap()
}

/// A job at six each morning that names calendars.
fn daily(name: &str, calendars: &str) -> JobSpec {
    let mut spec = every(name, "client:a", 60);
    let rule = format!(r#"{{"cron": "0 6 * * *", "exclude": {{"calendars": {calendars}}}}}"#);
    spec.rule = serde_json::from_str(&rule).unwrap();
    spec
}

impl Bench {
    fn put(&mut self, calendar: Calendar) -> CalendarChange {
        match self.call(Request::PutCalendar(calendar)) {
            Reply::CalendarPut(change) => *change,
            other => panic!("{other:?}"),
        }
    }

    fn calendars(&mut self) -> Vec<CalendarView> {
        match self.call(Request::Calendars(Page::first())) {
            Reply::Calendars(views) => views,
            other => panic!("{other:?}"),
        }
    }

    fn next(&mut self, name: &str) -> Option<Timestamp> {
        self.state(name).next_due
    }

    fn refused(&mut self, request: Request) -> String {
        let error = self.ask(request).unwrap_err();
        assert!(self.changes.is_empty(), "what is refused stores nothing");
        error.to_string()
    }

    /// What was told of jobs and calendars, in the last decision.
    fn told(&self) -> Vec<String> {
        let told = |effect: &Effect| match effect {
            Effect::Notify(event) => match &event.what {
                What::Job { job, change, .. } => Some(format!("{job} {change}")),
                What::Calendar { calendar, change, moved } => {
                    Some(format!("calendar {calendar} {change} {moved}"))
                }
                _ => None,
            },
            _ => None,
        };
        self.effects.iter().filter_map(told).collect()
    }
}

/// A bench with a calendar that closes the second day, and a job that names it.
fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.put(calendar("holidays", &["1972-09-28"]));
    bench.apply(daily("report", r#"["holidays"]"#));
    bench
}

#[test]
fn a_job_fires_on_no_day_of_its_calendar() {
    let mut bench = bench();
    assert_eq!(bench.next("report"), Some(hours(6)));
    bench.wait_until(hours(7));
    assert_eq!(bench.runs_put().len(), 1);
    assert_eq!(bench.next("report"), Some(hours(54)), "the day between is closed");
    bench.wait_until(hours(31));
    assert!(bench.runs_put().is_empty());
    let state = bench.state("report");
    assert_eq!((state.occurrences, state.missed), (1, None), "neither counted nor missed");
}

#[test]
fn rules_are_bound_again_after_a_restart() {
    let mut bench = bench();
    bench.restart(hours(1));
    assert_eq!(bench.calendars()[0].jobs, 1);
    bench.wait_until(hours(7));
    assert_eq!(bench.next("report"), Some(hours(54)));
    // Missed while the server was down: the first day is not among what is caught up.
    bench.restart(hours(30 + 24));
    assert_eq!(bench.next("report"), Some(hours(54 + 24)));
    assert_eq!(bench.state("report").missed, None);
}

#[test]
fn a_change_takes_effect_from_now_on() {
    let mut bench = bench();
    bench.apply(daily("other", r#"["elsewhere"]"#.replace("elsewhere", "holidays").as_str()));
    bench.apply(every("without", "client:a", 3_600));
    bench.wait_until(hours(7));
    let without = bench.next("without");
    let change = bench.put(calendar("holidays", &["1972-09-29"]));
    assert_eq!((change.action, change.jobs, change.moves()), (JobAction::Update, 2, 2));
    let expected = Moved {
        job: "other".parse().unwrap(),
        before: Some(hours(54)),
        after: Some(hours(30)),
        next: None,
    };
    assert_eq!(change.moved[0], expected);
    assert_eq!(bench.told(), ["calendar holidays updated 2"]);
    assert_eq!(bench.next("report"), Some(hours(30)), "the day is open again");
    assert_eq!(bench.next("without"), without);
    assert_eq!(bench.state("report").occurrences, 1, "what a rule's count counts goes on");

    // All of it is one unit, so that a crash leaves all or nothing.
    bench.input(Input::Call {
        actor: crate::Actor::Library,
        call: CallId(900),
        request: Request::PutCalendar(calendar("holidays", &["1972-09-28..1972-09-30"])),
        entropy: 1,
    });
    let stored = |change: &Change| matches!(change, Change::PutCalendar(_));
    assert_eq!(bench.changes.iter().filter(|change| stored(change)).count(), 1);
    let states = |change: &&Change| matches!(change, Change::PutJobState(..));
    assert_eq!(bench.changes.iter().filter(states).count(), 2, "{:?}", bench.changes);
    bench.restart(hours(8));
    assert_eq!(bench.next("report"), Some(hours(6 + 4 * 24)));
    assert_eq!(bench.calendars()[0].record.revision, 3);
}

#[test]
fn a_change_that_moves_nothing_stores_the_calendar_alone() {
    let mut bench = bench();
    let change = bench.put(calendar("holidays", &["1972-09-28", "1972-12-24"]));
    assert_eq!((change.jobs, change.moves()), (1, 0));
    assert_eq!(bench.changes.len(), 1, "{:?}", bench.changes);
    let same = bench.put(calendar("holidays", &["1972-12-24", "1972-09-28"]));
    assert_eq!((same.action, same.fields.len()), (JobAction::Keep, 0));
    assert!(bench.changes.is_empty() && bench.told().is_empty());
    // The rule has the new days, though its next firing stayed.
    bench.wait_until(at(88 * 86_400));
    assert_eq!(bench.next("report"), Some(hours(89 * 24 + 6)), "1972-12-24 is passed over");
}

#[test]
fn a_job_that_never_fires_again_ends_and_is_named() {
    let mut bench = bench();
    let mut once = daily("once", r#"["holidays"]"#);
    let rule = r#"{"at": "1972-09-29T06:00:00Z", "exclude": {"calendars": ["holidays"]}}"#;
    once.rule = serde_json::from_str(rule).unwrap();
    bench.apply(once.clone());
    let change = bench.put(calendar("holidays", &["1972-09-29"]));
    let ended: Vec<_> = change.moved.iter().filter(|moved| moved.after.is_none()).collect();
    assert_eq!((ended.len(), ended[0].job.as_str()), (1, "once"));
    assert_eq!(bench.told(), ["calendar holidays updated 1", "once ended"]);
    assert_eq!(bench.state("once").status(), JobStatus::Ended);
    // As any rule that never fires, it is refused at the next apply.
    let apply = Apply { jobs: vec![once], ..Apply::default() };
    let why = bench.refused(Request::Apply(apply));
    assert!(why.starts_with("job \"once\": with the days of its calendars, rule never"), "{why}");
    bench.put(calendar("holidays", &["1972-09-28"]));
    assert_eq!(bench.next("once"), Some(hours(54)), "it has not fired yet");
    bench.wait_until(hours(55));
    bench.put(calendar("holidays", &["1972-09-29"]));
    bench.put(calendar("holidays", &["1972-09-28"]));
    assert_eq!(bench.next("once"), None, "what has fired does not fire again");
}

#[test]
fn what_a_paused_job_has_missed_stays_missed() {
    let mut bench = bench();
    bench.call(Request::PauseJob(Pause::new("report".parse().unwrap())));
    bench.wait_until(hours(7));
    let change = bench.put(calendar("holidays", &["1972-09-27", "1972-09-28"]));
    assert_eq!(change.moves(), 0);
    bench.call(Request::ResumeJob("report".parse().unwrap()));
    assert_eq!(bench.runs_put().len(), 1, "caught up, although the day is closed by now");
    assert_eq!(bench.next("report"), Some(hours(54)));
}

#[test]
fn the_count_of_a_rule_outlives_a_change() {
    let mut bench = bench();
    let mut twice = daily("twice", r#"["holidays"]"#);
    twice.rule.count = Some(2);
    bench.apply(twice);
    bench.wait_until(hours(55));
    assert_eq!(bench.next("twice"), None, "it has fired twice");
    bench.put(calendar("holidays", &["1980-01-01"]));
    assert_eq!(bench.next("twice"), None);
}

#[test]
fn a_firing_in_the_commit_of_a_change_is_not_lost_wherever_it_stops() {
    for durable in 0..=2 {
        let mut bench = bench();
        bench.wait_until(hours(5));
        // It fires, and the calendar changes before anything is stored; then a part of it is.
        bench.now = hours(6);
        bench.deadlines();
        let request = Request::PutCalendar(calendar("holidays", &["1972-10-01"]));
        bench.engine.handle(
            bench.now,
            Input::Call { call: CallId(900), actor: crate::Actor::Library, request, entropy: 1 },
        );
        let units = bench.engine.take().units;
        assert!(matches!(units[1][..], [Change::PutCalendar(_), Change::PutJobState(..)]));
        records::write(&bench.store, &units[..durable]).unwrap();
        bench.restart(hours(6));
        let fired = bench.runs_put().len();
        assert_eq!(fired, usize::from(durable == 0), "what is stored does not happen again");
        let next = if durable == 2 { hours(30) } else { hours(54) };
        assert_eq!(bench.next("report"), Some(next), "with the calendar, or as before");
        assert_eq!(bench.state("report").occurrences, 1);
    }
}

#[test]
fn an_apply_stores_calendars_before_jobs_and_all_or_nothing() {
    let mut bench = Bench::new();
    let calendars = vec![calendar("holidays", &["1972-09-27"])];
    let jobs = vec![daily("report", r#"["holidays"]"#)];
    let mut apply = Apply { calendars, jobs, dry_run: true, ..Apply::default() };
    let Reply::Planned(planned) = bench.call(Request::Apply(apply.clone())) else { panic!() };
    assert_eq!(planned.calendars[0].change.action, JobAction::Create);
    let (_, would) = planned.jobs[0].outlooks.as_ref().unwrap();
    assert_eq!(would.next_due, Some(hours(30)), "by the calendar that is not there yet");
    assert!(bench.changes.is_empty() && bench.calendars().is_empty());

    apply.dry_run = false;
    let mut wrong = apply.clone();
    wrong.jobs.push(daily("typo", r#"["holiday"]"#));
    let why = bench.refused(Request::Apply(wrong));
    let expected = "job \"typo\": rule.exclude: no calendar named \"holiday\"; \
                    did you mean \"holidays\"?";
    assert_eq!(why, expected);
    assert!(bench.calendars().is_empty(), "nothing of it is there");

    bench.call(Request::Apply(apply.clone()));
    assert_eq!(bench.told(), ["calendar holidays created 0", "report created"]);
    assert!(matches!(bench.changes[0], Change::PutCalendar(_)), "{:?}", bench.changes);
    assert_eq!(bench.next("report"), Some(hours(30)));
    let Reply::Applied(again) = bench.call(Request::Apply(apply)) else { panic!() };
    assert_eq!(
        (again.calendars[0].action, again.jobs[0].action),
        (JobAction::Keep, JobAction::Keep)
    );
    assert!(bench.changes.is_empty());
}

#[test]
fn a_dry_run_tells_which_stored_jobs_a_calendar_moves() {
    let mut bench = bench();
    for name in ["new-rule", "gone", "described"] {
        bench.apply(daily(name, r#"["holidays"]"#));
    }
    let mut described = daily("described", r#"["holidays"]"#);
    described.description = Some("more words".into());
    let calendars = vec![calendar("holidays", &["1972-09-27"])];
    let jobs =
        vec![daily("report", r#"["holidays"]"#), every("new-rule", "client:a", 60), described];
    let apply = Apply { calendars, jobs, prune: true, dry_run: true };
    let Reply::Planned(planned) = bench.call(Request::Apply(apply.clone())) else { panic!() };
    let plan = &planned.calendars[0];
    let names = |change: &CalendarChange| -> Vec<String> {
        change.moved.iter().map(|moved| moved.job.to_string()).collect()
    };
    assert_eq!(names(&plan.change), ["described", "report"], "the others are told of as jobs");
    let dues = plan.outlooks.iter().map(|(before, after)| (before.next_due, after.next_due));
    assert_eq!(dues.collect::<Vec<_>>(), [(Some(hours(6)), Some(hours(30))); 2]);
    assert!(bench.changes.is_empty());
    let apply = Apply { dry_run: false, ..apply };
    let Reply::Applied(Applied { calendars, .. }) = bench.call(Request::Apply(apply)) else {
        panic!()
    };
    assert_eq!(names(&calendars[0]), ["described", "report"]);
    assert_eq!(bench.next("described"), Some(hours(30)));
    assert_eq!(bench.calendars()[0].jobs, 2, "one has another rule, one is gone");
    bench.restart(hours(1));
    assert_eq!(bench.next("described"), Some(hours(30)));
    assert_eq!(bench.next("new-rule"), Some(at(60 * 61)));
}

#[test]
fn a_calendar_in_use_is_not_removed() {
    let mut bench = bench();
    for n in 0..6 {
        bench.apply(daily(&format!("job-{n}"), r#"["holidays"]"#));
    }
    let remove = || Request::RemoveCalendar("holidays".parse().unwrap());
    let why = bench.refused(remove());
    let named = "calendar \"holidays\" is used by 7 jobs: report, job-0, job-1, job-2, job-3";
    assert_eq!(why, format!("{named} and 2 more"));
    let jobs = vec![daily("report", r#"["holidays"]"#)];
    bench.call(Request::Apply(Apply { jobs, prune: true, ..Apply::default() }));
    assert_eq!(bench.refused(remove()), "calendar \"holidays\" is used by 1 job: report");
    bench.apply(every("report", "client:a", 60));
    bench.call(remove());
    assert_eq!(bench.told(), ["calendar holidays removed 0"]);
    bench.restart(hours(1));
    assert!(bench.calendars().is_empty());
}

#[test]
fn calendars_are_listed_in_parts_and_named_when_they_are_not_there() {
    let mut bench = Bench::new();
    for name in ["b", "c", "holidays-se"] {
        bench.put(calendar(name, &["1972-09-28"]));
    }
    let page = Page { after: Some("b".parse().unwrap()), limit: 1 };
    let Reply::Calendars(part) = bench.call(Request::Calendars(page)) else { panic!() };
    let names: Vec<_> = part.iter().map(|view| view.record.spec.name().as_str()).collect();
    assert_eq!(names, ["c"]);
    let expected = "no calendar named \"holidays-es\"; did you mean \"holidays-se\"?";
    let name = || "holidays-es".parse().unwrap();
    assert_eq!(bench.refused(Request::Calendar(name())), expected);
    assert_eq!(bench.refused(Request::RemoveCalendar(name())), expected);
    let twice = vec![calendar("x", &["1972-09-28"]), calendar("x", &["1972-09-29"])];
    let apply = Apply { calendars: twice, ..Apply::default() };
    assert_eq!(bench.refused(Request::Apply(apply)), "calendar \"x\" is defined twice");
}

#[test]
fn very_many_jobs_that_move_are_named_in_part() {
    let mut bench = bench();
    let names = (0..=crate::engine::MAX_MOVED).map(|n| format!("job-{n:04}"));
    let jobs = names.map(|name| daily(&name, r#"["holidays"]"#)).collect();
    bench.call(Request::Apply(Apply { jobs, ..Apply::default() }));
    let change = bench.put(calendar("holidays", &["1972-09-27"]));
    assert_eq!((change.moved.len(), change.more), (crate::engine::MAX_MOVED, 2));
    assert_eq!(change.moves(), crate::engine::MAX_MOVED as u64 + 2);
    bench.restart(hours(1));
    assert_eq!(bench.next("job-1000"), Some(hours(30)), "those that are not named move as well");
}
