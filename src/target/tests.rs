//! Tests of the parser: what is printed is read back, and what is wrong is told with its place.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Target {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn error(text: &str) -> String {
    text.parse::<Target>().unwrap_err().to_string()
}

#[test]
fn simple_targets_stay_as_they_are() {
    assert_eq!(parse("all"), Target::All);
    assert_eq!(parse("group:web"), Target::Group("web".parse().unwrap()));
    assert_eq!(parse("client:a:b"), Target::One("a:b".parse().unwrap()));
    assert_eq!(parse(" (( group:web)) "), parse("group:web"));
    for text in ["all", "group:web", "client:web-01"] {
        assert_eq!(parse(text).to_string(), text);
    }
}

#[test]
fn not_binds_tighter_than_and_and_and_tighter_than_or() {
    for (text, canonical) in [
        ("group:a or group:b and not group:c", "group:a or group:b and not group:c"),
        ("group:a or (group:b and (not group:c))", "group:a or group:b and not group:c"),
        ("(group:a or group:b) and group:c", "(group:a or group:b) and group:c"),
        ("(group:a and group:b) and group:c", "group:a and group:b and group:c"),
        ("not (group:a and group:b)", "not (group:a and group:b)"),
        ("10% of group:a and group:b", "10% of group:a and group:b"),
        ("10.50% of (group:a or group:b)", "10.5% of (group:a or group:b)"),
        ("0.05% of not 100% of all", "0.05% of not 100% of all"),
        ("label.rack!=r7 and label.os=linux", "label.rack != r7 and label.os = linux"),
        ("not label.rack = r7 or not label.rack", "label.rack != r7 or not label.rack"),
        (
            "label.a = \"two words\" or label.a=\"all\"",
            "label.a = \"two words\" or label.a = \"all\"",
        ),
        ("label.a = \"plain\" or label.b = \"\"", "label.a = plain or label.b = \"\""),
        (r#"label.a = "q\"b\\" or all"#, r#"label.a = "q\"b\\" or all"#),
    ] {
        assert_eq!(parse(text).to_string(), canonical, "{text}");
        assert_eq!(parse(canonical), parse(text), "{text}");
    }
    let or = parse("group:a or group:b and group:c");
    let Target::Where(Expr::Or(parts)) = or else { panic!("{or:?}") };
    assert!(matches!(&parts[..], [Expr::Group(_), Expr::And(_)]));
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_was_meant() {
    for (text, told) in [
        ("", "at 1: expected a target, not the end"),
        ("web", "at 1: unknown word \"web\"; write all, group:NAME, client:ID or"),
        ("all or grop:web", "at 8: unknown word \"grop\"; did you mean \"group\"?"),
        ("é or all", "at 1: unknown word \"é\""),
        ("not clinet:x", "at 5: unknown word \"clinet\"; did you mean \"client\"?"),
        ("group:", "at 1: group name \"\" is not valid"),
        ("group:a/b", "at 1: group name \"a/b\" is not valid"),
        ("group:a group:b", "at 9: expected \"and\", \"or\" or the end, not \"group:b\""),
        (
            "group:a adn group:b",
            "at 9: expected \"and\", \"or\" or the end, not \"adn\"; did you mean",
        ),
        ("(group:a", "at 9: a \")\" is missing"),
        ("group:a)", "at 8: expected \"and\", \"or\" or the end, not \")\""),
        ("group:a and", "at 12: expected a target, not the end"),
        ("and group:a", "at 1: expected a target, not \"and\""),
        ("10% group:a", "at 5: expected \"of\" after \"10%\", not \"group:a\""),
        ("101% of all", "at 1: \"101%\" is not a share"),
        // As many hundredths as 16 bits hold 64 more than.
        ("656% of all", "at 1: \"656%\" is not a share"),
        ("100.01% of all", "at 1: \"100.01%\" is not a share"),
        ("1.005% of all", "at 1: \"1.005%\" is not a share"),
        ("-1% of all", "at 1: \"-1%\" is not a share"),
        ("label.OS = linux", "at 1: label key \"OS\" is not valid"),
        ("label.os =", "at 11: expected a value, not the end"),
        ("label.os = not group:a", "at 12: expected a value; write \"not\" in quotes"),
        ("label.os == linux", "at 11: expected a value, not \"=\""),
        ("label.os = \"linux", "at 12: a text in quotes has no end"),
        ("label.os = \"a\\n\"", "at 12: after \\ in a text in quotes"),
        ("group:a, group:b", "at 8: unexpected ','"),
        ("!group:a", "at 1: unexpected '!'"),
    ] {
        let error = error(text);
        assert!(error.contains(&format!("is not valid {told}")), "{text}: {error}");
    }
}

#[test]
fn length_and_depth_are_limited() {
    let nested = |depth: usize| format!("{}all{}", "(".repeat(depth - 1), ")".repeat(depth - 1));
    assert_eq!(parse(&nested(MAX_DEPTH)), Target::All);
    assert!(error(&nested(MAX_DEPTH + 1)).contains("at 33: it is nested deeper than 32"));
    let nots = |count: usize| format!("{}all", "not ".repeat(count));
    assert_eq!(parse(&nots(MAX_DEPTH - 1)).to_string(), nots(MAX_DEPTH - 1));
    assert!(error(&nots(MAX_DEPTH)).contains("nested deeper"));
    let side_by_side = vec!["all"; 146].join(" or ");
    assert_eq!(parse(&side_by_side).to_string(), side_by_side, "{}", side_by_side.len());
    let long = format!("{side_by_side} or all");
    assert!(error(&long).ends_with("it has 1025 bytes; the most is 1024"), "{}", error(&long));
    // Short as it is written, too long as it is printed and stored.
    let terse = vec!["label.a=b"; 70].join(" or ");
    assert!(terse.len() < MAX_TARGET && error(&terse).contains("the most is 1024"));
}

#[test]
fn a_tree_that_no_text_gives_is_found() {
    let all = || Expr::All;
    assert!(Target::Where(Expr::And(vec![all(), all()])).check().is_ok());
    for expr in [
        Expr::All,
        Expr::And(vec![all()]),
        Expr::Or(vec![]),
        Expr::And(vec![all(), Expr::And(vec![all(), all()])]),
        (0..40).fold(all(), |expr, _| Expr::negated(expr)),
    ] {
        assert!(Target::Where(expr.clone()).check().is_err(), "{expr:?}");
    }
}

pub(crate) fn exprs() -> impl Strategy<Value = Expr> {
    let name = || prop::sample::select(vec!["a", "b", "c.d"]);
    let value = prop_oneof!["[a-c]", Just("not".to_owned()), Just(String::new()), "[ -~äö]{0,5}",];
    let leaf = prop_oneof![
        Just(Expr::All),
        name().prop_map(|name| Expr::Group(name.parse().unwrap())),
        name().prop_map(|name| Expr::Client(name.parse().unwrap())),
        name().prop_map(|key| Expr::Labelled(key.parse().unwrap())),
        (name(), value)
            .prop_map(|(key, value)| { Expr::Label(key.parse().unwrap(), value.parse().unwrap()) }),
    ];
    leaf.prop_recursive(5, 24, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(Expr::negated),
            (0_u16..=10_000, inner.clone()).prop_map(|(share, inner)| {
                Expr::sample(Share::from_hundredths(share).unwrap(), inner)
            }),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.and(b)),
            (inner.clone(), inner).prop_map(|(a, b)| a.or(b)),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(expr in exprs()) {
        let target = Target::from(expr);
        let text = target.to_string();
        prop_assume!(text.len() <= MAX_TARGET);
        prop_assert_eq!(parse(&text), target.clone());
        prop_assert!(target.check().is_ok());
        let json = serde_json::to_string(&target).unwrap();
        prop_assert_eq!(serde_json::from_str::<Target>(&json).unwrap(), target);
    }

    #[test]
    fn any_text_is_a_target_or_an_error(text in ".{0,60}") {
        if let Ok(target) = text.parse::<Target>() {
            prop_assert_eq!(parse(&target.to_string()), target);
        }
    }

    #[test]
    fn any_words_are_a_target_or_an_error(
        words in prop::collection::vec(prop::sample::select(vec![
            "all", "not", "and", "or", "of", "10%", "(", ")", "=", "!=", "label.a", "group:b",
            "client:c", "\"x y\"", "word",
        ]), 0..12),
    ) {
        if let Ok(target) = words.join(" ").parse::<Target>() {
            prop_assert_eq!(parse(&target.to_string()), target);
        }
    }
}
