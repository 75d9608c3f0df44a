use std::fmt;
use std::io;

/// An operation that failed: what was tried, on what object, and why it failed.
#[derive(Debug)]
pub struct Error {
    what: String,
    source: io::Error,
    /// The kernel's explanation (NLMSGERR_ATTR_MSG), if there was one.
    hint: Option<String>,
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(what: impl Into<String>, source: io::Error) -> Self {
        Self { what: what.into(), source, hint: None }
    }

    pub(crate) fn with_hint(what: impl Into<String>, source: io::Error, hint: Option<String>) -> Self {
        Self { what: what.into(), source, hint }
    }

    pub(crate) fn other(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(what, io::Error::other(why.into()))
    }

    /// The kernel's error number, for callers that treat some errors as success.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    pub(crate) fn is(&self, errno: i32) -> bool {
        self.errno() == Some(errno)
    }

    /// Whether the object exists already.
    pub fn is_exists(&self) -> bool {
        self.is(libc::EEXIST)
    }

    /// Whether the object's state does not allow the operation.
    pub fn is_busy(&self) -> bool {
        self.is(libc::EBUSY)
    }

    /// Whether the object does not exist.
    pub fn is_missing(&self) -> bool {
        self.is(libc::ENODEV) || self.is(libc::ENOENT) || self.is(libc::ESRCH)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.what, self.source)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

// The cause is part of the message: a chain of errors would repeat it.
impl std::error::Error for Error {}
