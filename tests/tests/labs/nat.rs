//! Addresses that the node's own network stack translates, for kube-proxy, portmap or a rule of an administrator: Pods
//! reach what is behind them, on the same node and on another, and their connections last.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use e2e::{TestLab, node1, pod, sh};
use lab::probe::{ECHO_PORT, EchoServer, ping, tcp_echo, udp_echo};
use lab::{Family, Pod, Target};
use plumbing::NetNs;
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};

const DEADLINE: Duration = Duration::from_secs(60);

/// More than any MTU.
const LARGE: usize = 5000;

/// The address of each family at which a node of the lab finds the Pod with that number.
fn service(number: u8) -> [IpAddr; 2] {
    [Ipv4Addr::new(10, 96, 0, number).into(), Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, number.into()).into()]
}

/// A client on node1, and whom it calls: a neighbour, a neighbour with limits, and a Pod of node2.
struct Scene {
    lab: TestLab,
    client: Pod,
    servers: [Pod; 3],
}

impl Scene {
    fn new(encapsulation: &str) -> Self {
        testkit::require_tool("nft", "apt-get install nftables");
        let lab = TestLab::up(2, Family::Dual, &["--encapsulation", encapsulation]).unwrap();
        let limits = json!({"bandwidth": {
            "ingressRate": 100_000_000, "ingressBurst": 10_000_000, "egressRate": 100_000_000, "egressBurst": 10_000_000,
        }});
        let client = lab.add_pod("node1", "default", "client").unwrap();
        let servers = [
            lab.add_pod("node1", "default", "neighbour").unwrap(),
            lab.add_pod_with("node1", "default", "limited", limits.as_object().unwrap().clone()).unwrap(),
            lab.add_pod("node2", "default", "remote").unwrap(),
        ];
        let scene = Self { lab, client, servers };
        scene.translate();
        scene
    }

    /// What kube-proxy writes, in its essence: on the client's node alone.
    fn translate(&self) {
        let mut rules = String::new();
        for (number, server) in (1..).zip(self.servers.iter().chain([&self.client])) {
            for (address, to) in service(number).into_iter().zip(server.addresses()) {
                let ip = if address.is_ipv4() { "ip" } else { "ip6" };
                rules.push_str(&format!("{ip} daddr {address} dnat {ip} to {to}\n"));
            }
        }
        let masquerade: String = self
            .client
            .addresses()
            .iter()
            .map(|own| {
                let ip = if own.is_ipv4() { "ip" } else { "ip6" };
                format!("{ip} saddr {own} {ip} daddr {own} masquerade\n")
            })
            .collect();
        // What comes back past the node, or goes past it, is invalid to it; and no packet may come in where its
        // sender is not.
        let line = format!(
            "sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.midokube-node.rp_filter=1 && nft -f - <<'T'\n\
             table inet proxy {{\n\
             chain through {{ type filter hook forward priority 0; ct state invalid drop; }}\n\
             chain in {{ type nat hook prerouting priority -100;\n{rules}}}\n\
             chain out {{ type nat hook postrouting priority 100;\n{masquerade}}}\n}}\nT"
        );
        sh(&self.lab, &node1(), &line);
    }

    fn netns(&self, of: &Pod) -> NetNs {
        self.lab.netns(&pod(of)).unwrap()
    }

    fn via_node(&self, node: &str) -> u64 {
        self.lab.counted(node, "via_node").unwrap()
    }

    /// The addresses behind which the servers are, with the number of the server.
    fn services(&self) -> impl Iterator<Item = (&Pod, IpAddr, IpAddr)> {
        (1..).zip(&self.servers).flat_map(|(number, server)| {
            service(number)
                .into_iter()
                .zip(server.addresses())
                .map(move |(address, own)| (server, address, own))
        })
    }
}

/// TCP, UDP and ICMP, in packets of all sizes: the server sees the client itself, the client the address it called.
fn everything_works(scene: &Scene, when: &str) {
    let client = scene.netns(&scene.client);
    for (server, address, own) in scene.services() {
        let what = format!("{when}: {address} of {}", server.key);
        let from = scene.client.addresses().into_iter().find(|a| a.is_ipv4() == address.is_ipv4()).unwrap();
        let netns = scene.netns(server);
        let echo = EchoServer::start(&netns, &[own]).unwrap();
        let seen = tcp_echo(&client, address, DEADLINE).unwrap_or_else(|error| panic!("{what}: {error:#}"));
        assert_eq!(seen, from, "{what}");
        let seen = udp_echo(&client, address, DEADLINE).unwrap_or_else(|error| panic!("{what}: {error:#}"));
        assert_eq!(seen, from, "{what}");
        // The same Pods directly, as before.
        tcp_echo(&client, own, DEADLINE).unwrap_or_else(|error| panic!("{what}, directly: {error:#}"));
        udp_echo(&client, own, DEADLINE).unwrap_or_else(|error| panic!("{what}, directly: {error:#}"));
        ping(&client, address, DEADLINE).unwrap_or_else(|error| panic!("{what}: {error:#}"));
        drop(echo);
        for to in [address, own] {
            large_datagrams(&client, &netns, to, own);
            port_unreachable(&client, to);
        }
    }
}

/// A UDP client in a namespace, connected: what others send it, and errors about others, it does not get.
fn udp(netns: &NetNs, to: SocketAddr) -> UdpSocket {
    let any = SocketAddr::new(if to.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() }, 0);
    let socket = netns.run(|| UdpSocket::bind(any)).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.connect(to).unwrap();
    socket
}

/// There and back in fragments.
fn large_datagrams(client: &NetNs, server: &NetNs, to: IpAddr, own: IpAddr) {
    let listener = server.run(|| UdpSocket::bind((own, 0))).unwrap().unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let socket = udp(client, SocketAddr::new(to, listener.local_addr().unwrap().port()));
    let mut buffer = [0; 2 * LARGE];
    let mut exchange = |question: usize, answer: usize| -> std::io::Result<bool> {
        socket.send(&vec![1; question])?;
        let (length, from) = listener.recv_from(&mut buffer)?;
        listener.send_to(&vec![2; answer], from)?;
        Ok(length == question && socket.recv(&mut buffer)? == answer)
    };
    for (question, answer) in [(10, LARGE), (LARGE, 10), (LARGE, LARGE)] {
        // A datagram may be lost.
        let works = (0..5).any(|_| exchange(question, answer).is_ok_and(|right| right));
        assert!(works, "{to} ({own}): {question} bytes there, {answer} back");
    }
}

fn port_unreachable(client: &NetNs, to: IpAddr) {
    let socket = udp(client, SocketAddr::new(to, 9));
    let told = (0..5).any(|_| {
        let sent = socket.send(b"anybody?");
        let refused = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
        sent.is_err_and(|error| refused(&error))
            || socket.recv(&mut [0; 9]).is_err_and(|error| refused(&error))
    });
    assert!(told, "{to}: nobody says that nobody listens");
}

/// An open connection to each server.
struct Connections(Vec<(String, TcpStream, TcpStream)>);

impl Connections {
    fn open(scene: &Scene) -> Self {
        let client = scene.netns(&scene.client);
        let open = |(server, address, own): (&Pod, IpAddr, IpAddr)| {
            let listener = scene.netns(server).run(|| TcpListener::bind((own, 0))).unwrap().unwrap();
            let to = SocketAddr::new(address, listener.local_addr().unwrap().port());
            let near = client.run(|| TcpStream::connect_timeout(&to, DEADLINE)).unwrap().unwrap();
            let (far, _) = listener.accept().unwrap();
            for end in [&near, &far] {
                end.set_read_timeout(Some(DEADLINE)).unwrap();
            }
            (address.to_string(), near, far)
        };
        Self(scene.services().map(open).collect())
    }

    /// The server speaks first: its packet is the one that must find the node's stack.
    fn work(&self, when: &str) {
        for (address, near, far) in &self.0 {
            for (mut from, mut to) in [(far, near), (near, far)] {
                let mut heard = [0; 5];
                let told = from.write_all(b"hello").and_then(|()| to.read_exact(&mut heard));
                told.unwrap_or_else(|error| panic!("{when}: {address}: {error}"));
                assert_eq!(&heard, b"hello");
            }
        }
    }
}

/// Nobody tells a Pod of another router: the gateway is the only one.
fn redirects(netns: &NetNs) -> Socket {
    let open = || Socket::new(Domain::IPV4, Type::RAW.cloexec(), Some(Protocol::ICMPV4));
    let socket = netns.run(open).unwrap().unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn assert_no_redirect(mut socket: Socket) {
    let mut packet = [0; 2048];
    while let Ok(length) = socket.read(&mut packet) {
        let header = usize::from(packet[0] & 0xf) * 4;
        assert_ne!(packet[header], 5, "{:02x?}", &packet[..length]);
    }
}

fn translated_connections_work(encapsulation: &str) {
    let scene = Scene::new(encapsulation);
    let redirects = redirects(&scene.netns(&scene.client));
    assert_eq!(scene.via_node("node1"), 0);
    everything_works(&scene, "at first");
    let counted = scene.via_node("node1");
    assert!(counted > 100, "{counted} packets");
    assert_eq!(scene.via_node("node2"), 0, "the server's node has no part in it");

    // A Service of its own: masqueraded.
    let (client, own) = (scene.netns(&scene.client), scene.client.addresses());
    let _echo = EchoServer::start(&client, &own).unwrap();
    for (address, own) in service(4).into_iter().zip(own) {
        let seen = tcp_echo(&client, address, DEADLINE).unwrap();
        assert_ne!(seen, own);
    }

    let connections = Connections::open(&scene);
    connections.work("at first");
    let agent = scene.lab.state().unwrap().nodes[0].agent.unwrap();
    agent.kill(DEADLINE).unwrap();
    connections.work("without an agent");
    scene.lab.restart_agent("node1").unwrap();
    connections.work("with the next agent");
    let before = scene.via_node("node1");
    assert!(before > counted, "the counters go on");
    everything_works(&scene, "with the next agent");
    assert!(scene.via_node("node1") > before);
    assert_no_redirect(redirects);
}

#[test]
fn translated_connections_work_through_headers_written_by_the_programs() {
    translated_connections_work("direct");
}

#[test]
fn translated_connections_work_through_the_tunnels_device() {
    translated_connections_work("device");
}

#[test]
fn a_node_port_of_portmap_is_reached_from_everywhere() {
    let portmap = testkit::reference("cni/portmap");
    let lab = TestLab::up(2, Family::Dual, &["--services", "off"]).unwrap();
    let install = format!("cp {} /opt/cni/bin/", portmap.display());
    sh(&lab, &node1(), &install);
    let mappings = ["tcp", "udp"]
        .map(|protocol| json!({"hostPort": ECHO_PORT, "containerPort": ECHO_PORT, "protocol": protocol}));
    let arguments = json!({"portMappings": mappings}).as_object().unwrap().clone();
    let server = lab.add_pod_with("node1", "default", "server", arguments).unwrap();
    let neighbour = lab.add_pod("node1", "default", "neighbour").unwrap();
    let remote = lab.add_pod("node2", "default", "remote").unwrap();
    let netns = |of: &Target| lab.netns(of).unwrap();
    let _echo = EchoServer::start(&netns(&pod(&server)), &server.addresses()).unwrap();
    let state = lab.state().unwrap();
    let in_pod_network: Vec<IpAddr> =
        state.nodes[0].pod_cidrs.iter().map(|cidr| naming::subnet::node(*cidr).unwrap()).collect();
    for address in state.nodes[0].addresses.iter().chain(&in_pod_network) {
        for from in [pod(&neighbour), pod(&remote), pod(&server), Target::Node("node2".into())] {
            for (protocol, told) in [
                ("TCP", tcp_echo(&netns(&from), *address, DEADLINE)),
                ("UDP", udp_echo(&netns(&from), *address, DEADLINE)),
            ] {
                told.unwrap_or_else(|error| panic!("{from:?} to {address}, {protocol}: {error:#}"));
            }
        }
    }
    lab.delete_pod(&server.key).unwrap();
}
