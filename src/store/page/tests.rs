//! Pages read back as they were written, whatever the results and wherever they are cut.

use proptest::prelude::*;

use super::*;

fn entry(client: u32, at: i64, outcome: Outcome) -> PageEntry {
    let at = Timestamp::from_millis(at);
    PageEntry { client: ClientNo(client), at, attempt: 1, retried: false, outcome }
}

/// Reads parts back; a result outside comes from `outside`.
fn read(encoded: &Encoded<'_>) -> Vec<PageEntry> {
    let mut entries = Vec::new();
    for part in &encoded.parts {
        for row in rows(part).unwrap() {
            let row = row.unwrap();
            let text = match row.result {
                None => None,
                Some(StoredResult::Inline(text)) => Some(text),
                Some(StoredResult::Outside { bytes }) => {
                    let found =
                        encoded.outside.iter().find(|(client, _)| *client == row.client).unwrap();
                    assert_eq!(found.1.len() as u64, bytes);
                    Some(found.1)
                }
            };
            let outcome = row.outcome(text).unwrap();
            let Row { client, at, attempt, retried, .. } = row;
            entries.push(PageEntry { client, at, attempt, retried, outcome });
        }
    }
    entries
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    (
        0_u8..12,
        proptest::option::of(".{0,40}"),
        proptest::option::of(prop_oneof![0_usize..50, 16_000_usize..40_000]),
        proptest::option::of(any::<u64>()),
    )
        .prop_map(|(state, reason, result, ran_ms)| Outcome {
            state: DeliveryState::from_code(state).unwrap(),
            reason,
            result: result.map(|size| Json::new(&"x".repeat(size)).unwrap()),
            ran_ms,
        })
}

proptest! {
    #[test]
    fn responses_come_back_and_no_part_is_too_large(
        outcomes in proptest::collection::vec(
            (any::<i64>(), any_outcome(), 1_u32..4, any::<bool>()),
            0..40,
        ),
    ) {
        let entries: Vec<PageEntry> = (0_u32..)
            .zip(outcomes)
            .map(|(client, (at, outcome, attempt, retried))| PageEntry {
                attempt,
                retried,
                ..entry(client * 1_000_003, at, outcome)
            })
            .collect();
        let encoded = encode(&entries);
        prop_assert!(encoded.parts.iter().all(|part| part.len() <= MAX_PART));
        prop_assert_eq!(read(&encoded), entries);
    }

    #[test]
    fn any_bytes_are_read_without_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        known in any::<bool>(),
    ) {
        if let (true, Some(first)) = (known, bytes.first_mut()) {
            *first = VERSION;
        }
        if let Ok(rows) = rows(&bytes) {
            for row in rows.flatten() {
                let _ = row.outcome(row.reason);
            }
        }
    }

    #[test]
    fn a_page_that_was_hurt_is_read_without_panic(
        outcomes in proptest::collection::vec(any_outcome(), 1..5),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let entries: Vec<_> = outcomes.into_iter().map(|outcome| entry(1, 2, outcome)).collect();
        for mut part in encode(&entries).parts {
            let place = place.index(part.len());
            part[place] = byte;
            part.truncate(cut.index(part.len()) + 1);
            if let Ok(rows) = rows(&part) {
                let _ = rows.count();
            }
        }
    }
}

#[test]
fn a_usual_response_takes_few_bytes() {
    let at = 1_795_000_000_000;
    let outcome = |n: u32| Outcome {
        ran_ms: Some(120),
        ..Outcome::succeeded(Json::new(&serde_json::json!({ "n": n })).unwrap())
    };
    let entries: Vec<_> =
        (0..100).map(|n| entry(100_000 + n, at + i64::from(n), outcome(n))).collect();
    let encoded = encode(&entries);
    assert_eq!(encoded.parts.len(), 1);
    assert!(encoded.parts[0].len() < 100 * 18, "{} bytes", encoded.parts[0].len());
}

#[test]
fn long_reasons_are_cut_on_a_character_and_many_of_them_make_parts() {
    let reason = "é".repeat(5_000);
    let entries: Vec<_> =
        (0..30).map(|n| entry(n, 0, Outcome::ended(DeliveryState::Failed, &*reason))).collect();
    let encoded = encode(&entries);
    assert!(encoded.parts.len() > 1);
    let back = read(&encoded);
    assert_eq!(back.len(), 30);
    let cut = back[29].outcome.reason.as_ref().unwrap();
    assert!(cut.len() <= MAX_REASON && cut.len() > MAX_REASON - 4, "{}", cut.len());
    assert!(cut.ends_with("é … (cut, it had 10000 bytes)"), "{cut}");
}

#[test]
fn no_responses_still_make_a_part() {
    assert_eq!(encode(&[]).parts, [[VERSION]]);
}

#[test]
fn a_state_that_is_not_known_is_an_error_that_names_it() {
    let part = [VERSION, 1, 0, 13];
    let error = rows(&part).unwrap().next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "state 13 is not known");
}
