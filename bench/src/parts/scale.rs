//! The agent of one node in a large cluster: how soon it is ready, what memory it takes, and how soon a
//! change of another node is in the packets' way.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::{Family, Lab, Target};
use plumbing::NetNs;
use serde_json::{Value, json};

use crate::agent;
use crate::apiserver::ApiServer;
use crate::context::Bench;
use crate::http;
use crate::manifests;
use crate::parts::add::PLUGINS;
use crate::results::{Better, Part, Table};

const NODES: u16 = 5000;
const PODS: usize = 500;

/// The node that all is about, the one that moves, and the one that lends it another address.
const NODE: &str = "node1";
const MOVING: &str = "node2";
const OTHER: &str = "node3";

/// Where the API server runs: a node without an agent.
const SERVER: &str = "node3";

/// What waits for the agent gives up by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// UDP port of the tunnels.
const TUNNEL: u16 = 4789;

/// Rounds of the change's latency for each round of the run: one takes about a tenth of a second.
const CHANGES: usize = 3;

/// Where the agent has its objects from.
enum Source {
    Manifests,
    Api(ApiServer),
}

pub(crate) fn run(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("scale", "The agent with 5,000 nodes and 500 local Pods");
    part.note(
        "One real node with the real agent, IPv4 and IPv6, 500 Pods added by the real plugin. Nodes from a \
         directory of manifests, and from a real API server (kube-apiserver and etcd in another node).",
    );
    part.note(
        "Ready: from the start of the program until its socket answers and /readyz says so (looked at every \
         10 ms). Memory: VmRSS and VmHWM of the process when it is ready. A change: from the moment another \
         node has a new address, in its manifest or by a call of the API server, to the first packet of a Pod \
         that arrives there; with manifests the agent waits 20 ms of it for the file to be complete.",
    );
    part.case("start", "the first start on a node: 5,000 nodes, no Pods, no maps to adopt");
    part.case("restart", "5,000 nodes and 500 Pods, with everything to restore");
    part.tables.push(Table::new("scale/ready", "agent ready", "s", Better::Lower, ""));
    part.tables.push(Table::new("scale/memory", "agent's memory", "MiB", Better::Lower, ""));
    part.tables.push(Table::new("scale/change", "a node's change in effect", "ms", Better::Lower, ""));
    part.tables.push(Table::new("scale/cpu", "CPU time of a node's change", "ms", Better::Lower, ""));

    bench.progress.step("scale: a node among 5,000 manifests");
    let lab = bench.lab("scale", Family::Dual, 3, false)?;
    write_nodes(&lab)?;
    measure(bench, &lab, &mut part, &Source::Manifests)?;
    drop(lab);

    bench.progress.step("scale: an API server with 5,000 nodes");
    let files = tempfile::tempdir().context("a directory for the API server")?;
    let kubeconfig = files.path().join("kubeconfig");
    let lab = bench.lab_with(
        "scale-api",
        Family::Dual,
        3,
        false,
        vec![format!("--kubeconfig={}", kubeconfig.display())],
    )?;
    let server = ApiServer::start(&lab, SERVER, files.path(), &kubeconfig)?;
    for (_, node) in nodes(&lab)? {
        bench.check()?;
        server.create("/api/v1/nodes", &node)?;
    }
    measure(bench, &lab, &mut part, &Source::Api(server))?;
    Ok(part)
}

/// Everything, with one source of objects.
fn measure(bench: &Bench, lab: &Lab, part: &mut Part, source: &Source) -> Result<()> {
    let name = source.name();
    let case = |what: &str| source.case(what);
    bench.install(lab, NODE, PLUGINS)?;
    let node = lab.netns(&Target::Node(NODE.to_owned()))?;
    part.record("scale/ready", &case("start"), agent::start(lab, NODE)?)?;
    for number in 0..PODS {
        bench.check()?;
        if number % 50 == 0 {
            bench.progress.step(&format!("scale, {name}: Pod {number} of {PODS}"));
        }
        lab.add_pod(NODE, "bench", &format!("pod-{number}"))?;
    }
    for round in 1..=bench.rounds {
        bench.check()?;
        bench.progress.step(&format!("scale, {name}: restart {round} of {}", bench.rounds));
        lab.stop_agent(NODE)?;
        part.record("scale/ready", &case("restart"), agent::start(lab, NODE)?)?;
        known(&node)?;
        for (what, field) in [("resident", "VmRSS"), ("peak", "VmHWM")] {
            part.record("scale/memory", &case(what), agent::memory(lab, NODE, field)?)?;
        }
    }
    changes(bench, lab, part, source)
}

impl Source {
    fn name(&self) -> &'static str {
        match self {
            Self::Manifests => "manifests",
            Self::Api(_) => "API server",
        }
    }

    /// A case's name with this source; the aims are for manifests.
    fn case(&self, what: &str) -> String {
        match self {
            Self::Manifests => what.to_owned(),
            Self::Api(_) => format!("{what}, API server"),
        }
    }

    /// Gives the moving node another address.
    fn move_to(&self, lab: &Lab, cidrs: &[String], address: IpAddr) -> Result<()> {
        let node = manifests::node(MOVING, cidrs, &[address]);
        match self {
            Self::Manifests => manifests::write(&lab.manifests(), MOVING, &node),
            Self::Api(server) => {
                let status = json!({"status": node.get("status")});
                server.patch(&format!("/api/v1/nodes/{MOVING}/status"), &status)
            }
        }
    }
}

/// Fails unless the agent knows all that it is said to know here.
fn known(node: &NetNs) -> Result<()> {
    let page = http::get(node, "/metrics")?.context("the agent has no metrics")?;
    for (name, wanted) in [("ports", PODS), ("peers", usize::from(NODES) - 1)] {
        let name = format!("midonet_kube_node_{name}");
        let found = http::metric(&page, &name).with_context(|| format!("the agent has no metric {name}"))?;
        ensure!(found.to_string() == wanted.to_string(), "{name} is {found}, not {wanted}");
    }
    Ok(())
}

/// All nodes: the real one whose podCIDR holds 500 Pods, the one that moves, and others that
/// are only known.
fn nodes(lab: &Lab) -> Result<Vec<(String, Value)>> {
    let state = lab.state()?;
    let own = state.node(NODE)?.addresses.clone();
    let moving = state.node(MOVING)?;
    let cidrs: Vec<String> = moving.pod_cidrs.iter().map(ToString::to_string).collect();
    let mut nodes = vec![
        (
            NODE.to_owned(),
            manifests::node(NODE, &["10.244.4.0/22".to_owned(), "fd44:0:0:1::/64".to_owned()], &own),
        ),
        (MOVING.to_owned(), manifests::node(MOVING, &cidrs, &moving.addresses)),
    ];
    for number in 0..NODES - 2 {
        let [high, low] = number.to_be_bytes();
        let first = 64 * 256 + number * 8;
        let cidrs = [
            format!("10.244.{}.{}/29", first / 256, first % 256),
            format!("fd44:0:0:{:x}::/64", 0x1000 + number),
        ];
        let name = format!("known-{number}");
        let node = manifests::node(&name, &cidrs, &[Ipv4Addr::new(10, 9, high, low).into()]);
        nodes.push((name, node));
    }
    Ok(nodes)
}

fn write_nodes(lab: &Lab) -> Result<()> {
    let dir = lab.manifests();
    fs::remove_file(dir.join(format!("node-{OTHER}.yaml"))).context("the manifest of a node")?;
    nodes(lab)?.iter().try_for_each(|(name, node)| manifests::write(&dir, name, node))
}

/// Moves a node between two addresses, and waits for a Pod's packets to follow.
fn changes(bench: &Bench, lab: &Lab, part: &mut Part, source: &Source) -> Result<()> {
    let state = lab.state()?;
    let ends = [OTHER, MOVING].map(|name| -> Result<(IpAddr, UdpSocket)> {
        let address = *state.node(name)?.addresses.first().context("a node without an address")?;
        let netns = lab.netns(&Target::Node(name.to_owned()))?;
        let socket = netns.run(|| UdpSocket::bind((address, TUNNEL)))??;
        socket.set_nonblocking(true)?;
        Ok((address, socket))
    });
    let [other, moving] = ends;
    let ends = [other?, moving?];
    let cidrs: Vec<String> = state.node(MOVING)?.pod_cidrs.iter().map(ToString::to_string).collect();
    let pod = state.pods.first().context("there is no Pod")?.key.clone();
    let probe = lab.netns(&Target::Pod(pod))?.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    let rounds = bench.rounds * CHANGES;
    for round in 0..=rounds {
        bench.check()?;
        bench.progress.detail(&format!("scale: change {round} of {rounds}"));
        let (address, socket) = ends.get(round % 2).context("one of two")?;
        drain(socket)?;
        let begin = Instant::now();
        let used = agent::cpu(lab, NODE)?;
        source.move_to(lab, &cidrs, *address)?;
        while !arrived(socket)? {
            ensure!(begin.elapsed() < PATIENCE, "no packet follows {MOVING} to {address} after {PATIENCE:?}");
            // Whatever the Pod is told of a packet's fate: the next one may arrive.
            let _ = probe.send_to(&[0], (Ipv4Addr::new(10, 244, 2, 9), 9));
            thread::sleep(Duration::from_micros(200));
        }
        // The first round resolves neighbours.
        if round > 0 {
            part.record(
                "scale/change",
                &source.case("change to packet"),
                begin.elapsed().as_secs_f64() * 1e3,
            )?;
        }
        // A file's time says more than its length only when it is older than the clock's grain. And what the agent does
        // after the change is in effect counts, too.
        thread::sleep(Duration::from_millis(100));
        if round > 0 {
            part.record(
                "scale/cpu",
                &source.case("a change"),
                agent::cpu(lab, NODE)?.saturating_sub(used).as_secs_f64() * 1e3,
            )?;
        }
    }
    Ok(())
}

fn drain(socket: &UdpSocket) -> Result<()> {
    while arrived(socket)? {}
    Ok(())
}

fn arrived(socket: &UdpSocket) -> Result<bool> {
    match socket.recv(&mut [0; 2048]) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => bail!("cannot receive: {error}"),
    }
}
