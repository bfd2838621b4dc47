//! Tests of open and snapshot membership, and of what a run that has fired means for clients that
//! come and go.

use super::*;
use crate::engine::{Regroup, Relabel};
use crate::label::{Facts, LabelTrust, Labels};
use crate::target::Membership;

fn open_run(bench: &mut Bench, target: &str) -> Run {
    submit_with(bench, target, |submission| submission.membership = Membership::Open)
}

fn submit_with(bench: &mut Bench, target: &str, change: impl FnOnce(&mut Submission)) -> Run {
    let mut submission = Submission::new(target.parse().unwrap(), "noop".parse().unwrap());
    change(&mut submission);
    match bench.call(Request::Submit(submission)) {
        Reply::Run(run) => *run,
        other => panic!("{other:?}"),
    }
}

impl Bench {
    fn regroup(&mut self, id: &str, add: &[&str], remove: &[&str]) {
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let id = id.parse().unwrap();
        let change = Regroup { id, add: names(add), remove: names(remove) };
        self.call(Request::GroupClient(change));
    }

    fn label(&mut self, id: &str, set: &[&str], remove: &[&str]) {
        let set = Labels::parse(set.iter().copied()).unwrap();
        let remove = remove.iter().map(|key| key.parse().unwrap()).collect();
        self.call(Request::LabelClient(Relabel { id: id.parse().unwrap(), set, remove }));
    }

    fn open(&mut self, serial: Serial) -> Vec<String> {
        match self.call(Request::OpenDeliveries(serial)) {
            Reply::Deliveries(open) => {
                open.into_iter().map(|open| format!("{} {}", open.client, open.state)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn run(&mut self, serial: Serial) -> Option<Run> {
        match self.call(Request::OpenRuns(vec![serial])) {
            Reply::Runs(mut runs) => runs.pop(),
            other => panic!("{other:?}"),
        }
    }

    fn reasons(&self) -> Vec<String> {
        let ended = |effect: &Effect| match effect {
            Effect::Notify(event) => match &event.what {
                What::DeliveryEnded { response, .. } => response.outcome.reason.clone(),
                _ => None,
            },
            _ => None,
        };
        self.effects.iter().filter_map(ended).collect()
    }
}

#[test]
fn whoever_comes_into_the_target_of_an_open_run_gets_it() {
    let mut bench = Bench::new();
    let run = open_run(&mut bench, "group:abc or label.rack = r7");
    let closed = bench.submit("group:abc or label.rack = r7");
    assert_eq!(run.counts.total, 3);
    bench.add("d", &["abc"]);
    bench.add("e", &["other"]);
    bench.regroup("e", &["abc"], &[]);
    bench.add("f", &[]);
    bench.label("f", &["rack=r7"], &[]);
    assert_eq!(bench.open(run.serial).len(), 6);
    assert_eq!(bench.run(run.serial).unwrap().counts.total, 6);
    assert_eq!(bench.open(closed.serial).len(), 3, "a snapshot stays as it was");
    assert_eq!(bench.client("f").open, 1);
    assert_eq!(bench.connect("f", 6, &[]), [run.serial]);
    bench.succeed(6, run.serial);
    assert_eq!(bench.ends(), [("f".into(), DeliveryState::Succeeded)]);
    bench.label("f", &["rack=r8"], &[]);
    bench.label("f", &["rack=r7"], &[]);
    assert_eq!(bench.open(run.serial).len(), 5, "it has had it");
}

#[test]
fn the_delivery_is_stored_with_the_change_that_lets_its_client_in() {
    let mut bench = Bench::new();
    let run = open_run(&mut bench, "group:abc");
    bench.engine.handle(
        bench.now,
        Input::Call {
            actor: crate::Actor::Library,
            call: CallId(99),
            request: Request::AddClient(NewClient {
                id: "d".parse().unwrap(),
                groups: ["abc".parse().unwrap()].into(),
                token: None,
            }),
            entropy: 1,
        },
    );
    let units = bench.engine.take().units;
    let [unit] = &units[..] else { panic!("{units:?}") };
    assert!(
        unit.iter()
            .any(|change| matches!(change, Change::PutClient(client) if client.id.as_str() == "d"))
    );
    assert!(unit.iter().any(|change| matches!(change, Change::PutRun(put) if put.counts.total == 4 && put.serial == run.serial)));
    assert!(
        unit.iter().any(|change| matches!(change, Change::PutOpen { open, .. } if open.len() == 4))
    );
}

#[test]
fn a_restart_forgets_neither_who_came_nor_who_had_it() {
    let mut bench = Bench::new();
    let run = open_run(&mut bench, "group:abc");
    bench.connect("a", 1, &[]);
    bench.succeed(1, run.serial);
    bench.add("d", &["abc"]);
    bench.restart(at(5));
    assert_eq!(bench.run(run.serial).unwrap().counts.total, 4);
    assert_eq!(bench.open(run.serial), ["b queued", "c queued", "d queued"]);
    bench.regroup("a", &[], &["abc"]);
    bench.regroup("a", &["abc"], &[]);
    assert_eq!(bench.open(run.serial), ["b queued", "c queued", "d queued"], "a has had it");
    bench.add("e", &["abc"]);
    assert_eq!(bench.open(run.serial).len(), 4, "it is open still");
    bench.restart(at(6));
    assert_eq!(bench.run(run.serial).unwrap().counts.total, 5);
    assert_eq!(bench.connect("e", 2, &[]), [run.serial]);
}

#[test]
fn who_leaves_a_group_loses_what_was_not_taken() {
    let mut bench = Bench::new();
    let snapshot = bench.submit("group:abc");
    let open = open_run(&mut bench, "group:abc and not client:c");
    let sent = bench.connect("a", 1, &[]);
    assert_eq!(sent, [snapshot.serial, open.serial]);
    bench.accept(1, snapshot.serial);
    bench.regroup("a", &[], &["abc"]);
    assert_eq!(bench.ends(), [("a".into(), DeliveryState::Removed)]);
    assert_eq!(bench.reasons(), ["no longer in group:abc and not client:c"]);
    let cancelled =
        |effect: &Effect| matches!(effect, Effect::Cancel { serial, .. } if *serial == open.serial);
    assert!(bench.effects.iter().any(cancelled), "it had been sent");
    assert_eq!(bench.open(snapshot.serial)[0], "a accepted", "it was taken");
    bench.regroup("b", &["other"], &["abc"]);
    assert_eq!(
        bench.reasons(),
        ["no longer in group:abc", "no longer in group:abc and not client:c"]
    );
    assert_eq!(bench.run(snapshot.serial).unwrap().counts.removed, 1);
    assert_eq!(bench.run(open.serial), None, "nobody is left");
    bench.restart(at(1));
    assert_eq!(bench.client("b").open, 0);
}

#[test]
fn a_change_of_labels_takes_from_open_runs_alone() {
    let mut bench = Bench::new();
    for id in ["a", "b"] {
        bench.label(id, &["rack=r7", "tier=front"], &[]);
    }
    let snapshot = bench.submit("label.rack = r7");
    let open = open_run(&mut bench, "label.rack = r7 and label.tier = front");
    bench.label("a", &["rack=r8"], &[]);
    assert_eq!(bench.reasons(), ["no longer in label.rack = r7 and label.tier = front"]);
    assert_eq!(bench.open(snapshot.serial), ["a queued", "b queued"]);
    bench.label("b", &[], &["tier"]);
    assert_eq!(bench.run(open.serial), None);
    // Another group has nothing to do with a run that is not for it.
    bench.regroup("a", &[], &["abc"]);
    assert_eq!(bench.open(snapshot.serial), ["a queued", "b queued"]);
}

#[test]
fn runs_that_are_expired_cancelled_or_ended_take_nobody() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let expired = submit_with(&mut bench, "group:abc", |submission| {
        submission.membership = Membership::Open;
        submission.expires_after = Some(Duration::from_secs(10));
    });
    let cancelled = open_run(&mut bench, "group:abc");
    let ended = open_run(&mut bench, "client:a");
    for serial in [expired.serial, cancelled.serial, ended.serial] {
        bench.accept(1, serial);
    }
    bench.succeed(1, ended.serial);
    bench.call(Request::CancelRun(cancelled.serial));
    bench.wait_until(at(11));
    bench.add("d", &["abc"]);
    assert_eq!(bench.client("d").open, 0);
    for serial in [expired.serial, cancelled.serial] {
        assert_eq!(bench.open(serial), ["a accepted"], "it is open at the client that took it");
    }
    let late = open_run(&mut bench, "group:abc");
    bench.add("e", &["abc"]);
    assert_eq!(bench.open(late.serial).len(), 5, "one that stands takes whoever comes");
}

#[test]
fn a_revived_client_gets_what_it_has_not_had() {
    let mut bench = Bench::new();
    bench.call(Request::RemoveClient("b".parse().unwrap()));
    let run = open_run(&mut bench, "group:abc");
    bench.add("b", &["abc"]);
    assert_eq!(bench.open(run.serial), ["a queued", "b queued", "c queued"]);
    bench.call(Request::RemoveClient("b".parse().unwrap()));
    bench.add("b", &["abc"]);
    assert_eq!(bench.open(run.serial), ["a queued", "c queued"], "its delivery has ended");
}

#[test]
fn offline_and_overlap_hold_for_who_comes_later() {
    let mut bench = Bench::new();
    let dropped = submit_with(&mut bench, "group:abc", |submission| {
        submission.membership = Membership::Open;
        submission.offline = Offline::Queue;
    });
    let mut spec = every("tick", "group:abc", 10);
    spec.membership = Membership::Open;
    spec.overlap = Overlap::Skip;
    bench.apply(spec);
    bench.add("d", &[]);
    bench.connect("d", 4, &[]);
    bench.wait_until(at(10));
    bench.wait_until(at(20));
    bench.regroup("d", &["abc"], &[]);
    let sent = bench.sent();
    assert_eq!(sent.len(), 2, "the submitted one, and the first of the job");
    assert_eq!(sent[0], dropped.serial);
    let reasons = bench.reasons();
    assert_eq!(reasons, [format!("run {} has not ended on this client", sent[1])]);

    let mut latest = every("latest", "group:late", 10);
    latest.membership = Membership::Open;
    latest.offline = Offline::Latest;
    bench.add("e", &["late"]);
    bench.apply(latest);
    bench.connect("e", 5, &[]);
    bench.wait_until(at(30));
    bench.wait_until(at(40));
    bench.add("f", &["late"]);
    assert_eq!(bench.ends(), [("f".into(), DeliveryState::Superseded)]);
    assert_eq!(bench.client("f").open, 1);
}

#[test]
fn a_run_that_drops_for_those_away_drops_for_who_comes_away() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let run = submit_with(&mut bench, "group:abc", |submission| {
        submission.membership = Membership::Open;
        submission.offline = Offline::Drop;
    });
    bench.add("d", &["abc"]);
    assert_eq!(bench.reasons(), ["the client was away"]);
    assert_eq!(bench.run(run.serial).unwrap().counts.skipped, 3);
    assert_eq!(bench.open(run.serial), ["a sent"]);
}

#[test]
fn spread_gives_who_comes_later_its_own_moment() {
    let mut bench = Bench::new();
    let mut spec = every("tick", "group:abc", 600);
    spec.membership = Membership::Open;
    spec.spread = Some(Duration::from_secs(300));
    bench.apply(spec);
    bench.wait_until(at(600));
    bench.add("d", &[]);
    bench.connect("d", 4, &[]);
    bench.regroup("d", &["abc"], &[]);
    assert_eq!(bench.sent(), [], "its moment is to come");
    let mut sent = Vec::new();
    for second in 601..900 {
        bench.wait_until(at(second));
        sent.extend(bench.sent());
    }
    assert_eq!(sent.len(), 1);
}

#[test]
fn facts_are_stored_when_they_change_and_count_only_when_trusted() {
    let facts = |rack: &str| {
        let labels = Labels::parse([format!("rack={rack}").as_str()]).unwrap();
        Box::new(Facts::of_program("1.2").unwrap().labelled(labels).unwrap())
    };
    let tell = |bench: &mut Bench, session: u64, rack: &str| {
        bench.input(Input::Facts { session: SessionId(session), facts: facts(rack) });
    };
    let puts = |bench: &Bench| {
        bench.changes.iter().filter(|change| matches!(change, Change::PutClient(_))).count()
    };
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    tell(&mut bench, 1, "r7");
    assert_eq!(puts(&bench), 1);
    tell(&mut bench, 1, "r7");
    assert_eq!(puts(&bench), 0, "nothing new");
    tell(&mut bench, 9, "r7");
    assert_eq!(puts(&bench), 0, "no such connection");
    let view = bench.client("a");
    assert_eq!((view.facts, view.trusted), (Some(facts("r7")), vec![]));
    let nobody = bench.submit("label.rack = r7");
    assert_eq!(nobody.reason.unwrap(), "no client has a label rack that counts for targets");

    bench.restart(at(1));
    bench.engine.trust_labels("rack".parse::<LabelTrust>().unwrap());
    assert_eq!(bench.client("a").trusted, ["rack".parse().unwrap()]);
    let run = open_run(&mut bench, "label.rack = r7");
    assert_eq!(run.counts.total, 1);
    assert_eq!(bench.submit("label.os").counts.total, 0, "another fact is not trusted");
    bench.connect("b", 2, &[]);
    tell(&mut bench, 2, "r7");
    assert_eq!(bench.sent(), [run.serial], "what it says lets it in");
    bench.label("a", &["rack=r8"], &[]);
    assert_eq!(bench.reasons(), ["no longer in label.rack = r7"], "the owner's label wins");
    assert_eq!(bench.client("a").trusted, []);
}

#[test]
fn bad_targets_and_labels_are_refused_with_the_name() {
    let mut bench = Bench::new();
    let mut told = |target: &str| {
        let submission = Submission::new(target.parse().unwrap(), "noop".parse().unwrap());
        bench.ask(Request::Submit(submission)).unwrap_err().to_string()
    };
    assert_eq!(
        told("group:abc and not group:abd"),
        "no group named \"abd\"; did you mean \"abc\"?"
    );
    assert!(told("group:abc or client:zz").starts_with("no client named \"zz\""));
    let mut submission = Submission::new("all".parse().unwrap(), "noop".parse().unwrap());
    submission.target = crate::Target::Where(crate::Expr::And(Vec::new()));
    let error = bench.ask(Request::Submit(submission)).unwrap_err().to_string();
    assert!(error.contains("is not valid"), "{error}");

    let nobody = |bench: &mut Bench, target: &str| bench.submit(target).reason.unwrap();
    assert_eq!(nobody(&mut bench, "group:abc and not all"), "no client is in: not all");
    assert_eq!(
        nobody(&mut bench, "group:abc and label.os = linux"),
        "no client has a label os that counts for targets"
    );
    bench.label("a", &["rack=r7"], &[]);
    assert_eq!(nobody(&mut bench, "label.rack = r8"), "no client has label rack=r8");
    assert_eq!(
        nobody(&mut bench, "client:b and label.rack = r7"),
        "no client is in all of: client:b and label.rack = r7"
    );
    assert_eq!(nobody(&mut bench, "0% of all"), "0% is nobody");

    let mut relabel = |set: &[&str], remove: &[&str]| {
        let set = Labels::parse(set.iter().copied()).unwrap();
        let remove = remove.iter().map(|key| key.parse().unwrap()).collect();
        let change = Relabel { id: "a".parse().unwrap(), set, remove };
        bench.ask(Request::LabelClient(change)).unwrap_err().to_string()
    };
    let stray = relabel(&[], &["rak"]);
    assert_eq!(stray, "no label set at the client named \"rak\"; did you mean \"rack\"?");
    let many: Vec<String> = (0..32).map(|n| format!("k{n}=v")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(relabel(&many, &[]), "client a: 33 labels; the most is 32");
}
