use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::set::Set;
use crate::{AddressType, Endpoint, EndpointSlice, Reason};

/// How good an endpoint is. Of two entries for one address and port the better one counts: one that terminates may be a
/// Pod whose address another one has by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Gone,
    /// It terminates and still serves.
    Draining,
    NotReady,
    Ready,
}

impl Standing {
    fn of(endpoint: &Endpoint) -> Self {
        match (endpoint.ready, endpoint.terminating, endpoint.serving) {
            (true, ..) => Self::Ready,
            (false, false, _) => Self::NotReady,
            (false, true, true) => Self::Draining,
            (false, true, false) => Self::Gone,
        }
    }
}

/// A Service's EndpointSlices, read once for all its ports.
pub(crate) struct Slices<'a>(Vec<(&'a EndpointSlice, Vec<(Ipv4Addr, Standing)>)>);

impl<'a> Slices<'a> {
    /// Those of IPv4. What is wrong with others and with single endpoints is told.
    pub(crate) fn read(slices: impl Iterator<Item = &'a EndpointSlice>, set: &mut Set) -> Self {
        let ipv4 = slices.filter(|slice| {
            if slice.address_type == AddressType::Other {
                let message = "its addressType is neither IPv4 nor IPv6: it is passed over".to_owned();
                set.problem_of(slice.object(), Reason::AddressTypeNotOffered, message);
            }
            slice.address_type == AddressType::Ipv4
        });
        let ipv4: Vec<_> = ipv4.collect();
        Self(ipv4.into_iter().map(|slice| (slice, endpoints(slice, set))).collect())
    }

    /// What serves the port: the ready endpoints, or, if none is ready, those that still serve while they terminate
    /// (KEP-1669). Sorted, each once, in however many slices it is.
    pub(crate) fn serving(&self, port_name: &str, protocol: &str) -> Vec<(Ipv4Addr, u16)> {
        let mut best = BTreeMap::new();
        for (slice, endpoints) in &self.0 {
            let named = slice.ports.iter().filter(|port| {
                port.name == port_name
                    && crate::protocol::protocol(&port.protocol).is_some_and(|(_, p)| p == protocol)
            });
            for port in named.filter(|port| port.port != 0) {
                for (address, standing) in endpoints {
                    let entry = best.entry((*address, port.port)).or_insert(*standing);
                    *entry = (*entry).max(*standing);
                }
            }
        }
        let with =
            |wanted| best.iter().filter(move |(_, s)| **s == wanted).map(|(endpoint, _)| *endpoint).collect();
        let ready: Vec<_> = with(Standing::Ready);
        if ready.is_empty() { with(Standing::Draining) } else { ready }
    }
}

fn endpoints(slice: &EndpointSlice, set: &mut Set) -> Vec<(Ipv4Addr, Standing)> {
    let mut bad = Vec::new();
    let endpoints = slice.endpoints.iter().filter_map(|endpoint| match endpoint.address.parse() {
        Ok(address) => Some((address, Standing::of(endpoint))),
        Err(_) => {
            bad.push(format!("\"{}\"", endpoint.address));
            None
        }
    });
    let endpoints = endpoints.collect();
    if !bad.is_empty() {
        let message = format!("no IPv4 addresses are {}: these endpoints get no connections", bad.join(", "));
        set.problem_of(slice.object(), Reason::InvalidAddress, message);
    }
    endpoints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EndpointPort, Owner, Service};

    /// An endpoint: r ready, n not ready, t terminating and serving, x terminating and not serving.
    fn endpoint((address, state): (&str, char)) -> Endpoint {
        let (ready, serving, terminating) = match state {
            'r' => (true, true, false),
            'n' => (false, false, false),
            't' => (false, true, true),
            _ => (false, false, true),
        };
        Endpoint { address: address.into(), ready, serving, terminating }
    }

    fn slice(endpoints: &[(&str, char)]) -> EndpointSlice {
        EndpointSlice {
            endpoints: endpoints.iter().copied().map(endpoint).collect(),
            ports: vec![EndpointPort { name: "web".into(), protocol: "TCP".into(), port: 80 }],
            ..EndpointSlice::default()
        }
    }

    fn serving(slices: &[EndpointSlice]) -> (String, Vec<Reason>) {
        let mut set = Set::new(Owner::Object(Service::default().object()));
        let read = Slices::read(slices.iter(), &mut set);
        let serving: Vec<_> =
            read.serving("web", "TCP").iter().map(|(ip, port)| format!("{ip}:{port}")).collect();
        (serving.join(" "), set.problems.into_iter().map(|problem| problem.reason).collect())
    }

    #[test]
    fn ready_ones_serve_and_without_them_those_that_terminate() {
        for (endpoints, want) in [
            (&[("10.0.0.2", 'r'), ("10.0.0.1", 'r'), ("10.0.0.3", 'n')][..], "10.0.0.1:80 10.0.0.2:80"),
            (&[("10.0.0.1", 'r'), ("10.0.0.2", 't')], "10.0.0.1:80"),
            (&[("10.0.0.1", 'n'), ("10.0.0.2", 't'), ("10.0.0.3", 'x')], "10.0.0.2:80"),
            (&[("10.0.0.1", 'n'), ("10.0.0.3", 'x')], ""),
            (&[], ""),
        ] {
            assert_eq!(serving(&[slice(endpoints)]), (want.to_owned(), vec![]));
        }
    }

    #[test]
    fn an_endpoint_in_several_slices_is_one() {
        let both = [slice(&[("10.0.0.1", 'r')]), slice(&[("10.0.0.1", 'r'), ("10.0.0.2", 'r')])];
        assert_eq!(serving(&both).0, "10.0.0.1:80 10.0.0.2:80");
        let moved = [slice(&[("10.0.0.1", 't')]), slice(&[("10.0.0.1", 'r')])];
        assert_eq!(serving(&moved).0, "10.0.0.1:80");
        let used_again = [slice(&[("10.0.0.1", 't')]), slice(&[("10.0.0.1", 'n')])];
        assert_eq!(serving(&used_again).0, "", "the address is another Pod's, which is not ready");
    }

    #[test]
    fn other_families_ports_and_protocols_are_passed_over() {
        let ipv6 = EndpointSlice { address_type: AddressType::Ipv6, ..slice(&[("fd00::1", 'r')]) };
        let names = EndpointSlice { address_type: AddressType::Other, ..slice(&[("example.org", 'r')]) };
        let wrong = slice(&[("fd00::1", 'r'), ("10.0.0.300", 'r'), ("10.0.0.1", 'r')]);
        assert_eq!(
            serving(&[ipv6, names, wrong]),
            ("10.0.0.1:80".into(), vec![Reason::AddressTypeNotOffered, Reason::InvalidAddress])
        );
        for (name, protocol, port) in
            [("dns", "TCP", 80), ("web", "UDP", 80), ("web", "SCTP", 80), ("web", "TCP", 0)]
        {
            let ports = vec![EndpointPort { name: name.into(), protocol: protocol.into(), port }];
            assert_eq!(serving(&[EndpointSlice { ports, ..slice(&[("10.0.0.1", 'r')]) }]).0, "");
        }
    }
}
