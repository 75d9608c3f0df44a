//! Calls of the node agent. Each makes its own small runtime, so that nothing else here is asynchronous.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use nodeapi::Connection;
use nodeapi::v1::node_client::NodeClient;
use nodeapi::v1::{BindPortRequest, ReleasePortRequest, StatusReply, StatusRequest};
use tonic::{Code, Status};

use crate::error::{Error, code};

/// How long ADD waits for an agent that is absent or starting.
const BIND_DEADLINE: Duration = Duration::from_secs(10);

/// How long CHECK and STATUS wait.
const ASK_DEADLINE: Duration = Duration::from_secs(5);

/// How long DEL waits: it succeeds without the agent.
const RELEASE_DEADLINE: Duration = Duration::from_secs(2);

/// Commits the port; waits for an agent that is not there yet.
///
/// # Errors
/// Code 11 if there is no agent by the deadline, 102 if it refuses.
pub(crate) fn bind(socket: &Path, request: &BindPortRequest) -> Result<(), Error> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(20);
    loop {
        let left = BIND_DEADLINE.saturating_sub(start.elapsed());
        let result = call(socket, left, |mut node| async move { node.bind_port(request.clone()).await });
        match result {
            Err(error) if error.code == code::TRY_AGAIN && start.elapsed() + pause < BIND_DEADLINE => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(500));
            }
            other => return other.map(drop),
        }
    }
}

/// Takes the port out of the network.
///
/// # Errors
/// As [`bind`], after a short deadline and without a second try.
pub(crate) fn release(socket: &Path, request: &ReleasePortRequest) -> Result<(), Error> {
    call(socket, RELEASE_DEADLINE, |mut node| async move { node.release_port(request.clone()).await })
        .map(drop)
}

/// Whether the port is committed as described.
///
/// # Errors
/// As [`bind`], without a second try.
pub(crate) fn check(socket: &Path, request: &BindPortRequest) -> Result<(), Error> {
    call(socket, ASK_DEADLINE, |mut node| async move { node.check_port(request.clone()).await }).map(drop)
}

/// How the node's network is.
///
/// # Errors
/// As [`bind`], without a second try.
pub(crate) fn status(socket: &Path) -> Result<StatusReply, Error> {
    call(socket, ASK_DEADLINE, |mut node| async move { node.status(StatusRequest {}).await })
}

fn call<T, F>(
    socket: &Path,
    deadline: Duration,
    work: impl FnOnce(NodeClient<Connection>) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<tonic::Response<T>, Status>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime =
        runtime.map_err(|error| Error::new(code::INTERNAL, format!("cannot start a runtime: {error}")))?;
    runtime.block_on(async {
        let channel = nodeapi::connect(socket, deadline).await;
        let channel = channel.map_err(|error| Error::new(code::TRY_AGAIN, error.to_string()))?;
        let reply = work(NodeClient::new(channel)).await.map_err(|status| error_of(&status, socket))?;
        Ok(reply.into_inner())
    })
}

fn error_of(status: &Status, socket: &Path) -> Error {
    let what = format!("the node agent at {} answered: {}", socket.display(), status.message());
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown => {
            Error::new(code::TRY_AGAIN, format!("{what}; see the log of midonet-kube-node"))
        }
        _ => Error::new(code::AGENT, what),
    }
}
