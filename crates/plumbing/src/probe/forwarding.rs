//! Settings of the interfaces between Pods, their node and the outside.

use std::net::IpAddr;

use netlink_packet_route::route::RouteProtocol;

use super::fault::Fault;
use super::question::Question;
use super::uplink::{Uplink, uplinks};
use crate::error::Result;
use crate::family::Family;
use crate::fib::FibRoute;
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::sysctl;

/// A setting with a value that keeps packets from passing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongSetting {
    /// Whose it is.
    pub interface: String,
    /// The family of the packets that it is about.
    pub family: Family,
    /// Its path below /proc/sys/net.
    pub setting: String,
    /// What it has to be.
    pub value: &'static str,
    /// What kind of fault it is.
    pub what: &'static str,
    problem: &'static str,
}

/// The settings that are wrong on the node's own interface towards Pods, on the uplinks, and on interfaces that
/// appeared since the node was made a router. To write their values puts them right.
///
/// # Errors
/// The kernel does not answer.
pub fn wrong_settings(
    inside: &str,
    tunnel_address: IpAddr,
    families: &[Family],
) -> Result<Vec<WrongSetting>> {
    let mut netlink = Netlink::here()?;
    let links = link::list_in(&mut netlink)?;
    let uplinks = uplinks(&mut netlink, inside, tunnel_address, &[], families, &links)?;
    Ok(wrong(inside, families, &uplinks, &links))
}

pub(super) fn faults(
    question: &Question,
    uplinks: &[Uplink],
    links: &[Link],
    routes: &[FibRoute],
) -> Vec<Fault> {
    let wrong = wrong(&question.inside, &question.families(), uplinks, links).into_iter();
    // Where no route was learned by router advertisements, none is lost: most nodes' interfaces have accept_ra=1.
    let learned = |interface: &str| {
        let link = links.iter().find(|link| link.name == interface);
        routes.iter().any(|route| {
            route.protocol == RouteProtocol::Ra && link.is_some_and(|link| link.ifindex == route.ifindex)
        })
    };
    wrong
        .filter(|wrong| wrong.what != "accept_ra" || learned(&wrong.interface))
        .map(|WrongSetting { interface, setting, value, what, problem, .. }| Fault {
            what,
            object: interface,
            problem: problem.to_owned(),
            remedy: format!(
                "sysctl -w {}={value}, and correct what sets it otherwise",
                sysctl::name(&setting)
            ),
        })
        .collect()
}

fn wrong(inside: &str, families: &[Family], uplinks: &[Uplink], links: &[Link]) -> Vec<WrongSetting> {
    let mut wrong = Vec::new();
    if families.contains(&Family::V4) {
        // IPv6 has no such setting of one interface: its net.ipv6.conf.IF.forwarding is about router advertisements.
        let off = |name: &&str| sysctl::is(&format!("ipv4/conf/{name}/forwarding"), "0");
        let forwards = sysctl::forwards(Family::V4);
        let names = uplinks.iter().map(|uplink| uplink.link.name.as_str()).chain([inside]);
        wrong.extend(names.filter(|_| forwards).filter(off).map(|name| WrongSetting {
            interface: name.to_owned(),
            family: Family::V4,
            setting: format!("ipv4/conf/{name}/forwarding"),
            value: "1",
            what: "forwarding",
            problem: "IPv4 packets that come in by it are not forwarded: Pods cannot reach the outside, or get no \
                      answers",
        }));
        if sysctl::filters_strictly(inside) {
            wrong.push(WrongSetting {
                interface: inside.to_owned(),
                family: Family::V4,
                setting: format!("ipv4/conf/{inside}/rp_filter"),
                value: "2",
                what: "rp_filter",
                problem: "its strict reverse path filter refuses packets of other nodes to this node",
            });
        }
    }
    if families.contains(&Family::V6) && sysctl::has_ipv6() {
        let off = |name: &str| sysctl::is(&format!("ipv6/conf/{name}/disable_ipv6"), "1");
        let names = uplinks.iter().map(|uplink| uplink.link.name.as_str());
        wrong.extend(names.filter(|name| off(name)).map(|name| WrongSetting {
            interface: name.to_owned(),
            family: Family::V6,
            setting: format!("ipv6/conf/{name}/disable_ipv6"),
            value: "0",
            what: "disable_ipv6",
            problem: "IPv6 is switched off there: Pods do not reach the outside over IPv6",
        }));
        wrong.extend(links.iter().filter(|link| is_uplink(link, uplinks)).filter_map(deaf));
    }
    wrong
}

/// Whether an interface leads to other hosts: an uplink, or a network card. Not one that leads to containers: what
/// they say of routes is not to be taken.
fn is_uplink(link: &Link, uplinks: &[Uplink]) -> bool {
    let known = uplinks.iter().any(|uplink| uplink.link.ifindex == link.ifindex);
    known || (link.ethernet && !link.is_virtual && link.master == 0)
}

/// A router ignores router advertisements where accept_ra is 1, and loses the routes that it learned by them.
fn deaf(link: &Link) -> Option<WrongSetting> {
    let setting = |name: &str| format!("ipv6/conf/{}/{name}", link.name);
    let is_deaf = sysctl::is(&setting("accept_ra"), "1") && sysctl::is(&setting("forwarding"), "1");
    is_deaf.then(|| WrongSetting {
        interface: link.name.clone(),
        family: Family::V6,
        setting: setting("accept_ra"),
        value: "2",
        what: "accept_ra",
        problem: "the node forwards IPv6 and so ignores router advertisements that it gets there: the routes and \
                  addresses that they bring will be lost",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_to_containers_is_no_uplink() {
        let link = |ifindex, is_virtual, master| Link {
            ifindex,
            ethernet: true,
            is_virtual,
            master,
            ..Link::default()
        };
        let known = Uplink { link: link(7, true, 0), families: Vec::new(), tunnels: true };
        for (link, want) in [
            (link(1, false, 0), true),
            (link(2, true, 0), false),
            (link(3, false, 9), false),
            (link(7, true, 0), true),
        ] {
            assert_eq!(is_uplink(&link, std::slice::from_ref(&known)), want, "{link:?}");
        }
        assert!(!is_uplink(&Link { ethernet: false, ..link(4, false, 0) }, &[]));
    }
}
