//! Which endpoints are in which list, and why the others are not.

use super::*;
use crate::Unused;

/// The Cluster list, the Local list, those that serve.
fn lists(endpoints: Vec<Endpoint>) -> [String; 3] {
    let mut model = with(&[service("web", |_| ())], vec![slice("web-1", "web", endpoints)]);
    let row = row(&mut model, "web").unwrap();
    assert_eq!(row.refuse, row.cluster.is_empty() && row.local.is_empty());
    [text(&row.cluster), text(&row.local), text(&row.serving)].map(|text| text.replace(":8080", ""))
}

#[test]
fn ready_endpoints_are_used_and_terminating_ones_only_without_any() {
    let (a, b) = ("10.244.1.5", "10.244.2.6");
    for (endpoints, cluster, local, serving) in [
        (vec![], "", "", ""),
        (vec![ready(a, "n1"), ready(b, "n2")], "10.244.1.5 10.244.2.6", a, "10.244.1.5 10.244.2.6"),
        (vec![ready(a, "n1"), unready(b, "n2")], a, a, a),
        (vec![unready(a, "n1"), unready(b, "n2")], "", "", ""),
        // Never mixed.
        (vec![ready(a, "n1"), terminating(b, "n2")], a, a, "10.244.1.5 10.244.2.6"),
        (
            vec![terminating(a, "n1"), terminating(b, "n2")],
            "10.244.1.5 10.244.2.6",
            a,
            "10.244.1.5 10.244.2.6",
        ),
        (vec![terminating(a, "n1"), stopped(b, "n2")], a, a, a),
        (vec![stopped(a, "n1"), stopped(b, "n2")], "", "", ""),
        // Each list falls back by itself.
        (vec![terminating(a, "n1"), ready(b, "n2")], b, a, "10.244.1.5 10.244.2.6"),
        (vec![stopped(a, "n1"), ready(b, "n2")], b, "", b),
        (vec![unready(a, "n1"), ready(b, "n2")], b, "", b),
        // One that serves, is not ready and does not terminate is used by nobody, and left by nobody.
        (vec![endpoint(a, "n1", [false, true, false])], "", "", a),
        // Of a Service with publishNotReadyAddresses.
        (vec![endpoint(a, "n1", [true, false, false])], a, a, a),
        (vec![endpoint(a, "n1", [true, false, true]), unready(b, "n2")], a, a, a),
    ] {
        assert_eq!(lists(endpoints.clone()), [cluster, local, serving], "{endpoints:?}");
    }
}

#[test]
fn local_is_what_has_this_nodes_name() {
    // A hostNetwork Pod of this node, one of the other, and addresses of this node's podCIDR elsewhere.
    let all = vec![
        ready("172.30.0.11", "n1"),
        ready("172.30.0.12", "n2"),
        ready("10.244.1.5", "n2"),
        ready("10.244.1.6", ""),
        ready("10.244.2.7", "n1"),
    ];
    assert_eq!(lists(all)[1], "10.244.2.7 172.30.0.11");
}

#[test]
fn hints_count_if_all_that_are_ready_have_them_and_one_is_for_here() {
    let [a, b, c] = [ready("10.244.1.1", "n1"), ready("10.244.2.2", "n2"), ready("10.244.2.3", "n2")];
    let cluster =
        |endpoints: [Endpoint; 3]| lists(endpoints.into()).map(|list| list.replace("10.244.", ""))[0].clone();
    let zone = |endpoint: &Endpoint, zone: &str| hinted(endpoint.clone(), &[zone], &[]);
    let node = |endpoint: &Endpoint, node: &str| hinted(endpoint.clone(), &[], &[node]);
    let both = |endpoint: &Endpoint, zone: &str, node: &str| hinted(endpoint.clone(), &[zone], &[node]);
    // By zone; this node is in a.
    assert_eq!(cluster([zone(&a, "b"), zone(&b, "a"), zone(&c, "a")]), "2.2 2.3");
    assert_eq!(cluster([hinted(a.clone(), &["b", "a"], &[]), zone(&b, "b"), zone(&c, "c")]), "1.1");
    assert_eq!(cluster([zone(&a, "b"), zone(&b, "b"), zone(&c, "c")]), "1.1 2.2 2.3", "none is for here");
    assert_eq!(cluster([a.clone(), zone(&b, "a"), zone(&c, "b")]), "1.1 2.2 2.3", "one has no hint");
    // By node, which comes before the zone.
    assert_eq!(cluster([node(&a, "n2"), node(&b, "n1"), node(&c, "n2")]), "2.2");
    assert_eq!(cluster([both(&a, "a", "n2"), both(&b, "b", "n1"), both(&c, "a", "n2")]), "2.2");
    assert_eq!(cluster([both(&a, "a", "n2"), both(&b, "b", "n2"), both(&c, "a", "n2")]), "1.1 2.3");
    assert_eq!(
        cluster([both(&a, "a", "n1"), zone(&b, "b"), zone(&c, "a")]),
        "1.1 2.3",
        "one has none by node"
    );
    // What is not ready has no say.
    let late = terminating("10.244.2.3", "n2");
    assert_eq!(cluster([zone(&a, "b"), zone(&b, "a"), late.clone()]), "2.2");
    // Without any ready one there are no hints; and never in the Local list.
    let all = vec![zone(&terminating("10.244.1.1", "n1"), "b"), zone(&late, "a")];
    assert_eq!(lists(all)[0], "10.244.1.1 10.244.2.3");
    assert_eq!(lists(vec![zone(&a, "b"), zone(&b, "a")])[1], "10.244.1.1");
}

#[test]
fn without_a_zone_only_hints_of_nodes_count() {
    let mut model = with(
        &[service("web", |_| ())],
        vec![slice(
            "web-1",
            "web",
            vec![hinted(ready("10.244.1.1", ""), &["a"], &[]), hinted(ready("10.244.2.2", ""), &["b"], &[])],
        )],
    );
    assert_eq!(text(&row(&mut model, "web").unwrap().cluster), "10.244.1.1:8080");
    // The zone changes at run time.
    let mut own = node("n1", &["10.244.1.0/24", "fd44:0:0:1::/64"], &["172.30.0.11", "fd30::11"]);
    own.zone = Some("b".into());
    model.upsert(&own);
    assert_eq!(text(&row(&mut model, "web").unwrap().cluster), "10.244.2.2:8080");
    own.zone = None;
    model.upsert(&own);
    assert_eq!(row(&mut model, "web").unwrap().cluster.len(), 2);
}

#[test]
fn of_one_address_twice_the_one_that_does_not_terminate_counts() {
    let (a, b) = ("10.244.1.5", "10.244.2.6");
    // Moving between slices, or given to another Pod; in whatever order.
    for (first, second) in [(terminating(a, "n1"), ready(a, "n2")), (ready(a, "n2"), terminating(a, "n1"))] {
        let slices =
            vec![slice("web-1", "web", vec![first]), slice("web-2", "web", vec![second, ready(b, "n2")])];
        let mut model = with(&[service("web", |_| ())], slices);
        let found = row(&mut model, "web").unwrap();
        assert_eq!(text(&found.cluster), "10.244.1.5:8080 10.244.2.6:8080");
        assert_eq!(text(&found.local), "", "it is the other node's by now");
        // When that slice goes, the other endpoint is there again.
        model.delete_slice(&Key::namespaced("shop", "web-2"));
        assert!(row(&mut model, "web").unwrap().cluster.len() == 1);
    }
    // One that is not ready and does not terminate wins over one that terminates.
    let slices = vec![
        slice("web-1", "web", vec![terminating(a, "n1")]),
        slice("web-2", "web", vec![unready(a, "n1")]),
    ];
    assert!(row(&mut with(&[service("web", |_| ())], slices), "web").unwrap().refuse);
}

#[test]
fn a_port_is_found_by_name_and_protocol_in_each_slice() {
    let ports = [
        port("http", Protocol::Tcp, 80, 0),
        port("dns", Protocol::Udp, 53, 0),
        port("dns", Protocol::Tcp, 53, 0),
    ];
    let service = service("web", |service| service.ports = ports.into());
    let of = |name: &str, protocol, port| EndpointPort { name: name.into(), protocol, port };
    let mut one = slice("web-1", "web", vec![ready("10.244.1.5", "n1")]);
    // A named target port may be another number in each Pod; a slice may lack a port.
    one.ports = [of("http", Protocol::Tcp, 8080), of("dns", Protocol::Udp, 5353)].into();
    let mut two = slice("web-2", "web", vec![ready("10.244.2.6", "n2")]);
    two.ports = [of("http", Protocol::Tcp, 9090), of("other", Protocol::Tcp, 1)].into();
    let mut model = with(&[service], vec![one, two]);
    let (desired, _) = model.update().unwrap();
    let list =
        |name: &str, protocol| text(&desired.services[&key("web", name, protocol, Family::V4)].cluster);
    assert_eq!(list("http", Protocol::Tcp), "10.244.1.5:8080 10.244.2.6:9090");
    assert_eq!(list("dns", Protocol::Udp), "10.244.1.5:5353");
    assert_eq!(list("dns", Protocol::Tcp), "");
    assert_eq!(desired.services.len(), 3);
}

#[test]
fn each_family_has_its_own_slices() {
    let service = service("web", |service| service.cluster_ips = ips(&["10.96.0.7", "fd96::7"]));
    let slices = vec![
        slice("web-4", "web", vec![ready("10.244.1.5", "n1")]),
        slice("web-6", "web", vec![ready("fd44:0:0:2::6", "n2")]),
    ];
    let mut model = with(&[service], slices);
    let (desired, _) = model.update().unwrap();
    let list = |family| text(&desired.services[&key("web", "", Protocol::Tcp, family)].cluster);
    assert_eq!((list(Family::V4), list(Family::V6)), ("10.244.1.5:8080".into(), "fd44:0:0:2::6:8080".into()));
}

#[test]
fn a_view_has_every_endpoint_and_why_it_is_out() {
    let mut other = slice("web-3", "web", vec![ready("10.244.2.8", "n2")]);
    other.ports = Box::default();
    let slices = vec![
        slice(
            "web-1",
            "web",
            vec![
                hinted(ready("10.244.1.1", "n1"), &["a"], &[]),
                hinted(ready("10.244.2.2", "n2"), &["b"], &[]),
                unready("10.244.1.3", "n1"),
                terminating("10.244.1.4", "n1"),
                stopped("10.244.1.5", "n1"),
                ready("10.244.9.9", "n2"),
            ],
        ),
        slice(
            "web-2",
            "web",
            vec![
                hinted(terminating("10.244.1.1", "n1"), &["a"], &[]),
                endpoint("10.244.2.7", "n2", [false, true, false]),
            ],
        ),
        other,
    ];
    let mut model = with(&[service("web", |_| ())], slices);
    model.update().unwrap();
    let why = |model: &Model| -> Vec<(String, Option<Unused>, Option<Unused>)> {
        let view = model.service_view("shop/web").unwrap();
        let [port] = &*view.ports else { panic!("{view:?}") };
        let row = port.row.as_ref().unwrap();
        let used: Vec<Backend> = port
            .endpoints
            .iter()
            .filter(|one| one.cluster.is_none())
            .map(|one| Backend { address: one.address, port: one.port.unwrap() })
            .collect();
        assert_eq!(*row.cluster, *used, "the view and the table agree");
        port.endpoints.iter().map(|one| (one.address.to_string(), one.cluster, one.local)).collect()
    };
    use Unused::{Duplicate, NoPort, NotLocal, NotReady, Stopped, Terminating};
    let both = |address: &str, why| (address.to_owned(), Some(why), Some(why));
    let want = |first: Option<Unused>, second, ninth| {
        vec![
            ("10.244.1.1".to_owned(), first, None),
            ("10.244.2.2".to_owned(), second, Some(NotLocal)),
            both("10.244.1.3", NotReady),
            both("10.244.1.4", Terminating),
            both("10.244.1.5", Stopped),
            ("10.244.9.9".to_owned(), ninth, Some(NotLocal)),
            both("10.244.1.1", Duplicate),
            ("10.244.2.7".to_owned(), Some(NotReady), Some(NotLocal)),
            both("10.244.2.8", NoPort),
        ]
    };
    // The one without a hint turns them off.
    assert_eq!(why(&model), want(None, None, None));
    let mut first = Arc::unwrap_or_clone(Arc::new(slice("web-1", "web", vec![])));
    first.endpoints = [
        hinted(ready("10.244.1.1", "n1"), &["a"], &[]),
        hinted(ready("10.244.2.2", "n2"), &["b"], &[]),
        unready("10.244.1.3", "n1"),
        terminating("10.244.1.4", "n1"),
        stopped("10.244.1.5", "n1"),
        hinted(ready("10.244.9.9", "n2"), &["c"], &["n2"]),
    ]
    .into();
    model.upsert_slice(&Arc::new(first));
    model.update().unwrap();
    assert_eq!(why(&model), want(None, Some(Unused::OtherZone), Some(Unused::OtherZone)));
    let nodes = vec![
        hinted(ready("10.244.1.1", "n1"), &[], &["n1"]),
        hinted(ready("10.244.2.2", "n2"), &[], &["n2"]),
    ];
    for name in ["web-1", "web-2", "web-3"] {
        model.delete_slice(&Key::namespaced("shop", name));
    }
    model.upsert_slice(&Arc::new(slice("web-1", "web", nodes)));
    model.update().unwrap();
    assert_eq!(why(&model)[1].1, Some(Unused::OtherNode));
    assert!(model.service_view("shop/none").is_none());
}
