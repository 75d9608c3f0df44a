//! What an interface lost with the agent's memory, or the datapath's: addresses by their reservations, the MAC address by the
//! interface itself.

use std::net::IpAddr;
use std::path::Path;

use ipam::Reserved;
use naming::alias::PortAlias;
use naming::{Mac, attachment_mac};
use plumbing::Link;
use tracing::warn;

use crate::leak;

/// The reservations of Pods' addresses; `None` if they cannot be read.
pub(super) fn reserved(directory: &Path) -> Option<Vec<Reserved>> {
    let reserved = ipam::reserved(directory);
    reserved.inspect_err(|error| warn!(%error, "cannot read which addresses are reserved")).ok()
}

/// The reservations of another network than the cluster's, if the attachment is of one: they are in a directory of their own.
pub(super) fn of_alias(alias: &PortAlias) -> Result<Option<Vec<Reserved>>, String> {
    let network = alias.network.as_ref();
    let elsewhere = network.map(|network| ipam::reserved(&ipam::directory(None, network)));
    elsewhere.transpose().map_err(|error| error.to_string())
}

/// The addresses that are reserved for an attachment. An old host-local noted the container alone.
pub(super) fn addresses_of(alias: &PortAlias, reserved: &[Reserved]) -> Vec<IpAddr> {
    let owner = leak::owner(alias);
    let is_its = |r: &&Reserved| match &r.owner {
        Some(holder) => *holder == owner,
        None => r.container_id == owner.container_id,
    };
    reserved.iter().filter(is_its).map(|r| r.address).collect()
}

/// The MAC address inside the Pod: what it has, or else what it was given unless the runtime asked for another.
pub(super) fn mac_of(alias: &PortAlias, container_side: Option<&Link>) -> Mac {
    let is_hosts = |mac: &[u8; 6]| mac[0] & 1 == 0 && *mac != [0; 6];
    let has = container_side.map(|link| link.mac).filter(is_hosts);
    has.map_or_else(|| attachment_mac(&alias.container_id, &alias.ifname), Mac)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use naming::PodKey;

    use super::*;

    fn alias(container_id: &str, ifname: &str) -> PortAlias {
        let (pod, container_id, ifname) = (PodKey::new("default", "a"), container_id.into(), ifname.into());
        PortAlias { pod, container_id, ifname, pod_uid: None, network: None }
    }

    fn reserved(address: &str, container_id: &str, ifname: Option<&str>) -> Reserved {
        let owner =
            ifname.map(|ifname| cni::Attachment { container_id: container_id.into(), ifname: ifname.into() });
        let address = address.parse().unwrap();
        Reserved { address, owner, container_id: container_id.into(), modified: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn addresses_are_found_by_container_and_interface() {
        let all = [
            reserved("10.0.0.3", "c1", Some("eth0")),
            reserved("fd00::3", "c1", Some("eth0")),
            reserved("10.0.0.4", "c1", Some("net1")),
            reserved("10.0.0.5", "c2", Some("eth0")),
            reserved("10.0.0.6", "c3", None),
        ];
        for (container_id, ifname, want) in [
            ("c1", "eth0", &["10.0.0.3", "fd00::3"][..]),
            ("c1", "net1", &["10.0.0.4"]),
            ("c3", "eth0", &["10.0.0.6"]),
            ("c4", "eth0", &[]),
        ] {
            let found: Vec<String> =
                addresses_of(&alias(container_id, ifname), &all).iter().map(ToString::to_string).collect();
            assert_eq!(found, want, "{container_id}/{ifname}");
        }
    }

    #[test]
    fn the_mac_is_the_pods_own_or_the_one_it_was_given() {
        let alias = alias("c1", "eth0");
        let container_side = |mac| Link { mac, ..Link::default() };
        let given = attachment_mac("c1", "eth0");
        assert_eq!(mac_of(&alias, Some(&container_side([2, 0, 0, 0, 0, 9]))), Mac([2, 0, 0, 0, 0, 9]));
        for none in [None, Some(container_side([0; 6])), Some(container_side([1, 0, 0, 0, 0, 9]))] {
            assert_eq!(mac_of(&alias, none.as_ref()), given);
        }
    }
}
