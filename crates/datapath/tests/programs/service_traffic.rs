//! Services with real packets: from Pods, from the node, and from outside.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use crate::support::real::*;
use crate::support::services::*;
use crate::support::*;
use datapath::NodeConfig;
use testkit::Namespace;
use testkit::packet::{TCP, UDP};

const PATIENCE: Duration = Duration::from_secs(10);

/// Where backends listen, for TCP and UDP.
const PORT: u16 = 8080;

/// A Service's addresses, one of each family.
const CLUSTER_IPS: [&str; 2] = ["10.96.0.10", "fd96::10"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Answers every connection and datagram in a namespace with what `name` says and whom it sees.
struct Server;

impl Server {
    /// At every address there, by one socket for each protocol.
    fn start(netns: &Namespace, name: &'static str, port: u16) {
        netns.run(|| {
            let tcp = TcpListener::bind(("::", port)).unwrap();
            let udp = UdpSocket::bind(("::", port)).unwrap();
            std::thread::spawn(move || {
                for stream in tcp.incoming() {
                    let Ok(mut stream) = stream else { return };
                    let peer = stream.peer_addr().unwrap();
                    std::thread::spawn(move || {
                        let mut request = [0; 64];
                        while let Ok(length) = stream.read(&mut request) {
                            if length == 0 || stream.write_all(answer(name, peer).as_bytes()).is_err() {
                                return;
                            }
                        }
                    });
                }
            });
            std::thread::spawn(move || {
                let mut request = [0; 64];
                while let Ok((_, peer)) = udp.recv_from(&mut request) {
                    udp.send_to(answer(name, peer).as_bytes(), peer).unwrap();
                }
            });
        });
    }
}

fn answer(name: &str, peer: SocketAddr) -> String {
    format!("{name} {}", peer.ip().to_canonical())
}

/// What the server at an address says over TCP and over UDP; they say the same.
fn ask(address: IpAddr, port: u16) -> Result<String, String> {
    let to = SocketAddr::new(address, port);
    let mut stream =
        TcpStream::connect_timeout(&to, PATIENCE).map_err(|error| format!("connect: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = Vec::new();
    for _ in 0..3 {
        stream.write_all(b"?").map_err(|error| format!("write: {error}"))?;
        let mut buffer = [0; 128];
        let length = stream.read(&mut buffer).map_err(|error| format!("read: {error}"))?;
        said.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(to).unwrap();
    for _ in 0..3 {
        socket.send(b"?").map_err(|error| format!("send: {error}"))?;
        let mut buffer = [0; 128];
        let length = socket.recv(&mut buffer).map_err(|error| format!("recv: {error}"))?;
        said.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    let first = said[0].clone();
    assert!(said.iter().all(|other| *other == first), "{said:?}");
    Ok(first)
}

/// Services are on, and the kernel sends those for ClusterIPs to the datapath, as the agent's routes do.
fn serve(node: &mut RealNode, address: [&str; 2]) -> Maps {
    let config = NodeConfig {
        services: true,
        node_address4: Some(address[0].parse().unwrap()),
        node_address6: Some(address[1].parse().unwrap()),
        tunnel_address4: Some(address[0].parse().unwrap()),
        direct: true,
        ..node.netns.run(|| RealNode::config(node.number))
    };
    node.datapath.set_config(&config).unwrap();
    let gateways = node.addresses(1);
    node.netns.run(|| {
        run("ip", &format!("route add 10.96.0.0/16 via {} dev node", gateways[0]));
        run("ip", &format!("route add fd96::/64 via {} dev node", gateways[1]));
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    });
    let maps = Maps::new(&node.pin_dir.join("programs"));
    for address in address {
        maps.own(ip(address), OWN_ADDRESS | NODE_PORTS);
    }
    maps
}

/// A Service of both families for TCP and UDP, with one backend in each.
fn service(maps: &mut Maps, scope: u8, port: u16, backends: [End; 2]) {
    for (frontend, backend) in CLUSTER_IPS.map(ip).into_iter().zip(backends) {
        for protocol in [TCP, UDP] {
            maps.serve(scope, protocol, (frontend, port), &Service::new(1, &[backend]));
            maps.serve_port(protocol, port);
        }
    }
}

#[test]
fn a_cluster_ip_leads_to_a_pod_of_the_node_from_pods_and_the_node() {
    sandbox(|bpffs| {
        let mut node = RealNode::new(bpffs, 1, 2);
        let mut maps = serve(&mut node, ["192.0.2.1", "2001:db8::1"]);
        let (client, backend) = (node.addresses(3), node.addresses(4));
        let own = node.addresses(2);
        Server::start(&node.pods[1], "b", PORT);
        service(&mut maps, SCOPE_ADDRESS, 80, backend.map(|address| (address, PORT)));
        for family in [0, 1] {
            let cluster_ip = ip(CLUSTER_IPS[family]);
            let said = node.pods[0].run(|| ask(cluster_ip, 80));
            assert_eq!(said, Ok(format!("b {}", client[family])), "{:?}", node.fates());
            let said = node.netns.run(|| ask(cluster_ip, 80));
            assert_eq!(said, Ok(format!("b {}", own[family])), "from the node: {:?}", node.fates());
            // Itself, which sees the gateway.
            let said = node.pods[1].run(|| ask(cluster_ip, 80));
            assert_eq!(said, Ok(format!("b {}", node.addresses(1)[family])), "hairpin: {:?}", node.fates());
            let said = node.pods[0].run(|| ask(cluster_ip, 81));
            assert!(said.is_err());
        }
        assert!(maps.counts(1).0 > 0);
    });
}

/// Two nodes and a host outside on one wire; both families reach everybody.
fn two_nodes(bpffs: &Path) -> ([RealNode; 2], Namespace, [Maps; 2]) {
    let mut nodes = connected(bpffs, ["192.0.2.1", "192.0.2.2"], [true; 2]);
    let outside = Namespace::new();
    // A bridge in the outside's namespace joins the wires.
    nodes[0].netns.run(|| run("ip", "link del underlay"));
    outside.run(|| {
        run("ip", "link set lo up");
        run("ip", "link add wire type bridge");
        run("ip", "link set wire up");
        run("ip", "addr add 192.0.2.9/24 dev wire");
        run("ip", "addr add 2001:db8::9/64 dev wire nodad");
    });
    let path = outside.path().display().to_string();
    for (number, node) in nodes.iter_mut().enumerate() {
        let address = number + 1;
        let RealNode { netns, datapath, .. } = node;
        netns.run(|| {
            run("ip", &format!("link add name underlay type veth peer name wire{address} netns {path}"));
            run("ip", "link set underlay up");
            run("ip", &format!("addr add 192.0.2.{address}/24 dev underlay"));
            run("ip", &format!("addr add 2001:db8::{address}/64 dev underlay nodad"));
            hook().attach_uplinks(bpffs, datapath, &["underlay"]).unwrap();
        });
        outside.run(|| run("ip", &format!("link set wire{address} up master wire")));
    }
    let maps = [
        serve(&mut nodes[0], ["192.0.2.1", "2001:db8::1"]),
        serve(&mut nodes[1], ["192.0.2.2", "2001:db8::2"]),
    ];
    for number in [0, 1] {
        let other = 2 - number as u8;
        for (address, end) in [("192.0.2.", "192.0.2."), ("2001:db8::", "192.0.2.")] {
            let end = Some(ip(&format!("{end}{other}")));
            nodes[number].datapath.set_node(ip(&format!("{address}{other}")), end).unwrap();
            let own = ip(&format!("{address}{}", number + 1));
            nodes[number].datapath.set_node(own, None).unwrap();
        }
    }
    (nodes, outside, maps)
}

#[test]
fn services_lead_to_another_node_and_from_outside() {
    sandbox(|bpffs| {
        let (nodes, outside, mut maps) = two_nodes(bpffs);
        let fates = || (nodes[0].fates(), nodes[1].fates());
        Server::start(&nodes[1].pods[0], "far", PORT);
        Server::start(&nodes[0].pods[0], "near", PORT);
        Server::start(&nodes[0].netns, "host1", 9000);
        Server::start(&nodes[1].netns, "host2", 9000);
        let far = nodes[1].addresses(3).map(|address| (address, PORT));
        let near = nodes[0].addresses(3).map(|address| (address, PORT));
        let host1 = ["192.0.2.1", "2001:db8::1"].map(|address| (ip(address), 9000));
        let host2 = ["192.0.2.2", "2001:db8::2"].map(|address| (ip(address), 9000));
        for maps in &mut maps {
            for (port, backends) in [(80, far), (81, near), (82, host1), (83, host2)] {
                service(maps, SCOPE_ADDRESS, port, backends);
                service(maps, SCOPE_NODE_PORT, 30_000 + port, backends);
            }
        }
        for family in [0, 1] {
            let cluster_ip = ip(CLUSTER_IPS[family]);
            let pod = nodes[0].addresses(3)[family];
            let own = nodes[0].addresses(2)[family];
            let node_ip = [ip("192.0.2.1"), ip("2001:db8::1")][family];
            let client = [ip("192.0.2.9"), ip("2001:db8::9")][family];
            let gateway = nodes[0].addresses(1)[family];
            let from_pod = |port| nodes[0].pods[0].run(|| ask(cluster_ip, port));
            assert_eq!(from_pod(80), Ok(format!("far {pod}")), "{:?}", fates());
            assert_eq!(from_pod(81), Ok(format!("near {gateway}")), "{:?}", fates());
            assert_eq!(from_pod(82), Ok(format!("host1 {pod}")), "{:?}", fates());
            assert_eq!(from_pod(83), Ok(format!("host2 {node_ip}")), "{:?}", fates());
            let from_node = |port| nodes[0].netns.run(|| ask(cluster_ip, port));
            assert_eq!(from_node(80), Ok(format!("far {own}")), "{:?}", fates());
            assert_eq!(from_node(81), Ok(format!("near {own}")), "{:?}", fates());
            assert_eq!(from_node(82), Ok(format!("host1 {gateway}")), "{:?}", fates());
            assert_eq!(from_node(83), Ok(format!("host2 {node_ip}")), "{:?}", fates());
            let from_outside = |port| outside.run(|| ask(node_ip, port));
            assert_eq!(from_outside(30_081), Ok(format!("near {client}")), "{:?}", fates());
            assert_eq!(from_outside(30_080), Ok(format!("far {client}")), "{:?}", fates());
            assert_eq!(from_outside(30_082), Ok(format!("host1 {client}")), "{:?}", fates());
            assert_eq!(from_outside(30_083), Ok(format!("host2 {node_ip}")), "{:?}", fates());
            // Without a Service.
            let said = nodes[0].pods[0].run(|| ask(node_ip, 9000));
            assert_eq!(said, Ok(format!("host1 {pod}")), "{:?}", fates());
            // A Pod, at any node's address.
            let node2 = [ip("192.0.2.2"), ip("2001:db8::2")][family];
            for address in [node_ip, node2] {
                let said = nodes[0].pods[0].run(|| ask(address, 30_080));
                assert_eq!(said, Ok(format!("far {pod}")), "{address}: {:?}", fates());
            }
        }
    });
}
