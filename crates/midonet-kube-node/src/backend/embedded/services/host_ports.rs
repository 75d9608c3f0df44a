//! A Pod's hostPorts as rows of the datapath's table of Services: each is a frontend of this node with one backend.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use datapath::{Backend, Frontend, FrontendKind, Policy, ServicePort, ServicePortKey};

use super::convert::protocol_of;
use crate::backend::HostPort;

/// The rows of a container's hostPorts, each with where it leads. One of a loopback address is for the node's own processes
/// alone, which reach it by the nftables table.
pub(in crate::backend::embedded) fn rows<'a>(
    container: &str,
    targets: impl IntoIterator<Item = (&'a HostPort, SocketAddr)>,
) -> BTreeMap<ServicePortKey, ServicePort> {
    let service: Arc<str> = format!("hostPorts of {container}").into();
    let targets = targets.into_iter().filter(|(port, _)| !port.at().is_some_and(|at| at.is_loopback()));
    targets.map(|(port, to)| (key(&service, port, to.ip()), row(port, to))).collect()
}

fn key(service: &Arc<str>, port: &HostPort, to: IpAddr) -> ServicePortKey {
    let name = match port.at() {
        Some(at) => format!("{} of {at}", port.port),
        None => port.port.to_string(),
    };
    ServicePortKey {
        service: Arc::clone(service),
        port: name.into(),
        protocol: protocol_of(port.protocol),
        family: datapath::Family::of(to),
    }
}

fn row(port: &HostPort, to: SocketAddr) -> ServicePort {
    let (inside, outside) = (Policy::Cluster, Policy::Cluster);
    let kind = FrontendKind::HostPort;
    ServicePort {
        frontends: vec![Frontend { kind, address: port.at(), port: port.port, inside, outside }],
        cluster: Arc::new([Backend { address: to.ip(), port: to.port() }]),
        local: Arc::default(),
        refuse: false,
        affinity: None,
        source_ranges: None,
    }
}

#[cfg(test)]
mod tests {
    use model::Protocol;

    use super::*;

    #[test]
    fn each_host_port_is_a_row_of_its_own() {
        let port = |address: &str| HostPort {
            address: address.parse().ok(),
            protocol: Protocol::Udp,
            port: 53,
            container_port: 1053,
        };
        let (all, one, loopback) = (port(""), port("192.0.2.1"), port("127.0.0.1"));
        let to = |text: &str| text.parse::<SocketAddr>().unwrap();
        let [v4, v6] = ["10.244.1.9:1053", "[fd44::9]:1053"].map(to);
        let rows = rows("abc", [(&all, v4), (&all, v6), (&one, v4), (&loopback, v4)]);
        let names: Vec<_> = rows.keys().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "hostPorts of abc:53/UDP (IPv4)",
                "hostPorts of abc:53/UDP (IPv6)",
                "hostPorts of abc:53 of 192.0.2.1/UDP (IPv4)"
            ]
        );
        let leads: Vec<_> =
            rows.values().map(|row| (row.frontends[0].address, row.cluster[0].address)).collect();
        assert_eq!(leads, [(None, v4.ip()), (None, v6.ip()), (Some("192.0.2.1".parse().unwrap()), v4.ip())]);
    }
}
