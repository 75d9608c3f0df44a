//! Small UDP packets as fast as one processor sends them; what counts is how many arrive, on another
//! processor if there is one.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};

use super::{Path, join, pin};

/// Payload bytes of a packet.
pub(crate) const PAYLOAD: usize = 64;

/// Messages of one system call.
const BATCH: usize = 32;

/// A receiver that gets nothing for this long checks whether the sender has ended.
const IDLE: Duration = Duration::from_millis(50);

/// What waits in the receiver's socket at most, in bytes.
const BUFFER: usize = 8 << 20;

/// Packets of [`PAYLOAD`] bytes a second that arrive, at whichever server.
pub(crate) fn packets_per_second(path: &Path, duration: Duration) -> Result<f64> {
    let receivers = path.servers(UdpSocket::bind, UdpSocket::local_addr)?;
    for receiver in &receivers.sockets {
        setsockopt(receiver, sockopt::RcvBufForce, &BUFFER).context("receive buffer")?;
        receiver.set_read_timeout(Some(IDLE))?;
    }
    let at = *receivers.targets.first().context("nobody serves")?;
    let sender = path.near(|| {
        let any: SocketAddr = if at.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect(at)?;
        Ok(socket)
    })?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = &over;
        let receive = |socket| {
            scope.spawn(move || -> Result<Option<f64>> {
                pin(true)?;
                receive(socket, over)
            })
        };
        let receiving: Vec<_> = receivers.sockets.iter().map(receive).collect();
        let sending = scope.spawn(|| -> Result<()> {
            pin(false)?;
            let start = Instant::now();
            while start.elapsed() < duration {
                send(&sender)?;
            }
            Ok(())
        });
        let sent = join(sending);
        over.store(true, Ordering::Relaxed);
        // One flow: one of them gets all of it.
        let rates: Vec<Result<Option<f64>>> = receiving.into_iter().map(join).collect();
        sent?;
        let rates: Vec<f64> = rates.into_iter().filter_map(Result::transpose).collect::<Result<_>>()?;
        rates.into_iter().reduce(|sum, rate| sum + rate).context("no UDP packet arrived")
    })
}

/// Counts until it is over and nothing waits any more; the rate from the first to the last packet, if there was any.
fn receive(socket: &UdpSocket, over: &AtomicBool) -> Result<Option<f64>> {
    let mut count = 0u32;
    let mut first = None;
    let mut last = Instant::now();
    loop {
        let got = batch(|messages| {
            // SAFETY: as many messages as said, each with a buffer that lives during the call.
            unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    messages,
                    LENGTH,
                    libc::MSG_WAITFORONE,
                    std::ptr::null_mut(),
                )
            }
        });
        match got {
            Ok(got) => {
                last = Instant::now();
                match first {
                    None => first = Some(last),
                    Some(_) => count += got,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
            Err(error) => return Err(error).context("receive"),
        }
    }
    let rate = |first| f64::from(count) / last.duration_since(first).as_secs_f64().max(f64::EPSILON);
    Ok(first.map(rate))
}

fn send(socket: &UdpSocket) -> Result<()> {
    let sent = batch(|messages| {
        // SAFETY: as many messages as said, each with a buffer that lives during the call.
        unsafe { libc::sendmmsg(socket.as_raw_fd(), messages, LENGTH, 0) }
    });
    match sent {
        // A full queue is what this is about.
        Err(error) if error.raw_os_error() != Some(libc::ENOBUFS) => Err(error).context("send"),
        _ => Ok(()),
    }
}

const LENGTH: libc::c_uint = 32;
const _: () = assert!(BATCH == LENGTH as usize);

/// Calls the kernel with a batch of messages, all with one buffer: what is in it does not matter.
fn batch(call: impl FnOnce(*mut libc::mmsghdr) -> libc::c_int) -> io::Result<u32> {
    let mut buffer = [0u8; PAYLOAD];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: PAYLOAD };
    // SAFETY: integers and pointers, for all of which zero is a value.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    for message in &mut messages {
        message.msg_hdr.msg_iov = &raw mut part;
        message.msg_hdr.msg_iovlen = 1;
    }
    u32::try_from(call(messages.as_mut_ptr())).map_err(|_| io::Error::last_os_error())
}
