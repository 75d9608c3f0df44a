//! Queues that let packets through at a rate: a token bucket (tc-tbf(8)) at the root of an interface for what
//! goes out there; and the shaper, a pair of interfaces with many of them (classes of tc-htb(8)) at its entry.

use std::collections::BTreeMap;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use crate::link::{self, Link};
use crate::netlink::Request;
use crate::{Error, Netlink, Result, tc};

mod options;

/// The major number of the shaper's queueing discipline and its classes ("mi" in ASCII).
const MAJOR: u16 = 0x6d69;

/// Larger than any packet: who is smaller is told so before or after the shaper, not by it.
const SHAPER_MTU: u32 = 65_535;

/// The largest packet, one for segmentation offload, as queues count it: with the headers of all its segments.
const LARGEST_PACKET: u32 = 80 * 1024;

/// Tokens are bytes: a bucket full of them at the start, and more at a steady rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Bytes a second; at least 1.
    pub rate: u64,
    /// The bytes that may pass at once, at most [`Bucket::LARGEST`]. At the root of an interface, a packet that is
    /// larger is cut into its segments; one that cannot be cut never passes.
    pub size: u32,
}

impl Bucket {
    /// The largest size.
    pub const LARGEST: u32 = 1 << 30;

    /// What waits for its tokens: at most a bucketful and what passes in 25 ms, as in the reference plugin
    /// `bandwidth`, but at least one packet.
    pub fn queue(self) -> Queue {
        let steady = u32::try_from(self.rate / 40).unwrap_or(u32::MAX).min(Self::LARGEST);
        let bytes = self.size.min(Self::LARGEST).saturating_add(steady).max(LARGEST_PACKET);
        Queue { rate: self.rate, bytes }
    }
}

/// A bucket's queue, by which it is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Bytes a second.
    pub rate: u64,
    /// The bytes that it holds at most.
    pub bytes: u32,
}

/// Makes an interface of this thread's namespace send no faster than a bucket lets it, or as fast as it can.
///
/// # Errors
/// There is no such interface, or the kernel refuses.
pub fn limit(ifindex: u32, bucket: Option<Bucket>) -> Result<()> {
    let mut netlink = Netlink::here()?;
    match bucket {
        Some(bucket) => netlink.request(Request {
            what: format!("limit what interface {ifindex} sends"),
            ..discipline(ifindex, TcHandle::ROOT, TcHandle::UNSPEC, "tbf", options::tbf(bucket))
        }),
        None if root(&mut netlink, ifindex, "tbf")?.is_none() => Ok(()),
        None => {
            let mut message = TcMessage::with_index(ifindex.cast_signed());
            message.header.parent = TcHandle::ROOT;
            netlink.request(Request {
                what: format!("remove the limit of what interface {ifindex} sends"),
                message: RouteNetlinkMessage::DelQueueDiscipline(message),
                flags: 0,
            })
        }
    }
}

/// The interfaces of this thread's namespace that have a token bucket at their root.
///
/// # Errors
/// The kernel does not tell.
pub fn limited() -> Result<BTreeMap<u32, Queue>> {
    let at_root =
        tc::disciplines(&mut Netlink::here()?)?.into_iter().filter(|d| d.header.parent == TcHandle::ROOT);
    Ok(at_root.filter_map(|d| Some((d.header.index.cast_unsigned(), options::read_tbf(&d)?))).collect())
}

/// Makes a queue of each kind, where it does no harm: in a namespace of its own.
///
/// # Errors
/// The kernel cannot.
pub fn try_out(entry: &str, exit: &str) -> Result<()> {
    let bucket = Bucket { rate: 1_000_000, size: 65_536 };
    let shaper = Shaper::ensure(entry, exit)?;
    shaper.set_class(1, bucket)?;
    limit(shaper.exit, Some(bucket))
}

/// A pair of interfaces that lead into each other. What is sent into its entry with a class as its priority comes
/// out of its exit, which is in the datapath's block, as fast as the class allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shaper {
    /// The number of the entry.
    pub entry: u32,
    /// The number of the exit.
    pub exit: u32,
}

impl Shaper {
    /// Makes the pair what it should be. Classes that are there stay.
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
                        netlink.request(link::delete(stale.ifindex, name))?;
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
                link::change(index, &what, link::no_link_local(link.mtu)),
                link::switch(index, true, &what, []),
            ])?;
        }
        Ok(shaper)
    }

    /// What is not as [`ensure`](Self::ensure) made it; `None` if all of it is.
    ///
    /// # Errors
    /// The kernel does not tell.
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

    /// The priority that sends a packet through a class.
    pub fn priority(class: u16) -> u32 {
        handle(class).into()
    }

    /// The class of a priority; 0 if it is none of the shaper's.
    pub fn class(priority: u32) -> u16 {
        let handle = TcHandle::from(priority);
        if handle.major == MAJOR { handle.minor } else { 0 }
    }

    /// Makes a class, or changes it. Numbers begin with 1.
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

    /// Removes a class with everything that waits there; one that is not there is gone already.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn remove_class(self, class: u16) -> Result<()> {
        let message = message(self.entry, handle(0), handle(class), "htb");
        link::ignore_missing(Netlink::here()?.request(Request {
            what: format!("remove class {class} of the shaper"),
            message: RouteNetlinkMessage::DelTrafficClass(message),
            flags: 0,
        }))
    }

    /// The classes that have a queue.
    ///
    /// # Errors
    /// The kernel does not tell.
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

/// Both ends, if they are each other's.
fn pair(netlink: &mut Netlink, entry: &str, exit: &str) -> Result<Option<(Link, Link)>> {
    let both = netlink.find(entry)?.zip(netlink.find(exit)?);
    Ok(both.filter(|(entry, exit)| (entry.peer, exit.peer) == (exit.ifindex, entry.ifindex)))
}

fn create(entry: &str, exit: &str) -> Request {
    let attributes =
        |name: &str| vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Mtu(SHAPER_MTU)];
    let mut peer = LinkMessage::default();
    peer.attributes = attributes(exit);
    let info = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)))];
    link::create(entry, vec![LinkAttribute::Mtu(SHAPER_MTU), LinkAttribute::LinkInfo(info)])
}

/// What is at the root of an interface, if it is of that kind.
fn root(netlink: &mut Netlink, ifindex: u32, kind: &str) -> Result<Option<TcMessage>> {
    let kind = TcAttribute::Kind(kind.to_owned());
    Ok(tc::disciplines(netlink)?.into_iter().find(|d| {
        d.header.index == ifindex.cast_signed()
            && d.header.parent == TcHandle::ROOT
            && d.attributes.contains(&kind)
    }))
}

/// Makes a queueing discipline, in place of one of another kind; changes one of the same.
fn discipline(ifindex: u32, parent: TcHandle, handle: TcHandle, kind: &str, options: Vec<u8>) -> Request {
    let mut message = message(ifindex, parent, handle, kind);
    message.attributes.push(attribute(options));
    Request {
        what: format!("make the {kind} of interface {ifindex}"),
        message: RouteNetlinkMessage::NewQueueDiscipline(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
    }
}

fn message(ifindex: u32, parent: TcHandle, handle: TcHandle, kind: &str) -> TcMessage {
    let mut message = TcMessage::with_index(ifindex.cast_signed());
    (message.header.parent, message.header.handle) = (parent, handle);
    message.attributes = vec![TcAttribute::Kind(kind.to_owned())];
    message
}

/// TCA_OPTIONS, whose inside is each discipline's own affair.
fn attribute(options: Vec<u8>) -> TcAttribute {
    TcAttribute::Other(DefaultNla::new(options::TCA_OPTIONS, options))
}
