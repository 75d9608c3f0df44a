//! The server: it says who it is and whom it sees, by TCP and UDP, over both families.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::udp::{self, Datagram};
use super::wire::{LINE, MOST_BYTES, Reply, Request, bytes};

/// Connections at a time, of all ports.
const CONNECTIONS: usize = 512;

/// A connection that has said nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(300);

/// After an error of a socket.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections may wait for being accepted.
const BACKLOG: i32 = 256;

/// Serves these ports until it is ended.
///
/// # Errors
/// A port cannot be opened in any family.
pub(in crate::connectivity) async fn serve(name: &str, ports: &[u16]) -> Result<()> {
    let name: Arc<str> = name.into();
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tasks = tokio::task::JoinSet::new();
    for port in ports {
        let mut errors = Vec::new();
        for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
            match open(SocketAddr::new(any, *port)) {
                Ok((listener, socket)) => {
                    tasks.spawn(accept(listener, Arc::clone(&name), Arc::clone(&connections)));
                    tasks.spawn(answer_datagrams(socket, Arc::clone(&name)));
                }
                Err(error) => errors.push(error),
            }
        }
        // A Pod may have one family alone.
        if let [one, _] = errors.as_slice() {
            bail!("port {port} cannot be opened: {one}");
        }
    }
    // They have no end.
    tasks.join_next().await.context("there is no port to serve")?.context("serving ended")
}

fn open(address: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let stream = bound(address, Type::STREAM, Protocol::TCP)?;
    stream.listen(BACKLOG)?;
    let datagram = bound(address, Type::DGRAM, Protocol::UDP)?;
    Ok((TcpListener::from_std(stream.into())?, UdpSocket::from_std(datagram.into())?))
}

fn bound(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // Else clients of IPv4 would be seen by other addresses than they have.
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

async fn accept(listener: TcpListener, name: Arc<str>, connections: Arc<Semaphore>) {
    loop {
        // It is never closed.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let Ok((stream, client)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let name = Arc::clone(&name);
        tokio::spawn(async move {
            // Who breaks it off notices.
            let _ended = converse(stream, client, &name).await;
            drop(permit);
        });
    }
}

/// Answers questions until the client ends the connection.
async fn converse(stream: TcpStream, client: SocketAddr, name: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut stream).take(LINE);
        if timeout(IDLE, limited.read_until(b'\n', &mut line)).await.map_err(late)?? == 0 {
            return Ok(());
        }
        let Request { bytes: count } = serde_json::from_slice(&line)?;
        let mut came = vec![0; count.min(MOST_BYTES) as usize];
        timeout(IDLE, stream.read_exact(&mut came)).await.map_err(late)??;
        let reply = Reply { by: name.to_owned(), client, intact: came == bytes(count) };
        let mut answer = serde_json::to_vec(&reply)?;
        answer.push(b'\n');
        answer.append(&mut came);
        timeout(IDLE, stream.write_all(&answer)).await.map_err(late)??;
    }
}

async fn answer_datagrams(socket: UdpSocket, name: Arc<str>) {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        // An ICMP error for an earlier answer is reported by the next call.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            sleep(PAUSE).await;
            continue;
        };
        let came = buffer.get(..length).unwrap_or_default();
        if let Some(answer) = udp::answer(&Datagram(came), &name, client) {
            let _sent = socket.send_to(&answer, client).await;
        }
    }
}
