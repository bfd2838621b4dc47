//! Rollouts in job files.

use super::*;

#[test]
fn a_rollout_is_read_from_its_table_and_its_short_forms() {
    let text = r#"
name = "upgrade"
target = "all"
command = "x"
rule = "now"
[rollout]
max_in_flight = "10%"
rate = { per_second = 0.5, growth = { factor = 2, after = 10 } }
waves = ["10%", { share = "50%", approval = true, wait = "10m" }]
abort_on = ["failed=20%@5", { state = "any", percent = "50%" }]
"#;
    let jobs = toml(text).unwrap();
    let expected = r#"{"max_in_flight":"10%","rate":{"per_second":0.5,"growth":{"factor":2,"after":10}},"waves":[{"share":"10%"},{"share":"50%","approval":true,"wait":"10m"},{"share":"100%"}],"abort_on":[{"state":"failed","percent":"20%","minimum":5},{"state":"any","percent":"50%"}]}"#;
    assert_eq!(serde_json::to_string(&jobs[0].spec.rollout).unwrap(), expected);
}

#[test]
fn what_is_wrong_with_a_rollout_is_told_with_its_place() {
    let text = r#"
name = "upgrade"
target = "all"
command = "x"
rule = "now"
rollout = { waves = ["50%", "10%"] }
"#;
    assert_errors(
        toml(text),
        &["jobs/a.toml:6: job \"upgrade\": rollout: wave 2 of 10 % is not above the one before"],
    );
    let text = text.replace(r#"["50%", "10%"]"#, r#"["50%", { share = "0%" }]"#);
    assert_errors(
        toml(&text),
        &["jobs/a.toml:6: job \"upgrade\": rollout.waves[1].share: per cent \"0%\" is not valid"],
    );
}
