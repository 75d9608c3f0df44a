//! Which interfaces the MidoNet agent has bound: they are ports of a datapath of the kernel's Open vSwitch. Nobody else has to be
//! asked.

use std::collections::BTreeSet;

use naming::interface;
use plumbing::Link;

/// The interfaces that are bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bound {
    /// `None`: no MidoNet binds anything here.
    interfaces: Option<BTreeSet<u32>>,
    /// Whether the node's own port is.
    pub(crate) node: Option<bool>,
}

impl Bound {
    /// Of these interfaces of the node, if MidoNet is the network.
    pub(crate) fn of(links: &[Link], by_midonet: bool) -> Self {
        if !by_midonet {
            return Self::default();
        }
        let datapaths: BTreeSet<u32> =
            links.iter().filter(|link| link.ovs_datapath).map(|link| link.ifindex).collect();
        let bound: Vec<&Link> = links.iter().filter(|link| datapaths.contains(&link.master)).collect();
        Self {
            node: Some(bound.iter().any(|link| link.name == interface::MIDO)),
            interfaces: Some(bound.iter().map(|link| link.ifindex).collect()),
        }
    }

    /// Whether an interface is.
    pub(crate) fn is_bound(&self, ifindex: u32) -> Option<bool> {
        self.interfaces.as_ref().map(|interfaces| interfaces.contains(&ifindex))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_is_what_is_part_of_a_datapath() {
        let link =
            |ifindex, name: &str, master| Link { ifindex, name: name.into(), master, ..Link::default() };
        let datapath = Link { ovs_datapath: true, ..link(2, "midonet", 0) };
        let links = [
            datapath,
            link(3, "br0", 0),
            link(4, interface::MIDO, 2),
            link(5, "mido17cdeaefa5c", 2),
            link(6, "mido24d07f86e30", 3),
            link(7, "mido24d07f86e31", 0),
        ];
        let bound = Bound::of(&links, true);
        assert_eq!(bound.node, Some(true));
        assert_eq!([5, 6, 7].map(|ifindex| bound.is_bound(ifindex)), [Some(true), Some(false), Some(false)]);
        assert_eq!(Bound::of(&links[1..], true).node, Some(false));
        assert_eq!(Bound::of(&links, false).is_bound(5), None);
    }
}
