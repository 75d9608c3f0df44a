use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use cni::code;
use cni::delegate::{self, Cause};
use cni::json::Invalid;

/// Why no address was allocated, or none released.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration, `CNI_ARGS` or another variable cannot work.
    #[error("{}", .0.msg)]
    Request(#[from] cni::Error),
    /// The executed IPAM plugin failed.
    #[error("IPAM {}{}", .0, if matches!(.0.cause, Cause::NotInstalled(_)) { " or change ipam.type" } else { "" })]
    Delegate(#[from] delegate::Error),
    /// A file or directory of the allocator's, or one it reads.
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
    /// The CNI error code.
    pub fn code(&self) -> u32 {
        match self {
            Self::Request(error) => error.code,
            Self::Delegate(error) => error.code(code::ALLOCATION),
            Self::Io { .. } => code::IO,
            Self::Locked { .. } => code::TRY_AGAIN,
            Self::Exhausted(_) => code::UNAVAILABLE,
            Self::Range { .. } | Self::Unused(_) | Self::NotFound { .. } => code::ALLOCATION,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let details = match &error {
            Error::Request(error) => &error.details,
            Error::Delegate(error) => error.details(),
            _ => "",
        };
        Self { code: error.code(), msg: error.to_string(), details: details.to_owned() }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Request(invalid.into())
    }
}

fn remedy(source: &io::Error) -> &'static str {
    match (source.kind(), source.raw_os_error()) {
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => "; free space on that file system",
        (io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied, _) => {
            "; set ipam.dataDir to a directory that can be written"
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
