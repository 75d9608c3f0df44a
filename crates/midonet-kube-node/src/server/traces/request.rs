//! What is asked of a trace.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};

use datapath::trace::{Entrance, Entry, Packet, State, Transport};
use model::{FrontendKind, Model};
use nodeapi::v1;
use nodeapi::v1::find_trace_end_request::End;
use nodeapi::v1::trace_packet_request::Entrance as Asking;
use objects::Key;
use tonic::Status;

use crate::agent::Agent;
use crate::backend::PortRecord;
use crate::server::near;

/// The network of a node whose packets are traced here.
pub(super) const EMBEDDED: &str = "embedded";

/// That of one whose packets MidoNet carries.
pub(super) const MIDONET: &str = "midonet";

/// The kernel's own ephemeral ports, by default.
const EPHEMERAL: std::ops::Range<u16> = 32_768..61_000;

/// A packet, and where it comes in.
pub(super) struct Asked {
    pub(super) entrance: Entrance,
    /// The Pod that sends it.
    pub(super) from: Option<PortRecord>,
    pub(super) packet: Packet,
    pub(super) state: State,
}

impl Asked {
    /// # Errors
    /// The request cannot mean anything, or this node has no such Pod.
    pub(super) fn read(agent: &Agent, request: &v1::TracePacketRequest) -> Result<Self, Status> {
        let packet =
            request.packet.as_ref().ok_or_else(|| Status::invalid_argument("packet: there is none"))?;
        let destination = address("destination", &packet.destination)?;
        let family = |address: &&IpAddr| address.is_ipv4() == destination.is_ipv4();
        let mut from = None;
        let (entrance, default) = match &request.entrance {
            Some(Asking::Pod(pod)) => {
                let port = port_of(agent, pod)?;
                let own = port.addresses.iter().find(family).copied();
                let entrance = Entrance::Port(port.host_ifindex);
                let what = format!("Pod {}/{}", pod.namespace, pod.name);
                from = Some(port);
                (entrance, own.ok_or_else(|| no_family(&what, destination)))
            }
            Some(Asking::Node(true)) => {
                let network = agent.backend().status().network;
                let own = network.and_then(|network| {
                    network.local.node_addresses.iter().map(ipnet::IpNet::addr).find(|own| family(&own))
                });
                (Entrance::Node, own.ok_or_else(|| no_family(agent.node_name(), destination)))
            }
            Some(Asking::Tunnel(peer)) => {
                let none = Status::invalid_argument("packet.source: what comes through a tunnel has one");
                (Entrance::Tunnel(address("tunnel", peer)?), Err(none))
            }
            _ => return Err(Status::invalid_argument("entrance: there is none")),
        };
        let source = if packet.source.is_empty() { default? } else { address("source", &packet.source)? };
        let transport = transport(&packet.protocol)?;
        let port = |what: &str, number: u32| {
            u16::try_from(number)
                .map_err(|_| Status::invalid_argument(format!("{what}: {number} is no port")))
        };
        let source_port = match port("source_port", packet.source_port)? {
            0 => any_port(),
            some => some,
        };
        let destination_port = match (transport, port("destination_port", packet.destination_port)?) {
            (Transport::Icmp, _) => source_port,
            (_, 0) => return Err(Status::invalid_argument("destination_port: a ping alone has none")),
            (_, some) => some,
        };
        let entry = |entry: &v1::TraceEntry| Entry {
            map: entry.map.clone(),
            key: entry.key.clone(),
            value: entry.value.clone(),
        };
        Ok(Self {
            entrance,
            from,
            packet: Packet {
                transport,
                source: SocketAddr::new(source, source_port),
                destination: SocketAddr::new(destination, destination_port),
                reply: packet.reply,
            },
            state: State(request.state.iter().map(entry).collect()),
        })
    }
}

fn no_family(what: &str, destination: IpAddr) -> Status {
    let family = if destination.is_ipv4() { "IPv4" } else { "IPv6" };
    Status::failed_precondition(format!("{what} has no {family} address, and {destination} is one"))
}

/// One that no connection of the sender is likely to have.
fn any_port() -> u16 {
    let number = RandomState::new().build_hasher().finish() % u64::from(EPHEMERAL.end - EPHEMERAL.start);
    EPHEMERAL.start + u16::try_from(number).unwrap_or_default()
}

pub(super) fn address(what: &str, text: &str) -> Result<IpAddr, Status> {
    let address: Result<IpAddr, _> = text.parse();
    let address = address.map(|address| address.to_canonical());
    address.map_err(|_| Status::invalid_argument(format!("{what}: {text:?} is no IP address")))
}

const PROTOCOLS: [(&str, Transport); 4] =
    [("tcp", Transport::Tcp), ("udp", Transport::Udp), ("sctp", Transport::Sctp), ("icmp", Transport::Icmp)];

pub(super) fn transport(text: &str) -> Result<Transport, Status> {
    let known = PROTOCOLS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    known.map(|(_, transport)| transport).ok_or_else(|| {
        Status::invalid_argument(format!("protocol: {text:?} is none of tcp, udp, sctp and icmp"))
    })
}

pub(super) fn protocol_name(transport: Transport) -> &'static str {
    let known = PROTOCOLS.into_iter().find(|(_, known)| *known == transport);
    known.map_or("", |(name, _)| name)
}

fn port_of(agent: &Agent, pod: &v1::PodName) -> Result<PortRecord, Status> {
    let is_it = |port: &PortRecord| port.pod().namespace == pod.namespace && port.pod().name == pod.name;
    let found = agent.backend().ports().into_iter().find(is_it);
    found.ok_or_else(|| {
        Status::not_found(format!("Pod {}/{} is no Pod of this node", pod.namespace, pod.name))
    })
}

/// The addresses that a name stands for.
///
/// # Errors
/// Nobody has that name, as far as this node knows.
pub(super) fn find(
    agent: &Agent,
    request: &v1::FindTraceEndRequest,
) -> Result<v1::FindTraceEndReply, Status> {
    let network = if agent.packets().is_ok() { EMBEDDED } else { MIDONET };
    let mut ports = Vec::new();
    let (mut addresses, node) = match &request.end {
        Some(End::Pod(pod)) => find_pod(agent, pod)?,
        Some(End::Service(service)) => {
            ports = service_ports(agent, service);
            (find_service(agent, service)?, String::new())
        }
        Some(End::Node(node)) => (find_node(agent, node)?, node.clone()),
        None => return Err(Status::invalid_argument("end: there is none")),
    };
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.dedup_by_key(|address| address.is_ipv6());
    let addresses = addresses.iter().map(ToString::to_string).collect();
    Ok(v1::FindTraceEndReply { addresses, node, network: network.to_owned(), ports })
}

/// The ports of a Service, and where its endpoints are. One of each family comes twice.
fn service_ports(agent: &Agent, service: &v1::ServiceName) -> Vec<v1::TraceServicePort> {
    let id = format!("{}/{}", service.namespace, service.name);
    let view = agent.with_model(|model| model.service_view(&id)).flatten();
    let ports = view.iter().flat_map(|view| &view.ports).filter_map(|port| {
        let frontends = &port.row.as_ref()?.frontends;
        let own = frontends.iter().find(|frontend| frontend.kind == FrontendKind::ClusterIp)?;
        let endpoints = port.endpoints.iter();
        let numbers: BTreeSet<u32> = endpoints.clone().filter_map(|one| one.port).map(u32::from).collect();
        let nodes: BTreeSet<String> =
            endpoints.filter_map(|one| one.node.as_deref()).map(str::to_owned).collect();
        Some(v1::TraceServicePort {
            protocol: port.key.protocol.to_string().to_lowercase(),
            port: own.port.into(),
            endpoint_ports: numbers.into_iter().collect(),
            endpoint_nodes: nodes.into_iter().collect(),
        })
    });
    ports.collect()
}

fn find_pod(agent: &Agent, pod: &v1::PodName) -> Result<(Vec<IpAddr>, String), Status> {
    if let Ok(port) = port_of(agent, pod) {
        return Ok((port.addresses, agent.node_name().to_owned()));
    }
    let v1::PodName { namespace, name } = pod;
    let found = agent.policies().and_then(|policies| policies.pod(&Key::namespaced(namespace, name)));
    match found {
        Some(pod) if !pod.addresses.is_empty() => {
            Ok((pod.addresses.to_vec(), pod.node.as_deref().unwrap_or_default().to_owned()))
        }
        Some(_) => Err(Status::not_found(format!("Pod {namespace}/{name} has no address yet"))),
        None => Err(Status::not_found(format!(
            "there is no Pod {namespace}/{name}, or it has ended, or uses its node's addresses (hostNetwork): give an \
             address; a Service is named service/{namespace}/{name}{}",
            near::pod(agent, namespace, name)
        ))),
    }
}

fn find_service(agent: &Agent, service: &v1::ServiceName) -> Result<Vec<IpAddr>, Status> {
    let id = format!("{}/{}", service.namespace, service.name);
    let look = |model: &Model| {
        let rows = model.desired()?.services.iter().filter(|(key, _)| *key.service == *id);
        let fronts = rows.flat_map(|(_, row)| row.frontends.iter());
        let own = fronts.filter(|frontend| frontend.kind == FrontendKind::ClusterIp);
        Some(own.filter_map(|frontend| frontend.address).collect::<Vec<_>>())
    };
    let found = agent.with_model(look).flatten().unwrap_or_default();
    if found.is_empty() {
        return Err(Status::not_found(format!(
            "this node serves no Service {id} with a cluster IP: see `midokube services`; give an address of a Service \
             without one, or one of its Pods{}",
            near::service(agent, &id)
        )));
    }
    Ok(found)
}

fn find_node(agent: &Agent, node: &str) -> Result<Vec<IpAddr>, Status> {
    if node == agent.node_name() {
        let network = agent.backend().status().network;
        return Ok(network.map(|network| network.local.tunnel_addresses.clone()).unwrap_or_default());
    }
    let peer = agent.peers().get(node).map(|peer| peer.tunnel_address);
    let unknown = || Status::not_found(format!("this node knows no Node {node}{}", near::node(agent, node)));
    let address = peer.ok_or_else(unknown)?;
    Ok(vec![address])
}
