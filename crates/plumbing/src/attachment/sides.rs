//! A pair and its two namespaces, with one conversation with the kernel in each.

use netlink_packet_route::link::LinkAttribute;

use super::{Attached, Attachment, explain_exists, pair, routes, set_inner_up, settings, text};
use crate::link::{self, DEAD_GROUP, DEAD_NAME, Link};
use crate::{Error, NetNs, Netlink, Result, address, route, sysctl, tc};

/// The namespace of this thread, where outer ends are, and the one of an inner end.
pub struct Sides<'a> {
    netns: Option<&'a NetNs>,
    home: NetNs,
    pub(super) host: Netlink,
    inside: Option<Netlink>,
}

impl<'a> Sides<'a> {
    /// Both; `None`: the inner end is in this thread's own namespace, too.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the kernel gives no socket.
    pub fn open(netns: Option<&'a NetNs>) -> Result<Self> {
        let host = Netlink::here()?;
        let home = host.namespace()?;
        let inside = netns.map(|netns| netns.visit(&home, Netlink::here)?).transpose()?;
        Ok(Self { netns, home, host, inside })
    }

    /// Whether both sides are in one namespace.
    ///
    /// # Errors
    /// The file system does not answer.
    pub fn are_one(&self) -> Result<bool> {
        self.netns.map_or(Ok(true), |netns| Ok(netns.identity()? == self.home.identity()?))
    }

    fn inside(&mut self) -> &mut Netlink {
        self.inside.as_mut().unwrap_or(&mut self.host)
    }

    /// The interface of that name on the outer side, without its statistics.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn outer(&mut self, name: &str) -> Result<Option<Link>> {
        self.host.find(name)
    }

    /// The interface of that name on the inner side, without its statistics.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn inner(&mut self, name: &str) -> Result<Option<Link>> {
        self.inside().find(name)
    }

    /// The other end of the interface of that name on the inner side, if that is a veth whose other end is on the outer
    /// side, whatever it is called there.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn outer_of(&mut self, inner: &str) -> Result<Option<Link>> {
        let Some(inner) = self.inner(inner)?.filter(|inner| inner.peer != 0) else { return Ok(None) };
        Ok(link::get(&mut self.host, inner.peer)?.filter(|outer| outer.is_other_end_of(&inner)))
    }

    /// Makes the pair, both ends down, the outer one in the datapath's block and with its owner's name.
    ///
    /// # Errors
    /// The step that failed; nothing is left of the pair then. [`Error::is_exists`] if a name is taken.
    pub fn create(&mut self, attachment: &Attachment<'_>) -> Result<Attached> {
        if attachment.replace_stale
            && let Some(stale) = self.outer(&attachment.outer)?
        {
            link::ignore_missing(self.host.request(link::delete(stale.ifindex, &stale.name)))?;
        }
        let made = self.host.request(pair(attachment));
        made.map_err(|error| explain_exists(error, &mut self.host, attachment))?;
        let made = self.host.index(&attachment.outer).and_then(|outer| self.name(attachment, outer));
        if made.is_err()
            && let Ok(Some(left)) = self.outer(&attachment.outer)
        {
            let _ = self.host.request(link::delete(left.ifindex, &left.name));
        }
        made
    }

    fn name(&mut self, attachment: &Attachment<'_>, outer: u32) -> Result<Attached> {
        let alias = [LinkAttribute::IfAlias(attachment.alias.clone())];
        let alias = alias.into_iter().chain(link::no_link_local(attachment.mtu));
        self.host.requests(vec![
            link::change(outer, &format!("name the owner of {}", attachment.outer), alias),
            tc::join_block(outer, &attachment.outer),
        ])?;
        let (name, inside) = (attachment.inner.as_str(), self.inside());
        let (inner, mac) = (inside.index(name)?, inside.mac(name)?);
        // A driver may take an address and not say that it did not.
        if mac != attachment.inner_mac {
            let (has, wanted) = (text(mac), text(attachment.inner_mac));
            return Err(Error::other(
                format!("set the MAC address of {name} to {wanted}"),
                format!("the kernel gave it {has}"),
            ));
        }
        Ok(Attached { outer_ifindex: outer, inner_ifindex: inner })
    }

    /// Gives the inner end its settings, addresses and routes, and sets it up.
    ///
    /// # Errors
    /// The step that failed.
    pub fn configure(&mut self, attachment: &Attachment<'_>, made: Attached) -> Result<()> {
        let settings = settings(attachment);
        match self.netns {
            Some(netns) if !settings.is_empty() => {
                netns.visit(&self.home, || sysctl::set_all(&settings))??;
            }
            _ => sysctl::set_all(&settings)?,
        }
        let (index, name) = (made.inner_ifindex, attachment.inner.as_str());
        let mut requests = vec![set_inner_up(attachment, index)];
        requests.extend(attachment.addresses.iter().map(|net| address::add(index, name, *net)));
        requests.extend(routes(attachment).iter().map(|route| route::add(index, name, route)));
        self.inside().requests(requests)
    }

    /// Sets an outer end up: from here on packets pass.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_up(&mut self, ifindex: u32, name: &str) -> Result<()> {
        self.host.request(link::switch(ifindex, true, &format!("set {name} up"), []))
    }

    /// Takes a pair out of use without waiting for anything: when this returns nothing passes, and the inner
    /// name is free, if it is given. What is left is deleted by [`crate::reap_dead`], or with the inner end's
    /// namespace. Renaming costs as much as all the rest: who needs the outer name, [clears](Self::clear) it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn detach(&mut self, outer: &Link, inner: Option<&str>) -> Result<()> {
        // The inner end first: if this ends half-way, the outer one still says whose the pair is.
        if let (Some(inside), Some(inner)) = (&mut self.inside, inner)
            && let Some(end) = inside.find(inner)?
            && end.is_other_end_of(outer)
        {
            let bury = [LinkAttribute::IfName(DEAD_NAME.into())];
            link::ignore_missing(retire(inside, end.ifindex, &format!("take {inner} away"), &bury))?;
        }
        let dead = [LinkAttribute::Group(DEAD_GROUP)];
        let request = link::switch(outer.ifindex, false, &format!("take {} away", outer.name), dead);
        link::ignore_missing(self.host.request(request))
    }

    /// Takes a pair out of use like [`detach`](Self::detach), and frees its outer name.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn clear(&mut self, outer: &Link) -> Result<()> {
        let bury = [LinkAttribute::Group(DEAD_GROUP), LinkAttribute::IfName(DEAD_NAME.into())];
        let what = format!("free the name {}", outer.name);
        link::ignore_missing(retire(&mut self.host, outer.ifindex, &what, &bury))
    }
}

/// Sets an interface down and gives it another name, in one message where the kernel does that. Linux before 6.2
/// renames no interface that is up (EBUSY), and in such a message the new name comes first.
fn retire(netlink: &mut Netlink, ifindex: u32, what: &str, attributes: &[LinkAttribute]) -> Result<()> {
    let request = || link::switch(ifindex, false, what, attributes.to_vec());
    match netlink.request(request()) {
        Err(error) if error.is_busy() => {
            netlink.request(link::switch(ifindex, false, what, []))?;
            netlink.request(request())
        }
        other => other,
    }
}
