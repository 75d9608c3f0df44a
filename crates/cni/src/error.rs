//! Errors and their codes.

use serde_json::{Value, json};

use crate::version::Version;

/// Codes of the specification, and of the reference implementation where the specification has none.
pub mod code {
    /// The configuration's version is not spoken here.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// The configuration asks for what this plugin cannot do.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// There is no such container: nothing has to be cleaned up.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// The environment is incomplete or cannot work.
    pub const ENVIRONMENT: u32 = 4;
    /// Reading or writing failed.
    pub const IO: u32 = 5;
    /// The configuration is no JSON.
    pub const DECODE: u32 = 6;
    /// The configuration cannot work.
    pub const CONFIG: u32 = 7;
    /// `CNI_NETNS` cannot work (the reference implementation's code).
    pub const NETNS: u32 = 8;
    /// It may work later.
    pub const TRY_AGAIN: u32 = 11;
    /// STATUS: no ADD can be served.
    pub const UNAVAILABLE: u32 = 50;
    /// STATUS: no ADD can be served, and attached containers may have limited connectivity.
    pub const LIMITED: u32 = 51;
    /// Our own: there is no address.
    pub const ALLOCATION: u32 = 100;
    /// Our own: the kernel refused, or differs from what CHECK expects.
    pub const PLUMBING: u32 = 101;
    /// Our own: the node agent refused.
    pub const AGENT: u32 = 102;
    /// Our own: the attachment is there already, or the Pod has another.
    pub const ATTACHED: u32 = 103;
    /// Our own: the addresses that IPAM gave cannot be used.
    pub const ADDRESSES: u32 = 104;
    /// A bug in this plugin (the reference implementation's code).
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

/// Everything that is wrong with a request, to be reported in one error.
#[derive(Debug, Default)]
pub struct Problems(Vec<Error>);

impl Problems {
    /// One more.
    pub fn add(&mut self, code: u32, msg: impl Into<String>) {
        self.0.push(Error::new(code, msg));
    }

    /// The value, or one more problem.
    pub fn take<T, E: Into<Error>>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.0.push(error.into())).ok()
    }

    /// Success if there are no problems, else one error with the code of the first.
    ///
    /// # Errors
    /// All problems in one.
    pub fn into_result(self) -> Result<(), Error> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let msg = self.0.iter().map(|e| e.msg.as_str()).collect::<Vec<_>>().join("; ");
        Err(Error { code: first.code, msg, details: first.details.clone() })
    }
}
