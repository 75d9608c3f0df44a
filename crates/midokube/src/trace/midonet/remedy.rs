//! What to do about a packet that does not arrive.

use midonet_simulator::Reason;

/// Of an address that nobody has.
pub(super) const UNKNOWN_ADDRESS: &str = "no Pod or Node of the cluster has this address as far as MidoNet is told: see \
     `kubectl get translations -A` and the Events of the Pod and its Node";

/// What to do about it; nothing where the reason says everything.
pub(super) fn remedy(reason: &Reason) -> &'static str {
    match reason {
        Reason::NotBound | Reason::NoPort { .. } | Reason::Unplugged => {
            "MidoNet is not told of the interface: see the Events of the Pod, of its Node and of the Pod's Translation"
        }
        Reason::NoTunnel { .. } => {
            "the Nodes are in no tunnel zone together: see the annotations midonet.org/tunnel-zone-id and \
             midonet.org/tunnel-endpoint-ip of both"
        }
        Reason::NoRoute | Reason::RejectRoute | Reason::BlackHole => {
            "the cluster's router has no route to this address: it is no Pod's, no Node's and no Service's"
        }
        Reason::NoNextHopMac { .. } | Reason::NobodyElse => UNKNOWN_ADDRESS,
        Reason::Rule { .. } => {
            "the rule that is named drops it: midonet-kube makes no such rule, so somebody else did"
        }
        _ => "",
    }
}
