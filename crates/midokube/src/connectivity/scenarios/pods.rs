//! Pods among each other.

use std::net::SocketAddr;

use super::super::check::{Expect, Stage};
use super::super::question::{Size, What};
use super::super::scene::{CLIENT, End, FAR, NEAR, PORT, Scene};
use super::plan::{By, Checks, Plan, Scenario, answer_of, common, each_other};

/// Bytes that a connection carries in each direction.
const BULK: u32 = 4 << 20;

/// The largest packets are no larger: a reader's buffer takes them, and no test takes long.
const LARGEST: u16 = 9000;

/// Of how many bytes a packet is that is fragmented where packets have so many.
const fn fragmented(mtu: u16) -> u16 {
    let mtu = if mtu > LARGEST { LARGEST } else { mtu };
    mtu * 2 + 100
}

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "pod-to-pod-same-node-tcp",
        what: "Pods of one node reach each other by TCP",
        plan: |scene| each_other(scene.pod(CLIENT)?, scene.pod(NEAR)?, By::Tcp),
    },
    Scenario {
        name: "pod-to-pod-same-node-udp",
        what: "Pods of one node reach each other by UDP",
        plan: |scene| each_other(scene.pod(CLIENT)?, scene.pod(NEAR)?, By::Udp),
    },
    Scenario {
        name: "pod-to-pod-same-node-ping",
        what: "Pods of one node answer each other's pings",
        plan: |scene| pings(scene.pod(CLIENT)?, scene.pod(NEAR)?),
    },
    Scenario {
        name: "pod-to-pod-across-nodes-tcp",
        what: "Pods of two nodes reach each other by TCP",
        plan: |scene| each_other(scene.pod(CLIENT)?, scene.pod(FAR)?, By::Tcp),
    },
    Scenario {
        name: "pod-to-pod-across-nodes-udp",
        what: "Pods of two nodes reach each other by UDP",
        plan: |scene| each_other(scene.pod(CLIENT)?, scene.pod(FAR)?, By::Udp),
    },
    Scenario {
        name: "pod-to-pod-across-nodes-ping",
        what: "Pods of two nodes answer each other's pings",
        plan: |scene| pings(scene.pod(CLIENT)?, scene.pod(FAR)?),
    },
    Scenario {
        name: "pod-to-itself",
        what: "a Pod reaches itself by its own address",
        plan: |scene| {
            let (client, mut checks) = (scene.pod(CLIENT)?, Checks::default());
            checks.pod(Stage::Before, client, client, By::Tcp, PORT, &answer_of(CLIENT));
            checks.plan()
        },
    },
    Scenario {
        name: "pod-source-address-kept",
        what: "a Pod sees other Pods by their own addresses",
        plan: source_kept,
    },
    Scenario {
        name: "largest-packet-same-node",
        what: "packets as large as Pods' MTU pass whole between Pods of one node",
        plan: |scene| sized(scene, scene.pod(NEAR)?, |bytes| Size::Whole { bytes }),
    },
    Scenario {
        name: "largest-packet-across-nodes",
        what: "packets as large as Pods' MTU pass whole between nodes",
        plan: |scene| sized(scene, scene.pod(FAR)?, |bytes| Size::Whole { bytes }),
    },
    Scenario {
        name: "fragments-same-node",
        what: "datagrams larger than the MTU pass in fragments between Pods of one node",
        plan: |scene| sized(scene, scene.pod(NEAR)?, |mtu| Size::Fragmented { bytes: fragmented(mtu) }),
    },
    Scenario {
        name: "fragments-across-nodes",
        what: "datagrams larger than the MTU pass in fragments between nodes",
        plan: |scene| sized(scene, scene.pod(FAR)?, |mtu| Size::Fragmented { bytes: fragmented(mtu) }),
    },
    Scenario {
        name: "bulk-tcp-same-node",
        what: "4 MiB pass unchanged in each direction between Pods of one node",
        plan: |scene| bulk(scene.pod(CLIENT)?, scene.pod(NEAR)?),
    },
    Scenario {
        name: "bulk-tcp-across-nodes",
        what: "4 MiB pass unchanged in each direction between nodes",
        plan: |scene| bulk(scene.pod(CLIENT)?, scene.pod(FAR)?),
    },
];

fn pings(one: &End, other: &End) -> Result<Plan, String> {
    let mut checks = Checks::default();
    for (from, to) in [(one, other), (other, one)] {
        for (address, end) in common(from, to) {
            checks.add(from, What::Ping { to: address }, end, Expect::Accepted);
        }
    }
    checks.plan()
}

fn source_kept(scene: &Scene) -> Result<Plan, String> {
    let (client, mut checks) = (scene.pod(CLIENT)?, Checks::default());
    let others = [NEAR, FAR].into_iter().filter_map(|name| scene.pod(name).ok());
    for (from, to) in others.flat_map(|other| [(client, other), (other, client)]) {
        for (address, end) in common(from, to) {
            let client = from.addresses.iter().copied().find(|one| one.is_ipv4() == address.is_ipv4());
            let expect = Expect::By { names: vec![to.name().to_owned()], client };
            checks.add(from, By::Tcp.ask(address, PORT, 1), end, expect);
        }
    }
    checks.plan()
}

/// A datagram of a size that is made of the Pods' MTU, in both directions.
fn sized(scene: &Scene, other: &End, size: impl Fn(u16) -> Size) -> Result<Plan, String> {
    let (client, mut checks) = (scene.pod(CLIENT)?, Checks::default());
    for (from, to) in [(client, other), (other, client)] {
        let mtu = [&from.node, &to.node].into_iter().filter_map(|node| scene.node(node).ok()?.mtu).min();
        let mtu = mtu.ok_or_else(|| "the agents do not tell the Pods' MTU".to_owned())?;
        for (address, end) in common(from, to) {
            let what = What::Udp { to: SocketAddr::new(address, PORT), times: 1, size: size(mtu) };
            checks.add(from, what, end, answer_of(to.name()));
        }
    }
    checks.plan()
}

fn bulk(one: &End, other: &End) -> Result<Plan, String> {
    let mut checks = Checks::default();
    for (address, end) in common(one, other) {
        let what = What::Tcp { to: SocketAddr::new(address, PORT), times: 1, bytes: BULK };
        checks.add(one, what, end, answer_of(other.name()));
    }
    checks.plan()
}
