//! Services: objects for tests, and what the model makes of them.

use std::net::IpAddr;
use std::sync::Arc;

use objects::{
    Endpoint, EndpointPort, EndpointSlice, Family, Hints, Key, PortSpec, Protocol, Service, ServiceCidr,
    ServiceType,
};

use super::{node, ranges};
use crate::{Backend, Changes, Desired, Model, Problem, ServiceOptions, ServicePort, ServicePortKey};

mod choice;
mod claims;
mod frontends;
mod life;
mod oracle;
mod proportion;
mod sequences;

const OPTIONS: ServiceOptions = ServiceOptions { external_ips: true };

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ips(texts: &[&str]) -> Box<[IpAddr]> {
    texts.iter().map(|text| ip(text)).collect()
}

fn port(name: &str, protocol: Protocol, port: u16, node_port: u16) -> PortSpec {
    PortSpec { name: name.into(), protocol, port, node_port }
}

/// `shop/NAME` at 10.96.0.7:80.
fn service(name: &str, edit: impl FnOnce(&mut Service)) -> Arc<Service> {
    let mut service = Service {
        key: Key::namespaced("shop", name),
        id: format!("shop/{name}").into(),
        uid: None,
        created: Some(0),
        kind: ServiceType::ClusterIp,
        ignored: None,
        cluster_ips: ips(&["10.96.0.7"]),
        ports: [port("", Protocol::Tcp, 80, 0)].into(),
        external_ips: Box::default(),
        load_balancer_ips: Box::default(),
        source_ranges: Box::default(),
        has_unreadable_range: false,
        affinity: None,
        internal_local: false,
        external_local: false,
        health_check_node_port: 0,
        defects: Box::default(),
    };
    edit(&mut service);
    Arc::new(service)
}

/// Of `shop/SERVICE`, with the port 8080 without a name.
fn slice(name: &str, service: &str, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let family = endpoints.first().map_or(Family::V4, |endpoint| Family::of(endpoint.address));
    EndpointSlice {
        key: Key::namespaced("shop", name),
        uid: None,
        service: Some(format!("shop/{service}").into()),
        family,
        ports: [EndpointPort { name: "".into(), protocol: Protocol::Tcp, port: 8080 }].into(),
        endpoints: endpoints.into(),
        triggered: None,
        defects: Box::default(),
    }
}

fn endpoint(address: &str, node: &str, [ready, serving, terminating]: [bool; 3]) -> Endpoint {
    let node = Some(node).filter(|node| !node.is_empty()).map(Arc::from);
    Endpoint { address: ip(address), ready, serving, terminating, node, hints: None }
}

fn ready(address: &str, node: &str) -> Endpoint {
    endpoint(address, node, [true, true, false])
}

fn unready(address: &str, node: &str) -> Endpoint {
    endpoint(address, node, [false, false, false])
}

/// It still serves.
fn terminating(address: &str, node: &str) -> Endpoint {
    endpoint(address, node, [false, true, true])
}

fn stopped(address: &str, node: &str) -> Endpoint {
    endpoint(address, node, [false, false, true])
}

fn hinted(endpoint: Endpoint, zones: &[&str], nodes: &[&str]) -> Endpoint {
    let texts = |texts: &[&str]| texts.iter().map(|text| Arc::from(*text)).collect();
    let hints = Hints { zones: texts(zones), nodes: texts(nodes) };
    Endpoint { hints: Some(Box::new(hints)), ..endpoint }
}

fn cidr(name: &str, cidrs: &[&str]) -> Arc<ServiceCidr> {
    let cidrs = cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect();
    Arc::new(ServiceCidr { key: Key::new(name), uid: None, cidrs, defects: Box::default() })
}

/// Seen from n1, in the zone a, beside n2; everything is known.
fn model() -> Model {
    let mut model = empty();
    model.services_complete(true);
    model.update().unwrap();
    model
}

/// The same before everything is known.
fn empty() -> Model {
    let mut model = Model::new("n1", ranges()).with_services(OPTIONS);
    let mut one = node("n1", &["10.244.1.0/24", "fd44:0:0:1::/64"], &["172.30.0.11", "fd30::11"]);
    one.zone = Some("a".into());
    model.upsert(&one);
    model.upsert(&node("n2", &["10.244.2.0/24", "fd44:0:0:2::/64"], &["172.30.0.12", "fd30::12"]));
    model
}

fn with(services: &[Arc<Service>], slices: Vec<EndpointSlice>) -> Model {
    let mut model = model();
    services.iter().for_each(|service| model.upsert_service(service));
    slices.into_iter().for_each(|slice| model.upsert_slice(&Arc::new(slice)));
    model
}

fn key(service: &str, port: &str, protocol: Protocol, family: Family) -> ServicePortKey {
    ServicePortKey { service: format!("shop/{service}").into(), port: port.into(), protocol, family }
}

/// The row of the port without a name, over IPv4.
fn row(model: &mut Model, service: &str) -> Option<Arc<ServicePort>> {
    let key = key(service, "", Protocol::Tcp, Family::V4);
    model.update().unwrap().0.services.get(&key).cloned()
}

fn text(backends: &[Backend]) -> String {
    let all: Vec<String> =
        backends.iter().map(|Backend { address, port }| format!("{address}:{port}")).collect();
    all.join(" ")
}

/// The frontends of all rows of a Service, as text.
fn frontends(desired: &Desired, service: &str) -> Vec<String> {
    let rows = desired.services.iter().filter(|(key, _)| *key.service == *format!("shop/{service}"));
    let rows = rows.flat_map(|(key, row)| row.frontends.iter().map(move |one| (key, one)));
    rows.map(|(key, one)| {
        let address = one.address.map_or("*".into(), |address| address.to_string());
        let (kind, port, protocol) = (one.kind.name(), one.port, key.protocol);
        format!("{kind} {address} {port}/{protocol} {:?}/{:?}", one.inside, one.outside)
    })
    .collect()
}

fn problems(model: &mut Model) -> Vec<String> {
    let (desired, _) = model.update().unwrap();
    let all = desired.problems().inspect(|problem| assert_eq!(problem.what, "service"));
    all.map(|Problem { object, problem, remedy, .. }| {
        assert!(!remedy.is_empty());
        format!("{object}: {problem}")
    })
    .collect()
}

fn changes(model: &mut Model) -> Changes {
    model.update().unwrap().1
}
