//! What rules ask of the other end, equal questions being one *term*.

use std::sync::Arc;

use objects::{LabelSelector, Protocol};

use crate::prefix::Prefix;

/// The number of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TermId(pub(crate) usize);

/// What a rule asks: whether an address is one of these peers, and perhaps which ports its Pod calls so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TermKey {
    /// Any of these; sorted.
    pub(crate) peers: Box<[Peer]>,
    /// A port of the peer, which only a Pod has.
    pub(crate) port: Option<PortName>,
}

/// A name that containers give to ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PortName {
    pub(crate) name: Arc<str>,
    /// `None`: of whatever protocol.
    pub(crate) protocol: Option<Protocol>,
}

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Peer {
    Pods(PodPeer),
    /// The addresses of a block, without those of others inside it.
    Block {
        block: Prefix,
        /// None of them is inside another.
        except: Box<[Prefix]>,
    },
    /// The addresses of these nodes.
    Nodes(LabelSelector),
}

/// Pods of these namespaces with these labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PodPeer {
    pub(crate) spaces: Spaces,
    pub(crate) pods: LabelSelector,
}

/// Namespaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Spaces {
    /// Every one, known or not.
    Any,
    /// The one of this name, known or not.
    Named(Arc<str>),
    /// Those with these labels. Of a namespace that is not known only its name is.
    Selected(LabelSelector),
}

impl PodPeer {
    /// Every Pod.
    pub(crate) fn anybody() -> Self {
        Self { spaces: Spaces::Any, pods: LabelSelector::default() }
    }
}
