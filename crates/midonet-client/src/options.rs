use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where MidoNet's REST API is and how to talk to it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The base URL, such as `https://midonet.example:8443/midonet-api`. It has no user, password or query. With
    /// `http`, everybody on the path reads the password.
    pub url: String,
    /// The user that logs in.
    pub user: String,
    /// Its password.
    pub password: Password,
    /// The project (`X-Auth-Project`) that it logs in to.
    pub project: String,
    /// Whose certificate the server's has to be signed by.
    pub trust: Trust,
    /// How long is waited.
    pub deadlines: Deadlines,
    /// How much is sent at once.
    pub limits: Limits,
}

impl Options {
    /// The given server, user and project, with certificates verified by the system's authorities.
    pub fn new(
        url: impl Into<String>,
        user: impl Into<String>,
        password: Password,
        project: impl Into<String>,
    ) -> Self {
        Self {
            url: url.into(),
            user: user.into(),
            password,
            project: project.into(),
            trust: Trust::System,
            deadlines: Deadlines::default(),
            limits: Limits::default(),
        }
    }
}

/// Why the options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The URL cannot be used. It is not repeated: it may have a password in it.
    #[error("MidoNet's URL {0}; give one like https://midonet.example:8443/midonet-api")]
    Url(&'static str),
    /// A user, password or project cannot be sent.
    #[error("the {0} for MidoNet has a character that cannot be sent in a header; correct it")]
    Header(&'static str),
    /// No certificate authority was found.
    #[error(
        "there are no certificate authorities in {place}: {reason}; give a file with those of MidoNet's REST API"
    )]
    Authorities {
        /// The file, or the system.
        place: String,
        /// Why.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// A password. It is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// This password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(not shown)")
    }
}

/// Whose certificate the server's has to be signed by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// One of the system's authorities.
    #[default]
    System,
    /// One of the certificates in this PEM file, and no other.
    File(PathBuf),
    /// Anybody's: whoever is on the path can read the password and change the network. For tests.
    Anybody,
}

/// How long is waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For an answer to a request, with everything before it. MidoNet itself waits 30 s for its database.
    pub request: Duration,
    /// For a turn (see [`Limits`]) while MidoNet is out of reach.
    pub turn: Duration,
}

impl Default for Deadlines {
    /// 5, 35 and 60 seconds.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(35),
            turn: Duration::from_secs(60),
        }
    }
}

/// How much is sent at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many operations (a push is one) run at a time, at least 1. MidoNet becomes no faster by more than 8.
    pub concurrency: usize,
    /// After MidoNet was found out of reach nothing is sent for this long, doubled each time.
    pub pause_min: Duration,
    /// The longest such pause.
    pub pause_max: Duration,
}

impl Default for Limits {
    /// 8 operations; pauses of 1 to 30 seconds.
    fn default() -> Self {
        Self { concurrency: 8, pause_min: Duration::from_secs(1), pause_max: Duration::from_secs(30) }
    }
}
