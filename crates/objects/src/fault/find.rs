//! What caused an error of the HTTP client, found by the types of the errors in it.

use std::error::Error;
use std::io;
use std::iter::successors;

use kube::client::AuthError;

use super::cause::{Cause, quote};
use super::tls;

/// What an API server says, in plain text, of the path of a kind that it does not know.
const NO_PATH: &str = "404 page not found";

pub(super) fn cause(error: &kube::Error) -> Cause {
    match error {
        kube::Error::Api(status) => {
            let message = quote(&status.message);
            match status.code {
                401 => Cause::Unauthorized(message),
                403 => Cause::Forbidden(message),
                404 if status.message == NO_PATH => Cause::NoPath(format!("HTTP status 404: {message}")),
                // What is no Status of Kubernetes' has a sentence of kube's for a reason.
                code if status.reason.contains(' ') => {
                    Cause::Answer(format!("HTTP status {code}: {message}"))
                }
                code => Cause::Status(code, quote(&status.reason), message),
            }
        }
        kube::Error::Auth(error) => Cause::Credentials(credentials(error)),
        error => connection(error).unwrap_or_else(|| Cause::Answer(last(error))),
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

/// Why no client can be made of the certificates, keys and tokens.
pub(crate) fn unusable(error: &kube::Error) -> String {
    match causes(error).find_map(|error| error.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(error)) => {
            format!("the certificate {}", tls::certificate(error).0)
        }
        _ => last(error),
    }
}

fn last(error: &kube::Error) -> String {
    quote(&causes(error).last().map(ToString::to_string).unwrap_or_default())
}

fn connection(error: &kube::Error) -> Option<Cause> {
    if let Some(error) = causes(error).find_map(|error| error.downcast_ref::<rustls::Error>()) {
        return Some(tls::cause(error));
    }
    if causes(error).filter_map(|error| error.downcast_ref::<h2::Error>()).any(is_lost) {
        return Some(Cause::Lost);
    }
    let io = causes(error).filter_map(|error| error.downcast_ref::<io::Error>()).last()?;
    let text = io.to_string();
    Some(match io.kind() {
        io::ErrorKind::ConnectionRefused => Cause::Refused,
        // Without the kernel's number it is our own limit.
        io::ErrorKind::TimedOut if io.raw_os_error().is_none() => Cause::NoConnection,
        _ if io.raw_os_error().is_some() => Cause::Unreachable(io.kind().to_string()),
        io::ErrorKind::UnexpectedEof => Cause::Unreachable("it closed the connection".into()),
        // The standard library's own words; the kind is not public.
        _ => match text.strip_prefix("failed to lookup address information: ") {
            Some(why) => Cause::Name(why.to_owned()),
            None => return None,
        },
    })
}

/// Whether it is the connection's end, and not that of one request on it.
fn is_lost(error: &h2::Error) -> bool {
    error.is_io() || error.is_go_away()
}

fn credentials(error: &AuthError) -> String {
    match error {
        AuthError::ReadTokenFile(error, path) => {
            format!("cannot read the token in {}: {error}", path.display())
        }
        AuthError::AuthExecRun { cmd, out } => {
            let said = String::from_utf8_lossy(&out.stderr);
            format!("the command {cmd} ended with {}: {}", out.status, quote(said.trim()))
        }
        error => quote(&error.to_string()),
    }
}
