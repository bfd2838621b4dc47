//! Inputs, recorded and read back.

use proptest::prelude::*;

use super::*;
use crate::actor::Actor;
use crate::client_record::{Proof, TokenHash};
use crate::engine::{CallId, Request, SessionId};
use crate::id::Serial;
use crate::json::Json;
use crate::run::{Attempt, DeliveryState, Outcome, Submission};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn attempt(n: u64) -> Attempt {
    let number = u32::try_from(n % 3 + 1).unwrap();
    Attempt { serial: Serial::from_parts(at(5), (n % 4).into()), number }
}

fn outcome(n: u64) -> Outcome {
    let length = usize::try_from(n % 50).unwrap();
    Outcome {
        state: DeliveryState::ALL[3 + usize::try_from(n).unwrap() % 9],
        reason: n.is_multiple_of(3).then(|| "why".repeat(length)),
        result: n.is_multiple_of(2).then(|| Json::new(&"é".repeat(length)).unwrap()),
        ran_ms: n.is_multiple_of(5).then_some(n),
    }
}

fn input(n: u64) -> Input {
    let session = SessionId(n * 7);
    let attempt = attempt(n);
    match n % 12 {
        0 => {
            let submission = Submission::new("all".parse().unwrap(), "work".parse().unwrap());
            let (request, actor) = (Request::Submit(submission), Actor::token("ci").unwrap());
            Input::Call { call: CallId(0), actor, request, entropy: u128::MAX - u128::from(n) }
        }
        1 => Input::Connect {
            call: CallId(0),
            session,
            client: "web-1".parse().unwrap(),
            proof: Proof::Token(TokenHash::of("secret")),
            taken: (0..n % 6).map(self::attempt).collect(),
        },
        2 => Input::Disconnect { session, reason: "gone".into() },
        3 | 4 => Input::Accepted { session, attempt },
        5 => Input::Started { session, attempt },
        6 | 7 => Input::Responded { session, attempt, outcome: outcome(n) },
        8 => Input::ClockJumped,
        9 => Input::Boot {
            version: "1".into(),
            settings: [("keep".to_owned(), "90d".to_owned())].into(),
        },
        10 => Input::Leaving { session },
        _ => Input::TokenUsed { token: "ci".parse().unwrap(), from: "::1".into() },
    }
}

/// What is kept of an input, as text.
fn kept(input: &Input) -> String {
    let mut input = input.clone();
    if let Input::Responded { outcome, .. } = &mut input {
        outcome.result = None;
    }
    format!("{input:?}")
}

fn length(input: &Input) -> Option<usize> {
    match input {
        Input::Responded { outcome, .. } => outcome.result.as_ref().map(|it| it.text().len()),
        _ => None,
    }
}

proptest! {
    #[test]
    fn what_was_recorded_comes_back(
        steps in proptest::collection::vec((0_u64..1_000, 0_i64..100), 0..200),
    ) {
        let mut recorder = Recorder::default();
        let mut now = 1_000_000;
        let mut expected = Vec::new();
        for (n, passed) in steps {
            now += passed;
            if n % 20 == 19 {
                recorder.deadline(at(now));
                expected.push((now, "deadline".to_owned(), None));
            } else {
                let input = input(n);
                recorder.input(at(now), &input);
                expected.push((now, kept(&input), length(&input)));
            }
        }
        let bytes = recorder.take();
        prop_assert!(recorder.is_empty());
        prop_assert_eq!(bytes.is_empty(), expected.is_empty());
        let found = if bytes.is_empty() { Vec::new() } else { read(&bytes).unwrap().collect() };
        prop_assert_eq!(found.len(), expected.len());
        for (moment, (millis, text, result)) in found.into_iter().zip(expected) {
            let Moment { at: time, told } = moment.unwrap();
            prop_assert_eq!(time, at(millis));
            match told {
                Told::Deadline => prop_assert_eq!(&text, "deadline"),
                Told::Input(input) => {
                    prop_assert_eq!(kept(&input), text);
                    prop_assert_eq!(length(&input), result);
                }
                Told::Restored(_) => panic!("nothing was restored"),
            }
        }
    }

    #[test]
    fn reading_any_bytes_never_panics(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200), known in any::<bool>(),
    ) {
        if let Some(first) = bytes.first_mut().filter(|_| known) {
            *first = super::VERSION;
        }
        if let Ok(moments) = read(&bytes) {
            moments.for_each(drop);
        }
    }
}

#[test]
fn questions_are_not_recorded_and_their_time_stays() {
    let mut recorder = Recorder::default();
    let ask = |request| Input::Call { call: CallId(1), actor: Actor::Library, request, entropy: 0 };
    recorder.input(at(50), &ask(Request::Status));
    assert!(recorder.is_empty());
    // The clock is set back: the engine's time is not.
    recorder.input(at(40), &Input::ClockJumped);
    recorder.input(at(60), &Input::ClockJumped);
    let bytes = recorder.take();
    let times: Vec<i64> = read(&bytes).unwrap().map(|it| it.unwrap().at.millis()).collect();
    assert_eq!(times, [50, 60]);
}

#[test]
fn every_request_that_changes_something_has_a_json_form() {
    let request = Request::PauseJobs {
        jobs: "db/".parse().unwrap(),
        terms: crate::PauseTerms { reason: Some("why".into()), ..crate::PauseTerms::default() },
    };
    let mut recorder = Recorder::default();
    let entropy = 3;
    let input = Input::Call { call: CallId(0), actor: Actor::Server, request, entropy };
    recorder.input(at(1), &input);
    let bytes = recorder.take();
    let Told::Input(found) = read(&bytes).unwrap().next().unwrap().unwrap().told else { panic!() };
    assert_eq!(format!("{found:?}"), format!("{input:?}"));
}
