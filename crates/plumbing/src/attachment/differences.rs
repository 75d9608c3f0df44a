use std::cmp::Ordering;
use std::fmt;

use super::{Attachment, inside, own_settings, routes, text};
use crate::{Netlink, Result, Route, address, link, route, sysctl, tc};

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
    /// The inner end's MTU is smaller than it should be: packets pass, but not the largest.
    SmallerMtu,
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
    match host.find(&attachment.outer)? {
        None => found.note(Part::Link, format!("interface {} does not exist", attachment.outer)),
        Some(outer) => {
            found.link(&outer, attachment.outer_mac);
            if outer.mtu != attachment.mtu {
                found.mtu(Part::Setting, &outer, attachment.mtu);
            }
            if outer.alias != attachment.alias {
                found.note(
                    Part::Setting,
                    format!("{} has the alias \"{}\", not \"{}\"", outer.name, outer.alias, attachment.alias),
                );
            }
            if !tc::is_member(&mut host, outer.ifindex)? {
                found.note(Part::Block, format!("{} is not in the datapath's block", outer.name));
            }
        }
    }
    let mut inside = inside(attachment)?;
    match inside.find(&attachment.inner)? {
        None => found.note(Part::Link, format!("interface {} does not exist", attachment.inner)),
        Some(inner) => {
            found.link(&inner, attachment.inner_mac);
            match inner.mtu.cmp(&attachment.mtu) {
                Ordering::Less => found.mtu(Part::SmallerMtu, &inner, attachment.mtu),
                Ordering::Greater => found.mtu(Part::Setting, &inner, attachment.mtu),
                Ordering::Equal => {}
            }
            found.settings(attachment)?;
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

    fn link(&mut self, link: &link::Link, mac: [u8; 6]) {
        if link.mac != mac {
            self.note(
                Part::Setting,
                format!("{} has the MAC address {}, not {}", link.name, text(link.mac), text(mac)),
            );
        }
        if !link.up {
            self.note(Part::Setting, format!("{} is down", link.name));
        }
    }

    fn mtu(&mut self, part: Part, link: &link::Link, mtu: u32) {
        self.note(part, format!("{} has an MTU of {}, not {mtu}", link.name, link.mtu));
    }

    /// Not whether the namespace forwards: that is its owner's to change.
    fn settings(&mut self, attachment: &Attachment<'_>) -> Result<()> {
        let look = || {
            let wanted = own_settings(attachment).into_iter();
            wanted.filter(|(setting, value)| !sysctl::is(setting, value)).collect::<Vec<_>>()
        };
        let wrong = match attachment.netns {
            Some(netns) => netns.run(look)?,
            None => look(),
        };
        for (setting, value) in wrong {
            self.note(Part::Setting, format!("the setting net/{setting} is not {value}"));
        }
        Ok(())
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
        let is_missing = |wanted: &&Route| !has.iter().any(|route| route.satisfies(wanted));
        for route in routes(attachment).iter().filter(is_missing) {
            self.note(Part::Route, format!("the route to {route} on {} is missing", attachment.inner));
        }
        Ok(())
    }
}
