//! Where a packet left, by what the program did and counted, and by the frame that is left of it.

use std::net::IpAddr;

use super::packet::{Packet, TUNNEL, tunnel_destination};
use super::{Exit, Tracer};
use crate::counters::Reason;
use crate::error::{Error, Result};
use crate::layout::Config;
use crate::model::Fate;

/// What a program did with a packet: TC_ACT_*.
const SHOT: u32 = 2;
const REDIRECT: u32 = 7;

/// What a program left of a packet.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) action: u32,
    pub(super) frame: Vec<u8>,
    /// Under which reasons it was counted: under two, if it was dropped and its sender told through the tunnel.
    pub(super) counted: Vec<&'static Reason>,
}

impl Ran {
    /// The reason of the packet itself.
    pub(super) fn reason(&self) -> Result<&'static Reason> {
        let dropped = self.counted.iter().find(|reason| reason.fate != Fate::Forward);
        dropped.or(self.counted.first()).copied().ok_or_else(|| {
            Error::Trace(format!("the program did {} with it, and counted nothing", self.action))
        })
    }
}

impl Tracer {
    /// Where it left, and as which packet, if it is one that goes on.
    pub(super) fn exit(&self, config: &Config, ran: &Ran) -> Result<(Exit, Option<Packet>)> {
        let reason = ran.reason()?;
        if reason.fate != Fate::Forward {
            return Ok((Exit::Dropped { answered: ran.action == REDIRECT }, None));
        }
        if ran.action == SHOT {
            return Err(Error::Trace(format!("it was dropped and counted as {}", reason.name)));
        }
        let inner = if reason.name == "direct_out" { TUNNEL } else { 0 };
        let frame = ran.frame.get(inner..).unwrap_or_default();
        let packet = Packet::read(frame);
        let exit = match (reason.name, packet) {
            ("to_node" | "external" | "via_node", Some(_)) => Exit::Node,
            ("outside", Some(_)) => Exit::Outside,
            ("direct_out", Some(_)) => {
                let end = tunnel_destination(&ran.frame).ok_or_else(|| unknown("no tunnel"))?;
                Exit::Tunnel { end, own: own_end(config, end) }
            }
            ("overlay_out", Some(packet)) => {
                let end = match self.shared.tunnel_end(packet.destination.ip())? {
                    Some(end) => Some(end),
                    None => self.own.client_tunnel()?.map(IpAddr::from),
                };
                let end = end.ok_or_else(|| unknown("no node where its tunnel ends"))?;
                Exit::Tunnel { end, own: own_end(config, end) }
            }
            ("local" | "overlay_in" | "direct_in" | "from_outside", Some(packet)) => {
                if frame.get(..6) == Some(&config.node_mac[..]) {
                    return Ok((Exit::Node, Some(packet)));
                }
                let endpoint = self.shared.endpoint(packet.destination.ip())?;
                Exit::Port(endpoint.ok_or_else(|| unknown("nobody who has its destination"))?.ifindex)
            }
            _ => return Ok((Exit::Answered, None)),
        };
        Ok((exit, packet))
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
