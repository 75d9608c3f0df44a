use serde_json::{Value, json};

use super::*;
use crate::entry::Entry;

fn read(object: &Value) -> Result<ClusterNetworkPolicy, Invalid> {
    Entry::<ClusterNetworkPolicy>::read(|| object).unwrap().object
}

fn of(spec: &Value) -> Result<ClusterNetworkPolicy, Invalid> {
    read(&json!({"metadata": {"name": "p"}, "spec": spec}))
}

/// A good specification with other values in some fields.
fn spec(more: &Value) -> Value {
    let mut spec = json!({"tier": "Admin", "priority": 10, "subject": {"namespaces": {}}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

fn with(more: &Value) -> ClusterNetworkPolicy {
    of(&spec(more)).unwrap()
}

/// A rule of this action for what goes out to everybody, with other fields.
fn egress(action: &str, more: &Value) -> (ClusterRule, String) {
    let mut rule = json!({"action": action, "to": [{"namespaces": {}}]});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let policy = with(&json!({"egress": [rule]}));
    let said = policy.defects.iter().map(|defect| format!("{}\n", defect.problem)).collect();
    let [rule] = &*policy.egress else { panic!("{policy:?}") };
    (rule.clone(), said)
}

fn select(key: &str, value: &str) -> LabelSelector {
    let operator = super::super::Operator::In([value.into()].into());
    LabelSelector([super::super::Requirement { key: key.into(), operator }].into())
}

fn everybody() -> ClusterPeer {
    ClusterPeer::Pods { namespaces: LabelSelector::default(), pods: LabelSelector::default() }
}

#[test]
fn every_field_is_read() {
    let pods = json!({"namespaceSelector": {"matchLabels": {"team": "a"}}, "podSelector": {"matchLabels": {"app": "db"}}});
    let policy = read(&json!({
        "metadata": {
            "name": "p", "namespace": "ignored", "uid": "u", "generation": 3,
            "annotations": {"midonet.org/policy-audit": "true"},
        },
        "spec": {
            "tier": "Baseline", "priority": 1000, "subject": {"pods": pods},
            "ingress": [{
                "name": "from-a", "action": "Accept",
                "from": [{"namespaces": {"matchLabels": {"team": "a"}}}, {"pods": pods}],
                "protocols": [
                    {"tcp": {"destinationPort": {"number": 80}}},
                    {"udp": {"destinationPort": {"range": {"start": 1, "end": 65535}}}},
                    {"sctp": {"destinationPort": {"number": 7}}},
                    {"destinationNamedPort": "http"},
                ],
            }],
            "egress": [
                {"action": "Deny", "to": [
                    {"networks": ["10.1.2.3/8", "2001:db8::1/32", "::ffff:192.0.2.0/120"]},
                    {"nodes": {"matchLabels": {"zone": "a"}}},
                    {"pods": {"podSelector": {}}},
                ]},
                {"action": "Pass", "to": [{"namespaces": {}}], "protocols": null},
            ],
        },
        "status": {"conditions": []},
    }))
    .unwrap();
    assert_eq!((policy.key().to_string().as_str(), policy.uid()), ("p", Some("u")));
    assert_eq!((policy.generation, policy.tier, policy.priority), (3, Tier::Baseline, 1000));
    assert_eq!((policy.audit, policy.defects.len()), (true, 0));
    let (a, db) = (select("team", "a"), select("app", "db"));
    assert_eq!((&policy.namespaces, &policy.pods), (&a, &db));
    let all = LabelSelector::default;
    let ingress = ClusterRule {
        name: "from-a".into(),
        action: Action::Accept,
        peers: [
            ClusterPeer::Pods { namespaces: a.clone(), pods: all() },
            ClusterPeer::Pods { namespaces: a, pods: db },
        ]
        .into(),
        ports: Some(
            [
                ClusterPort::Of(Protocol::Tcp, Ports::Range(80, 80)),
                ClusterPort::Of(Protocol::Udp, Ports::Range(1, 65535)),
                ClusterPort::Of(Protocol::Sctp, Ports::Range(7, 7)),
                ClusterPort::Named("http".into()),
            ]
            .into(),
        ),
    };
    assert_eq!(*policy.ingress, [ingress]);
    let networks = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.0/24"].map(|cidr| cidr.parse().unwrap());
    let deny = ClusterRule {
        name: "".into(),
        action: Action::Deny,
        peers: [ClusterPeer::Networks(networks.into()), ClusterPeer::Nodes(select("zone", "a")), everybody()]
            .into(),
        ports: None,
    };
    let pass =
        ClusterRule { name: "".into(), action: Action::Pass, peers: [everybody()].into(), ports: None };
    assert_eq!(*policy.egress, [deny, pass]);
}

#[test]
fn subjects_are_namespaces_or_pods() {
    let (all, a) = (LabelSelector::default(), select("a", "1"));
    let selector = json!({"matchLabels": {"a": "1"}});
    for (subject, namespaces, pods) in [
        (json!({"namespaces": {}}), &all, &all),
        (json!({"namespaces": selector, "pods": null}), &a, &all),
        (json!({"pods": {"podSelector": selector}}), &all, &a),
        (json!({"pods": {"namespaceSelector": selector, "podSelector": {}}}), &a, &all),
    ] {
        let policy = with(&json!({"subject": subject}));
        assert_eq!(
            (&policy.namespaces, &policy.pods, policy.defects.len()),
            (namespaces, pods, 0),
            "{subject}"
        );
        assert!(policy.ingress.is_empty() && policy.egress.is_empty());
    }
}

/// Whom it is about, or when, is not known: its last valid form counts on.
#[test]
fn what_the_whole_policy_needs_makes_it_invalid() {
    let rule = |action: Value| json!({"ingress": [{"action": action, "from": [{"namespaces": {}}]}]});
    let gt = json!({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]});
    for (more, want) in [
        (json!({"tier": "admin"}), "spec.tier: \"admin\" is neither Admin nor Baseline"),
        (json!({"tier": null}), "spec.tier: it is missing"),
        (json!({"tier": 1}), "spec.tier: 1 is no string"),
        (json!({"priority": null}), "spec.priority: it is missing"),
        (json!({"priority": 1001}), "spec.priority: 1001 is no number from 0 to 1000"),
        (json!({"priority": -1}), "spec.priority: -1 is no number"),
        (json!({"priority": "1"}), "spec.priority: \"1\" is no number"),
        (json!({"priority": 1.5}), "spec.priority: 1.5 is no number"),
        (json!({"subject": null}), "spec.subject: it is missing"),
        (json!({"subject": {}}), "spec.subject: it is empty"),
        (
            json!({"subject": {"namespaces": {}, "pods": {"podSelector": {}}}}),
            "spec.subject: it has namespaces and pods",
        ),
        (json!({"subject": {"nodes": {}}}), "spec.subject: its field \"nodes\" is unknown"),
        (
            json!({"subject": {"namespaces": gt}}),
            "spec.subject: namespaces: matchExpressions[0]: the operator \"Gt\"",
        ),
        (json!({"subject": {"pods": {}}}), "spec.subject: pods: it has no podSelector"),
        (
            json!({"subject": {"pods": {"podSelector": gt}}}),
            "spec.subject: pods: podSelector: matchExpressions[0]",
        ),
        (
            json!({"subject": {"pods": {"podSelector": {}, "x": 1}}}),
            "spec.subject: pods: its field \"x\" is unknown",
        ),
        (json!({"ingress": {}}), "spec.ingress: {} is no list"),
        (json!({"egress": [7]}), "spec.egress[0]: 7 is no object"),
        (rule(json!("Allow")), "spec.ingress[0].action: \"Allow\" is none of Accept, Deny and Pass"),
        (rule(json!(null)), "spec.ingress[0].action: it is missing"),
    ] {
        let invalid = of(&spec(&more)).unwrap_err();
        assert!(invalid.problem.starts_with(want), "{want} in {invalid:?}");
        assert!(invalid.remedy.starts_with("correct spec."), "{invalid:?}");
    }
    for spec in [json!(null), json!([]), json!("x")] {
        assert!(of(&spec).unwrap_err().problem.starts_with("spec: "));
    }
    assert!(
        read(&json!({"metadata": {"name": "p"}})).unwrap_err().problem.starts_with("spec: it is missing")
    );
}

#[test]
fn unknown_peers_fail_closed() {
    let networks = |all: Value| json!([{"networks": all}]);
    for (to, want) in [
        (json!(null), "spec.egress[0].to: it is missing"),
        (json!([]), "spec.egress[0].to: it is empty"),
        (json!({}), "spec.egress[0].to: {} is no list"),
        (json!([{}]), "spec.egress[0].to[0]: it is empty"),
        (json!([null]), "spec.egress[0].to[0]: null is no object"),
        (json!([{"pods": null}]), "spec.egress[0].to[0]: it is empty"),
        (json!([{"services": {}}]), "its field \"services\" is unknown"),
        (json!([{"namespaces": {}, "services": {}}]), "its field \"services\" is unknown"),
        (json!([{"networks": ["::/0"], "services": {}}]), "it says more than one kind of peer"),
        (json!([{"namespaces": {}, "nodes": {}}]), "it says more than one kind of peer"),
        (json!([{"namespaces": {}, "pods": {"podSelector": {}}}]), "it has namespaces and pods"),
        (json!([{"domainNames": ["example.com"]}]), "domainNames are not supported"),
        (json!([{"domainNames": ["example.com"], "networks": ["10.0.0.0/8"]}]), "more than one kind of peer"),
        (networks(json!([])), "networks: it is empty"),
        (networks(json!("10.0.0.0/8")), "networks: \"10.0.0.0/8\" is no list"),
        (networks(json!(["10.0.0.0/8", "10.0.0.1"])), "networks: \"10.0.0.1\" is no CIDR"),
        (networks(json!(["2001:db8::/129"])), "is no CIDR"),
        (
            json!([{"nodes": {"matchExpressions": [{"key": "a", "operator": "Lt", "values": ["1"]}]}}]),
            "nodes: matchExpressions[0]",
        ),
        (json!([{"pods": {"namespaceSelector": {}}}]), "pods: it has no podSelector"),
        (
            json!([{"pods": {"podSelector": {}, "namespaceSelector": 1}}]),
            "pods: namespaceSelector: 1 is no object",
        ),
    ] {
        let port = json!({"to": to, "protocols": [{"tcp": {"destinationPort": {"number": 80}}}]});
        for action in ["Accept", "Deny", "Pass"] {
            let (rule, said) = egress(action, &port);
            assert!(said.contains(want) && said.contains(CLOSED_TEXT), "{want} in {said}");
            assert_eq!(*rule.peers, [ClusterPeer::Unknown], "{to}");
            let closed = match action {
                "Accept" => (Action::Accept, false),
                _ => (Action::Deny, true),
            };
            assert_eq!((rule.action, rule.ports.is_none()), closed, "{action} {to}");
        }
        let Some([peer]) = to.as_array().map(Vec::as_slice) else { continue };
        let (rule, _) = egress("Accept", &json!({"to": [{"namespaces": {}}, peer]}));
        assert_eq!(
            *rule.peers,
            [everybody(), ClusterPeer::Unknown],
            "the others of a rule that accepts count"
        );
    }
}

const CLOSED_TEXT: &str = "a rule that accepts matches nothing by it, any other one denies everything";

#[test]
fn packets_come_from_namespaces_and_pods_alone() {
    for peer in [json!({"networks": ["10.0.0.0/8"]}), json!({"nodes": {}}), json!({"domainNames": ["a.b"]})] {
        let policy = with(&json!({"ingress": [{"action": "Accept", "from": [peer]}]}));
        assert_eq!(*policy.ingress[0].peers, [ClusterPeer::Unknown], "{peer}");
        let want =
            "spec.ingress[0].from[0]: nodes, networks and domainNames are no peers that packets come from";
        assert!(policy.defects[0].problem.starts_with(want), "{:?}", policy.defects);
        let misplaced = with(&json!({"egress": [{"action": "Deny", "from": [{"namespaces": {}}]}]}));
        assert_eq!(*misplaced.egress[0].peers, [ClusterPeer::Unknown]);
    }
}

#[test]
fn unknown_ports_fail_closed() {
    let tcp = |port: Value| json!([{"tcp": {"destinationPort": port}}]);
    let range = |start: Value, end: Value| tcp(json!({"range": {"start": start, "end": end}}));
    for (protocols, want) in [
        (json!([]), "spec.egress[0].protocols: it is empty"),
        (json!("TCP"), "spec.egress[0].protocols: \"TCP\" is no list"),
        (json!([null]), "spec.egress[0].protocols[0]: null is no object"),
        (json!([{}]), "spec.egress[0].protocols[0]: it is empty"),
        (json!([{"icmp": {}}]), "its field \"icmp\" is unknown"),
        (json!([{"tcp": {}}]), "tcp: it has no destinationPort"),
        (json!([{"udp": {"sourcePort": {"number": 1}}}]), "udp: its field \"sourcePort\" is unknown"),
        (json!([{"sctp": 7}]), "sctp: 7 is no object"),
        (json!([{"tcp": {"destinationPort": {"number": 1}}, "udp": {}}]), "it says more than one protocol"),
        (
            json!([{"tcp": {"destinationPort": {"number": 1}}, "destinationNamedPort": "a"}]),
            "more than one protocol",
        ),
        (tcp(json!({})), "tcp: its destinationPort is empty"),
        (tcp(json!({"number": 0})), "tcp: 0 is no port"),
        (tcp(json!({"number": 65536})), "tcp: 65536 is no port"),
        (tcp(json!({"number": "http"})), "tcp: \"http\" is no port"),
        (tcp(json!({"number": 1, "range": {"start": 1, "end": 2}})), "a number and a range"),
        (tcp(json!({"range": {"start": 1}})), "its range has no end"),
        (tcp(json!({"range": {"end": 1}})), "its range has no start"),
        (range(json!(0), json!(5)), "0 is no port"),
        (range(json!(5), json!(5)), "the range's end 5 is not above its start 5"),
        (range(json!(6), json!(5)), "the range's end 5 is not above its start 6"),
        (json!([{"destinationNamedPort": ""}]), "\"\" is no name of a port"),
        (json!([{"destinationNamedPort": "80"}]), "\"80\" is no name of a port"),
        (json!([{"destinationNamedPort": 80}]), "80 is no string"),
    ] {
        for action in ["Accept", "Deny", "Pass"] {
            let (rule, said) = egress(action, &json!({"protocols": protocols}));
            assert!(said.contains(want) && said.contains("matches no port by it"), "{want} in {said}");
            assert_eq!(*rule.peers, [everybody()]);
            let closed = match action {
                "Accept" => (Action::Accept, Some([ClusterPort::Unknown].into())),
                _ => (Action::Deny, None),
            };
            assert_eq!((rule.action, rule.ports), closed, "{action} {protocols}");
        }
    }
}

/// As the CRD's own validation has it.
#[test]
fn networks_and_nodes_have_no_named_ports() {
    for peer in [json!({"networks": ["10.0.0.0/8", "fd00::/8"]}), json!({"nodes": {}})] {
        let more = json!({
            "to": [{"namespaces": {}}, peer],
            "protocols": [{"destinationNamedPort": "http"}, {"udp": {"destinationPort": {"number": 53}}}],
        });
        let (rule, said) = egress("Accept", &more);
        let want = [ClusterPort::Unknown, ClusterPort::Of(Protocol::Udp, Ports::Range(53, 53))];
        assert_eq!(rule.ports.as_deref(), Some(&want[..]));
        assert!(
            said.starts_with("spec.egress[0].protocols: networks and nodes have no ports with names"),
            "{said}"
        );
        assert_eq!(egress("Deny", &more).0.ports, None);
    }
    let (rule, said) = egress("Accept", &json!({"protocols": [{"destinationNamedPort": "http"}]}));
    assert_eq!((rule.ports.as_deref(), said.as_str()), (Some(&[ClusterPort::Named("http".into())][..]), ""));
}

#[test]
fn unknown_fields_of_a_rule_fail_closed() {
    for (action, want) in [("Accept", Action::Accept), ("Deny", Action::Deny), ("Pass", Action::Deny)] {
        let (rule, said) = egress(
            action,
            &json!({"when": "later", "protocols": [{"tcp": {"destinationPort": {"number": 1}}}]}),
        );
        assert_eq!((rule.action, &*rule.peers), (want, &[ClusterPeer::Unknown][..]));
        assert_eq!(rule.ports.is_none(), action != "Accept");
        assert!(said.starts_with("spec.egress[0]: its field \"when\" is unknown"), "{said}");
    }
    let (rule, said) = egress("Deny", &json!({"name": 7}));
    assert_eq!((&*rule.name, &*rule.peers), ("", &[everybody()][..]));
    assert!(said.starts_with("spec.egress[0].name: 7 is no string: the rule has no name"), "{said}");
    let policy = with(&json!({"logging": true}));
    assert!(policy.defects[0].problem.starts_with("spec: its field \"logging\" is unknown: it is ignored"));
}
