//! A pair and its two namespaces, with one netlink socket in each.

use netlink_packet_route::link::LinkAttribute;

use super::message;
use super::pair::{self, VethIndexes, VethPair};
use crate::error::{Error, Result};
use crate::link::request;
use crate::link::retire::{RETIRED_GROUP, RETIRED_NAME, down_and_rename};
use crate::link::{self, Link};
use crate::netlink::Netlink;
use crate::netns::NetNs;
use crate::{address, route, sysctl, tc};

/// The host's namespace, which is this thread's, and a container's: a netlink socket in each.
pub struct Namespaces<'a> {
    netns: Option<&'a NetNs>,
    home: NetNs,
    host: Netlink,
    inside: Option<Netlink>,
}

impl<'a> Namespaces<'a> {
    /// Both; `None`: the container side is in this thread's namespace, too.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the kernel gives no socket.
    pub fn open(netns: Option<&'a NetNs>) -> Result<Self> {
        let host = Netlink::here()?;
        let home = host.namespace()?;
        let inside = netns.map(|netns| netns.visit(&home, Netlink::here)?).transpose()?;
        Ok(Self { netns, home, host, inside })
    }

    /// Whether both are the same namespace.
    ///
    /// # Errors
    /// The file system does not answer.
    pub fn is_one(&self) -> Result<bool> {
        self.netns.map_or(Ok(true), |netns| Ok(netns.identity()? == self.home.identity()?))
    }

    fn inside(&mut self) -> &mut Netlink {
        self.inside.as_mut().unwrap_or(&mut self.host)
    }

    /// The host's interface of this name, without its statistics.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn host_link(&mut self, name: &str) -> Result<Option<Link>> {
        self.host.find(name)
    }

    /// The container's interface of this name, without its statistics.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn container_link(&mut self, name: &str) -> Result<Option<Link>> {
        self.inside().find(name)
    }

    /// The host side of the container's interface of this name, if that is a veth whose peer is in the host's
    /// namespace, under whatever name.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn host_side_of(&mut self, ifname: &str) -> Result<Option<Link>> {
        let Some(link) = self.container_link(ifname)?.filter(|link| link.peer != 0) else { return Ok(None) };
        Ok(link::get(&mut self.host, link.peer)?.filter(|host_side| host_side.is_peer_of(&link)))
    }

    /// Creates the pair, both sides down, the host side with its alias, and in the datapath's block if it is to be there.
    ///
    /// # Errors
    /// The step that failed; nothing is left of the pair then. [`Error::is_exists`] if a name is taken.
    pub fn create(&mut self, pair: &VethPair) -> Result<VethIndexes> {
        if pair.replace_stale
            && let Some(stale) = self.host_link(&pair.host_ifname)?
        {
            request::ignore_missing(self.host.request(request::delete(stale.ifindex, &stale.name)))?;
        }
        let made = match self.host.request(message::create(pair, self.netns)) {
            Ok(()) => self.host.index(&pair.host_ifname).and_then(|host| self.complete(pair, host)),
            Err(error) if error.is_exists() => return Err(explain_exists(&mut self.host, pair)),
            Err(error) => Err(error),
        };
        if made.is_err()
            && let Ok(Some(left)) = self.left_of(pair)
        {
            let _ = self.host.request(request::delete(left.ifindex, &left.name));
        }
        made
    }

    /// The host side of a pair whose creation failed: the kernel may have made it and its answer be lost.
    fn left_of(&mut self, pair: &VethPair) -> Result<Option<Link>> {
        let Some(left) = self.host_link(&pair.host_ifname)? else { return Ok(None) };
        let peer = self.container_link(&pair.ifname)?;
        Ok(Some(left).filter(|left| peer.is_some_and(|peer| peer.is_peer_of(left))))
    }

    fn complete(&mut self, pair: &VethPair, host_ifindex: u32) -> Result<VethIndexes> {
        let alias = [LinkAttribute::IfAlias(pair.alias.clone())];
        let alias = alias.into_iter().chain(request::no_link_local(pair.mtu));
        let what = format!("set the alias of {}", pair.host_ifname);
        let mut requests = vec![request::change(host_ifindex, &what, alias)];
        requests.extend(pair.in_block.then(|| tc::join_block(host_ifindex, &pair.host_ifname)));
        self.host.requests(requests)?;
        let (name, inside) = (pair.ifname.as_str(), self.inside());
        let (ifindex, mac) = (inside.index(name)?, inside.mac(name)?);
        // A driver may ignore the address without an error.
        if mac != pair.mac {
            let (has, wanted) = (text(mac), text(pair.mac));
            return Err(Error::other(
                format!("set the MAC address of {name} to {wanted}"),
                format!("the kernel gave it {has}"),
            ));
        }
        Ok(VethIndexes { ifindex, host_ifindex })
    }

    /// Gives the container side its settings, addresses and routes, and sets it up.
    ///
    /// # Errors
    /// The step that failed.
    pub fn configure(&mut self, pair: &VethPair, ifindex: u32) -> Result<()> {
        let settings = pair::settings(pair);
        match self.netns {
            Some(netns) if !settings.is_empty() => {
                netns.visit(&self.home, || sysctl::set_all(&settings))??;
            }
            _ => sysctl::set_all(&settings)?,
        }
        let name = pair.ifname.as_str();
        let mut requests = vec![message::set_up(pair, ifindex)];
        requests.extend(pair.addresses.iter().map(|net| address::add(ifindex, name, *net)));
        requests.extend(pair::all_routes(pair).iter().map(|route| route::add(ifindex, name, route)));
        self.inside().requests(requests)
    }

    /// Sets the host side up: from here on packets pass.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_up(&mut self, ifindex: u32, name: &str) -> Result<()> {
        self.host.request(request::switch(ifindex, true, &format!("set {name} up"), []))
    }

    /// Retires a pair without waiting for anything: when this returns nothing passes, and the name of the container
    /// side is free, if it is given. The pair is deleted by [`crate::link::delete_retired`], or with the
    /// container's namespace. The name of the host side is not freed, which would cost as much as all the rest: see
    /// [`retire_and_rename`](Self::retire_and_rename).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn retire(&mut self, host_side: &Link, ifname: Option<&str>) -> Result<()> {
        // The container side first: if this process is killed in between, the host side still names the owner.
        if let (Some(inside), Some(ifname)) = (&mut self.inside, ifname)
            && let Some(link) = inside.find(ifname)?
            && link.is_peer_of(host_side)
        {
            let name = [LinkAttribute::IfName(RETIRED_NAME.into())];
            let what = format!("retire {ifname}");
            request::ignore_missing(down_and_rename(inside, link.ifindex, &what, &name))?;
        }
        let group = [LinkAttribute::Group(RETIRED_GROUP)];
        let what = format!("retire {}", host_side.name);
        request::ignore_missing(self.host.request(request::switch(host_side.ifindex, false, &what, group)))
    }

    /// Retires a pair, and frees the name of the host side.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn retire_and_rename(&mut self, host_side: &Link) -> Result<()> {
        link::retire::retire_in(&mut self.host, host_side.ifindex, &host_side.name)
    }
}

/// Which of the two names exists already.
fn explain_exists(host: &mut Netlink, pair: &VethPair) -> Error {
    let (name, place) = match host.find(&pair.host_ifname) {
        Ok(Some(_)) => (&pair.host_ifname, "on the node"),
        _ => (&pair.ifname, "in the namespace"),
    };
    let exists = std::io::Error::from_raw_os_error(libc::EEXIST);
    Error::new(format!("create interface {name}, which exists {place} already"), exists)
}

pub(super) fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
