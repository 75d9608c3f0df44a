//! Pods' hostPorts: ports of this node that lead to a Pod. They are the port record's, and go with it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use datapath::{Purge, ServicePort, ServicePortKey};
use model::Problem;
use plumbing::Family;
use plumbing::nft::{Element, Elements};

use super::parts::Parts;
use super::ports::Ports;
use super::services::host_ports::rows;
use crate::backend::{BindError, BindRequest, HostPort, PodPort, PortRecord};
use crate::drift::Drift;
use crate::protocols::protocol_number;

impl Ports {
    /// Whether no other Pod has one of these ports, and each leads somewhere.
    pub(super) fn check_host_ports(&self, request: &BindRequest) -> Result<(), BindError> {
        let pod = &request.owner.pod;
        for (index, port) in request.host_ports.iter().enumerate() {
            if !request.addresses.iter().any(|address| port.is_for(*address)) {
                return Err(BindError::Invalid(format!(
                    "hostPort {port} of Pod {pod}: the Pod has no address of that family, only {:?}",
                    request.addresses
                )));
            }
            let before = request.host_ports.iter().take(index);
            if let Some(other) = before.into_iter().find(|other| !other.is_apart_from(port)) {
                return Err(BindError::Invalid(format!(
                    "Pod {pod} has the hostPort {port} twice: also {other}"
                )));
            }
            let others = self.records.values().filter(|other| other.host_ifname != request.host_ifname);
            let taken = others.flat_map(|other| other.host_ports.iter().map(move |taken| (other, taken)));
            if let Some((other, taken)) = taken.into_iter().find(|(_, taken)| !taken.is_apart_from(port)) {
                return Err(BindError::Taken(format!(
                    "hostPort {port} of Pod {pod} is taken on this node: Pod {} has {taken}; give one of them another \\
                     hostPort, or reach it by a Service of type NodePort",
                    other.pod()
                )));
            }
        }
        Ok(())
    }

    /// Whether the port's hostPorts are those of a request.
    pub(super) fn check_bound_host_ports(&self, request: &BindRequest) -> Result<(), BindError> {
        let bound = self.records.get(&request.host_ifname).map(|port| port.host_ports.as_slice());
        let sorted = |ports: &[HostPort]| ports.iter().copied().collect::<BTreeSet<_>>();
        let bound = sorted(bound.unwrap_or_default());
        if bound == sorted(&request.host_ports) {
            return Ok(());
        }
        Err(BindError::Precondition(format!(
            "the hostPorts of Pod {} are {bound:?}, not {:?}",
            request.owner.pod, request.host_ports
        )))
    }
}

impl Parts {
    /// Has a port's hostPorts served in the place of those of the port before.
    pub(super) fn change_host_ports(
        &self,
        before: Option<&PortRecord>,
        after: Option<&PortRecord>,
    ) -> Result<()> {
        let (old, new) = (elements(before), elements(after));
        if old.is_empty() && new.is_empty() {
            return Ok(());
        }
        // What fails is tried again when all is made again: the table knows what should be there.
        let mut nftables = self.nftables();
        old.keys().filter(|gone| !new.contains_key(gone)).for_each(|gone| nftables.remove(*gone));
        new.iter().for_each(|(element, to)| nftables.set(*element, *to));
        self.serve_host_ports(before, after)?;
        nftables.write()
    }

    /// Has the table of nftables hold the hostPorts of all ports, and no others, when it is written next; and the datapath
    /// serve all of them. Returns those that it cannot serve; they cost the others nothing.
    pub(super) fn map_host_ports(&self) -> Vec<Problem> {
        let ports = self.ports();
        let all = ports.records.values().flat_map(|port| elements(Some(port))).collect();
        self.nftables().replace(|element| matches!(element, Element::HostPort { .. }), all);
        let failed = ports.records.values().filter_map(|port| {
            let error = self.serve_host_ports(None, Some(port)).err()?;
            let problem = format!("its hostPorts lead nowhere: {error:#}");
            Some(Problem::new("service", format!("Pod {}", port.pod()), problem, "correct what is named"))
        });
        failed.collect()
    }

    /// The hostPorts that the datapath does not serve as it should.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(super) fn drifted_host_ports(&self, found: &mut Vec<Drift>) -> Result<()> {
        for port in self.ports().records.values() {
            let mut held = self.tables.lock();
            for key in host_port_rows(Some(port)).keys() {
                if !held.datapath.services().is_whole(key)? {
                    let detail = format!("the entries of {key}, Pod {}, are missing or wrong", port.pod());
                    found.push(Drift::new("datapath_service", detail));
                }
            }
        }
        Ok(())
    }

    /// Has the datapath serve a port's hostPorts in the place of those of the port before.
    fn serve_host_ports(&self, before: Option<&PortRecord>, after: Option<&PortRecord>) -> Result<()> {
        let (before, after) = (host_port_rows(before), host_port_rows(after));
        let mut purge = Purge::default();
        let mut held = self.tables.lock();
        let services = held.datapath.services();
        let served = after.iter().try_for_each(|(key, row)| {
            if services.number(key).is_none() {
                purge.add(key, None, row);
            }
            services.set(key, row)?;
            if services.is_whole(key)? { Ok(()) } else { services.restore(key) }
        });
        // Those before go also if one of these fails: nobody removes them later.
        let mut removed = Ok(());
        for key in before.keys().filter(|key| !after.contains_key(*key)) {
            if let Some(number) = services.number(key) {
                purge.remove(number);
            }
            removed = removed.and(services.remove(key));
        }
        drop(held);
        self.tracking.purge(purge);
        Ok(served.and(removed)?)
    }
}

/// The rows of a port's hostPorts in the datapath's table of Services.
fn host_port_rows(port: Option<&PortRecord>) -> BTreeMap<ServicePortKey, ServicePort> {
    let container = |port: &PortRecord| port.owner.container_id().unwrap_or(&port.host_ifname).to_owned();
    port.map(|port| rows(&container(port), targets(port))).unwrap_or_default()
}

/// Where each hostPort of a port leads.
fn targets<O>(port: &PodPort<O>) -> impl Iterator<Item = (&HostPort, SocketAddr)> {
    port.host_ports.iter().flat_map(|host_port| {
        let addresses = port.addresses.iter().filter(|address| host_port.is_for(**address));
        let mut families = BTreeSet::new();
        // The first address of each family.
        let addresses = addresses.filter(move |address| families.insert(address.is_ipv4()));
        addresses.map(|address| (*address, host_port.container_port).into()).map(move |to| (host_port, to))
    })
}

/// The elements of the nftables table for a port.
fn elements(port: Option<&PortRecord>) -> Elements {
    let element = |(host_port, to): (&HostPort, SocketAddr)| {
        let (at, family): (Option<IpAddr>, _) = (host_port.at(), Family::of(to.ip()));
        let (protocol, port) = (protocol_number(host_port.protocol), host_port.port);
        (Element::HostPort { at, family, protocol, port }, Some(to))
    };
    port.into_iter().flat_map(targets).map(element).collect()
}

#[cfg(test)]
mod tests {
    use datapath::Limits;
    use model::Protocol;
    use naming::alias::PortAlias;
    use naming::{Mac, PodKey, pod_host_interface};

    use super::*;
    use crate::backend::Owner;

    fn port(address: &str, port: u16) -> HostPort {
        let address = (!address.is_empty()).then(|| address.parse().unwrap());
        HostPort { address, protocol: Protocol::Tcp, port, container_port: 80 }
    }

    fn request(pod: &str, addresses: &[&str], host_ports: &[HostPort]) -> BindRequest {
        let pod = PodKey::new("default", pod);
        BindRequest {
            host_ifname: pod_host_interface(&pod),
            owner: PortAlias {
                pod,
                container_id: "c".into(),
                ifname: "eth0".into(),
                pod_uid: None,
                network: None,
            },
            host_ifindex: 7,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            limits: Limits::default(),
            host_ports: host_ports.to_vec(),
        }
    }

    fn record(request: BindRequest) -> PortRecord {
        let BindRequest { owner, host_ifname, host_ifindex, mac, addresses, limits, host_ports } = request;
        let owner = Owner::Known(owner);
        PortRecord { owner, host_ifname, host_ifindex, mac, addresses, limits, host_ports }
    }

    const BOTH: [&str; 2] = ["10.244.1.9", "fd44::9"];

    #[test]
    fn a_port_leads_to_the_pods_address_of_each_family_that_it_has() {
        let to = |pod: &[&str], at: &str| {
            let found = elements(Some(&record(request("a", pod, &[port(at, 8080)]))));
            let show = |(element, to): (Element, Option<SocketAddr>)| match element {
                Element::HostPort { at, port, .. } => format!("{at:?} {port} {}", to.unwrap()),
                other => format!("{other:?}"),
            };
            found.into_iter().map(show).collect::<Vec<_>>()
        };
        let both = ["None 8080 10.244.1.9:80", "None 8080 [fd44::9]:80"];
        assert_eq!(to(&BOTH, ""), both);
        assert_eq!(to(&BOTH[..1], ""), both[..1]);
        assert_eq!(to(&["10.244.1.9", "10.244.1.10"], ""), both[..1]);
        assert_eq!(to(&BOTH, "0.0.0.0"), both[..1]);
        assert_eq!(to(&BOTH, "::"), both[1..]);
        assert_eq!(to(&BOTH, "192.0.2.1"), ["Some(192.0.2.1) 8080 10.244.1.9:80"]);
        assert_eq!(to(&BOTH, "::1"), ["Some(::1) 8080 [fd44::9]:80"]);
        assert!(elements(None).is_empty());
    }

    #[test]
    fn a_port_that_another_pod_has_is_refused_by_its_name() {
        let state = tempfile::tempdir().unwrap();
        let names = crate::backend::names::Names::open(state.path());
        let mut ports = Ports::new(names, plumbing::Netlink::here().unwrap());
        let first = record(request("first", &BOTH, &[port("", 8080), port("192.0.2.1", 53)]));
        ports.records.insert(first.host_ifname.clone(), first.clone());
        for (host_port, taken) in [
            (port("", 8080), true),
            (port("198.51.100.1", 8080), true),
            (port("", 53), true),
            (port("192.0.2.2", 53), false),
            (port("", 8081), false),
        ] {
            let asked = ports.check_host_ports(&request("second", &BOTH, &[host_port]));
            match asked {
                Err(BindError::Taken(what)) if taken => assert!(what.contains("default/first"), "{what}"),
                other => assert!(other.is_ok() && !taken, "{host_port}: {other:?}"),
            }
        }
        // A new sandbox of the same Pod has the same ports.
        ports.check_host_ports(&request("first", &BOTH, &[port("", 8080)])).unwrap();
        for (addresses, ports_asked, want) in [
            (&BOTH[..1], vec![port("::1", 1)], "no address of that family"),
            (&BOTH[..], vec![port("", 1), port("192.0.2.1", 1)], "twice"),
        ] {
            let error = ports.check_host_ports(&request("third", addresses, &ports_asked)).unwrap_err();
            assert!(matches!(&error, BindError::Invalid(what) if what.contains(want)), "{error}");
        }
        let same = request("first", &BOTH, &[port("192.0.2.1", 53), port("", 8080)]);
        ports.check_bound_host_ports(&same).unwrap();
        let other = request("first", &BOTH, &[port("", 8080)]);
        assert!(matches!(ports.check_bound_host_ports(&other), Err(BindError::Precondition(_))));
    }
}
