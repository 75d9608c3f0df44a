//! Traffic between two namespaces, by threads of this program: no tool, no process, no start-up time in
//! the figures.

mod datagrams;
mod requests;
mod spoofed;
mod stream;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use plumbing::NetNs;

pub(crate) use datagrams::packets_per_second;
pub(crate) use requests::{connections_per_second, requests_per_second};
pub(crate) use spoofed::Spoofed;
pub(crate) use stream::gigabits_per_second;

/// Nothing that works takes as long as this.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client, and who serves it.
pub(crate) struct Path {
    pub(crate) from: NetNs,
    /// Where each server is, and at which address it listens; port 0: any.
    pub(crate) servers: Vec<(NetNs, SocketAddr)>,
    /// Where the client finds them: a Service; `None`: at their own addresses.
    pub(crate) service: Option<SocketAddr>,
}

/// Sockets of all servers, and where the client connects to: to one after the other.
struct Listening<T> {
    sockets: Vec<T>,
    targets: Vec<SocketAddr>,
}

impl Path {
    /// Between two ends, one of which has the address.
    pub(crate) fn between(from: NetNs, to: NetNs, address: IpAddr) -> Self {
        Self { from, servers: vec![(to, SocketAddr::new(address, 0))], service: None }
    }

    /// Makes sockets at the near end; a socket stays there wherever it is used.
    fn near<T: Send>(&self, make: impl FnOnce() -> io::Result<T> + Send) -> Result<T> {
        Ok(self.from.run(make)??)
    }

    /// Makes a socket of each server.
    fn servers<T: Send>(
        &self,
        bind: fn(SocketAddr) -> io::Result<T>,
        address: fn(&T) -> io::Result<SocketAddr>,
    ) -> Result<Listening<T>> {
        let mut listening = Listening { sockets: Vec::new(), targets: Vec::new() };
        for (netns, at) in &self.servers {
            let socket = netns.run(|| bind(*at))?.with_context(|| format!("cannot listen at {at}"))?;
            listening.targets.push(address(&socket)?);
            listening.sockets.push(socket);
        }
        if let Some(service) = self.service {
            listening.targets = vec![service];
        }
        Ok(listening)
    }

    fn listen(&self) -> Result<Listening<TcpListener>> {
        let listening = self.servers(TcpListener::bind, TcpListener::local_addr)?;
        for listener in &listening.sockets {
            // Of a listening socket this is the patience of accept(2).
            socket2::SockRef::from(listener).set_read_timeout(Some(PATIENCE))?;
        }
        Ok(listening)
    }

    fn connect(&self, at: SocketAddr) -> Result<TcpStream> {
        let stream = self.near(|| TcpStream::connect_timeout(&at, PATIENCE));
        prepared(stream.with_context(|| format!("cannot connect to {at}"))?)
    }
}

/// A stream that sends at once and does not wait forever.
fn prepared(stream: TcpStream) -> Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The processors this program may use.
fn processors() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).collect())
}

/// Keeps this thread on one of the processors: the first, or the last.
fn pin(last: bool) -> Result<()> {
    let all = processors()?;
    let chosen = if last { all.last() } else { all.first() };
    let mut set = CpuSet::new();
    set.set(*chosen.context("no processor")?)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
