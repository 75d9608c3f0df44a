use std::future::ready;
use std::io;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::http::uri::{Authority, Scheme};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, StdError, http};

/// The agent could not be reached.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot reach the node agent at {}: {source}; is midonet-kube-node running on this node, and are you root?",
    .socket.display()
)]
pub struct ConnectError {
    socket: PathBuf,
    source: io::Error,
}

/// One HTTP/2 connection to the agent, to make a client of either package with. Once it broke it stays
/// so: whoever calls decides whether to connect again.
#[derive(Debug, Clone)]
pub struct Connection {
    requests: SendRequest<Body>,
    deadline: Duration,
}

/// Connects to the agent; every call on the connection gets this deadline.
///
/// # Errors
/// [`ConnectError`] when nobody listens there or the deadline passes.
pub async fn connect(socket: &Path, deadline: Duration) -> Result<Connection, ConnectError> {
    let open = async {
        let stream = TokioIo::new(UnixStream::connect(socket).await?);
        let (requests, connection) =
            http2::handshake(TokioExecutor::new(), stream).await.map_err(io::Error::other)?;
        // It ends with the last request, or tells that one why it broke.
        tokio::spawn(connection);
        Ok(Connection { requests, deadline })
    };
    let opened = timeout(deadline, open).await;
    let opened = opened.unwrap_or_else(|elapsed| Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)));
    opened.map_err(|source| ConnectError { socket: socket.to_owned(), source })
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = StdError;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.requests.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let mut uri = request.uri().clone().into_parts();
        // HTTP/2 asks for the server's name; on this socket there is but one.
        (uri.scheme, uri.authority) = (Some(Scheme::HTTP), Some(Authority::from_static("node.agent")));
        match Uri::from_parts(uri) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return Box::pin(ready(Err(error.into()))),
        }
        let answer = timeout(self.deadline, self.requests.send_request(request));
        Box::pin(async {
            let late = |_| Status::deadline_exceeded("Timeout expired");
            Ok(answer.await.map_err(late)??)
        })
    }
}
