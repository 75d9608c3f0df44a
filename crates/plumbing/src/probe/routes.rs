//! Where Pods' and Services' addresses lead, and where the other nodes' do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::route::{RouteProtocol, RouteType};

use super::fault::Fault;
use super::overlap::is_left_over;
use super::question::{Question, outside};
use super::uplink::Uplink;
use crate::error::Error;
use crate::family::Family;
use crate::fib::{FibRoute, lookup};
use crate::link::Link;
use crate::netlink::Netlink;
use crate::sysctl::{filters_strictly, forwards, is};

/// The tables that the kernel has rules for itself: RT_TABLE_LOCAL, _MAIN, _DEFAULT (linux/rtnetlink.h).
const LOCAL: u32 = libc::RT_TABLE_LOCAL as u32;
const MAIN: u32 = libc::RT_TABLE_MAIN as u32;
const DEFAULT: u32 = libc::RT_TABLE_DEFAULT as u32;

/// The most peers that are looked up each time.
const MOST_PEERS: usize = 256;

pub(super) fn faults(
    netlink: &mut Netlink,
    question: &Question,
    links: &[Link],
    uplinks: &[Uplink],
    routes: &[FibRoute],
) -> Vec<Fault> {
    let mut probe = Probe { netlink, question, links, inside: None, faults: Vec::new() };
    let inside = links.iter().find(|link| link.name == question.inside && link.up);
    probe.inside = inside.map(|link| link.ifindex);
    probe.inside_the_ranges(routes);
    probe.ranges();
    probe.peers();
    probe.faults.extend(uplinks.iter().filter_map(|uplink| in_vrf(uplink, links)));
    probe.forwarded(uplinks);
    probe.faults
}

struct Probe<'a> {
    netlink: &'a mut Netlink,
    question: &'a Question,
    links: &'a [Link],
    /// The ifindex of the interface towards Pods; `None`: it does not exist yet, nor do its routes.
    inside: Option<u32>,
    faults: Vec<Fault>,
}

impl Probe<'_> {
    fn ranges_of_addresses(&self) -> Vec<IpNet> {
        let families = self.question.families();
        let all = self.question.cluster_cidrs.iter().chain(&self.question.service_cidrs);
        all.copied().filter(|range| families.contains(&Family::of(range.addr()))).collect()
    }

    fn name(&self, ifindex: u32) -> &str {
        self.links.iter().find(|link| link.ifindex == ifindex).map_or("nowhere", |link| link.name.as_str())
    }

    /// Routes of others within our ranges, if packets take them.
    fn inside_the_ranges(&mut self, routes: &[FibRoute]) {
        let ranges = self.ranges_of_addresses();
        for found in routes {
            let Some(range) = ranges.iter().find(|range| range.contains(&found.dst)) else { continue };
            let is_ours = found.is_own || (self.inside.is_some() && self.inside == Some(found.ifindex));
            // Those that come with an address are reported as an overlap.
            if found.table == LOCAL
                || found.protocol == RouteProtocol::Kernel
                || is_ours
                || self.name(found.ifindex) == "kube-ipvs0"
            {
                continue;
            }
            let taken = match lookup(self.netlink, sample(&found.dst), None) {
                Ok(taken) => Some(taken.ifindex) != self.inside && taken.dst == found.dst,
                Err(_) => true,
            };
            if taken {
                let range = *range;
                self.foreign(range, found);
            }
        }
    }

    /// Where any other address of our ranges leads.
    fn ranges(&mut self) {
        for range in self.ranges_of_addresses() {
            let to = sample(&range);
            match lookup(self.netlink, to, None) {
                Ok(found) if Some(found.ifindex) == self.inside => {}
                // Until ours is there a route for a larger network may take them, or the default one.
                Ok(found) if self.inside.is_none() && !self.comes_before_ours(&found, &range) => {}
                Ok(found) => self.foreign(range, &found),
                // Ours is not there yet, or just gone: that is another's to see.
                Err(error) if error.is(libc::ENETUNREACH) => {}
                Err(error) => self.nowhere(range, &error),
            }
        }
    }

    fn comes_before_ours(&self, found: &FibRoute, range: &IpNet) -> bool {
        !matches!(found.table, LOCAL | MAIN | DEFAULT) || range.contains(&found.dst)
    }

    fn foreign(&mut self, range: IpNet, found: &FibRoute) {
        let (dst, table, name) = (found.dst, found.table, self.name(found.ifindex).to_owned());
        let leads = match kind(found.kind) {
            "" => format!("leads out of {name}"),
            refusing => format!("is a {refusing} route"),
        };
        let object = if table == MAIN { dst.to_string() } else { format!("{dst} in table {table}") };
        let ip = if dst.addr().is_ipv4() { "ip" } else { "ip -6" };
        let remedy = if is_left_over(&name) {
            format!("another Pod network left {name}: ip link delete {name}, if nothing uses it any more")
        } else if matches!(table, MAIN | DEFAULT) {
            format!(
                "{ip} route del {} {dst}, and see who sets it (it has proto {:?})",
                kind(found.kind),
                found.protocol
            )
            .replace("  ", " ")
        } else {
            format!(
                "look with `{ip} rule` and `{ip} route show table {table}`, and have Pods' addresses looked up in the \
                 main table first: {ip} rule add to {range} lookup main priority 100"
            )
        };
        let problem = format!(
            "this route {leads}: the node's packets to Pods and Services of {} do not reach them",
            if dst.prefix_len() > range.prefix_len() { dst } else { range }
        );
        self.add("foreign_route", object, problem, remedy);
    }

    fn nowhere(&mut self, range: IpNet, error: &Error) {
        // A blackhole or unreachable route within the range is named already, as a route.
        if self.faults.iter().any(|fault| fault.what == "foreign_route") {
            return;
        }
        let ip = if range.addr().is_ipv4() { "ip" } else { "ip -6" };
        let problem = format!("the node has no route to its Pods and Services ({error})");
        let remedy = format!("look with `{ip} rule` and `{ip} route get {}`", sample(&range));
        self.add("foreign_route", range.to_string(), problem, remedy);
    }

    /// Whether tunnels' packets reach the other nodes.
    fn peers(&mut self) {
        for (node, address) in self.question.peers.iter().take(MOST_PEERS) {
            let ip = if address.is_ipv4() { "ip" } else { "ip -6" };
            let problem = match lookup(self.netlink, *address, None) {
                Ok(found) if self.inside.is_some() && Some(found.ifindex) == self.inside => {
                    format!("its address {address} leads to Pods, by the route to {}", found.dst)
                }
                Ok(_) => continue,
                Err(error) => format!("there is no route to its address {address} ({error})"),
            };
            let problem = format!("{problem}: its Pods are not reached");
            let remedy = format!("look with `{ip} route get {address}`");
            self.add("peer_route", format!("Node {node}"), problem, remedy);
        }
    }

    /// Whether a Pod's packet to the outside is forwarded, and the answer to it. Where the default route leads
    /// nowhere, there is no outside.
    fn forwarded(&mut self, uplinks: &[Uplink]) {
        let Some(inside) = self.inside else { return };
        for uplink in uplinks {
            for family in &uplink.families {
                let Some(pod) = self.question.pod_address(*family) else { continue };
                let outside = outside(*family);
                let out = lookup(self.netlink, outside, Some((pod, inside)));
                if let Err(error) = out {
                    self.not_forwarded(
                        &self.question.inside,
                        *family,
                        "packets of Pods to the outside",
                        &error,
                    );
                }
                let name = &uplink.link.name;
                match lookup(self.netlink, pod, Some((outside, uplink.link.ifindex))) {
                    Err(error) => {
                        self.not_forwarded(name, *family, "answers from the outside to Pods", &error);
                    }
                    Ok(found) if found.ifindex != inside && found.table != LOCAL => {
                        self.foreign(found.dst, &found);
                    }
                    Ok(_) => {}
                }
            }
        }
    }

    fn not_forwarded(&mut self, interface: &str, family: Family, whose: &str, error: &Error) {
        // Said already, and better: by the setting, the VRF or the route.
        if self.faults.iter().any(|fault| matches!(fault.what, "vrf" | "foreign_route"))
            || (family == Family::V4 && is(&format!("ipv4/conf/{interface}/forwarding"), "0"))
            || !forwards(family)
        {
            return;
        }
        // Linux from 6.13 on says EINVAL, whatever the reason.
        let refused = error.is(libc::EXDEV) || error.is(libc::EINVAL);
        let strict = family == Family::V4 && filters_strictly(interface);
        let (why, remedy) = if refused && strict {
            let setting = format!("net.ipv4.conf.{}.rp_filter", interface.replace('.', "/"));
            (
                format!("its rp_filter refuses {whose}: the reverse path leads out of another interface"),
                format!("sysctl -w {setting}=2"),
            )
        } else {
            let ip = if family == Family::V4 { "ip" } else { "ip -6" };
            (
                format!("{family} {whose} are not forwarded ({error})"),
                format!("look with `{ip} rule` and `{ip} route show table all`"),
            )
        };
        self.add("not_forwarded", interface.to_owned(), why, remedy);
    }

    fn add(&mut self, what: &'static str, object: String, problem: String, remedy: String) {
        if !self.faults.iter().any(|fault| fault.what == what && fault.object == object) {
            self.faults.push(Fault { what, object, problem, remedy });
        }
    }
}

/// An uplink that is in a VRF has routes of its own, and there are none to Pods.
fn in_vrf(uplink: &Uplink, links: &[Link]) -> Option<Fault> {
    let (name, master) = (&uplink.link.name, uplink.link.master);
    let vrf = &links.iter().find(|link| link.vrf && link.ifindex == master)?.name;
    Some(Fault {
        what: "vrf",
        object: name.clone(),
        problem: format!(
            "it is in the VRF {vrf}, whose routes do not lead to Pods: answers from the outside and packets of other \
             nodes do not reach them"
        ),
        remedy: format!("take it out (ip link set {name} nomaster), or give {vrf} the routes to Pods"),
    })
}

fn kind(kind: RouteType) -> &'static str {
    match kind {
        RouteType::BlackHole => "blackhole",
        RouteType::Unreachable => "unreachable",
        RouteType::Prohibit => "prohibit",
        RouteType::Throw => "throw",
        _ => "",
    }
}

/// An address of a network that nothing special is about: the last but one.
fn sample(network: &IpNet) -> IpAddr {
    match network {
        IpNet::V4(net) => {
            let last = u32::from(net.broadcast());
            Ipv4Addr::from(if net.prefix_len() < 31 { last - 1 } else { last }).into()
        }
        IpNet::V6(net) => {
            let last = u128::from(net.broadcast());
            Ipv6Addr::from(if net.prefix_len() < 127 { last - 1 } else { last }).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uplink_in_a_vrf_is_named() {
        let link = |ifindex, name: &str, master, vrf| Link {
            ifindex,
            name: name.into(),
            master,
            vrf,
            ..Link::default()
        };
        let links = [link(1, "eth0", 3, false), link(2, "br0", 0, false), link(3, "red", 0, true)];
        let told = |master| {
            let uplink = Uplink { link: link(1, "eth0", master, false), families: Vec::new(), tunnels: true };
            in_vrf(&uplink, &links).map(|fault| fault.to_string())
        };
        assert_eq!((told(0), told(2)), (None, None));
        assert!(told(3).unwrap().contains("ip link set eth0 nomaster"));
    }

    #[test]
    fn the_sample_is_in_the_network() {
        for (network, want) in [
            ("10.244.0.0/16", "10.244.255.254"),
            ("10.0.0.4/31", "10.0.0.5"),
            ("10.0.0.4/32", "10.0.0.4"),
            ("0.0.0.0/0", "255.255.255.254"),
            ("fd44::/112", "fd44::fffe"),
            ("fd44::1/128", "fd44::1"),
        ] {
            let network: IpNet = network.parse().unwrap();
            assert_eq!(sample(&network), want.parse::<IpAddr>().unwrap());
            assert!(network.contains(&sample(&network)));
        }
    }
}
