//! What a packet costs: the kernel runs a program alone on one packet, many times, with warm caches.
//!
//! A packet is changed in place from one run to the next. With one MAC address for everybody, what is sent on looks as it
//! came in. A translated one would be another connection's in the next run: there are two connections, each of which is
//! translated into the other.

mod empty;
mod entries;
pub mod rules;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use datapath::policy::OPEN;
use datapath::{Limits, NodeConfig, Port, Role};

use testkit::packet::{Ip, TCP, UDP, ethernet, tcp, udp, udp_to};

use super::policy::{Draft, Table, all, allow};
use super::services::{End, Maps, SCOPE_ADDRESS, SCOPE_NODE_PORT, Service};
use super::tunnel::{UPLINK_MAC, uplink_node};
use super::{Family, GATEWAY_MAC, Node, families, run};
use entries::{Entry, FORWARD, PLAIN, REPLY};

/// Runs of one measurement: the hop limit is used up.
const REPEAT: u32 = 250;

/// The ports of testkit's packets, and of a backend.
const SOURCE: u16 = 12_345;
const DESTINATION: u16 = 80;
const BACKEND: u16 = 8080;

/// One path of a packet.
pub struct Cost {
    pub path: String,
    /// Nanoseconds per packet, one a round.
    pub nanoseconds: Vec<f64>,
}

/// The path that does nothing: what the measuring itself costs.
pub const EMPTY: &str = "empty program";

/// A program, and the frame that it gets at an interface.
#[derive(Clone)]
struct Run<'a> {
    path: String,
    program: &'a SchedClassifier,
    ifindex: u32,
    frame: Vec<u8>,
    /// Under which it is counted; `None`: it passes as if there were no program.
    reason: Option<&'static str>,
}

/// A node with two Pods, a host outside, and connections between them all.
struct Scene {
    node: Node,
    uplink: u32,
    pins: PathBuf,
    maps: Maps,
}

impl Scene {
    fn new(bpffs: &Path) -> Self {
        let (mut node, uplink) = uplink_node(bpffs);
        let pins = node.programs.parent().unwrap().to_owned();
        let config = NodeConfig {
            overlay_mac: GATEWAY_MAC,
            node_mac: GATEWAY_MAC,
            direct: false,
            services: true,
            ..node.config.clone()
        };
        node.datapath.set_config(&config).unwrap();
        let of = |member: fn(&Family) -> IpAddr| families().iter().map(member).collect::<Vec<_>>();
        let (b, second) = (of(|f| f.b), of(|f| second(f.b)));
        for (ifindex, addresses) in [(node.a, of(|f| f.a)), (node.b, [b, second].concat())] {
            let (role, limits, set) = (Role::Pod, Limits::default(), OPEN);
            node.datapath.bind(&Port { ifindex, mac: GATEWAY_MAC, addresses, role, limits, set }).unwrap();
        }
        // Answers to the outside leave by the routes of the node.
        run("ip", "route add default via 198.51.100.254 dev uplink");
        run("ip", "-6 addr add 2001:db8:1::1/64 dev uplink nodad");
        run("ip", "-6 route add default via 2001:db8:1::fe dev uplink");
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        let maps = Maps::new(&node.programs);
        Self { node, uplink, pins, maps }
    }

    /// A connection through nothing.
    fn plain(&self, protocol: u8, [client, server]: [End; 2], interfaces: [u32; 2], established: bool) {
        let entry = Entry { protocol, kind: PLAIN, client, server, other: None, interfaces };
        entry.write(&self.pins, established);
    }

    /// Two connections from a client, each of which becomes the other.
    fn translated(
        &self,
        protocol: u8,
        kind: u32,
        client: End,
        servers: [End; 2],
        interfaces: [u32; 2],
        established: bool,
    ) {
        for (server, other) in [(servers[0], servers[1]), (servers[1], servers[0])] {
            let other = Some([client, other]);
            let entry = Entry { protocol, kind, client, server, other, interfaces };
            entry.write(&self.pins, established);
        }
    }

    /// Has policy judge what both Pods send and get: everything is allowed.
    fn judge(&mut self) {
        let (a, b, table) = (self.node.a, self.node.b, || Table(all(allow(1)), vec![]));
        Draft::new().pod(a, table(), table()).pod(b, table(), table()).apply(&mut self.node.datapath);
    }

    /// The connections of a family's packets.
    fn connect(&self, f: Family) {
        let (a, b) = (self.node.a, self.node.b);
        let client = |address| (address, SOURCE);
        for (server, interface) in
            [(f.b, b), (f.remote, 0), (f.node, self.node.config.mido_ifindex), (f.external, 0)]
        {
            self.plain(TCP, [client(f.a), (server, DESTINATION)], [a, interface], true);
        }
        self.plain(UDP, [client(f.a), (f.b, 53)], [a, b], false);
        let both = |address| [(address, DESTINATION), (second(address), BACKEND)];
        // The other Pod's addresses from a host outside, and from a Pod of another port, which has none of the above.
        let other = |address| (address, SOURCE + 1);
        self.translated(TCP, FORWARD, other(f.a), both(f.b), [a, b], true);
        self.translated(TCP, FORWARD, other(f.a), both(f.remote), [a, 0], true);
        self.translated(UDP, FORWARD, other(f.a), both(f.b), [a, b], false);
        self.translated(TCP, FORWARD, client(f.external), both(f.b), [0, b], true);
        self.translated(TCP, REPLY, (f.a, SOURCE + 2), both(f.b), [a, b], true);
        self.translated(TCP, REPLY, (f.external, SOURCE + 2), both(f.b), [0, b], true);
    }

    /// The paths of a family's packets: name, program, interface, packet, and its destination MAC.
    fn paths<'a>(&self, f: Family, [endpoint, uplink]: [&'a SchedClassifier; 2]) -> Vec<Run<'a>> {
        let version = version(f.a);
        let (a, b) = (self.node.a, self.node.b);
        let datagram = |from, to, ports| Ip { hops: 255, ..ported(udp_to(from, to, 53, &[0; 64]), ports) };
        let segment = |from, to, ports| Ip { hops: 255, ..ported(tcp(from, to, &[0; 64]), ports) };
        let plain = (SOURCE, DESTINATION);
        let through = (SOURCE + 1, DESTINATION);
        let back = (DESTINATION, SOURCE + 2);
        let from_pod = [
            ("forged source: dropped", a, "source_ip", segment(f.missing, f.b, plain)),
            ("Pod to Pod", a, "local", segment(f.a, f.b, plain)),
            ("Pod to another node's Pod", a, "overlay_out", segment(f.a, f.remote, plain)),
            ("Pod to its node", a, "to_node", segment(f.a, f.node, plain)),
            ("Pod out of the cluster", a, "external", segment(f.a, f.external, plain)),
            ("UDP to a Pod, unanswered", a, "local", datagram(f.a, f.b, (SOURCE, 53))),
            ("ClusterIP", a, "local", segment(f.a, f.b, through)),
            ("ClusterIP, backend on another node", a, "overlay_out", segment(f.a, f.remote, through)),
            ("UDP to a ClusterIP, unanswered", a, "local", datagram(f.a, f.b, through)),
            ("answer through a ClusterIP", b, "local", segment(f.b, f.a, back)),
            ("answer through a NodePort", b, "outside", segment(f.b, f.external, back)),
        ];
        let at_uplink = [
            ("uplink: for nobody here", None, segment(f.external, f.b, (SOURCE, 81))),
            ("uplink: NodePort", Some("from_outside"), segment(f.external, f.b, plain)),
        ];
        let name = |path: &str| format!("{version} {path}");
        let mut runs: Vec<Run<'a>> = from_pod
            .map(|(path, ifindex, reason, packet)| Run {
                path: name(path),
                program: endpoint,
                ifindex,
                reason: Some(reason),
                frame: packet.frame(GATEWAY_MAC, GATEWAY_MAC),
            })
            .into();
        runs.extend(at_uplink.map(|(path, reason, packet)| Run {
            path: name(path),
            reason,
            program: uplink,
            ifindex: self.uplink,
            frame: packet.frame(UPLINK_MAC, GATEWAY_MAC),
        }));
        runs
    }
}

/// Measures every path once a round, one after the other: of established connections, where it is not said otherwise.
pub fn costs(bpffs: &Path, rounds: usize) -> Vec<Cost> {
    let mut scene = Scene::new(bpffs);
    let [endpoint, uplink] = ["from_endpoint", "from_uplink"].map(|name| scene.node.program(name));
    let empty = empty::empty(bpffs);
    let no_ip = ethernet(GATEWAY_MAC, GATEWAY_MAC, 0x88cc, &[0; 64]);
    let own = scene.node.a;
    let mut runs = vec![
        Run { path: EMPTY.to_owned(), program: &empty, ifindex: own, frame: no_ip.clone(), reason: None },
        Run {
            path: "no IP: dropped at once".to_owned(),
            program: &endpoint,
            ifindex: own,
            frame: no_ip,
            reason: Some("ethertype"),
        },
    ];
    for f in families() {
        // NodePorts at both of the ports between which packets change.
        for port in [DESTINATION, BACKEND] {
            scene.maps.serve(SCOPE_NODE_PORT, TCP, (f.a, port), &Service::default());
            scene.maps.serve_port(TCP, port);
        }
        scene.connect(f);
        runs.extend(scene.paths(f, [&endpoint, &uplink]));
    }
    for run in &runs {
        let (_, counted) = scene.node.run(run.program, run.ifindex, 0, &run.frame);
        assert!(counted.iter().map(|(reason, _)| *reason).eq(run.reason), "{}: {counted:?}", run.path);
    }
    let mut costs = measured(&runs, "", rounds);
    // The same with policy: each connection is judged once, before it is measured.
    scene.judge();
    let is_judged = |run: &&Run<'_>| run.ifindex == scene.node.a && run.reason != Some("ethertype");
    let judged: Vec<_> = runs.iter().filter(is_judged).cloned().collect();
    judged.iter().for_each(|run| assert!(once(run.program, run.ifindex, &run.frame, 2) > 0.0));
    costs.extend(measured(&judged, ", policy", rounds));
    scene.node.datapath.policy_off().unwrap();
    // The same once the node's stack has forwarded anything between Pods: there are flows to look up.
    runs.retain(|run| run.path.contains("Pod to Pod") || run.path.contains("node's Pod"));
    for f in families() {
        let packet = udp(f.a, f.b, b"forwarded").frame(GATEWAY_MAC, GATEWAY_MAC);
        once(&endpoint, scene.node.config.mido_ifindex, &packet, REPEAT);
    }
    costs.extend(measured(&runs, ", flows", rounds));
    costs
}

fn measured(runs: &[Run<'_>], suffix: &str, rounds: usize) -> Vec<Cost> {
    let cost = |run: &Run<'_>| Cost { path: format!("{}{suffix}", run.path), nanoseconds: vec![] };
    let mut costs: Vec<Cost> = runs.iter().map(cost).collect();
    for _ in 0..rounds {
        for (cost, run) in costs.iter_mut().zip(runs) {
            cost.nanoseconds.push(once(run.program, run.ifindex, &run.frame, REPEAT));
        }
    }
    costs
}

/// Measures the first packet of a connection, of another one each time.
pub fn first_costs(bpffs: &Path, rounds: u16) -> Vec<Cost> {
    let mut scene = Scene::new(bpffs);
    let (endpoint, empty) = (scene.node.program("from_endpoint"), empty::empty(bpffs));
    let mut paths = vec![(EMPTY.to_owned(), &empty, tcp(families()[0].a, families()[0].b, &[]))];
    for f in families() {
        let cluster_ip: IpAddr = if f.a.is_ipv4() { "10.96.0.10" } else { "fd96::10" }.parse().unwrap();
        let backends: Vec<End> = (0..10).map(|number| (f.b, BACKEND + number)).collect();
        scene.maps.serve(SCOPE_ADDRESS, TCP, (cluster_ip, DESTINATION), &Service::new(1, &backends));
        for (path, to) in [("Pod to Pod", f.b), ("ClusterIP of 10", cluster_ip)] {
            paths.push((format!("{} {path}", version(f.a)), &endpoint, tcp(f.a, to, &[])));
        }
    }
    let mut costs: Vec<Cost> =
        paths.iter().map(|(path, ..)| Cost { path: path.clone(), nanoseconds: vec![] }).collect();
    for round in 0..rounds {
        for (cost, (_, program, packet)) in costs.iter_mut().zip(&paths) {
            let mut packet = ported(packet.clone(), (1024 + round % 60_000, DESTINATION));
            packet.payload[13] = 2; // SYN
            cost.nanoseconds.push(once(program, scene.node.a, &packet.frame(GATEWAY_MAC, GATEWAY_MAC), 1));
        }
    }
    costs
}

/// Another address of who has this one.
fn second(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::from(std::net::Ipv4Addr::from_bits(v4.to_bits() + 16)),
        IpAddr::V6(v6) => IpAddr::from(std::net::Ipv6Addr::from_bits(v6.to_bits() + 16)),
    }
}

fn version(address: IpAddr) -> &'static str {
    if address.is_ipv6() { "IPv6" } else { "IPv4" }
}

/// The packet with these ports; its checksum is as wrong as the packets are many: nobody looks at it.
fn ported(mut packet: Ip, (source, destination): (u16, u16)) -> Ip {
    packet.payload[..2].copy_from_slice(&source.to_be_bytes());
    packet.payload[2..4].copy_from_slice(&destination.to_be_bytes());
    packet
}

fn once(program: &SchedClassifier, ifindex: u32, frame: &[u8], repeat: u32) -> f64 {
    let mut context = [0u8; 192]; // struct __sk_buff
    context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    let run = TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), ..TestRunOptions::new() };
    let result = program.test_run(TestRunOptions { repeat, ..run }).unwrap();
    result.duration.as_secs_f64() * 1e9
}
