//! Which connections a change of Services ends. Pure.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::services::{Backend, FrontendKind, Protocol, ServicePort, ServicePortKey};

use super::types::{Connection, Kind, State};

/// What is to be removed of the tables of connections after Services were changed in the maps. A connection over TCP or SCTP
/// that is established outlives all of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purge {
    /// Who serves the UDP ports that changed, by their numbers, sorted; nobody: the port is gone.
    serving: HashMap<u32, Arc<[Backend]>>,
    /// Frontends that were added: the protocol's number, the address (`None`: any of nodes) and the port.
    added: HashSet<(u8, Option<IpAddr>, u16)>,
}

impl Purge {
    /// A port of a Service with this number has other endpoints: UDP flows to those that do not serve any more end.
    /// `serving` is sorted.
    pub fn change(&mut self, key: &ServicePortKey, number: u32, serving: Arc<[Backend]>) {
        if key.protocol == Protocol::Udp {
            self.serving.insert(number, serving);
        }
    }

    /// A port of a Service with this number is gone: all of its UDP flows end.
    pub fn remove(&mut self, number: u32) {
        self.serving.insert(number, Arc::default());
    }

    /// Frontends that were not there before: what was sent there was nobody's, or somebody else's.
    pub fn add(&mut self, key: &ServicePortKey, before: Option<&ServicePort>, now: &ServicePort) {
        for frontend in &now.frontends {
            let is_new = before.is_none_or(|before| !before.frontends.contains(frontend));
            // What is sent to a ClusterIP without a Service goes nowhere.
            if is_new && frontend.kind != FrontendKind::ClusterIp {
                self.added.insert((key.protocol.number(), frontend.address, frontend.port));
            }
        }
    }

    /// Takes in what another one says, which is newer.
    pub fn extend(&mut self, newer: Self) {
        self.serving.extend(newer.serving);
        self.added.extend(newer.added);
    }

    /// Whether there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.serving.is_empty() && self.added.is_empty()
    }

    /// Whether a connection is to be removed.
    pub fn is_wanted(&self, connection: &Connection) -> bool {
        let Connection { kind, protocol, frontend, backend, .. } = connection;
        if *kind != Kind::Plain {
            let serving = self.serving.get(&connection.service);
            let backend = Backend { address: backend.ip(), port: backend.port() };
            return *protocol == Protocol::Udp.number()
                && serving.is_some_and(|serving| serving.binary_search(&backend).is_err());
        }
        // The client of a tunnel's is outside, and its frontend a Pod.
        let can_be =
            !connection.tunnel && (*protocol == Protocol::Udp.number() || connection.state == State::New);
        let was_added = |address| self.added.contains(&(*protocol, address, frontend.port()));
        can_be && (was_added(Some(frontend.ip())) || was_added(None))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::layout::connections::Tuple;
    use crate::services::{Family, Frontend, Policy};

    fn key(protocol: Protocol) -> ServicePortKey {
        ServicePortKey { service: "default/dns".into(), port: "".into(), protocol, family: Family::V4 }
    }

    fn connection(protocol: Protocol, kind: Kind, frontend: &str, backend: &str) -> Connection {
        let [client, frontend, backend] =
            ["10.0.0.1:5", frontend, backend].map(|text| text.parse::<SocketAddr>().unwrap());
        Connection {
            kind,
            protocol: protocol.number(),
            client,
            frontend,
            source: client,
            backend,
            service: if kind == Kind::Plain { 0 } else { 7 },
            state: State::Established,
            established: true,
            idle: Duration::ZERO,
            tunnel: false,
            client_ifindex: 0,
            server_ifindex: 0,
            key: Tuple::default(),
        }
    }

    fn backends(list: &[&str]) -> Arc<[Backend]> {
        let backend = |text: &&str| text.parse::<SocketAddr>().unwrap();
        let backends = list.iter().map(backend);
        backends.map(|one| Backend { address: one.ip(), port: one.port() }).collect()
    }

    #[test]
    fn udp_flows_leave_a_backend_that_serves_no_more() {
        let to = |protocol, backend| connection(protocol, Kind::Forward, "10.96.0.1:53", backend);
        let mut purge = Purge::default();
        assert!(purge.is_empty() && !purge.is_wanted(&to(Protocol::Udp, "10.0.0.7:53")));
        purge.change(&key(Protocol::Tcp), 7, backends(&[]));
        assert!(purge.is_empty(), "connections over TCP outlive their endpoints");
        purge.change(&key(Protocol::Udp), 7, backends(&["10.0.0.7:53", "10.0.0.8:53"]));
        for (protocol, backend, wanted) in [
            (Protocol::Udp, "10.0.0.7:53", false),
            (Protocol::Udp, "10.0.0.7:54", true),
            (Protocol::Udp, "10.0.0.9:53", true),
            (Protocol::Tcp, "10.0.0.9:53", false),
        ] {
            assert_eq!(purge.is_wanted(&to(protocol, backend)), wanted, "{protocol} {backend}");
            let reply = Connection { kind: Kind::Reply, ..to(protocol, backend) };
            assert_eq!(purge.is_wanted(&reply), wanted);
            assert!(!purge.is_wanted(&Connection { service: 8, ..reply }), "another port's");
        }
        let mut newer = Purge::default();
        newer.remove(7);
        purge.extend(newer);
        assert!(purge.is_wanted(&to(Protocol::Udp, "10.0.0.7:53")));
    }

    #[test]
    fn what_was_sent_to_a_frontend_before_it_was_there_ends() {
        let frontend = |kind, address: &str, port| Frontend {
            kind,
            address: address.parse().ok(),
            port,
            inside: Policy::Cluster,
            outside: Policy::Cluster,
        };
        let now = ServicePort {
            frontends: vec![
                frontend(FrontendKind::ClusterIp, "10.96.0.1", 53),
                frontend(FrontendKind::NodePort, "", 30_053),
                frontend(FrontendKind::ExternalIp, "192.0.2.7", 53),
                frontend(FrontendKind::LoadBalancer, "2001:db8::7", 53),
            ],
            cluster: Arc::default(),
            local: Arc::default(),
            refuse: true,
            affinity: None,
            source_ranges: None,
        };
        let mut purge = Purge::default();
        purge.add(&key(Protocol::Udp), Some(&now), &now);
        assert!(purge.is_empty());
        purge.add(&key(Protocol::Udp), None, &now);
        for (to, wanted) in [
            ("10.96.0.1:53", false),
            ("192.0.2.7:53", true),
            ("192.0.2.7:54", false),
            ("[2001:db8::7]:53", true),
            ("198.51.100.1:30053", true),
        ] {
            let plain = connection(Protocol::Udp, Kind::Plain, to, to);
            assert_eq!(purge.is_wanted(&plain), wanted, "{to}");
            assert!(!purge.is_wanted(&Connection { tunnel: true, ..plain }));
            assert!(!purge.is_wanted(&Connection { kind: Kind::Forward, ..plain }));
            assert!(!purge.is_wanted(&connection(Protocol::Tcp, Kind::Plain, to, to)), "another protocol's");
        }
        let mut purge = Purge::default();
        purge.add(&key(Protocol::Tcp), None, &now);
        let plain = connection(Protocol::Tcp, Kind::Plain, "192.0.2.7:53", "192.0.2.7:53");
        assert!(!purge.is_wanted(&plain), "whoever served it goes on");
        assert!(purge.is_wanted(&Connection { state: State::New, ..plain }), "nobody does");
    }
}
