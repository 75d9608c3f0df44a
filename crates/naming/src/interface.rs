//! Names of network interfaces on a node.

use sha1::{Digest, Sha1};

use crate::pod::PodKey;

/// The container side of the node's veth pair: it has the node's address in its podCIDR.
pub const NODE: &str = "midokube-node";

/// The host side of the node's veth pair.
pub const MIDO: &str = "midokube-mido";

/// The VXLAN device that carries packets between nodes.
pub const OVERLAY: &str = "midokube-vxlan";

/// The entry of the shaper, where packets of Pods with a limit are queued; its peer is [`SHAPED`].
pub const SHAPER: &str = "midokube-shape";

/// The exit of the shaper, the peer of [`SHAPER`].
pub const SHAPED: &str = "midokube-shaped";

/// The prefix of the host interface's name of every Pod; eleven hexadecimal digits follow.
pub const POD_PREFIX: &str = "mido";

/// The host interface of a Pod: `mido` and the first 11 digits of the SHA-1 of "namespace/name".
/// 15 characters, the most that the kernel takes (IFNAMSIZ - 1).
pub fn for_pod(pod: &PodKey) -> String {
    let [a, b, c, d, e, f, ..] = Sha1::digest(pod.to_string().as_bytes()).0;
    let mut name = format!("{POD_PREFIX}{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}");
    name.truncate(POD_PREFIX.len() + 11);
    name
}

/// Whether this has the form of a Pod's host interface's name.
pub fn is_pods(name: &str) -> bool {
    let digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    name.strip_prefix(POD_PREFIX).is_some_and(|rest| rest.len() == 11 && rest.bytes().all(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_the_legacy_project() {
        assert_eq!(for_pod(&PodKey::new("foo", "bar")), "mido17cdeaefa5c");
        assert_eq!(for_pod(&PodKey::new("default", "web-0")), "mido24d07f86e30");
    }

    #[test]
    fn a_pods_interface_is_known_by_its_name() {
        assert!(is_pods(&for_pod(&PodKey::new("default", "web-0"))));
        for other in [
            NODE,
            MIDO,
            OVERLAY,
            "eth0",
            "midodead7",
            "mido24d07f86e3",
            "mido24D07F86E30",
            "mido24d07f86e300",
        ] {
            assert!(!is_pods(other), "{other}");
        }
    }
}
