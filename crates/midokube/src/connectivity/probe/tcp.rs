//! TCP connections that ask who answers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::super::question::Outcome;
use super::wire::{LINE, MOST_BYTES, Reply, Request, bytes, outcome};

/// A connection to a server.
pub(super) type Stream = BufReader<TcpStream>;

/// Connects.
///
/// # Errors
/// What became of it.
pub(super) async fn connect(to: SocketAddr, end: Instant) -> Result<Stream, Outcome> {
    let connected = timeout_at(end, TcpStream::connect(to)).await;
    let stream = connected.map_err(|_| Outcome::Silent { connected: false })?;
    let stream = stream.map_err(|error| outcome(&error, false))?;
    stream.set_nodelay(true).map_err(|error| outcome(&error, true))?;
    Ok(BufReader::new(stream))
}

/// Connects and asks once.
pub(super) async fn ask(to: SocketAddr, count: u32, patience: Duration) -> Outcome {
    let end = Instant::now() + patience;
    match connect(to, end).await {
        Ok(mut stream) => ask_by(&mut stream, count, end).await,
        Err(outcome) => outcome,
    }
}

/// Asks over a connection.
pub(super) async fn ask_by(stream: &mut Stream, count: u32, end: Instant) -> Outcome {
    match timeout_at(end, exchange(stream, count)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => outcome(&error, true),
        Err(_) => Outcome::Silent { connected: true },
    }
}

async fn exchange(stream: &mut Stream, count: u32) -> io::Result<Outcome> {
    let count = count.min(MOST_BYTES);
    let sent = bytes(count);
    let mut request = serde_json::to_vec(&Request { bytes: count })?;
    request.push(b'\n');
    request.extend_from_slice(&sent);
    stream.write_all(&request).await?;
    let mut line = Vec::new();
    (&mut *stream).take(LINE).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(Outcome::Reset);
    }
    let Ok(reply) = serde_json::from_slice::<Reply>(&line) else {
        return Ok(Outcome::Damaged { why: "somebody else answers".to_owned() });
    };
    let mut came = vec![0; count as usize];
    stream.read_exact(&mut came).await?;
    Ok(if came == sent {
        reply.into()
    } else {
        Outcome::Damaged { why: format!("other bytes came back from {} than were sent", reply.by) }
    })
}
