//! A Pod that answers at several ports.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use plumbing::NetNs;

/// How long it sleeps, in ms, before it looks whether to end.
const TICK: u8 = 100;

/// Accepts connections, and sends datagrams back, until it is dropped.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(netns: &NetNs, addresses: &[IpAddr], ports: &[u16]) -> Self {
        let all =
            addresses.iter().flat_map(|address| ports.iter().map(|port| SocketAddr::new(*address, *port)));
        let open = |at: SocketAddr| {
            netns.run(|| (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap())).unwrap()
        };
        let sockets: Vec<(TcpListener, UdpSocket)> = all.map(open).collect();
        for (tcp, udp) in &sockets {
            tcp.set_nonblocking(true).unwrap();
            udp.set_nonblocking(true).unwrap();
        }
        let stop = Arc::<AtomicBool>::default();
        let stopping = Arc::clone(&stop);
        let serve = move || {
            while !stopping.load(Ordering::Relaxed) {
                let fds = sockets.iter().flat_map(|(tcp, udp)| [tcp.as_fd(), udp.as_fd()]);
                let mut fds: Vec<PollFd> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
                let _interrupted = poll(&mut fds, PollTimeout::from(TICK));
                sockets.iter().for_each(|(tcp, udp)| serve(tcp, udp));
            }
        };
        Self { stop, thread: Some(std::thread::spawn(serve)) }
    }
}

fn serve(tcp: &TcpListener, udp: &UdpSocket) {
    // A connection ends when it is accepted: that it began says all.
    while tcp.accept().is_ok() {}
    let mut buffer = [0; 64];
    while let Ok((length, client)) = udp.recv_from(&mut buffer) {
        let _unreachable = udp.send_to(&buffer[..length], client);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}
