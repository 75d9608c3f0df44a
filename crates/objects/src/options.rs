//! How an API server is found, and why it cannot be used.

use std::path::PathBuf;

use crate::Cache;

/// How an API server is found.
#[derive(Debug, Clone, Default)]
pub struct ApiOptions {
    /// A kubeconfig file; without it, the service account of the Pod this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// The server's own URL, instead of the one found by the above.
    pub server: Option<String>,
    /// Where the last known objects are cached, for a start while the server is away.
    pub cache: Option<Cache>,
}

/// The source cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The file cannot be read or used.
    #[error("cannot use the kubeconfig {}: {reason}", .path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// This is no Pod, or it has no service account.
    #[error("cannot use the Pod's service account: {0}")]
    ServiceAccount(#[from] kube::config::InClusterError),
    /// The explicit address is no URL.
    #[error("\"{0}\" is no URL of an API server")]
    Url(String),
    /// The certificates or tokens cannot be used.
    #[error("cannot make a client for the API server {url} from {credentials}: {reason}")]
    Client {
        /// The server's URL.
        url: String,
        /// Where the certificates or tokens are from.
        credentials: String,
        /// Why not.
        reason: String,
    },
    /// There is no such directory.
    #[error("cannot watch the directory {}: {reason}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl ConnectError {
    /// What helps.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Kubeconfig { .. } => "correct the file, or the setting that names it",
            Self::ServiceAccount(_) => "outside of Kubernetes give --kubeconfig or --manifests",
            Self::Url(_) => "write one like https://192.0.2.10:6443",
            Self::Client { .. } => "correct the certificates, keys and tokens there",
            Self::Directory { .. } => "make the directory, or correct the setting that names it",
        }
    }
}
