//! What the first packet of a connection costs by how many rules there are, and how long it takes until they are in force.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use datapath::Protocol;
use datapath::policy::{Change, Sizes};
use ipnet::IpNet;
use nix::time::{ClockId, clock_gettime};
use testkit::packet::tcp;

use super::super::policy::{Draft, Table, all, allow, deny, ports};
use super::super::{Family, GATEWAY_MAC, families, options, run};
use super::{DESTINATION, Scene, once, ported, version};

/// What rules differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Each lets another address in, at another port.
    Addresses,
    /// Each lets another port in.
    Ports,
}

/// A Pod's policy of so many rules, none of which is about the other Pod but the last: everything from its block.
fn rules(kind: Rules, count: u32) -> Table {
    let port = |n: u32| 1 + 5 * (n % 13_000) as u16;
    match kind {
        Rules::Addresses => {
            let list = |n: u32| ports(deny(1), &[(Protocol::Tcp, port(n), port(n), allow(2 + n))]);
            Table(
                all(deny(1)),
                (0..count).map(|n| (2 + n, list(n))).chain([(1, all(allow(2 + count)))]).collect(),
            )
        }
        Rules::Ports => {
            let intervals: Vec<_> =
                (0..count).map(|n| (Protocol::Tcp, port(n), port(n), allow(2 + n))).collect();
            Table(ports(allow(2 + count), &intervals), vec![])
        }
    }
}

/// The change that brings such policy into force for both Pods and both directions.
fn draft(kind: Rules, count: u32, [a, b]: [u32; 2]) -> Change {
    let own = ["10.1.0.0/24", "fd01::/64"];
    let mut draft = own.into_iter().fold(Draft::new(), |draft, block| draft.block(block, 1));
    if kind == Rules::Addresses {
        for n in 0..count / 2 {
            let v4 = IpNet::from(IpAddr::from(Ipv4Addr::from(0xac10_0000 + 7 * n)));
            let v6 = IpNet::from(IpAddr::from(Ipv6Addr::from((0x2001_0db8_u128 << 96) + u128::from(7 * n))));
            draft.0.blocks.extend([(v4, Some(2 + 2 * n)), (v6, Some(3 + 2 * n))]);
        }
    }
    draft
        .pod(a, rules(kind, count), rules(kind, count))
        .pod(b, rules(kind, count), rules(kind, count))
        .change()
}

/// Nanoseconds of each family's first packet between two Pods, one a round; and how long it took until policy was in force.
pub fn first_with_rules(
    bpffs: &Path,
    kind: Rules,
    count: u32,
    rounds: u16,
) -> (Vec<(String, Vec<f64>)>, Duration) {
    let mut scene = Scene::new(bpffs);
    let program = scene.node.program("from_endpoint");
    let mut taken = Duration::ZERO;
    if count > 0 {
        let change = draft(kind, count, [scene.node.a, scene.node.b]);
        let begun = worked();
        scene.node.datapath.apply_policy(&change).unwrap();
        taken = worked() - begun;
    }
    let mut costs: Vec<_> = families().map(|f| (version(f.a).to_owned(), vec![])).into();
    for round in 0..rounds {
        for (Family { a, b, .. }, (_, costs)) in families().into_iter().zip(&mut costs) {
            let mut packet = ported(tcp(a, b, &[]), (1024 + round % 60_000, DESTINATION + 1));
            packet.payload[13] = 2; // SYN
            costs.push(once(&program, scene.node.a, &packet.frame(GATEWAY_MAC, GATEWAY_MAC), 1));
        }
    }
    (costs, taken)
}

/// How long this thread has worked: a busy machine counts less.
fn worked() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// How long it takes until so many addresses of Pods, or blocks, are known, and then one more.
pub fn time_to_know(bpffs: &Path, addresses: u32, blocks: u32, pods: u32) -> [Duration; 2] {
    let sizes = Sizes::default();
    let options = datapath::Options { policy: sizes, max_endpoints: 256, ..options(bpffs) };
    let mut datapath = datapath::Datapath::open(&options).unwrap();
    let mut draft = Draft::new();
    for n in 0..pods {
        if n % 2 == 0 {
            run("ip", &format!("link add name pod{n} type veth peer name pod{}", n + 1));
        }
        let ifindex = super::super::ifindex(&format!("pod{n}"));
        datapath.bind(&super::super::port(ifindex, &[&format!("10.200.0.{}", n + 1)])).unwrap();
        draft =
            draft.pod(ifindex, Table(all(deny(1)), vec![(1, all(allow(2)))]), Table(all(allow(3)), vec![]));
    }
    let address = |n: u32| IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n));
    draft.0.classes = (0..addresses).map(|n| (address(n), Some(1 + n % 100))).collect();
    for n in 0..blocks {
        let base = 0xac10_0000 + 512 * n;
        let block = |length, base: u32| IpNet::new(IpAddr::from(Ipv4Addr::from(base)), length).unwrap();
        // With an except.
        draft.0.blocks.extend([(block(24, base), Some(1)), (block(28, base + 16), Some(0))]);
    }
    let change = draft.change();
    let begun = worked();
    datapath.apply_policy(&change).unwrap();
    let all = worked() - begun;
    let one = Change { classes: vec![(address(addresses), Some(7))], ..Change::default() };
    let begun = worked();
    datapath.apply_policy(&one).unwrap();
    [all, worked() - begun]
}
