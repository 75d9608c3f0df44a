//! What can go wrong.

use std::io;
use std::path::PathBuf;

use ipnet::IpNet;

/// A failure of the datapath: what, on which object, why, and what helps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The pin directory is not on a BPF file system, so nothing can be pinned in it.
    #[error("{path} is not on a bpf file system: mount one, with `mount -t bpf bpf {}`, or choose another directory with --bpf-dir",
        mount.display(), path = path.display())]
    NotBpffs {
        /// The pin directory.
        path: PathBuf,
        /// The deepest directory of it that exists.
        mount: PathBuf,
    },
    /// The pin directory, or one above it, is not root's alone.
    #[error("{} {reason}, who could replace what decides about Pods' packets: make it root's alone (`chown root` and \
         `chmod go-w`), or choose another directory with --bpf-dir", path.display())]
    NotRoots {
        /// The directory.
        path: PathBuf,
        /// Whose it is, or who can write to it.
        reason: String,
    },
    /// A file operation in the pin directory.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A pinned map is not of the shape that its name and version promise.
    #[error(
        "pinned map {} has another shape ({found}) than this program's ({wanted}): it was not made by this \
         program; stop the agent, remove the pin, and start the agent again",
        path.display()
    )]
    Shape {
        /// The map's pin.
        path: PathBuf,
        /// What the kernel says of it.
        found: String,
        /// What it must be.
        wanted: String,
    },
    /// A build of the agent other than this one left a map that this one cannot read.
    #[error(
        "cannot migrate the map that another version of the agent left at {}: {reason}; go back to that version, or \
         stop the agent, remove the pin and start it again: the Pods that run here now then have to be made anew",
        path.display()
    )]
    Migrate {
        /// The map's pin.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel does not take the object or one of its programs.
    #[error("cannot load the eBPF {what}: {reason} (needs CAP_BPF, CAP_NET_ADMIN and Linux 6.1 or later)")]
    Load {
        /// The object, or a program's name.
        what: &'static str,
        /// The kernel's or the loader's words.
        reason: String,
    },
    /// A program could not be pinned or attached.
    #[error("cannot {action}: {reason}")]
    Attach {
        /// What was tried, on what.
        action: String,
        /// The kernel's or the loader's words.
        reason: String,
    },
    /// There is no such interface in this network namespace.
    #[error("no interface with index {ifindex} in this network namespace: {source}")]
    NoInterface {
        /// The index asked for.
        ifindex: u32,
        /// Why it was not found.
        source: io::Error,
    },
    /// Reading or writing a map.
    #[error("cannot {action} map {map}: {reason}")]
    Map {
        /// What was tried.
        action: &'static str,
        /// The map's name.
        map: &'static str,
        /// The kernel's or the loader's words.
        reason: String,
    },
    /// A map has no space for another entry.
    #[error("no space for {what}: all {limit} entries are in use; raise {setting} and restart the agent")]
    Full {
        /// What was to be added.
        what: String,
        /// How many fit.
        limit: u32,
        /// The agent's flag that sets the size.
        setting: &'static str,
    },
    /// Policy that does not fit. What was in force before stays.
    #[error(
        "no space for policy: it needs {needed} entries of table {table}, which has {limit}; raise {setting} and restart \
         the agent, or have fewer or simpler policies"
    )]
    PolicyFull {
        /// The table.
        table: &'static str,
        /// How many entries it would have.
        needed: u64,
        /// How many fit.
        limit: u32,
        /// The agent's flag that sets the size.
        setting: &'static str,
    },
    /// Policy that cannot be right.
    #[error("cannot apply policy: {0}")]
    Policy(String),
    /// A port that cannot be bound as it is.
    #[error("cannot bind interface {ifindex}: {reason}")]
    Port {
        /// The port's interface.
        ifindex: u32,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// A configuration that cannot be right.
    #[error("cannot configure the datapath: {0}")]
    Config(String),
    /// A route that cannot be right.
    #[error("cannot route {prefix}: {reason}")]
    Route {
        /// The route's prefix.
        prefix: IpNet,
        /// What is wrong with it.
        reason: String,
    },
    /// A node's address that cannot be right.
    #[error("cannot take {address} for a node's address: {reason}")]
    Node {
        /// The address.
        address: std::net::IpAddr,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no space for another entry until what was in use a moment ago is free.
    #[error("no space for {what} until what was in use a moment ago is free: try again in {after:?}")]
    Busy {
        /// What was to be added.
        what: String,
        /// When there is space.
        after: std::time::Duration,
    },
    /// A port of a Service that cannot be served as it is.
    #[error("cannot serve {key}: {reason}")]
    Service {
        /// Which, with its protocol and family.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Packets cannot be followed.
    #[error("cannot follow packets: {0}")]
    Follow(String),
    /// A packet that cannot be traced.
    #[error("cannot trace the packet: {0}")]
    Trace(String),
    /// A size with which there is nothing to do, or too much.
    #[error("cannot make maps for {value} {what}: it must be between 1 and {most}")]
    Sizes {
        /// Of what.
        what: &'static str,
        /// As asked.
        value: u32,
        /// The most that is allowed.
        most: u32,
    },
    /// A map holds a value that this program never writes.
    #[error(
        "map {map} holds a value that is not this program's: {value}; remove the entry, or restart the agent"
    )]
    Foreign {
        /// The map's name.
        map: &'static str,
        /// The value, or its key.
        value: String,
    },
}

impl Error {
    pub(crate) fn map(action: &'static str, map: &'static str, error: &dyn std::error::Error) -> Self {
        Self::Map { action, map, reason: chain(error) }
    }
}

/// The result of a datapath operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The message of an error and of everything that caused it: aya's errors keep the kernel's below.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
