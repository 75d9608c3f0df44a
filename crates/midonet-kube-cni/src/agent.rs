//! Calls of the node agent.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cni::{Error, code};
use nodeapi::v1::{
    BindPortReply, BindPortRequest, CheckPortReply, ReadyReply, ReadyRequest, ReleasePortReply,
    ReleasePortRequest, StatusReply, StatusRequest,
};
use nodeapi::{Client, Message, Method, Pending, call};
use tonic::{Code, Status};

/// How long ADD waits for an agent that is absent or starting.
const BIND_DEADLINE: Duration = Duration::from_secs(10);

/// How long STATUS waits for an agent that is absent or starting: one that is replaced is away for some seconds,
/// for more on a busy node. A kubelet whose runtime does not answer for 30 seconds reports it as down; it asks
/// every five, and IPAM is asked in the same call.
const READY_DEADLINE: Duration = Duration::from_secs(20);

/// How long CHECK waits.
const ASK_DEADLINE: Duration = Duration::from_secs(5);

/// How long DEL waits: it succeeds without the agent.
const RELEASE_DEADLINE: Duration = Duration::from_secs(2);

/// The pauses between two tries of ADD and STATUS.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

/// A call in two steps: the caller can do other work while the agent does its part.
pub(crate) struct Call<'a, Q, A> {
    socket: &'a Path,
    method: &'a Method<Q, A>,
    deadline: Instant,
    client: Result<Client, Error>,
    pending: Option<Pending<A>>,
}

/// To commit a port.
pub(crate) fn bind(socket: &Path) -> Call<'_, BindPortRequest, BindPortReply> {
    Call::new(socket, &call::BIND_PORT, BIND_DEADLINE)
}

/// To release a port.
pub(crate) fn release(socket: &Path) -> Call<'_, ReleasePortRequest, ReleasePortReply> {
    Call::new(socket, &call::RELEASE_PORT, RELEASE_DEADLINE)
}

/// Whether the port is committed as described.
///
/// # Errors
/// See [`Call::finish`].
pub(crate) fn check(socket: &Path, request: &BindPortRequest) -> Result<CheckPortReply, Error> {
    Call::new(socket, &call::CHECK_PORT, ASK_DEADLINE).ask(request)
}

/// Whether Pods can be attached; waits for an agent that is being replaced.
///
/// # Errors
/// See [`Call::finish`].
pub(crate) fn ready(socket: &Path) -> Result<ReadyReply, Error> {
    let mut call = Call::new(socket, &call::READY, READY_DEADLINE);
    call.start(&ReadyRequest {});
    match call.finish_or_retry(&ReadyRequest {}) {
        // The agent is older than this plugin, while a node is upgraded.
        Err(error) if error.code == code::UNSUPPORTED_FIELD => {
            Call::new(socket, &call::STATUS, ASK_DEADLINE).ask(&StatusRequest {}).map(ready_of)
        }
        answer => answer,
    }
}

/// The readiness of an agent without the call `Ready`.
fn ready_of(status: StatusReply) -> ReadyReply {
    let agent = status.agent.unwrap_or_default();
    ReadyReply { ready: agent.ready, reason: agent.not_ready_reason, serves: true }
}

impl<'a, Q: Message, A: Message + Default> Call<'a, Q, A> {
    fn new(socket: &'a Path, method: &'a Method<Q, A>, patience: Duration) -> Self {
        let deadline = Instant::now() + patience;
        Self { socket, method, deadline, client: connect(socket, patience), pending: None }
    }

    /// Sends the request. An error is returned by [`finish`](Self::finish).
    pub(crate) fn start(&mut self, request: &Q) {
        let Ok(client) = &mut self.client else { return };
        match client.start(self.method, request) {
            Ok(pending) => self.pending = Some(pending),
            Err(status) => self.client = Err(error_of(&status, self.socket)),
        }
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// Code 11 if there is no agent or it does not answer in time, 2 if it cannot do what is asked for, 102 if it
    /// refuses.
    pub(crate) fn finish(&mut self) -> Result<A, Error> {
        let unsent = || Error::new(code::INTERNAL, "a call was awaited that was not sent");
        let client = self.client.as_mut().map_err(|error| error.clone())?;
        let pending = self.pending.take().ok_or_else(unsent)?;
        client.finish(pending).map_err(|status| error_of(&status, self.socket))
    }

    /// The same; waits for an agent that is not there yet, or ended, and calls that one again.
    ///
    /// # Errors
    /// See [`finish`](Self::finish).
    pub(crate) fn finish_or_retry(&mut self, request: &Q) -> Result<A, Error> {
        let [mut pause, longest] = PAUSES;
        loop {
            let answer = self.finish();
            let again = answer.as_ref().is_err_and(|error| error.code == code::TRY_AGAIN);
            if !again || Instant::now() + pause >= self.deadline {
                return answer;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(longest);
            self.client = connect(self.socket, self.deadline.saturating_duration_since(Instant::now()));
            self.start(request);
        }
    }

    /// Sends the request and waits for the answer.
    ///
    /// # Errors
    /// See [`finish`](Self::finish).
    pub(crate) fn ask(mut self, request: &Q) -> Result<A, Error> {
        self.start(request);
        self.finish()
    }
}

fn connect(socket: &Path, patience: Duration) -> Result<Client, Error> {
    Client::connect(socket, patience).map_err(|error| Error::new(code::TRY_AGAIN, error.to_string()))
}

fn error_of(status: &Status, socket: &Path) -> Error {
    let what = format!("the node agent at {} answered: {}", socket.display(), status.message());
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown => {
            Error::new(code::TRY_AGAIN, format!("{what}; see the log of midonet-kube-node"))
        }
        Code::Unimplemented => Error::new(code::UNSUPPORTED_FIELD, status.message()),
        _ => Error::new(code::AGENT, what),
    }
}
