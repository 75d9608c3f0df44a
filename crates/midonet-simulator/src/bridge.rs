//! How a bridge forwards, as MidoNet's `Bridge`: without VLANs.

use std::net::Ipv4Addr;

use naming::Mac;
use uuid::Uuid;

use crate::packet::{Arp, BROADCAST, Packet, Payload, is_multicast};
use crate::run::Run;
use crate::topology::{Bridge, Filters, Port};
use crate::trace::{Answer, Did, Filter, Known, Reason};

enum Next {
    Port(Uuid, Known),
    Flood,
    Reply(Mac, Packet),
    CameFromThere,
}

impl Run<'_> {
    pub(crate) fn bridge(&mut self, port: &Port, filters: Filters, bridge: &Bridge) {
        let id = port.device;
        if is_multicast(self.packet.src_mac) {
            return self.drop(Reason::MulticastSource);
        }
        let filtered = self.filter((id, None), Filter::DeviceIn, filters.inbound);
        if !bridge.router_macs.contains_key(&self.packet.src_mac) {
            self.state.learn_mac(id, self.packet.src_mac, port.id);
        }
        if let Err(stopped) = filtered {
            return self.drop(stopped.reason);
        }
        match self.next(port, bridge) {
            Next::CameFromThere => self.drop(Reason::CameFromThere),
            Next::Reply(mac, reply) => self.answer(Answer::Arp { mac }, port.id, reply),
            Next::Port(to, known) => {
                self.step(id, None, Did::Forward { to, known });
                match self.filter((id, None), Filter::DeviceOut, filters.outbound) {
                    Ok(()) => self.egress(to),
                    Err(stopped) => self.drop(stopped.reason),
                }
            }
            Next::Flood => self.flood(port, filters, bridge),
        }
    }

    fn next(&mut self, port: &Port, bridge: &Bridge) -> Next {
        match &self.packet.payload {
            Payload::Arp(arp) if self.packet.dst_mac == BROADCAST => {
                let arp = arp.clone();
                self.arp(&arp, port.device, bridge)
            }
            _ if is_multicast(self.packet.dst_mac) => Next::Flood,
            _ => self.unicast(port, bridge),
        }
    }

    fn unicast(&self, port: &Port, bridge: &Bridge) -> Next {
        let mac = self.packet.dst_mac;
        let next = if let Some(to) = bridge.router_macs.get(&mac) {
            return Next::Port(*to, Known::RouterPort);
        } else if mac == self.packet.src_mac {
            Some((port.id, Known::Learned))
        } else if let Some(to) = bridge.macs.get(&mac) {
            Some((*to, Known::MacTable))
        } else {
            self.state.learned_mac(port.device, mac).map(|to| (to, Known::Learned))
        };
        match next {
            Some((to, _)) if to == port.id => Next::CameFromThere,
            Some((to, known)) => Next::Port(to, known),
            None => Next::Flood,
        }
    }

    /// ARP to all. A sender that asks for its own address tells the others that it has it.
    fn arp(&mut self, arp: &Arp, id: Uuid, bridge: &Bridge) -> Next {
        let tells = arp.sender == arp.target;
        if !arp.reply
            && !tells
            && let Some(mac) = self.known_address(id, bridge, arp.target)
        {
            return Next::Reply(mac, Packet::arp_reply(arp, mac));
        }
        let router = bridge.router_addresses.get(&arp.target).and_then(|mac| bridge.router_macs.get(mac));
        if let Some(to) = router {
            return Next::Port(*to, Known::RouterPort);
        }
        if tells {
            self.state.learn_arp(id, arp.sender, self.packet.src_mac);
        }
        Next::Flood
    }

    /// The MAC address that the bridge knows an address to have.
    pub(crate) fn known_address(&self, id: Uuid, bridge: &Bridge, address: Ipv4Addr) -> Option<Mac> {
        let known = bridge.router_addresses.get(&address).or_else(|| bridge.arp.get(&address)).copied();
        known.or_else(|| self.state.learned_arp(id, address))
    }

    /// A copy to every port that is bound, but for the one that it came from. What is linked to other devices gets none.
    fn flood(&mut self, port: &Port, filters: Filters, bridge: &Bridge) {
        let to: Vec<_> = bridge.bound.iter().copied().filter(|to| *to != port.id).collect();
        self.step(port.device, None, Did::Flood { to: to.clone() });
        if let Err(stopped) = self.filter((port.device, None), Filter::DeviceOut, filters.outbound) {
            return self.drop(stopped.reason);
        }
        if to.is_empty() {
            return self.drop(Reason::NobodyElse);
        }
        let before = self.packet.clone();
        for to in to {
            self.egress(to);
            self.packet = before.clone();
        }
    }
}
