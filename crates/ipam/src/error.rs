use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::json::Invalid;

/// The CNI error code, of those left to plugins, for "no address".
pub const ALLOCATION: u32 = 100;

/// Why there is no address, or it could not be given back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot work.
    #[error("{0}")]
    Config(String),
    /// `CNI_ARGS`, `CNI_PATH` or another variable cannot work.
    #[error("{0}")]
    Args(String),
    /// A file or folder of the allocator's, or one it reads.
    #[error("cannot {action} {}: {source}{}", .path.display(), remedy(.source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process holds the lock for too long.
    #[error(
        "{} has been locked by another process for {seconds} seconds: find it with `fuser {}`",
        .path.display(), .path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long this process waited.
        seconds: u64,
    },
    /// An address set could not be served; host-local's words.
    #[error("failed to allocate for range {index}: {reason}")]
    Range {
        /// Which of the configuration's range sets.
        index: usize,
        /// Why.
        reason: Refusal,
    },
    /// Addresses were asked for that are in no range set, or in one that has given its address already.
    #[error("failed to allocate all requested IPs: {}", list(.0))]
    Unused(Vec<IpAddr>),
    /// CHECK: the attachment has no address.
    #[error("no address in {} is reserved for container {container_id}, interface {ifname}", .directory.display())]
    NotFound {
        /// Where reservations are.
        directory: PathBuf,
        /// The attachment's container.
        container_id: String,
        /// The attachment's interface.
        ifname: String,
    },
    /// STATUS: a range set has no free address left.
    #[error("no IP addresses available in range set: {0}")]
    Exhausted(String),
    /// The other IPAM plugin reported an error.
    #[error("IPAM plugin {plugin}: {msg}")]
    Delegate {
        /// Its name.
        plugin: String,
        /// The error's code, as it came.
        code: u32,
        /// The error's message.
        msg: String,
        /// The error's details; may be empty.
        details: String,
    },
    /// The other IPAM plugin could not be run, or answered nonsense.
    #[error("IPAM plugin {plugin}: {what}")]
    Exec {
        /// Its name.
        plugin: String,
        /// What happened, and what to do.
        what: String,
    },
    /// The other IPAM plugin did not answer.
    #[error("IPAM plugin {plugin} did not finish {verb} within {seconds} seconds and was killed")]
    Timeout {
        /// Its name.
        plugin: String,
        /// What it was asked.
        verb: &'static str,
        /// The deadline.
        seconds: u64,
    },
}

/// Why a range set gave no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The attachment has one already.
    #[error(
        "{address} has been allocated to {container_id}, duplicate allocation is not allowed; send DEL first"
    )]
    Duplicate {
        /// Which.
        address: IpAddr,
        /// Whose.
        container_id: String,
    },
    /// All are reserved.
    #[error("no IP addresses available in range set: {0}; delete Pods or widen the range")]
    Exhausted(String),
    /// The gateway's address was asked for.
    #[error("requested ip {0} is subnet's gateway")]
    Gateway(IpAddr),
    /// The address that was asked for is reserved.
    #[error("requested IP address {address} is not available in range set {set}")]
    Reserved {
        /// Which.
        address: IpAddr,
        /// The range set.
        set: String,
    },
}

impl Error {
    /// The code for the CNI error.
    pub fn code(&self) -> u32 {
        match self {
            Self::Args(_) => 4,
            Self::Io { .. } => 5,
            Self::Config(_) => 7,
            Self::Locked { .. } | Self::Timeout { .. } => 11,
            Self::Exhausted(_) => 50,
            Self::Range { .. } | Self::Unused(_) | Self::NotFound { .. } | Self::Exec { .. } => ALLOCATION,
            Self::Delegate { code, .. } => *code,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Config(invalid.to_string())
    }
}

fn remedy(source: &io::Error) -> &'static str {
    match (source.kind(), source.raw_os_error()) {
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => "; make room on that file system",
        (io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied, _) => {
            "; set ipam.dataDir to a folder that can be written"
        }
        (_, Some(libc::EMFILE | libc::ENFILE)) => {
            "; raise the number of files that the container runtime may open (LimitNOFILE)"
        }
        _ => "",
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
}
