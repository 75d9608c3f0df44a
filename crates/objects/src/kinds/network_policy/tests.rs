mod naive;

use serde_json::{Value, json};

use super::*;
use crate::entry::Entry;

fn read(object: &Value) -> NetworkPolicy {
    Entry::<NetworkPolicy>::read(|| object).unwrap().object.unwrap()
}

fn of(spec: &Value) -> NetworkPolicy {
    read(&json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}))
}

/// A policy with this one rule for what comes in.
fn with(rule: &Value) -> NetworkPolicy {
    of(&json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [rule]}))
}

fn one(policy: &NetworkPolicy) -> &Rule {
    assert_eq!(policy.egress, None);
    let [rule] = &**policy.ingress.as_ref().unwrap() else { panic!("{policy:?}") };
    rule
}

fn told(policy: &NetworkPolicy) -> String {
    policy.defects.iter().map(|defect| format!("{}\n", defect.problem)).collect()
}

/// Whether nothing passes by a rule.
fn is_closed(rule: &Rule) -> bool {
    rule.peers.as_ref().is_some_and(|peers| peers.is_empty())
        || rule.ports.as_ref().is_some_and(|ports| ports.is_empty())
}

fn block(cidr: &str, except: &[&str]) -> Peer {
    let except = except.iter().map(|one| one.parse().unwrap()).collect();
    Peer::Block { cidr: cidr.parse().unwrap(), except }
}

fn ports(protocol: Protocol, ports: Ports) -> PolicyPort {
    PolicyPort { protocol, ports }
}

#[test]
fn every_field_is_read() {
    let policy = read(&json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {
            "name": "p", "namespace": "shop", "uid": "u", "generation": 7, "resourceVersion": "9",
            "annotations": {"midonet.org/policy-audit": "true", "other": "x"}, "managedFields": [{"manager": "m"}],
        },
        "spec": {
            "podSelector": {"matchLabels": {"app": "db"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{
                "from": [
                    {"podSelector": {"matchLabels": {"app": "web"}}},
                    {"namespaceSelector": {"matchLabels": {"team": "a"}}},
                    {"podSelector": {}, "namespaceSelector": {}},
                    {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25", "192.0.2.1/32"]}},
                    {"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8:1::/48"]}},
                ],
                "ports": [
                    {"protocol": "TCP", "port": 5432}, {"protocol": "UDP", "port": 1000, "endPort": 2000},
                    {"protocol": "SCTP", "port": "sigtran"}, {"port": "http"}, {"protocol": "UDP"},
                ],
            }],
            "egress": [{"to": [{"podSelector": {}}], "ports": [{"port": 65535, "endPort": 65535}]}, {}],
        },
        "status": {"conditions": []},
    }));
    assert_eq!((policy.key().to_string().as_str(), policy.uid()), ("shop/p", Some("u")));
    assert_eq!((policy.generation, policy.audit, policy.defects.len()), (7, true, 0));
    let select = |key: &str, value: &str| {
        LabelSelector(
            [super::super::Requirement {
                key: key.into(),
                operator: super::super::Operator::In([value.into()].into()),
            }]
            .into(),
        )
    };
    assert_eq!(policy.pods, select("app", "db"));
    let all = LabelSelector::default;
    let [rule] = &*policy.ingress.unwrap() else { panic!() };
    assert_eq!(
        **rule.peers.as_ref().unwrap(),
        [
            Peer::Pods { namespaces: None, pods: select("app", "web") },
            Peer::Pods { namespaces: Some(select("team", "a")), pods: all() },
            Peer::Pods { namespaces: Some(all()), pods: all() },
            block("192.0.2.0/24", &["192.0.2.1/32", "192.0.2.128/25"]),
            block("2001:db8::/32", &["2001:db8:1::/48"]),
        ]
    );
    let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
    assert_eq!(
        **rule.ports.as_ref().unwrap(),
        [
            ports(tcp, Ports::Range(5432, 5432)),
            ports(udp, Ports::Range(1000, 2000)),
            ports(Protocol::Sctp, Ports::Named("sigtran".into())),
            ports(tcp, Ports::Named("http".into())),
            ports(udp, Ports::All),
        ]
    );
    let egress = [
        Rule {
            peers: Some([Peer::Pods { namespaces: None, pods: all() }].into()),
            ports: Some([ports(tcp, Ports::Range(65535, 65535))].into()),
        },
        Rule { peers: None, ports: None },
    ];
    assert_eq!(*policy.egress.unwrap(), egress);
}

/// `SetDefaults_NetworkPolicy`: by the number of rules, whatever else there is.
#[test]
fn directions_are_those_of_kubernetes() {
    let (rule, none, some) = (json!([{}]), Some(0), Some(1));
    for (spec, want) in [
        (json!(null), (none, None)),
        (json!({}), (none, None)),
        (json!({"podSelector": null}), (none, None)),
        (json!({"policyTypes": null, "ingress": null, "egress": null}), (none, None)),
        (json!({"policyTypes": [], "egress": []}), (none, None)),
        (json!({"ingress": rule}), (some, None)),
        (json!({"egress": rule}), (none, some)),
        (json!({"policyTypes": [], "ingress": rule, "egress": rule}), (some, some)),
        (json!({"policyTypes": ["Ingress"], "ingress": rule, "egress": rule}), (some, None)),
        (json!({"policyTypes": ["Egress"], "ingress": rule}), (None, none)),
        (json!({"policyTypes": ["Egress", "Ingress"]}), (none, none)),
        (json!({"policyTypes": ["Egress"], "egress": null}), (None, none)),
    ] {
        let policy = of(&spec);
        let count = |rules: &Option<Box<[Rule]>>| rules.as_ref().map(|rules| rules.len());
        assert_eq!((count(&policy.ingress), count(&policy.egress)), want, "{spec}");
        assert_eq!((policy.defects.len(), policy.pods), (0, LabelSelector::default()), "{spec}");
    }
    let bare = read(&json!({"metadata": {"name": "p"}}));
    assert_eq!(
        (bare.key.to_string().as_str(), bare.ingress, bare.egress),
        ("default/p", Some(Box::default()), None)
    );
}

#[test]
fn lists_that_are_missing_or_empty_stand_for_everything() {
    for rule in [json!({}), json!({"from": null, "ports": null}), json!({"from": [], "ports": []})] {
        let policy = with(&rule);
        assert_eq!((one(&policy), policy.defects.len()), (&Rule { peers: None, ports: None }, 0), "{rule}");
    }
}

#[test]
fn wrong_peers_are_nobody() {
    let cidr = |text: &str| json!({"ipBlock": {"cidr": text}});
    let except = |text: &str| json!({"ipBlock": {"cidr": "10.1.0.0/16", "except": ["10.1.2.0/24", text]}});
    for (peer, want) in [
        (json!({}), "it says no peer"),
        (json!(null), "null is no object"),
        (json!("10.0.0.0/8"), "\"10.0.0.0/8\" is no object"),
        (json!([{}, null, null]), "is no object"),
        (json!({"podSelector": null, "namespaceSelector": null}), "it says no peer"),
        (json!({"serviceAccountSelector": {}}), "its field \"serviceAccountSelector\" is unknown"),
        (json!({"podSelector": {}, "nodeSelector": {}}), "its field \"nodeSelector\" is unknown"),
        (json!({"podSelector": 7}), "podSelector: 7 is no object"),
        (json!({"podSelector": {}, "namespaceSelector": []}), "namespaceSelector: [] is no object"),
        (
            json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}}),
            "podSelector: matchExpressions[0]: the operator \"Gt\" is unknown",
        ),
        (
            json!({"podSelector": {"matchLabels": {"a": "1"}, "labels": {}}}),
            "podSelector: its field \"labels\" is unknown",
        ),
        (json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}), "it has an ipBlock and a selector"),
        (json!({"ipBlock": {}}), "ipBlock: it has no cidr"),
        (json!({"ipBlock": {"cidr": null}}), "ipBlock: it has no cidr"),
        (
            json!({"ipBlock": {"cidr": "10.0.0.0/8", "expect": []}}),
            "ipBlock: its field \"expect\" is unknown",
        ),
        (json!({"ipBlock": ["10.0.0.0/8"]}), "is no object"),
        (json!({"ipBlock": {"cidr": 10}}), "ipBlock: 10 is no string"),
        (cidr(""), "ipBlock: \"\" is no CIDR"),
        (cidr("10.0.0.1"), "ipBlock: \"10.0.0.1\" is no CIDR"),
        (cidr("10.0.0.0/33"), "is no CIDR"),
        (cidr("2001:db8::/129"), "is no CIDR"),
        (cidr("10.0.0.0/-1"), "is no CIDR"),
        (cidr(" 10.0.0.0/8"), "is no CIDR"),
        (cidr("all"), "is no CIDR"),
        (except("10.1.3.0"), "ipBlock: except: \"10.1.3.0\" is no CIDR"),
        (except("10.1.0.0/16"), "ipBlock: its except 10.1.0.0/16 is all of it"),
        (except("10.0.0.0/8"), "ipBlock: its except 10.0.0.0/8 is all of it"),
        (json!({"ipBlock": {"cidr": "::/0", "except": ["::/0"]}}), "its except ::/0 is all of it"),
        (json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": "10.1.0.0/16"}}), "\"10.1.0.0/16\" is no list"),
        (json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": [null]}}), "except: null is no string"),
    ] {
        let alone = with(&json!({"from": [peer], "ports": [{"port": 80}]}));
        let rule = one(&alone);
        assert_eq!((rule.peers.as_deref(), rule.ports.as_ref().unwrap().len()), (Some(&[][..]), 1), "{peer}");
        let said = told(&alone);
        assert!(said.starts_with("spec.ingress[0].from[0]: ") && said.contains(want), "{want} in {said}");
        assert!(said.ends_with(": nobody is allowed by it\n"), "{said}");
        // It harms no other one.
        let beside = with(&json!({"from": [cidr("192.0.2.0/24"), peer, cidr("fd00::/8")]}));
        let good = [block("192.0.2.0/24", &[]), block("fd00::/8", &[])];
        assert_eq!(one(&beside).peers.as_deref(), Some(&good[..]), "{peer}");
        assert!(told(&beside).starts_with("spec.ingress[0].from[1]: "), "{}", told(&beside));
    }
}

#[test]
fn wrong_ports_are_none() {
    for (port, want) in [
        (json!(null), "null is no object"),
        (json!(80), "80 is no object"),
        (json!({"port": 0}), "0 is no port from 1 to 65535"),
        (json!({"port": -1}), "-1 is no port"),
        (json!({"port": 65536}), "65536 is no port"),
        (json!({"port": 80.5}), "80.5 is no port"),
        (json!({"port": true}), "true is no port"),
        (json!({"port": "80"}), "\"80\" is no name of a port"),
        (json!({"port": ""}), "\"\" is no name of a port"),
        (json!({"port": "HTTP"}), "\"HTTP\" is no name of a port"),
        (json!({"port": "a-name-that-is-too-long"}), "is no name of a port"),
        (json!({"port": 80, "protocol": "tcp"}), "the protocol \"tcp\" is none of TCP, UDP and SCTP"),
        (json!({"port": 80, "protocol": "ICMP"}), "the protocol \"ICMP\" is none"),
        (json!({"port": 80, "protocol": ""}), "the protocol \"\" is none"),
        (json!({"protocol": 6}), "6 is no string"),
        (json!({"port": 80, "endPort": 79}), "its endPort 79 is below its port 80"),
        (json!({"port": 80, "endPort": 0}), "endPort: 0 is no port"),
        (json!({"port": 80, "endPort": 65536}), "endPort: 65536 is no port"),
        (json!({"port": 80, "endPort": "90"}), "endPort: \"90\" is no port"),
        (json!({"port": 0, "endPort": 90}), "0 is no port"),
        (json!({"port": "http", "endPort": 90}), "it has an endPort, and a name as port"),
        (json!({"endPort": 90}), "it has an endPort and no port"),
        (json!({"portt": 80}), "its field \"portt\" is unknown"),
    ] {
        let alone = with(&json!({"ports": [port]}));
        let rule = one(&alone);
        assert_eq!((&rule.peers, rule.ports.as_deref()), (&None, Some(&[][..])), "{port}");
        let said = told(&alone);
        assert!(said.starts_with("spec.ingress[0].ports[0]: ") && said.contains(want), "{want} in {said}");
        assert!(said.ends_with(": no port is allowed by it\n"), "{said}");
        let beside = with(&json!({"ports": [port, {"port": 1}]}));
        assert_eq!(one(&beside).ports.as_deref(), Some(&[ports(Protocol::Tcp, Ports::Range(1, 1))][..]));
    }
}

#[test]
fn wrong_rules_and_lists_allow_nothing() {
    for (rule, want) in [
        (json!(null), "spec.ingress[0]: null is no object"),
        (json!([]), "spec.ingress[0]: [] is no object"),
        (json!({"form": []}), "spec.ingress[0]: its field \"form\" is unknown: the rule allows nothing"),
        (json!({"to": [{"podSelector": {}}]}), "its field \"to\" is unknown"),
        (json!({"from": [{"podSelector": {}}], "port": 80}), "its field \"port\" is unknown"),
        (json!({"from": {"podSelector": {}}}), "spec.ingress[0].from: {\"podSelector\":{}} is no list"),
        (json!({"from": "all"}), "spec.ingress[0].from: \"all\" is no list: nobody is allowed by it"),
        (json!({"ports": 80}), "spec.ingress[0].ports: 80 is no list: no port is allowed by it"),
    ] {
        let policy = with(&rule);
        assert!(is_closed(one(&policy)), "{rule}: {policy:?}");
        assert!(told(&policy).contains(want), "{want} in {}", told(&policy));
        // Rules keep their numbers.
        let both = of(&json!({"ingress": [rule, {"ports": [{"port": 80}]}]}));
        let rules = both.ingress.unwrap();
        assert!(is_closed(&rules[0]) && rules[1].ports.is_some() && rules[1].peers.is_none());
    }
}

#[test]
fn a_wrong_specification_closes_what_it_may_be_about() {
    let (shut, rule) = (Some(0), json!([{}]));
    for (spec, directions, want) in [
        (json!(7), (shut, shut), "spec: 7 is no object: the policy denies everything"),
        (json!([]), (shut, shut), "spec: [] is no object"),
        (json!({"ingress": {}}), (shut, None), "spec.ingress: {} is no list: nothing is allowed by it"),
        (json!({"egress": "none"}), (shut, shut), "spec.egress: \"none\" is no list"),
        (
            json!({"policyTypes": "Egress", "egress": rule}),
            (shut, Some(1)),
            "spec.policyTypes: \"Egress\" is no list",
        ),
        (json!({"policyTypes": ["Egres"]}), (shut, shut), "spec.policyTypes: \"Egres\" is unknown"),
        (json!({"policyTypes": ["Ingress", "egress"]}), (shut, shut), "\"egress\" is unknown"),
        (json!({"policyTypes": [null]}), (shut, shut), "spec.policyTypes: null is no string"),
        (
            json!({"egres": rule}),
            (shut, shut),
            "spec: its field \"egres\" is unknown: as policyTypes is not set",
        ),
        (json!({"egres": rule, "policyTypes": []}), (shut, shut), "its field \"egres\" is unknown"),
        (
            json!({"egres": rule, "policyTypes": ["Ingress"]}),
            (shut, None),
            "\"egres\" is unknown: it is ignored",
        ),
    ] {
        let policy = of(&spec);
        let count = |rules: &Option<Box<[Rule]>>| rules.as_ref().map(|rules| rules.len());
        assert_eq!((count(&policy.ingress), count(&policy.egress)), directions, "{spec}");
        assert_eq!((policy.defects.len(), policy.pods.clone()), (1, LabelSelector::default()), "{spec}");
        assert!(told(&policy).contains(want), "{want} in {}", told(&policy));
    }
}

/// Whom it would select is unknown: it isolates all who may be meant, and opens to nobody.
#[test]
fn a_wrong_selector_of_pods_closes() {
    let requirement = json!({"key": "a", "operator": "Above", "values": ["1"]});
    for (pods, narrow) in [
        (json!({"matchLabels": {"app": "db"}, "matchExpressions": [requirement]}), true),
        (json!({"matchExpressions": [requirement]}), false),
        (json!({"matchLabels": {"app": "db"}, "labels": {}}), true),
        (json!("app=db"), false),
    ] {
        let policy = of(&json!({"podSelector": pods, "ingress": [{}], "egress": [{}]}));
        assert_eq!((policy.ingress.as_deref(), policy.egress.as_deref()), (Some(&[][..]), Some(&[][..])));
        let labels = |value: &str| [("app", value)].into_iter().collect();
        assert!(policy.pods.selects(&labels("db")));
        assert_eq!(policy.pods.selects(&labels("web")), !narrow, "{pods}");
        assert!(told(&policy).starts_with("spec.podSelector: "), "{}", told(&policy));
        let egress = of(&json!({"podSelector": pods, "policyTypes": ["Egress"], "egress": [{}]}));
        assert_eq!((egress.ingress, egress.egress.as_deref()), (None, Some(&[][..])));
    }
}

#[test]
fn blocks_are_canonical() {
    for (cidr, except, want) in [
        ("10.1.2.3/8", vec![], block("10.0.0.0/8", &[])),
        ("2001:db8::1/32", vec!["2001:db8:1::7/48"], block("2001:db8::/32", &["2001:db8:1::/48"])),
        ("::ffff:10.1.2.3/104", vec!["::ffff:10.1.0.0/112"], block("10.0.0.0/8", &["10.1.0.0/16"])),
        ("::ffff:0:0/96", vec![], block("0.0.0.0/0", &[])),
        ("::/0", vec!["::ffff:0:0/95"], block("::/0", &["::fffe:0:0/95"])),
        ("0.0.0.0/0", vec!["0.0.0.0/1", "128.0.0.0/1"], block("0.0.0.0/0", &["0.0.0.0/1", "128.0.0.0/1"])),
        (
            "10.0.0.0/8",
            vec!["10.1.2.0/24", "10.1.0.0/16", "10.1.2.0/24"],
            block("10.0.0.0/8", &["10.1.0.0/16"]),
        ),
        ("192.0.2.1/32", vec![], block("192.0.2.1/32", &[])),
    ] {
        let policy = with(&json!({"from": [{"ipBlock": {"cidr": cidr, "except": except}}]}));
        assert_eq!((one(&policy).peers.as_deref(), policy.defects.len()), (Some(&[want][..]), 0), "{cidr}");
    }
}

#[test]
fn an_except_outside_its_block_takes_nothing_away() {
    let cases =
        [("10.0.0.0/8", "11.0.0.0/8"), ("10.0.0.0/8", "fd00::/8"), ("2001:db8::/32", "2001:db9::/32")];
    for (cidr, outside) in cases {
        let policy = with(&json!({"from": [{"ipBlock": {"cidr": cidr, "except": [outside]}}]}));
        assert_eq!(one(&policy).peers.as_deref(), Some(&[block(cidr, &[])][..]));
        let want =
            format!("spec.ingress[0].from[0].ipBlock.except: {outside} lies outside {cidr}: it is ignored");
        assert!(told(&policy).starts_with(&want), "{}", told(&policy));
    }
}

#[test]
fn of_many_defects_a_few_are_told() {
    let peers: Vec<_> = (0..100).map(|_| json!({"ipBlock": {"cidr": "x"}})).collect();
    let policy = with(&json!({"from": peers}));
    assert_eq!((one(&policy).peers.as_deref(), policy.defects.len()), (Some(&[][..]), 4));
    assert!(told(&policy).contains("; 96 more parts are left out"), "{}", told(&policy));
}

#[test]
fn what_names_it_is_needed_and_metadata_has_its_types() {
    let read = |object: &Value| Entry::<NetworkPolicy>::read(|| object);
    assert!(read(&json!({"metadata": {"namespace": "shop"}, "spec": {}})).is_err());
    let wrong = json!({"metadata": {"name": "p", "annotations": {"midonet.org/policy-audit": true}}});
    assert!(read(&wrong).unwrap().object.unwrap_err().problem.contains("invalid type"));
    let audit = read(&json!({"metadata": {"name": "p", "annotations": {"midonet.org/policy-audit": "on"}}}));
    let audit = audit.unwrap().object.unwrap();
    assert_eq!((audit.audit, audit.defects.len()), (false, 1));
}
