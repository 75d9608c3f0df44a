use std::net::SocketAddr;

use super::super::check::Stage;
use super::super::question::What;
use super::super::scene::End;
use super::*;
use crate::trace::Place;

fn check(expect: Expect, to_nodes: &[&str]) -> Check {
    let to: SocketAddr = "10.244.2.3:8080".parse().unwrap();
    let what = What::Tcp { to, times: 1, bytes: 0 };
    Check {
        stage: Stage::Before,
        from: End { place: Place::Node("a".into()), node: "a".into(), addresses: vec![] },
        opened: what.clone(),
        what,
        to: "Pod far".into(),
        to_nodes: to_nodes.iter().map(|node| (*node).to_owned()).collect(),
        expect,
    }
}

fn told(answered: Option<bool>) -> Result<Told, String> {
    let steps = [["a", "service", "chooses 10.244.2.3"], ["b", "ingress policy", "no policy applies"]];
    let steps = steps.map(|step| step.map(str::to_owned)).to_vec();
    Ok(Told { answered, why: "the packet is dropped on b".into(), remedy: "change the policy".into(), steps })
}

fn finding(severity: Severity, what: &str, object: &str, nodes: &[&str]) -> Finding {
    Finding {
        severity,
        what: what.into(),
        object: object.into(),
        problem: "UDP 4789 is dropped".into(),
        remedy: "let it pass".into(),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
    }
}

fn answer() -> Expect {
    Expect::By { names: vec!["far".into()], client: None }
}

const SILENT: Outcome = Outcome::Silent { connected: false };

#[test]
fn what_the_datapath_drops_is_told_by_the_trace() {
    let found = cause(&check(answer(), &["b"]), &[SILENT], Some(&told(Some(false))), &[]);
    assert_eq!(found, Cause::new("the packet is dropped on b", "change the policy"));
}

#[test]
fn what_the_datapath_lets_pass_is_lost_outside_of_it() {
    let arrives = told(Some(true));
    let of = |check: &Check, findings: &[Finding]| cause(check, &[SILENT], Some(&arrives), findings).cause;
    // The trace tells where a Service's endpoint is.
    let across = check(answer(), &[]);
    assert!(of(&across, &[]).contains("between the nodes"), "{}", of(&across, &[]));
    let stays = Ok(Told { steps: Vec::new(), ..told(Some(true)).unwrap() });
    let same = check(answer(), &["a"]);
    let of_same = |findings: &[Finding]| cause(&same, &[SILENT], Some(&stays), findings).cause;
    assert!(of_same(&[]).contains("of the node"), "{}", of_same(&[]));
    let path = finding(Severity::Error, "path_filtered", "a -> b", &["a", "b"]);
    let other = finding(Severity::Error, "path_filtered", "b -> c", &["b", "c"]);
    let route = finding(Severity::Error, "foreign_route", "Node a", &["a"]);
    let clock = finding(Severity::Warning, "clock_skew", "Node a", &["a"]);
    let silent = finding(Severity::Error, "agent_silent", "Node b", &["b"]);
    let all = [clock.clone(), silent, route, other, path];
    assert!(of(&across, &all).starts_with("path_filtered, a -> b: UDP 4789"), "{}", of(&across, &all));
    assert!(of(&across, &all[..4]).starts_with("path_filtered, b -> c"));
    assert!(of(&across, &all[..3]).starts_with("foreign_route"));
    assert!(of(&across, &all[..2]).starts_with("agent_silent"));
    assert!(of(&across, &[clock]).contains("between the nodes"));
    assert!(of_same(&all).starts_with("foreign_route"), "no path is on its way");
}

#[test]
fn what_keeps_pods_from_sending_keeps_no_node_from_it() {
    let arrives = told(Some(true));
    let dropped = finding(Severity::Error, "forward_dropped", "chain forward", &["b"]);
    let mut check = check(answer(), &["b"]);
    let of = |check: &Check| cause(check, &[SILENT], Some(&arrives), std::slice::from_ref(&dropped)).cause;
    assert!(of(&check).contains("between the nodes"), "{}", of(&check));
    check.from.place = Place::Pod("default/client".parse().unwrap());
    assert!(of(&check).starts_with("forward_dropped"), "{}", of(&check));
}

#[test]
fn what_is_not_traced_is_told() {
    let across = check(answer(), &["b"]);
    let of = |told: Option<&Result<Told, String>>| cause(&across, &[SILENT], told, &[]).cause;
    assert!(of(None).contains("not traced"));
    assert!(of(Some(&Err("b hangs".into()))).contains("b hangs"));
    assert!(of(Some(&told(None))).contains("not known"));
    let failed = cause(&across, &[Outcome::Failed { why: "no Pod".into() }], None, &[]);
    assert!(failed.cause.contains("no Pod"));
}

#[test]
fn of_what_should_not_answer_it_is_told_who_let_it_pass() {
    let outcome = Outcome::Answered { by: "far".into(), client: "10.0.0.1:1".parse().unwrap() };
    let arrives = told(Some(true));
    let silence = cause(&check(Expect::Silence, &["b"]), std::slice::from_ref(&outcome), Some(&arrives), &[]);
    assert!(silence.cause.contains("b: ingress policy: no policy applies"), "{}", silence.cause);
    let other = Expect::By { names: vec!["near".into()], client: None };
    let wrong = cause(&check(other, &["b"]), &[outcome], Some(&arrives), &[]);
    assert!(wrong.cause.contains("a: service: chooses 10.244.2.3") && !wrong.cause.contains("ingress"));
    let refused = cause(&check(Expect::Refused, &["b"]), &[SILENT], Some(&arrives), &[]);
    assert!(refused.cause.contains("service"), "{}", refused.cause);
}

#[test]
fn a_dns_server_that_answers_was_reached() {
    let outcome = Outcome::NoName { why: "SERVFAIL".into() };
    let found = cause(&check(answer(), &[]), &[outcome], Some(&told(Some(true))), &[]);
    assert!(found.cause.contains("was reached") && found.cause.contains("SERVFAIL"), "{}", found.cause);
}

#[test]
fn what_is_wrong_with_a_node_is_told_by_doctor() {
    let silent = finding(Severity::Error, "agent_silent", "Node b", &["b"]);
    assert!(of_node("b", "it hangs", std::slice::from_ref(&silent)).cause.starts_with("agent_silent"));
    assert_eq!(of_node("a", "it hangs", &[silent]).cause, "it hangs");
}
