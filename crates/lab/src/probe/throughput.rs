use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use plumbing::NetNs;

/// How much went through in how much time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throughput {
    /// Bytes that arrived.
    pub bytes: u64,
    /// From the first to the last of them.
    pub elapsed: Duration,
}

impl Throughput {
    /// Gigabits of payload a second.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn gigabits(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.elapsed.as_secs_f64().max(f64::EPSILON) / 1e9
    }
}

/// Sends as much as one TCP connection takes for `duration` from one namespace to an address of
/// another.
pub fn throughput(from: &NetNs, to: &NetNs, address: IpAddr, duration: Duration) -> Result<Throughput> {
    let deadline = Duration::from_secs(30);
    let listener = super::inside(to, || TcpListener::bind(SocketAddr::new(address, 0)))
        .with_context(|| format!("cannot listen on {address}"))?;
    let at = listener.local_addr()?;
    thread::scope(|scope| {
        // Connected by the kernel already, thanks to the listener's backlog.
        let mut sender =
            super::inside(from, || TcpStream::connect_timeout(&at, deadline)).context("TCP connect")?;
        sender.set_write_timeout(Some(deadline))?;
        let receiver = listener.accept().context("TCP accept")?.0;
        receiver.set_read_timeout(Some(deadline))?;
        let receiving = scope.spawn(move || receive(receiver));
        let block = vec![0u8; 128 * 1024];
        let start = Instant::now();
        while start.elapsed() < duration {
            sender.write_all(&block).context("TCP send")?;
        }
        drop(sender);
        match receiving.join() {
            Ok(result) => result.context("TCP receive"),
            Err(_) => bail!("the receiving thread panicked"),
        }
    })
}

fn receive(mut stream: TcpStream) -> std::io::Result<Throughput> {
    let mut buffer = vec![0u8; 256 * 1024];
    let (mut bytes, start) = (0u64, Instant::now());
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(Throughput { bytes, elapsed: start.elapsed() }),
            n => bytes += n as u64,
        }
    }
}
