//! A protocol and a port on the command line.

use std::str::FromStr;

/// The protocol, and the port if it has any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) protocol: &'static str,
    /// 0: a ping has none.
    pub(crate) number: u16,
}

impl FromStr for Port {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "tcp/PORT, udp/PORT, sctp/PORT or icmp is expected, for example tcp/80";
        let (protocol, number) = text.split_once('/').unwrap_or((text, "0"));
        let known =
            ["tcp", "udp", "sctp", "icmp"].into_iter().find(|known| known.eq_ignore_ascii_case(protocol));
        match (known, number.parse::<u16>()) {
            (Some("icmp"), Ok(0)) if !text.contains('/') => Ok(Self { protocol: "icmp", number: 0 }),
            (Some(protocol), Ok(number)) if protocol != "icmp" && number != 0 => {
                Ok(Self { protocol, number })
            }
            _ => Err(EXPECTED),
        }
    }
}
