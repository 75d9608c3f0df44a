//! Why a request has no answer. The cause is found by the types of the errors; no text of theirs is taken apart for it,
//! but for that of a failed name lookup, which has no type of its own.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::Duration;

use crate::error::quote;

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    #[error("the server's name does not resolve: {0}")]
    Name(String),
    #[error("connection refused")]
    Refused,
    #[error("{0}")]
    Unreachable(String),
    #[error("no connection in time")]
    NoConnection,
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    /// There was a connection.
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("TLS fails: {0}")]
    Tls(String),
    #[error("the answer is longer than {} MiB", .0 >> 20)]
    TooLong(usize),
    #[error("the request cannot be made: {0}")]
    Request(&'static str),
}

impl Cause {
    /// What helps.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Name(_) => "correct MidoNet's URL, or make its name resolve here",
            Self::Refused => "start MidoNet's API server, or correct its URL",
            Self::Unreachable(_) | Self::NoConnection => {
                "check routes and firewalls on the path, or correct MidoNet's URL"
            }
            Self::NoAnswer(_) | Self::Lost(_) => {
                "see the log of MidoNet's API server, and whether its ZooKeeper runs"
            }
            Self::Tls(_) => {
                "give the certificate authority of MidoNet's API server, a URL that its certificate is for, and a scheme \
                 that fits"
            }
            Self::TooLong(_) | Self::Request(_) => "see that the URL is that of MidoNet's REST API",
        }
    }
}

/// The cause of an error of the HTTP client; `connecting`: there was no connection yet.
pub(crate) fn cause(error: &(dyn Error + 'static), connecting: bool) -> Cause {
    if let Some(error) = causes(error).find_map(|error| error.downcast_ref::<rustls::Error>()) {
        return Cause::Tls(tls(error));
    }
    let last = quote(&causes(error).last().map(ToString::to_string).unwrap_or_default());
    if !connecting {
        return Cause::Lost(last);
    }
    let Some(io) = causes(error).filter_map(|error| error.downcast_ref::<io::Error>()).last() else {
        return Cause::Unreachable(last);
    };
    match io.kind() {
        io::ErrorKind::ConnectionRefused => Cause::Refused,
        // Without the kernel's number it is our own limit.
        io::ErrorKind::TimedOut if io.raw_os_error().is_none() => Cause::NoConnection,
        io::ErrorKind::UnexpectedEof => Cause::Unreachable("the server closed the connection".into()),
        kind if io.raw_os_error().is_some() => Cause::Unreachable(kind.to_string()),
        // The standard library's own words; the kind is not public.
        _ => match last.strip_prefix("failed to lookup address information: ") {
            Some(why) => Cause::Name(why.to_owned()),
            None => Cause::Unreachable(last),
        },
    }
}

fn tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidMessage(_) => "the server answers something else than TLS".into(),
        rustls::Error::AlertReceived(alert) => format!("the server ended the handshake: {alert:?}"),
        error => quote(&error.to_string()),
    }
}

/// The causes of an error, the outermost first. The error in an [`io::Error`] is not its source, but what it wraps.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}
