use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;

fn labels(text: &[(&str, &str)]) -> Labels {
    text.iter().copied().collect()
}

fn read(value: &Value) -> LabelSelector {
    selector(value).unwrap()
}

#[test]
fn labels_are_found_and_equal_ones_are_there_once() {
    let some = labels(&[("b", "2"), ("a", "1"), ("", "")]);
    assert_eq!(some.iter().collect::<Vec<_>>(), [("", ""), ("a", "1"), ("b", "2")]);
    assert_eq!(
        (some.get("a"), some.get("b"), some.get("c"), some.get("")),
        (Some("1"), Some("2"), None, Some(""))
    );
    let same = labels(&[("a", "1"), ("b", "2"), ("", "")]);
    assert!(Arc::ptr_eq(&some.0, &same.0));
    assert!(Labels::default().is_empty() && !some.is_empty());
    assert_eq!(Labels::default(), labels(&[]));
}

/// Whoever edits the file on disk may leave them in any order.
#[test]
fn labels_that_are_read_back_are_sorted() {
    let read: Labels = serde_json::from_str(r#"[["b","2"],["a","1"],["b","3"]]"#).unwrap();
    assert_eq!(read, labels(&[("a", "1"), ("b", "2")]));
    let text = serde_json::to_string(&read).unwrap();
    assert_eq!(serde_json::from_str::<Labels>(&text).unwrap(), read);
}

#[test]
fn operators_select_as_in_kubernetes() {
    let one = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "a", "operator": operator, "values": values}]});
    let (none, x, empty) = (labels(&[("b", "x")]), labels(&[("a", "x")]), labels(&[("a", "")]));
    for (value, want) in [
        (json!({}), [true, true, true]),
        (json!({"matchLabels": null, "matchExpressions": []}), [true, true, true]),
        (json!({"matchLabels": {"a": "x"}}), [false, true, false]),
        (json!({"matchLabels": {"a": ""}}), [false, false, true]),
        (one("In", json!(["y", "x"])), [false, true, false]),
        (one("NotIn", json!(["y", "x"])), [true, false, true]),
        (one("Exists", json!(null)), [false, true, true]),
        (one("Exists", json!([])), [false, true, true]),
        (one("DoesNotExist", json!([])), [true, false, false]),
        (
            json!({"matchLabels": {"a": "x"}, "matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}),
            [false, true, false],
        ),
    ] {
        assert_eq!([&none, &x, &empty].map(|labels| read(&value).selects(labels)), want, "{value}");
    }
}

#[test]
fn equal_selectors_are_equal() {
    let some = json!({"matchLabels": {"b": "2", "a": "1"}});
    let same = json!({"matchExpressions": [
        {"key": "b", "operator": "In", "values": ["2", "2"]},
        {"key": "a", "operator": "In", "values": ["1"]},
        {"key": "b", "operator": "In", "values": ["2"]},
    ]});
    assert_eq!(read(&some), read(&same));
}

#[test]
fn what_is_wrong_is_named_and_the_rest_selects_no_fewer() {
    let long = "x".repeat(64);
    let requirement = |value: Value| json!({"matchLabels": {"a": "1"}, "matchExpressions": [value]});
    let in_of =
        |key: &str, value: &str| requirement(json!({"key": key, "operator": "In", "values": [value]}));
    for (value, want) in [
        (json!([]), "[] is no object"),
        (json!("a=1"), "\"a=1\" is no object"),
        (json!({"matchLabels": {"a": "1"}, "matchlabels": {}}), "its field \"matchlabels\" is unknown"),
        (json!({"matchLabels": {"a": "1", "b": 7}}), "matchLabels: 7 is no string"),
        (json!({"matchLabels": {"a": "1", "b": null}}), "matchLabels: null is no string"),
        (json!({"matchLabels": {"a": "1", "b": "-"}}), "matchLabels: \"-\" is no value of a label"),
        (json!({"matchLabels": {"a": "1", "a b": ""}}), "matchLabels: \"a b\" is no key of a label"),
        (json!({"matchLabels": ["a"]}), "matchLabels: [\"a\"] is no object"),
        (json!({"matchLabels": {"a": "1"}, "matchExpressions": {}}), "matchExpressions: {} is no list"),
        (requirement(json!(null)), "matchExpressions[0]: null is no object"),
        (requirement(json!({"operator": "Exists"})), "matchExpressions[0]: it has no key"),
        (requirement(json!({"key": "a"})), "matchExpressions[0]: it has no operator"),
        (requirement(json!({"key": "a", "operator": "exists"})), "the operator \"exists\" is unknown"),
        (
            requirement(json!({"key": "a", "operator": "Gt", "values": ["1"]})),
            "the operator \"Gt\" is unknown",
        ),
        (requirement(json!({"key": "a", "operator": "In"})), "In needs values"),
        (requirement(json!({"key": "a", "operator": "NotIn", "values": []})), "NotIn needs values"),
        (requirement(json!({"key": "a", "operator": "Exists", "values": ["x"]})), "Exists has no values"),
        (requirement(json!({"key": "a", "operator": "In", "values": "x"})), "\"x\" is no list"),
        (requirement(json!({"key": "a", "operator": "In", "values": [1]})), "1 is no string"),
        (
            requirement(json!({"key": "a", "operator": "In", "values": ["x"], "value": "y"})),
            "\"value\" is unknown",
        ),
        (in_of("", "x"), "\"\" is no key of a label"),
        (in_of("/a", "x"), "\"/a\" is no key of a label"),
        (in_of("a/b/c", "x"), "is no key of a label"),
        (in_of("A.b/c", "x"), "is no key of a label"),
        (in_of(&long, "x"), "is no key of a label"),
        (in_of("a", &long), "is no value of a label"),
    ] {
        let error = selector(&value).unwrap_err();
        assert!(error.contains(want), "{want} in {error}");
        let (rest, wrong) = readable(&value);
        assert_eq!(wrong, Some(error));
        assert!(rest.selects(&labels(&[("a", "1")])), "{value}");
        let is_narrow = value.pointer("/matchLabels/a").is_some();
        assert_eq!(rest.selects(&labels(&[("a", "2")])), !is_narrow, "{value}");
    }
    for key in ["app.kubernetes.io/name", "a_b.C-d", "0/0"] {
        assert!(selector(&json!({"matchLabels": {key: "0_a.B-c"}})).is_ok(), "{key}");
    }
}

/// One requirement, by its own words.
fn holds(key: &str, operator: &str, values: &[&str], labels: &[(&str, &str)]) -> bool {
    let value = labels.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
    match (operator, value) {
        ("In", value) => value.is_some_and(|value| values.contains(&value)),
        ("NotIn", value) => value.is_none_or(|value| !values.contains(&value)),
        ("Exists", value) => value.is_some(),
        (_, value) => value.is_none(),
    }
}

proptest! {
    #[test]
    fn selectors_select_what_their_requirements_say(
        requirements in proptest::collection::vec(
            (select(vec!["a", "b", "c"]), select(vec!["In", "NotIn", "Exists", "DoesNotExist"]),
             proptest::collection::vec(select(vec!["", "x", "y"]), 1..3)), 0..4),
        of in proptest::collection::btree_map(select(vec!["a", "b", "c"]), select(vec!["", "x", "y", "z"]), 0..4),
    ) {
        let of: Vec<_> = of.into_iter().collect();
        let has_values = |operator: &str| operator.ends_with("In");
        let expressions: Vec<_> = requirements.iter().map(|(key, operator, values)| {
            let values = if has_values(operator) { json!(values) } else { json!(null) };
            json!({"key": key, "operator": operator, "values": values})
        }).collect();
        let selector = read(&json!({"matchExpressions": expressions}));
        let want = requirements.iter().all(|(key, operator, values)| holds(key, operator, values, &of));
        prop_assert_eq!(selector.selects(&labels(&of)), want);
    }
}
