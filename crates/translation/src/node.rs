use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use midonet::{
    Bridge, HostInterfacePort, Port, PortLink, PortType, Resource, Route, RouteType, TunnelZoneHost,
};
use naming::{interface, key_mac, sub_id};
use uuid::Uuid;

use crate::attachment::{Attachment, mac};
use crate::ids::Ids;
use crate::network::{Network, host_id};
use crate::set::Set;
use crate::wanted::Wanted;
use crate::{Node, Reason, rules};

/// What MidoNet is to hold of a Node.
pub(crate) fn convert(node: &Node, ids: &Ids, set: &mut Set) -> Wanted {
    let network = Network::of(node).map_err(|message| set.problem(Reason::InvalidPodCidr, message));
    let Ok(host) = host_id(node).map_err(|(reason, message)| set.problem(reason, message)) else {
        return Wanted::Set(Vec::new());
    };
    let Ok(network) = network else {
        return Wanted::Keep;
    };
    // A port is bound to a host only if the host is in a tunnel zone.
    tunnel_endpoint(node, host, ids, set);
    set.add("Node", &node.name, bridge(node, host, &network, ids));
    addresses(node, &network, ids, set);
    let at = Attachment { bridge: ids.bridge(&node.name), port: ids.node_port(&node.name) };
    if let Some(mac) = mac(node.mac_address.as_deref(), set) {
        at.mac("Node", &node.name, mac, set);
        at.arp("Node", &node.name, network.node, mac, set);
    }
    Wanted::Set(std::mem::take(&mut set.translations))
}

/// The Node's bridge, its port to the router with the route to its podCIDR, and the node's own port.
fn bridge(node: &Node, host: Uuid, network: &Network, ids: &Ids) -> Vec<Resource> {
    let bridge = ids.bridge(&node.name);
    let part = |part| sub_id(&bridge, part);
    let bridge_port = part("Bridge Port");
    let router_port = part("Router Port");
    let node_port = ids.node_port(&node.name);
    let chain = part("Node Port Chain");
    let port = |id, port_type| Port {
        id,
        port_type,
        port_subnet: Vec::new(),
        port_mac: None,
        inbound_filter_id: None,
        outbound_filter_id: None,
    };
    vec![
        Resource::top(Bridge {
            id: bridge,
            tenant_id: ids.tenant.clone(),
            name: node.name.clone(),
            inbound_filter_id: Some(ids.main_chain),
            outbound_filter_id: None,
        }),
        Resource::of(bridge, port(bridge_port, PortType::Bridge)),
        Resource::of(
            ids.router(),
            Port {
                port_subnet: network.router_port(),
                // A PUT without it would clear it.
                port_mac: Some(key_mac(&node.name)),
                ..port(router_port, PortType::Router)
            },
        ),
        Resource::of(ids.router(), route(part("Route"), network.cidr.trunc(), router_port, None)),
        Resource::of(bridge_port, PortLink { port_id: None, peer_id: router_port }),
        Resource::top(ids.chain(chain, format!("KUBE-NODE-{}", node.name))),
        Resource::of(bridge, Port { outbound_filter_id: Some(chain), ..port(node_port, PortType::Bridge) }),
        Resource::of(
            host,
            HostInterfacePort { host_id: host, port_id: node_port, interface_name: interface::MIDO.into() },
        ),
        // What comes from a node to an address of this one has the gateway as its source: answers come back through
        // MidoNet, which undoes what it translated.
        Resource::of(chain, rules::snat(part("Node Port SNAT Rule"), network.node, network.gateway)),
    ]
}

fn route(id: Uuid, to: Ipv4Net, port: Uuid, gateway: Option<Ipv4Addr>) -> Route {
    Route {
        id,
        dst_network_addr: to.addr(),
        dst_network_length: to.prefix_len(),
        next_hop_gateway: gateway,
        next_hop_port: Some(port),
        src_network_addr: Ipv4Addr::UNSPECIFIED,
        src_network_length: 0,
        route_type: RouteType::Normal,
    }
}

/// A route to each of the Node's addresses, by the node's own port.
fn addresses(node: &Node, network: &Network, ids: &Ids, set: &mut Set) {
    let router_port = sub_id(&ids.bridge(&node.name), "Router Port");
    let mut ipv6 = Vec::new();
    let mut seen = Vec::new();
    for entry in
        node.addresses.iter().filter(|entry| matches!(entry.kind.as_str(), "ExternalIP" | "InternalIP"))
    {
        match entry.address.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(IpAddr::V4(address)) => {
                let key = format!("{}/{}/{address}", node.name, entry.kind);
                if !seen.contains(&key) {
                    let to = Ipv4Net::from(address);
                    let route = route(ids.node_address(&key), to, router_port, Some(network.node));
                    set.add("Node-Address", &key, vec![Resource::of(ids.router(), route)]);
                    seen.push(key);
                }
            }
            Ok(IpAddr::V6(_)) => ipv6.push(entry.address.clone()),
            Err(_) => {
                let (kind, text) = (&entry.kind, &entry.address);
                set.problem(
                    Reason::InvalidAddress,
                    format!("its {kind} \"{text}\" is no IP address: no route leads to it"),
                );
            }
        }
    }
    set.passed_over("no route leads to its addresses", &ipv6);
}

fn tunnel_endpoint(node: &Node, host: Uuid, ids: &Ids, set: &mut Set) {
    let zone = match node.tunnel_zone_id.as_deref() {
        None | Some("") => Ok(ids.default_tunnel_zone()),
        Some(text) => Uuid::try_parse(text).map_err(|_| text),
    };
    let zone = match zone {
        Ok(zone) => zone,
        Err(text) => {
            let help = "write the zone's id, or nothing for the default zone";
            let what = format!("the annotation midonet.org/tunnel-zone-id is \"{text}\", no UUID: {help}");
            return set.problem(Reason::InvalidTunnelZone, what);
        }
    };
    let endpoint = node.tunnel_endpoint_ip.as_deref().unwrap_or_default();
    match endpoint.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => set.add(
            "Node-Tunnel-Endpoint",
            &format!("{}/{address}/{zone}/{host}", node.name),
            vec![Resource::of(zone, TunnelZoneHost { host_id: host, ip_address: address })],
        ),
        _ => set.problem(
            Reason::MissingTunnelEndpoint,
            format!(
                "the annotation midonet.org/tunnel-endpoint-ip is \"{endpoint}\": MidoNet binds no port of this node until \
                 it is an IPv4 address of its host"
            ),
        ),
    }
}
