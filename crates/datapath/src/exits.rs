//! What it means for a packet that it was counted under a reason.

use crate::counters::Reason;
use crate::model::Fate;

/// What a program returns: TC_ACT_SHOT.
pub(crate) const SHOT: i32 = 2;
/// TC_ACT_REDIRECT.
pub(crate) const REDIRECT: i32 = 7;

/// The reason of a packet among those under which something was counted meanwhile: one that is dropped, and whose sender is
/// told through the tunnel, has two.
pub(crate) fn reason_of(counted: &[&'static Reason]) -> Option<&'static Reason> {
    counted.iter().find(|reason| reason.fate != Fate::Forward).or(counted.first()).copied()
}

/// Where packets leave that end under a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nowhere. The sender may be told.
    Dropped,
    /// Nowhere: the network itself answers.
    Answered,
    /// To whom its destination belongs, on this node.
    Delivered,
    /// To the node's network stack.
    Node,
    /// Through a tunnel.
    Tunnel,
    /// Through an uplink.
    Outside,
}

/// Where packets leave that end under this reason.
pub(crate) fn ending(reason: &Reason) -> Ending {
    if reason.fate != Fate::Forward {
        return Ending::Dropped;
    }
    match reason.name {
        "local" | "overlay_in" | "direct_in" | "from_outside" => Ending::Delivered,
        "to_node" | "external" | "via_node" => Ending::Node,
        "direct_out" | "overlay_out" => Ending::Tunnel,
        "outside" => Ending::Outside,
        _ => Ending::Answered,
    }
}
