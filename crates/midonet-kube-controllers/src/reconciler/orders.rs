//! What is done in which order, and which kinds are converted.

use translation::ObjectKind;

use crate::kinds::Stored;

/// How many kinds of objects are watched.
pub const KINDS: usize = 5;

/// What is done at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a word of the setting")]
pub struct Enabled {
    /// Translations of Nodes.
    pub node: bool,
    /// Translations of Pods.
    pub pod: bool,
    /// Translations of Services and their endpoints.
    pub service: bool,
    /// Translations are pushed to MidoNet.
    pub pusher: bool,
    /// Nodes are annotated.
    pub annotator: bool,
}

impl Enabled {
    /// Everything.
    pub const ALL: Self = Self { node: true, pod: true, service: true, pusher: true, annotator: true };

    /// Whether Translations of these owners are made.
    pub fn owners(self, kind: ObjectKind) -> bool {
        match kind {
            ObjectKind::Node => self.node,
            ObjectKind::Pod => self.pod,
            ObjectKind::Service | ObjectKind::EndpointSlice => self.service,
        }
    }

    /// Of what is not watched there is nothing to wait for: in the order of Nodes, Pods, Services, slices, Translations.
    pub(super) fn synced_from_the_start(self) -> [bool; KINDS] {
        [false, !self.pod, !self.service, !self.service, false]
    }
}

/// In which order Translations are pushed: what others need first. Those of a Service are in the order that keeps it in
/// service while an installation of midonet-kubernetes is taken over. What is deleted comes last, and in the reverse order.
pub(super) fn rank(stored: &Stored) -> u8 {
    const KINDS: [&str; 14] = [
        "midonet-global",
        "node-tunnel-endpoint",
        "node",
        "node-address",
        "node-mac",
        "node-arp",
        "service",
        "endpoints-dnat",
        "endpoints-port",
        "service-port",
        "pod",
        "pod-mac",
        "pod-arp",
        "",
    ];
    const RANKS: [u8; 14] = [0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9, 9, 9];
    let kind = stored.key.name().split('.').next().unwrap_or_default();
    let at = KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len() - 1);
    let rank = RANKS.get(at).copied().unwrap_or(9);
    if stored.deleting { 20 - rank } else { rank }
}
