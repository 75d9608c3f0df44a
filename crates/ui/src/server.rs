//! The HTTP server. Whoever connects gets a bounded share of it: so many connections, each for so long.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderName, LOCATION, SET_COOKIE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::access::{Access, Refusal};
use crate::answer::{Answer, answer, json, text, with};
use crate::api::{Asked, BELOW, Wrong, asked};
use crate::files::file;
use crate::query::pairs;
use crate::source::{Fault, Source};

/// The version that an answer is of.
const VERSION: HeaderName = HeaderName::from_static("midokube-version");

/// How many questions are answered at a time.
const AT_ONCE: usize = 8;

/// How many bytes a request may have before its body.
const HEAD: usize = 16 << 10;

/// How a page is served.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who knows it may see the page.
    pub key: String,
    /// How many connections there are at most; others wait.
    pub connections: usize,
    /// How long a request's head may take to come, and a connection may be idle.
    pub patience: Duration,
    /// How long a connection lasts; the browser makes a new one. Who does not read what it asked for is cut off then.
    pub lifetime: Duration,
}

impl Settings {
    /// As the page needs it.
    pub fn new(key: String) -> Self {
        Self { key, connections: 64, patience: Duration::from_secs(15), lifetime: Duration::from_secs(120) }
    }
}

struct Shared {
    access: Access,
    source: Arc<dyn Source>,
    turns: Semaphore,
    settings: Settings,
}

/// Serves the page until the future is dropped.
///
/// # Errors
/// The listener is not on the loopback, or it broke.
pub async fn serve(listener: TcpListener, source: Arc<dyn Source>, settings: Settings) -> io::Result<()> {
    let address: SocketAddr = listener.local_addr()?;
    if !address.ip().is_loopback() {
        return Err(io::Error::other(format!("{address} is no address of the loopback")));
    }
    let access = Access::new(address.port(), &settings.key);
    let places = Arc::new(Semaphore::new(settings.connections));
    let shared = Arc::new(Shared { access, source, turns: Semaphore::new(AT_ONCE), settings });
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    connection(stream, shared).await;
                    drop(place);
                });
            }
            // It was reset, or there is no file descriptor left: others are served on.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let Settings { patience, lifetime, .. } = shared.settings;
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(respond(&shared, &request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(stream), service)
    );
    if timeout(lifetime, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        // Who reads still gets the rest of the last answer.
        let _ended = timeout(patience, connection).await;
    }
}

async fn respond(shared: &Arc<Shared>, request: &Request<Incoming>) -> Answer {
    let (headers, uri) = (request.headers(), request.uri());
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    if let Err(refusal) = shared.access.check_host(headers) {
        return refused(refusal);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return with(text(StatusCode::METHOD_NOT_ALLOWED, "nothing can be changed here"), ALLOW, "GET, HEAD");
    }
    let pairs = match pairs(query) {
        Ok(pairs) => pairs,
        Err(why) => return text(StatusCode::BAD_REQUEST, why),
    };
    if path == "/"
        && let Some((_, key)) = pairs.iter().find(|(name, _)| name == "key")
    {
        return enter(shared, key);
    }
    if let Err(refusal) = shared.access.check_key(headers) {
        return refused(refusal);
    }
    let Some(path) = path.strip_prefix(BELOW) else {
        return match file(path) {
            Some(file) => answer(StatusCode::OK, file.content_type, file.text),
            None => text(StatusCode::NOT_FOUND, "there is nothing here"),
        };
    };
    if let Err(refusal) = shared.access.check_origin(headers) {
        return refused(refusal);
    }
    match asked(path, pairs) {
        Ok(asked) => tell(shared, asked).await,
        Err(Wrong::Path) => text(StatusCode::NOT_FOUND, "there is nothing here"),
        Err(Wrong::Query(why)) => text(StatusCode::BAD_REQUEST, &why),
    }
}

/// Gives the key to the browser, and leaves an address without it.
fn enter(shared: &Shared, key: &str) -> Answer {
    if !shared.access.is_key(key) {
        return refused(Refusal::Key);
    }
    let entered = with(text(StatusCode::SEE_OTHER, "come in"), LOCATION, "/");
    with(entered, SET_COOKIE, &shared.access.cookie())
}

async fn tell(shared: &Arc<Shared>, Asked { question, seen }: Asked) -> Answer {
    let version = shared.source.version();
    let answered = if seen == Some(version) {
        answer(StatusCode::NO_CONTENT, "application/json", "")
    } else {
        let Ok(_turn) = shared.turns.acquire().await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "midokube ends");
        };
        let source = Arc::clone(&shared.source);
        match spawn_blocking(move || source.answer(&question)).await {
            Ok(Ok(document)) => json(StatusCode::OK, document),
            Ok(Err(Fault::Invalid(why))) => text(StatusCode::BAD_REQUEST, &why),
            Ok(Err(Fault::Unknown(why))) => text(StatusCode::NOT_FOUND, &why),
            Ok(Err(Fault::Unreachable(why))) => text(StatusCode::BAD_GATEWAY, &why),
            Err(error) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, &format!("midokube failed to answer: {error}"))
            }
        }
    };
    with(answered, VERSION, &version.to_string())
}

fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Host => {
            text(StatusCode::MISDIRECTED_REQUEST, "this is not the host that the request is for")
        }
        Refusal::Origin => text(StatusCode::FORBIDDEN, "another page cannot ask"),
        Refusal::Key => {
            text(StatusCode::FORBIDDEN, "open the address that midokube ui has printed: it has the key")
        }
    }
}
