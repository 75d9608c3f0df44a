//! Converts 1,000 Nodes, 20,000 Pods and 2,000 Services with 10 endpoints each, then changes one of each, and prints what
//! that takes: `cargo run --release -p translation --example scale`.
#![allow(clippy::print_stdout, reason = "it is made to print")]

use std::time::Instant;

use translation::{
    Change, CustomResource, Endpoint, EndpointPort, EndpointSlice, Key, Node, NodeAddress, Pod, Service,
    ServicePort, Translator, Wanted,
};

const NODES: u32 = 1_000;
const PODS: u32 = 20_000;
const SERVICES: u32 = 2_000;
const ENDPOINTS: u32 = 10;

fn main() {
    let start = Instant::now();
    let mut translator = Translator::new("midonetkube");
    (0..NODES).for_each(|n| translator.set_node(node(n)));
    (0..PODS).for_each(|n| translator.set_pod(pod(n)));
    (0..SERVICES).for_each(|n| {
        translator.set_service(service(n));
        translator.set_slice(slice(n, ENDPOINTS));
    });
    println!(
        "{NODES} Nodes, {PODS} Pods, {SERVICES} Services of {ENDPOINTS} endpoints told: {:.3} s",
        seconds(start)
    );
    println!("all: {}", take(&mut translator));
    println!("in all: {:.3} s, peak RSS {} MiB", seconds(start), peak_mib());

    println!(
        "a Pod without its MAC address: {}",
        take_after(&mut translator, |t| {
            t.set_pod(Pod { mac_address: None, ..pod(7) });
        })
    );
    println!(
        "a Node of {} Pods without its MAC address: {}",
        PODS / NODES,
        take_after(&mut translator, |t| {
            t.set_node(Node { mac_address: None, ..node(7) });
        })
    );
    println!(
        "a Node of {} Pods on another host: {}",
        PODS / NODES,
        take_after(&mut translator, |t| {
            t.set_node(Node { host_id: Some(id(0xffff)), ..node(7) });
        })
    );
    println!(
        "a Service with an endpoint less: {}",
        take_after(&mut translator, |t| t.set_slice(slice(7, ENDPOINTS - 1)))
    );
    println!("a Pod gone: {}", take_after(&mut translator, |t| t.remove_pod(&Key::new("default", "web-9"))));
    println!("what is known already: {}", take_after(&mut translator, |t| t.set_pod(pod(8))));
    println!("everything again: {}", take_after(&mut translator, Translator::mark_all));
    println!("peak RSS {} MiB", peak_mib());
}

fn take_after(translator: &mut Translator, change: impl FnOnce(&mut Translator)) -> String {
    change(translator);
    take(translator)
}

/// Takes the changes one by one, as a writer does, in the form in which they are written.
fn take(translator: &mut Translator) -> String {
    let start = Instant::now();
    let (mut owners, mut translations, mut resources, mut bytes) = (0, 0, 0, 0);
    while let Some(Change { wanted, problems, .. }) = translator.next_change() {
        assert!(problems.is_empty(), "{problems:?}");
        owners += 1;
        let Wanted::Set(set) = wanted else { continue };
        translations += set.len();
        for translation in &set {
            resources += translation.resources.len();
            bytes += serde_json::to_vec(&CustomResource::from(translation)).map_or(0, |json| json.len());
        }
    }
    format!(
        "{owners} owners, {translations} Translations, {resources} resources, {bytes} bytes of JSON in {:.6} s",
        seconds(start)
    )
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn id(n: u32) -> String {
    format!("44fb4381-c99d-4389-86c3-{n:012x}")
}

/// An address of 10.0.0.0/8.
fn address(n: u32) -> String {
    format!("10.{}.{}.{}", (n >> 16) & 255, (n >> 8) & 255, n & 255)
}

fn mac(n: u32) -> Option<String> {
    Some(format!("02:00:00:{:02x}:{:02x}:{:02x}", (n >> 16) & 255, (n >> 8) & 255, n & 255))
}

fn node(n: u32) -> Node {
    Node {
        name: format!("node-{n}"),
        uid: id(n),
        pod_cidrs: vec![format!("{}/24", address(n << 8))],
        addresses: vec![NodeAddress { kind: "InternalIP".into(), address: address(0x00f0_0000 + n) }],
        host_id: Some(id(n)),
        tunnel_zone_id: None,
        tunnel_endpoint_ip: Some(address(0x00f0_0000 + n)),
        mac_address: mac(0x00f0_0000 + n),
    }
}

fn pod(n: u32) -> Pod {
    let ip = ((n % NODES) << 8) + 3 + n / NODES;
    Pod {
        namespace: "default".into(),
        name: format!("web-{n}"),
        uid: id(0x0010_0000 + n),
        node: format!("node-{}", n % NODES),
        host_network: false,
        finished: false,
        ips: vec![address(ip)],
        mac_address: mac(n),
    }
}

fn service(n: u32) -> Service {
    Service {
        namespace: "default".into(),
        name: format!("web-{n}"),
        uid: id(0x0020_0000 + n),
        kind: "ClusterIP".into(),
        cluster_ips: vec![format!("10.255.{}.{}", n >> 8, n & 255)],
        ports: vec![ServicePort { name: "http".into(), protocol: "TCP".into(), port: 80 }],
        session_affinity: false,
        local_traffic: false,
    }
}

fn slice(n: u32, endpoints: u32) -> EndpointSlice {
    let pods = (0..endpoints).map(|i| pod((n * ENDPOINTS + i) % PODS));
    EndpointSlice {
        namespace: "default".into(),
        name: format!("web-{n}-abcde"),
        uid: id(0x0030_0000 + n),
        service: format!("web-{n}"),
        endpoints: pods
            .filter_map(|pod| pod.ips.into_iter().next())
            .map(|address| Endpoint { address, ready: true, serving: true, terminating: false })
            .collect(),
        ports: vec![EndpointPort { name: "http".into(), protocol: "TCP".into(), port: 8080 }],
        ..EndpointSlice::default()
    }
}
