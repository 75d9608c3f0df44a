//! What is known when, and what stays.

use super::*;
use crate::RouteTarget;

#[test]
fn nothing_of_services_is_there_before_all_of_them_are_known() {
    let mut model = empty();
    model.upsert_service(&service("web", |service| service.external_ips = ips(&["192.0.2.1"])));
    let before = changes(&mut model);
    assert!(!before.services_complete && before.services.is_empty() && before.service_addresses.is_empty());
    assert!(model.service_view("shop/web").unwrap().ports[0].row.is_none());
    model.upsert_slice(&Arc::new(slice("web-1", "web", vec![ready("10.244.1.5", "n1")])));
    model.services_complete(false);
    assert!(changes(&mut model).services.is_empty());
    model.services_complete(true);
    let complete = changes(&mut model);
    assert!(complete.services_complete && complete.services.upserts.len() == 1);
    assert_eq!(text(&complete.services.upserts[0].1.cluster), "10.244.1.5:8080");
    model.services_complete(false);
    assert!(changes(&mut model).services_complete, "it stays so");
}

#[test]
fn objects_may_come_before_this_nodes_own() {
    let mut model = Model::new("n1", ranges()).with_services(OPTIONS);
    model.upsert_slice(&Arc::new(slice("web-1", "web", vec![ready("10.244.1.5", "n1")])));
    model.upsert_service(&service("web", |_| ()));
    model.services_complete(true);
    assert!(model.update().is_err() && model.service_view("shop/web").is_none());
    model.upsert(&node("n1", &["10.244.1.0/24"], &["172.30.0.11"]));
    assert_eq!(changes(&mut model).services.upserts.len(), 1);
    // All is computed again when that changes, and nothing differs.
    let mut other = node("n1", &["10.244.1.0/24"], &["172.30.0.11"]);
    other.zone = Some("b".into());
    model.upsert(&other);
    assert!(changes(&mut model).is_empty());
}

#[test]
fn deletions_of_what_is_not_known_are_nothing() {
    let mut model = model();
    model.delete_service(&"shop/web".into());
    model.delete_slice(&Key::namespaced("shop", "web-1"));
    model.delete_service_cidr(&Key::new("more"));
    assert!(changes(&mut model).is_empty());
    assert_eq!(model.services().count(), 0);
}

#[test]
fn without_services_there_are_no_tables_of_them() {
    let mut model = Model::new("n1", ranges());
    model.upsert(&node("n1", &["10.244.1.0/24"], &["172.30.0.11"]));
    model.upsert_service(&service("web", |_| ()));
    let (desired, changes) = model.update().unwrap();
    assert!(desired.services.is_empty() && desired.service_cidrs.is_empty());
    assert!(changes.services_complete, "what the datapath has of them is to go");
    assert!(desired.routes.values().all(|target| *target != RouteTarget::Services));
    assert_eq!((model.services().count(), model.service_view("shop/web").is_none()), (0, true));
}

#[test]
fn the_api_server_keeps_its_last_endpoints() {
    let kubernetes = |edit: fn(&mut Service)| {
        let mut service = Service::clone(&service("web", edit));
        service.id = "default/kubernetes".into();
        Arc::new(service)
    };
    let of = |endpoints| {
        let mut slice = slice("kubernetes", "web", endpoints);
        slice.service = Some("default/kubernetes".into());
        Arc::new(slice)
    };
    let mut model = model();
    model.upsert_service(&kubernetes(|_| ()));
    model.upsert_slice(&of(vec![]));
    let key =
        ServicePortKey { service: "default/kubernetes".into(), ..key("web", "", Protocol::Tcp, Family::V4) };
    let row = |model: &mut Model| model.update().unwrap().0.services[&key].clone();
    assert!(row(&mut model).refuse, "nothing is known of it");
    model.upsert_slice(&of(vec![ready("172.30.0.11", ""), ready("172.30.0.12", "")]));
    assert_eq!(row(&mut model).cluster.len(), 2);
    model.upsert_slice(&of(vec![ready("172.30.0.12", "")]));
    assert_eq!(row(&mut model).cluster.len(), 1, "one of several goes");
    assert!(problems(&mut model).is_empty());
    for step in 0..3 {
        match step {
            0 => model.upsert_slice(&of(vec![unready("172.30.0.12", "")])),
            1 => model.delete_slice(&Key::namespaced("shop", "kubernetes")),
            _ => model.upsert_service(&kubernetes(|service| service.affinity = Some(5))),
        }
        let kept = row(&mut model);
        assert_eq!((text(&kept.cluster).as_str(), kept.refuse), ("172.30.0.12:8080", false));
        assert!(problems(&mut model)[0].contains("has no endpoint any more: its last ones stay in use"));
    }
    model.upsert_slice(&of(vec![ready("172.30.0.13", "")]));
    assert_eq!(text(&row(&mut model).cluster), "172.30.0.13:8080");
    assert!(problems(&mut model).is_empty());
    model.delete_service(&"default/kubernetes".into());
    assert!(model.update().unwrap().0.services.is_empty());
    model.delete_slice(&Key::namespaced("shop", "kubernetes"));
    model.upsert_service(&kubernetes(|_| ()));
    assert!(row(&mut model).refuse, "it is another one");
}

fn services_routes(model: &mut Model) -> Vec<String> {
    let (desired, _) = model.update().unwrap();
    let routes = desired.routes.iter().filter(|(_, target)| **target == RouteTarget::Services);
    let routes: Vec<String> = routes.map(|(cidr, _)| cidr.to_string()).collect();
    assert_eq!(routes, desired.service_cidrs.keys().map(ToString::to_string).collect::<Vec<_>>());
    routes
}

#[test]
fn service_cidrs_are_routes_at_run_time() {
    let mut model = empty();
    assert_eq!(
        services_routes(&mut model),
        ["10.96.0.0/12", "fd96::/112"],
        "those of --service-cidr at once"
    );
    model.upsert_service_cidr(&cidr("kubernetes", &["10.96.0.0/12", "fd96::/112"]));
    assert!(changes(&mut model).is_empty());
    model.upsert_service_cidr(&cidr("more", &["10.112.0.0/16"]));
    let more = changes(&mut model);
    assert_eq!((more.routes.upserts.len(), more.service_cidrs.upserts.len()), (1, 1));
    assert_eq!(services_routes(&mut model), ["10.96.0.0/12", "10.112.0.0/16", "fd96::/112"]);
    // This node's own change computes all of it again.
    model.upsert(&node("n1", &["10.244.1.0/24", "fd44:0:0:1::/64"], &["172.30.0.21", "fd30::11"]));
    assert_eq!(services_routes(&mut model).len(), 3);
    model.upsert_service_cidr(&cidr("more", &["10.113.0.0/16", "fd97::/112"]));
    assert_eq!(services_routes(&mut model).len(), 4);
    model.delete_service_cidr(&Key::new("more"));
    model.delete_service_cidr(&Key::new("kubernetes"));
    assert_eq!(services_routes(&mut model), ["10.96.0.0/12", "fd96::/112"]);
}

#[test]
fn a_service_cidr_takes_nothing_from_pods_and_nodes() {
    let mut model = model();
    model.upsert_service_cidr(&cidr(
        "bad",
        &["10.244.128.0/17", "172.30.0.0/24", "0.0.0.0/0", "10.112.0.0/16"],
    ));
    assert_eq!(services_routes(&mut model), ["10.96.0.0/12", "10.112.0.0/16", "fd96::/112"]);
    let said = problems(&mut model);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("ServiceCIDR bad: its range 10.244.128.0/17 is left out"), "{said:?}");
    assert!(said[0].contains("it overlaps the Pods' addresses 10.244.0.0/16"), "{said:?}");
    assert!(said[1].contains("it holds the address 172.30.0.11 of a Node"), "{said:?}");
    model.upsert(&node("n3", &["10.244.3.0/24"], &["10.112.0.9"]));
    assert_eq!((services_routes(&mut model).len(), problems(&mut model).len()), (2, 4));
    model.delete("n3");
    assert_eq!((services_routes(&mut model).len(), problems(&mut model).len()), (3, 3));
    model.delete_service_cidr(&Key::new("bad"));
    assert!(problems(&mut model).is_empty());
}
