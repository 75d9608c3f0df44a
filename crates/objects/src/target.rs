//! What objects are read from.

use std::fmt;
use std::path::PathBuf;

use crate::Cache;
use crate::server::Server;

/// What it is.
#[derive(Clone)]
pub(crate) enum Target {
    Api(Server, Option<Cache>),
    Directory(PathBuf),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(server, _) => write!(f, "Api({})", server.place.url),
            Self::Directory(path) => write!(f, "Directory({})", path.display()),
        }
    }
}
