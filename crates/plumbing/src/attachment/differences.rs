use std::fmt;

use ipnet::IpNet;

use super::{Attachment, inside, text};
use crate::{Netlink, Result, address, link, route, tc};

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What of the pair it is about.
    pub part: Part,
    text: String,
}

/// A part of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// An end does not exist.
    Link,
    /// An end is there, but not set as it should be.
    Setting,
    /// The outer end is not in the datapath's block.
    Block,
    /// An address of the inner end.
    Address,
    /// A route out of the inner end.
    Route,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Compares a pair with what it should be. More addresses and routes than asked for are no difference:
/// another plugin, or the Pod itself, may have its own.
///
/// # Errors
/// The kernel does not tell.
pub fn check(attachment: &Attachment<'_>) -> Result<Vec<Difference>> {
    let mut found = Found(Vec::new());
    let mut host = Netlink::here()?;
    match link::find(&mut host, &attachment.outer)? {
        None => found.note(Part::Link, format!("interface {} does not exist", attachment.outer)),
        Some(outer) => {
            found.link(&outer, attachment.outer_mac, attachment.mtu);
            if outer.alias != attachment.alias {
                found.note(
                    Part::Setting,
                    format!("{} has the alias \"{}\", not \"{}\"", outer.name, outer.alias, attachment.alias),
                );
            }
            if !tc::members(&mut host)?.contains(&outer.ifindex) {
                found.note(Part::Block, format!("{} is not in the datapath's block", outer.name));
            }
        }
    }
    let mut inside = inside(attachment)?;
    match link::find(&mut inside, &attachment.inner)? {
        None => found.note(Part::Link, format!("interface {} does not exist", attachment.inner)),
        Some(inner) => {
            found.link(&inner, attachment.inner_mac, attachment.mtu);
            found.addresses(&mut inside, inner.ifindex, attachment)?;
            found.routes(&mut inside, inner.ifindex, attachment)?;
        }
    }
    Ok(found.0)
}

struct Found(Vec<Difference>);

impl Found {
    fn note(&mut self, part: Part, text: String) {
        self.0.push(Difference { part, text });
    }

    fn link(&mut self, link: &link::Link, mac: [u8; 6], mtu: u32) {
        if link.mac != mac {
            self.note(
                Part::Setting,
                format!("{} has the MAC address {}, not {}", link.name, text(link.mac), text(mac)),
            );
        }
        if link.mtu != mtu {
            self.note(Part::Setting, format!("{} has an MTU of {}, not {mtu}", link.name, link.mtu));
        }
        if !link.up {
            self.note(Part::Setting, format!("{} is down", link.name));
        }
    }

    fn addresses(&mut self, inside: &mut Netlink, ifindex: u32, attachment: &Attachment<'_>) -> Result<()> {
        let has = address::list(inside)?;
        for net in attachment.addresses.iter().filter(|net| !has.contains(&(ifindex, **net))) {
            self.note(Part::Address, format!("{} lacks the address {net}", attachment.inner));
        }
        Ok(())
    }

    fn routes(&mut self, inside: &mut Netlink, ifindex: u32, attachment: &Attachment<'_>) -> Result<()> {
        let has = route::list(inside, ifindex)?;
        let neighbours = attachment.gateways.iter().map(|gateway| (IpNet::from(*gateway), None));
        let routes = attachment.routes.iter().map(|route| (route.dst.trunc(), Some(route.via)));
        for (dst, via) in neighbours.chain(routes).filter(|route| !has.contains(route)) {
            let via = via.map(|via| format!(" via {via}")).unwrap_or_default();
            self.note(Part::Route, format!("the route to {dst}{via} on {} is missing", attachment.inner));
        }
        Ok(())
    }
}
