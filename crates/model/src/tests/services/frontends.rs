//! Where Services are reached, and from where.

use objects::{Ignored, Invalid};

use super::*;

/// With everything that a Service may have.
fn everything(service: &mut Service) {
    service.kind = ServiceType::LoadBalancer;
    service.cluster_ips = ips(&["10.96.0.7", "fd96::7"]);
    service.ports = [port("", Protocol::Tcp, 80, 30080)].into();
    service.load_balancer_ips = ips(&["203.0.113.1", "2001:db8::1"]);
    service.external_ips = ips(&["192.0.2.1", "2001:db8::2"]);
}

fn shown(service: &Arc<Service>) -> Vec<String> {
    let mut model = with(std::slice::from_ref(service), vec![]);
    frontends(model.update().unwrap().0, "web")
}

#[test]
fn each_kind_of_frontend_follows_its_own_policy() {
    let all = |internal, external| {
        let all = |service: &mut Service| {
            everything(service);
            (service.internal_local, service.external_local) = (internal, external);
        };
        shown(&service("web", all))
    };
    let want = |internal: &str, external: &str| {
        let kinds = [
            ("ClusterIP 10.96.0.7 80", internal, internal),
            ("NodePort * 30080", "Cluster", external),
            ("LoadBalancer 203.0.113.1 80", "Cluster", external),
            ("externalIP 192.0.2.1 80", "Cluster", external),
            ("ClusterIP fd96::7 80", internal, internal),
            ("NodePort * 30080", "Cluster", external),
            ("LoadBalancer 2001:db8::1 80", "Cluster", external),
            ("externalIP 2001:db8::2 80", "Cluster", external),
        ];
        kinds.map(|(frontend, inside, outside)| format!("{frontend}/TCP {inside}/{outside}"))
    };
    assert_eq!(all(false, false), want("Cluster", "Cluster"));
    assert_eq!(all(false, true), want("Cluster", "Local"), "clients in the cluster get every endpoint");
    assert_eq!(all(true, false), want("Local", "Cluster"));
    assert_eq!(all(true, true), want("Local", "Local"));
}

#[test]
fn external_ips_can_be_switched_off() {
    let mut model = Model::new("n1", ranges()).with_services(ServiceOptions { external_ips: false });
    model.upsert(&node("n1", &["10.244.1.0/24"], &["172.30.0.11"]));
    model.services_complete(true);
    let wrong = service("web", |service| {
        service.external_ips = ips(&["192.0.2.1", "127.0.0.1"]);
    });
    model.upsert_service(&wrong);
    let (desired, _) = model.update().unwrap();
    assert_eq!(frontends(desired, "web"), ["ClusterIP 10.96.0.7 80/TCP Cluster/Cluster"]);
    assert!(desired.service_addresses.is_empty() && desired.problems.is_empty());
}

#[test]
fn what_another_proxy_or_nobody_serves_has_no_row_and_may_change_at_run_time() {
    let endpoints = || slice("web-1", "web", vec![ready("10.244.1.5", "n1")]);
    let mut model = with(&[service("web", everything)], vec![endpoints()]);
    assert_eq!(changes(&mut model).services.upserts.len(), 2);
    for ignored in [Ignored::OtherProxy, Ignored::Headless, Ignored::ExternalName, Ignored::NoAddress] {
        let none = service("web", |service| {
            service.ignored = Some(ignored);
            (service.ports, service.cluster_ips) = (Box::default(), Box::default());
        });
        model.upsert_service(&none);
        let gone = changes(&mut model);
        assert_eq!((gone.services.removals.len(), gone.service_addresses.removals.len()), (2, 4));
        assert_eq!(model.service_view("shop/web").unwrap().service.ignored, Some(ignored));
        model.upsert_service(&service("web", everything));
        let again = changes(&mut model);
        assert_eq!((again.services.upserts.len(), again.service_addresses.upserts.len()), (2, 4));
    }
    // And the label of a slice.
    let mut headless = endpoints();
    headless.service = None;
    model.upsert_slice(&Arc::new(headless));
    assert!(row(&mut model, "web").unwrap().refuse);
    model.upsert_slice(&Arc::new(endpoints()));
    assert!(!row(&mut model, "web").unwrap().refuse);
    // It moves to another Service.
    model.upsert_service(&service("other", |service| service.cluster_ips = ips(&["10.96.0.8"])));
    let mut moved = endpoints();
    moved.service = Some("shop/other".into());
    model.upsert_slice(&Arc::new(moved));
    assert!(row(&mut model, "web").unwrap().refuse && !row(&mut model, "other").unwrap().refuse);
}

#[test]
fn source_ranges_are_of_load_balancers_and_of_each_family() {
    let ranges = |ranges: &[&str], unreadable| -> [Option<String>; 2] {
        let restricted = |service: &mut Service| {
            everything(service);
            service.source_ranges = ranges.iter().map(|range| range.parse().unwrap()).collect();
            service.has_unreadable_range = unreadable;
        };
        let mut model = with(&[service("web", restricted)], vec![]);
        let (desired, _) = model.update().unwrap();
        Family::ALL.map(|family| {
            let row = &desired.services[&key("web", "", Protocol::Tcp, family)];
            let texts = |ranges: &Arc<[ipnet::IpNet]>| {
                ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            };
            row.source_ranges.as_ref().map(texts)
        })
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(ranges(&[], false), [None, None]);
    assert_eq!(ranges(&["198.51.100.0/24"], false), [some("198.51.100.0/24"), None], "of one family alone");
    assert_eq!(ranges(&["2001:db8:9::/48"], false), [None, some("2001:db8:9::/48")]);
    assert_eq!(ranges(&["0.0.0.0/0", "198.51.100.0/24", "::/0"], false), [None, None]);
    // The node's own traffic has a load balancer's address for its source.
    let with_node = ranges(&["172.30.0.0/16", "fd30::/64"], false);
    assert_eq!(with_node, [some("172.30.0.0/16 203.0.113.1/32"), some("2001:db8::1/128 fd30::/64")]);
    // One that cannot be read lets nobody in, and opens nothing.
    assert_eq!(ranges(&[], true), [some(""), some("")]);
    assert_eq!(ranges(&["198.51.100.0/24"], true), [some("198.51.100.0/24"), some("")]);

    let mut only_ports = with(
        &[service("web", |service| {
            service.source_ranges = ["198.51.100.0/24".parse().unwrap()].into();
            service.ports = [port("", Protocol::Tcp, 80, 30080)].into();
        })],
        vec![],
    );
    assert_eq!(row(&mut only_ports, "web").unwrap().source_ranges, None, "there is no load balancer");
}

#[test]
fn an_address_that_is_anothers_is_left_out_and_told() {
    for (address, why) in [
        ("172.30.0.11", "it is the address of a Node"),
        ("fd30::12", "it is the address of a Node"),
        ("10.244.2.9", "it lies in the Pods' addresses 10.244.0.0/16"),
        ("fd44::9", "it lies in the Pods' addresses fd44::/48"),
        ("127.0.0.5", "it is a loopback address"),
        ("::1", "it is a loopback address"),
        ("169.254.1.1", "it is a link-local address"),
        ("fe80::1", "it is a link-local address"),
        ("224.0.0.9", "it is a multicast address"),
        ("ff02::9", "it is a multicast address"),
        ("0.0.0.0", "it is no address of one host"),
        ("255.255.255.255", "it is no address of one host"),
        ("::", "it is no address of one host"),
    ] {
        type Field = fn(&mut Service, Box<[IpAddr]>);
        let fields: [(&str, Field); 2] = [
            ("load balancer's address", |service, address| service.load_balancer_ips = address),
            ("externalIP", |service, address| service.external_ips = address),
        ];
        for (what, set) in fields {
            let wrong = |service: &mut Service| {
                service.cluster_ips = ips(&["10.96.0.7", "fd96::7"]);
                set(service, ips(&[address, "192.0.2.1"]));
            };
            let mut model = with(&[service("web", wrong)], vec![]);
            assert_eq!(
                problems(&mut model),
                [format!("Service shop/web: its {what} {address} is not served: {why}")]
            );
            let (desired, _) = model.update().unwrap();
            assert_eq!(frontends(desired, "web").len(), 3, "the rest is");
            assert_eq!(desired.service_addresses.keys().collect::<Vec<_>>(), [&ip("192.0.2.1")]);
        }
        let own = with(&[service("web", |service| service.cluster_ips = ips(&[address]))], vec![]);
        let mut own = own;
        assert_eq!(
            problems(&mut own),
            [format!("Service shop/web: its clusterIP {address} is not served: {why}")]
        );
        assert!(own.update().unwrap().0.services.is_empty());
    }
}

#[test]
fn an_address_of_a_family_that_the_service_has_not_is_left_out() {
    let mut model = with(&[service("web", |service| service.external_ips = ips(&["2001:db8::1"]))], vec![]);
    let said = "Service shop/web: its externalIP 2001:db8::1 is not served: the Service has no IPv6";
    assert_eq!(problems(&mut model), [said]);
    assert!(model.update().unwrap().0.service_addresses.is_empty());
}

#[test]
fn an_address_that_becomes_a_nodes_is_a_services_no_more_and_the_reverse() {
    let mut model = with(&[service("web", |service| service.external_ips = ips(&["192.0.2.1"]))], vec![]);
    let three = node("n3", &["10.244.3.0/24"], &["192.0.2.1"]);
    assert!(problems(&mut model).is_empty());
    model.upsert(&three);
    assert_eq!(problems(&mut model).len(), 1);
    let (desired, _) = model.update().unwrap();
    assert_eq!((frontends(desired, "web").len(), desired.service_addresses.len()), (1, 0));
    model.delete("n3");
    assert!(problems(&mut model).is_empty());
    let (desired, _) = model.update().unwrap();
    assert_eq!((frontends(desired, "web").len(), desired.service_addresses.len()), (2, 1));
}

#[test]
fn what_is_left_out_of_objects_is_told_with_their_service() {
    let defect =
        |text: &str| -> Box<[Invalid]> { [Invalid { problem: text.into(), remedy: "x".into() }].into() };
    let mut wrong = slice("web-1", "web", vec![]);
    wrong.defects = defect("an endpoint");
    let mut model = with(&[service("web", |service| service.defects = defect("a port"))], vec![wrong]);
    assert_eq!(problems(&mut model), ["Service shop/web: a port", "EndpointSlice shop/web-1: an endpoint"]);
    let without_ports = |service: &mut Service| {
        (service.defects, service.ports) = (defect("all ports"), Box::default());
    };
    model.upsert_service(&service("web", without_ports));
    assert_eq!(problems(&mut model)[0], "Service shop/web: all ports");
    model.delete_service(&"shop/web".into());
    assert!(problems(&mut model).is_empty());
}

#[test]
fn a_service_without_any_endpoint_refuses_and_affinity_is_handed_on() {
    let mut model = with(&[service("web", |service| service.affinity = Some(60))], vec![]);
    let found = row(&mut model, "web").unwrap();
    assert_eq!((found.refuse, found.affinity, found.triggered), (true, Some(60), None));
    let mut late = slice("web-1", "web", vec![]);
    late.triggered = Some(2000);
    let mut early = slice("web-2", "web", vec![ready("10.244.2.5", "n2")]);
    early.triggered = Some(1000);
    model.upsert_slice(&Arc::new(late));
    model.upsert_slice(&Arc::new(early));
    let found = row(&mut model, "web").unwrap();
    assert_eq!((found.refuse, found.triggered, found.local.len()), (false, Some(2000), 0));
}

#[test]
fn load_balancers_are_told_how_many_addresses_are_ready_here() {
    let asked = |service: &mut Service| {
        everything(service);
        (service.external_local, service.health_check_node_port) = (true, 32000);
        service.ports = [port("a", Protocol::Tcp, 80, 30080), port("b", Protocol::Tcp, 81, 30081)].into();
    };
    let of = |name: &str, port| EndpointPort { name: name.into(), protocol: Protocol::Tcp, port };
    let mut four = slice(
        "web-4",
        "web",
        vec![
            ready("10.244.1.5", "n1"),
            ready("10.244.1.6", "n1"),
            terminating("10.244.1.7", "n1"),
            ready("10.244.2.8", "n2"),
        ],
    );
    four.ports = [of("a", 1), of("b", 2)].into();
    let mut again = slice("web-5", "web", vec![ready("10.244.1.5", "n1"), unready("10.244.1.9", "n1")]);
    again.ports = four.ports.clone();
    let mut six = slice("web-6", "web", vec![ready("fd44:0:0:1::5", "n1")]);
    six.ports = four.ports.clone();
    let mut model = with(&[service("web", asked)], vec![four, again, six]);
    let (desired, _) = model.update().unwrap();
    let check = desired.health_checks["shop/web"];
    assert_eq!((check.port, check.local_endpoints), (32000, 2));
    // Only of that type with that policy.
    for edit in [(|service| service.kind = ServiceType::NodePort) as fn(&mut Service), |service| {
        service.external_local = false;
    }] {
        let other = service("web", |service| {
            asked(service);
            edit(service);
        });
        model.upsert_service(&other);
        assert!(model.update().unwrap().0.health_checks.is_empty());
    }
}
