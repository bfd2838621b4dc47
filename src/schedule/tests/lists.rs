//! Several rules on one job.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn rule(text: &str) -> Rule {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_list_fires_at_each_moment_of_its_rules_once() {
    let list = rule(
        r#"[{"cron": "0 6 * * *"}, {"cron": "0 */3 1 1 *"}, {"at": "2026-01-01T07:00:00Z"}, "now",
            {"every": "1h", "from": "2026-01-01T05:00:00Z", "end": "2026-01-01T06:00:00Z"}]"#,
    );
    let expected = [0, 3, 5, 6, 7, 9, 12, 15, 18, 21, 30];
    let midnight = at("2026-01-01T00:00Z");
    let expected = expected.map(|hour| midnight.plus(Duration::from_secs(hour * 3_600)));
    assert_eq!(first(&list, 11), expected);
}

#[test]
fn start_and_end_hold_for_one_rule_beside_it_and_for_all_beside_the_list() {
    let list = rule(
        r#"{"any": [{"cron": "0 6 * * *", "start": "2026-01-03T00:00:00Z"},
                    {"cron": "0 7 * * *", "end": "2026-01-04T00:00:00Z"}],
            "start": "2026-01-02T00:00:00Z", "end": "2026-01-04T12:00:00Z"}"#,
    );
    let expected = [
        at("2026-01-02T07:00Z"),
        at("2026-01-03T06:00Z"),
        at("2026-01-03T07:00Z"),
        at("2026-01-04T06:00Z"),
    ];
    assert_eq!(first(&list, 9), expected);
}

#[test]
fn a_list_ends_with_the_last_of_its_rules() {
    let list = rule(r#"[{"at": "2026-01-02T00:00:00Z"}, {"at": "2026-01-01T00:00:00Z"}]"#);
    assert_eq!(first(&list, 9), [at("2026-01-01T00:00Z"), at("2026-01-02T00:00Z")]);
}

proptest! {
    #[test]
    fn a_list_is_the_union_of_its_rules(
        periods in proptest::collection::vec((1_u64..7_200, 0_i64..86_400_000), 1..5),
        minutes in proptest::collection::vec(0_u32..60, 0..4),
    ) {
        let (from, to) = (at("2026-10-24T00:00Z"), at("2026-10-26T00:00Z"));
        let mut rules: Vec<Rule> = periods.iter().map(|(period, offset)| {
            let from = Some(Timestamp::from_millis(from.millis() + offset));
            crate::schedule::When::Every { period: Duration::from_secs(*period), from }.into()
        }).collect();
        rules.extend(minutes.iter().map(|minute| {
            Rule::cron(&format!("{minute} * * * *"), "Europe/Berlin").unwrap()
        }));
        let series = |rule: &Rule| {
            let mut after = from;
            let next = || {
                after = rule.next_after(after, from).filter(|next| *next < to)?;
                Some(after)
            };
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        let union: BTreeSet<Timestamp> = rules.iter().flat_map(&series).collect();
        let list = series(&Rule::any(rules).unwrap());
        prop_assert_eq!(list, union.into_iter().collect::<Vec<_>>());
    }
}
