//! As much of PromQL as it takes to see which metrics and labels an expression uses.

use std::collections::BTreeSet;

/// What the names of an agent's metrics begin with.
const PREFIX: &str = "midonet_kube_node_";

/// One series selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) metric: String,
    pub(super) matchers: Vec<Matcher>,
}

/// `label="value"`, or with another operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matcher {
    pub(super) label: String,
    pub(super) operator: String,
    pub(super) value: String,
}

/// The selectors of an expression, and all other words: functions, operators, labels.
pub(super) fn read(expression: &str) -> (Vec<Selector>, BTreeSet<String>) {
    let (mut selectors, mut words) = (Vec::new(), BTreeSet::new());
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if first == '[' {
            rest = rest.split_once(']').unwrap().1;
            continue;
        }
        if !(first.is_ascii_alphanumeric() || first == '_') {
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.');
        let (word, after) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
        rest = after;
        if let Some(inner) = after.strip_prefix('{') {
            let (inner, after) = inner.split_once('}').unwrap();
            rest = after;
            selectors.push(Selector { metric: word.to_owned(), matchers: matchers(inner) });
        } else if word.starts_with(PREFIX) || word == "up" {
            selectors.push(Selector { metric: word.to_owned(), matchers: Vec::new() });
        } else if !first.is_ascii_digit() {
            words.insert(word.to_owned());
        }
    }
    (selectors, words)
}

fn matchers(text: &str) -> Vec<Matcher> {
    let matcher = |text: &str| {
        let (left, value) = text.split_once('"').unwrap_or_else(|| panic!("no matcher: {text}"));
        let label = left.trim_end_matches(['=', '~', '!']);
        let operator = left[label.len()..].to_owned();
        Matcher { label: label.trim().to_owned(), operator, value: value.trim_end_matches('"').to_owned() }
    };
    text.split(", ").filter(|text| !text.is_empty()).map(matcher).collect()
}

#[test]
fn selectors_and_words_are_told_apart() {
    let text = "sum by (le, instance) (rate(midonet_kube_node_a_total{what=~\"x|y\", n!=\"\"}[5m:1m])) / up > 0.98 \
                unless on (job) midonet_kube_node_b == 1e3";
    let (selectors, words) = read(text);
    let matcher = |label: &str, operator: &str, value: &str| Matcher {
        label: label.to_owned(),
        operator: operator.to_owned(),
        value: value.to_owned(),
    };
    let selector = |metric: &str, matchers| Selector { metric: metric.to_owned(), matchers };
    let matchers = vec![matcher("what", "=~", "x|y"), matcher("n", "!=", "")];
    assert_eq!(
        selectors,
        [
            selector("midonet_kube_node_a_total", matchers),
            selector("up", vec![]),
            selector("midonet_kube_node_b", vec![])
        ]
    );
    let want = ["by", "instance", "job", "le", "on", "rate", "sum", "unless"];
    assert_eq!(words.iter().map(String::as_str).collect::<Vec<_>>(), want);
}
