//! What is wrong with one path: from what came back.

use super::super::super::facts::{Path, PathAnswer};

/// What is wrong with a path, in order of what hides the rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// It was not sent, or a router refuses it.
    Refused(String),
    /// Nothing comes through; whether it does from the other node's end to the first's.
    Filtered { arrives: bool, returns: bool },
    /// Large packets come through, but not if a device completes their checksums.
    Checksum,
    /// Small packets come through and large ones do not: bytes of the largest that Pods send, and what a router takes.
    Mtu { large: u32, most: Option<u32> },
    /// Large packets with checksums do not come through, and nobody could answer those without: bytes of the largest.
    Large(u32),
}

/// What is wrong with a path, given whether packets arrive at the other node, and whether some of its arrive here.
pub(super) fn fault(path: &Path, arrives: bool, returns: bool) -> Option<Fault> {
    let large = path.large_bytes;
    // What Pods send comes through: of the rest an answer was lost, or a kernel has answered too often.
    if path.checksummed == PathAnswer::Answered {
        return None;
    }
    let told =
        [&path.plain, &path.checksummed, &path.unchecked].into_iter().find_map(|answer| match answer {
            PathAnswer::Refused { problem } => Some(Fault::Refused(problem.clone())),
            PathAnswer::TooBig { mtu } => Some(Fault::Mtu { large, most: *mtu }),
            PathAnswer::Answered | PathAnswer::Lost => None,
        });
    Some(match told {
        Some(told) => told,
        None if is_silent(path) => Fault::Filtered { arrives, returns },
        None if path.unchecked == PathAnswer::Answered => Fault::Checksum,
        None if path.family == "ipv4" || path.listens => Fault::Mtu { large, most: None },
        None => Fault::Large(large),
    })
}

/// Whether nothing came back that was sent.
pub(super) fn is_silent(path: &Path) -> bool {
    [&path.plain, &path.checksummed, &path.unchecked].into_iter().all(|answer| *answer == PathAnswer::Lost)
}
