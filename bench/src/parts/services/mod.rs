//! What Services cost: a ClusterIP beside the Pods behind it, and beside kube-proxy.

pub(crate) mod beside_kube_proxy;
pub(crate) mod changes;
pub(crate) mod flood;

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Family, Lab, Target};
use plumbing::NetNs;

use crate::context::Bench;
use crate::maps::{Frontend, ServiceMap, TCP, UDP};
use crate::objects::{self, CIDRS, ENDPOINTS, Service, TARGET};
use crate::results::{Better, Part, Table};
use crate::traffic::{Path, connections_per_second, packets_per_second, requests_per_second};

type Measure = fn(&Path, Duration) -> Result<f64>;

/// What is measured of every path: id, title, unit, how.
pub(super) const METRICS: [(&str, &str, &str, Measure); 3] = [
    ("rr", "request/response", "transactions/s", requests_per_second),
    ("crr", "connect-request-close", "connections/s", connections_per_second),
    ("udp", "UDP, 64 bytes, received", "packets/s", packets_per_second),
];

/// Before the first round.
pub(super) const WARM_UP: Duration = Duration::from_millis(50);

/// How long the agents may take to serve a Service.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) const HOW: &str = "Both ends threads of one program. Request/response and connect-request-close: all on one \
    processor. UDP: sender and receiver on different processors, one direction, and what counts is what arrives. The \
    Service has 10 endpoints, each a Pod with a server of its own.";

/// A Service and its endpoints, by where they are from the client.
const PLACES: [(&str, &str, u8, &str); 2] =
    [("same-node", "node1", 80, "same node"), ("cross-node", "node2", 81, "across nodes")];

/// An id, a title, and the paths that are compared, by the case's name.
type Row = (String, String, [(&'static str, Path); 2]);

pub(crate) fn run(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("services", "A ClusterIP beside the Pods behind it");
    part.note(HOW);
    part.case("plain", "the client connects to the 10 Pods themselves, one after the other");
    part.case("ClusterIP", "the client connects to the Service");
    bench.progress.step("services: nodes and Pods");
    let lab = bench.lab_with("services", Family::Dual, 2, true, vec![format!("--service-cidr={CIDRS}")])?;
    let client = lab.add_pod("node1", "bench", "client")?;
    let mut rows: Vec<Row> = Vec::new();
    for (id, node, number, title) in PLACES {
        let (service, pods) = make_service(&lab, node, number, None)?;
        objects::write(&lab.manifests(), &service.name, service.objects())?;
        for (family, ipv4) in [("ipv4", true), ("ipv6", false)] {
            let near = || lab.netns(&Target::Pod(client.key.clone()));
            wait(bench, &lab, "node1", &[Frontend::ClusterIp(service.at(ipv4))])?;
            let paths = [("plain", None), ("ClusterIP", Some(service.at(ipv4)))];
            let [plain, through] = paths.map(|(case, at)| -> Result<(&'static str, Path)> {
                Ok((case, Path { from: near()?, servers: servers(&lab, &pods, ipv4)?, service: at }))
            });
            let title = format!("{title}, {}", if ipv4 { "IPv4" } else { "IPv6" });
            rows.push((format!("services/{id}-{family}"), title, [plain?, through?]));
        }
    }
    let duration = Duration::from_secs_f64(bench.seconds);
    for round in 0..=bench.rounds {
        bench.progress.step(&format!("services: round {round} of {}", bench.rounds));
        for (id, title, paths) in &rows {
            for (metric, what, unit, how) in METRICS {
                let id = format!("{id}-{metric}");
                if round == 0 {
                    part.tables.push(Table::new(
                        &id,
                        &format!("{title}: {what}"),
                        unit,
                        Better::Higher,
                        "plain",
                    ));
                }
                for (case, path) in paths {
                    bench.check()?;
                    bench.progress.detail(&format!("services: round {round}, {title}, {what}, {case}"));
                    let time = if round == 0 { WARM_UP } else { duration };
                    let value = how(path, time).with_context(|| format!("{title}, {what}, case {case}"))?;
                    if round > 0 {
                        part.record(&id, case, value)?;
                    }
                }
            }
        }
    }
    Ok(part)
}

/// A Service of that number whose endpoints are new Pods of a node.
pub(crate) fn make_service(
    lab: &Lab,
    node: &str,
    number: u8,
    node_port: Option<u16>,
) -> Result<(Service, Vec<lab::Pod>)> {
    let name = format!("measured-{number}");
    let pods = (0..ENDPOINTS)
        .map(|pod| lab.add_pod(node, "bench", &format!("{name}-{pod}")))
        .collect::<Result<Vec<_>>>()?;
    let backends: Vec<IpAddr> = pods.iter().flat_map(lab::Pod::addresses).collect();
    Ok((Service { name, number, backends, node: node.to_owned(), node_port }, pods))
}

/// A server at each of the Pods' addresses of a family.
pub(super) fn servers(lab: &Lab, pods: &[lab::Pod], ipv4: bool) -> Result<Vec<(NetNs, SocketAddr)>> {
    pods.iter()
        .map(|pod| {
            let address = pod.addresses().into_iter().find(|address| address.is_ipv4() == ipv4);
            let address = address.context("a Pod without an address of that family")?;
            Ok((lab.netns(&Target::Pod(pod.key.clone()))?, SocketAddr::new(address, TARGET)))
        })
        .collect()
}

/// Where all but one of so many Services are reached.
pub(super) fn others(size: u16) -> Vec<Frontend> {
    let at = |number| Frontend::ClusterIp((objects::other_address(number), objects::PORT).into());
    (1..size).map(at).collect()
}

/// Waits until a node has all backends of these frontends, over TCP and UDP.
pub(crate) fn wait(bench: &Bench, lab: &Lab, node: &str, frontends: &[Frontend]) -> Result<()> {
    [TCP, UDP].into_iter().try_for_each(|protocol| wait_for(bench, lab, node, frontends, protocol))
}

/// The same, over one protocol.
pub(super) fn wait_for(
    bench: &Bench,
    lab: &Lab,
    node: &str,
    frontends: &[Frontend],
    protocol: u8,
) -> Result<()> {
    let begin = Instant::now();
    let mut map = None;
    for at in frontends {
        loop {
            if map.is_none() {
                // The agent may have yet to make it.
                map = ServiceMap::open(lab, node).ok();
            }
            let count = map.as_ref().map(|map| map.backends(*at, protocol)).transpose()?;
            if count == Some(u32::from(ENDPOINTS)) {
                break;
            }
            bench.check()?;
            ensure!(begin.elapsed() < PATIENCE, "{node} does not serve {at:?} after {PATIENCE:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}
