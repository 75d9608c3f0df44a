//! Which objects count, and which of their endpoints: the Service's and the slices' labels, conditions, duplicates, what is
//! nil, topology.

use serde_json::json;

use super::NODES;
use super::service_scene::{
    DEADLINE, Endpoint, From, PROTOCOLS, REFUSED, Scene, TIMEOUT, To, dead, merge, ready, terminating,
};

const CLIENT: From = From::Pod("node1");

/// `service.kubernetes.io/service-proxy-name`: with any value somebody else serves it. The label comes and goes.
pub(super) fn service_proxy_name(scene: &Scene<'_>) {
    let label = |value: serde_json::Value| json!({"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": value}}});
    let service = scene.serve("proxy-name", &label("other".into()), &[ready(1)]);
    scene.expect_all(CLIENT, &service.cluster(), TIMEOUT);
    for (value, want) in [(serde_json::Value::Null, &["web1"][..]), ("".into(), TIMEOUT)] {
        scene.change(service.name, &label(value));
        scene.expect_all(CLIENT, &service.cluster(), want);
    }
    scene.forget(service.name);
}

/// `service.kubernetes.io/headless` on a slice: of a Service that was headless once. The label comes and goes.
pub(super) fn headless_slice(scene: &Scene<'_>) {
    let service = scene.serve("headless", &json!({}), &[ready(1)]);
    let label = |family, value: &str| {
        let mut slice = scene.slice(service.name, "-more", family, &[ready(2)]);
        merge(&mut slice, &json!({"metadata": {"labels": {"service.kubernetes.io/headless": value}}}));
        slice
    };
    for family in 0..2 {
        scene.apply(&label(family, ""));
    }
    scene.expect_all(CLIENT, &service.cluster(), &["web1"]);
    for family in 0..2 {
        scene.apply(&scene.slice(service.name, "-more", family, &[ready(2)]));
    }
    scene.expect_all(CLIENT, &service.cluster(), &["web1", "web2"]);
    for family in 0..2 {
        scene.apply(&label(family, "yes"));
    }
    scene.expect_all(CLIENT, &service.cluster(), &["web1"]);
    scene.forget(service.name);
}

/// Without `kubernetes.io/service-name` a slice is nobody's.
pub(super) fn slice_without_a_service(scene: &Scene<'_>) {
    let service = scene.serve("no-name", &json!({}), &[ready(1)]);
    for family in 0..2 {
        let mut slice = scene.slice(service.name, "-stray", family, &[ready(2)]);
        slice["metadata"]["labels"].as_object_mut().unwrap().remove("kubernetes.io/service-name");
        scene.apply(&slice);
    }
    scene.expect_all(CLIENT, &service.cluster(), &["web1"]);
    scene.forget(service.name);
}

/// A headless Service has no address, and gets one as another object.
pub(super) fn cluster_ip_none(scene: &Scene<'_>) {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "none"},
        "spec": {"clusterIP": "None", "ports": [{"name": "tcp", "port": 80}]}});
    scene.apply(&service);
    scene.endpoints("none", &[ready(1)]);
    let midokube = testkit::bin("midokube");
    let ask = ["node1", midokube.to_str().unwrap(), "service", "default/none", "-o", "json"];
    testkit::wait_until(DEADLINE, "nothing of a headless Service is served", || {
        scene.cluster.tool("enter", &ask).is_ok_and(|said| said.contains("\"ignored\": \"it is headless"))
    });
    scene.forget("none");
    let service = scene.serve("none", &json!({}), &[ready(2)]);
    scene.expect_all(CLIENT, &service.cluster(), &["web2"]);
    scene.forget(service.name);
}

/// Of an endpoint's addresses the first counts.
pub(super) fn first_address_of_an_endpoint(scene: &Scene<'_>) {
    let service = scene.serve("first", &json!({}), &[]);
    for family in 0..2 {
        let mut slice = scene.slice(service.name, "", family, &[ready(1)]);
        slice["endpoints"][0]["addresses"] = json!([scene.webs[0][family], scene.webs[1][family]]);
        scene.apply(&slice);
    }
    scene.expect_all(CLIENT, &service.cluster(), &["web1"]);
    scene.forget(service.name);
}

/// Nil: ready and serving are true, terminating is false.
pub(super) fn nil_conditions(scene: &Scene<'_>) {
    let endpoints: [Endpoint; 3] = [(1, json!({})), (2, json!({"conditions": {}})), dead(3)];
    let service = scene.serve("nil", &json!({}), &endpoints);
    scene.expect_all(CLIENT, &service.cluster(), &["web1", "web2"]);
    scene.forget(service.name);
}

/// A port without number is ignored, the slice's others count.
pub(super) fn port_without_number(scene: &Scene<'_>) {
    let service = scene.serve("nil-port", &json!({}), &[]);
    for family in 0..2 {
        let mut slice = scene.slice(service.name, "", family, &[ready(1)]);
        slice["ports"] =
            json!([{"name": "tcp", "protocol": "TCP"}, {"name": "udp", "protocol": "UDP", "port": 8080}]);
        scene.apply(&slice);
    }
    for address in service.addresses {
        scene.expect(CLIENT, To(PROTOCOLS[1], address, 80), &["web1"]);
        scene.expect(CLIENT, To(PROTOCOLS[0], address, 80), REFUSED);
    }
    scene.forget(service.name);
}

/// One address in two slices, terminating and ready: it is ready, whichever came first.
pub(super) fn one_address_in_two_slices(scene: &Scene<'_>) {
    let service = scene.serve("twice", &json!({}), &[terminating(1)]);
    for family in 0..2 {
        scene.apply(&scene.slice(service.name, "-other", family, &[ready(1), terminating(2)]));
    }
    scene.expect_all(CLIENT, &service.cluster(), &["web1"]);
    for family in 0..2 {
        scene.apply(&scene.slice(service.name, "-other", family, &[terminating(1)]));
    }
    scene.endpoints(service.name, &[ready(1), terminating(2)]);
    scene.expect_all(CLIENT, &service.cluster(), &["web1"]);
    scene.forget(service.name);
}

/// An endpoint is local by its nodeName, never by its address.
pub(super) fn local_by_node_name(scene: &Scene<'_>) {
    let policy = json!({"spec": {"internalTrafficPolicy": "Local"}});
    // The Pod of node2 is said to be node1's, and the other way round.
    let swapped: [Endpoint; 2] = [(2, json!({"nodeName": NODES[0]})), (1, json!({"nodeName": NODES[1]}))];
    let service = scene.serve("local-name", &policy, &swapped);
    scene.expect_all(From::Pod("node1"), &service.cluster(), &["web2"]);
    scene.expect_all(From::Pod("node2"), &service.cluster(), &["web1"]);
    scene.forget(service.name);
}

/// Ready ones alone; when there is none, all that serve and terminate; never both.
pub(super) fn ready_or_terminating(scene: &Scene<'_>) {
    let service = scene.serve("cluster-list", &json!({}), &[ready(1), terminating(2), dead(3)]);
    scene.expect_all(CLIENT, &service.cluster(), &["web1"]);
    scene.endpoints(service.name, &[terminating(1), terminating(2), dead(3)]);
    scene.expect_all(CLIENT, &service.cluster(), &["web1", "web2"]);
    scene.endpoints(service.name, &[terminating(1), terminating(2), ready(3)]);
    scene.expect_all(CLIENT, &service.cluster(), &["web3"]);
    scene.forget(service.name);
}

/// Hints for this node, else for its zone; one ready endpoint without hints, and none counts.
pub(super) fn topology_hints(scene: &Scene<'_>) {
    let zone = |node: &str| {
        scene.cluster.kubectl(&[
            "get",
            "node",
            node,
            "-o",
            r"jsonpath={.metadata.labels.topology\.kubernetes\.io/zone}",
        ])
    };
    let zones: Vec<String> = NODES.iter().map(|node| zone(node)).collect();
    let with = |web: usize, hints: serde_json::Value| -> Endpoint {
        let (web, mut value) = ready(web);
        merge(&mut value, &json!({"hints": hints}));
        (web, value)
    };
    let for_zone = |web: usize, index: usize| with(web, json!({"forZones": [{"name": zones[index]}]}));
    let service = scene.serve("hints", &json!({}), &[for_zone(2, 0), for_zone(1, 1), for_zone(3, 1)]);
    scene.expect_all(From::Pod("node1"), &service.cluster(), &["web2"]);
    scene.expect_all(From::Pod("node2"), &service.cluster(), &["web1", "web3"]);
    // No endpoint is for node3's zone.
    scene.expect_all(From::Pod("node3"), &service.cluster(), &["web1", "web2", "web3"]);
    scene.endpoints(service.name, &[for_zone(2, 0), for_zone(1, 1), ready(3)]);
    scene.expect_all(From::Pod("node1"), &service.cluster(), &["web1", "web2", "web3"]);

    let for_node = |web: usize, node: usize| {
        with(web, json!({"forZones": [{"name": zones[node]}], "forNodes": [{"name": NODES[node]}]}))
    };
    scene.endpoints(service.name, &[for_node(3, 0), for_zone(2, 0), for_zone(1, 1)]);
    scene.expect_all(From::Pod("node1"), &service.cluster(), &["web2", "web3"]);
    scene.endpoints(service.name, &[for_node(3, 0), for_node(2, 0), for_node(1, 1)]);
    scene.expect_all(From::Pod("node1"), &service.cluster(), &["web2", "web3"]);
    scene.endpoints(service.name, &[for_node(3, 0), for_node(2, 1), for_node(1, 2)]);
    scene.expect_all(From::Pod("node1"), &service.cluster(), &["web3"]);
    scene.expect_all(From::Node("node2"), &service.cluster(), &["web2"]);
    scene.forget(service.name);
}

/// Ports are told apart by name and protocol: each has endpoints of its own, also on other numbers.
pub(super) fn ports_by_name(scene: &Scene<'_>) {
    let ports = json!({"spec": {"ports": [
        {"name": "tcp", "protocol": "TCP", "port": 80}, {"name": "udp", "protocol": "UDP", "port": 80},
        {"name": "other", "protocol": "TCP", "port": 81}]}});
    let service = scene.serve("ports", &ports, &[ready(1)]);
    for family in 0..2 {
        let mut slice = scene.slice(service.name, "-other", family, &[ready(2)]);
        slice["ports"] = json!([{"name": "other", "protocol": "TCP", "port": 8080}]);
        scene.apply(&slice);
    }
    scene.expect_all(CLIENT, &service.cluster(), &["web1"]);
    for address in service.addresses {
        scene.expect(CLIENT, To(PROTOCOLS[0], address, 81), &["web2"]);
    }
    // The same with fewer and other ports.
    scene.change(
        service.name,
        &json!({"spec": {"ports": [{"name": "other", "protocol": "TCP", "port": 82}]}}),
    );
    for address in service.addresses {
        scene.expect(CLIENT, To(PROTOCOLS[0], address, 82), &["web2"]);
        for gone in
            [To(PROTOCOLS[0], address, 80), To(PROTOCOLS[1], address, 80), To(PROTOCOLS[0], address, 81)]
        {
            scene.expect(CLIENT, gone, REFUSED);
        }
    }
    scene.forget(service.name);
}
