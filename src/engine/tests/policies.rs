//! The policies, one at a time: inputs with times in, decisions out.

use super::*;

#[test]
fn a_due_job_fires_once_at_its_time_with_the_serial_of_the_occurrence() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    bench.apply(every("tick", "client:a", 10));
    bench.wait_until(at(9));
    assert!(bench.sent().is_empty());
    assert_eq!(bench.engine.next_deadline(), Some(at(10)));
    bench.wait_until(at(10));
    let [run] = &bench.runs_put()[..] else { panic!("one run") };
    assert_eq!((run.cause, run.scheduled_at), (Cause::Scheduled, at(10)));
    assert_eq!(run.serial, Serial::of_firing(run.job_id.unwrap(), at(10)));
    assert_eq!(bench.sent(), [run.serial]);
    bench.wait_until(at(10));
    assert!(bench.sent().is_empty(), "not again");
}

#[test]
fn offline_queue_latest_and_drop_decide_what_a_client_gets_on_return() {
    for (offline, expected) in [(Offline::Queue, 5), (Offline::Latest, 1), (Offline::Drop, 0)] {
        let mut bench = Bench::new();
        let mut spec = every("tick", "client:a", 10);
        spec.offline = offline;
        bench.apply(spec);
        let mut ended = Vec::new();
        for n in 1..=5 {
            bench.wait_until(at(n * 10));
            ended.extend(bench.ends());
        }
        bench.call(Request::PauseJob(Pause::new("tick".parse().unwrap())));
        let sent = bench.connect("a", 1, &[]);
        assert_eq!(sent.len(), expected, "{offline:?}");
        assert!(sent.is_sorted(), "in serial order");
        assert_eq!(ended.len() + sent.len(), 5, "every delivery is explained: {ended:?}");
        let newer = bench.submit("client:a").serial;
        assert!(sent.iter().all(|serial| *serial < newer));
    }
}

#[test]
fn a_fast_restart_and_a_slow_one_follow_the_catch_up_policy() {
    for (policy, fired) in [(CatchUp::Latest, 1), (CatchUp::All, 6), (CatchUp::Skip, 0)] {
        let mut bench = Bench::new();
        let mut spec = every("tick", "all", 10);
        spec.catch_up = policy;
        bench.apply(spec);
        bench.restart(at(65));
        let runs = bench.runs_put();
        assert_eq!(runs.len(), fired, "{policy:?}");
        assert!(runs.iter().all(|run| run.cause == Cause::CatchUp));
        let state = bench.state("tick");
        let missed = state.missed.map_or(0, |missed| missed.total);
        assert_eq!(missed + fired as u64, 6);
        assert_eq!(state.next_due, Some(at(70)), "the phase is kept");
    }
}

#[test]
fn a_moment_that_passed_while_the_server_was_down_fires_on_start() {
    let mut bench = Bench::new();
    let mut spec = every("once", "all", 10);
    spec.rule = Rule::at(at(30));
    bench.apply(spec);
    bench.restart(at(3_600));
    assert_eq!(bench.runs_put().len(), 1);
    bench.restart(at(7_200));
    assert!(bench.runs_put().is_empty(), "once is once");
}

#[test]
fn a_moment_that_has_fired_does_not_fire_again_when_the_job_is_set_back_to_it() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let hourly = every("once", "client:a", 3_600);
    let once = |moment| JobSpec { rule: Rule::at(at(moment)), ..hourly.clone() };
    bench.apply(once(30));
    bench.wait_until(at(30));
    let [serial] = bench.sent()[..] else { panic!("it fires") };
    bench.succeed(1, serial);
    for restarts in [false, true] {
        bench.apply(hourly.clone());
        if restarts {
            bench.restart(at(40));
        }
        bench.apply(once(30));
        assert_eq!(bench.runs_put().len(), 0, "it would be the same run, which has ended");
        assert_eq!(bench.state("once").next_due, None);
    }
    // Another moment of the past is caught up.
    bench.apply(once(31));
    assert_eq!(bench.runs_put().len(), 1);
}

#[test]
fn now_fires_at_creation_and_never_again() {
    let mut bench = Bench::new();
    let mut spec = every("hello", "all", 10);
    spec.rule = Rule::now();
    bench.apply(spec.clone());
    assert_eq!(bench.runs_put().len(), 1);
    bench.apply(spec.clone());
    assert!(bench.runs_put().is_empty(), "apply is idempotent");
    spec.description = Some("changed".into());
    bench.now = at(5);
    bench.apply(spec);
    assert!(bench.runs_put().is_empty(), "a change of words is no occurrence");
}

#[test]
fn now_in_a_list_fires_at_creation_and_the_others_go_on() {
    let mut bench = Bench::new();
    let mut spec = every("hello", "all", 10);
    spec.rule = serde_json::from_str(r#"["now", {"every": "10s"}]"#).unwrap();
    bench.apply(spec.clone());
    let mut fired: Vec<_> = bench.runs_put().iter().map(|run| run.scheduled_at).collect();
    bench.now = at(5);
    spec.rule = serde_json::from_str(r#"["now", {"every": "20s"}]"#).unwrap();
    bench.apply(spec);
    for second in 6..=45 {
        bench.wait_until(at(second));
        fired.extend(bench.runs_put().iter().map(|run| run.scheduled_at));
    }
    assert_eq!(fired, [at(0), at(20), at(40)], "a change of the rule is no creation");
}

#[test]
fn a_count_ends_the_rule() {
    let mut bench = Bench::new();
    let mut spec = every("twice", "all", 10);
    spec.rule.count = Some(2);
    bench.apply(spec);
    let mut fired = 0;
    for second in 1..=60 {
        bench.wait_until(at(second));
        fired += bench.runs_put().iter().filter(|run| run.cause == Cause::Scheduled).count();
    }
    // Each run is put when it fires; nobody is connected, so none ends.
    assert_eq!(fired, 2);
    assert_eq!(bench.state("twice").next_due, None);
}

#[test]
fn pause_stops_and_resume_catches_up() {
    let mut bench = Bench::new();
    bench.apply(every("tick", "all", 10));
    bench.call(Request::PauseJob(Pause::new("tick".parse().unwrap())));
    bench.wait_until(at(45));
    assert!(bench.runs_put().is_empty());
    assert_eq!(bench.engine.next_deadline(), None);
    bench.call(Request::ResumeJob("tick".parse().unwrap()));
    let [run] = &bench.runs_put()[..] else { panic!("the latest one") };
    assert_eq!((run.cause, run.scheduled_at), (Cause::CatchUp, at(40)));
    assert_eq!(bench.engine.next_deadline(), Some(at(50)));
}

#[test]
fn the_newer_connection_wins_and_gets_what_the_older_did_not_take() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let first = bench.submit("client:a").serial;
    let second = bench.submit("client:a").serial;
    let sent = bench.connect("a", 2, &[first]);
    assert_eq!(sent, [second], "what the client has is not sent again");
    assert!(bench.effects.iter().any(|effect| matches!(
        effect,
        Effect::Close { session: SessionId(1), reason: CloseReason::Displaced }
    )));
    bench.succeed(1, first);
    assert!(bench.ends().is_empty(), "the older connection counts no more");
    bench.succeed(2, first);
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Succeeded)]);
}

#[test]
fn a_late_answer_is_acknowledged_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = bench.submit("client:a").serial;
    bench.succeed(1, serial);
    bench.succeed(1, serial);
    assert!(bench.changes.is_empty());
    assert!(matches!(bench.effects[..], [Effect::Ack { .. }]));
}

#[test]
fn what_nobody_takes_expires_and_what_is_taken_does_not() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let mut submission = Submission::new(Target::All, "noop".parse().unwrap());
    submission.expires_after = Some(Duration::from_secs(10));
    let Reply::Run(run) = bench.call(Request::Submit(submission)) else { panic!() };
    bench.accept(1, run.serial);
    bench.wait_until(at(10));
    let mut ends = bench.ends();
    ends.sort();
    assert_eq!(ends, [("b".into(), DeliveryState::Expired), ("c".into(), DeliveryState::Expired)]);
    bench.succeed(1, run.serial);
    assert_eq!(bench.runs_put()[0].counts.succeeded, 1);
    assert!(bench.runs_put()[0].ended_at.is_some());
}

#[test]
fn the_window_bounds_what_is_sent_and_every_answer_makes_room() {
    let mut bench = Bench::new();
    for _ in 0..ROUTINE + 10 {
        bench.submit("client:a");
    }
    let sent = bench.connect("a", 1, &[]);
    assert_eq!(sent.len(), ROUTINE);
    bench.succeed(1, sent[0]);
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn cancel_ends_what_waits_and_asks_where_it_runs() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = bench.submit("group:abc").serial;
    bench.call(Request::CancelRun(serial));
    assert_eq!(bench.ends().len(), 2, "b and c are away");
    let asked = |effect: &Effect| matches!(effect, Effect::Cancel { session: SessionId(1), .. });
    assert!(bench.effects.iter().any(asked));
    let outcome = Outcome::ended(DeliveryState::Cancelled, "stopped");
    bench.input(Input::Responded { session: SessionId(1), attempt: serial.into(), outcome });
    assert_eq!(bench.runs_put()[0].counts.cancelled, 3);
    let error = bench.ask(Request::CancelRun(serial)).unwrap_err().to_string();
    assert_eq!(error, format!("run {serial} is not open: it has ended or never was"));
}

#[test]
fn a_removed_job_and_a_removed_client_explain_their_deliveries() {
    let mut bench = Bench::new();
    bench.apply(every("tick", "all", 10));
    bench.wait_until(at(10));
    bench.call(Request::RemoveClient("b".parse().unwrap()));
    assert_eq!(bench.ends(), [("b".into(), DeliveryState::Removed)]);
    bench.call(Request::RemoveJob("tick".parse().unwrap()));
    assert_eq!(bench.ends().len(), 2);
    bench.wait_until(at(100));
    assert!(bench.runs_put().is_empty());
    let Reply::Client(view) = bench.call(Request::AddClient(NewClient {
        id: "b".parse().unwrap(),
        groups: [].into(),
        token: None,
    })) else {
        panic!()
    };
    assert_eq!(view.open, 0, "a revived client begins anew");
}

#[test]
fn apply_is_a_whole_and_names_what_is_wrong() {
    let mut bench = Bench::new();
    bench.apply(every("old", "all", 10));
    let twice = vec![every("new", "all", 10), every("new", "all", 20)];
    let apply = Apply { jobs: twice, prune: true, ..Apply::default() };
    let error = bench.ask(Request::Apply(apply)).unwrap_err();
    assert_eq!(error.to_string(), "job \"new\" is defined twice");
    let jobs = vec![every("new", "group:nobody", 10)];
    let mut apply = Apply { jobs, prune: true, dry_run: true, ..Apply::default() };
    let Reply::Planned(plans) = bench.call(Request::Apply(apply.clone())) else { panic!() };
    let changes: Vec<_> = plans.jobs.into_iter().map(|plan| plan.change).collect();
    let actions: Vec<_> = changes.iter().map(|change| change.action).collect();
    assert_eq!(actions, [JobAction::Create, JobAction::Remove]);
    assert_eq!(changes[0].warnings.len(), 1, "{changes:?}");
    assert!(bench.changes.is_empty(), "a dry run changes nothing");
    apply.dry_run = false;
    bench.call(Request::Apply(apply));
    let Reply::Jobs(jobs) = bench.call(Request::ListJobs(Page::first())) else { panic!() };
    let names: Vec<JobName> = jobs.into_iter().map(|view| view.job.spec.name).collect();
    assert_eq!(names, ["new".parse().unwrap()]);
}

#[test]
fn names_that_are_not_there_are_refused_with_the_nearest() {
    let mut bench = Bench::new();
    bench.apply(every("db-backup", "all", 10));
    let error = bench.ask(Request::TriggerJob("db-bakup".parse().unwrap())).unwrap_err();
    assert_eq!(error.to_string(), "no job named \"db-bakup\"; did you mean \"db-backup\"?");
    let submission = Submission::new("group:abd".parse().unwrap(), "noop".parse().unwrap());
    let error = bench.ask(Request::Submit(submission)).unwrap_err();
    assert_eq!(error.to_string(), "no group named \"abd\"; did you mean \"abc\"?");
}

#[test]
fn only_the_right_token_lets_in() {
    let mut bench = Bench::new();
    for (client, token, expected) in [
        ("a", "wrong", "wrong token for client \"a\""),
        ("nobody", "a", "no client is named \"nobody\""),
    ] {
        bench.input(Input::Connect {
            call: CallId(99),
            session: SessionId(9),
            client: client.parse().unwrap(),
            proof: Proof::Token(TokenHash::of(token)),
            taken: Vec::new(),
        });
        let [Effect::Reply { answer: Err(error), .. }] = &bench.effects[..] else {
            panic!("{:?}", bench.effects)
        };
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn disconnect_keeps_what_was_sent_for_the_return() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let serial = bench.submit("client:a").serial;
    bench.disconnect(1);
    assert_eq!(bench.connect("a", 2, &[]), [serial], "sent again until answered");
}

#[test]
fn a_definition_that_the_store_could_not_keep_is_refused() {
    let mut bench = Bench::new();
    let ranges = |year: u32| {
        let days = (1..=12).flat_map(|month| (1..=27).step_by(2).map(move |day| (month, day)));
        let dates: Vec<String> =
            days.map(|(month, day)| format!("{year}-{month:02}-{day:02}")).collect();
        serde_json::json!({ "every": "1h", "exclude": { "dates": dates } })
    };
    let rules: Vec<_> = (2030..2062).map(ranges).collect();
    let mut spec = every("tick", "all", 60);
    spec.rule = serde_json::from_value(rules.into()).unwrap();
    let apply = Apply { jobs: vec![spec], ..Apply::default() };
    let error = bench.ask(Request::Apply(apply)).unwrap_err().to_string();
    assert!(error.starts_with("job \"tick\": the definition has "), "{error}");
}
