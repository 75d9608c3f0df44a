//! What a node's own processes send to its ports that lead to Pods: rules and sets of the nftables table, and loopback
//! addresses at the interface that leads to Pods.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use plumbing::nft::{self, Element, Elements, LocalServices, Rules};
use plumbing::{Family, loopback};
use testkit::Namespace;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const TCP: u8 = 6;
const UDP: u8 = 17;
const NODE_PORT: u16 = 30080;
const HOST_PORT: u16 = 8080;
/// Longer than it takes to be allowed to use an IPv6 link (RFC 4862).
const WAIT: Duration = Duration::from_secs(10);

/// A node and what stands for its network: it has the gateway's addresses and a Pod's.
struct Scene {
    node: Namespace,
    network: Namespace,
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Gateway, Pod, the node's address on that interface, and one on another interface.
fn addresses(family: Family) -> [IpAddr; 4] {
    match family {
        Family::V4 => ["10.244.1.1", "10.244.1.9", "10.244.1.2", "192.0.2.1"].map(ip),
        Family::V6 => ["fd44::1", "fd44::9", "fd44::2", "2001:db8::1"].map(ip),
    }
}

fn rules(loopback: bool) -> Rules {
    let gateways = FAMILIES.map(|family| addresses(family)[0]).to_vec();
    Rules {
        pod_cidrs: vec!["10.244.1.0/24".parse().unwrap(), "fd44::/64".parse().unwrap()],
        inside: "inside".into(),
        source_ports: 40000..=40999,
        services: Some(LocalServices {
            gateways,
            loopback: if loopback { FAMILIES.to_vec() } else { Vec::new() },
        }),
    }
}

fn node_port(family: Family, protocol: u8, port: u16) -> (Element, Option<SocketAddr>) {
    (Element::NodePort { family, protocol, port }, None)
}

fn host_port(at: Option<IpAddr>, family: Family, port: u16, to: SocketAddr) -> (Element, Option<SocketAddr>) {
    (Element::HostPort { at, family, protocol: TCP, port }, Some(to))
}

/// A NodePort of TCP and UDP at the node's address, and a hostPort that leads to the Pod's port 80.
fn elements() -> Elements {
    let mut all = Elements::new();
    for family in FAMILIES {
        let [_, pod, own, _] = addresses(family);
        all.extend([node_port(family, TCP, NODE_PORT), node_port(family, UDP, NODE_PORT)]);
        all.insert(Element::NodePortAddress(own), None);
        all.extend([host_port(None, family, HOST_PORT, (pod, 80).into())]);
    }
    all
}

impl Scene {
    fn new() -> Self {
        let (node, network) = (Namespace::new(), Namespace::new());
        node.ip("link set lo up");
        node.ip(&format!("link add inside type veth peer name eth0 netns {}", network.path().display()));
        node.ip("link add up0 type veth peer name other");
        node.ip("link set up0 up");
        node.ip("link set inside up");
        network.ip("link set eth0 up");
        for (family, bits, net) in [(Family::V4, 32, 24), (Family::V6, 128, 64)] {
            let [gateway, pod, own, other] = addresses(family);
            let nodad = if family == Family::V6 { " nodad" } else { "" };
            node.ip(&format!("addr add {own}/{bits} dev inside{nodad}"));
            node.ip(&format!("addr add {other}/{bits} dev up0{nodad}"));
            node.ip(&format!("route add {gateway} dev inside"));
            node.ip(&format!("route add {pod} via {gateway}"));
            for address in [gateway, pod] {
                network.ip(&format!("addr add {address}/{net} dev eth0{nodad}"));
            }
            // Nobody is asked for who has that address: over IPv6 a host answers only for those of the interface.
            network.ip(&format!("route add {other} via {own}"));
        }
        Self { node, network }
    }

    fn apply(&self, loopback: bool, elements: &Elements) {
        self.node.run(|| rules(loopback).apply(elements)).unwrap();
    }

    /// Answers each TCP connection to an address of the network with its name and the client's address.
    fn serve(&self, at: SocketAddr) {
        let listener = self.network.run(|| TcpListener::bind(at)).unwrap();
        std::thread::spawn(move || {
            while let Ok((mut connection, client)) = listener.accept() {
                let _gone = connection.write_all(format!("{at} {}", client.ip()).as_bytes());
            }
        });
    }

    fn serve_udp(&self, at: SocketAddr) {
        let socket = self.network.run(|| UdpSocket::bind(at)).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 16];
            while let Ok((_, client)) = socket.recv_from(&mut buffer) {
                let _gone = socket.send_to(format!("{at} {}", client.ip()).as_bytes(), client);
            }
        });
    }

    /// Who answers a process of the node over TCP, and by which address it knows that process.
    fn connect(&self, to: SocketAddr) -> std::io::Result<String> {
        self.node.run(|| {
            let mut connection = TcpStream::connect_timeout(&to, WAIT)?;
            connection.set_read_timeout(Some(WAIT))?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            Ok(answer)
        })
    }

    fn ask_udp(&self, to: SocketAddr) -> std::io::Result<String> {
        self.node.run(|| {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(WAIT))?;
            socket.connect(to)?;
            socket.send(b"x")?;
            let mut buffer = [0; 100];
            let length = socket.recv(&mut buffer)?;
            Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
        })
    }
}

fn loopbacks(family: Family) -> IpAddr {
    ip(if family == Family::V4 { "127.0.0.1" } else { "::1" })
}

#[test]
fn a_process_of_the_node_reaches_its_own_ports() {
    let scene = Scene::new();
    scene.apply(true, &elements());
    scene.node.run(|| loopback::accept("inside", &FAMILIES)).unwrap();
    scene.node.run(|| loopback::accept("inside", &FAMILIES)).unwrap();
    assert!(scene.node.run(|| loopback::is_accepted("inside", &FAMILIES)).unwrap());
    for family in FAMILIES {
        let [gateway, pod, own, other] = addresses(family);
        scene.serve((gateway, NODE_PORT).into());
        scene.serve_udp((gateway, NODE_PORT).into());
        scene.serve((pod, 80).into());
        // The network knows a process by the address that it uses, and by that of the interface where it uses a loopback one.
        let seen = |at: IpAddr| if at.is_loopback() { own } else { at };
        for at in [own, loopbacks(family)] {
            let want = format!("{} {}", SocketAddr::from((gateway, NODE_PORT)), seen(at));
            assert_eq!(scene.connect((at, NODE_PORT).into()).unwrap(), want, "{at}");
            assert_eq!(scene.ask_udp((at, NODE_PORT).into()).unwrap(), want, "{at}");
        }
        for at in [own, other, loopbacks(family)] {
            let want = format!("{} {}", SocketAddr::from((pod, 80)), seen(at));
            assert_eq!(scene.connect((at, HOST_PORT).into()).unwrap(), want, "{at}");
        }
        // NodePorts are not served at that address, nor is that port.
        for (at, port) in [(other, NODE_PORT), (own, NODE_PORT + 1), (loopbacks(family), HOST_PORT + 1)] {
            let error = scene.connect((at, port).into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{at} {port}");
        }
    }
}

#[test]
fn loopback_addresses_are_served_only_where_they_are_accepted() {
    let scene = Scene::new();
    scene.apply(false, &elements());
    let accepted =
        |families: &[Family]| scene.node.run(|| loopback::is_accepted("inside", families)).unwrap();
    for family in FAMILIES {
        let [gateway, ..] = addresses(family);
        scene.serve((gateway, NODE_PORT).into());
        // They are not served: the host's own port is asked.
        let at = SocketAddr::from((loopbacks(family), NODE_PORT));
        assert_eq!(scene.connect(at).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(!accepted(&[family]));
        scene.node.run(|| loopback::accept("inside", &[family])).unwrap();
        assert!(accepted(&[family]));
        // By its own address the host still talks to itself.
        let listener = scene.node.run(|| TcpListener::bind((loopbacks(family), 0))).unwrap();
        let to = listener.local_addr().unwrap();
        std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"host").unwrap());
        assert_eq!(scene.connect(to).unwrap(), "host");
    }
    assert!(accepted(&FAMILIES) && !scene.node.run(|| loopback::is_accepted("none", &FAMILIES)).unwrap());
    scene.node.ip("-6 route del local ::1 dev inside table local");
    assert!(accepted(&[Family::V4]) && !accepted(&[Family::V6]));
}

#[test]
fn a_port_at_one_address_comes_before_one_at_all_and_that_before_a_node_port() {
    let scene = Scene::new();
    let mut all = elements();
    for family in FAMILIES {
        let [gateway, pod, _, other] = addresses(family);
        // The same number thrice: at one address, at all of them, and as a NodePort.
        all.extend([host_port(Some(other), family, NODE_PORT, (pod, 81).into())]);
        all.extend([host_port(None, family, NODE_PORT, (pod, 82).into())]);
        all.insert(Element::NodePortAddress(other), None);
        for to in [(gateway, NODE_PORT), (pod, 81), (pod, 82)] {
            scene.serve(to.into());
        }
    }
    scene.apply(true, &all);
    let answers = |at: IpAddr| scene.connect((at, NODE_PORT).into()).unwrap();
    for family in FAMILIES {
        let [gateway, pod, own, other] = addresses(family);
        let starts =
            |answer: String, to: (IpAddr, u16)| answer.starts_with(&SocketAddr::from(to).to_string());
        assert!(starts(answers(other), (pod, 81)));
        assert!(starts(answers(own), (pod, 82)));
        let (element, _) = host_port(None, family, NODE_PORT, (pod, 82).into());
        scene.node.run(|| nft::change(&[element], &Elements::new())).unwrap();
        assert!(starts(answers(own), (gateway, NODE_PORT)));
        assert!(starts(answers(other), (pod, 81)));
    }
}

/// A client's own address has to reach the Pod: only what the node itself sends is given another one.
#[test]
fn what_others_send_through_the_node_keeps_its_source() {
    let scene = Scene::new();
    scene.apply(true, &elements());
    let client = Namespace::new();
    scene.node.ip(&format!("link set other netns {}", client.path().display()));
    client.ip("link set other up");
    scene.node.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    for (family, address, bits) in [(Family::V4, "192.0.2.9", 32), (Family::V6, "2001:db8::9", 128)] {
        let [_, pod, own, other] = addresses(family);
        let nodad = if family == Family::V6 { " nodad" } else { "" };
        client.ip(&format!("addr add {address}/{bits} dev other{nodad}"));
        client.ip(&format!("route add {other} dev other"));
        client.ip(&format!("route add default via {other}"));
        scene.node.ip(&format!("route add {address} dev up0"));
        scene.network.ip(&format!("route add default via {own}"));
        scene.serve((pod, 80).into());
        // Somebody else's rule, as kube-proxy or portmap has it.
        let (name, protocol) = if family == Family::V4 { ("four", "ip") } else { ("six", "ip6") };
        let to = SocketAddr::from((pod, 80));
        let nfproto = if family == Family::V4 { "ipv4" } else { "ipv6" };
        scene.node.sh(&format!(
            "nft add table inet {name}\n\
             nft add chain inet {name} in '{{ type nat hook prerouting priority -100; }}'\n\
             nft add rule inet {name} in meta nfproto {nfproto} tcp dport 9 dnat {protocol} to {to}"
        ));
        let ask = || -> std::io::Result<String> {
            let mut connection = TcpStream::connect_timeout(&(other, 9).into(), WAIT)?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let want = format!("{to} {address}");
        let what = format!("{want} answers");
        testkit::wait_until(Duration::from_secs(20), &what, || client.run(ask).is_ok_and(|it| it == want));
    }
}

#[test]
fn elements_change_one_by_one_and_all_or_none() {
    let scene = Scene::new();
    let read = || scene.node.run(nft::elements).unwrap();
    assert_eq!(read(), Elements::new(), "no table");
    let mut wanted = elements();
    scene.apply(true, &wanted);
    assert_eq!(read(), wanted);
    let table = scene.node.run(nft::find).unwrap();
    let generation = || scene.node.run(nft::generation).unwrap().unwrap();

    // 10,000 NodePorts come and half of them go: two transactions, and the rules stay.
    let many: Elements =
        (20_000..25_000).flat_map(|port| FAMILIES.map(|family| node_port(family, TCP, port))).collect();
    let before = generation();
    scene.node.run(|| nft::change(&[], &many)).unwrap();
    let half: Vec<Element> = many.keys().copied().step_by(2).collect();
    scene.node.run(|| nft::change(&half, &Elements::new())).unwrap();
    assert_eq!(generation(), before + 2);
    wanted.extend(many);
    wanted.retain(|element, _| !half.contains(element));
    assert_eq!((read(), scene.node.run(nft::find).unwrap()), (wanted.clone(), table));

    // A hostPort that leads to another Pod.
    let (element, _) = host_port(None, Family::V4, HOST_PORT, "10.244.1.9:80".parse().unwrap());
    let other = Elements::from([(element, Some("10.244.1.8:8000".parse().unwrap()))]);
    scene.node.run(|| nft::change(&[element], &other)).unwrap();
    wanted.extend(other);
    assert_eq!(read(), wanted);

    // One that is not there: nothing changes.
    let (missing, _) = node_port(Family::V6, UDP, 1);
    let (there, _) = node_port(Family::V4, UDP, NODE_PORT);
    let new = Elements::from([node_port(Family::V4, TCP, 2)]);
    assert!(scene.node.run(|| nft::change(&[there, missing], &new)).is_err());
    assert_eq!(read(), wanted);
    // All of it in a new table at once.
    scene.apply(false, &wanted);
    assert_eq!(read(), wanted);
}

#[test]
fn administrators_see_what_is_there_and_changes_are_told() {
    let scene = Scene::new();
    let mut all = elements();
    all.extend([host_port(Some(ip("192.0.2.1")), Family::V4, 53, "10.244.1.9:5353".parse().unwrap())]);
    all.extend([host_port(Some(ip("2001:db8::1")), Family::V6, 53, "[fd44::9]:5353".parse().unwrap())]);
    scene.apply(true, &all);
    let find = || scene.node.run(nft::find).unwrap().unwrap();
    let made = find();
    scene.apply(true, &Elements::new());
    assert_eq!(find(), made, "elements are no part of it");
    scene.apply(true, &all);
    let shown = scene.node.sh("nft list table inet midonet-kube");
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "set node-ports-ipv4 { type inet_proto . inet_service",
        "tcp . 30080",
        "map host-ports-at-ipv4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
        "192.0.2.1 . tcp . 53 : 10.244.1.9 . 5353",
        "2001:db8::1 . tcp . 53 : fd44::9 . 5353",
        "type nat hook output priority -100",
        "fib daddr type != local return",
        "dnat ip to 10.244.1.1",
        "dnat ip6 to fd44::1",
        "ip daddr 127.0.0.0/8",
        "ip6 daddr ::1",
        "oifname \"inside\" ct status",
        "ip saddr 127.0.0.0/8",
        "ip6 saddr ::1",
        "masquerade to :40000-40999 fully-random",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    for change in [
        "nft add rule inet midonet-kube output accept",
        "nft add set inet midonet-kube theirs '{ type ipv4_addr; }'",
        "nft flush chain inet midonet-kube postrouting",
        "nft delete chain inet midonet-kube output",
    ] {
        scene.apply(true, &all);
        assert_eq!(find(), made);
        scene.node.sh(change);
        assert_ne!(find(), made, "{change}");
    }
}
