//! What is followed, and where.

use std::net::IpAddr;

use anyhow::{Result, bail};
use nodeapi::v1::trace_packet_request::Entrance;
use nodeapi::v1::{FollowPacketsRequest, PodName, TracePacket, TracePacketRequest};

use crate::name::Name;
use crate::port::Port;
use crate::trace::args::{Packet, Place, Target};
use crate::trace::embedded::{Ask, Found, choose};
use crate::trace::view::End;

/// So many nodes are followed at most: each is asked four times a second.
const MOST_NODES: usize = 16;

/// What agents take.
const MOST_PORTS: usize = 8;

/// What is followed, and where.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) port: Port,
    /// 0: any.
    pub(super) source_port: u16,
    /// The client's node.
    pub(super) home: String,
    /// All that are followed, that one first.
    pub(super) nodes: Vec<String>,
    /// The ports of the other end, whatever it is translated to; none: any.
    ports: Vec<u16>,
}

impl Plan {
    /// # Errors
    /// Nobody knows who sends, or to whom, or it is no Pod that sends.
    pub(super) fn new(ask: &mut impl Ask, packet: &Packet) -> Result<Self> {
        let Place::Pod(pod) = &packet.from else {
            bail!(
                "--live follows what a Pod sends and gets, by its address: name the Pod first, also to see what {} sends to it",
                packet.from
            )
        };
        let (home, sources) = ask.home(&packet.from)?;
        let (name, found) = match &packet.to {
            Target::Address(address) => {
                let node = node_of(ask, &home, pod, *address, &packet.port);
                (address.to_string(), Found { addresses: vec![*address], node, ports: Vec::new() })
            }
            Target::Service(service) => (format!("Service {service}"), ask.find(&home, &packet.to)?),
            Target::Place(place) => (place.to_string(), ask.find(&home, &packet.to)?),
        };
        let address = choose(packet, &sources, &name, &found.addresses)?;
        let Some(source) = sources.iter().find(|source| source.is_ipv4() == address.is_ipv4()) else {
            bail!("{} has no address of the family of {address}", packet.from)
        };
        let (nodes, ports) = places(&found, &home, &packet.port);
        Ok(Self {
            from: End { name: packet.from.to_string(), address: *source },
            to: End { name, address },
            port: packet.port.clone(),
            source_port: packet.source_port.unwrap_or_default(),
            home,
            nodes,
            ports,
        })
    }

    /// What a node is asked for. The client's port is translated on the way, if another connection has it already.
    pub(super) fn request(&self, node: &str) -> FollowPacketsRequest {
        FollowPacketsRequest {
            client: self.from.address.to_string(),
            client_port: if node == self.home { self.source_port.into() } else { 0 },
            protocol: self.port.protocol.to_owned(),
            ports: self.ports.iter().copied().map(u32::from).collect(),
            ..FollowPacketsRequest::default()
        }
    }
}

/// The node of whoever has an address, as the client's node would send a packet there; `None`: not known, or outside.
fn node_of(ask: &mut impl Ask, home: &str, from: &Name, to: IpAddr, port: &Port) -> Option<String> {
    let packet = TracePacket {
        protocol: port.protocol.to_owned(),
        destination: to.to_string(),
        destination_port: port.number.into(),
        ..TracePacket::default()
    };
    let pod = PodName { namespace: from.namespace.clone(), name: from.name.clone() };
    let request =
        TracePacketRequest { entrance: Some(Entrance::Pod(pod)), packet: Some(packet), state: Vec::new() };
    ask.trace(home, &request).ok().map(|reply| reply.next_node)
}

/// The nodes where such a connection passes, and the ports that its server may have.
fn places(found: &Found, home: &str, port: &Port) -> (Vec<String>, Vec<u16>) {
    let mut nodes = vec![home.to_owned()];
    let mut ports: Vec<u16> = Some(port.number).filter(|number| *number != 0).into_iter().collect();
    let is_it = |one: &&nodeapi::v1::TraceServicePort| {
        one.protocol == port.protocol && one.port == u32::from(port.number)
    };
    let served = found.ports.iter().filter(is_it);
    let others = found.node.iter().chain(served.clone().flat_map(|one| &one.endpoint_nodes));
    for node in others.filter(|node| !node.is_empty()) {
        if !nodes.contains(node) && nodes.len() < MOST_NODES {
            nodes.push(node.clone());
        }
    }
    let more = served.flat_map(|one| &one.endpoint_ports).filter_map(|number| u16::try_from(*number).ok());
    for number in more {
        if !ports.contains(&number) {
            ports.push(number);
        }
    }
    // More than that: any.
    if ports.len() > MOST_PORTS {
        ports.clear();
    }
    (nodes, ports)
}
