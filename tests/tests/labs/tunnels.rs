//! Tunnels between nodes: which addresses they have, which interfaces carry them, and how large a packet fits.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::process::Command;

use e2e::{DEADLINE, TestLab, node1, pod, sh};
use lab::probe::{ECHO_PORT, EchoServer, ping, tcp_echo, udp_echo};
use lab::{Family, Pod, Target};
use nodeapi::v1::Network;
use plumbing::NetNs;
use socket2::{Domain, Protocol, Socket, Type};

fn node(name: &str) -> Target {
    Target::Node(name.into())
}

/// Two nodes or more with a Pod on each.
struct Scene {
    // The order matters: the lab ends last.
    pods: Vec<Pod>,
    lab: TestLab,
}

impl Scene {
    fn new(nodes: u8, family: Family, agent_args: &[&str]) -> Self {
        let lab = TestLab::up(nodes, family, agent_args).unwrap();
        let add = |number| lab.add_pod(&format!("node{number}"), "default", &format!("pod{number}")).unwrap();
        Self { pods: (1..=nodes).map(add).collect(), lab }
    }

    fn on(&self, name: &str, line: &str) -> String {
        sh(&self.lab, &node(name), line)
    }

    /// Rewrites a word in the manifest of a node.
    fn edit(&self, name: &str, change: impl FnOnce(String) -> String) {
        let path = self.lab.manifests().join(format!("node-{name}.yaml"));
        let new = path.with_extension("tmp");
        fs::write(&new, change(fs::read_to_string(&path).unwrap())).unwrap();
        fs::rename(&new, &path).unwrap();
    }

    fn network(&self, name: &str) -> Network {
        self.lab.status(name).unwrap().network.unwrap()
    }

    /// What a node's agent complains of, with what to do.
    fn complaints(&self, name: &str) -> String {
        let status = self.lab.status(name).unwrap();
        let problems = status.problems.into_iter();
        let problems = problems.map(|one| format!("{}: {}; {}", one.object, one.problem, one.remedy));
        problems.chain([status.agent.unwrap().not_ready_reason]).collect()
    }

    /// Where a node's tunnels to another one end.
    fn tunnel(&self, from: &str, to: &str) -> String {
        let peers = self.lab.status(from).unwrap().peers;
        peers.into_iter().find(|peer| peer.node == to).map(|peer| peer.tunnel_address).unwrap_or_default()
    }

    /// Every Pod reaches every other, with small and with large packets.
    fn talk(&self, when: &str) {
        let netns = |of: &Pod| self.lab.netns(&pod(of)).unwrap();
        for to in &self.pods {
            let _server = EchoServer::start(&netns(to), &to.addresses()).unwrap();
            for from in self.pods.iter().filter(|from| from.key != to.key) {
                for address in to.addresses() {
                    let what = format!("{when}: {} -> {address}", from.key);
                    ping(&netns(from), address, DEADLINE).unwrap_or_else(|error| panic!("{what}: {error:#}"));
                    udp_echo(&netns(from), address, DEADLINE)
                        .unwrap_or_else(|error| panic!("{what}: {error:#}"));
                    tcp_echo(&netns(from), address, DEADLINE)
                        .unwrap_or_else(|error| panic!("{what}: {error:#}"));
                    // Larger than any packet: in fragments.
                    let line = format!("ping -c3 -i0.3 -W20 -s 3000 {address} >&2");
                    sh(&self.lab, &pod(from), &line);
                }
            }
        }
    }

    fn wait(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        testkit::wait_until(DEADLINE, what, || condition(self));
    }
}

#[test]
fn nodes_that_list_their_addresses_in_different_orders_understand_each_other() {
    let scene = Scene::new(3, Family::Dual, &[]);
    scene.edit("node3", |text| {
        text.replace("172.30.0.13", "first").replace("fd30::d", "172.30.0.13").replace("first", "fd30::d")
    });
    scene.wait("the new order is known", |scene| scene.network("node3").tunnel_address == "fd30::d");
    for (from, to, end) in [("node1", "node3", "172.30.0.13"), ("node3", "node1", "172.30.0.11")] {
        scene.wait(&format!("{from} -> {to} over IPv4"), |scene| scene.tunnel(from, to) == end);
    }
    scene.talk("with another order");
    // Two families at once: one node has IPv6 alone.
    scene.edit("node3", |text| text.replace("172.30.0.13", "fd30::d"));
    for (from, to, end) in
        [("node1", "node3", "fd30::d"), ("node3", "node1", "fd30::b"), ("node1", "node2", "172.30.0.12")]
    {
        scene.wait(&format!("{from} -> {to} at {end}"), |scene| scene.tunnel(from, to) == end);
    }
    scene.talk("with one node over IPv6");
}

#[test]
fn a_second_address_of_the_uplink_is_not_the_tunnels_source() {
    for args in [&[][..], &["--encapsulation=device"]] {
        let scene = Scene::new(2, Family::V4, args);
        scene.on("node1", "ip addr add 172.30.0.51/24 dev eth0");
        scene.edit("node1", |text| text.replace("172.30.0.11", "172.30.0.51"));
        scene.wait("the address is known", |scene| scene.tunnel("node2", "node1") == "172.30.0.51");
        let route = scene.on("node1", "ip route get 172.30.0.12");
        assert!(route.contains("src 172.30.0.11"), "routing would choose another: {route}");
        scene.wait("it is in use", |scene| scene.network("node1").tunnel_address == "172.30.0.51");
        scene.talk(&format!("{args:?}"));
    }
    let scene = Scene::new(2, Family::V6, &[]);
    for change in [
        "ip addr add fd30::a:1/64 dev eth0 nodad",
        "ip addr del fd30::a:1/64 dev eth0; ip addr add fd30::fff1/128 dev eth0 nodad; \
         ip route replace fd30::c dev eth0 src fd30::fff1",
    ] {
        scene.on("node1", change);
        let route = scene.on("node1", "ip route get fd30::c");
        assert!(!route.contains("src fd30::b "), "routing would choose another: {route}");
        scene.talk(change);
    }
}

/// A connection from one address to an echo server: whom the server saw.
fn connect_from(netns: &NetNs, source: IpAddr, server: IpAddr) -> String {
    let stream = netns.run(|| {
        let socket =
            Socket::new(Domain::for_address(SocketAddr::new(server, 0)), Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect_timeout(&SocketAddr::new(server, ECHO_PORT).into(), DEADLINE)?;
        std::io::Result::Ok(TcpStream::from(socket))
    });
    let mut stream = stream.unwrap().unwrap_or_else(|error| panic!("{source} -> {server}: {error}"));
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let sent = vec![b'x'; 20_000];
    stream.write_all(&sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&sent), "{} bytes came back", answer.len());
    String::from_utf8_lossy(&answer[..answer.len() - sent.len()]).trim().to_owned()
}

#[test]
fn a_process_that_binds_to_its_nodes_address_reaches_every_pod() {
    for args in [&[][..], &["--encapsulation=device"]] {
        let scene = Scene::new(2, Family::Dual, args);
        let strict = "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 > $f; done";
        for name in ["node1", "node2"] {
            scene.on(name, strict);
        }
        let host = scene.lab.netns(&node1()).unwrap();
        let own: [IpAddr; 2] = ["172.30.0.11", "fd30::b"].map(|address| address.parse().unwrap());
        for to in &scene.pods {
            let _server = EchoServer::start(&scene.lab.netns(&pod(to)).unwrap(), &to.addresses()).unwrap();
            for server in to.addresses() {
                let source = own.into_iter().find(|own| own.is_ipv4() == server.is_ipv4()).unwrap();
                assert_eq!(connect_from(&host, source, server), source.to_string(), "{server}");
                scene.on("node1", &format!("ping -c2 -i0.3 -W20 -I {source} {server} >&2"));
            }
        }
        // What a Pod begins itself still leaves by its node.
        let _server = EchoServer::start(&host, &own).unwrap();
        let netns = scene.lab.netns(&pod(&scene.pods[1])).unwrap();
        for (to, masqueraded) in own.into_iter().zip(["172.30.0.12", "fd30::c"]) {
            assert_eq!(tcp_echo(&netns, to, DEADLINE).unwrap().to_string(), masqueraded);
        }
        scene.talk("afterwards");
    }
}

#[test]
fn tunnels_follow_the_routes_when_the_nodes_addresses_are_on_the_loopback_interface() {
    for (family, own, routers) in [
        (Family::V4, ["10.99.0.1/32", "10.99.0.2/32"], ["172.30.0.11", "172.30.0.12"]),
        (Family::V6, ["fd99::1/128", "fd99::2/128"], ["fd30::b", "fd30::c"]),
    ] {
        let scene = Scene::new(2, family, &[]);
        let address = |number: usize| own[number].split('/').next().unwrap();
        let before = scene.network("node1").mtu;
        for (number, name) in ["node1", "node2"].into_iter().enumerate() {
            let (here, there) = (address(number), address(1 - number));
            // Without nodad it is no source until the kernel's work queue has looked at it.
            let nodad = if family == Family::V6 { "nodad" } else { "" };
            scene.on(name, &format!("ip addr add {} dev lo {nodad}", own[number]));
            scene.on(name, &format!("ip route add {there} via {} src {here}", routers[1 - number]));
            scene.edit(name, |text| {
                text.replace(&format!("address: {}\n", routers[number]), &format!("address: {here}\n"))
            });
        }
        for name in ["node1", "node2"] {
            scene.wait("the addresses are in use", |scene| {
                let network = scene.network(name);
                own.iter().any(|own| own.starts_with(&network.tunnel_address)) && network.uplink == "eth0"
            });
            let network = scene.network(name);
            let encapsulation = if family == Family::V4 { "direct" } else { "device" };
            assert_eq!((network.mtu, network.encapsulation.as_str()), (before, encapsulation));
        }
        scene.wait("each knows the other", |scene| {
            scene.tunnel("node1", "node2") == address(1) && scene.tunnel("node2", "node1") == address(0)
        });
        scene.talk(own[0]);
    }
}

#[test]
fn an_uplink_can_be_a_bridge() {
    let scene = Scene::new(2, Family::V4, &[]);
    for (name, address) in [("node1", "172.30.0.11"), ("node2", "172.30.0.12")] {
        scene.on(
            name,
            &format!(
                "set -e; ip addr flush dev eth0 scope global; ip link add br0 type bridge; ip link set eth0 master br0; \
                 ip link set br0 up; ip addr add {address}/24 dev br0; ip route replace default via 172.30.0.1"
            ),
        );
    }
    for name in ["node1", "node2"] {
        scene.wait(&format!("{name} has the uplink br0"), |scene| scene.network(name).uplink == "br0");
        assert_eq!(scene.network(name).encapsulation, "direct");
        scene.wait("nothing is wrong", |scene| scene.complaints(name).is_empty());
    }
    let before = ["node1", "node2"].map(|name| scene.lab.counted(name, "direct_in").unwrap());
    scene.talk("over a bridge");
    for (name, before) in ["node1", "node2"].into_iter().zip(before) {
        assert!(scene.lab.counted(name, "direct_in").unwrap() > before, "{name}");
    }
}

#[test]
fn several_uplinks_share_the_tunnels() {
    let scene = Scene::new(2, Family::V4, &[]);
    let state = scene.lab.state().unwrap();
    let netns = |number: usize| format!("/proc/{}/ns/net", state.nodes[number].init.pid);
    for wire in [1, 2] {
        let line =
            format!("link add name wire{wire} netns {} type veth peer name wire{wire} netns", netns(0));
        testkit::run(Command::new("ip").args(line.split(' ')).arg(netns(1)));
    }
    for (here, there) in [(1, 2), (2, 1)] {
        let name = format!("node{here}");
        for wire in [1, 2] {
            scene.on(
                &name,
                &format!("ip link set wire{wire} up; ip addr add 10.9{wire}.0.{here}/24 dev wire{wire}"),
            );
        }
        scene.on(&name, &format!("ip link set wire2 mtu 1480; ip addr add 10.99.0.{here}/32 dev lo"));
        scene.on(
            &name,
            &format!(
                "ip route add 10.99.0.{there} src 10.99.0.{here} nexthop via 10.91.0.{there} dev wire1 \
                 nexthop via 10.92.0.{there} dev wire2; echo 1 > /proc/sys/net/ipv4/fib_multipath_hash_policy"
            ),
        );
        scene.edit(&name, |text| text.replace(&format!("172.30.0.1{here}"), &format!("10.99.0.{here}")));
    }
    for name in ["node1", "node2"] {
        scene.wait(&format!("{name} has both uplinks"), |scene| scene.network(name).uplink == "wire1, wire2");
        scene.wait("the smaller one's MTU counts", |scene| scene.network(name).mtu == 1430);
        scene.wait("nothing is wrong", |scene| scene.complaints(name).is_empty());
    }
    let received = |wire: u8| {
        let packets: u64 = scene
            .on("node2", &format!("cat /sys/class/net/wire{wire}/statistics/rx_packets"))
            .trim()
            .parse()
            .unwrap();
        packets
    };
    let before = [received(1), received(2)];
    scene.talk("over two uplinks");
    // Each connection takes one of them.
    let _server =
        EchoServer::start(&scene.lab.netns(&pod(&scene.pods[1])).unwrap(), &scene.pods[1].addresses())
            .unwrap();
    for _ in 0..128 {
        tcp_echo(&scene.lab.netns(&pod(&scene.pods[0])).unwrap(), scene.pods[1].addresses()[0], DEADLINE)
            .unwrap();
    }
    assert!(received(1) > before[0] + 100 && received(2) > before[1] + 100);
    assert!(scene.lab.counted("node2", "direct_in").unwrap() > 0);
}

#[test]
fn an_uplink_with_a_small_mtu_carries_ipv4() {
    for mtu in [1280, 1000] {
        let scene = Scene::new(2, Family::V4, &[]);
        for name in ["node1", "node2"] {
            scene.on(name, &format!("ip link set eth0 mtu {mtu}"));
            scene.wait("Pods follow", |scene| scene.network(name).mtu == mtu - 50);
            scene.wait("nothing is wrong", |scene| scene.complaints(name).is_empty());
        }
        let late = scene.lab.add_pod("node1", "default", "late").unwrap();
        let shown = sh(&scene.lab, &pod(&late), "ip link show eth0");
        assert!(shown.contains(&format!("mtu {} ", mtu - 50)), "{shown}");
        scene.lab.restart_agent("node1").unwrap();
        let _server =
            EchoServer::start(&scene.lab.netns(&pod(&scene.pods[1])).unwrap(), &scene.pods[1].addresses())
                .unwrap();
        for from in [&late, &scene.pods[0]] {
            tcp_echo(&scene.lab.netns(&pod(from)).unwrap(), scene.pods[1].addresses()[0], DEADLINE).unwrap();
        }
    }
}

#[test]
fn an_uplink_too_small_for_ipv6_is_refused_with_a_remedy_that_helps() {
    let scene = Scene::new(2, Family::Dual, &[]);
    scene.on("node1", "ip link set eth0 mtu 1310");
    let why = |scene: &Scene| scene.complaints("node1");
    scene.wait("it is refused", |scene| why(scene).contains("below the least of 1280"));
    let said = why(&scene);
    assert!(said.contains("raise the MTU of eth0 by 20, or give Pods IPv4 alone"), "{said}");
    for name in ["node1", "node2"] {
        scene.on(name, "ip link set eth0 mtu 1330");
        scene.wait("Pods follow", |scene| scene.network(name).mtu == 1280);
    }
    scene.wait("nothing is wrong", |scene| why(scene).is_empty());
    scene.talk("with the least MTU");
}

#[test]
fn a_routes_mtu_counts_for_pods() {
    for (family, route, overhead) in [(Family::V4, "172.30.0.12", 50), (Family::V6, "fd30::c", 70)] {
        let scene = Scene::new(2, family, &[]);
        scene.on("node1", &format!("ip route add {route} dev eth0 mtu 1400"));
        scene.wait("Pods follow", |scene| scene.network("node1").mtu == 1400 - overhead);
        scene.talk(route);
        scene.on("node1", &format!("ip route del {route} dev eth0"));
        scene.wait("Pods follow again", |scene| scene.network("node1").mtu == 1500 - overhead);
    }
}

/// Packets between the nodes pass a router behind which the path is narrower.
#[test]
fn a_path_mtu_that_the_node_has_learned_reaches_the_sender() {
    for (family, router, other, largest) in
        [(Family::V4, "172.30.0.1", "172.30.0.12", 1350), (Family::V6, "fd30::1", "fd30::c", 1330)]
    {
        let scene = Scene::new(2, family, &[]);
        let [a, b] = [&scene.pods[0], &scene.pods[1]];
        let target = b.addresses()[0];
        sh(
            &scene.lab,
            &Target::Fabric,
            &format!(
                "for f in all underlay; do echo 0 > /proc/sys/net/ipv4/conf/$f/send_redirects; done; \
                 ip route add {other} dev underlay mtu lock 1400"
            ),
        );
        scene.on("node1", &format!("ip route add {other} via {router}"));
        if family == Family::V4 {
            // Tunnels' packets over IPv4 may be fragmented: only others teach the node.
            scene.on("node1", &format!("ping -c2 -i0.3 -W20 -M do -s 1450 {other} >&2 || true"));
        }
        let _server = EchoServer::start(&scene.lab.netns(&pod(b)).unwrap(), &b.addresses()).unwrap();
        tcp_echo(&scene.lab.netns(&pod(a)).unwrap(), target, DEADLINE).unwrap();
        let learned = scene.on("node1", &format!("ip route get {other}"));
        assert!(learned.contains("mtu 1400"), "{learned}");
        let headers = if family == Family::V4 { 28 } else { 48 };
        let probe = |size: u32| {
            let line = format!("ping -c3 -i0.3 -W20 -M do -s {} {target}", size - headers);
            let output = scene.lab.output(&pod(a), "sh", &["-c", &line]).unwrap();
            let said = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8_lossy(&said).into_owned())
        };
        let (arrived, said) = probe(largest + 1);
        assert!(
            !arrived
                && [format!("mtu={largest}"), format!("mtu: {largest}")].iter().any(|mtu| said.contains(mtu)),
            "{said}"
        );
        let (arrived, said) = probe(largest);
        assert!(arrived, "{said}");
        assert!(scene.lab.counted("node1", "too_big").unwrap() > 0);
    }
}

#[test]
fn the_tunnels_port_and_vni_are_settings() {
    for (encapsulation, counter) in [("direct", "direct_in"), ("device", "overlay_in")] {
        let encapsulation = format!("--encapsulation={encapsulation}");
        let args = ["--tunnel-port=14789", "--vni=16777215", &encapsulation];
        let scene = Scene::new(2, Family::Dual, &args);
        let network = scene.network("node1");
        assert_eq!((network.overlay_port, network.vni), (14_789, 16_777_215));
        let shown = scene.on("node1", "ip -d link show midokube-vxlan");
        assert!(shown.contains("dstport 14789"), "{shown}");
        scene.talk("with another port and VNI");
        assert!(scene.lab.counted("node1", counter).unwrap() > 0, "{counter}");
    }
}
