//! SCTP through Services, from everywhere and with a changed port, over both families. `tests/kernels/run` runs it under the
//! kernels of Debian: not every machine that the tests run on has SCTP.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use e2e::services::{CLUSTER_IPS, NODE_PORT, PORT, SERVICE_CIDRS, TARGET, write_service};
use e2e::{DEADLINE, TestLab, node1};
use lab::{Family, Pod, Target};
use socket2::{Domain, Protocol, Socket, Type};

const SCTP: i32 = 132;

/// More than fits into a packet: the kernel cuts it into chunks, and puts each into a packet with a checksum of its own.
const LONG: usize = 20_000;

fn socket(address: IpAddr) -> Socket {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::from(SCTP)));
    socket.expect("a socket of SCTP: this kernel has to have the module sctp")
}

/// Answers with the Pod's name, the client's address, and what was said.
fn serve(lab: &TestLab, pod: &Pod) {
    for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        let listen = || {
            let listener = socket(any);
            listener.set_only_v6(any.is_ipv6()).ok();
            listener.bind(&SocketAddr::new(any, TARGET).into()).unwrap();
            listener.listen(8).unwrap();
            listener
        };
        let listener = lab.netns(&Target::Pod(pod.key.clone())).unwrap().run(listen).unwrap();
        let name = pod.key.name.clone();
        thread::spawn(move || {
            while let Ok((mut client, address)) = listener.accept() {
                let mut said = [0; LONG];
                if client.read_exact(&mut said).is_ok() {
                    let address = address.as_socket().unwrap().ip();
                    let answer = format!("{name} {address} ");
                    let _gone = client.write_all(answer.as_bytes()).and_then(|()| client.write_all(&said));
                }
            }
        });
    }
}

/// Who answers, and how it sees the client.
fn ask(lab: &TestLab, from: &Target, at: SocketAddr) -> std::io::Result<(String, IpAddr)> {
    lab.netns(from)
        .unwrap()
        .run(|| {
            let mut client = socket(at.ip());
            client.connect_timeout(&at.into(), Duration::from_secs(5))?;
            client.set_read_timeout(Some(Duration::from_secs(10)))?;
            let said: Vec<u8> = (0..LONG).map(|n| n.to_le_bytes()[0]).collect();
            client.write_all(&said)?;
            let mut answer = Vec::new();
            client.read_to_end(&mut answer)?;
            let start = answer.len().saturating_sub(LONG);
            assert!(answer.ends_with(&said), "another answer of {} bytes", answer.len());
            let head = String::from_utf8_lossy(answer.get(..start).unwrap()).into_owned();
            let (name, address) = head.trim().split_once(' ').unwrap();
            Ok((name.to_owned(), address.parse().unwrap()))
        })
        .unwrap()
}

fn main() {
    let lab = TestLab::up(2, Family::Dual, &[SERVICE_CIDRS]).unwrap();
    let add = |node, name| lab.add_pod(node, "default", name).unwrap();
    let (near, far, backend) = (add("node2", "near"), add("node1", "far"), add("node2", "backend"));
    serve(&lab, &backend);
    write_service(&lab, "SCTP", std::slice::from_ref(&backend)).unwrap();
    let state = lab.state().unwrap();
    let [pod_near, pod_far, itself] = [&near, &far, &backend].map(|pod| Target::Pod(pod.key.clone()));
    let node2 = Target::Node("node2".into());
    for cluster_ip in CLUSTER_IPS {
        let cluster_ip: IpAddr = cluster_ip.parse().unwrap();
        let is_of = |ip: &IpAddr| ip.is_ipv4() == cluster_ip.is_ipv4();
        let of = |addresses: Vec<IpAddr>| addresses.into_iter().find(is_of).unwrap();
        let cluster_ip = SocketAddr::new(cluster_ip, PORT);
        let node_port = |node| SocketAddr::new(of(state.node(node).unwrap().addresses.clone()), NODE_PORT);
        let (a, b) = (node_port("node1"), node_port("node2"));
        for (what, from, at, seen) in [
            ("a Pod of another node, ClusterIP", &pod_far, cluster_ip, Some(of(far.addresses()))),
            ("a Pod of the node, ClusterIP", &pod_near, cluster_ip, Some(of(near.addresses()))),
            ("the Pod itself, ClusterIP", &itself, cluster_ip, None),
            ("a process of another node, ClusterIP", &node1(), cluster_ip, None),
            ("a process of the node, ClusterIP", &node2, cluster_ip, None),
            ("a Pod of another node, NodePort", &pod_far, a, Some(of(far.addresses()))),
            ("outside, NodePort of another node", &Target::Outside, a, None),
            ("outside, NodePort of the node", &Target::Outside, b, None),
        ] {
            let mut last = None;
            let served = || {
                let asked = ask(&lab, from, at);
                let is_served = asked.is_ok();
                last = Some(asked);
                is_served
            };
            testkit::wait_until(DEADLINE, &format!("{what}, {at}"), served);
            let (name, client) = last.unwrap().unwrap();
            assert_eq!(name, "backend", "{what}, {at}");
            assert!(seen.is_none_or(|seen| seen == client), "{what}, {at}: seen as {client}, not {seen:?}");
            println!("{what}, {at}: answered, seen as {client}");
        }
    }
}
