//! Why a request to an API server did not succeed, in words for the people who run the node: the URL, the cause
//! and a remedy. The cause is found by the types of the errors; no text of theirs is taken apart for it, but for
//! that of a failed name lookup, which has no type of its own.

mod cause;
mod find;
mod tls;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client::{CONNECT, PONG};
use crate::place::Place;
use crate::task::Task;
use crate::{Reason, Verb};
use cause::Cause;
use find::cause;

pub(crate) use cause::quote;
pub(crate) use find::unusable;

/// No server makes us wait longer by asking for it.
const PATIENCE: Duration = Duration::from_secs(300);

/// A request to the API server did not succeed. [`Display`](fmt::Display) gives problem and remedy.
///
/// The texts hold nothing that differs from one try to the next: who compares them logs each cause once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    place: Arc<Place>,
    task: Box<Task>,
    cause: Cause,
    after: Option<Duration>,
}

impl Fault {
    pub(crate) fn new(place: &Arc<Place>, task: Task, error: &kube::Error) -> Self {
        let after = match error {
            kube::Error::Api(status) => status.details.as_ref().map(|details| details.retry_after_seconds),
            _ => None,
        };
        let after = after.filter(|seconds| *seconds > 0);
        let after = after.map(|seconds| Duration::from_secs(seconds.into()).min(PATIENCE));
        Self { after, ..Self::because(place, task, cause(error)) }
    }

    pub(crate) fn no_answer(place: &Arc<Place>, task: Task, limit: Duration) -> Self {
        Self::because(place, task, Cause::NoAnswer(limit))
    }

    pub(crate) fn forbidden(place: &Arc<Place>, task: Task, message: &str) -> Self {
        Self::because(place, task, Cause::Forbidden(quote(message)))
    }

    pub(crate) fn unusable(place: &Arc<Place>, task: Task, why: &str) -> Self {
        Self::because(place, task, Cause::Answer(why.to_owned()))
    }

    pub(crate) fn other_version(place: &Arc<Place>, task: Task, has: &str, needed: &'static str) -> Self {
        Self::because(place, task, Cause::Version(quote(has), needed))
    }

    fn because(place: &Arc<Place>, task: Task, cause: Cause) -> Self {
        Self { place: Arc::clone(place), task: Box::new(task), cause, after: None }
    }

    /// How long the server asked to wait, within reason.
    pub fn retry_after(&self) -> Option<Duration> {
        self.after
    }

    /// Which kind of error it is, for counting.
    pub fn reason(&self) -> Reason {
        match &self.cause {
            Cause::Name(_)
            | Cause::Refused
            | Cause::Unreachable(_)
            | Cause::NoConnection
            | Cause::Lost
            | Cause::Certificate(..)
            | Cause::Tls(_) => Reason::Unreachable,
            Cause::NoAnswer(_) => Reason::Timeout,
            Cause::Unauthorized(_) => Reason::Unauthorized,
            Cause::Forbidden(_) => Reason::Forbidden,
            Cause::Status(429, ..) => Reason::Throttled,
            Cause::Status(500.., ..) => Reason::Server,
            Cause::Credentials(_)
            | Cause::Status(..)
            | Cause::NoPath(_)
            | Cause::Answer(_)
            | Cause::Version(..) => Reason::Other,
        }
    }

    /// What was asked for, for counting.
    pub(crate) fn verb(&self) -> Verb {
        self.task.verb()
    }

    /// The server no longer has the version that was asked for.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.cause, Cause::Status(410, ..))
    }

    /// The server has no state of that version: too old, too new or none of its versions.
    pub(crate) fn refuses_version(&self) -> bool {
        matches!(self.cause, Cause::Status(400 | 410 | 504, ..))
    }

    /// The server does not know the kind that was asked for.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self.cause, Cause::Status(404, ..) | Cause::NoPath(_))
    }

    /// There is no such object, or the server does not know the kind.
    pub fn is_missing(&self) -> bool {
        self.is_unknown()
    }

    /// The object is there already, or was changed in between.
    pub fn is_conflict(&self) -> bool {
        matches!(self.cause, Cause::Status(409, ..))
    }

    /// The server does not accept the object as it is: the same will not help.
    pub fn is_invalid(&self) -> bool {
        matches!(self.cause, Cause::Status(400 | 413 | 422, ..))
    }

    /// The server does not allow what was asked for.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self.cause, Cause::Forbidden(_))
    }

    /// Whether a setting is wrong: the URL, the certificate authority or the credentials. Otherwise something
    /// is not there: the server, a route to it, a permission.
    pub fn is_setting(&self) -> bool {
        match &self.cause {
            Cause::Name(_)
            | Cause::Certificate(..)
            | Cause::Tls(_)
            | Cause::Credentials(_)
            | Cause::Unauthorized(_) => true,
            Cause::Refused
            | Cause::Unreachable(_)
            | Cause::NoConnection
            | Cause::NoAnswer(_)
            | Cause::Lost
            | Cause::Forbidden(_)
            | Cause::Status(..)
            | Cause::NoPath(_)
            | Cause::Answer(_)
            | Cause::Version(..) => false,
        }
    }

    /// What is wrong, with the server's URL.
    pub fn problem(&self) -> String {
        let (server, task) = (format!("the API server {}", self.place.url), &self.task);
        match &self.cause {
            Cause::Name(why) => format!("cannot reach {server}: its name does not resolve: {why}"),
            Cause::Refused => format!("cannot reach {server}: connection refused"),
            Cause::Unreachable(why) => format!("cannot reach {server}: {why}"),
            Cause::NoConnection => format!("cannot reach {server}: no connection within {CONNECT:?}"),
            Cause::NoAnswer(limit) => format!("{server} gives no answer within {limit:?}"),
            Cause::Lost => format!(
                "lost the connection to {server}: it broke, or was silent and did not answer a ping within {PONG:?}"
            ),
            Cause::Certificate(what, _) => format!("cannot trust {server}: its certificate {what}"),
            Cause::Tls(why) => format!("cannot speak TLS with {server}: {why}"),
            Cause::Credentials(why) => format!("there are no credentials for {server}: {why}"),
            Cause::Unauthorized(message) => {
                format!("{server} does not accept the credentials: 401 Unauthorized: {message}")
            }
            Cause::Forbidden(message) => {
                format!("{server} does not allow to {task}: 403 Forbidden: {message}")
            }
            Cause::Status(code, reason, message) => {
                format!("{server} does not {task}: {code} {reason}: {message}")
            }
            Cause::NoPath(why) | Cause::Answer(why) => {
                format!("{server} gives no usable answer to \"{task}\": {why}")
            }
            Cause::Version(has, needed) => {
                format!(
                    "{server} has {} in version {has} and not in {needed}: none of them counts",
                    task.resource
                )
            }
        }
    }

    /// What helps.
    pub fn remedy(&self) -> String {
        let credentials = &self.place.credentials;
        match &self.cause {
            Cause::Name(_) => "correct the URL, or make this node resolve the name".into(),
            Cause::Refused => "start the API server, or correct the address and port in the URL".into(),
            Cause::Unreachable(_) => "check this node's routes to it, or correct the URL".into(),
            Cause::NoConnection => {
                "check for a firewall on the path that drops the packets, or correct the URL".into()
            }
            Cause::Lost => {
                "check this node's routes to it, and firewalls and load balancers on the path".into()
            }
            Cause::Status(429, ..) => {
                "check whether the API server is overloaded, or its API Priority and Fairness gives these requests too \
                 little (metric apiserver_flowcontrol_rejected_requests_total)"
                    .into()
            }
            Cause::NoAnswer(_) | Cause::Status(..) => "see the API server's log".into(),
            Cause::Certificate(_, remedy) => remedy.clone(),
            Cause::Tls(_) => "see that the URL is an API server's and that its scheme fits".into(),
            Cause::Credentials(_) => format!("correct {credentials}"),
            Cause::Unauthorized(_) => format!("renew the token or client certificate of {credentials}"),
            Cause::Forbidden(_) => format!(
                "grant it to the user of {credentials}: apply the ClusterRole and its binding of the manifest in deploy/ \
                 that this was installed by"
            ),
            Cause::NoPath(_) | Cause::Answer(_) => "see that the URL is an API server's".into(),
            Cause::Version(_, needed) => {
                format!("have its CustomResourceDefinition serve {needed}, or upgrade this agent")
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.problem(), self.remedy())
    }
}

impl Error for Fault {}

#[cfg(test)]
mod tests;
