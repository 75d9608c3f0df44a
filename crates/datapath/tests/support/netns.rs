//! Packets between network namespaces.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use testkit::{Namespace, packet};

use super::ifindex;

/// No answer within this time is none.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends `size` bytes over TCP from one namespace to another; they must arrive as they were.
pub fn transfer(from: &Namespace, to: &Namespace, address: IpAddr, size: usize) {
    let data: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
    let listener = to.run(|| TcpListener::bind(SocketAddr::new(address, 0)).unwrap());
    let server = listener.local_addr().unwrap();
    let received = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            received
        });
        from.run(|| {
            let mut stream = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(&data).unwrap();
        });
        receiver.join().unwrap()
    });
    assert!(received == data, "{} of {size} bytes arrived, or wrong ones", received.len());
}

/// Whether a ping of `size` bytes is answered, by the current namespace.
pub fn ping(address: IpAddr, size: usize) -> bool {
    let (domain, protocol, reply) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 0),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 129),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(&SocketAddr::new(address, 0).into()).unwrap();
    // The kernel fills in ICMPv6's checksum.
    let request = packet::echo(address, address, false, &vec![0x77; size]).payload;
    let mut socket = socket;
    socket.write_all(&request).unwrap();
    let mut answer = vec![0; 65_536];
    while let Ok(length) = socket.read(&mut answer) {
        let message = &answer[if address.is_ipv4() { 20 } else { 0 }..length];
        if message[0] == reply && message[4..] == request[4..] {
            return true;
        }
    }
    false
}

/// The error that a UDP packet of `size` bytes, not to be fragmented, meets on its path.
pub fn udp_error(address: IpAddr, hops: u32, size: usize) -> Option<i32> {
    let socket = std::net::UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(SocketAddr::new(address, 9)).unwrap();
    let options = socket2::SockRef::from(&socket);
    if address.is_ipv4() { options.set_ttl_v4(hops) } else { options.set_unicast_hops_v6(hops) }.unwrap();
    let (level, discover, errors) = match address {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_RECVERR),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_RECVERR),
    };
    set_option(&socket, level, discover, libc::IP_PMTUDISC_DO);
    set_option(&socket, level, errors, 1);
    socket.send(&vec![0; size]).unwrap();
    let error = socket.recv(&mut [0; 16]).unwrap_err();
    error.raw_os_error().filter(|error| *error != libc::EAGAIN)
}

fn set_option(socket: &std::net::UdpSocket, level: i32, option: i32, value: i32) {
    let length = size_of_val(&value) as u32;
    // SAFETY: the option's value is the integer that the pointer is to, and the length is its own.
    let set =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// Whether an IPv4 UDP packet of `size` bytes, whole but without "don't fragment", arrives.
pub fn unfragmented(from: &Namespace, to: &Namespace, address: IpAddr, size: usize) -> bool {
    let receiver = to.run(|| std::net::UdpSocket::bind(SocketAddr::new(address, 0)).unwrap());
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let server = receiver.local_addr().unwrap();
    from.run(|| {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        set_option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_INTERFACE);
        socket.send_to(&vec![0x55; size], server).unwrap();
    });
    let mut data = vec![0; 65_536];
    receiver.recv(&mut data).is_ok_and(|length| data[..length] == vec![0x55; size])
}

/// Sends a frame as it is: the program at the receiving end has run when this returns.
pub fn send_frame(interface: &str, frame: &[u8]) {
    use nix::sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, sendto, socket,
    };
    use std::os::fd::AsRawFd as _;

    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None).unwrap();
    // SAFETY: a structure of integers is valid as zeroes.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = ifindex(interface).try_into().unwrap();
    let pointer = (&raw const address).cast();
    // SAFETY: the pointer is to a whole sockaddr_ll, and the length is its own.
    let address =
        unsafe { LinkAddr::from_raw(pointer, Some(size_of::<libc::sockaddr_ll>() as u32)) }.unwrap();
    sendto(socket.as_raw_fd(), frame, &address, MsgFlags::empty()).unwrap();
}
