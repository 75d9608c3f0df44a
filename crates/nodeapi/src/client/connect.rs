//! The socket: it never blocks, and wakes nobody, since [`super::drive`] polls it.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long to wait when the agent has more callers than it could take yet.
const PAUSE: Duration = Duration::from_millis(2);

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

impl ConnectError {
    pub(super) fn new(socket: &Path, source: io::Error) -> Self {
        Self { socket: socket.to_owned(), source }
    }
}

/// A handle on the socket; clones are of the same.
#[derive(Clone)]
pub(super) struct Stream(Rc<Inner>);

struct Inner {
    socket: Socket,
    full: Cell<bool>,
}

impl Stream {
    pub(super) fn connect(path: &Path, deadline: Instant) -> io::Result<Self> {
        let address = SockAddr::unix(path)?;
        loop {
            let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
            match socket.connect(&address) {
                Ok(()) => return Ok(Self(Rc::new(Inner { socket, full: Cell::new(false) }))),
                // unix(7): the listener's backlog is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                    thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether something could not be sent, since the agent has not read what was sent before.
    pub(super) fn is_full(&self) -> bool {
        self.0.full.get()
    }

    fn sent(&self, result: io::Result<usize>) -> Poll<io::Result<usize>> {
        let result = attempt(result);
        self.0.full.set(result.is_pending());
        result
    }
}

fn attempt<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Poll::Pending
        }
        other => Poll::Ready(other),
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // SAFETY: nothing is made uninitialised; what was received is.
        let received = unsafe { self.0.socket.recv(buf.unfilled_mut()) };
        attempt(received.map(|length| {
            // SAFETY: so many bytes were just written by the kernel.
            unsafe { buf.assume_init(length) };
            buf.advance(length);
        }))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.sent(self.0.socket.send(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.sent(self.0.socket.send_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
