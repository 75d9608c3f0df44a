//! Ports of the node that the agent needs. Those that an agent of this node has are good.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use naming::interface;

use super::Finding;

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
