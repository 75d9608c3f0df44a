//! `deploy/monitoring/prometheusrule.yaml`.

use std::collections::{BTreeMap, BTreeSet};

use e2e::documents::{anchors, repository};
use serde_json::{Map, Value, json};

use super::page::{TARGET, on_node};
use super::promtool::{promtool, tests_pass};

/// Where the documents are that alerts lead to.
const DOCUMENTS: &str = "https://github.com/midonet/midonet-kube/blob/main/";

/// One alert.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) alert: String,
    pub(super) expression: String,
    severity: String,
    annotations: BTreeMap<String, String>,
}

/// The rules as a Prometheus takes them without the Operator.
pub(super) fn text() -> String {
    let path = repository().join("deploy/monitoring/prometheusrule.yaml");
    let object: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(object["kind"], "PrometheusRule");
    object["spec"].to_string()
}

pub(super) fn read() -> Vec<Rule> {
    let groups: Value = serde_json::from_str(&text()).unwrap();
    let groups = groups["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    let word = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned();
    let rule = |rule: &Value| Rule {
        alert: word(&rule["alert"]),
        expression: word(&rule["expr"]),
        severity: word(&rule["labels"]["severity"]),
        annotations: serde_json::from_value(rule["annotations"].clone()).unwrap(),
    };
    rules.map(rule).collect()
}

/// An annotation with labels and value filled in, as Prometheus does it.
fn filled(template: &str, labels: &Map<String, Value>, value: Option<&str>) -> String {
    let mut parts = template.split("{{ ");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(" }}").unwrap();
        if let Some(label) = name.strip_prefix("$labels.") {
            text.push_str(labels.get(label).and_then(Value::as_str).unwrap_or_else(|| panic!("no {name}")));
        } else {
            assert!(name.starts_with("$value"), "{name}");
            text.push_str(value.unwrap_or_else(|| panic!("no value for {template:?}")));
        }
        text.push_str(rest);
    }
    text
}

/// What promtool is to expect of an alert, at one time, of one of these cases.
fn expected(rule: &Rule, case: &Value, labels: &Value) -> Value {
    let mut labels = labels.as_object().unwrap().clone();
    if !case["series"].as_object().unwrap().is_empty() {
        let of_target = TARGET.iter().filter(|(label, _)| ["namespace", "job"].contains(label));
        labels.extend(of_target.map(|(label, value)| ((*label).to_owned(), json!(value))));
    }
    labels.insert("severity".into(), json!(rule.severity));
    let value = match &case["value"] {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let annotations = rule.annotations.iter();
    let annotations: BTreeMap<_, _> =
        annotations.map(|(name, text)| (name, filled(text, &labels, value.as_deref()))).collect();
    json!({"exp_labels": labels, "exp_annotations": annotations})
}

/// A case of `alerts.yaml` as a test of promtool.
fn test(rule: &Rule, case: &Value) -> Value {
    let series = case["series"].as_object().unwrap().iter();
    let series: Vec<_> =
        series.map(|(series, values)| json!({"series": on_node(series), "values": values})).collect();
    let at = |time: &Value, alerts: Vec<Value>| json!({"eval_time": time, "alertname": rule.alert, "exp_alerts": alerts});
    let mut tests: Vec<_> = case["quiet"].as_array().unwrap().iter().map(|time| at(time, vec![])).collect();
    for (time, alerts) in case["fires"].as_object().into_iter().flatten() {
        let alerts = alerts.as_array().unwrap().iter();
        tests.push(at(&json!(time), alerts.map(|labels| expected(rule, case, labels)).collect()));
    }
    json!({"name": rule.alert, "interval": "1m", "input_series": series, "alert_rule_test": tests})
}

#[test]
fn every_alert_fires_when_it_should_and_not_otherwise() {
    let rules = read();
    let cases: Vec<Value> = serde_yaml_ng::from_str(include_str!("alerts.yaml")).unwrap();
    for Rule { alert, .. } in &rules {
        let of_alert: Vec<_> = cases.iter().filter(|case| case["alert"] == **alert).collect();
        assert!(of_alert.iter().any(|case| case["fires"].is_object()), "no test has {alert} fire");
        assert!(of_alert.iter().any(|case| case["quiet"][0].is_string()), "no test has {alert} quiet");
    }
    let rule = |case: &Value| {
        rules
            .iter()
            .find(|rule| case["alert"] == *rule.alert)
            .unwrap_or_else(|| panic!("no such alert: {case}"))
    };
    let tests: Vec<_> = cases.iter().map(|case| test(rule(case), case)).collect();
    tests_pass(&text(), &json!({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}));
}

#[test]
fn promtool_takes_the_file_as_the_documentation_makes_it() {
    let directory = tempfile::tempdir().unwrap();
    let documentation = std::fs::read_to_string(repository().join("docs/monitoring.md")).unwrap();
    let line = documentation.lines().find(|line| line.starts_with("sed ")).unwrap();
    std::os::unix::fs::symlink(repository().join("deploy"), directory.path().join("deploy")).unwrap();
    testkit::run(std::process::Command::new("sh").args(["-ec", line]).current_dir(directory.path()));
    let file = line.split_once(" >").unwrap().1;
    promtool(&["check", "rules", file], Some(directory.path()), "");
    let made: Value =
        serde_yaml_ng::from_str(&std::fs::read_to_string(directory.path().join(file)).unwrap()).unwrap();
    assert_eq!(made.to_string(), text());
}

/// All documents in one line, so that a line's end does not matter.
fn documents() -> String {
    let files = std::fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let texts: Vec<_> = texts.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    texts.join("\n").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_alert_says_what_to_do_and_leads_to_the_documentation() {
    let documents = documents();
    for Rule { alert, annotations, severity, .. } in read() {
        assert!(["critical", "warning"].contains(&severity.as_str()), "{alert}: {severity}");
        let names: Vec<_> = annotations.keys().map(String::as_str).collect();
        assert_eq!(names, ["description", "runbook_url", "summary"], "{alert}");
        let place = annotations["runbook_url"].strip_prefix(DOCUMENTS).unwrap();
        let (file, anchor) = place.split_once('#').unwrap();
        let document = std::fs::read_to_string(repository().join(file)).unwrap();
        assert!(anchors(&document).iter().any(|one| one == anchor), "{alert} leads to {place}");
        // A test runs every command of the documents.
        for command in annotations["description"].split('`').skip(1).step_by(2) {
            assert!(documents.contains(command), "{alert} names a command that no document has: {command}");
        }
    }
}

#[test]
fn the_documentation_lists_every_alert() {
    let documentation = std::fs::read_to_string(repository().join("docs/monitoring.md")).unwrap();
    let rows = documentation.lines().filter_map(|line| line.strip_prefix("| `MidonetKube"));
    let row = |row: &str| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        (format!("MidonetKube{}", cells[0].trim_end_matches('`')), cells[1].to_owned())
    };
    let listed: Vec<_> = rows.map(row).collect();
    let rules: Vec<_> = read().into_iter().map(|rule| (rule.alert, rule.severity)).collect();
    assert_eq!(listed, rules);
    let names: BTreeSet<_> = rules.iter().map(|(alert, _)| alert).collect();
    assert_eq!(names.len(), rules.len(), "two alerts of one name");
}
