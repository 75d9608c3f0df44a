use std::cmp::Ordering;
use std::fmt;

use super::find::inside;
use super::namespaces::text;
use super::pair::{VethPair, all_routes, interface_settings};
use crate::error::Result;
use crate::link::Link;
use crate::netlink::Netlink;
use crate::netns::NetNs;
use crate::route::KernelRoute;
use crate::{address, route, sysctl, tc};

/// A difference between a pair and what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What is different.
    pub kind: DifferenceKind,
    text: String,
}

/// A kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// One side does not exist.
    Link,
    /// One side has a wrong setting.
    Setting,
    /// The MTU of the container side is too small: packets pass, but not the largest.
    SmallerMtu,
    /// The host side is not in the datapath's block.
    Block,
    /// The container side lacks an address.
    Address,
    /// A route out of the container side is missing.
    Route,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Compares a pair, whose container side is in `netns` (`None`: in this thread's namespace), with what it should
/// be. More addresses and routes than asked for are no difference: another plugin, or the Pod itself, may have its
/// own.
///
/// # Errors
/// The kernel does not answer.
pub fn check(netns: Option<&NetNs>, pair: &VethPair) -> Result<Vec<Difference>> {
    let mut found = Found(Vec::new());
    let mut host = Netlink::here()?;
    match host.find(&pair.host_ifname)? {
        None => found.note(DifferenceKind::Link, format!("interface {} does not exist", pair.host_ifname)),
        Some(host_side) => {
            found.link(&host_side, pair.host_mac);
            if host_side.mtu != pair.mtu {
                found.mtu(DifferenceKind::Setting, &host_side, pair.mtu);
            }
            if host_side.alias != pair.alias {
                found.note(
                    DifferenceKind::Setting,
                    format!(
                        "{} has the alias \"{}\", not \"{}\"",
                        host_side.name, host_side.alias, pair.alias
                    ),
                );
            }
            if pair.in_block && !tc::is_member(&mut host, host_side.ifindex)? {
                found.note(
                    DifferenceKind::Block,
                    format!("{} is not in the datapath's block", host_side.name),
                );
            }
        }
    }
    let mut inside = inside(netns)?;
    match inside.find(&pair.ifname)? {
        None => found.note(DifferenceKind::Link, format!("interface {} does not exist", pair.ifname)),
        Some(link) => {
            found.link(&link, pair.mac);
            match link.mtu.cmp(&pair.mtu) {
                Ordering::Less => found.mtu(DifferenceKind::SmallerMtu, &link, pair.mtu),
                Ordering::Greater => found.mtu(DifferenceKind::Setting, &link, pair.mtu),
                Ordering::Equal => {}
            }
            found.settings(netns, pair)?;
            found.addresses(&mut inside, link.ifindex, pair)?;
            found.routes(&mut inside, link.ifindex, pair)?;
        }
    }
    Ok(found.0)
}

struct Found(Vec<Difference>);

impl Found {
    fn note(&mut self, kind: DifferenceKind, text: String) {
        self.0.push(Difference { kind, text });
    }

    fn link(&mut self, link: &Link, mac: [u8; 6]) {
        if link.mac != mac {
            self.note(
                DifferenceKind::Setting,
                format!("{} has the MAC address {}, not {}", link.name, text(link.mac), text(mac)),
            );
        }
        if !link.up {
            self.note(DifferenceKind::Setting, format!("{} is down", link.name));
        }
    }

    fn mtu(&mut self, kind: DifferenceKind, link: &Link, mtu: u32) {
        self.note(kind, format!("{} has an MTU of {}, not {mtu}", link.name, link.mtu));
    }

    /// Not whether the namespace forwards: that is its owner's to change.
    fn settings(&mut self, netns: Option<&NetNs>, pair: &VethPair) -> Result<()> {
        let find_wrong = || {
            let wanted = interface_settings(pair).into_iter();
            wanted.filter(|(setting, value)| !sysctl::is(setting, value)).collect::<Vec<_>>()
        };
        let wrong = match netns {
            Some(netns) => netns.run(find_wrong)?,
            None => find_wrong(),
        };
        for (setting, value) in wrong {
            self.note(DifferenceKind::Setting, format!("the setting net/{setting} is not {value}"));
        }
        Ok(())
    }

    fn addresses(&mut self, inside: &mut Netlink, ifindex: u32, pair: &VethPair) -> Result<()> {
        let has = address::list(inside)?;
        for net in pair.addresses.iter().filter(|net| !has.contains(&(ifindex, **net))) {
            self.note(DifferenceKind::Address, format!("{} lacks the address {net}", pair.ifname));
        }
        Ok(())
    }

    fn routes(&mut self, inside: &mut Netlink, ifindex: u32, pair: &VethPair) -> Result<()> {
        let has = route::list(inside, ifindex)?;
        let is_missing = |wanted: &&KernelRoute| !has.iter().any(|route| route.satisfies(wanted));
        for route in all_routes(pair).iter().filter(is_missing) {
            self.note(DifferenceKind::Route, format!("the route to {route} on {} is missing", pair.ifname));
        }
        Ok(())
    }
}
