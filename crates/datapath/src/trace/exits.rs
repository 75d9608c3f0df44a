//! Where a packet left, by what the program did and counted, and by the frame that is left of it.

use std::net::IpAddr;

use super::packet::{Packet, TUNNEL, tunnel_destination};
use super::{Exit, Tracer};
use crate::counters::Reason;
use crate::error::{Error, Result};
use crate::exits::{Ending, REDIRECT, SHOT, ending, reason_of};
use crate::layout::Config;

/// What a program left of a packet.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) action: i32,
    pub(super) frame: Vec<u8>,
    /// Under which reasons it was counted.
    pub(super) counted: Vec<&'static Reason>,
}

impl Ran {
    /// The reason of the packet itself.
    pub(super) fn reason(&self) -> Result<&'static Reason> {
        reason_of(&self.counted).ok_or_else(|| {
            Error::Trace(format!("the program did {} with it, and counted nothing", self.action))
        })
    }
}

impl Tracer {
    /// Where it left, and as which packet, if it is one that goes on.
    pub(super) fn exit(&self, config: &Config, ran: &Ran) -> Result<(Exit, Option<Packet>)> {
        let reason = ran.reason()?;
        let ending = ending(reason);
        if ending == Ending::Dropped {
            return Ok((Exit::Dropped { answered: ran.action == REDIRECT }, None));
        }
        if ran.action == SHOT {
            return Err(Error::Trace(format!("it was dropped and counted as {}", reason.name)));
        }
        let is_direct = reason.name == "direct_out";
        let frame = ran.frame.get(if is_direct { TUNNEL } else { 0 }..).unwrap_or_default();
        let Some(packet) = Packet::read(frame) else { return Ok((Exit::Answered, None)) };
        let exit = match ending {
            Ending::Node => Exit::Node,
            Ending::Outside => Exit::Outside,
            Ending::Tunnel if is_direct => {
                let end = tunnel_destination(&ran.frame).ok_or_else(|| unknown("no tunnel"))?;
                Exit::Tunnel { end, own: own_end(config, end) }
            }
            Ending::Tunnel => {
                let end = match self.shared.tunnel_end(packet.destination.ip())? {
                    Some(end) => Some(end),
                    None => self.own.client_tunnel()?.map(IpAddr::from),
                };
                let end = end.ok_or_else(|| unknown("no node where its tunnel ends"))?;
                Exit::Tunnel { end, own: own_end(config, end) }
            }
            Ending::Delivered if frame.get(..6) == Some(&config.node_mac[..]) => Exit::Node,
            Ending::Delivered => {
                let endpoint = self.shared.endpoint(packet.destination.ip())?;
                Exit::Port(endpoint.ok_or_else(|| unknown("nobody who has its destination"))?.ifindex)
            }
            Ending::Answered | Ending::Dropped => return Ok((Exit::Answered, None)),
        };
        Ok((exit, Some(packet)))
    }
}

/// This node's end of a tunnel.
fn own_end(config: &Config, end: IpAddr) -> IpAddr {
    match end {
        IpAddr::V4(_) => config.tunnel_address4.into(),
        IpAddr::V6(_) => config.tunnel_address6.into(),
    }
}

fn unknown(what: &str) -> Error {
    Error::Trace(format!("the maps have {what}: they changed in this moment, try again"))
}
