//! Packets to see whether a path works: TCP, UDP and ICMP echo, and how fast TCP gets. All by threads
//! of this program inside the namespaces, with deadlines, without any tool.

mod echo;
mod icmp;
mod throughput;
mod web;

pub use echo::{ECHO_PORT, EchoServer, tcp_echo, udp_echo};
pub use icmp::ping;
pub use throughput::{Throughput, throughput};
pub use web::{WEB_PORT, WebServer, web_get};

use std::io;
use std::time::{Duration, Instant};

use plumbing::NetNs;

/// Makes sockets inside a namespace; a socket stays in it wherever it is used.
fn inside<T: Send>(netns: &NetNs, make: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    netns.run(make).map_err(io::Error::other)?
}

/// The time left, an error when there is none (a socket's timeout of zero would be no timeout).
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// How long one of several tries waits: a lost packet must not cost the whole deadline.
fn pause(deadline: Duration) -> Duration {
    (deadline / 3).min(Duration::from_secs(1))
}
