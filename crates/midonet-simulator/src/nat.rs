//! Rules that translate addresses, as MidoNet's `NatState`: the first packet of a connection chooses, its later ones and
//! its replies find what was chosen. What is chosen belongs to the device that the packet is at.

use midonet::{NatTarget, Rule, RuleType};
use uuid::Uuid;

use crate::assemble::has_no_ports;
use crate::packet::{Ipv4, Packet, Payload, Transport, UDP};
use crate::state::{Direction, Endpoint, Exhausted, NatKey};
use crate::{Connection, State};

/// Translates the packet as the rule says.
pub(crate) fn apply(
    rule: &Rule,
    packet: &mut Packet,
    device: Option<Uuid>,
    state: &mut State,
) -> Result<Connection, Exhausted> {
    let Payload::Ipv4(ip) = &mut packet.payload else { return Ok(Connection::Unsupported) };
    let targets = rule.nat_targets.as_deref().unwrap_or_default();
    let direction = match rule.rule_type {
        RuleType::Dnat => Direction::Dnat,
        RuleType::Snat => Direction::Snat,
        RuleType::RevDnat => Direction::RevDnat,
        _ => Direction::RevSnat,
    };
    let reverse = matches!(direction, Direction::RevDnat | Direction::RevSnat);
    if let ([target], false) = (targets, reverse)
        && has_no_ports(target)
    {
        stateless(ip, direction, target, rule);
        return Ok(Connection::Stateless);
    }
    let Some(key) = key(ip, direction, device) else { return Ok(Connection::Unsupported) };
    if reverse {
        let translated = state.binding(&key).is_some_and(|original| translate_back(ip, &key, original));
        return Ok(if translated { Connection::Known } else { Connection::None });
    }
    let (to, connection) = match state.binding(&key) {
        Some(to) => (to, Connection::Known),
        None => {
            let to = choose(ip, &key, targets, state)?;
            state.bind(key, to)?;
            (to, Connection::New)
        }
    };
    translate(ip, direction, to);
    Ok(connection)
}

/// The connection that the packet is of. None for protocols that are not translated. An ICMP error is of the connection
/// of the packet that it is about, in the other direction.
fn key(ip: &Ipv4, direction: Direction, device: Option<Uuid>) -> Option<NatKey> {
    let (src, dst, protocol) = match &ip.transport {
        Transport::Tcp { .. } | Transport::Udp { .. } => {
            let (src_port, dst_port) = ip.ports();
            ((ip.src, src_port), (ip.dst, dst_port), ip.protocol())
        }
        Transport::Echo { id, .. } => ((ip.src, *id), (ip.dst, *id), ip.protocol()),
        Transport::Error(error) => {
            let about = error.about;
            ((about.dst, about.dst_port), (about.src, about.src_port), about.protocol)
        }
        Transport::Other { .. } => return None,
    };
    Some(NatKey { direction, src, dst, protocol, device })
}

/// What a new connection is translated to.
fn choose(ip: &Ipv4, key: &NatKey, targets: &[NatTarget], state: &mut State) -> Result<Endpoint, Exhausted> {
    let is_icmp = matches!(ip.transport, Transport::Echo { .. } | Transport::Error(_));
    if key.direction == Direction::Snat && !is_icmp {
        return free_source(key, targets, state);
    }
    let last = u32::try_from(targets.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let index = usize::try_from(state.random.between(0, last)).unwrap_or(0);
    let target = targets.get(index).ok_or(Exhausted)?;
    let address = state.random.between(target.address_from.into(), target.address_to.into());
    let port = if is_icmp { key.dst.1 } else { random_port(target, state) };
    Ok((address.into(), port))
}

fn random_port(target: &NatTarget, state: &mut State) -> u16 {
    let port = state.random.between(target.port_from.into(), target.port_to.into());
    u16::try_from(port).unwrap_or(target.port_to)
}

/// The first address of the targets with a port that no connection to the same destination has. MidoNet takes ports of
/// the blocks that its agent leased; here, the search begins anywhere in the range.
fn free_source(key: &NatKey, targets: &[NatTarget], state: &mut State) -> Result<Endpoint, Exhausted> {
    for target in targets {
        // An address is passed over only when all of its ports are used, so this ends.
        for address in u32::from(target.address_from)..=u32::from(target.address_to) {
            let begin = random_port(target, state);
            let mut ports = (begin..=target.port_to).chain(target.port_from..begin);
            let is_free = |port: &u16| state.is_free(key.device, (address.into(), *port), key.dst);
            if let Some(port) = ports.find(is_free) {
                return Ok((address.into(), port));
            }
        }
    }
    Err(Exhausted)
}

fn translate(ip: &mut Ipv4, direction: Direction, to: Endpoint) {
    let is_source = matches!(direction, Direction::Snat | Direction::RevDnat);
    *(if is_source { &mut ip.src } else { &mut ip.dst }) = to.0;
    if let Transport::Tcp { src_port, dst_port } | Transport::Udp { src_port, dst_port } = &mut ip.transport {
        *(if is_source { src_port } else { dst_port }) = to.1;
    }
}

/// Translates a packet of the other direction. What an ICMP error says of its packet is translated, too; its own address
/// only if it comes from, or goes to, the end of the connection and not a router between. Says whether anything changed.
fn translate_back(ip: &mut Ipv4, key: &NatKey, original: Endpoint) -> bool {
    let is_source = key.direction == Direction::RevDnat;
    let was = if is_source { key.src.0 } else { key.dst.0 };
    let is_end = (if is_source { ip.src } else { ip.dst }) == was;
    match &mut ip.transport {
        Transport::Error(error) => {
            let about = &mut error.about;
            let (address, port) = if is_source {
                (&mut about.dst, &mut about.dst_port)
            } else {
                (&mut about.src, &mut about.src_port)
            };
            let is_about = *address == was;
            if is_about {
                *address = original.0;
                // TCP and UDP have ports, the id of an echo stays.
                if matches!(about.protocol, crate::packet::TCP | UDP) {
                    *port = original.1;
                }
            }
            if is_end {
                translate(ip, key.direction, original);
            }
            is_about || is_end
        }
        Transport::Echo { .. } if !is_end => false,
        _ => {
            translate(ip, key.direction, original);
            true
        }
    }
}

/// Translates an address alone, whatever the protocol. In ICMP errors, the address that the rule is about is translated
/// in what they say of their packet.
fn stateless(ip: &mut Ipv4, direction: Direction, target: &NatTarget, rule: &Rule) {
    let to = target.address_from;
    let from = match direction {
        Direction::Snat => {
            ip.src = to;
            rule.nw_src_address
        }
        _ => {
            ip.dst = to;
            rule.nw_dst_address
        }
    };
    if let (Transport::Error(error), Some(from)) = (&mut ip.transport, from) {
        let about = &mut error.about;
        let address = if direction == Direction::Snat { &mut about.dst } else { &mut about.src };
        if *address == from {
            *address = to;
        }
    }
}
