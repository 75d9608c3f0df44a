//! The edge: HTTP at a port of 127.0.0.1.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::faults::{Effect, Fault, Faults, answer};
use crate::log::{Entry, Log};
use crate::message::{Request, Response};
use crate::store::Store;
use crate::target::resource_of;
use crate::tls::Tls;

/// The path of the API's base URL.
const ROOT: &str = "/midonet-api";

/// Any free port of 127.0.0.1.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The server closes a connection after so long without a request.
const IDLE: Duration = Duration::from_secs(30);

/// The longest body of a request, in bytes.
const LONGEST: usize = 1 << 20;

/// A stand-in that serves HTTP or HTTPS, at a port of 127.0.0.1 unless it is told another address. It ends when it is dropped.
pub struct Standin {
    shared: Arc<Mutex<Shared>>,
    address: SocketAddr,
    tls: Option<Tls>,
    serving: Option<JoinHandle<()>>,
}

struct Shared {
    store: Store,
    faults: Faults,
    log: Log,
}

impl Standin {
    /// Serves HTTP.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(store: Store) -> io::Result<Self> {
        Self::start_with(store, None, LOOPBACK).await
    }

    /// Serves HTTPS, with a certificate for 127.0.0.1 by an authority of its own.
    ///
    /// # Errors
    /// There is no free port, or the certificate could not be made.
    pub async fn start_tls(store: Store) -> io::Result<Self> {
        Self::start_tls_at(store, LOOPBACK).await
    }

    /// The same at another address, for who reaches it from elsewhere.
    ///
    /// # Errors
    /// The address cannot be had, or the certificate could not be made.
    pub async fn start_tls_at(store: Store, address: SocketAddr) -> io::Result<Self> {
        Self::start_with(store, Some(Tls::new(address.ip())?), address).await
    }

    async fn start_with(store: Store, tls: Option<Tls>, address: SocketAddr) -> io::Result<Self> {
        let shared = Arc::new(Mutex::new(Shared { store, faults: Faults::new(1), log: Log::default() }));
        let mut standin = Self { shared, address, tls, serving: None };
        standin.restart().await?;
        Ok(standin)
    }

    /// The API's base URL, without a slash at its end.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{ROOT}", self.address)
    }

    /// The certificate authority to trust, as PEM; none without HTTPS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.ca.as_str())
    }

    /// Looks at what is stored, or changes it, as one step between requests.
    pub fn with_store<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        change(&mut lock(&self.shared).store)
    }

    /// Adds something that goes wrong, behind those that there are.
    pub fn add_fault(&self, fault: Fault) {
        lock(&self.shared).faults.set.push(fault);
    }

    /// From now on all is well. What stalls stays so.
    pub fn clear_faults(&self) {
        lock(&self.shared).faults.set.clear();
    }

    /// The requests that arrived.
    pub fn log(&self) -> Log {
        lock(&self.shared).log.clone()
    }

    /// Forgets the requests that arrived, and gives them.
    pub fn take_log(&self) -> Log {
        std::mem::take(&mut lock(&self.shared).log)
    }

    /// Closes the port and all connections. What is stored stays.
    pub async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // It ends as it was told, whatever it says.
            let _ = serving.await;
        }
    }

    /// Stops, if it serves, and serves again at the same port with what is stored.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.stop().await;
        let listener = TcpListener::bind(self.address).await?;
        self.address = listener.local_addr()?;
        self.serving = Some(tokio::spawn(accept(listener, self.tls.clone(), Arc::clone(&self.shared))));
        Ok(())
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connections end with this future.
async fn accept(listener: TcpListener, tls: Option<Tls>, shared: Arc<Mutex<Shared>>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Otherwise an answer may wait for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            match tls {
                None => serve(stream, "http", shared).await,
                Some(tls) => {
                    if let Ok(stream) = tls.acceptor.accept(stream).await {
                        serve(stream, "https", shared).await;
                    }
                }
            }
        });
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    scheme: &'static str,
    shared: Arc<Mutex<Shared>>,
) {
    let respond = service_fn(|request| respond(request, scheme, Arc::clone(&shared)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), respond);
    // A client that goes away is no fault of the server.
    let _ = connection.await;
}

/// A request that gets no answer: the connection is closed.
#[derive(Debug, thiserror::Error)]
#[error("closed on purpose")]
struct Closed;

async fn respond(
    request: hyper::Request<Incoming>,
    scheme: &str,
    shared: Arc<Mutex<Shared>>,
) -> Result<hyper::Response<Full<Bytes>>, Closed> {
    let request = read(request, scheme).await.ok_or(Closed)?;
    let resource = resource_of(&request.path);
    let effect = lock(&shared).faults.effect(&request.method, &request.path, resource);
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let entry = |status| Entry {
        method: request.method.clone(),
        path: format!("{}{query}", request.path),
        resource,
        status,
    };
    let response = match effect {
        Some(Effect::Answer(status)) => answer(status),
        Some(Effect::Close) => {
            lock(&shared).log.add(entry(0));
            return Err(Closed);
        }
        Some(Effect::Stall) => {
            lock(&shared).log.add(entry(0));
            std::future::pending().await
        }
        Some(Effect::CloseAfterwards) => {
            let mut shared = lock(&shared);
            shared.store.handle(&request);
            shared.log.add(entry(0));
            return Err(Closed);
        }
        Some(Effect::Delay(time)) => {
            tokio::time::sleep(time).await;
            lock(&shared).store.handle(&request)
        }
        None => lock(&shared).store.handle(&request),
    };
    lock(&shared).log.add(entry(response.status));
    write(response).ok_or(Closed)
}

/// What hyper read, as the store has it. `None`: it cannot be read to its end.
async fn read(request: hyper::Request<Incoming>, scheme: &str) -> Option<Request> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LONGEST).collect().await.ok()?.to_bytes();
    let text =
        |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    let names = head.headers.keys().map(|name| name.as_str());
    let headers = names.filter_map(|name| Some((name.to_owned(), text(name)?))).collect();
    // What is outside of the API is nothing that it has.
    let path = head.uri.path().strip_prefix(ROOT).unwrap_or("/outside");
    Some(Request {
        method: head.method.as_str().into(),
        path: path.into(),
        query: head.uri.query().unwrap_or_default().into(),
        content_type: text("content-type"),
        accept: text("accept"),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        base: format!("{scheme}://{}{ROOT}", text("host").unwrap_or_default()),
        now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    })
}

/// The answer as hyper has it. `None`: a header has characters that no header may have.
fn write(response: Response) -> Option<hyper::Response<Full<Bytes>>> {
    let mut builder = hyper::Response::builder().status(response.status);
    for (name, value) in [("content-type", response.content_type), ("location", response.location)] {
        if let Some(value) = value {
            builder = builder.header(name, value);
        }
    }
    for (name, value) in response.headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(Bytes::from(response.body))).ok()
}
