//! Policy with real packets: on one node, and between two.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::netns::*;
use crate::support::policy::*;
use crate::support::real::*;
use crate::support::services::{Maps, SCOPE_ADDRESS, Service};
use crate::support::*;
use datapath::NodeConfig;
use datapath::policy::{CLOSED, OPEN, Origin};
use testkit::Namespace;
use testkit::packet::{TCP, UDP};

/// What arrives, arrives within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// What does not arrive within this time does not.
const SILENCE: Duration = Duration::from_millis(700);

const PORT: u16 = 8080;

/// Answers every connection and datagram in a namespace, until that is gone.
fn serve(netns: &Namespace) {
    netns.run(|| {
        let tcp = TcpListener::bind(("::", PORT)).unwrap();
        let udp = UdpSocket::bind(("::", PORT)).unwrap();
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || {
                    let mut request = [0; 64];
                    while let Ok(length @ 1..) = stream.read(&mut request) {
                        if stream.write_all(&request[..length]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        std::thread::spawn(move || {
            let mut request = vec![0; 65_536];
            while let Ok((length, peer)) = udp.recv_from(&mut request) {
                let _ = udp.send_to(&request[..length], peer);
            }
        });
    });
}

/// A connection, and how much of what it asked was not answered yet.
struct Stream(TcpStream, usize);

fn connect(from: &Namespace, to: IpAddr, patience: Duration) -> Result<Stream, ErrorKind> {
    let stream = from.run(|| TcpStream::connect_timeout(&SocketAddr::new(to, PORT), patience));
    stream.map(|stream| Stream(stream, 0)).map_err(|error| error.kind())
}

impl Stream {
    /// Whether all is answered in time, and one question more.
    fn goes_on(&mut self, patience: Duration) -> bool {
        self.0.write_all(b"?").unwrap();
        self.1 += 1;
        self.0.set_read_timeout(Some(patience)).unwrap();
        while self.1 > 0 {
            match self.0.read(&mut [0; 64]) {
                Ok(0) => panic!("the end"),
                Ok(length) => self.1 -= length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return false;
                }
                Err(error) => panic!("{error}"),
            }
        }
        true
    }
}

fn socket(from: &Namespace, to: IpAddr) -> UdpSocket {
    from.run(|| {
        let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
        socket.connect(SocketAddr::new(to, PORT)).unwrap();
        socket
    })
}

/// Whether a datagram of this size is answered, or what error comes back.
fn asked(socket: &UdpSocket, size: usize, patience: Duration) -> Result<bool, i32> {
    socket.send(&vec![7; size]).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    match socket.recv(&mut vec![0; 65_536]) {
        Ok(length) => Ok(length == size),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.raw_os_error().unwrap()),
    }
}

/// Whether a ping is answered, by the current namespace; a short time for what is not.
fn pings(from: &Namespace, to: IpAddr) -> bool {
    let wait = if to.is_ipv4() { "-4" } else { "-6" };
    from.command("ping")
        .args([wait, "-c", "2", "-i", "0.2", "-W", "1", &to.to_string()])
        .output()
        .unwrap()
        .status
        .success()
}

fn port_of(node: &RealNode, pod: usize) -> u32 {
    node.netns.run(|| ifindex(&format!("outer{pod}")))
}

/// A draft in which a peer's addresses are of class 1.
fn knows(peers: [IpAddr; 2]) -> Draft {
    peers.into_iter().fold(Draft::new(), |draft, peer| draft.address(peer, 1))
}

fn only_peer() -> Table {
    Table(all(deny(1)), vec![(1, all(allow(2)))])
}

fn nothing() -> Table {
    Table(all(deny(3)), vec![])
}

/// Between a client's and a server's Pod: what goes on, and what ends, as the server's node and the client's say so.
fn follow(nodes: &mut [RealNode], client: (usize, usize), server: (usize, usize)) {
    let at = |nodes: &[RealNode], (node, pod): (usize, usize)| nodes[node].addresses(3 + pod as u8);
    let (clients, servers) = (at(nodes, client), at(nodes, server));
    let ports = [client, server].map(|(node, pod)| (node, port_of(&nodes[node], pod)));
    serve(&nodes[server.0].pods[server.1]);
    // Each end's policy: what comes in and goes out of the server, and of the client.
    let apply = |nodes: &mut [RealNode], of_client: [Table; 2], of_server: [Table; 2]| {
        let ends = [(ports[0], of_client, servers), (ports[1], of_server, clients)];
        if client.0 == server.0 {
            let [(a, [a_in, a_out], peer), (b, [b_in, b_out], other)] = ends;
            let draft = knows(peer).address(other[0], 1).address(other[1], 1);
            draft.pod(a.1, a_in, a_out).pod(b.1, b_in, b_out).apply(&mut nodes[a.0].datapath);
        } else {
            for ((node, ifindex), [ingress, egress], peer) in ends {
                knows(peer).pod(ifindex, ingress, egress).apply(&mut nodes[node].datapath);
            }
        }
    };
    let pass = |nodes: &mut [RealNode]| apply(nodes, [nothing(), only_peer()], [only_peer(), nothing()]);
    for family in [0, 1] {
        let to = servers[family];
        pass(nodes);
        let mut stream = connect(&nodes[client.0].pods[client.1], to, PATIENCE).unwrap();
        let socket = socket(&nodes[client.0].pods[client.1], to);
        for (what, of_client, of_server) in [
            ("the server's side", [nothing(), only_peer()], [nothing(), nothing()]),
            ("the client's side", [nothing(), nothing()], [only_peer(), nothing()]),
        ] {
            // The beginning, and many changes that change nothing for it.
            for _ in 0..10 {
                assert!(stream.goes_on(PATIENCE), "{what}: {:?}", nodes[server.0].fates());
                assert_eq!(asked(&socket, 100, PATIENCE), Ok(true), "{what}");
                pass(nodes);
            }
            // By the first ones both ends only learn what fits into the tunnel.
            let mut tries = (0..5).map(|_| asked(&socket, 8_000, SILENCE));
            assert!(
                tries.any(|tried| tried == Ok(true)),
                "in fragments, {what}: {:?}",
                nodes[server.0].fates()
            );
            assert!(pings(&nodes[client.0].pods[client.1], to), "{what}");
            apply(nodes, of_client, of_server);
            assert!(!stream.goes_on(SILENCE), "{what}");
            assert_eq!(asked(&socket, 100, SILENCE), Ok(false), "{what}");
            assert_eq!(asked(&socket, 8_000, SILENCE), Ok(false), "{what}");
            assert!(!pings(&nodes[client.0].pods[client.1], to), "{what}");
            let refused = connect(&nodes[client.0].pods[client.1], to, SILENCE);
            assert_eq!(refused.err(), Some(ErrorKind::TimedOut), "{what}: it is silent");
            // What was lost is sent again.
            pass(nodes);
            assert!(stream.goes_on(PATIENCE), "{what}");
        }
    }
}

#[test]
fn connections_of_one_node_follow_every_change() {
    sandbox(|bpffs| {
        let mut nodes = [RealNode::new(bpffs, 1, 2)];
        follow(&mut nodes, (0, 0), (0, 1));
        for reason in ["policy_ingress", "policy_egress"] {
            assert!(nodes[0].packets(reason) > 0, "{reason}");
        }
    });
}

#[test]
fn connections_between_nodes_follow_every_change() {
    for direct in [false, true] {
        sandbox(|bpffs| {
            let mut nodes = connected(bpffs, ["192.0.2.1", "192.0.2.2"], [direct; 2]);
            follow(&mut nodes, (0, 0), (1, 0));
            assert!(nodes[0].packets("policy_egress") > 0 && nodes[1].packets("policy_ingress") > 0);
        });
    }
}

/// Megabytes, while policy changes all the time.
#[test]
fn a_transfer_loses_nothing_to_changes_that_allow_it() {
    sandbox(|bpffs| {
        let mut node = RealNode::new(bpffs, 1, 2);
        let ports = [0, 1].map(|pod| port_of(&node, pod));
        let (clients, servers) = (node.addresses(3), node.addresses(4));
        let RealNode { datapath, pods, .. } = &mut node;
        let [a, b] = &pods[..] else { panic!("two pods") };
        for to in servers {
            // However slow the one or the other is: many changes meet transfers.
            let changes = AtomicU32::new(0);
            std::thread::scope(|scope| {
                let transfers = scope.spawn(|| {
                    for _ in 0..100 {
                        transfer(a, b, to, 64 << 20);
                        if changes.load(Ordering::Relaxed) > 10 {
                            break;
                        }
                    }
                });
                while !transfers.is_finished() {
                    let draft = [clients, servers].into_iter().flatten();
                    let draft = draft.fold(Draft::new(), |draft, address| draft.address(address, 1));
                    draft
                        .pod(ports[0], nothing(), only_peer())
                        .pod(ports[1], only_peer(), nothing())
                        .apply(datapath);
                    changes.fetch_add(1, Ordering::Relaxed);
                }
            });
            let changes = changes.into_inner();
            assert!(changes > 10, "{changes}");
        }
    });
}

#[test]
fn who_is_told_knows_at_once() {
    sandbox(|bpffs| {
        // By the device: a wire between namespaces would bring the tunnel's marks with a packet, which cannot be cut then.
        let mut nodes = connected(bpffs, ["192.0.2.1", "192.0.2.2"], [false; 2]);
        serve(&nodes[1].pods[0]);
        let told = || Table(all(reject(1)), vec![]);
        let ports = [0, 1].map(|node: usize| port_of(&nodes[node], 0));
        for family in [0, 1] {
            let to = nodes[1].addresses(3)[family];
            for refusing in [0, 1] {
                let mut drafts =
                    [Draft::new().pod(ports[0], open(), open()), Draft::new().pod(ports[1], open(), open())];
                drafts[refusing] = match refusing {
                    0 => Draft::new().pod(ports[0], open(), told()),
                    _ => Draft::new().pod(ports[1], told(), open()),
                };
                for (node, draft) in nodes.iter_mut().zip(drafts) {
                    draft.apply(&mut node.datapath);
                }
                let begun = Instant::now();
                let refused = connect(&nodes[0].pods[0], to, PATIENCE);
                let fates = [nodes[0].fates(), nodes[1].fates()];
                assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused), "{to} {refusing} {fates:?}");
                let prohibited = if to.is_ipv4() { libc::EHOSTUNREACH } else { libc::EACCES };
                assert_eq!(
                    asked(&socket(&nodes[0].pods[0], to), 100, PATIENCE),
                    Err(prohibited),
                    "{to} {refusing}"
                );
                assert!(begun.elapsed() < PATIENCE, "{to} {refusing}");
            }
        }
    });
}

#[test]
fn the_node_reaches_closed_pods_which_reach_themselves_by_their_service() {
    sandbox(|bpffs| {
        let mut node = RealNode::new(bpffs, 1, 2);
        serve(&node.pods[0]);
        let (own, vips) =
            (node.addresses(3), ["10.96.0.10", "fd96::10"].map(|text| text.parse::<IpAddr>().unwrap()));
        let config = NodeConfig { services: true, ..node.netns.run(|| RealNode::config(1)) };
        node.datapath.set_config(&config).unwrap();
        let mut maps = Maps::new(&node.pin_dir.join("programs"));
        for (vip, own) in vips.into_iter().zip(own) {
            for protocol in [TCP, UDP] {
                maps.serve(SCOPE_ADDRESS, protocol, (vip, PORT), &Service::new(1, &[(own, PORT)]));
            }
        }
        let pod = port_of(&node, 0);
        let by = |origin| Table(all(by(origin, deny(1))), vec![]);
        for (family, (to, vip)) in own.into_iter().zip(vips).enumerate() {
            Draft::new().apply(&mut node.datapath);
            let closed = node.datapath.ports().unwrap().into_iter().filter(|port| port.set == CLOSED).count();
            assert_eq!(closed, 2);
            let mut probe = connect(&node.netns, to, PATIENCE).unwrap();
            assert!(probe.goes_on(PATIENCE) && pings(&node.netns, to), "{family}");
            assert_eq!(asked(&socket(&node.netns, to), 8_000, PATIENCE), Ok(true));
            // The other Pod does not.
            assert!(connect(&node.pods[1], to, SILENCE).is_err() && !pings(&node.pods[1], to));

            Draft::new()
                .pod(pod, by(Origin::NetworkPolicy), by(Origin::NetworkPolicy))
                .apply(&mut node.datapath);
            assert!(probe.goes_on(PATIENCE), "as before");
            let mut itself = connect(&node.pods[0], vip, PATIENCE).unwrap();
            assert!(itself.goes_on(PATIENCE));
            assert_eq!(asked(&socket(&node.pods[0], vip), 100, PATIENCE), Ok(true));
            Draft::new().pod(pod, by(Origin::Admin), by(Origin::Admin)).apply(&mut node.datapath);
            assert!(!itself.goes_on(SILENCE));
            assert_eq!(asked(&socket(&node.pods[0], vip), 100, SILENCE), Ok(false));
        }
        node.datapath.policy_off().unwrap();
        assert!(node.datapath.ports().unwrap().iter().all(|port| port.set == OPEN));
        assert!(pings(&node.pods[1], own[0]) && pings(&node.pods[1], own[1]));
    });
}
