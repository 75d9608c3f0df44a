use std::collections::BTreeMap;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::tc::{TcHandle, TcMessage};

use super::bucket::{Bucket, Queue};
use super::discipline::{attribute, discipline, message, root};
use super::options;
use crate::error::{Error, Result};
use crate::link::{Link, request};
use crate::netlink::{Netlink, Request};
use crate::tc;

/// The major number of the shaper's queueing discipline and its classes ("mi" in ASCII).
const MAJOR: u16 = 0x6d69;

/// The shaper's MTU, in bytes: larger than any packet, so that the shaper drops none for its size.
const SHAPER_MTU: u32 = 65_535;

/// A veth pair with queues. A packet that is sent into its entry with a class as its priority comes out of its
/// exit, which is in the datapath's block, at the rate of the class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shaper {
    /// The ifindex of the entry.
    pub entry: u32,
    /// The ifindex of the exit.
    pub exit: u32,
}

impl Shaper {
    /// Creates or repairs the pair. Existing classes stay.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn ensure(entry: &str, exit: &str) -> Result<Self> {
        let mut netlink = Netlink::here()?;
        let (entry, exit) = match pair(&mut netlink, entry, exit)? {
            Some(pair) => pair,
            None => {
                // One of them alone, or with another peer.
                for name in [entry, exit] {
                    if let Some(stale) = netlink.find(name)? {
                        netlink.request(request::delete(stale.ifindex, name))?;
                    }
                }
                netlink.request(create(entry, exit))?;
                let made = pair(&mut netlink, entry, exit)?;
                made.ok_or_else(|| Error::other(format!("make {entry} and {exit}"), "they have gone"))?
            }
        };
        let shaper = Self { entry: entry.ifindex, exit: exit.ifindex };
        if root(&mut netlink, shaper.entry, "htb")?.is_none() {
            netlink.request(Request {
                what: format!("make the queue of {}", entry.name),
                ..discipline(shaper.entry, TcHandle::ROOT, handle(0), "htb", options::htb())
            })?;
        }
        tc::join(&mut netlink, &exit)?;
        for link in [&exit, &entry].into_iter().filter(|link| !link.up) {
            let (index, what) = (link.ifindex, format!("set {} up", link.name));
            netlink.requests(vec![
                request::change(index, &what, request::no_link_local(link.mtu)),
                request::switch(index, true, &what, []),
            ])?;
        }
        Ok(shaper)
    }

    /// The first difference from what [`ensure`](Self::ensure) makes; `None` if there is none.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn difference(self, entry: &str, exit: &str) -> Result<Option<String>> {
        let mut netlink = Netlink::here()?;
        let Some((entry, exit)) = pair(&mut netlink, entry, exit)? else {
            return Ok(Some(format!("{entry} or {exit} is gone")));
        };
        if (entry.ifindex, exit.ifindex) != (self.entry, self.exit) {
            return Ok(Some(format!("{} is another", entry.name)));
        }
        if let Some(down) = [&entry, &exit].into_iter().find(|link| !link.up) {
            return Ok(Some(format!("{} is down", down.name)));
        }
        if root(&mut netlink, self.entry, "htb")?.is_none() {
            return Ok(Some(format!("the queue of {} is gone", entry.name)));
        }
        let outside = !tc::is_member(&mut netlink, self.exit)?;
        Ok(outside.then(|| format!("{} is not in the datapath's block", exit.name)))
    }

    /// The priority of packets for a class.
    pub fn priority(class: u16) -> u32 {
        handle(class).into()
    }

    /// The class of a priority; 0 if it is none of the shaper's.
    pub fn class(priority: u32) -> u16 {
        let handle = TcHandle::from(priority);
        if handle.major == MAJOR { handle.minor } else { 0 }
    }

    /// Creates or changes a class. Class numbers begin with 1.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_class(self, class: u16, bucket: Bucket) -> Result<()> {
        let mut message = message(self.entry, handle(0), handle(class), "htb");
        message.attributes.push(attribute(options::class(bucket)));
        let queue = options::bfifo(bucket);
        Netlink::here()?.requests(vec![
            Request {
                what: format!("make class {class} of the shaper"),
                message: RouteNetlinkMessage::NewTrafficClass(message),
                flags: NLM_F_CREATE | NLM_F_REPLACE,
            },
            Request {
                what: format!("make the queue of class {class} of the shaper"),
                ..discipline(self.entry, handle(class), TcHandle::UNSPEC, "bfifo", queue)
            },
        ])
    }

    /// Deletes a class with everything in its queue. None is success.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn delete_class(self, class: u16) -> Result<()> {
        let message = message(self.entry, handle(0), handle(class), "htb");
        request::ignore_missing(Netlink::here()?.request(Request {
            what: format!("delete class {class} of the shaper"),
            message: RouteNetlinkMessage::DelTrafficClass(message),
            flags: 0,
        }))
    }

    /// The classes that have a queue.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn classes(self) -> Result<BTreeMap<u16, Queue>> {
        let mut netlink = Netlink::here()?;
        let queues =
            tc::disciplines(&mut netlink)?.into_iter().filter(|d| d.header.index == self.entry.cast_signed());
        let queues: BTreeMap<u16, u32> =
            queues.filter_map(|d| Some((minor(d.header.parent)?, options::read_bfifo(&d)?))).collect();
        let all = TcMessage::with_index(self.entry.cast_signed());
        let classes =
            netlink.dump("list the shaper's classes", &RouteNetlinkMessage::GetTrafficClass(all))?;
        Ok(classes
            .into_iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewTrafficClass(class) => Some(class),
                _ => None,
            })
            .filter_map(|class| {
                let number = minor(class.header.handle)?;
                Some((number, Queue { rate: options::read_class(&class)?, bytes: *queues.get(&number)? }))
            })
            .collect())
    }
}

fn handle(class: u16) -> TcHandle {
    TcHandle { major: MAJOR, minor: class }
}

fn minor(handle: TcHandle) -> Option<u16> {
    (handle.major == MAJOR && handle.minor != 0).then_some(handle.minor)
}

/// Both sides, if they are peers.
fn pair(netlink: &mut Netlink, entry: &str, exit: &str) -> Result<Option<(Link, Link)>> {
    let both = netlink.find(entry)?.zip(netlink.find(exit)?);
    Ok(both.filter(|(entry, exit)| entry.is_peer_of(exit)))
}

fn create(entry: &str, exit: &str) -> Request {
    let attributes =
        |name: &str| vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Mtu(SHAPER_MTU)];
    let mut peer = LinkMessage::default();
    peer.attributes = attributes(exit);
    let info = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)))];
    request::create(entry, vec![LinkAttribute::Mtu(SHAPER_MTU), LinkAttribute::LinkInfo(info)])
}
