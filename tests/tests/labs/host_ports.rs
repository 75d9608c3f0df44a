//! A Pod's hostPort, from everywhere: Pods, other nodes, and processes of its node, also at loopback addresses. It is the
//! Pod's as long as its sandbox is there, whatever becomes of the agent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use e2e::{DEADLINE, TestLab, node1, pod, sh};
use lab::probe::{ECHO_PORT, EchoServer, tcp_echo, udp_echo};
use lab::{Family, Pod, Target};
use naming::GATEWAY_MAC;
use plumbing::NetNs;
use serde_json::{Value, json};
use testkit::packet::{self, udp_to};

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// How long nothing may come.
const QUIET: Duration = Duration::from_millis(500);

struct Scene {
    lab: TestLab,
    server: Pod,
    neighbour: Pod,
    remote: Pod,
    echo: Option<EchoServer>,
}

fn mappings(host_ip: &str) -> Value {
    let one = |protocol: &str| json!({"hostPort": ECHO_PORT, "containerPort": ECHO_PORT, "protocol": protocol, "hostIP": host_ip});
    json!({"portMappings": (["tcp", "udp"].map(one))})
}

fn add(lab: &TestLab, name: &str, host_ip: &str) -> anyhow::Result<Pod> {
    lab.add_pod_with("node1", "default", name, mappings(host_ip).as_object().unwrap().clone())
}

impl Scene {
    fn new(host_ip: &str) -> Self {
        let lab = TestLab::up(2, Family::Dual, &[]).unwrap();
        let server = add(&lab, "server", host_ip).unwrap();
        let neighbour = lab.add_pod("node1", "default", "neighbour").unwrap();
        let remote = lab.add_pod("node2", "default", "remote").unwrap();
        let netns = lab.netns(&pod(&server)).unwrap();
        let echo = EchoServer::start(&netns, &server.addresses()).unwrap();
        Self { lab, server, neighbour, remote, echo: Some(echo) }
    }

    fn netns(&self, of: &Target) -> NetNs {
        self.lab.netns(of).unwrap()
    }

    /// The addresses of node1, and those in its podCIDRs.
    fn addresses(&self) -> Vec<IpAddr> {
        let node = &self.lab.state().unwrap().nodes[0];
        let in_pod_network = node.pod_cidrs.iter().map(|cidr| naming::subnet::node(*cidr).unwrap());
        node.addresses.iter().copied().chain(in_pod_network).collect()
    }

    fn is_reached(&self, from: &Target, at: IpAddr) {
        let netns = self.netns(from);
        for (protocol, told) in
            [("TCP", tcp_echo(&netns, at, DEADLINE)), ("UDP", udp_echo(&netns, at, DEADLINE))]
        {
            told.unwrap_or_else(|error| panic!("{from:?} to {at}, {protocol}: {error:#}"));
        }
    }

    fn is_not_reached(&self, from: &Target, at: IpAddr) {
        assert!(tcp_echo(&self.netns(from), at, QUIET).is_err(), "{from:?} to {at}");
    }

    fn is_reached_from_everywhere(&self) {
        let others =
            [pod(&self.neighbour), pod(&self.remote), pod(&self.server), Target::Node("node2".into())];
        for at in self.addresses() {
            for from in others.iter().chain([&node1()]) {
                self.is_reached(from, at);
            }
        }
        for at in LOOPBACK {
            self.is_reached(&node1(), at);
        }
    }
}

#[test]
fn it_is_reached_from_everywhere_and_outlives_the_agent() {
    let mut scene = Scene::new("");
    scene.is_reached_from_everywhere();
    scene.lab.check_pod(&scene.server.key).unwrap();

    // Its number belongs to one Pod.
    let error = format!("{:#}", add(&scene.lab, "second", "").unwrap_err());
    assert!(error.contains("default/server") && error.contains(&ECHO_PORT.to_string()), "{error}");

    // Nobody says goodbye: what the next agent knows is what is written down.
    let agent = scene.lab.state().unwrap().nodes[0].agent.unwrap();
    agent.kill(DEADLINE).unwrap();
    scene.is_reached_from_everywhere();
    scene.lab.start_agent("node1").unwrap();
    scene.is_reached_from_everywhere();
    scene.lab.check_pod(&scene.server.key).unwrap();
    assert!(add(&scene.lab, "second", "").is_err());

    // What somebody removes comes back.
    sh(&scene.lab, &node1(), "nft flush ruleset");
    testkit::wait_until(DEADLINE, "the table is there again", || {
        tcp_echo(&scene.netns(&node1()), LOOPBACK[0], QUIET).is_ok()
    });
    scene.is_reached_from_everywhere();

    // It goes with its Pod, and another one gets it.
    drop(scene.echo.take());
    scene.lab.delete_pod(&scene.server.key).unwrap();
    for at in LOOPBACK.into_iter().chain(scene.addresses()) {
        scene.is_not_reached(&node1(), at);
        if !at.is_loopback() {
            scene.is_not_reached(&pod(&scene.remote), at);
        }
    }
    scene.server = add(&scene.lab, "second", "").unwrap();
    let netns = scene.netns(&pod(&scene.server));
    scene.echo = Some(EchoServer::start(&netns, &scene.server.addresses()).unwrap());
    scene.is_reached_from_everywhere();
}

#[test]
fn at_a_loopback_address_it_is_the_nodes_alone() {
    let scene = Scene::new("127.0.0.1");
    scene.is_reached(&node1(), LOOPBACK[0]);
    scene.is_not_reached(&node1(), LOOPBACK[1]);
    for at in scene.addresses() {
        scene.is_not_reached(&node1(), at);
        scene.is_not_reached(&pod(&scene.neighbour), at);
    }
    // Others may have the number at other addresses.
    add(&scene.lab, "second", "::1").unwrap();
}

/// The node accepts answers to its loopback addresses by the interface that leads to Pods: a Pod must not send any there.
#[test]
fn loopback_addresses_of_the_node_are_out_of_reach() {
    let scene = Scene::new("");
    let node = scene.netns(&node1());
    let own = scene.neighbour.mac.unwrap().0;
    for (at, source) in LOOPBACK.into_iter().zip(scene.neighbour.addresses()) {
        let socket = node.run(|| UdpSocket::bind((at, 0))).unwrap().unwrap();
        socket.set_read_timeout(Some(QUIET)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let before = scene.lab.counted("node1", "not_routable").unwrap();
        let frame = udp_to(source, at, port, b"attack").frame(GATEWAY_MAC.0, own);
        scene.netns(&pod(&scene.neighbour)).run(|| packet::send("eth0", &[frame])).unwrap();
        testkit::wait_until(DEADLINE, "the packet is dropped", || {
            scene.lab.counted("node1", "not_routable").unwrap() > before
        });
        let mut buffer = [0; 16];
        assert!(socket.recv_from(&mut buffer).is_err(), "{at}");
        // The socket gets what the node itself sends.
        let sender = node.run(|| UdpSocket::bind((at, 0))).unwrap().unwrap();
        sender.send_to(b"own", (at, port)).unwrap();
        assert_eq!(socket.recv_from(&mut buffer).unwrap().0, 3);
    }
}
