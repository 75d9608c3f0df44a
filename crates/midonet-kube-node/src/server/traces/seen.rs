//! What hooks did with packets, as messages.

use std::net::IpAddr;
use std::time::Duration;

use datapath::follow::{Frame, Header, Hook, Left, Seen, Tcp};
use nodeapi::v1;

use super::words::{node_at, pod_name};
use crate::agent::Agent;
use crate::backend::PortRecord;
use crate::clock::Clock;
use crate::server::remedy::remedy;

/// What is known of the node while packets are read.
pub(super) struct Reader<'a> {
    agent: &'a Agent,
    clock: Clock,
    ports: Vec<PortRecord>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(agent: &'a Agent) -> Self {
        Self { agent, clock: Clock::now(), ports: agent.backend().ports() }
    }

    fn nanoseconds(&self, uptime: Duration) -> u64 {
        self.clock.nanoseconds(uptime).try_into().unwrap_or(u64::MAX)
    }

    pub(super) fn message(&self, seen: &Seen) -> v1::SeenPacket {
        let Seen { time, hook, ifindex, before, after, reason, left } = seen;
        let pod_of = |port: &PortRecord| pod_name(&port.pod());
        let mut message = v1::SeenPacket {
            time: self.nanoseconds(*time),
            hook: hook_name(*hook).to_owned(),
            interface: interface(*ifindex),
            pod: self.ports.iter().find(|port| port.host_ifindex == *ifindex).map(pod_of),
            before: Some(packet(before)),
            after: Some(packet(after)),
            ..v1::SeenPacket::default()
        };
        if let Some(reason) = reason {
            reason.name.clone_into(&mut message.reason);
            reason.fate.name().clone_into(&mut message.fate);
            reason.help.clone_into(&mut message.help);
            remedy(reason.name).clone_into(&mut message.remedy);
        }
        let exit = match left {
            Left::Dropped { answered } => {
                message.told = *answered;
                "dropped"
            }
            Left::Answered => "answered",
            Left::Delivered { to_node: true } | Left::Node => "node",
            Left::Delivered { to_node: false } => {
                let to = after.header.as_ref().map(|header| header.destination);
                let port = to.and_then(|to| self.ports.iter().find(|port| port.addresses.contains(&to)));
                message.to = port.map(pod_of);
                "pod"
            }
            Left::Tunnel(end) => {
                let node = end.and_then(|end| node_at(self.agent, end));
                message.next_node = node.unwrap_or_default();
                "tunnel"
            }
            Left::Outside => "outside",
            Left::Shaper => "shaper",
            Left::Passed => "passed",
        };
        exit.clone_into(&mut message.exit);
        message
    }
}

fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::FromEndpoint => "from_endpoint",
        Hook::FromOverlay => "from_overlay",
        Hook::FromUplink => "from_uplink",
        Hook::ToUplink => "to_uplink",
    }
}

fn interface(ifindex: u32) -> String {
    nix::net::if_::if_indextoname(ifindex).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn packet(frame: &Frame) -> v1::FollowedPacket {
    let text = |address: IpAddr| address.to_string();
    let tunnel = frame.tunnel.map(|(source, destination)| (text(source), text(destination)));
    let (tunnel_source, tunnel_destination) = tunnel.unwrap_or_default();
    let mut message = v1::FollowedPacket {
        length: frame.length,
        tunnel_source,
        tunnel_destination,
        ..v1::FollowedPacket::default()
    };
    let Some(header) = &frame.header else { return message };
    let ports = |header: &Header| header.ports.unwrap_or_default();
    let (source_port, destination_port) = ports(header);
    message.protocol = protocol(header.protocol);
    (message.source, message.source_port) = (text(header.source), source_port.into());
    (message.destination, message.destination_port) = (text(header.destination), destination_port.into());
    message.what = what(header);
    message.digest = header.digest;
    message.without_ports = header.fragment;
    if let Some(about) = header.icmp.as_ref().and_then(|icmp| icmp.quoted.as_ref()) {
        let (source_port, destination_port) = ports(about);
        (message.about_source, message.about_source_port) = (text(about.source), source_port.into());
        (message.about_destination, message.about_destination_port) =
            (text(about.destination), destination_port.into());
    }
    message
}

fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}

/// What a packet is, in words.
fn what(header: &Header) -> String {
    if header.fragment {
        let what = if header.source.is_ipv4() { "a later fragment" } else { "with IPv6 extension headers" };
        return what.to_owned();
    }
    let bytes = match header.payload {
        0 => String::new(),
        1 => "1 byte".to_owned(),
        many => format!("{many} bytes"),
    };
    let Some(icmp) = &header.icmp else {
        let flags = header.tcp.map(flags).unwrap_or_default();
        return match (flags.is_empty(), bytes.is_empty()) {
            (true, true) => "empty".to_owned(),
            (true, false) => bytes,
            (false, true) => flags,
            (false, false) => format!("{flags}, {bytes}"),
        };
    };
    let name = match (header.source.is_ipv4(), icmp.kind, icmp.code) {
        (true, 8, _) | (false, 128, _) => format!("echo request {}", icmp.sequence),
        (true, 0, _) | (false, 129, _) => format!("echo reply {}", icmp.sequence),
        (true, 3, 3) | (false, 1, 4) => "port unreachable".to_owned(),
        (true, 3, 4) => "fragmentation needed".to_owned(),
        (true, 3, 9 | 10 | 13) | (false, 1, 1) => "administratively prohibited".to_owned(),
        (true, 3, 0) | (false, 1, 0) => "no route".to_owned(),
        (true, 3, _) | (false, 1, _) => "unreachable".to_owned(),
        (false, 2, _) => "packet too big".to_owned(),
        (true, 11, _) | (false, 3, _) => "time exceeded".to_owned(),
        (true, 12, _) | (false, 4, _) => "parameter problem".to_owned(),
        (_, kind, code) => format!("type {kind} code {code}"),
    };
    match icmp.quoted.as_deref() {
        Some(about) => format!("{name}, about {}", what(about)),
        None => name,
    }
}

/// The flags of a segment, those that say where a connection is first.
fn flags(tcp: Tcp) -> String {
    const NAMES: [(u8, &str); 4] = [(2, "SYN"), (1, "FIN"), (4, "RST"), (16, "ACK")];
    let set = NAMES.into_iter().filter(|(bit, _)| tcp.flags & bit != 0).map(|(_, name)| name);
    set.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use datapath::follow::Icmp;

    use super::*;

    fn header(protocol: u8) -> Header {
        Header {
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
            protocol,
            ports: Some((1, 2)),
            hops: 64,
            payload: 0,
            fragment: false,
            tcp: None,
            icmp: None,
            digest: 7,
        }
    }

    #[test]
    fn packets_are_told_in_words() {
        let tcp = |flags, payload| {
            let tcp = Some(Tcp { flags, sequence: 1, acknowledgment: 2 });
            Header { tcp, payload, ..header(6) }
        };
        let icmp = |kind, code, quoted| {
            let icmp = Some(Icmp { kind, code, sequence: 3, quoted });
            Header { icmp, ..header(1) }
        };
        let quoted = || Some(Box::new(tcp(2, 0)));
        let v6 = |header: Header| Header { source: "fd00::1".parse().unwrap(), ..header };
        for (header, wanted) in [
            (tcp(0x02, 0), "SYN"),
            (tcp(0x12, 0), "SYN/ACK"),
            (tcp(0x18, 100), "ACK, 100 bytes"),
            (tcp(0x11, 0), "FIN/ACK"),
            (tcp(0x14, 0), "RST/ACK"),
            (tcp(0, 0), "empty"),
            (Header { payload: 1, ..header(17) }, "1 byte"),
            (header(132), "empty"),
            (Header { fragment: true, ..header(17) }, "a later fragment"),
            (v6(Header { fragment: true, ..header(44) }), "with IPv6 extension headers"),
            (icmp(8, 0, None), "echo request 3"),
            (icmp(0, 0, None), "echo reply 3"),
            (v6(icmp(128, 0, None)), "echo request 3"),
            (icmp(3, 3, quoted()), "port unreachable, about SYN"),
            (icmp(3, 13, quoted()), "administratively prohibited, about SYN"),
            (v6(icmp(1, 1, quoted())), "administratively prohibited, about SYN"),
            (v6(icmp(2, 0, None)), "packet too big"),
            (icmp(99, 1, None), "type 99 code 1"),
        ] {
            assert_eq!(what(&header), wanted);
        }
    }
}
