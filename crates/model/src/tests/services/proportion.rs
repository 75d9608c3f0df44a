//! A change costs work for what it concerns.

use super::*;

const SERVICES: usize = 10_000;

fn numbered(number: usize) -> Arc<Service> {
    let (high, low) = (number / 250, number % 250);
    service(&format!("s{number}"), |service| {
        service.created = Some(number as i64);
        service.cluster_ips = ips(&[&format!("10.97.{high}.{low}")]);
        service.ports = [port("", Protocol::Tcp, 80, 0)].into();
    })
}

fn endpoints(number: usize, count: usize) -> EndpointSlice {
    let endpoints = (0..count).map(|host| ready(&format!("10.244.{}.{}", number % 250, host + 3), "n2"));
    slice(&format!("s{number}-1"), &format!("s{number}"), endpoints.collect())
}

fn large() -> Model {
    let mut model = with(
        &(0..SERVICES).map(numbered).collect::<Vec<_>>(),
        (0..SERVICES).map(|number| endpoints(number, 10)).collect(),
    );
    let all = changes(&mut model);
    assert_eq!((all.services.upserts.len(), all.problems.upserts.len()), (SERVICES, 0));
    model
}

/// How many Services are computed for what came, and what changes.
fn touched(model: &mut Model) -> (usize, Changes) {
    let computed = model.solve_services().unwrap();
    (computed, changes(model))
}

#[test]
fn one_change_among_10000_services_touches_what_it_concerns() {
    let mut model = large();
    model.upsert_slice(&Arc::new(endpoints(77, 10)));
    model.upsert_service(&numbered(77));
    assert_eq!(touched(&mut model).0, 0, "the same again is no change");
    model.upsert_slice(&Arc::new(endpoints(77, 11)));
    let (computed, changed) = touched(&mut model);
    assert_eq!((computed, changed.services.upserts.len()), (1, 1));
    model.delete_slice(&endpoints(78, 10).key);
    assert_eq!(touched(&mut model).0, 1);
    // One that takes nothing from others, and one that wants what another has.
    model.upsert_service(&numbered(SERVICES));
    assert_eq!(touched(&mut model).0, 1);
    let young = Service {
        created: Some(1 << 40),
        cluster_ips: numbered(5).cluster_ips.clone(),
        ..Service::clone(&numbered(SERVICES))
    };
    model.upsert_service(&Arc::new(young));
    let (computed, changed) = touched(&mut model);
    assert!(computed <= 2, "{computed}");
    assert_eq!(
        (changed.services.upserts.len(), changed.services.removals.len(), changed.problems.upserts.len()),
        (0, 1, 1)
    );
    model.delete_service(&numbered(5).id);
    let (computed, changed) = touched(&mut model);
    assert_eq!((computed, changed.services.upserts.len(), changed.services.removals.len()), (2, 1, 1));
    // Another node's address concerns those who name it.
    model.upsert(&node("n3", &["10.244.3.0/24"], &["172.30.0.13"]));
    assert_eq!(touched(&mut model).0, 0);
    model.upsert_service(&service("far", |service| service.external_ips = ips(&["172.30.0.14"])));
    touched(&mut model);
    model.upsert(&node("n3", &["10.244.3.0/24"], &["172.30.0.14"]));
    assert_eq!(touched(&mut model).0, 1);
    model.upsert_service_cidr(&cidr("more", &["10.112.0.0/16"]));
    assert_eq!(touched(&mut model).0, 0);
}

#[test]
fn a_service_may_have_5000_endpoints() {
    const SLICES: usize = 50;
    let hundred = |number: usize| -> Vec<Endpoint> {
        (0..100)
            .map(|host| ready(&format!("10.244.{number}.{}", host + 3), if host == 0 { "n1" } else { "n2" }))
            .collect()
    };
    let slices =
        (0..SLICES).map(|number| slice(&format!("web-{number:02}"), "web", hundred(number))).collect();
    let mut model = with(&[service("web", |_| ())], slices);
    let found = row(&mut model, "web").unwrap();
    assert_eq!((found.cluster.len(), found.local.len()), (5000, 50));
    assert!(found.cluster.is_sorted() && Arc::ptr_eq(&found.cluster, &found.serving));
    model.delete_slice(&Key::namespaced("shop", "web-07"));
    assert_eq!(row(&mut model, "web").unwrap().cluster.len(), 4900);
}
