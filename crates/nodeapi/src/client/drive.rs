//! Futures of one connection, driven by the thread that waits for them.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::connect::Stream;

/// Whether there is something to do without any news from the socket.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets the connection `advance` and asks for the value until it is there, and sleeps only while neither
/// could go on.
///
/// # Errors
/// The connection's, or [`io::ErrorKind::TimedOut`].
pub(super) fn drive<T>(
    stream: &Stream,
    deadline: Instant,
    mut advance: impl FnMut(&mut Context<'_>) -> io::Result<()>,
    mut value: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> io::Result<T> {
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    loop {
        let advanced = advance(&mut cx);
        // What arrived before the connection broke still counts.
        if let Poll::Ready(value) = value(&mut cx) {
            return Ok(value);
        }
        advanced?;
        if !woken.0.swap(false, Ordering::Relaxed) {
            sleep(stream, deadline)?;
        }
    }
}

/// Until the socket has news.
fn sleep(stream: &Stream, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut events = PollFlags::POLLIN;
    events.set(PollFlags::POLLOUT, stream.is_full());
    let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(stream.as_fd(), events)], timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
