//! Ports of the node that the agent needs. Those that an agent of this node has are good.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::RangeInclusive;
use std::time::Duration;

use naming::interface;

use super::Finding;
use crate::backend::embedded;

/// An agent on this node answers sooner.
const ANSWER: Duration = Duration::from_secs(3);

/// Enough of a page of metrics to see whose it is.
const PAGE: u64 = 64 * 1024;

/// Another VXLAN network, most of all.
pub(super) fn overlay(port: u16) -> Finding {
    let what = format!("UDP port {port}");
    if plumbing::link::find(interface::OVERLAY).is_ok_and(|link| link.is_some()) {
        return Finding::good(what); // our own device has it
    }
    let both: [SocketAddr; 2] = [(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()];
    // Without IPv6 there is nobody to have it.
    let taken = |address: SocketAddr| {
        UdpSocket::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    };
    if !both.into_iter().any(taken) {
        return Finding::good(what);
    }
    Finding::missing(
        what,
        "somebody else has it",
        format!(
            "look with `ip -d link show type vxlan` and `ss -ulnp sport = {port}`, and remove that network, or give all \
             nodes another --tunnel-port"
        ),
    )
}

/// The host's own connections have no port that is a Service's, or the datapath's for sources that it translates: what comes
/// back would be taken for somebody else's.
pub(super) fn ephemeral() -> Finding {
    let reserved = plumbing::sysctl::read("ipv4/ip_local_reserved_ports").unwrap_or_default();
    ephemeral_of(embedded::ephemeral_ports(), &reserved)
}

fn ephemeral_of(ports: Option<RangeInclusive<u16>>, reserved: &str) -> Finding {
    let what = "the node's ephemeral ports";
    let Some(ports) = ports else { return Finding::good(what) };
    let known: Vec<&str> = reserved.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let reserved: Vec<_> = known.iter().filter_map(|part| range(part)).collect();
    let is_free = |port: u16| ports.contains(&port) && !reserved.iter().any(|range| range.contains(&port));
    let taken = embedded::SERVICE_PORTS.into_iter().filter(|range| range.clone().any(is_free));
    let taken: Vec<String> = taken.map(|range| format!("{}-{}", range.start(), range.end())).collect();
    if taken.is_empty() {
        return Finding::good(what);
    }
    let problem = format!(
        "{}-{} (net.ipv4.ip_local_port_range) overlap those of Services, {}: a connection of the host may get a port where \
         a Service is served, and gets no answers then",
        ports.start(),
        ports.end(),
        taken.join(" and ")
    );
    let all: Vec<&str> = known.iter().copied().chain(taken.iter().map(String::as_str)).collect();
    let remedy = format!("sysctl -w net.ipv4.ip_local_reserved_ports={}", all.join(","));
    Finding::warning(what, problem, remedy)
}

/// A range of ports as the kernel shows it: `8080` or `30000-32767`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// Where probes and metrics are served.
pub(super) fn http(address: SocketAddr) -> Finding {
    let what = format!("TCP port {} at {} for probes and metrics", address.port(), address.ip());
    match TcpListener::bind(address) {
        Ok(_) => Finding::good(what),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if is_agent(address).unwrap_or(false) {
                return Finding::good(what);
            }
            let look =
                format!("look with `ss -tlnp sport = {}`, or give another --http-listen", address.port());
            Finding::missing(what, "somebody else has it", look)
        }
        Err(error) => Finding::invalid(what, error, "give an address of this node with --http-listen"),
    }
}

/// Whether an agent of this project answers there.
pub(super) fn is_agent(address: SocketAddr) -> io::Result<bool> {
    let loopback: IpAddr = match address.ip() {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let ip = if address.ip().is_unspecified() { loopback } else { address.ip() };
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut page = Vec::new();
    stream.take(PAGE).read_to_end(&mut page)?;
    Ok(String::from_utf8_lossy(&page).contains("midonet_kube_node_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ephemeral_ports_that_are_services_are_told_with_what_helps() {
        for (ports, reserved, want) in [
            (Some(32_768..=60_999), "", None),
            (None, "", None),
            (Some(1024..=65_535), "", Some("ip_local_reserved_ports=20000-29999,30000-32767")),
            (Some(30_000..=60_999), "", Some("ip_local_reserved_ports=30000-32767")),
            (Some(32_767..=60_999), "8080\n", Some("ip_local_reserved_ports=8080,30000-32767")),
            (Some(30_000..=60_999), "8080,30000-32767", None),
            (Some(10_000..=29_000), "20000-28000", Some("=20000-28000,20000-29999")),
            (Some(10_000..=29_000), "20000-25000,25001-29999", None),
        ] {
            let said = ephemeral_of(ports.clone(), reserved).to_string();
            assert_eq!(said.contains("ip_local_reserved_ports="), want.is_some(), "{ports:?}: {said}");
            assert!(said.contains(want.unwrap_or_default()), "{ports:?}: {said}");
        }
    }
}
