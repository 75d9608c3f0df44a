//! Small HTTP servers at ports that something else may have: each listens as soon as it can. Everything of a client is
//! bounded: how many connections there are, how large a request is, and how long it takes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::http::Response;
use backon::{BackoffBuilder, ExponentialBuilder};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::processes;

/// A port that is taken is tried again: waits grow from the first to the second.
const WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// Who has it is looked for no more often: all processes' files are read for that.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// So many connections are open at once: another one takes the place of the oldest.
const CONNECTIONS: usize = 64;

/// So many connections wait to be accepted.
const BACKLOG: i32 = 128;

/// A connection has one request, and is over after so long.
const DEADLINE: Duration = Duration::from_secs(10);

/// The longest head of a request, in bytes: the least that hyper takes.
const HEAD: usize = 8192;

/// After a failure to accept, as without a free file descriptor.
const PAUSE: Duration = Duration::from_millis(200);

/// The answer to a request for this path.
pub(super) type Answer = Arc<dyn Fn(&str) -> Response<String> + Send + Sync>;

/// The addresses to listen at: an unspecified one is that of both families.
pub(super) fn addresses(address: SocketAddr) -> Vec<SocketAddr> {
    if address.ip().is_unspecified() {
        let both: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        both.map(|ip| SocketAddr::new(ip, address.port())).into()
    } else {
        vec![address]
    }
}

/// Serves at one address, until it is dropped. `report` is told why it cannot listen yet, and when it does.
pub(super) async fn serve(address: SocketAddr, answer: Answer, report: impl Fn(Option<String>)) {
    let [shortest, longest] = WAITS;
    let waits = ExponentialBuilder::default().with_min_delay(shortest).with_max_delay(longest);
    let mut waits = waits.without_max_times().build();
    let (mut tried, mut looked) = (false, None::<Instant>);
    let listener = loop {
        match bind(address).and_then(TcpListener::from_std) {
            Ok(listener) => break listener,
            Err(error) if is_without_family(address, &error) => return report(None),
            // A port that is free in a moment, since another Service or agent gave it up, is no problem.
            Err(_) if !tried => tried = true,
            Err(_) if looked.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN) => {}
            Err(error) => {
                report(spawn_blocking(move || reason(address, &error)).await.ok());
                looked = Some(Instant::now());
            }
        }
        sleep(waits.next().unwrap_or(longest)).await;
    };
    report(None);
    let mut connections = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => open(&mut connections, stream, &answer),
            Err(error) => {
                debug!(%address, %error, "cannot accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Why an address cannot be listened at; `None`: it can be.
pub(super) fn why_taken(address: SocketAddr) -> Option<String> {
    let error = bind(address).err().filter(|error| !is_without_family(address, error))?;
    Some(reason(address, &error))
}

/// Why a socket cannot be bound: who has the port, if that can be told.
fn reason(address: SocketAddr, error: &io::Error) -> String {
    let is_taken = error.kind() == io::ErrorKind::AddrInUse;
    let owner = is_taken.then(|| processes::listening_at(address.port())).flatten();
    owner.map_or_else(|| error.to_string(), |owner| format!("{owner} has it"))
}

/// Whether this node has none of a family, so that nobody asks there.
fn is_without_family(address: SocketAddr, error: &io::Error) -> bool {
    address.ip().is_unspecified()
        && matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    if address.is_ipv6() {
        // The other family has a socket of its own.
        socket.set_only_v6(true)?;
    }
    // Connections of a former agent may not have ended yet.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn open(connections: &mut VecDeque<AbortHandle>, stream: TcpStream, answer: &Answer) {
    connections.retain(|connection| !connection.is_finished());
    if connections.len() >= CONNECTIONS
        && let Some(oldest) = connections.pop_front()
    {
        oldest.abort();
    }
    let answer = Arc::clone(answer);
    connections.push_back(tokio::spawn(connection(stream, answer)).abort_handle());
}

async fn connection(stream: TcpStream, answer: Answer) {
    let respond = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let response = answer(request.uri().path());
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(DEADLINE)
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), respond);
    match timeout(DEADLINE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection for health checks or metrics failed"),
        Err(_) => debug!("a connection for health checks or metrics took too long"),
    }
}

#[cfg(test)]
mod tests;
