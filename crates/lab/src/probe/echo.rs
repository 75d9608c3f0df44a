use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use plumbing::NetNs;
use socket2::{Domain, Protocol, Socket, Type};

/// The port of [`EchoServer`], TCP and UDP.
pub const ECHO_PORT: u16 = 7007;

/// How much TCP carries in each direction: many segments, so that a path that only passes small packets fails.
const TCP_BYTES: usize = 32 * 1024;

/// A datagram that fits any Pod's MTU, with little to spare at IPv6's least.
const UDP_BYTES: usize = 1200;

/// How long a server's threads sleep in accept or receive before they check whether to end.
const TICK: Duration = Duration::from_millis(100);

/// How long a server waits for one client.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How many bytes of an answer name the client as the server saw it; the echo follows.
const HEADER: usize = 64;

/// Answers on [`ECHO_PORT`] of some addresses of one namespace until it is dropped: the client's address
/// as seen from there, then the client's own bytes.
#[derive(Debug)]
pub struct EchoServer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl EchoServer {
    /// Listens on each of `addresses` (not on the wildcard, so that an answer's source is what the
    /// client called).
    pub fn start(netns: &NetNs, addresses: &[IpAddr]) -> Result<Self> {
        let mut server = Self { stop: Arc::default(), threads: Vec::new() };
        for &address in addresses {
            let at = SocketAddr::new(address, ECHO_PORT);
            let (tcp, udp) = super::inside(netns, || Ok((listen(at)?, UdpSocket::bind(at)?)))
                .with_context(|| format!("cannot listen on {at}"))?;
            udp.set_read_timeout(Some(TICK))?;
            tcp.set_nonblocking(true)?;
            let stop = Arc::clone(&server.stop);
            server
                .threads
                .push(thread::Builder::new().name("echo-udp".into()).spawn(move || serve_udp(&udp, &stop))?);
            let stop = Arc::clone(&server.stop);
            server
                .threads
                .push(thread::Builder::new().name("echo-tcp".into()).spawn(move || serve_tcp(&tcp, &stop))?);
        }
        Ok(server)
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

pub(super) fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(64)?;
    Ok(socket.into())
}

fn serve_udp(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0u8; 2048];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
        let mut answer = header(client.ip()).to_vec();
        answer.extend_from_slice(buffer.get(..length).unwrap_or_default());
        let _ = socket.send_to(&answer, client);
    }
}

fn serve_tcp(listener: &TcpListener, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, client)) => {
                // A client at a time: its bytes are few, and its deadline bounds a bad one.
                let _ = answer(stream, client.ip());
            }
            Err(_) => wait_readable(listener),
        }
    }
}

pub(super) fn wait_readable(listener: &TcpListener) {
    use std::os::fd::AsFd;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let timeout = PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO);
    let _ = poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], timeout);
}

fn answer(mut stream: TcpStream, client: IpAddr) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut bytes = Vec::new();
    (&stream).take(TCP_BYTES as u64).read_to_end(&mut bytes)?;
    stream.write_all(&header(client))?;
    stream.write_all(&bytes)
}

fn header(client: IpAddr) -> [u8; HEADER] {
    let mut header = [b' '; HEADER];
    let text = client.to_canonical().to_string();
    for (place, byte) in header.iter_mut().zip(text.bytes()) {
        *place = byte;
    }
    header
}

/// Splits an answer into who the server saw and what it sent back.
fn split(answer: &[u8]) -> Result<(IpAddr, &[u8])> {
    let (seen, echo) = answer.split_at_checked(HEADER).context("the answer is too short")?;
    let seen = std::str::from_utf8(seen)?.trim();
    Ok((seen.parse().with_context(|| format!("the answer names {seen:?} as its client"))?, echo))
}

fn pattern(length: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(length).collect()
}

/// Connects from `netns` to an [`EchoServer`] and gets 32 KiB back: the client's address as the server
/// saw it.
pub fn tcp_echo(netns: &NetNs, server: IpAddr, deadline: Duration) -> Result<IpAddr> {
    let sent = pattern(TCP_BYTES);
    let until = Instant::now() + deadline;
    let mut stream =
        super::inside(netns, || TcpStream::connect_timeout(&SocketAddr::new(server, ECHO_PORT), deadline))
            .context("TCP connect")?;
    stream.set_read_timeout(Some(super::left(until)?))?;
    stream.set_write_timeout(Some(super::left(until)?))?;
    stream.write_all(&sent).context("TCP send")?;
    stream.shutdown(Shutdown::Write).context("TCP shutdown")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("TCP receive")?;
    let (seen, echo) = split(&answer).context("TCP")?;
    ensure!(echo == sent, "TCP: {} of {} bytes came back right", common(echo, &sent), sent.len());
    Ok(seen)
}

/// Sends datagrams from `netns` to an [`EchoServer`] until one comes back: the client's address as the
/// server saw it.
pub fn udp_echo(netns: &NetNs, server: IpAddr, deadline: Duration) -> Result<IpAddr> {
    let socket = super::inside(netns, || {
        let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect(SocketAddr::new(server, ECHO_PORT))?;
        Ok(socket)
    })
    .context("UDP socket")?;
    socket.set_read_timeout(Some(super::pause(deadline)))?;
    let sent = pattern(UDP_BYTES);
    let mut buffer = [0u8; 2048];
    let until = Instant::now() + deadline;
    while Instant::now() < until {
        socket.send(&sent).context("UDP send")?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let (seen, echo) = split(buffer.get(..length).unwrap_or_default()).context("UDP")?;
                ensure!(echo == sent, "UDP: {} of {} bytes came back right", common(echo, &sent), sent.len());
                return Ok(seen);
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) => return Err(e).context("UDP receive"),
        }
    }
    bail!("UDP: no answer to datagrams within {deadline:?}");
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_the_client_and_echoes() {
        for address in ["10.244.1.3", "fd44:1234:5678:9abc:def0:1234:5678:9abc"] {
            let address: IpAddr = address.parse().unwrap();
            let mut answer = header(address).to_vec();
            answer.extend(b"echo");
            assert_eq!(split(&answer).unwrap(), (address, b"echo".as_slice()));
        }
        assert!(split(b"short").is_err());
        assert!(split(&[b'x'; HEADER]).unwrap_err().to_string().contains("xxx"));
    }
}
