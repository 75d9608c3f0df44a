//! Everything there is to know about this node's network, as one message.

use std::collections::HashMap;

use anyhow::Result;
use datapath::{Fate, Limit, Limits};
use model::Problem;
use naming::alias::PortAlias;
use nodeapi::v1;
use plumbing::Link;

use super::summary::{policy_summary, summary};
use crate::agent::{Agent, Readiness};
use crate::backend::binding::Bound;
use crate::backend::{self, Packets, PortRecord};

/// Gathers the answer to `Status`.
///
/// # Errors
/// The kernel does not give its links or the datapath's counters.
pub(super) fn report(agent: &Agent) -> Result<v1::StatusReply> {
    let backend = agent.backend();
    let (ports, packets) = (backend.ports(), backend.packets());
    let counters = packets.map_or_else(|| Ok(Vec::new()), Packets::counters)?;
    let links = plumbing::link::list()?;
    let bound = Bound::of(&links, packets.is_none());
    let leaks = agent.leaks();
    Ok(v1::StatusReply {
        services: summary(agent),
        policy: policy_summary(agent),
        problems: agent.problems().all().into_iter().map(problem_message).collect(),
        leaks: leaks.messages(),
        leaks_incomplete: leaks.incomplete,
        agent: Some(agent_message(agent)),
        network: Some(network_message(backend.status(), agent.node_name(), &bound)),
        ports: port_messages(&ports, &links, &bound)?,
        peers: agent
            .peers()
            .into_iter()
            .map(|(node, peer)| v1::Peer {
                node: node.to_string(),
                pod_cidrs: texts(&peer.pod_cidrs),
                tunnel_address: peer.tunnel_address.to_string(),
            })
            .collect(),
        counters: counters
            .into_iter()
            .map(|counter| v1::Counter {
                name: counter.name.to_owned(),
                help: counter.help.to_owned(),
                drop: counter.fate != Fate::Forward,
                verdict: counter.fate.name().to_owned(),
                packets: counter.packets,
                bytes: counter.bytes,
            })
            .collect(),
    })
}

pub(super) fn problem_message(Problem { what, object, problem, remedy }: Problem) -> v1::Problem {
    v1::Problem { what: what.to_owned(), object, problem, remedy }
}

pub(super) fn agent_message(agent: &Agent) -> v1::Agent {
    let readiness = agent.readiness();
    let (source, source_error) = agent.source();
    v1::Agent {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: agent.node_name().to_owned(),
        uptime_seconds: agent.uptime().as_secs(),
        ready: readiness == Readiness::Ready,
        not_ready_reason: match readiness {
            Readiness::Ready => String::new(),
            Readiness::Waiting(reason) => reason,
        },
        source: source.to_owned(),
        source_error: source_error.unwrap_or_default(),
        objects_from_disk_seconds: agent.objects_from_disk().map(|age| age.as_secs()),
        pending_annotations: agent.annotations().waiting().try_into().unwrap_or(u64::MAX),
    }
}

fn network_message(status: backend::Status, node_name: &str, bound: &Bound) -> v1::Network {
    let (port, vni) = status.tunnels.unwrap_or_default();
    let mut message = v1::Network {
        overlay_port: port.into(),
        vni,
        kind: status.kind.name().to_owned(),
        cluster_cidrs: texts(&status.cluster_cidrs),
        ..Default::default()
    };
    if let Some(network) = status.network {
        let local = &network.local;
        message.pod_cidrs = texts(&local.pod_cidrs);
        message.gateways = texts(&local.gateways);
        message.node_addresses = local.node_addresses.iter().map(|net| net.addr().to_string()).collect();
        message.node_mac = network.node_mac.to_string();
        message.node_port_id = naming::node_port_id(node_name).to_string();
        message.mtu = network.mtu;
        message.encapsulation = network.encapsulation.unwrap_or_default().to_owned();
        message.node_port_bound = bound.node;
        message.uplink = network.uplink;
        message.tunnel_address = local.tunnel_address.to_string();
    }
    message
}

fn port_messages(ports: &[PortRecord], links: &[Link], bound: &Bound) -> Result<Vec<v1::Port>> {
    let links: HashMap<u32, &Link> = links.iter().map(|link| (link.ifindex, link)).collect();
    let host_sides: Vec<&Link> =
        ports.iter().filter_map(|port| links.get(&port.host_ifindex).copied()).collect();
    let container_sides = plumbing::link::peers(host_sides.iter().copied())?;
    let traffic: HashMap<u32, plumbing::Stats> = host_sides
        .iter()
        .zip(container_sides)
        .filter_map(|(host, container)| Some((host.ifindex, container?.stats)))
        .collect();
    let message = |port: &PortRecord| v1::Port {
        bound: bound.is_bound(port.host_ifindex),
        ..port_message(port, traffic.get(&port.host_ifindex).copied())
    };
    Ok(ports.iter().map(message).collect())
}

/// The traffic is what the container side counts: the datapath hands packets to it past the host side.
fn port_message(port: &PortRecord, traffic: Option<plumbing::Stats>) -> v1::Port {
    let PortAlias { pod, container_id, ifname, .. } = port.alias();
    v1::Port {
        port_id: naming::pod_port_id(&pod).to_string(),
        namespace: pod.namespace,
        name: pod.name,
        container_id,
        ifname,
        host_ifname: port.host_ifname.clone(),
        host_ifindex: port.host_ifindex,
        mac: port.mac.to_string(),
        addresses: texts(&port.addresses),
        sent: traffic.map(|stats| v1::Traffic { packets: stats.tx_packets, bytes: stats.tx_bytes }),
        bandwidth: bandwidth(port.limits),
        bound: None,
        received: traffic.map(|stats| v1::Traffic { packets: stats.rx_packets, bytes: stats.rx_bytes }),
    }
}

fn bandwidth(limits: Limits) -> Option<v1::Bandwidth> {
    let numbers = |limit: Option<Limit>| limit.map_or((0, 0), |limit| (limit.rate, limit.burst));
    let ((ingress_rate, ingress_burst), (egress_rate, egress_burst)) =
        (numbers(limits.ingress), numbers(limits.egress));
    (limits != Limits::default()).then_some(v1::Bandwidth {
        ingress_rate,
        ingress_burst,
        egress_rate,
        egress_burst,
    })
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}
