//! Every reason for which packets are dropped is provoked, and has a row under who sent the packet and whom it was for.

mod cases;

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::support::packets::*;
use crate::support::scene::*;
use crate::support::services::*;
use crate::support::*;
use cases::cases;
use datapath::drops::{Drop, Drops};
use datapath::{Fate, reasons};
use testkit::packet::*;

const OBJECT: &str = env!("DATAPATH_TUNNEL_OBJECT");

/// What a row says besides reason, counts and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    port: u16,
    protocol: u8,
    interface: u32,
    ingress: bool,
    others: bool,
    claimed: Option<IpAddr>,
    claimed_mac: Option<[u8; 6]>,
}

impl Row {
    /// What the Pod at an interface sent there.
    fn sent(interface: u32, source: IpAddr, destination: IpAddr) -> Self {
        let (source, destination) = (Some(source), Some(destination));
        let (claimed, claimed_mac) = (None, None);
        Self {
            source,
            destination,
            port: 0,
            protocol: 0,
            interface,
            ingress: false,
            others: false,
            claimed,
            claimed_mac,
        }
    }

    /// What came there for an end of this node.
    fn came(interface: u32, source: IpAddr, destination: IpAddr) -> Self {
        Self { ingress: true, ..Self::sent(interface, source, destination) }
    }

    fn to(self, protocol: u8, port: u16) -> Self {
        Self { protocol, port, ..self }
    }

    /// Of a sender who says that it is somebody else.
    fn as_if(self, claimed: IpAddr, mac: [u8; 6]) -> Self {
        Self { claimed: Some(claimed), claimed_mac: Some(mac), ..self }
    }
}

impl From<&Drop> for Row {
    fn from(drop: &Drop) -> Self {
        let Drop {
            source,
            destination,
            port,
            protocol,
            interface,
            ingress,
            others,
            claimed,
            claimed_mac,
            ..
        } = *drop;
        Self { source, destination, port, protocol, interface, ingress, others, claimed, claimed_mac }
    }
}

/// The rows that are not there yet.
struct Before(BTreeSet<String>);

fn name(drop: &Drop) -> String {
    format!("{} {:?}", drop.reason, Row::from(drop))
}

impl Before {
    fn new(drops: &Drops) -> Self {
        Self(drops.all().unwrap().iter().map(name).collect())
    }

    fn new_rows(&self, drops: &Drops) -> Vec<Drop> {
        drops.all().unwrap().into_iter().filter(|drop| !self.0.contains(&name(drop))).collect()
    }
}

#[test]
fn every_reason_has_a_case_that_has_a_row() {
    let drops = reasons().iter().filter(|reason| reason.fate == Fate::Drop).map(|reason| reason.name);
    let known: BTreeSet<_> = cases().iter().map(|case| case.0).collect();
    assert_eq!(known, drops.collect(), "each reason of reasons.def for drops needs a case");
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            for (reason, case) in cases() {
                let before = Before::new(&scene.node.datapath.drops());
                let (found, want) = case(&mut scene, &p, &before);
                let rows: Vec<_> = found.iter().map(|drop| (drop.reason, Row::from(drop))).collect();
                assert_eq!(rows, [(reason, want)], "{reason} {}", p.pods.a);
                assert_eq!(found[0].packets, 1, "{reason}");
                assert!(found[0].bytes > 0 && found[0].first == found[0].last, "{found:?}");
            }
        }
    });
}

#[test]
fn what_is_forwarded_or_ignored_has_no_row() {
    sandbox(|bpffs| {
        let scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let last_hop = Ip { hops: 1, ..udp(p.pods.a, p.pods.b, b"x") };
            assert_eq!(scene.a_sends(&last_hop).reason, "ttl_exceeded");
            assert_eq!(scene.a_sends(&echo(p.pods.a, p.pods.gateway, false, b"x")).reason, "echo_reply");
            assert_eq!(scene.a_sends(&udp(p.pods.a, p.pods.b, b"x")).reason, "local");
            let group = if p.vip.is_ipv4() { "224.0.0.1" } else { "ff02::1" }.parse().unwrap();
            dropped(&scene.a_sends(&udp(p.pods.a, group, b"x")), "multicast");
        }
        assert_eq!(scene.node.datapath.drops().all().unwrap(), []);
    });
}

#[test]
fn what_comes_from_the_outside_has_its_client_and_the_uplink() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let nobody = Service { ranges: 7, ..Service::new(9, &[(p.pods.b, 80)]) };
            scene.maps.serve(SCOPE_NODE_PORT, TCP, (p.own, 30_000), &nobody);
            scene.maps.serve_port(TCP, 30_000);
            let before = Before::new(&scene.node.datapath.drops());
            let packet = segment(TCP, (p.client, 40_000), (p.own, 30_000), SYN, b"");
            dropped(&scene.uplink_brings(&packet), "service_source");
            let rows = before.new_rows(&scene.node.datapath.drops());
            let want = Row::came(scene.uplink, p.client, p.own).to(TCP, 30_000);
            assert_eq!(rows.iter().map(Row::from).collect::<Vec<_>>(), [want]);
            assert_eq!(rows[0].source_port, 40_000);
        }
    });
}

/// The destination is the backend by then, and the source has another port: the row has the client's own.
#[test]
fn behind_a_service_the_client_has_its_own_address() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            // The backend is the client itself, in the gateway's name, or outside, in the node's: nobody has it any more.
            for backend in [p.pods.missing, p.pods.unserved] {
                scene.maps.serve(SCOPE_ADDRESS, UDP, (p.vip, 80), &Service::new(3, &[(backend, 8080)]));
                let before = Before::new(&scene.node.datapath.drops());
                scene.a_sends(&segment(UDP, (p.pods.a, 40_000), (p.vip, 80), 0, b"x"));
                let rows = before.new_rows(&scene.node.datapath.drops());
                let want = Row::sent(scene.node.a, p.pods.a, backend).to(UDP, 8080);
                assert_eq!(rows.iter().map(Row::from).collect::<Vec<_>>(), [want]);
                assert_eq!(rows[0].source_port, 40_000);
            }
        }
    });
}

/// Who forges sources has one row for each destination, with the last one that it claimed.
#[test]
fn a_forged_source_is_no_row_of_its_own() {
    sandbox(|bpffs| {
        let scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let before = Before::new(&scene.node.datapath.drops());
            let forged = |host: u16| match p.client {
                IpAddr::V4(_) => IpAddr::from([198, 18, (host >> 8) as u8, host as u8]),
                IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]),
            };
            for host in 1..=2000 {
                dropped(&scene.a_sends(&udp(forged(host), p.pods.b, b"x")), "source_ip");
            }
            let rows = before.new_rows(&scene.node.datapath.drops());
            let want = Row::sent(scene.node.a, p.pods.a, p.pods.b).to(UDP, 53).as_if(forged(2000), A_MAC);
            assert_eq!(rows.iter().map(Row::from).collect::<Vec<_>>(), [want]);
            assert_eq!(rows[0].packets, 2000);
        }
    });
}

/// Who scans takes no rows from others, and every packet of it is counted.
#[test]
fn a_scan_is_a_few_rows_and_one_for_all_others() {
    sandbox(|bpffs| {
        let scene = Scene::new(bpffs, OBJECT);
        let drops = scene.node.datapath.drops();
        let most = drops.size() as usize / 16;
        let of_b = udp(parties()[0].pods.b, parties()[0].pods.unserved, b"x");
        scene.b_sends(&of_b);
        let mut others = 0;
        for p in parties() {
            for port in 1..=3000 {
                let reason = scene.a_sends(&udp_to(p.pods.a, p.pods.unserved, port, b"x")).reason;
                assert!(["unreachable", "icmp_limited"].contains(&reason), "{reason}");
            }
            let all = drops.all().unwrap();
            let of_scan = all.iter().filter(|drop| drop.source == Some(p.pods.a));
            assert_eq!(of_scan.map(|drop| drop.packets).sum::<u64>(), 3000);
            let rows: Vec<_> =
                all.iter().filter(|drop| drop.interface == scene.node.a && !drop.others).collect();
            // Four more a second, if the machine is slow.
            assert!(rows.len() >= most && rows.len() < drops.size() as usize / 2, "{}", rows.len());
            let folded: Vec<_> = all.iter().filter(|drop| drop.others).collect();
            assert!(folded.len() > others && folded.len() <= 4, "{folded:?}");
            others = folded.len();
            for drop in folded {
                assert_eq!((drop.destination, drop.port, drop.protocol), (None, 0, 0), "{drop:?}");
                assert!(drop.source.is_some() && drop.interface == scene.node.a, "{drop:?}");
            }
            assert!(all.iter().any(|drop| drop.interface == scene.node.b), "another Pod's row stays");
        }
        // Another Pod has rows of its own.
        let p = parties()[0];
        scene.b_sends(&udp_to(p.pods.b, p.pods.unserved, 99, b"x"));
        assert!(drops.all().unwrap().iter().any(|drop| (drop.interface, drop.port) == (scene.node.b, 99)));
    });
}
