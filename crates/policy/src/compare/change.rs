//! What a comparison finds.

use std::sync::Arc;

use ipnet::IpNet;
use objects::{Family, Key, Protocol};

use crate::tables::RuleName;

/// How what policies allow differs between two states of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Pods that only the old state has. Nothing else is said of them.
    pub only_old: Vec<Key>,
    /// Pods that only the new state has.
    pub only_new: Vec<Key>,
    /// Connections that only one of both allows, in order. No connection is in two of them.
    pub changes: Vec<Change>,
    /// Whether these are all: no more than 10,000 are told, with 500,000 ends.
    pub complete: bool,
}

impl Comparison {
    /// Whether both have the same Pods, and allow the same connections.
    pub fn is_same(&self) -> bool {
        self.only_old.is_empty() && self.only_new.is_empty() && self.changes.is_empty() && self.complete
    }
}

/// Connections that only one state allows, and of which the new one says the same: from each of the sources to each of the
/// destinations, by each of the ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Who begins them.
    pub sources: Vec<End>,
    /// To whom.
    pub destinations: Vec<End>,
    /// Whether the new state allows them; else the old one does.
    pub allowed: bool,
    /// By which ports of the destinations.
    pub ports: Vec<Ports>,
    /// Over which family; `None`: over both, or over that of the blocks.
    pub family: Option<Family>,
    /// What allows them in the new state, or denies them there: in one direction or in both. A direction in which no policy says
    /// anything of them is left out.
    pub by: Vec<Decision>,
}

/// Who is at one end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// A Pod. If it is at both ends, it stands for two of its kind: one of its own is never judged.
    Pod(Key),
    /// Whoever is at an address of a block, and no Pod.
    Block {
        /// The block.
        block: IpNet,
        /// Blocks inside it that are not meant.
        except: Vec<IpNet>,
    },
}

/// Ports of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ports {
    /// A ping, and every protocol that has no ports.
    None,
    /// Of a protocol from the first to the last, both included. There is no port 0.
    Of(Protocol, u16, u16),
}

/// A rule, or the default deny, and what it decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decision {
    /// Which.
    pub rule: Arc<RuleName>,
    /// Whether it would deny, but is only audited.
    pub audit: bool,
}

/// The policies of one state have blocks that overlap too much to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMuch;

impl std::fmt::Display for TooMuch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the blocks of its policies overlap too much: have fewer blocks that contain each other")
    }
}

impl std::error::Error for TooMuch {}
