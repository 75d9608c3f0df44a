//! UUIDs, MAC addresses, names and bodies of 10,000 generated objects are those of an independent implementation, in
//! Python.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use translation::{
    Change, CustomResource, Endpoint, EndpointPort, EndpointSlice, Node, NodeAddress, Pod, Service,
    ServicePort, Translator, Wanted,
};

const TENANT: &str = "midonetkube";
const OBJECTS: usize = 10_000;

/// Numbers that look random and are the same in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn port(&mut self) -> u16 {
        u16::try_from(1 + self.below(65_535)).unwrap()
    }

    fn ip(&mut self) -> String {
        let n = self.next();
        format!("10.{}.{}.{}", n & 255, (n >> 8) & 255, (n >> 16) & 255)
    }

    fn mac(&mut self) -> String {
        let n = self.next();
        let byte = |i: u32| (n >> (8 * i)) & 255;
        format!("02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", byte(0), byte(1), byte(2), byte(3), byte(4))
    }

    fn id(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            a >> 32,
            a & 0xffff,
            b & 0xfff,
            (b >> 12) & 0xfff,
            b >> 16
        )
    }

    /// A name of up to `longest` characters that is unlike others by its number.
    fn name(&mut self, n: usize, longest: usize) -> String {
        let mut name = format!("x{n}");
        for _ in 0..self.below(longest - 8) {
            let c = b"abcdefghijklmnopqrstuvwxyz0123456789-"[self.below(37)];
            name.push(char::from(c));
        }
        name + "z"
    }
}

fn node(numbers: &mut Numbers, n: usize) -> (Node, Value) {
    let name = if n.is_multiple_of(3) { format!("node-{n}.example.org") } else { numbers.name(n, 253) };
    let cidr = format!("{}/{}", numbers.ip(), 8 + numbers.below(17));
    let cidr = cidr.replace(".255/", ".8/").replace(".254/", ".16/").replace(".253/", ".24/");
    let (host, endpoint, mac) = (numbers.id(), numbers.ip(), numbers.mac());
    let zone = (n.is_multiple_of(4)).then(|| numbers.id());
    let addresses = [("ExternalIP", numbers.ip()), ("InternalIP", numbers.ip())];
    let value = json!({
        "kind": "Node", "name": name, "podCidr": cidr, "hostId": host, "tunnelZoneId": zone,
        "endpoint": endpoint, "addresses": addresses, "mac": mac,
    });
    let node = Node {
        name,
        uid: numbers.id(),
        pod_cidrs: vec![cidr],
        addresses: addresses.map(|(kind, address)| NodeAddress { kind: kind.into(), address }).into(),
        host_id: Some(host.to_uppercase()),
        tunnel_zone_id: zone,
        tunnel_endpoint_ip: Some(endpoint),
        mac_address: Some(mac),
    };
    (node, value)
}

fn pod(numbers: &mut Numbers, n: usize, on: &Node) -> (Pod, Value) {
    let (name, namespace) = (numbers.name(n, 253), format!("ns-{}", n % 50));
    let ip = (!n.is_multiple_of(5)).then(|| numbers.ip());
    let mac = numbers.mac();
    let value = json!({
        "kind": "Pod", "namespace": namespace, "name": name, "node": on.name,
        "hostId": on.host_id, "ip": ip, "mac": mac,
    });
    let pod = Pod {
        namespace,
        name,
        uid: numbers.id(),
        node: on.name.clone(),
        ips: ip.into_iter().collect(),
        mac_address: Some(mac.to_uppercase().replace(':', "-")),
        ..Pod::default()
    };
    (pod, value)
}

fn service(numbers: &mut Numbers, n: usize) -> (Service, EndpointSlice, Value) {
    let (name, namespace) = (numbers.name(n, 63), format!("ns-{}", n % 50));
    let ip = numbers.ip();
    let ports: Vec<_> = (0..1 + numbers.below(3))
        .map(|i| {
            let protocol = if numbers.below(2) == 0 { "TCP" } else { "UDP" };
            (numbers.name(i, 63), protocol, numbers.port(), numbers.port())
        })
        .collect();
    let endpoints: Vec<_> = (0..1 + numbers.below(4)).map(|_| numbers.ip()).collect();
    let value = json!({
        "kind": "Service", "namespace": namespace, "name": name, "clusterIp": ip, "endpoints": endpoints,
        "ports": ports.iter().map(|(name, protocol, port, _)| json!([name, protocol, port])).collect::<Vec<_>>(),
        "endpointPorts": ports.iter().map(|(name, protocol, _, port)| json!([name, protocol, port])).collect::<Vec<_>>(),
    });
    let slice = EndpointSlice {
        namespace: namespace.clone(),
        name: format!("{name}-1"),
        service: name.clone(),
        endpoints: endpoints
            .into_iter()
            .map(|address| Endpoint { address, ready: true, serving: true, terminating: false })
            .collect(),
        ports: ports
            .iter()
            .map(|(name, protocol, _, port)| EndpointPort {
                name: name.clone(),
                protocol: (*protocol).into(),
                port: *port,
            })
            .collect(),
        ..EndpointSlice::default()
    };
    let ports = ports.into_iter().map(|(name, protocol, port, _)| ServicePort {
        name,
        protocol: protocol.into(),
        port,
    });
    let service = Service {
        namespace,
        name,
        uid: numbers.id(),
        cluster_ips: vec![ip],
        ports: ports.collect(),
        ..Service::default()
    };
    (service, slice, value)
}

/// A Translation as the script writes it.
fn written(change: &Change) -> Value {
    assert_eq!(change.problems, [], "{}", change.owner.namespace());
    let Wanted::Set(set) = &change.wanted else { panic!("nothing is known of {:?}", change.owner) };
    set.iter()
        .map(|translation| {
            let of = CustomResource::from(translation);
            let entries: Vec<_> = of.resources.iter().map(|e| json!([e.kind, e.parent, e.body])).collect();
            json!([of.metadata.namespace, of.metadata.name, entries])
        })
        .collect()
}

fn python(lines: &str) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/names.py");
    let child =
        Command::new("python3").args([script, TENANT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child =
        child.expect("python3 is needed to compare with: install it (Debian: apt-get install python3)");
    let mut stdin = child.stdin.take().unwrap();
    let lines = lines.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{script} failed: {}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn ten_thousand_objects_are_as_in_python() {
    let mut numbers = Numbers(15);
    let mut translator = Translator::new(TENANT);
    let _globals = translator.take_changes();
    let (mut ours, mut lines, mut nodes) = (Vec::new(), String::new(), Vec::new());
    let mut objects = 0;
    for n in 0.. {
        let value = match n % 8 {
            0 => {
                let (node, value) = node(&mut numbers, n);
                nodes.push(node.clone());
                translator.set_node(node);
                value
            }
            1..5 => {
                let on = &nodes[numbers.below(nodes.len())];
                let (pod, value) = pod(&mut numbers, n, on);
                translator.set_pod(pod);
                value
            }
            _ => {
                let (service, slice, value) = service(&mut numbers, n);
                // A Service and its EndpointSlice are two objects.
                objects += 1;
                translator.set_service(service);
                translator.set_slice(slice);
                value
            }
        };
        objects += 1;
        lines += &format!("{value}\n");
        let changes = translator.take_changes();
        assert_eq!(changes.len(), 1, "{value}");
        ours.push(written(&changes[0]));
        if objects >= OBJECTS {
            break;
        }
    }
    let theirs = python(&lines);
    assert_eq!(ours.len(), theirs.len());
    for ((ours, theirs), line) in ours.iter().zip(&theirs).zip(lines.lines()) {
        assert_eq!(ours, theirs, "{line}");
    }
}
