//! What is shown of an agent's answer, and the exit status.

use serde_json::Value;

use super::support::{FakeAgent, full, midokube, starting, text};

const TITLES: [&str; 10] =
    ["Agent", "Network", "Ports", "Limits", "Peers", "Services", "Leaks", "Traffic", "Drops", "Ignored"];

fn titles(text: &str) -> Vec<&str> {
    text.lines().filter(|line| TITLES.contains(line)).collect()
}

#[test]
fn every_form_shows_the_agents_answer() {
    let agent = FakeAgent::with(full());
    for (format, want) in [
        ("table", "node                  node7"),
        ("wide", "9839ba43-2faa-5012-929a-1f167eecd3dc"),
        ("json", "\"node\": \"node7\""),
        ("yaml", "node: node7"),
    ] {
        let output = agent.run(&["status", "-o", format]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains(want), "{}", text(&output.stdout));
    }
    assert_eq!(titles(&text(&agent.run(&["status"]).stdout)), TITLES);
}

#[test]
fn a_node_that_is_not_ready_is_shown_and_ends_with_3() {
    let agent = FakeAgent::with(starting());
    for arguments in [&["status"][..], &["status", "peers"], &["status", "-o", "json"]] {
        let output = agent.run(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains("node"), "{arguments:?}");
    }
    let shown = text(&agent.run(&["status"]).stdout);
    assert!(shown.contains("NOT READY: the Node has no podCIDR yet"), "{shown}");
}

#[test]
fn unknown_values_are_shown_as_unknown() {
    let agent = FakeAgent::with(starting());
    let shown = text(&agent.run(&["status"]).stdout);
    for want in ["podCIDRs      n/a", "MTU           n/a", "underlay      n/a", "UDP port n/a, VNI n/a"] {
        assert!(shown.contains(want), "{want} is not in:\n{shown}");
    }
    let json: Value = serde_json::from_slice(&agent.run(&["status", "-o", "json"]).stdout).unwrap();
    for pointer in ["/network/mtu", "/network/nodeMac", "/ports/0/sent", "/peers/0/tunnelAddress"] {
        assert_eq!(json.pointer(pointer), Some(&Value::Null), "{pointer} in {json}");
    }
}

#[test]
fn only_the_named_parts_are_shown() {
    let agent = FakeAgent::with(full());
    let shown = |parts: &[&str]| text(&agent.run(&[&["status"], parts].concat()).stdout);
    assert_eq!(titles(&shown(&["ports"])), ["Ports", "Limits"]);
    assert_eq!(titles(&shown(&["drops", "peers"])), ["Peers", "Drops"]);
    assert!(!shown(&["drops"]).contains("multicast") && shown(&["ignored"]).contains("multicast"));

    let json: Value = serde_json::from_str(&shown(&["drops", "leaks", "-o", "json"])).unwrap();
    let mut keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["apiVersion", "counters", "kind", "leaks", "leaksIncomplete"]);
    let verdicts: Vec<_> = json["counters"].as_array().unwrap().iter().map(|c| &c["verdict"]).collect();
    assert_eq!(verdicts, ["drop"]);
}

#[test]
fn ports_of_one_namespace() {
    let agent = FakeAgent::with(full());
    let shown = text(&agent.run(&["status", "ports", "-n", "kube-system"]).stdout);
    assert!(shown.contains("kube-system/dns") && !shown.contains("default/web"), "{shown}");
    let all = text(&agent.run(&["status", "ports", "--namespace", "other", "-A"]).stdout);
    assert!(all.contains("kube-system"), "{all}");
    let none = text(&agent.run(&["status", "ports", "--namespace", "other"]).stdout);
    assert_eq!(none, "Ports\n none\n");
}

#[test]
fn both_versions_are_shown_and_the_programs_own_even_without_an_agent() {
    let own = env!("CARGO_PKG_VERSION");
    let agent = FakeAgent::with(full());
    let output = agent.run(&["version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), format!(" client  {own}\n agent   9.8.7 (node node7)\n"));

    let nobody = ["--socket", "/nowhere/api"];
    let output = midokube(&[&["version"], &nobody[..]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), format!(" client  {own}\n agent   n/a\n"));
    assert!(text(&output.stderr).contains("/nowhere/api"), "{}", text(&output.stderr));
    let output = midokube(&[&["version", "-o", "json"], &nobody[..]].concat()).output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["client"]["version"], &json["agent"]), (&own.into(), &Value::Null));
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for wrong in [&["status", "nothing"][..], &["status", "--timeout", "0"], &["status", "--watch=x"], &[]] {
        let output = midokube(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
}
