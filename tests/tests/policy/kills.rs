//! Agents that are killed, restarted and upgraded under load: nothing that is allowed is lost, nothing that is denied passes.
//!
//! `POLICY_KILLS` sets how often.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use e2e::chaos::{kill_and_restart, replace_build};
use e2e::{DEADLINE, pod};
use lab::Pod;
use lab::probe::{ECHO_PORT, tcp_echo};
use plumbing::NetNs;
use serde_json::json;
use testkit::Random;

use crate::scene::{Scene, allow_from, app, times};
use crate::starts::{Arrived, PORT, listen};

/// So many datagrams there and back, one after the other, before another connection begins.
const EACH: u32 = 20;

/// New connections of both protocols, each with some exchanges, until told to stop. How many exchanges.
fn exchange(netns: &NetNs, own: IpAddr, to: IpAddr, stop: &AtomicBool) -> u64 {
    let mut exchanges = 0;
    let mut number = 0u32;
    while !stop.load(Ordering::Relaxed) {
        let socket = netns.run(|| UdpSocket::bind(SocketAddr::new(own, 0)).unwrap()).unwrap();
        socket.connect(SocketAddr::new(to, ECHO_PORT)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        for _ in 0..EACH {
            number += 1;
            let mut answer = [0; 64];
            socket.send(&number.to_be_bytes()).unwrap();
            let length = socket.recv(&mut answer).unwrap_or_else(|error| {
                panic!("{own} to {to}: datagram {number} or its answer was lost: {error}")
            });
            assert!(length >= 4, "{own} to {to}: an answer of {length} bytes");
            exchanges += 1;
        }
        tcp_echo(netns, to, DEADLINE).unwrap_or_else(|error| panic!("{own} to {to}: {error:#}"));
        exchanges += 1;
    }
    exchanges
}

/// Tries what is denied, each time from another port, until told to stop. How often.
fn try_denied(netns: &NetNs, own: IpAddr, to: IpAddr, stop: &AtomicBool) -> u64 {
    let at = SocketAddr::new(to, PORT);
    let mut tries = 0;
    while !stop.load(Ordering::Relaxed) {
        let socket = netns.run(|| UdpSocket::bind(SocketAddr::new(own, 0)).unwrap()).unwrap();
        for _ in 0..10 {
            socket.send_to(b"denied", at).unwrap();
        }
        let connected = netns.run(|| TcpStream::connect_timeout(&at, Duration::from_millis(5))).unwrap();
        assert!(connected.is_err(), "{own} to {at}");
        tries += 11;
    }
    tries
}

/// The addresses of two Pods, by family.
fn pairs(from: &Pod, to: &Pod) -> Vec<(IpAddr, IpAddr)> {
    from.addresses().into_iter().zip(to.addresses()).collect()
}

#[test]
fn policy_holds_while_agents_are_killed_and_replaced_under_load() {
    let programs = testkit::copies(&["midonet-kube-node", "midonet-kube-cni"]);
    let mut scene = Scene::with_programs(programs.path());
    let db = scene.pod("node1", "shop", "db", "db");
    let allowed = [scene.pod("node1", "shop", "web-0", "web"), scene.pod("node2", "shop", "web-1", "web")];
    let denied =
        [scene.pod("node1", "shop", "batch-0", "batch"), scene.pod("node2", "shop", "batch-1", "batch")];
    scene.policy("shop", "db", &allow_from(&app("db"), &json!([{"podSelector": app("web")}])));
    scene.only(&[&allowed[0], &allowed[1]], &[&denied[0], &denied[1]], &db);
    let (arrived, stop) = (Arrived::default(), AtomicBool::new(false));
    let (exchanges, tries) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let netns = |of: &Pod| scene.netns(&pod(of));
        let (arrived, stop, exchanges, tries) = (&arrived, &stop, &exchanges, &tries);
        let db_netns = netns(&db);
        scope.spawn(move || listen(&db_netns, "db", stop, arrived));
        for (from, is_allowed) in allowed.iter().zip([true; 2]).chain(denied.iter().zip([false; 2])) {
            for (own, to) in pairs(from, &db) {
                let netns = netns(from);
                scope.spawn(move || match is_allowed {
                    true => exchanges.fetch_add(exchange(&netns, own, to, stop), Ordering::Relaxed),
                    false => tries.fetch_add(try_denied(&netns, own, to, stop), Ordering::Relaxed),
                });
            }
        }
        let mut random = Random::new(14);
        for round in 0..times("POLICY_KILLS", 6) {
            if round % 3 == 1 {
                replace_build(programs.path());
            }
            // Each agent finds other policies than the one before it brought into force.
            let other = json!({"podSelector": app("nobody"), "policyTypes": ["Egress"]});
            match round % 2 {
                0 => scene.policy("shop", "other", &other),
                _ => scene.remove("policy-shop-other"),
            }
            let killed =
                kill_and_restart(&scene.lab, ["node1", "node2"][usize::from(round % 4 > 1)], &mut random);
            if killed.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            killed.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (exchanges, tries) = (exchanges.into_inner(), tries.into_inner());
    println!("{exchanges} exchanges allowed, {tries} packets denied");
    assert!(exchanges > 0 && tries > 0);
    assert_eq!(*arrived.lock().unwrap(), BTreeSet::new());
}
