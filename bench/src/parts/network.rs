//! What gets through between two Pods, on one node and across nodes.

use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Family, Guard, Lab, Target};

use crate::context::Bench;
use crate::peers::flanneld::Flannel;
use crate::peers::{self, Node};
use crate::results::{Better, Part, Table};
use crate::traffic::{
    Path, connections_per_second, gigabits_per_second, packets_per_second, requests_per_second,
};

type Measure = fn(&Path, Duration) -> Result<f64>;

/// What is measured of every path: id, title, unit, how.
const METRICS: [(&str, &str, &str, Measure); 5] = [
    ("rr", "request/response", "transactions/s", requests_per_second),
    ("crr", "connect-request-close", "connections/s", connections_per_second),
    ("udp", "UDP, 64 bytes, received", "packets/s", packets_per_second),
    ("tcp1", "TCP stream, 1 connection", "Gbit/s", |path, time| gigabits_per_second(path, 1, time)),
    ("tcp4", "TCP stream, 4 connections", "Gbit/s", |path, time| gigabits_per_second(path, 4, time)),
];

/// Long enough to resolve neighbours and to fill caches, before the first round.
const WARM_UP: Duration = Duration::from_millis(50);

const HOW: &str = "IPv4, both ends threads of one program. Request/response and connect-request-close: \
    both ends on one processor, so the figure is the cost of a transaction. UDP: sender and receiver on \
    different processors, and what counts is what arrives. Pods have an MTU of 1450 everywhere.";

pub(crate) fn same_node(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("same-node", "Between two Pods of one node");
    part.note(HOW);
    part.case("loopback", "one namespace, its loopback interface (MTU 65536): no network at all");
    part.case("veth", "two namespaces and one veth pair: the lower bound");
    part.case("bridge", "two Pods on a bridge: as flannel does");
    part.case("routed", "two Pods, each at the end of a veth pair that the node routes to: as ptp does");
    part.case("ours", "two Pods added by the real plugin, with the real agent");
    bench.progress.step("same-node: nodes and Pods");
    let own = bench.lab("ours", Family::V4, 1, true)?;
    let others = bench.lab("peers", Family::V4, 4, false)?;
    let before = before(bench, &mut part, 1)?;
    let mut paths = vec![
        ("loopback", peers::loopback(&Node::new(&others, "node1"))?),
        ("veth", peers::veth(&Node::new(&others, "node2"))?),
        ("bridge", peers::bridge(&Node::new(&others, "node3"))?),
        ("routed", peers::routed(&Node::new(&others, "node4"))?),
        ("ours", pods(&own, "node1", "node1")?),
    ];
    if let Some(before) = &before {
        paths.push(("before", pods(before, "node1", "node1")?));
    }
    measure(bench, &mut part, "veth", &paths)?;
    Ok(part)
}

pub(crate) fn cross_node(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("cross-node", "Between two Pods of two nodes");
    part.note(HOW);
    part.note("The underlay is a bridge with an MTU of 1500, made alike for every case.");
    part.case("flannel", "bridge and kernel VXLAN with fixed FDB and neighbour entries, without rules");
    part.case("flanneld", "the real flannel: its daemon with a real API server, and a bridge");
    part.case("ours-device", "the flow-based VXLAN device");
    bench.progress.step("cross-node: nodes and Pods");
    let others = bench.lab("peers", Family::V4, 2, false)?;
    let encapsulation = bench.agent_knows("--encapsulation")?;
    let device_args = if encapsulation { vec!["--encapsulation=device".to_owned()] } else { Vec::new() };
    let device = bench.lab_with("ours-device", Family::V4, 2, true, device_args)?;
    let direct = if encapsulation {
        part.case("ours-direct", "the VXLAN header written and removed in eBPF at the uplink");
        Some(bench.lab_with("ours-direct", Family::V4, 2, true, vec!["--encapsulation=direct".to_owned()])?)
    } else {
        part.note("This agent has no encapsulation in eBPF: that case is missing.");
        None
    };
    bench.progress.step("cross-node: flannel");
    let files = tempfile::tempdir().context("a directory for the API server")?;
    let real = bench.lab("flanneld", Family::V4, 3, false)?;
    let _flannel = Flannel::start(&real, ["node1", "node2", "node3"], files.path())?;
    let mut paths = vec![
        ("flanneld", Flannel::path(&real, "node1", "node2")?),
        ("flannel", peers::flannel(&Node::new(&others, "node1"), &Node::new(&others, "node2"))?),
        ("ours-device", pods(&device, "node1", "node2")?),
    ];
    if let Some(direct) = &direct {
        paths.push(("ours-direct", pods(direct, "node1", "node2")?));
    }
    let before = before(bench, &mut part, 2)?;
    if let Some(before) = &before {
        paths.push(("before", pods(before, "node1", "node2")?));
    }
    measure(bench, &mut part, "flannel", &paths)?;
    Ok(part)
}

/// What it costs traffic to record flows.
pub(crate) fn flows(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("flows", "With flows recorded");
    part.note(HOW);
    part.case("off", "two Pods of one node, --flows off");
    part.case("on", "the same with --flows on");
    part.case("off, two nodes", "two Pods of two nodes, --flows off");
    part.case("on, two nodes", "the same with --flows on");
    bench.progress.step("flows: nodes and Pods");
    let lab = |name: &str, switch: &str| {
        bench.lab_with(name, Family::V4, 2, true, vec![format!("--flows={switch}")])
    };
    let (off, on) = (lab("flows-off", "off")?, lab("flows-on", "on")?);
    let mut paths = Vec::new();
    for (lab, near, far) in [(&off, "off", "off, two nodes"), (&on, "on", "on, two nodes")] {
        paths.push((near, pods(lab, "node1", "node1")?));
        let (from, to) = (lab.add_pod("node1", "bench", "c")?, lab.add_pod("node2", "bench", "d")?);
        let address = to.addresses().first().copied().context("a Pod without an address")?;
        let (from, to) = (lab.netns(&Target::Pod(from.key))?, lab.netns(&Target::Pod(to.key))?);
        paths.push((far, Path::between(from, to, address)));
    }
    measure(bench, &mut part, "off", &paths)?;
    Ok(part)
}

/// Another build of this network, if there is one to compare with.
fn before(bench: &Bench, part: &mut Part, nodes: u8) -> Result<Option<Guard>> {
    let Some(programs) = &bench.before else { return Ok(None) };
    part.case("before", &format!("the programs in {}", programs.display()));
    Ok(Some(bench.lab_of(programs, "before", Family::V4, nodes, true, Vec::new())?))
}

/// A Pod on each of two nodes, by the real plugin.
fn pods(lab: &Lab, near: &str, far: &str) -> Result<Path> {
    let (a, b) = (lab.add_pod(near, "bench", "a")?, lab.add_pod(far, "bench", "b")?);
    let address = b.addresses().first().copied().context("a Pod without an address")?;
    Ok(Path::between(lab.netns(&Target::Pod(a.key))?, lab.netns(&Target::Pod(b.key))?, address))
}

fn measure(bench: &Bench, part: &mut Part, baseline: &str, paths: &[(&str, Path)]) -> Result<()> {
    let name = part.name;
    for (id, title, unit, _) in METRICS {
        let place = name.replace('-', " ");
        part.tables.push(Table::new(
            &format!("{name}/{id}"),
            &format!("{place}: {title}"),
            unit,
            Better::Higher,
            baseline,
        ));
    }
    let duration = Duration::from_secs_f64(bench.seconds);
    for round in 0..=bench.rounds {
        bench.progress.step(&format!("{name}: round {round} of {}", bench.rounds));
        for (id, title, _, how) in METRICS {
            for (case, path) in paths {
                bench.check()?;
                bench.progress.detail(&format!("{name}: round {round} of {}, {title}, {case}", bench.rounds));
                let time = if round == 0 { WARM_UP } else { duration };
                let value = how(path, time).with_context(|| format!("{title}, case {case}"))?;
                if round > 0 {
                    part.record(&format!("{name}/{id}"), case, value)?;
                }
            }
        }
    }
    Ok(())
}
