use std::fmt;

/// So much of what somebody else wrote is repeated, in characters.
const QUOTE: usize = 300;

/// A request to MidoNet did not do what it was to do. The text says which request, what is wrong, and what helps. It
/// holds no secrets, and nothing that differs from one try to the next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{method} {path}: {problem}; {remedy}")]
pub struct Error {
    pub(crate) class: Class,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) status: Option<u16>,
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

impl Error {
    /// Which kind of error it is: what to do now.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The HTTP method.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The path below the base URL.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.status
    }
}

/// What kind of error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// MidoNet is out of reach, does not answer in time or says that it cannot serve (502, 503, 504). Nothing is sent
    /// for a while, see [`crate::Limits`]. Whoever waits for that need not back off more.
    Unreachable,
    /// MidoNet does not accept the user, password or project. Nothing is sent for a while.
    Credentials,
    /// What the resource belongs to or names is not there, yet: try again later.
    Missing,
    /// Something else in MidoNet is in the way, such as another resource of the name: try again later.
    Conflict,
    /// MidoNet finds the content wrong, or it is incomplete: only other content helps.
    Invalid,
    /// Anything else, such as an error inside of MidoNet: try again later.
    Failed,
}

impl Class {
    /// Whether it concerns every request, and not this resource alone.
    pub fn is_general(self) -> bool {
        matches!(self, Self::Unreachable | Self::Credentials)
    }

    /// A word for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Credentials => "credentials",
            Self::Missing => "missing",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Somebody else's text on one line, and not too much of it.
pub(crate) fn quote(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    let mut quoted: String = line.chars().take(QUOTE).collect();
    if quoted.len() < line.len() {
        quoted.push_str("...");
    }
    quoted
}
