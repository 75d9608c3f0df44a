//! At 10, 1,000 and 10,000 Services, ours and kube-proxy's.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Family, Guard, Target};

use super::{HOW, METRICS, WARM_UP, make_service, others, servers, wait, wait_for};
use crate::apiserver::ApiServer;
use crate::context::Bench;
use crate::manifests;
use crate::maps::{Frontend, TCP};
use crate::objects::{self, CIDRS, Service, TARGET};
use crate::peers::proxy::KubeProxy;
use crate::peers::{self, Node};
use crate::results::{Better, Part, Table};
use crate::traffic::{Path, connections_per_second, requests_per_second};

/// How many Services there are, and the node of the peers that has them.
const SIZES: [(u16, &str, &str, &str); 3] = [
    (10, "ours, 10", "kube-proxy, 10", "node1"),
    (1000, "ours, 1,000", "kube-proxy, 1,000", "node2"),
    (10_000, "ours, 10,000", "kube-proxy, 10,000", "node3"),
];

/// Where the peers' API server is.
const CONTROL: &str = "node4";

const NODE_PORT: u16 = 30_080;

/// The peers' Pods: a client, and the endpoints of the measured Service.
const PEERS: [(&str, &str); 11] = [
    ("a", "10.62.0.2"),
    ("b0", "10.62.0.3"),
    ("b1", "10.62.0.4"),
    ("b2", "10.62.0.5"),
    ("b3", "10.62.0.6"),
    ("b4", "10.62.0.7"),
    ("b5", "10.62.0.8"),
    ("b6", "10.62.0.9"),
    ("b7", "10.62.0.10"),
    ("b8", "10.62.0.11"),
    ("b9", "10.62.0.12"),
];
const PEERS_CIDR: &str = "10.62.0.0/16";

/// The paths of one case: through the ClusterIP, and from outside through the NodePort.
struct Case {
    name: &'static str,
    inside: Path,
    outside: Path,
}

pub(crate) fn run(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("kube-proxy", "Services beside kube-proxy's");
    part.note(HOW);
    part.note(
        "IPv4, one node, 10, 1,000 and 10,000 Services of 10 endpoints each; one of them is measured. Ours: Pods by the real \
         plugin, objects from a directory of manifests. kube-proxy: the real program in nftables mode, with a real API \
         server; Pods at veth pairs that the node routes to, as ptp does. It wrote its rules and does not run while they are \
         measured. NodePort: from a host outside, two hops away, to the node that has all endpoints.",
    );
    let (mut tables, mut measures) = (Vec::new(), Vec::new());
    for (id, title, unit, how) in METRICS {
        tables.push((format!("kube-proxy/{id}"), format!("ClusterIP: {title}"), unit));
        measures.push((how, false));
    }
    tables.push(("kube-proxy/nodeport-rr".into(), "NodePort: request/response".into(), "transactions/s"));
    measures.push((requests_per_second, true));
    tables.push((
        "kube-proxy/nodeport-crr".into(),
        "NodePort: connect-request-close".into(),
        "connections/s",
    ));
    measures.push((connections_per_second, true));
    for (id, title, unit) in &tables {
        part.tables.push(Table::new(id, title, unit, Better::Higher, "kube-proxy, 10"));
    }

    let mut labs: Vec<Guard> = Vec::new();
    let mut cases = Vec::new();
    for (size, name, _, _) in SIZES {
        bench.progress.step(&format!("kube-proxy: ours with {size} Services"));
        let (lab, case) = ours(bench, size, name)?;
        part.case(name, "this network with so many Services");
        labs.push(lab);
        cases.push(case);
    }
    let lab = bench.lab("proxies", Family::V4, 4, false)?;
    for case in kube_proxies(bench, &lab)? {
        part.case(case.name, "kube-proxy with so many Services");
        cases.push(case);
    }
    // Each size beside its peer.
    cases.sort_by_key(|case| case.name.rsplit(' ').next().map(str::len));

    let duration = Duration::from_secs_f64(bench.seconds);
    for round in 0..=bench.rounds {
        bench.progress.step(&format!("kube-proxy: round {round} of {}", bench.rounds));
        for ((id, title, _), (how, outside)) in tables.iter().zip(&measures) {
            for case in &cases {
                bench.check()?;
                bench.progress.detail(&format!("kube-proxy: round {round}, {title}, {}", case.name));
                let path = if *outside { &case.outside } else { &case.inside };
                let time = if round == 0 { WARM_UP } else { duration };
                let value = how(path, time).with_context(|| format!("{title}, case {}", case.name))?;
                if round > 0 {
                    part.record(id, case.name, value)?;
                }
            }
        }
    }
    Ok(part)
}

fn ours(bench: &Bench, size: u16, name: &'static str) -> Result<(Guard, Case)> {
    let args = vec![format!("--service-cidr={CIDRS}")];
    let lab = bench.lab_with(&format!("services-{size}"), Family::V4, 1, true, args)?;
    objects::write(&lab.manifests(), "others", (1..size).flat_map(objects::other))?;
    let client = lab.add_pod("node1", "bench", "client")?;
    let (service, pods) = make_service(&lab, "node1", 80, Some(NODE_PORT))?;
    objects::write(&lab.manifests(), &service.name, service.objects())?;
    let own = [Frontend::ClusterIp(service.at(true)), Frontend::NodePort(NODE_PORT)];
    wait(bench, &lab, "node1", &own)?;
    wait_for(bench, &lab, "node1", &others(size), TCP)?;
    let inside = Path {
        from: lab.netns(&Target::Pod(client.key))?,
        servers: servers(&lab, &pods, true)?,
        service: Some(service.at(true)),
    };
    let outside = Path {
        from: lab.netns(&Target::Outside)?,
        servers: servers(&lab, &pods, true)?,
        service: Some(node_port(&lab, "node1")?),
    };
    Ok((lab, Case { name, inside, outside }))
}

/// Where a node serves the measured Service to the outside.
fn node_port(lab: &lab::Lab, node: &str) -> Result<SocketAddr> {
    let state = lab.state()?;
    let address = state.node(node)?.addresses.iter().copied().find(std::net::IpAddr::is_ipv4);
    Ok(SocketAddr::new(address.context("a node without IPv4")?, NODE_PORT))
}

/// A node for each size: kube-proxy writes the rules of the Services that there are by then.
fn kube_proxies(bench: &Bench, lab: &Guard) -> Result<Vec<Case>> {
    let files = tempfile::tempdir().context("a directory for the API server")?;
    let kubeconfig = files.path().join("kubeconfig");
    let server = ApiServer::start(lab, CONTROL, files.path(), &kubeconfig)?;
    let service = Service {
        name: "measured-80".into(),
        number: 80,
        backends: PEERS.iter().skip(1).map(|(_, address)| address.parse()).collect::<Result<_, _>>()?,
        node: "node1".into(),
        node_port: Some(NODE_PORT),
    };
    server.create_all(bench, &service.objects())?;
    let mut there = 1;
    let mut cases = Vec::new();
    for (size, _, name, node) in SIZES {
        bench.progress.step(&format!("kube-proxy: {size} Services at its API server"));
        server.create_all(bench, &(there..size).flat_map(objects::other).collect::<Vec<_>>())?;
        there = size;
        bench.progress.step(&format!("kube-proxy: its rules for {size} Services"));
        let addresses = lab.state()?.node(node)?.addresses.clone();
        let object = manifests::node(node, &[PEERS_CIDR.to_owned()], &addresses);
        server.create("/api/v1/nodes", &object)?;
        let peer = Node::new(lab, node);
        peers::route_to(&peer, &PEERS)?;
        let proxy = KubeProxy::start(lab, node, PEERS_CIDR, files.path(), &kubeconfig)?;
        // The measured one has a port more than the others.
        proxy.wait(usize::from(size) + 1)?;
        drop(proxy);
        let backends = || -> Result<_> {
            let server = |(pod, address): &(&str, &str)| -> Result<_> {
                Ok((peer.netns(pod)?, SocketAddr::new(address.parse()?, TARGET)))
            };
            PEERS.iter().skip(1).map(server).collect()
        };
        cases.push(Case {
            name,
            inside: Path { from: peer.netns("a")?, servers: backends()?, service: Some(service.at(true)) },
            outside: Path {
                from: lab.netns(&Target::Outside)?,
                servers: backends()?,
                service: Some(node_port(lab, node)?),
            },
        });
    }
    Ok(cases)
}
