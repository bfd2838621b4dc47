//! What is accepted, what is not and why, and the arithmetic of waves, rates and aborts.

use super::*;
use crate::run::Counts;

fn rollout(text: &str) -> Result<Rollout, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn a_rollout_comes_back_as_it_was_written() {
    for text in [
        r#"{"max_in_flight":50}"#,
        r#"{"max_in_flight":"10%","rate":{"per_second":2.5}}"#,
        r#"{"rate":{"per_second":1,"growth":{"factor":2,"after":10},"max_per_second":100}}"#,
        r#"{"waves":[{"share":"10%","success":"90%","approval":true,"wait":"10m"},{"share":"100%"}]}"#,
        r#"{"abort_on":[{"state":"failed","percent":"20%"},{"state":"any","percent":"5%","minimum":20}]}"#,
    ] {
        assert_eq!(serde_json::to_string(&rollout(text).unwrap()).unwrap(), text);
    }
}

#[test]
fn short_forms_mean_the_same_as_tables() {
    let short = r#"{"rate": 5, "waves": ["10%", "50%"], "abort_on": ["failed=20%@3"]}"#;
    let long = r#"{"rate": {"per_second": 5},
        "waves": [{"share": "10%"}, {"share": "50%"}, {"share": "100%"}],
        "abort_on": [{"state": "failed", "percent": "20%", "minimum": 3}]}"#;
    assert_eq!(rollout(short), rollout(long));
}

#[test]
fn what_cannot_be_is_named_with_its_value() {
    for (text, problem) in [
        ("{}", "rollout is empty"),
        (r#"{"waves": []}"#, "rollout is empty"),
        (r#"{"max_in_flight": 0}"#, "share \"0\" is not valid"),
        (r#"{"max_in_flight": "0%"}"#, "share \"0%\" is not valid"),
        (r#"{"max_in_flight": "101%"}"#, "share \"101%\" is not valid"),
        (r#"{"max_inflight": 5}"#, "unknown field `max_inflight`"),
        (r#"{"rate": 0}"#, "number \"0\" is not valid"),
        (r#"{"rate": {"per_second": 5, "max_per_second": 9}}"#, "without growth"),
        (r#"{"rate": {"growth": {"factor": 2, "after": 1}}}"#, "missing field `per_second`"),
        (
            r#"{"rate": {"per_second": 5, "growth": {"factor": 1, "after": 1}}}"#,
            "factor 1 is not valid: write more than 1, at most 100",
        ),
        (r#"{"rate": {"per_second": 5, "growth": {"factor": 2, "after": 0}}}"#, "after 0 is not"),
        (
            r#"{"rate": {"per_second": 5, "growth": {"factor": 2, "after": 1}, "max_per_second": 4}}"#,
            "max_per_second 4 is not valid: it is below per_second",
        ),
        (r#"{"waves": ["0%"]}"#, "per cent \"0%\" is not valid"),
        (r#"{"waves": ["150%"]}"#, "per cent \"150%\" is not valid: write 0.01% to 100%"),
        (r#"{"waves": ["50%", "50%"]}"#, "wave 2 of 50 % is not above the one before, of 50 %"),
        (r#"{"waves": ["50%", "60%", "10%"]}"#, "wave 3 of 10 % is not above"),
        (r#"{"waves": [{"share": "100%", "approval": true}]}"#, "approval of the last wave"),
        (r#"{"waves": [{"share": "100%", "wait": "1s"}]}"#, "wait of the last wave"),
        (r#"{"waves": [{"share": "100%", "success": "1%"}]}"#, "success of the last wave"),
        (r#"{"waves": [{"share": "10%", "wait": "400days"}]}"#, "the longest is"),
        (r#"{"waves": [{"share": "10%", "pause": "1s"}]}"#, "unknown field `pause`"),
        (r#"{"abort_on": ["failed"]}"#, "abort rule \"failed\" is not valid: write STATE=PERCENT"),
        (r#"{"abort_on": ["expired=5%"]}"#, "abort rule \"expired=5%\" is not valid"),
        (r#"{"abort_on": ["failed=0%"]}"#, "abort rule \"failed=0%\" is not valid"),
        (r#"{"abort_on": ["failed=5%@0"]}"#, "minimum 0 is not valid"),
        (r#"{"abort_on": [{"state": "lost", "percent": "5%"}]}"#, "unknown variant `lost`"),
    ] {
        let error = rollout(text).unwrap_err();
        assert!(error.contains(problem), "{text}: {error}");
    }
    let many: Vec<String> = (1..=33).map(|n| format!("\"{n}%\"")).collect();
    let error = rollout(&format!("{{\"waves\": [{}]}}", many.join(","))).unwrap_err();
    assert!(error.contains("waves has 34 entries; the most is 32"), "the rest is one: {error}");
}

#[test]
fn waves_of_small_groups_round_up() {
    let rollout = rollout(r#"{"waves": ["10%", "50%"]}"#).unwrap();
    let ends = |total| [0, 1, 2, 3].map(|wave| rollout.wave_end(wave, total));
    assert_eq!(ends(1), [0, 1, 1, 1]);
    assert_eq!(ends(3), [0, 1, 2, 3]);
    assert_eq!(ends(10), [0, 1, 5, 10]);
    assert_eq!(ends(11), [0, 2, 6, 11]);
}

#[test]
fn a_rate_grows_by_successes_up_to_its_highest() {
    let text =
        r#"{"rate": {"per_second": 1, "growth": {"factor": 2, "after": 10}, "max_per_second": 6}}"#;
    let rollout = rollout(text).unwrap();
    let rate = rollout.rate().unwrap();
    let told = [0, 9, 10, 19, 20, 30, u32::MAX].map(|n| rate.after(n).to_string());
    assert_eq!(told, ["1", "1", "2", "2", "4", "6", "6"]);
    let slow = Growth { factor: "1.001".parse().unwrap(), after: 1 };
    let slow = Rate::new("0.001".parse().unwrap(), Some(slow), None).unwrap();
    assert!(slow.after(1) > slow.after(0), "a rate that rounds to itself grows all the same");
    assert_eq!(slow.after(u32::MAX), Decimal::MAX);
}

#[test]
fn a_rollout_is_aborted_at_its_limit_and_not_one_before() {
    let rollout = rollout(r#"{"abort_on": ["failed=25%@4", "any=60%"]}"#).unwrap();
    let why = |succeeded, failed, rejected, skipped| {
        let total = 100;
        rollout.why_abort(&Counts {
            total,
            succeeded,
            failed,
            rejected,
            skipped,
            ..Counts::default()
        })
    };
    assert_eq!(why(2, 1, 0, 0), None, "3 have ended, it counts from 4 on");
    assert_eq!(
        why(3, 1, 0, 0).unwrap(),
        "the rollout was aborted: 1 of 4 ended deliveries failed, the limit is 25 %"
    );
    assert_eq!(why(4, 1, 0, 0), None, "20 %");
    assert_eq!(why(3, 1, 0, 90).is_some(), why(3, 1, 0, 0).is_some(), "skipped ones hide nothing");
    assert_eq!(why(0, 0, 0, 9), None, "none of none");
    assert!(why(0, 0, 1, 0).unwrap().contains("1 of 1 ended deliveries failed, timed out or were"));
}

#[test]
fn a_wave_is_reached_or_out_of_reach_at_its_share() {
    let verdict = |succeeded, open, success: &str| {
        Tally { counted: 4, succeeded, open }.verdict(success.parse().unwrap())
    };
    assert_eq!(verdict(3, 0, "75%"), Verdict::Reached);
    assert_eq!(verdict(3, 1, "76%"), Verdict::Open);
    assert_eq!(verdict(3, 0, "76%"), Verdict::OutOfReach);
    assert_eq!(verdict(0, 3, "100%"), Verdict::OutOfReach);
    assert_eq!(Tally::default().verdict(Percent::ALL), Verdict::Reached, "nobody is in it");
}
