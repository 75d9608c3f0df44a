use std::net::{IpAddr, Ipv4Addr};

use midonet::{HostInterfacePort, Port, PortType, Resource};
use naming::PodKey;

use crate::attachment::{Attachment, mac};
use crate::ids::Ids;
use crate::network::host;
use crate::set::Set;
use crate::wanted::Wanted;
use crate::{Node, Pod, Reason};

/// What MidoNet is to hold of a Pod.
pub(crate) fn convert(pod: &Pod, on: Option<&Node>, ids: &Ids, set: &mut Set) -> Wanted {
    if pod.node.is_empty() || pod.host_network || pod.finished {
        return Wanted::Set(Vec::new());
    }
    let Some(on) = on else {
        let message = format!("its Node {} is not known: what MidoNet has of it stays as it is", pod.node);
        set.problem(Reason::UnknownNode, message);
        return Wanted::Keep;
    };
    let Some(host) = host(on) else {
        let help = "see the Node's Events. What MidoNet has of the Pod stays as it is";
        set.problem(
            Reason::NodeNotConverted,
            format!("MidoNet has no bridge or host for its Node {}: {help}", pod.node),
        );
        return Wanted::Keep;
    };
    let key = pod.key();
    let at = Attachment { bridge: ids.bridge(&pod.node), port: ids.pod_port(&key) };
    let interface_name = naming::pod_host_interface(&PodKey::new(key.namespace, key.name));
    let port = Port {
        id: at.port,
        port_type: PortType::Bridge,
        port_subnet: Vec::new(),
        port_mac: None,
        inbound_filter_id: None,
        outbound_filter_id: None,
    };
    set.add(
        "Pod",
        &pod.name,
        vec![
            Resource::of(at.bridge, port),
            Resource::of(host, HostInterfacePort { host_id: host, port_id: at.port, interface_name }),
        ],
    );
    let address = address(pod, set);
    if let Some(mac) = mac(pod.mac_address.as_deref(), set) {
        at.mac("Pod", &pod.name, mac, set);
        if let Some(address) = address {
            at.arp("Pod", &pod.name, address, mac, set);
        }
    }
    Wanted::Set(std::mem::take(&mut set.translations))
}

/// The first IPv4 address.
fn address(pod: &Pod, set: &mut Set) -> Option<Ipv4Addr> {
    let mut ipv4 = None;
    let mut ipv6 = Vec::new();
    for text in pod.ips.iter().filter(|text| !text.is_empty()) {
        match text.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(IpAddr::V4(address)) => {
                ipv4.get_or_insert(address);
            }
            Ok(IpAddr::V6(_)) => ipv6.push(text.clone()),
            Err(_) => set.problem(Reason::InvalidAddress, format!("its address \"{text}\" is no IP address")),
        }
    }
    set.passed_over("MidoNet does not know its addresses", &ipv6);
    ipv4
}
