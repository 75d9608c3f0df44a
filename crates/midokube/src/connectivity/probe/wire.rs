//! What clients and servers send each other.

use std::io;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::super::question::Outcome;

/// Bytes of a line at most.
pub(super) const LINE: u64 = 1024;

/// Bytes at most that a connection is asked to carry.
pub(super) const MOST_BYTES: u32 = 16 << 20;

/// What a datagram begins with that asks.
pub(super) const ASK: &[u8] = b"midokube asks ";

/// A datagram has so many bytes of payload at least: the answer is no longer than the question, so that nobody makes a server
/// send more than was sent to it.
pub(super) const SMALLEST: usize = 256;

/// What begins a question over TCP. So many bytes follow it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) bytes: u32,
}

/// Who answers, and whom it sees. Over TCP as many bytes follow as came.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) by: String,
    pub(super) client: SocketAddr,
    /// Whether the bytes came as they were sent.
    pub(super) intact: bool,
}

impl From<Reply> for Outcome {
    fn from(Reply { by, client, intact }: Reply) -> Self {
        if intact {
            Self::Answered { by, client }
        } else {
            Self::Damaged { why: format!("{by} got other bytes than were sent") }
        }
    }
}

/// The bytes that a connection carries: position for position known to both ends, and no two packets alike.
pub(super) fn bytes(count: u32) -> Vec<u8> {
    // The period has nothing in common with any size of packets.
    let byte = |index: u32| u8::try_from(index.wrapping_mul(2_654_435_761) >> 24).unwrap_or_default();
    (0..count).map(byte).collect()
}

/// What an error of a socket means.
pub(super) fn outcome(error: &io::Error, connected: bool) -> Outcome {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => Outcome::Refused,
        ErrorKind::ConnectionReset
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionAborted => Outcome::Reset,
        ErrorKind::TimedOut => Outcome::Silent { connected },
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::PermissionDenied => {
            Outcome::Unreachable { why: error.to_string() }
        }
        _ => match error.raw_os_error() {
            Some(libc::EMSGSIZE) => Outcome::TooBig { mtu: None },
            // No listener for the protocol, or an ICMP parameter problem.
            Some(libc::ENOPROTOOPT | libc::EPROTO) => Outcome::Unreachable { why: error.to_string() },
            _ => Outcome::Failed { why: error.to_string() },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_moved_are_noticed() {
        let all = bytes(1 << 16);
        assert_eq!(all, bytes(1 << 16));
        for by in [1, 20, 1380, 1448, 4096] {
            assert_ne!(all[..8192], all[by..by + 8192], "{by}");
        }
    }

    #[test]
    fn errors_are_outcomes() {
        let of = |code| outcome(&io::Error::from_raw_os_error(code), true);
        assert_eq!(of(libc::ECONNREFUSED), Outcome::Refused);
        assert_eq!(of(libc::ECONNRESET), Outcome::Reset);
        assert_eq!(of(libc::ETIMEDOUT), Outcome::Silent { connected: true });
        assert_eq!(of(libc::EMSGSIZE), Outcome::TooBig { mtu: None });
        for code in [libc::EHOSTUNREACH, libc::ENETUNREACH, libc::EACCES, libc::EPERM] {
            assert!(matches!(of(code), Outcome::Unreachable { .. }), "{code}");
        }
        assert!(matches!(of(libc::EMFILE), Outcome::Failed { .. }));
    }
}
