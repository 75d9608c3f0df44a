//! The client: one HTTP/2 connection, used by one thread, without an async runtime.
//!
//! The plugin is started for every Pod and makes one call. A runtime, its reactor and its layers would take
//! longer than the call.

mod connect;
mod drive;

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{Connection, ResponseFuture, SendRequest};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, Request, Version};
use prost::Message;
use tonic::Status;

pub use connect::ConnectError;
use connect::Stream;
use drive::drive;

/// The largest answer, in bytes: a node's status with some thousand ports has a few hundred KiB.
const LARGEST: usize = 64 << 20;

/// The prefix of a gRPC message, in bytes: one for compression, four for the length.
const PREFIX: usize = 5;

/// A call of the service: its path, and what it takes and gives.
#[derive(Debug)]
pub struct Method<Q, A> {
    path: &'static str,
    types: PhantomData<fn(Q) -> A>,
}

impl<Q, A> Method<Q, A> {
    /// The call at `/package.Service/Method`.
    pub const fn new(path: &'static str) -> Self {
        Self { path, types: PhantomData }
    }
}

/// A connection to the agent. It does not reconnect by itself.
pub struct Client {
    requests: SendRequest<Bytes>,
    connection: Connection<Stream, Bytes>,
    stream: Stream,
    patience: Duration,
}

/// A call in progress; [`Client::finish`] waits for its answer.
#[must_use]
pub struct Pending<A> {
    response: ResponseFuture,
    deadline: Instant,
    types: PhantomData<fn() -> A>,
}

impl Client {
    /// Connects to the agent; every call on the connection gets this deadline.
    ///
    /// # Errors
    /// [`ConnectError`] when nobody listens there or the deadline passes.
    pub fn connect(socket: &Path, patience: Duration) -> Result<Self, ConnectError> {
        let deadline = Instant::now() + patience;
        let open = || {
            let stream = Stream::connect(socket, deadline)?;
            let mut handshake = pin!(h2::client::handshake(stream.clone()));
            let idle = |_: &mut Context<'_>| Ok(());
            let (requests, connection) = drive(&stream, deadline, idle, |cx| handshake.as_mut().poll(cx))?
                .map_err(io::Error::other)?;
            Ok(Self { requests, connection, stream, patience })
        };
        open().map_err(|source| ConnectError::new(socket, source))
    }

    /// Makes a call.
    ///
    /// # Errors
    /// The agent's, or `UNAVAILABLE` if the connection broke, `DEADLINE_EXCEEDED` if it took too long.
    pub fn call<Q: Message, A: Message + Default>(
        &mut self,
        method: &Method<Q, A>,
        request: &Q,
    ) -> Result<A, Status> {
        let pending = self.start(method, request)?;
        self.finish(pending)
    }

    /// Sends a call without waiting for its answer.
    ///
    /// # Errors
    /// The connection broke.
    pub fn start<Q: Message, A>(&mut self, method: &Method<Q, A>, request: &Q) -> Result<Pending<A>, Status> {
        let deadline = Instant::now() + self.patience;
        let head = Request::post(format!("http://node.agent{}", method.path))
            .version(Version::HTTP_2)
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .body(())
            .map_err(|error| Status::internal(error.to_string()))?;
        let (response, mut body) = self.requests.send_request(head, false).map_err(|e| broken(&e))?;
        body.send_data(framed(request)?, true).map_err(|e| broken(&e))?;
        // What can be sent at once is; the rest follows with the wait for the answer.
        self.wait(deadline, |_| Poll::Ready(()))?;
        Ok(Pending { response, deadline, types: PhantomData })
    }

    /// Waits for the answer to a call.
    ///
    /// # Errors
    /// See [`call`](Self::call).
    pub fn finish<A: Message + Default>(&mut self, pending: Pending<A>) -> Result<A, Status> {
        let Pending { mut response, deadline, .. } = pending;
        let response = self.wait(deadline, |cx| Pin::new(&mut response).poll(cx))?;
        let (head, mut body) = response.map_err(|e| broken(&e))?.into_parts();
        let mut content = BytesMut::new();
        while let Some(data) = self.wait(deadline, |cx| body.poll_data(cx))? {
            let data = data.map_err(|e| broken(&e))?;
            let _ = body.flow_control().release_capacity(data.len());
            if content.len() + data.len() > LARGEST {
                return Err(Status::internal("the answer is too large"));
            }
            content.extend_from_slice(&data);
        }
        let trailers = self.wait(deadline, |cx| body.poll_trailers(cx))?.map_err(|e| broken(&e))?;
        status(trailers.as_ref()).or_else(|| status(Some(&head.headers))).unwrap_or_else(|| {
            Err(Status::unknown(format!("the answer has no gRPC status (HTTP {})", head.status)))
        })?;
        let message = content.get(PREFIX..).filter(|_| content.first() == Some(&0));
        let message = message.ok_or_else(|| Status::internal("the answer has no message"))?;
        A::decode(message).map_err(|error| Status::internal(format!("the answer cannot be read: {error}")))
    }

    fn wait<T>(
        &mut self,
        deadline: Instant,
        poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Status> {
        let connection = &mut self.connection;
        let advance = |cx: &mut Context<'_>| match Pin::new(&mut *connection).poll(cx) {
            Poll::Ready(Err(error)) => Err(io::Error::other(error)),
            _ => Ok(()),
        };
        drive(&self.stream, deadline, advance, poll).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => Status::deadline_exceeded("Timeout expired"),
            _ => Status::unavailable(format!("the connection broke: {error}")),
        })
    }
}

fn broken(error: &h2::Error) -> Status {
    Status::unavailable(format!("the connection broke: {error}"))
}

/// The status in headers or trailers, if there is one.
fn status(headers: Option<&HeaderMap>) -> Option<Result<(), Status>> {
    let status = Status::from_header_map(headers?)?;
    Some(if status.code() == tonic::Code::Ok { Ok(()) } else { Err(status) })
}

fn framed(message: &impl Message) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).map_err(|_| Status::invalid_argument("the request is too large"))?);
    message.encode(&mut frame).map_err(|error| Status::internal(error.to_string()))?;
    Ok(frame.freeze())
}
