//! The names and numbers of protocols.

use model::Protocol;

/// Those that are tracked, by their numbers in IP headers. ICMPv6 is tracked as ICMP.
pub(crate) const PROTOCOLS: [(u8, &str); 4] = [(6, "tcp"), (17, "udp"), (132, "sctp"), (1, "icmp")];

/// The number of a protocol in IP headers.
pub(crate) fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// A protocol's name, or its number if it has none here.
pub(crate) fn protocol_name(number: u8) -> String {
    let known = PROTOCOLS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}
