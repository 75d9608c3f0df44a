//! The alerts and the dashboard in `deploy/monitoring`: they use what an agent exposes and the documentation names, and
//! promtool agrees with all of it.

mod dashboard;
mod expression;
mod page;
mod promtool;
mod rules;

use std::collections::BTreeSet;

use e2e::{TestLab, node1, sh};
use lab::Family;
use serde_json::{Value, json};

use page::Page;
use promtool::{promtool, tests_pass};

/// How many series an agent may have, whatever is on its node.
const MOST_SERIES: usize = 500;

/// A page with all that an agent may expose, in the text format that promtool reads.
fn page() -> String {
    let lab = TestLab::up(1, Family::Dual, &["--flows", "on"]).unwrap();
    sh(&lab, &node1(), "curl -sf -m5 -H 'Accept: text/plain' http://127.0.0.1:9454/metrics")
}

/// A test of promtool whose series are those of the page, each with these values.
fn test_of(page: &Page, values: impl Fn(f64) -> String, about: &str, tests: &[Value]) -> Value {
    let up = [("up".to_owned(), 1.0)];
    let series = page.series.iter().map(|series| (series.text(), series.value)).chain(up);
    let series: Vec<_> = series
        .map(|(text, value)| json!({"series": page::on_node(&text), "values": values(value)}))
        .collect();
    json!({
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, about: tests}],
    })
}

#[test]
fn rules_and_dashboard_use_what_an_agent_exposes() {
    let text = page();
    promtool(&["check", "metrics"], None, &text);
    let page = Page::parse(&text);
    assert!(page.series.len() <= MOST_SERIES, "{} series", page.series.len());

    let (rules, panels) = (rules::read(), dashboard::expressions());
    let rule_expressions = rules.iter().map(|rule| (rule.alert.clone(), rule.expression.clone()));
    for (place, expression) in rule_expressions.chain(panels.clone()) {
        page.has_what_is_used(&place, &expression);
    }

    // Each query of the dashboard finds something, once everything has happened.
    let finds = |(_, expression): &(String, String)| {
        let expression = format!("count({}) > bool 0", dashboard::chosen(expression));
        json!({"expr": expression, "eval_time": "20m", "exp_samples": [{"labels": "{}", "value": 1}]})
    };
    let found: Vec<_> = panels.iter().map(finds).collect();
    tests_pass(&rules::text(), &test_of(&page, |_| "1+1x30".to_owned(), "promql_expr_test", &found));

    // No alert fires for an agent on which nothing is wrong.
    let quiet = |rule: &rules::Rule| json!({"alertname": rule.alert, "eval_time": "2h", "exp_alerts": []});
    let quiet: Vec<_> = rules.iter().map(quiet).collect();
    tests_pass(&rules::text(), &test_of(&page, |value| format!("{value:?}x150"), "alert_rule_test", &quiet));
}

#[test]
fn alerts_and_documentation_name_the_same_kinds_of_problems() {
    let alternatives = |alert: &str| -> BTreeSet<String> {
        let rules = rules::read();
        let rule = rules.iter().find(|rule| rule.alert == alert).unwrap();
        let (selectors, _) = expression::read(&rule.expression);
        selectors[0].matchers[0].value.split('|').map(str::to_owned).collect()
    };
    let (critical, others) = (alternatives("MidonetKubePodsCutOff"), alternatives("MidonetKubeProblem"));
    let with_alerts_of_their_own = ["deny_log", "flow_log", "flow_otlp"].map(str::to_owned);
    let excluded: BTreeSet<_> = critical.iter().cloned().chain(with_alerts_of_their_own).collect();
    assert_eq!(excluded, others, "every kind has one alert");
}
