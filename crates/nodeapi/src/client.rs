use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

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

/// Connects to the agent; every call on the channel gets this deadline.
///
/// # Errors
/// [`ConnectError`] when nobody listens there or the deadline passes.
pub async fn connect(socket: &Path, deadline: Duration) -> Result<Channel, ConnectError> {
    let fail = |source| ConnectError { socket: socket.to_owned(), source };
    let stream = tokio::time::timeout(deadline, UnixStream::connect(socket))
        .await
        .map_err(|elapsed| fail(io::Error::new(io::ErrorKind::TimedOut, elapsed)))?
        .map_err(fail)?;
    // The one connection is made here, so that a failure is seen as what it is; the channel asks for
    // another only after this one broke, and then says so.
    let mut stream = Some(TokioIo::new(stream));
    let connector = service_fn(move |_: Uri| {
        let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset));
        std::future::ready(stream)
    });
    Endpoint::from_static("http://node.agent")
        .timeout(deadline)
        .connect_with_connector(connector)
        .await
        .map_err(|error| fail(io::Error::other(error)))
}
