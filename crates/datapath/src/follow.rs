//! Following: what the programs at work do with the packets of a connection.
//!
//! While somebody follows, the kernel runs a program of its own when a hook's program begins, and another when it returns
//! (`bpf/follow.bpf.c`). They see the packet before and after, and what was counted meanwhile. The hooks' programs stay as
//! they are; without a [`Follower`] nothing runs beside them. Should the agent end, the kernel takes them away.

mod header;
mod load;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails"
)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::api::{CONFIG, Datapath};
use crate::counters::{Reason, reasons};
use crate::error::{Error, Result};
use crate::exits::{Ending, REDIRECT, ending, reason_of};
use crate::layout::Address;
use crate::layout::follow::{Followed, FollowedEvent, FollowedFrame, PORTS};
use crate::sys::RawMap;

pub use header::{Header, Icmp, Tcp};
#[cfg(test)]
pub(crate) use load::OBJECT;
pub use load::Source;

/// The ports of the other end that can be followed at once.
pub const MOST_PORTS: usize = PORTS;

const RING: &str = "followed_ring";
const FOLLOWED: &str = "followed";

/// Which packets are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// An address at one end, as it is on this node.
    pub client: IpAddr,
    /// Its port; of an echo, the identifier; `None`: any.
    pub client_port: Option<u16>,
    /// The number of the transport protocol; that of ICMP also in IPv6.
    pub protocol: u8,
    /// The ports of the other end, at most [`MOST_PORTS`]; none: any.
    pub ports: Vec<u16>,
}

/// Where the packet was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// At the host side of a Pod's veth pair, or at `midokube-mido`.
    FromEndpoint,
    /// At the VXLAN device.
    FromOverlay,
    /// Where packets come into the node.
    FromUplink,
    /// Where they leave it.
    ToUplink,
}

/// Where it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nowhere: it was dropped. `answered`: its sender is told.
    Dropped {
        /// By an ICMP error or a reset.
        answered: bool,
    },
    /// Nowhere: the network itself answered it.
    Answered,
    /// To whom its destination belongs: a Pod of this node, or the node itself.
    Delivered {
        /// To the node.
        to_node: bool,
    },
    /// To the node's network stack.
    Node,
    /// Through the tunnel; `None`: the VXLAN device knows to where.
    Tunnel(Option<IpAddr>),
    /// Through an uplink, past the node's network stack.
    Outside,
    /// To the shaper first, for its sender's limit.
    Shaper,
    /// Where it was going anyway: the program let it pass.
    Passed,
}

/// A packet as a hook had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Bytes of the frame: more than a packet's, if the kernel has yet to cut it into segments.
    pub length: u32,
    /// The ends of the tunnel that it is in.
    pub tunnel: Option<(IpAddr, IpAddr)>,
    /// The packet, or the one in the tunnel; `None`: it cannot be read.
    pub header: Option<Header>,
}

/// What a hook did with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When, since boot.
    pub time: Duration,
    /// Where.
    pub hook: Hook,
    /// The index of the interface.
    pub ifindex: u32,
    /// The packet as it came.
    pub before: Frame,
    /// As it left.
    pub after: Frame,
    /// Under what it was counted; `None`: the program let it pass, or it has yet to be shaped.
    pub reason: Option<&'static Reason>,
    /// Where it left.
    pub left: Left,
}

/// The programs that follow, at work until this is dropped.
pub struct Follower {
    ring: RingBuf<MapData>,
    followed: RawMap,
    node_mac: [u8; 6],
    tunnel_port: u16,
    /// Closing these takes the programs away.
    _links: Vec<OwnedFd>,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follower")
    }
}

impl Datapath {
    /// What a [`Follower`] needs of this datapath. Opening one then needs it no more.
    ///
    /// # Errors
    /// The kernel does not tell of the programs.
    pub fn follow_source(&self) -> Result<Source> {
        let config = self.config.get(&CONFIG)?.unwrap_or_default();
        Source::new(&self.ebpf, self.maps()?.remove("counters"), &config)
    }
}

impl Follower {
    /// Begins to follow.
    ///
    /// # Errors
    /// There are too many ports, or the kernel does not take the programs: it needs its own type information (BTF).
    pub fn open(source: &Source, filter: &Filter) -> Result<Self> {
        let load::Loaded { ring, followed, links } = load::load(source, &entry(filter, source.tunnel_port)?)?;
        let tunnel_port = u16::from_be_bytes(source.tunnel_port);
        Ok(Self { ring, followed, node_mac: source.node_mac, tunnel_port, _links: links })
    }

    /// The oldest packet that was not read yet; `None`: there is none now.
    ///
    /// # Errors
    /// It is not what the programs of this build send.
    pub fn read(&mut self) -> Result<Option<Seen>> {
        let read =
            |item: &[u8]| bytemuck::try_pod_read_unaligned::<FollowedEvent>(item).map_err(|_| item.len());
        let Some(event) = self.ring.next().map(|item| read(&item)) else { return Ok(None) };
        let event = event
            .map_err(|length| Error::Foreign { map: RING, value: format!("an event of {length} bytes") })?;
        self.seen(&event).map(Some)
    }

    /// Waits for the next packet, for that long at most.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(&self, patience: Duration) -> Result<()> {
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        // SAFETY: the ring has this descriptor open for as long as it lives, which is longer than this call.
        let ring = unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) };
        match poll(&mut [PollFd::new(ring, PollFlags::POLLIN)], patience) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(Error::map("wait for", RING, &error)),
        }
    }

    /// How many packets were not told, since there were too many.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn lost(&self) -> Result<u64> {
        let failed = |error: std::io::Error| Error::map("read", FOLLOWED, &error);
        let value = self.followed.get(&0u32.to_ne_bytes()).map_err(failed)?.unwrap_or_default();
        let foreign = |_| Error::Foreign { map: FOLLOWED, value: "an entry of another size".to_owned() };
        let followed: Followed = bytemuck::try_pod_read_unaligned(&value).map_err(foreign)?;
        Ok(followed.lost)
    }

    fn seen(&self, event: &FollowedEvent) -> Result<Seen> {
        let hook = match event.hook {
            1 => Hook::FromEndpoint,
            2 => Hook::FromOverlay,
            3 => Hook::FromUplink,
            4 => Hook::ToUplink,
            other => return Err(Error::Foreign { map: RING, value: format!("an event of hook {other}") }),
        };
        let counted: Vec<_> = event.counted.iter().filter_map(|number| reason(*number)).collect();
        let reason = reason_of(&counted);
        Ok(Seen {
            time: Duration::from_nanos(event.time),
            hook,
            ifindex: event.ifindex,
            before: self.frame(&event.before),
            after: self.frame(&event.after),
            reason,
            left: self.left(event, reason),
        })
    }

    fn frame(&self, frame: &FollowedFrame) -> Frame {
        let (tunnel, header) = header::read(frame.bytes(), self.tunnel_port);
        Frame { length: frame.length, tunnel, header }
    }

    fn left(&self, event: &FollowedEvent, reason: Option<&'static Reason>) -> Left {
        let redirected = event.action == REDIRECT;
        let Some(reason) = reason else {
            return if redirected { Left::Shaper } else { Left::Passed };
        };
        match ending(reason) {
            Ending::Dropped => Left::Dropped { answered: redirected },
            Ending::Answered => Left::Answered,
            Ending::Node => Left::Node,
            Ending::Outside => Left::Outside,
            Ending::Tunnel => Left::Tunnel(self.frame(&event.after).tunnel.map(|(_, end)| end)),
            Ending::Delivered => {
                Left::Delivered { to_node: event.after.bytes().get(..6) == Some(&self.node_mac[..]) }
            }
        }
    }
}

fn reason(number: u32) -> Option<&'static Reason> {
    reasons().get(usize::try_from(number).ok()?.checked_sub(1)?)
}

fn entry(filter: &Filter, tunnel_port: [u8; 2]) -> Result<Followed> {
    if filter.ports.len() > PORTS {
        let count = filter.ports.len();
        return Err(Error::Follow(format!("{count} ports at once: {PORTS} at most")));
    }
    let mut ports = [[0u8; 2]; PORTS];
    for (place, port) in ports.iter_mut().zip(&filter.ports) {
        *place = port.to_be_bytes();
    }
    Ok(Followed {
        client: Address::from(filter.client),
        client_port: filter.client_port.unwrap_or_default().to_be_bytes(),
        tunnel_port,
        ports,
        protocol: filter.protocol,
        ..Followed::default()
    })
}
