//! Reading stdin with a deadline.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The largest configuration, in bytes.
const LARGEST: usize = 16 << 20;

/// Reads stdin to its end. `content` has what came until an error.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] after `deadline`, [`io::ErrorKind::FileTooLarge`], or what the kernel says.
pub fn read(deadline: Duration, content: &mut Vec<u8>) -> io::Result<()> {
    let start = Instant::now();
    let mut stdin = io::stdin().lock();
    let mut chunk = [0; 4 << 10];
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not end")),
            Ok(_) => {}
        }
        let length = stdin.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        content.extend_from_slice(chunk.get(..length).unwrap_or_default());
        if content.len() > LARGEST {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large"));
        }
    }
}
