use std::collections::BTreeSet;

use serde_json::Value;

use super::super::scenarios::{Scenario, all};
use super::super::scene::Family;
use super::*;
use crate::doctor::{Finding, Severity};

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference.md"));

fn scenario(name: &str) -> &'static Scenario {
    all().find(|one| one.name == name).unwrap()
}

fn failure(to: &str, cause: &str) -> Failure {
    Failure {
        family: Some(Family::Ipv4),
        protocol: Some("tcp"),
        from: "Pod client on node1 (10.244.1.3)".into(),
        to: to.into(),
        expected: "an answer of far".into(),
        observed: "no answer (3 tries)".into(),
        cause: cause.into(),
        remedy: "let it pass".into(),
    }
}

/// One that passed, one that failed, one without a family that failed, and one that was not tried.
fn view() -> View {
    let families = [(Family::Ipv4, false), (Family::Ipv4, true), (Family::Ipv6, true)];
    let failures =
        (1..=6).map(|number| failure(&format!("Pod far{number} on node2"), "UDP 4789 is \"dropped\" <&>"));
    let known = Failure { family: None, protocol: None, to: String::new(), ..failure("", "it hangs") };
    let finding = Finding {
        severity: Severity::Error,
        what: "path_filtered".into(),
        object: "node1 <-> node2".into(),
        problem: "no packet comes through".into(),
        remedy: "let it pass".into(),
        nodes: vec!["node1".into()],
    };
    let scenarios = vec![
        result(scenario("agents-answer"), Ok(vec![]), 0, vec![known]),
        result(scenario("pod-to-itself"), Ok(families[1..].to_vec()), 12, vec![]),
        result(scenario("pod-to-pod-across-nodes-tcp"), Ok(families.to_vec()), 10_004, failures.collect()),
        result(scenario("dns-service"), Err("there is no DNS".into()), 0, vec![]),
        result(scenario("dns-headless"), Err("there is no DNS".into()), 0, vec![]),
    ];
    View::new(
        Some("midokube-connectivity-1a".into()),
        vec!["node1".into(), "node2".into()],
        41_300,
        scenarios,
        vec![finding],
    )
}

#[test]
fn people_see_what_fails_and_why() {
    let narrow = terminal::output::plain(&text(&view(), false));
    assert!(narrow.lines().all(|line| line.chars().count() <= 100), "{narrow}");
    let squeezed: Vec<String> =
        narrow.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for want in [
        "SCENARIO IPV4 IPV6 RESULT",
        "agents-answer - - FAILED",
        "pod-to-itself 1 of 1 1 of 1 ok",
        "pod-to-pod-across-nodes-tcp 1 of 2 1 of 1 FAILED",
        "dns-service - - not tried",
        "and 2 others: -o wide shows them",
        "cause: UDP 4789 is \"dropped\" <&>",
        "remedy: let it pass",
        "error path_filtered: node1 <-> node2",
        "dns-service, dns-headless: there is no DNS",
        "1 passed, 2 failed, 2 not tried, in 42 s on node1, node2",
    ] {
        assert!(squeezed.iter().any(|line| line == want), "{want} is not in:\n{narrow}");
    }
    assert_eq!(narrow.matches("cause: UDP").count(), 1, "{narrow}");
    assert!(narrow.contains("Kept: namespace midokube-connectivity-1a"), "{narrow}");
    let wide = terminal::output::plain(&text(&view(), true));
    assert!(wide.contains("far6") && !narrow.contains("far6"), "{wide}");
}

#[test]
fn collectors_of_results_get_a_case_for_each_scenario() {
    let document = junit(&view());
    for want in [
        "<testsuite name=\"midokube connectivity test\" tests=\"5\" failures=\"2\" errors=\"0\" skipped=\"2\" time=\"41.300\">",
        "name=\"pod-to-itself\" time=\"0.012\"/>",
        "<skipped message=\"there is no DNS\"/>",
        "cause: UDP 4789 is &quot;dropped&quot; &lt;&amp;&gt;",
    ] {
        assert!(document.contains(want), "{want} is not in:\n{document}");
    }
    assert_eq!(document.matches("<testcase").count(), 5);
    assert_eq!(document.matches("</testcase>").count(), 4);
}

/// The fields of a document.
fn fields(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                fields(&path, value, found);
                found.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(&format!("{path}[]"), item, found)),
        _ => {}
    }
}

#[test]
fn the_fields_are_those_that_are_documented() {
    let section = PAGE.split("\n## ").find(|section| section.starts_with("ConnectivityTest\n")).unwrap();
    let documented: BTreeSet<String> = section
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect();
    let mut found = BTreeSet::new();
    fields("", &serde_json::to_value(view()).unwrap(), &mut found);
    assert_eq!(documented, found);
}

#[test]
fn the_document_of_the_test_names_every_scenario() {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/connectivity-test.md"));
    for Scenario { name, what, .. } in all() {
        assert!(
            page.contains(&format!("| `{name}` | {what} |")),
            "docs/connectivity-test.md lacks {name}: {what}"
        );
    }
}
