//! Previews of policies and waits for them, from an agent that enforces some.

use nodeapi::v1::{
    self, GetPolicyVersionReply, GetPolicyVersionRequest, PreviewPolicyReply, PreviewPolicyRequest,
};
use tonic::Status;

use super::policies::FakePolicies;
use super::support::{FakeAgent, full, text};

const POLICY: &str =
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web}\nspec: {podSelector: {}}\n";

/// What policies of this name would change: those called `harmless` nothing.
pub(super) fn preview(request: &PreviewPolicyRequest) -> Result<PreviewPolicyReply, Status> {
    let tried = request.objects.iter().any(|text| text.contains("\"web\"") && text.contains("\"namespace\""));
    let deleted = request.deleted.iter().any(|policy| policy.name == "web" && policy.namespace == "shop");
    let reply = PreviewPolicyReply { node: "node7".into(), connections: 12, ..Default::default() };
    if !tried && !deleted {
        return Ok(reply);
    }
    let end = |address: &str, port| Some(v1::Endpoint { address: address.into(), port });
    let connection = v1::Connection {
        protocol: "tcp".into(),
        client: end("10.244.1.3", 44_312),
        frontend: end("10.96.0.10", 80),
        backend: end("10.244.2.3", 8080),
        translated_client: end("10.244.1.1", 20_001),
        service: Some(v1::ServiceName { namespace: "default".into(), name: "web".into() }),
        service_port: "http".into(),
        state: "established".into(),
        idle_seconds: 3,
    };
    let plain = v1::Connection {
        frontend: connection.backend.clone(),
        translated_client: None,
        service: None,
        ..connection.clone()
    };
    let decision = |verdict: &str, rule: Option<u32>, name: &str| v1::PolicyDecision {
        verdict: verdict.into(),
        decided_by: "networkPolicy".into(),
        policies: vec!["shop/web".into()],
        rule,
        rule_name: name.into(),
        why: format!("NetworkPolicy shop/web says {verdict}"),
        ..Default::default()
    };
    let pod = || Some(v1::PodName { namespace: "shop".into(), name: "a".into() });
    let dropped = |protocol: &str, port, pod: Option<v1::PodName>| {
        let end = |port| v1::DropEnd {
            address: "10.244.1.9".into(),
            port,
            pod: pod.clone(),
            ..v1::DropEnd::default()
        };
        let drop = v1::Drop {
            last_seconds: 7,
            packets: 3,
            direction: "ingress".into(),
            source: Some(end(0)),
            destination: Some(end(port)),
            protocol: protocol.into(),
            why: "the default deny denies it".into(),
            ..Default::default()
        };
        let after = decision("allow", pod.is_some().then_some(0), if pod.is_some() { "dns" } else { "" });
        v1::ChangedDrop { drop: Some(drop), after: Some(after) }
    };
    let one = v1::ChangedConnection {
        connection: Some(connection),
        client_pod: pod(),
        backend_pod: None,
        direction: "egress".into(),
        now: Some(decision("allow", Some(0), "dns")),
        after: Some(decision("deny", None, "")),
    };
    let other = v1::ChangedConnection {
        connection: Some(plain),
        client_pod: None,
        backend_pod: pod(),
        direction: "ingress".into(),
        now: Some(decision("deny", None, "")),
        after: Some(decision("allow", Some(1), "dns")),
    };
    Ok(PreviewPolicyReply {
        cut: vec![one.clone(), other.clone()],
        cut_count: 3,
        allowed: vec![one, other],
        allowed_count: 2,
        problems: vec![v1::Problem {
            what: "policy_tie".into(),
            object: "ClusterNetworkPolicy a".into(),
            problem: "has the priority of b".into(),
            remedy: "give it another".into(),
        }],
        notes: vec!["NetworkPolicy shop/x does not exist".into()],
        drops: vec![dropped("tcp", 80, pod()), dropped("", 0, None)],
        drop_count: 2,
        ..reply
    })
}

/// The version of `web` is in force, that of `late` is not; there is no other.
pub(super) fn version(request: GetPolicyVersionRequest) -> GetPolicyVersionReply {
    let name = request.policy.unwrap_or_default().name;
    let known = ["web", "late"].contains(&name.as_str());
    GetPolicyVersionReply {
        node: "node7".into(),
        version: known.then(|| v1::PolicyVersion { uid: "u".into(), generation: 3, audit: false }),
        in_force: name != "late",
        reason: if name == "late" { "the tables are full".into() } else { String::new() },
    }
}

fn file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

#[test]
fn a_preview_says_what_would_be_cut_and_its_exit_status_whether_anything_would() {
    let agent = FakeAgent::enforcing(FakePolicies);
    let (harmful, harmless) = (file(POLICY), file(&POLICY.replace("name: web", "name: harmless")));
    let [harmful, harmless] = [&harmful, &harmless].map(|file| file.path().to_str().unwrap());
    let preview = |words: &[&str]| agent.run(&[&["policy", "preview", "--this-node"], words].concat());
    let output = preview(&["-f", harmful]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for want in [
        "1 node asked, 12 connections judged: 3 would be cut, 2 would pass again",
        "2 kinds of packets that were denied within the last hour would pass",
        "1 are not shown",
        "TCP shop/a 10.244.1.9 -> shop/a 10.244.1.9 port 80",
        "TCP shop/a 10.244.1.3:44312 -> 10.96.0.10:80 -> 10.244.2.3:8080",
        "TCP 10.244.1.3:44312 -> shop/a 10.244.2.3:8080",
        "NetworkPolicy shop/web says deny",
        "policy_tie",
        "does not exist",
    ] {
        assert!(shown.contains(want), "{want} is not in:\n{shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
    let output = preview(&["-f", harmless]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("none would be cut"), "{}", text(&output.stdout));
    assert_eq!(preview(&["--delete", "networkpolicy/shop/web"]).status.code(), Some(4));
    assert_eq!(preview(&["--delete", "networkpolicy/web", "-n", "shop"]).status.code(), Some(4));
    assert_eq!(preview(&["--delete", "networkpolicy/web"]).status.code(), Some(0), "of another namespace");
}

#[test]
fn a_wait_ends_when_the_policy_is_in_force_or_time_is_up() {
    let agent = FakeAgent::enforcing(FakePolicies);
    for (words, code, want) in [
        (&["networkpolicy/web"][..], 0, "NetworkPolicy default/web is in force on 1 node"),
        (&["networkpolicy/web", "--at-least", "u/3/false"], 0, "(generation 3) is in force"),
        (&["networkpolicy/web", "--at-least", "u/4/false"], 1, "it has generation 3 yet, not generation 4"),
        (&["networkpolicy/web", "--at-least", "other/1/false"], 1, "it has another"),
        (&["cnp/late"], 1, "the tables are full"),
        (&["cnp/gone"], 1, "it does not know the policy yet"),
        (&["cnp/gone", "--for", "delete"], 0, "ClusterNetworkPolicy gone is gone from 1 node"),
        (&["cnp/web", "--for", "delete"], 1, "it still has the policy"),
    ] {
        let all = [&["policy", "wait", "--this-node", "--timeout", "200ms"], words].concat();
        let output = agent.run(&all);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output.stderr));
        let shown = text(&output.stdout);
        assert!(shown.contains(want), "{words:?}: {want} is not in:\n{shown}");
    }
}

#[test]
fn what_cannot_be_asked_is_named() {
    let agent = FakeAgent::enforcing(FakePolicies);
    let (old, policy) = (FakeAgent::with(full()), file(POLICY));
    let (policy, bad) = (policy.path().to_str().unwrap().to_owned(), file("a: [1\n"));
    let bad = bad.path().to_str().unwrap().to_owned();
    for (agent, words, wanted) in [
        (&old, vec!["policy", "preview", "-f", &policy, "--this-node"], "different versions"),
        (&old, vec!["policy", "wait", "cnp/web", "--this-node"], "different versions"),
        (&agent, vec!["policy", "preview", "-f", &bad, "--this-node"], "the document in line 1"),
        (&agent, vec!["policy", "preview", "-f", &policy], "--this-node"),
        (&agent, vec!["policy", "wait", "cnp/web"], "--this-node"),
        (&agent, vec!["policy", "wait", "cnp/web", "--kubeconfig", "/nowhere"], "/nowhere"),
    ] {
        let mut command = agent.command(&words);
        let output = command.env("HOME", "/nowhere").env_remove("KUBECONFIG").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        let said = text(&output.stderr);
        assert!(said.contains(wanted) && said.lines().count() == 1, "{wanted} is not in: {said}");
    }
    for wrong in [&["policy", "preview"][..], &["policy", "wait", "web"], &["policy", "wait", "pod/web"]] {
        assert_eq!(agent.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
