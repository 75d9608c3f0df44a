//! Options of sockets for datagrams that must not be fragmented.

use std::io;
use std::net::IpAddr;

use nix::sys::socket::{getsockopt, setsockopt};
// The last one uses the others.
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};
use tokio::net::UdpSocket;

sockopt_impl!(
    /// Whether packets are fragmented, of IPv4.
    Discover, SetOnly, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::c_int
);
sockopt_impl!(
    /// Whether packets are fragmented, of IPv6.
    Discover6, SetOnly, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::c_int
);
sockopt_impl!(
    /// What the path takes, as far as it is known, of IPv4.
    Mtu, GetOnly, libc::IPPROTO_IP, libc::IP_MTU, libc::c_int
);
sockopt_impl!(
    /// What the path takes, as far as it is known, of IPv6.
    Mtu6, GetOnly, libc::IPPROTO_IPV6, libc::IPV6_MTU, libc::c_int
);

/// Has a socket send nothing in fragments.
pub(super) fn keep_whole(socket: &UdpSocket, to: IpAddr) -> io::Result<()> {
    match to {
        IpAddr::V4(_) => setsockopt(socket, Discover, &libc::IP_PMTUDISC_DO)?,
        IpAddr::V6(_) => setsockopt(socket, Discover6, &libc::IPV6_PMTUDISC_DO)?,
    }
    Ok(())
}

/// What the path of a connected socket takes.
pub(super) fn mtu(socket: &UdpSocket, to: IpAddr) -> Option<u32> {
    let mtu = match to {
        IpAddr::V4(_) => getsockopt(socket, Mtu),
        IpAddr::V6(_) => getsockopt(socket, Mtu6),
    };
    u32::try_from(mtu.ok()?).ok()
}
