//! The HTTP client of an API server.
//!
//! kube's own client speaks HTTP/1.1 alone and leaves it to the kernel to notice that a connection is half open:
//! a watch that gets nothing more looks like a watch of a cluster where nothing happens. This one asks for HTTP/2
//! and pings the server, as client-go does.

use std::time::Duration;

use futures::TryFutureExt;
use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::core::Status;
use kube::core::response::StatusDetails;
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder, service_fn};

/// A server that takes longer to be reached is out of reach.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// A connection on which nothing arrived for so long is tested: by a ping of HTTP/2 (RFC 9113, section 6.7) and by the
/// kernel's keepalive (tcp(7)). The former also finds out about what forwards connections and stopped to do so.
const QUIET: Duration = Duration::from_secs(20);

/// A test without an answer for so long: the connection is given up, 35 seconds after the last packet. client-go takes
/// 30 and 15 seconds.
pub(crate) const PONG: Duration = Duration::from_secs(15);

/// How often the kernel repeats its test. TCP_USER_TIMEOUT, and not their number, ends the connection.
const PROBE: Duration = Duration::from_secs(5);

/// No answer that is read as a whole is longer, in bytes.
const LONGEST: usize = 16 << 20;

/// Marks a request whose answer is read as it arrives, and bounded by who reads it: a list, a watch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streamed;

/// No longer explanation of an error is read, in bytes.
const EXPLANATION: usize = 64 << 10;

/// A client for the configured server; nothing is sent yet.
///
/// # Errors
/// The certificates, keys, tokens or the proxy of the configuration cannot be used.
pub(crate) fn client(config: &Config) -> kube::Result<Client> {
    if let Some(proxy) = &config.proxy_url {
        return Err(kube::Error::ProxyProtocolUnsupported { proxy_url: Box::new(proxy.clone()) });
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(QUIET));
    tcp.set_keepalive_interval(Some(PROBE));
    tcp.set_tcp_user_timeout(Some(QUIET + PONG));
    let mut tls =
        HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into().map_err(|error| kube::Error::Service(Box::new(error)))?;
        tls = tls.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let mut connector = TimeoutConnector::new(tls.enable_all_versions().wrap_connector(tcp));
    connector.set_connect_timeout(Some(CONNECT));
    // No read timeout: it would hold for idle watches too. Each request has its own bound where it is made.
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(QUIET)
        .http2_keep_alive_timeout(PONG)
        .http2_keep_alive_while_idle(true)
        .build(connector);
    let send = move |request: Request<Body>| {
        let streamed = request.extensions().get::<Streamed>().is_some();
        http.request(request).map_err(BoxError::from).and_then(move |answer| bounded(answer, streamed))
    };
    // kube's retries are left out: it would try again for minutes after a 429, 503 or 504, and nobody would be told.
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .service(service_fn(send));
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

/// Bounds an answer. What says that the server has no time or is broken becomes a Status: the API server's own filters,
/// and what stands before it, say so in plain text, and tell only in a header how long to wait.
async fn bounded<B>(
    answer: Response<B>,
    streamed: bool,
) -> Result<Response<Either<Limited<B>, Full<bytes::Bytes>>>, BoxError>
where
    B: http_body::Body<Data = bytes::Bytes>,
    B::Error: Into<BoxError>,
{
    let code = answer.status();
    if code != StatusCode::TOO_MANY_REQUESTS && !code.is_server_error() {
        let limit = if streamed { usize::MAX } else { LONGEST };
        return Ok(answer.map(|body| Either::Left(Limited::new(body, limit))));
    }
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let (head, body) = answer.into_parts();
    let text = Limited::new(body, EXPLANATION).collect().await.map(http_body_util::Collected::to_bytes);
    let status = status(code, &text.unwrap_or_default(), after.unwrap_or(0));
    Ok(Response::from_parts(head, Either::Right(Full::from(serde_json::to_vec(&status)?))))
}

/// What the server said, as a Status; `after` is how many seconds to wait, 0 if it did not say so in the header.
fn status(code: StatusCode, text: &[u8], after: u32) -> Status {
    let said = serde_json::from_slice::<Status>(text).ok().filter(|status| status.code != 0);
    let mut status = said.unwrap_or_else(|| {
        let reason: String = code.canonical_reason().unwrap_or("Unknown").split(' ').collect();
        Status::failure(String::from_utf8_lossy(text).trim(), &reason).with_code(code.as_u16())
    });
    let details = status.details.get_or_insert_with(|| StatusDetails {
        name: String::new(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    });
    if details.retry_after_seconds == 0 {
        details.retry_after_seconds = after;
    }
    status
}
