//! Of several that claim one place, one has it, and the next gets it.

use super::*;

fn at(name: &str, created: i64, edit: impl FnOnce(&mut Service)) -> Arc<Service> {
    service(name, |service| {
        service.created = Some(created);
        service.cluster_ips = ips(&[&format!("10.96.1.{created}")]);
        edit(service);
    })
}

/// The second one of the two claims what the first has, and gets it when the first is gone or has it no more.
fn contest(place: &str, claim: impl Fn(&mut Service) + Copy, without: usize) {
    let (old, young) = (at("old", 1, claim), at("young", 2, claim));
    // In whatever order they come.
    for both in [[&young, &old], [&old, &young]] {
        let mut model = with(&both.map(Arc::clone), vec![]);
        let said = problems(&mut model);
        let want = format!(
            "Service shop/young: it is not served at {place}: Service shop/old has it, whose ClusterIP it is or which is older"
        );
        assert_eq!(said, [want]);
        let (desired, _) = model.update().unwrap();
        let all = frontends(desired, "old").len();
        assert_eq!(frontends(desired, "young").len(), without, "the rest of it is served");
        model.delete_service(&old.id);
        let changes = changes(&mut model);
        assert_eq!(changes.problems.removals.len(), 1);
        let (desired, _) = model.update().unwrap();
        assert_eq!(frontends(desired, "young").len(), all);
        model.upsert_service(&old);
        assert_eq!(problems(&mut model).len(), 1);
        model.upsert_service(&at("old", 1, |_| ()));
        assert!(problems(&mut model).is_empty(), "it claims that no more");
        // An object of the same name that is younger.
        let mut again = Service::clone(&at("old", 1, claim));
        again.created = Some(9);
        model.upsert_service(&Arc::new(again));
        assert!(problems(&mut model)[0].starts_with("Service shop/old: "));
    }
}

#[test]
fn of_two_services_the_older_has_an_address_and_port() {
    contest("10.96.0.99:80/TCP", |service| service.cluster_ips = ips(&["10.96.0.99"]), 0);
    contest("192.0.2.1:80/TCP", |service| service.external_ips = ips(&["192.0.2.1"]), 1);
    contest("203.0.113.1:80/TCP", |service| service.load_balancer_ips = ips(&["203.0.113.1"]), 1);
    let v6 = |service: &mut Service| {
        let own = service.cluster_ips[0];
        service.cluster_ips = [own, ip(&format!("fd96::{}", service.created.unwrap()))].into();
        service.external_ips = ips(&["2001:db8::1"]);
    };
    contest("[2001:db8::1]:80/TCP", v6, 2);
}

#[test]
fn of_two_services_the_older_has_a_port_of_nodes() {
    contest(
        "node port 30080/UDP (IPv4)",
        |service| service.ports = [port("", Protocol::Udp, 53, 30080)].into(),
        1,
    );
}

#[test]
fn ports_protocols_and_families_are_places_of_their_own() {
    let shared = |service: &mut Service| {
        service.load_balancer_ips = ips(&["203.0.113.1"]);
        service.ports =
            [port("", if service.created == Some(2) { Protocol::Udp } else { Protocol::Tcp }, 80, 30080)]
                .into();
    };
    let mut third = Service::clone(&at("c", 3, shared));
    third.ports = [port("", Protocol::Tcp, 81, 30081)].into();
    let mut model = with(&[at("a", 1, shared), at("b", 2, shared), Arc::new(third)], vec![]);
    assert_eq!(problems(&mut model), Vec::<String>::new());
    assert_eq!(model.update().unwrap().0.service_addresses.len(), 1);
    // It is there until the last one goes.
    for name in ["b", "a", "c"] {
        assert_eq!(model.update().unwrap().0.service_addresses.len(), 1);
        model.delete_service(&format!("shop/{name}").into());
    }
    assert!(model.update().unwrap().0.service_addresses.is_empty());
}

#[test]
fn a_cluster_ip_is_nobody_elses_however_old_they_are() {
    let thief = at("thief", 1, |service| service.external_ips = ips(&["10.96.1.9"]));
    let mut model = with(&[thief], vec![]);
    assert!(problems(&mut model).is_empty());
    assert_eq!(model.update().unwrap().0.service_addresses.len(), 1);
    model.upsert_service(&at("owner", 9, |_| ()));
    let said = problems(&mut model);
    assert!(
        said.len() == 1 && said[0].starts_with("Service shop/thief: it is not served at 10.96.1.9:80/TCP"),
        "{said:?}"
    );
    let (desired, _) = model.update().unwrap();
    assert_eq!(frontends(desired, "owner").len(), 1);
    assert!(desired.service_addresses.is_empty(), "the node gets no route to it");
}

#[test]
fn a_health_check_port_is_a_port_of_nodes() {
    let asked = |service: &mut Service| {
        service.kind = ServiceType::LoadBalancer;
        (service.external_local, service.health_check_node_port) = (true, 30080);
    };
    let mut model = with(&[at("old", 1, asked), at("young", 2, asked)], vec![]);
    let checks = |model: &mut Model| {
        model.update().unwrap().0.health_checks.keys().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!((problems(&mut model).len(), checks(&mut model)), (1, vec!["shop/old".to_owned()]));
    model.upsert_service(&at("oldest", 0, |service| {
        service.ports = [port("", Protocol::Tcp, 80, 30080)].into();
    }));
    assert_eq!((problems(&mut model).len(), checks(&mut model)), (2, vec![]));
    model.delete_service(&"shop/oldest".into());
    model.delete_service(&"shop/old".into());
    assert_eq!((problems(&mut model), checks(&mut model)), (vec![], vec!["shop/young".to_owned()]));
    // Its own NodePort has the same number.
    let own = |service: &mut Service| {
        asked(service);
        service.ports = [port("", Protocol::Tcp, 80, 30080)].into();
    };
    model.upsert_service(&at("young", 2, own));
    let said = problems(&mut model);
    assert!(said[0].contains("node port 30080/TCP (IPv4): its port \"\" is there already"), "{said:?}");
    assert!(checks(&mut model).is_empty());
}

#[test]
fn ports_of_one_service_have_no_place_in_common() {
    let twice = |service: &mut Service| {
        service.ports = [port("a", Protocol::Tcp, 80, 0), port("b", Protocol::Tcp, 80, 0)].into();
    };
    let mut model = with(&[service("web", twice)], vec![]);
    let said = problems(&mut model);
    assert_eq!(
        said,
        ["Service shop/web: it is not served at 10.96.0.7:80/TCP: its port \"a\" is there already"]
    );
    assert_eq!(model.update().unwrap().0.services.len(), 1);
    // One address as a load balancer's and an external one is no contradiction.
    let both = |service: &mut Service| {
        service.load_balancer_ips = ips(&["203.0.113.1"]);
        service.external_ips = ips(&["203.0.113.1", "203.0.113.1"]);
    };
    model.upsert_service(&service("web", both));
    assert!(problems(&mut model).is_empty());
    let found = frontends(model.update().unwrap().0, "web");
    assert_eq!(found[1..], ["LoadBalancer 203.0.113.1 80/TCP Cluster/Cluster"]);
}

#[test]
fn many_places_of_one_owner_are_told_at_once() {
    let many = |service: &mut Service| {
        service.external_ips = ips(&["192.0.2.1", "192.0.2.2"]);
        service.ports =
            (1..=50).map(|number| port(&format!("p{number}"), Protocol::Tcp, number, 0)).collect();
    };
    let mut model = with(&[at("old", 1, many), at("young", 2, many)], vec![]);
    let said = problems(&mut model);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("192.0.2.1:1/TCP and 99 more places"), "{said:?}");
}
