//! Pods whose first act is to send and to listen: what is denied never passes, and what is allowed passes at once.
//!
//! `POLICY_STARTS` sets how many Pods start, `POLICY_REUSES` how often an address changes its owner.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::{DEADLINE, node1, pod, sh};
use lab::probe::{ECHO_PORT, tcp_echo};
use lab::{Pod, Target};
use naming::PodKey;
use plumbing::NetNs;
use serde_json::json;

use crate::scene::{QUIET, Scene, allow_from, app, deny_ingress, times};

/// A port that no server of the scene has.
pub(crate) const PORT: u16 = 4000;

/// So many addresses after the one allocated last are sent to.
const AHEAD: u16 = 8;

/// What arrived at Pods, and from whom.
pub(crate) type Arrived = Mutex<BTreeSet<String>>;

/// Everything that arrives in a namespace over either family, until told to stop.
pub(crate) fn listen(netns: &NetNs, whose: &str, stop: &AtomicBool, arrived: &Arrived) {
    let at = (Ipv6Addr::UNSPECIFIED, PORT);
    let (udp, tcp) = netns.run(|| (UdpSocket::bind(at).unwrap(), TcpListener::bind(at).unwrap())).unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    tcp.set_nonblocking(true).unwrap();
    while !stop.load(Ordering::Relaxed) {
        match udp.recv_from(&mut [0; 64]) {
            Ok((_, from)) => {
                arrived.lock().unwrap().insert(format!("UDP from {from} at {whose}"));
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
            }
        }
        if let Ok((_, from)) = tcp.accept() {
            arrived.lock().unwrap().insert(format!("TCP from {from} at {whose}"));
        }
    }
}

/// Datagrams to all of these, again and again, until told to stop. How many the kernel took.
fn send(netns: &NetNs, to: impl Fn() -> Vec<SocketAddr>, stop: &AtomicBool) -> u64 {
    let socket = netns.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        for at in to() {
            // Before the interface is there it is refused.
            let IpAddr::V6(ip) = at.ip() else { continue };
            sent += u64::from(socket.send_to(b"first", (ip, at.port())).is_ok());
        }
        thread::sleep(Duration::from_millis(1));
    }
    sent
}

/// An address as a socket of both families takes it.
fn at(address: IpAddr) -> SocketAddr {
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    SocketAddr::new(address.into(), PORT)
}

/// The address that many further on.
fn further(address: IpAddr, by: u16) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) + u32::from(by)).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) + u128::from(by)).into()),
    }
}

/// The namespace of a Pod that is being added, as soon as it is there.
fn early(scene: &Scene, key: &PodKey) -> NetNs {
    let target = Target::Pod(key.clone());
    let end = Instant::now() + DEADLINE;
    loop {
        match scene.lab.netns(&target) {
            Ok(netns) => return netns,
            Err(error) => assert!(Instant::now() < end, "{key}: {error:#}"),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn nothing_that_is_denied_passes_while_pods_start() {
    let mut scene = Scene::new(&[]);
    let near = scene.pod("node1", "other", "near", "peer");
    let far = scene.pod("node2", "other", "far", "peer");
    scene.policy("shop", "deny", &json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    // From here on it is in force.
    let first = scene.silent_pod("node1", "shop", "first", "web");
    scene.only(&[], &[&first], &near);
    let newest = Mutex::new(first.addresses());
    let peers: Vec<SocketAddr> = [&near, &far].iter().flat_map(|peer| peer.addresses()).map(at).collect();
    let ahead = || {
        let newest = newest.lock().unwrap().clone();
        let ahead = newest.iter().flat_map(|newest| (1..=AHEAD).map(|by| at(further(*newest, by))));
        // Behind the last address of the node is the other one's range. The peers reach each other.
        ahead.filter(|at| !peers.contains(at)).collect()
    };
    let (arrived, stop, sent) = (Arrived::default(), AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for peer in [&near, &far] {
            let netns = || scene.netns(&pod(peer));
            let (arrived, stop) = (&arrived, &stop);
            scope.spawn(move || listen(&netns(), &peer.key.to_string(), stop, arrived));
            let ahead = &ahead;
            scope.spawn(move || send(&netns(), ahead, stop));
        }
        for number in 0..times("POLICY_STARTS", 50) {
            let key = PodKey::new("shop", format!("pod-{number}"));
            let gone = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let netns = early(&scene, &key);
                    thread::scope(|scope| {
                        scope.spawn(|| listen(&netns, &key.to_string(), &gone, &arrived));
                        sent.fetch_add(send(&netns, || peers.clone(), &gone), Ordering::Relaxed);
                    });
                });
                let new = scene.silent_pod("node1", "shop", &key.name, "web");
                newest.lock().unwrap().clone_from(&new.addresses());
                let netns = scene.netns(&pod(&new));
                for peer in &peers {
                    let connected = netns.run(|| TcpStream::connect_timeout(peer, Duration::from_millis(10)));
                    assert!(connected.unwrap().is_err(), "{key} to {peer}");
                }
                scene.lab.delete_pod(&key).unwrap();
                gone.store(true, Ordering::Relaxed);
            });
        }
        thread::sleep(QUIET);
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(*arrived.lock().unwrap(), BTreeSet::new());
    assert_ne!(sent.load(Ordering::Relaxed), 0, "Pods never sent");
}

#[test]
fn what_is_allowed_passes_as_soon_as_a_pod_is_ready() {
    let mut scene = Scene::new(&[]);
    let servers = [scene.pod("node1", "shop", "near", "server"), scene.pod("node2", "shop", "far", "server")];
    scene.policy("shop", "deny", &json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    scene.policy("shop", "servers", &allow_from(&app("server"), &json!([{"podSelector": app("client")}])));
    scene.policy(
        "shop",
        "clients",
        &json!({"podSelector": app("client"), "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": app("server")}]}]}),
    );
    let first = scene.silent_pod("node1", "shop", "first", "client");
    servers.iter().for_each(|server| scene.is_reached(&pod(&first), server));
    let mut slowest = Duration::ZERO;
    for number in 0..times("POLICY_STARTS", 30) {
        let name = format!("pod-{number}");
        let new = scene.silent_pod("node1", "shop", &name, "client");
        let netns = scene.netns(&pod(&new));
        thread::scope(|scope| {
            let scene = &scene;
            let connects: Vec<_> = servers
                .iter()
                .flat_map(Pod::addresses)
                .map(|to| {
                    let (netns, name) = (&netns, &name);
                    scope.spawn(move || {
                        let start = Instant::now();
                        let answer = tcp_echo(netns, to, DEADLINE);
                        answer.unwrap_or_else(|error| {
                            let applies = scene.midokube(1, &format!("policy shop/{name}"));
                            panic!("{name} to {to}: {error:#}\n{applies:?}\n{:?}", scene.lab.status("node1"))
                        });
                        start.elapsed()
                    })
                })
                .collect();
            slowest =
                connects.into_iter().map(|connect| connect.join().unwrap()).fold(slowest, Duration::max);
        });
        scene.lab.delete_pod(&new.key).unwrap();
    }
    // Read with --nocapture: a SYN that is sent again takes a second.
    println!("the slowest connection took {slowest:?}");
}

#[test]
fn an_address_has_its_new_owners_policy() {
    let mut scene = Scene::new(&[]);
    let mut db = scene.pod("node2", "shop", "db", "db");
    scene.policy("shop", "db", &allow_from(&app("db"), &json!([{"podSelector": app("web")}])));
    scene.policy("shop", "batch", &deny_ingress(&app("batch")));
    scene.only(&[], &[&scene.silent_pod("node1", "other", "outsider", "web")], &db);
    let mut addresses = None;
    for round in 0..times("POLICY_REUSES", 20) {
        // The Pods of a StatefulSet, one after the other under one name, and here also under one address: the allocator
        // goes on to the next one else, so that it takes the range's length until an address is used again.
        let label = if round % 2 == 0 { "web" } else { "batch" };
        sh(&scene.lab, &node1(), "find /var/lib/cni -name 'last_reserved_ip*' -delete");
        let member = scene.pod("node1", "shop", "member-0", label);
        let own = member.addresses();
        assert_eq!(*addresses.get_or_insert_with(|| own.clone()), own, "round {round}");
        if label == "web" {
            scene.only(&[&member], &[], &db);
            scene.only(&[&db], &[], &member);
        } else {
            refused(&scene, &member, &db, round);
            refused(&scene, &db, &member, round);
        }
        scene.lab.delete_pod(&member.key).unwrap();
        scene.end_servers(&member);
        // Every tenth round the other end is another Pod, too.
        if round % 10 == 9 {
            scene.lab.delete_pod(&db.key).unwrap();
            scene.end_servers(&db);
            db = scene.pod("node2", "shop", "db", "db");
        }
        // Until the other node knows that the Pod is gone, its address is that Pod's there.
        for (own, to) in own.iter().zip(db.addresses()) {
            let words = format!("policy explain {own} {to} tcp/{ECHO_PORT}");
            testkit::wait_until(DEADLINE, "its address is nobody's", || {
                scene.midokube(2, &words).status.code() == Some(4)
            });
        }
    }
}

/// That not one connection comes about, from the first moment on.
fn refused(scene: &Scene, from: &Pod, to: &Pod, round: u64) {
    let netns = scene.netns(&pod(from));
    for to in to.addresses() {
        let answer = tcp_echo(&netns, to, Duration::from_millis(50));
        assert!(answer.is_err(), "round {round}: {} to {to}", from.key);
    }
}
