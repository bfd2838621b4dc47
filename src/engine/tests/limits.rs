//! How much a client runs at once, as far as the server says it.

use super::*;
use crate::command_limit::CommandLimit;
use crate::engine::ClientLimit;

#[test]
fn a_clients_limit_is_stored_told_when_it_connects_and_taken_away() {
    let mut bench = Bench::new();
    let id: crate::ClientId = "a".parse().unwrap();
    let limit = |max_running| Request::LimitClient(ClientLimit { id: id.clone(), max_running });
    let four: CommandLimit = "4".parse().unwrap();
    bench.call(limit(Some(four)));
    assert!(matches!(&bench.changes[..], [Change::PutClient(_)]));
    bench.call(limit(Some(four)));
    assert!(bench.changes.is_empty(), "nothing has changed");
    bench.restart(at(1));
    assert_eq!(bench.client("a").max_running, Some(four));
    let told = |bench: &Bench| {
        bench.effects.iter().find_map(|effect| match effect {
            Effect::Reply { answer: Ok(Reply::Connected(limit)), .. } => Some(*limit),
            _ => None,
        })
    };
    bench.connect("a", 1, &[]);
    assert_eq!(told(&bench), Some(Some(four)));
    bench.call(limit(None));
    bench.connect("a", 2, &[]);
    assert_eq!(told(&bench), Some(None));
    let nobody = ClientLimit { id: "nobody".parse().unwrap(), max_running: None };
    let error = bench.ask(Request::LimitClient(nobody)).unwrap_err();
    assert!(error.to_string().contains("no client named \"nobody\""), "{error}");
}

#[test]
fn a_jobs_limit_reaches_its_command_and_a_bad_one_is_refused() {
    let mut bench = Bench::new();
    bench.connect("a", 1, &[]);
    let mut spec = every("tick", "client:a", 10);
    spec.per_client = Some("2".parse().unwrap());
    bench.apply(spec.clone());
    bench.wait_until(at(10));
    let sent = bench.effects.iter().find_map(|effect| match effect {
        Effect::Send { dispatch, .. } => Some(dispatch.per_client),
        _ => None,
    });
    assert_eq!(sent, Some(spec.per_client));
    spec.overlap = Overlap::Skip;
    let apply = Apply { jobs: vec![spec], ..Apply::default() };
    let error = bench.ask(Request::Apply(apply)).unwrap_err().to_string();
    assert!(error.contains("per_client 2 needs overlap \"allow\""), "{error}");
}
