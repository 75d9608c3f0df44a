//! Names of network interfaces on a node.

use sha1::{Digest, Sha1};

use crate::PodKey;

/// The node's own end of its pair: it holds the node's address in its podCIDR.
pub const NODE: &str = "midokube-node";

/// The network's end of the node's pair.
pub const MIDO: &str = "midokube-mido";

/// The VXLAN device that carries packets between nodes.
pub const OVERLAY: &str = "midokube-vxlan";

/// What the host interface of every Pod begins with; eleven hexadecimal digits follow.
pub const POD_PREFIX: &str = "mido";

/// The host interface of a Pod: `mido` and the first 11 digits of the SHA-1 of "namespace/name".
/// 15 characters, the most that the kernel takes (IFNAMSIZ - 1).
pub fn for_pod(pod: &PodKey) -> String {
    let [a, b, c, d, e, f, ..] = Sha1::digest(pod.to_string().as_bytes()).0;
    let mut name = format!("{POD_PREFIX}{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}");
    name.truncate(POD_PREFIX.len() + 11);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_the_original() {
        assert_eq!(for_pod(&PodKey::new("foo", "bar")), "mido17cdeaefa5c");
        assert_eq!(for_pod(&PodKey::new("default", "web-0")), "mido24d07f86e30");
    }
}
