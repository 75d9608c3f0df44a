use serde_json::{Value, json};

use super::*;
use crate::entry::Entry;

fn slice(more: &Value) -> EndpointSlice {
    let mut object = json!({
        "metadata": {
            "name": "web-1", "namespace": "shop", "uid": "u", "labels": {"kubernetes.io/service-name": "web"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "1970-01-01T00:00:01.5Z"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.244.1.7"], "nodeName": "n1"}],
    });
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let entry = Entry::<EndpointSlice>::read(|| &object).unwrap();
    assert_eq!(entry.key, Key::namespaced("shop", "web-1"));
    entry.object.unwrap()
}

fn good(more: &Value) -> EndpointSlice {
    let slice = slice(more);
    assert_eq!(*slice.defects, [], "{more}");
    slice
}

fn labels(labels: &Value) -> Value {
    json!({"metadata": {"name": "web-1", "namespace": "shop", "labels": labels}})
}

#[test]
fn every_field_is_read() {
    let slice = good(&json!({
        "addressType": "IPv6",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        "endpoints": [
            {
                "addresses": ["fd44::7", "fd44::8"], "conditions": {"ready": false, "serving": true, "terminating": true},
                "nodeName": "n1", "zone": "a", "targetRef": {"kind": "Pod"}, "deprecatedTopology": {"x": "y"},
                "hints": {"forZones": [{"name": "a"}, {"name": "b"}], "forNodes": [{"name": "n1"}]},
            },
            {"addresses": ["fd44::9"], "hints": {"forZones": []}},
        ],
    }));
    assert_eq!(
        (slice.service.as_deref(), slice.uid(), slice.family),
        (Some("shop/web"), Some("u"), Family::V6)
    );
    assert_eq!(slice.triggered, Some(1500));
    let ports: Vec<_> = slice.ports.iter().map(|one| (&*one.name, one.protocol, one.port)).collect();
    assert_eq!(ports, [("http", Protocol::Tcp, 8080), ("dns", Protocol::Udp, 53)]);
    let [first, second] = &*slice.endpoints else { panic!("{slice:?}") };
    assert_eq!(first.address, "fd44::7".parse::<IpAddr>().unwrap(), "only the first counts");
    assert_eq!((first.ready, first.serving, first.terminating), (false, true, true));
    assert_eq!(first.node.as_deref(), Some("n1"));
    let hints = first.hints.as_ref().unwrap();
    assert_eq!((hints.zones.join(" "), hints.nodes.join(" ")), ("a b".into(), "n1".into()));
    assert_eq!((second.node.as_ref(), second.hints.as_ref()), (None, None));
    let text = serde_json::to_string(&slice).unwrap();
    assert_eq!(serde_json::from_str::<EndpointSlice>(&text).unwrap(), slice);
}

#[test]
fn conditions_that_are_nil_count_as_ready_and_serving() {
    for conditions in [json!(null), json!({}), json!({"ready": null, "serving": null, "terminating": null})] {
        let slice = good(&json!({"endpoints": [{"addresses": ["10.244.1.7"], "conditions": conditions}]}));
        let endpoint = &slice.endpoints[0];
        assert_eq!((endpoint.ready, endpoint.serving, endpoint.terminating), (true, true, false));
    }
    let slice = good(&json!({"endpoints": null, "ports": null}));
    assert!(slice.endpoints.is_empty() && slice.ports.is_empty());
}

#[test]
fn one_that_no_proxy_needs_is_of_no_service() {
    for more in [
        labels(&json!({"kubernetes.io/service-name": "web", "service.kubernetes.io/headless": ""})),
        labels(&json!({"kubernetes.io/service-name": ""})),
        labels(&json!(null)),
        json!({"addressType": "FQDN"}),
        json!({"addressType": "IPX"}),
        json!({"addressType": null}),
    ] {
        let slice = good(&more);
        assert_eq!((&slice.service, slice.endpoints.len(), slice.ports.len()), (&None, 0, 0), "{more}");
    }
}

#[test]
fn ports_are_as_the_api_server_sets_them_by_default() {
    let ports = |ports: Value| good(&json!({"ports": ports})).ports;
    let tcp = |name: &str, port| EndpointPort { name: name.into(), protocol: Protocol::Tcp, port };
    assert_eq!(
        *ports(json!([{"port": 80}, {"name": null, "protocol": null, "port": 81}])),
        [tcp("", 80), tcp("", 81)]
    );
    // Nil means all ports, which is nothing to connect to.
    assert_eq!(*ports(json!([{"name": "a", "port": null}, {"name": "b", "port": 82}])), [tcp("b", 82)]);
}

#[test]
fn a_wrong_part_is_left_out_and_named() {
    let said = |more: &Value| {
        let slice = slice(more);
        assert_eq!(slice.defects.len(), 1, "{more}: {:?}", slice.defects);
        let problem = slice.defects[0].problem.clone();
        (slice, problem)
    };
    for (address, says) in [
        (json!(["fd44::7"]), "fd44::7 is not IPv4"),
        (json!(["nonsense"]), "\"nonsense\" is no IP address"),
        (json!([]), "an endpoint has no address"),
        (json!(null), "an endpoint has no address"),
        (json!(["127.0.0.1"]), "127.0.0.1 is no address of one host"),
        (json!(["0.0.0.0"]), "0.0.0.0 is no address of one host"),
        (json!(["169.254.1.1"]), "169.254.1.1 is no address of one host"),
        (json!(["224.0.0.1"]), "224.0.0.1 is no address of one host"),
        (json!(["255.255.255.255"]), "255.255.255.255 is no address of one host"),
    ] {
        let (slice, problem) =
            said(&json!({"endpoints": [{"addresses": address}, {"addresses": ["10.244.1.8"]}]}));
        assert!(problem.contains(says), "{says} in {problem}");
        assert_eq!(
            (slice.endpoints.len(), slice.endpoints[0].address.to_string().as_str()),
            (1, "10.244.1.8")
        );
    }
    for (port, says) in [(0, "is 0, not 1"), (-1, "is -1, not 1"), (65536, "is 65536, not 1")] {
        let (slice, problem) =
            said(&json!({"ports": [{"name": "a", "port": port}, {"name": "b", "port": 9}]}));
        assert!(problem.contains(says), "{says} in {problem}");
        assert_eq!(slice.ports.len(), 1);
    }
    let (slice, _) = said(&json!({"ports": [{"protocol": "ICMP", "port": 1}]}));
    assert!(slice.ports.is_empty() && slice.endpoints.len() == 1);
    let annotations = json!({"endpoints.kubernetes.io/last-change-trigger-time": "yesterday"});
    let mut metadata = labels(&json!({"kubernetes.io/service-name": "web"}));
    metadata["metadata"]["annotations"] = annotations;
    assert_eq!(said(&metadata).0.triggered, None);
}

#[test]
fn names_are_shared_with_other_objects() {
    let text = |slice: &EndpointSlice| slice.endpoints[0].node.clone().unwrap();
    let (one, two) = (good(&json!({})), good(&json!({})));
    assert!(Arc::ptr_eq(&text(&one), &text(&two)));
    assert!(Arc::ptr_eq(one.service.as_ref().unwrap(), two.service.as_ref().unwrap()));
}
