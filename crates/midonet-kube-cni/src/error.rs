//! What the runtime is told when something failed.

use serde_json::{Value, json};

use crate::version::Version;

/// Codes of the specification, and of the reference implementation where the specification has none.
pub mod code {
    /// The configuration's version is not spoken here.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// The configuration asks for what this plugin cannot do.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// There is no such container, and nothing of it to clean up.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// The environment is incomplete or cannot work.
    pub const ENVIRONMENT: u32 = 4;
    /// Reading or writing failed.
    pub const IO: u32 = 5;
    /// The configuration is no JSON.
    pub const DECODE: u32 = 6;
    /// The configuration cannot work.
    pub const CONFIG: u32 = 7;
    /// `CNI_NETNS` cannot work (the reference implementation's).
    pub const NETNS: u32 = 8;
    /// It may work later.
    pub const TRY_AGAIN: u32 = 11;
    /// STATUS: no ADD can be served.
    pub const UNAVAILABLE: u32 = 50;
    /// STATUS: nor may attached containers reach everything.
    pub const LIMITED: u32 = 51;
    /// Our own: the kernel refused, or differs from what CHECK expects.
    pub const PLUMBING: u32 = 101;
    /// Our own: the node agent refused.
    pub const AGENT: u32 = 102;
    /// Our own: the attachment is there already, or the Pod has another.
    pub const ATTACHED: u32 = 103;
    /// Our own: the addresses that IPAM gave cannot be used.
    pub const ADDRESSES: u32 = 104;
    /// A bug in this plugin (the reference implementation's).
    pub const INTERNAL: u32 = 999;
}

/// A CNI error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{msg}{}{details}", if .details.is_empty() { "" } else { ": " })]
pub struct Error {
    /// See [`code`].
    pub code: u32,
    /// What failed, on what, why, and what to do.
    pub msg: String,
    /// More of it; often empty.
    pub details: String,
}

impl Error {
    /// An error that needs no details.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// As the specification writes it.
    pub fn to_json(&self, version: Version) -> Value {
        let mut value = json!({"cniVersion": version.as_str(), "code": self.code, "msg": self.msg});
        if let Some(object) = value.as_object_mut().filter(|_| !self.details.is_empty()) {
            object.insert("details".into(), json!(self.details));
        }
        value
    }
}

impl From<ipam::Error> for Error {
    fn from(error: ipam::Error) -> Self {
        let code = error.code();
        match &error {
            ipam::Error::Delegate { details, .. } => {
                Self { code, msg: error.to_string(), details: details.clone() }
            }
            _ => Self::new(code, error.to_string()),
        }
    }
}

impl From<plumbing::Error> for Error {
    fn from(error: plumbing::Error) -> Self {
        Self::new(code::PLUMBING, error.to_string())
    }
}

/// Everything that is wrong with a request, to be told in one go.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Error>);

impl Problems {
    /// One more.
    pub(crate) fn add(&mut self, code: u32, msg: impl Into<String>) {
        self.0.push(Error::new(code, msg));
    }

    /// The value, or one more problem.
    pub(crate) fn take<T, E: Into<Error>>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.0.push(error.into())).ok()
    }

    /// The code is that of the first problem.
    pub(crate) fn into_result(self) -> Result<(), Error> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let msg = self.0.iter().map(|e| e.msg.as_str()).collect::<Vec<_>>().join("; ");
        Err(Error { code: first.code, msg, details: first.details.clone() })
    }
}

impl From<ipam::json::Invalid> for Error {
    fn from(invalid: ipam::json::Invalid) -> Self {
        Self::new(code::CONFIG, invalid.to_string())
    }
}
