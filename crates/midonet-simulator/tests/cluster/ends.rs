//! What became of a packet.

use std::net::Ipv4Addr;

use midonet_simulator::{Answer, Ending, IcmpErrorKind, Packet, Payload, Reason, Trace, Transport};
use uuid::Uuid;

use super::{host, interface, pod_mac};

/// Where it comes out, and as what.
pub(crate) fn delivered(trace: &Trace) -> (Uuid, String, Packet) {
    match (trace.delivered().as_slice(), trace.end()) {
        ([(host, interface)], Some(end)) => (*host, (*interface).to_owned(), end.packet.clone()),
        _ => panic!("not delivered once:\n{trace}"),
    }
}

pub(crate) fn is_at_pod(trace: &Trace, pod: (u8, &str)) -> Packet {
    let (at, name, packet) = delivered(trace);
    assert_eq!((at, name), (host(pod.0), interface(pod)), "{trace}");
    assert_eq!(packet.dst_mac, pod_mac(pod), "{trace}");
    packet
}

/// Source, destination and time to live of a TCP segment.
pub(crate) fn tcp(packet: &Packet) -> ((Ipv4Addr, u16), (Ipv4Addr, u16), u8) {
    match &packet.payload {
        Payload::Ipv4(ip) => match ip.transport {
            Transport::Tcp { src_port, dst_port } => ((ip.src, src_port), (ip.dst, dst_port), ip.ttl),
            _ => panic!("{packet}"),
        },
        Payload::Arp(_) => panic!("{packet}"),
    }
}

pub(crate) fn dropped(trace: &Trace) -> &Reason {
    match trace.end().map(|end| &end.ending) {
        Some(Ending::Dropped { reason }) => reason,
        _ => panic!("not dropped:\n{trace}"),
    }
}

pub(crate) fn icmp(trace: &Trace) -> (IcmpErrorKind, &Reason, &Trace) {
    match trace.end().map(|end| &end.ending) {
        Some(Ending::Answered { answer: Answer::IcmpError { kind, reason }, path }) => (*kind, reason, path),
        _ => panic!("no ICMP error:\n{trace}"),
    }
}
