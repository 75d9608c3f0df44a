use serde_json::{Value, json};

use super::*;
use crate::entry::Entry;

fn read(more: &Value) -> Result<Service, Invalid> {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "creationTimestamp": "1970-01-01T00:01:00Z"},
        "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]},
    });
    merge(&mut object, more);
    let entry = Entry::<Service>::read(|| &object).unwrap();
    assert_eq!(entry.key, Key::namespaced("shop", "web"));
    entry.object
}

fn merge(to: &mut Value, more: &Value) {
    match (to, more) {
        (Value::Object(to), Value::Object(more)) => {
            for (key, value) in more {
                merge(to.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (to, more) => *to = more.clone(),
    }
}

fn good(more: &Value) -> Service {
    let service = read(more).unwrap();
    assert_eq!(*service.defects, [], "{more}");
    service
}

/// What is left out, of a Service of which one part is.
fn bad(spec: &Value) -> (Service, String) {
    let service = read(&json!({"spec": spec})).unwrap();
    assert_eq!(service.defects.len(), 1, "{spec}: {:?}", service.defects);
    assert!(!service.defects[0].remedy.is_empty());
    let problem = service.defects[0].problem.clone();
    (service, problem)
}

fn ips(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

#[test]
fn every_field_is_read() {
    let service = good(&json!({
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd96::7"],
            "ports": [
                {"name": "http", "port": 80, "targetPort": "web", "nodePort": 30080, "protocol": "TCP"},
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "sig", "port": 9, "protocol": "SCTP"},
            ],
            "externalIPs": ["192.0.2.1", "2001:db8::1"],
            "loadBalancerSourceRanges": [" 198.51.100.7/24 ", "2001:db8::/32\n"],
            "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86400}},
            "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000,
        },
        "status": {"loadBalancer": {"ingress": [
            {"ip": "203.0.113.1"}, {"ip": "203.0.113.2", "ipMode": "VIP"}, {"ip": "203.0.113.3", "ipMode": "Proxy"},
            {"hostname": "lb.example"}, {"ip": ""}, {"ip": "2001:db8::99"},
        ]}},
    }));
    assert_eq!((&*service.id, service.uid(), service.created), ("shop/web", Some("u"), Some(60)));
    assert_eq!((service.kind, service.ignored), (ServiceType::LoadBalancer, None));
    assert_eq!(*service.cluster_ips, ips(&["10.96.0.7", "fd96::7"]));
    assert_eq!(service.cluster_ip(Family::V6), Some("fd96::7".parse().unwrap()));
    let ports: Vec<_> = service
        .ports
        .iter()
        .map(|PortSpec { name, protocol, port, node_port }| (&**name, *protocol, *port, *node_port))
        .collect();
    let want =
        [("http", Protocol::Tcp, 80, 30080), ("dns", Protocol::Udp, 53, 0), ("sig", Protocol::Sctp, 9, 0)];
    assert_eq!(ports, want);
    assert_eq!(*service.external_ips, ips(&["192.0.2.1", "2001:db8::1"]));
    assert_eq!(*service.load_balancer_ips, ips(&["203.0.113.1", "203.0.113.2", "2001:db8::99"]));
    let ranges: Vec<String> = service.source_ranges.iter().map(ToString::to_string).collect();
    assert_eq!(
        (ranges.join(" ").as_str(), service.has_unreadable_range),
        ("198.51.100.0/24 2001:db8::/32", false)
    );
    assert_eq!((service.affinity, service.health_check_node_port), (Some(86400), 31000));
    assert!(service.internal_local && service.external_local);
    let text = serde_json::to_string(&service).unwrap();
    assert_eq!(serde_json::from_str::<Service>(&text).unwrap(), service);
}

#[test]
fn what_the_api_server_sets_by_default_may_be_missing() {
    let service = good(&json!({}));
    assert_eq!((service.kind, service.affinity), (ServiceType::ClusterIp, None));
    assert_eq!(*service.cluster_ips, ips(&["10.96.0.7"]));
    let port = PortSpec { name: "".into(), protocol: Protocol::Tcp, port: 80, node_port: 0 };
    assert_eq!(*service.ports, [port]);
    assert!(!service.internal_local && !service.external_local);
    let affinity = |config: Value| {
        good(&json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}}))
    };
    for config in
        [json!(null), json!({}), json!({"clientIP": {}}), json!({"clientIP": {"timeoutSeconds": null}})]
    {
        assert_eq!(affinity(config).affinity, Some(10_800));
    }
    let nulls =
        json!({"spec": {"ports": null, "externalIPs": null, "type": null, "clusterIPs": []}, "status": null});
    assert_eq!(good(&nulls).ports.len(), 0);
}

#[test]
fn what_is_not_proxied_says_why_and_has_nothing_else() {
    let label = json!({"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": ""}}});
    for (more, why) in [
        (label, Ignored::OtherProxy),
        (json!({"spec": {"type": "ExternalName", "externalName": "x.example"}}), Ignored::ExternalName),
        (json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}), Ignored::Headless),
        (json!({"spec": {"clusterIP": ""}}), Ignored::NoAddress),
        (json!({"spec": {"clusterIP": null}}), Ignored::NoAddress),
        (json!({"spec": null}), Ignored::NoAddress),
    ] {
        let service = good(&more);
        assert_eq!(service.ignored, Some(why), "{more}");
        assert!(service.ports.is_empty() && service.cluster_ips.is_empty() && !why.to_string().is_empty());
    }
}

#[test]
fn a_wrong_part_is_left_out_and_named() {
    let port = |port: Value| bad(&json!({"ports": [{"name": "a", "port": 81}, port]}));
    for (wrong, says) in [
        (json!({"name": "b", "port": 0}), "spec.ports[b]: its port is 0, not 1 to 65535"),
        (json!({"name": "b", "port": 65536}), "its port is 65536"),
        (json!({"name": "b", "port": -1}), "its port is -1"),
        (json!({"name": "b"}), "its port is none"),
        (json!({"name": "b", "port": 9, "protocol": "ICMP"}), "\"ICMP\" is no protocol"),
        (json!({"name": "a", "port": 9}), "9/TCP is the second port of that name"),
    ] {
        let (service, problem) = port(wrong);
        assert!(problem.contains(says), "{says} in {problem}");
        assert_eq!((service.ports.len(), service.ports[0].port), (1, 81));
    }
    let (service, problem) = port(json!({"name": "b", "port": 82, "nodePort": 70000}));
    assert!(problem.contains("its nodePort is 70000"), "{problem}");
    assert_eq!((service.ports.len(), service.ports[1].node_port), (2, 0));

    let (service, problem) = bad(&json!({"clusterIPs": ["10.96.0.7", "10.96.0.8"]}));
    assert!(problem.contains("10.96.0.8 is the second of its family"), "{problem}");
    assert_eq!(*service.cluster_ips, ips(&["10.96.0.7"]));
    let (service, _) = bad(&json!({"clusterIPs": ["10.96.0.777", "fd96::7"]}));
    assert_eq!(*service.cluster_ips, ips(&["fd96::7"]));
    let (service, _) = bad(&json!({"externalIPs": ["nonsense", "::ffff:192.0.2.1"]}));
    assert_eq!(*service.external_ips, ips(&["192.0.2.1"]), "a mapped address is IPv4");
    for seconds in [0, -1, 86401] {
        let config = json!({"clientIP": {"timeoutSeconds": seconds}});
        let (service, _) = bad(&json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}));
        assert_eq!(service.affinity, Some(10_800));
    }
    let (service, _) = bad(&json!({"loadBalancerSourceRanges": ["198.51.100.0/24", "10.0.0.0/33"]}));
    assert!(service.has_unreadable_range && service.source_ranges.len() == 1);
    assert_eq!(bad(&json!({"sessionAffinity": "x"})).0.affinity, None);
    assert!(!bad(&json!({"externalTrafficPolicy": "x"})).0.external_local);
    assert_eq!(bad(&json!({"healthCheckNodePort": 99999})).0.health_check_node_port, 0);
}

#[test]
fn few_of_many_defects_are_told_with_how_many_there_are() {
    let ports: Vec<Value> =
        (0..1000).map(|number| json!({"name": format!("p{number}"), "port": 0})).collect();
    let service = read(&json!({"spec": {"ports": ports}})).unwrap();
    assert_eq!(service.defects.len(), 4);
    assert!(service.defects[3].problem.ends_with("996 more parts are left out"), "{:?}", service.defects);
}

#[test]
fn what_has_another_type_is_invalid_as_a_whole() {
    for more in [
        json!({"spec": {"type": "Banana"}}),
        json!({"spec": {"ports": 7}}),
        json!({"spec": {"ports": [{"port": "80"}]}}),
        json!({"spec": {"clusterIPs": "10.96.0.7"}}),
        json!({"spec": []}),
    ] {
        assert!(!read(&more).unwrap_err().problem.is_empty(), "{more}");
    }
}
