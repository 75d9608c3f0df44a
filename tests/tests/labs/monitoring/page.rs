//! A page of metrics, and whether it has what an expression uses.

use std::collections::{BTreeMap, BTreeSet};

use e2e::documents::repository;

use super::expression::{self, Selector};

/// The labels that every target has where `deploy/podmonitor.yaml` is used.
pub(super) const TARGET: [(&str, &str); 4] = [
    ("namespace", "kube-system"),
    ("job", "kube-system/midonet-kube-node"),
    ("pod", "midonet-kube-node-x"),
    ("instance", "node1"),
];

/// The words of PromQL, and of Grafana's queries for variables, that are in use.
const WORDS: [&str; 20] = [
    "absent",
    "and",
    "bool",
    "by",
    "count",
    "count_over_time",
    "histogram_quantile",
    "increase",
    "label_values",
    "le",
    "max",
    "min",
    "on",
    "or",
    "rate",
    "resets",
    "sum",
    "unless",
    "vector",
    "without",
];

/// One series.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl Series {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let label = |text: &str| {
            let (label, value) = text.split_once("=\"").unwrap();
            (label.to_owned(), value.to_owned())
        };
        let labels =
            labels.trim_end_matches('}').split_terminator("\",").map(|text| text.trim_end_matches('"'));
        Self {
            name: name.to_owned(),
            labels: labels.map(label).collect(),
            value: value.parse().unwrap_or_else(|_| panic!("{line}")),
        }
    }

    /// As expressions name it.
    pub(super) fn text(&self) -> String {
        let labels: Vec<_> =
            self.labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        format!("{}{{{}}}", self.name, labels.join(", "))
    }
}

/// A series with those labels of a target that it does not have by itself.
pub(super) fn on_node(series: &str) -> String {
    let (name, inner) = series.split_once('{').unwrap_or((series, "}"));
    let own = inner.trim_end_matches('}');
    let labels = TARGET.iter().filter(|(label, _)| !format!(", {own}").contains(&format!(", {label}=\"")));
    let labels = labels.map(|(label, value)| format!("{label}=\"{value}\""));
    let all: Vec<_> = Some(own.to_owned()).filter(|own| !own.is_empty()).into_iter().chain(labels).collect();
    format!("{name}{{{}}}", all.join(", "))
}

/// What an agent exposed.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) series: Vec<Series>,
}

impl Page {
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self { series: lines.map(Series::parse).collect() }
    }

    fn of<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = &'a Series> {
        self.series.iter().filter(move |series| series.name == metric)
    }

    /// Panics unless all metrics, labels and values of labels that an expression uses are on the page, and the metrics
    /// in the documentation.
    pub(super) fn has_what_is_used(&self, place: &str, text: &str) {
        let documentation = std::fs::read_to_string(repository().join("docs/monitoring.md")).unwrap();
        let (selectors, words) = expression::read(text);
        assert!(!selectors.is_empty(), "{place} asks for nothing: {text}");
        let mut labels: BTreeSet<&str> = TARGET.iter().map(|(label, _)| *label).collect();
        for selector in &selectors {
            if selector.metric == "up" {
                continue;
            }
            let of_metric: Vec<_> = self.of(&selector.metric).collect();
            assert!(!of_metric.is_empty(), "{place}: no agent exposes {}", selector.metric);
            labels.extend(of_metric.iter().flat_map(|series| series.labels.keys()).map(String::as_str));
            self.has_labels_of(place, selector);
            let suffixes = ["_bucket", "_count", "_sum"].map(|suffix| selector.metric.strip_suffix(suffix));
            let family = suffixes.into_iter().flatten().next().unwrap_or(&selector.metric);
            let is_documented = documentation.contains(&format!("| `{family}` |"));
            assert!(is_documented, "{place}: docs/monitoring.md has no {family}");
        }
        let unknown: Vec<_> = words
            .iter()
            .filter(|word| !WORDS.contains(&word.as_str()) && !labels.contains(word.as_str()))
            .collect();
        assert!(
            unknown.is_empty(),
            "{place}: neither labels of its metrics nor PromQL: {unknown:?} in {text}"
        );
    }

    fn has_labels_of(&self, place: &str, selector: &Selector) {
        for matcher in &selector.matchers {
            if TARGET.iter().any(|(label, _)| *label == matcher.label) {
                continue;
            }
            let values: BTreeSet<_> =
                self.of(&selector.metric).filter_map(|series| series.labels.get(&matcher.label)).collect();
            for value in matcher.value.split('|') {
                let is_known = values.iter().any(|known| *known == value);
                assert!(is_known, "{place}: {selector:?} wants {value:?}; the agent has {values:?}");
            }
        }
    }
}

#[test]
fn series_are_read_as_they_are_written() {
    let page = Page::parse("# HELP a b.\n# TYPE a gauge\na 1\nb_total{x=\"1\",y=\"a b/c,d\"} 2.5e3\n");
    let texts: Vec<_> = page.series.iter().map(|series| (series.text(), series.value)).collect();
    assert_eq!(texts, [("a{}".to_owned(), 1.0), ("b_total{x=\"1\", y=\"a b/c,d\"}".to_owned(), 2500.0)]);
    assert_eq!(
        on_node("a{job=\"x\", pod=\"p\"}"),
        "a{job=\"x\", pod=\"p\", namespace=\"kube-system\", instance=\"node1\"}"
    );
    assert!(on_node("up").starts_with("up{namespace=\"kube-system\", job="));
}
