//! Why a request did not succeed.

use std::time::Duration;

/// So much of what somebody else wrote is repeated, in characters.
const QUOTE: usize = 400;

/// Why a request did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// The URL's name has no address.
    Name(String),
    Refused,
    /// No route, a reset and the like: the kernel's words.
    Unreachable(String),
    NoConnection,
    NoAnswer(Duration),
    /// The connection broke, or it was given up since a ping was not answered: the library does not tell which.
    Lost,
    /// What is wrong with the server's certificate, and the remedy.
    Certificate(String, String),
    Tls(String),
    /// There are none to send.
    Credentials(String),
    Unauthorized(String),
    Forbidden(String),
    /// Another HTTP status: code, Kubernetes' reason, the server's message.
    Status(u16, String, String),
    /// The server has no such path: a Go server's answer, an API server's among them.
    NoPath(String),
    /// The answer was cut off, or is not Kubernetes'.
    Answer(String),
    /// The server has objects in this version, and not in the other one, which is needed.
    Version(String, &'static str),
}

/// Somebody else's text on one line, and not too much of it.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(QUOTE).collect();
    if text.chars().nth(QUOTE).is_some() {
        quoted.push_str("...");
    }
    quoted
}
