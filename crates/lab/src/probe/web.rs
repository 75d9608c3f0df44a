//! A web server that says its name, and a client that asks who answers.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use plumbing::NetNs;

use super::echo::{PATIENCE, listen, wait_readable};

/// The port of [`WebServer`].
pub const WEB_PORT: u16 = 8080;

/// The most bytes of a request or an answer that are read.
const MOST_BYTES: u64 = 4096;

/// The end of a request's head (RFC 9112, section 2).
const END: &[u8] = b"\r\n\r\n";

/// Answers every HTTP request at [`WEB_PORT`] of some addresses of one namespace with a name, until it is dropped.
#[derive(Debug)]
pub struct WebServer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl WebServer {
    /// Listens on each of `addresses`.
    pub fn start(netns: &NetNs, addresses: &[IpAddr], name: &str) -> Result<Self> {
        let mut server = Self { stop: Arc::default(), threads: Vec::new() };
        for &address in addresses {
            let at = SocketAddr::new(address, WEB_PORT);
            let listener =
                super::inside(netns, || listen(at)).with_context(|| format!("cannot listen on {at}"))?;
            listener.set_nonblocking(true)?;
            let (stop, name) = (Arc::clone(&server.stop), name.to_owned());
            let thread = thread::Builder::new().name("web".into());
            server.threads.push(thread.spawn(move || serve(&listener, &stop, &name))?);
        }
        Ok(server)
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, stop: &AtomicBool, name: &str) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            // A client at a time: its request is small, and its deadline bounds a bad one.
            Ok((stream, _)) => drop(answer(stream, name)),
            Err(_) => wait_readable(listener),
        }
    }
}

fn answer(mut stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    for byte in io::BufReader::new(&stream).take(MOST_BYTES).bytes() {
        request.push(byte?);
        if request.ends_with(END) {
            let length = name.len() + 1;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            return stream.write_all(format!("{head}{name}\n").as_bytes());
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Asks a [`WebServer`] from `netns` over a connection of its own: the name of the one that answers.
pub fn web_get(netns: &NetNs, at: SocketAddr, deadline: Duration) -> Result<String> {
    let until = Instant::now() + deadline;
    let mut stream =
        super::inside(netns, || TcpStream::connect_timeout(&at, deadline)).context("TCP connect")?;
    stream.set_read_timeout(Some(super::left(until)?))?;
    stream.set_write_timeout(Some(super::left(until)?))?;
    let request = format!("GET / HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("HTTP request")?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer).context("HTTP answer")?;
    name(&answer)
}

fn name(answer: &[u8]) -> Result<String> {
    let answer = std::str::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the HTTP answer has no end")?;
    ensure!(
        head.starts_with("HTTP/1.1 200 "),
        "the HTTP answer is {:?}",
        head.lines().next().unwrap_or_default()
    );
    Ok(body.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        assert_eq!(name(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nweb-1\n").unwrap(), "web-1");
        for (wrong, want) in [
            (&b"HTTP/1.1 503 Busy\r\n\r\n"[..], "HTTP/1.1 503 Busy"),
            (b"HTTP/1.1 200 OK\r\n", "no end"),
            (b"", "no end"),
        ] {
            assert!(name(wrong).unwrap_err().to_string().contains(want), "{wrong:?}");
        }
        assert!(name(&[0xff]).is_err());
    }
}
