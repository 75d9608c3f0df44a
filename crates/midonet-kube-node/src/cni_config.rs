//! The CNI configuration that tells the container runtime to call the plugin: the last thing the agent
//! writes, since the runtime calls as soon as it is there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use atomic_file::Durability;
use cni::json::Element;
use ipam::{Range, RangeSet};
use ipnet::IpNet;
use naming::alias::CLUSTER_NETWORK;
use naming::subnet;
use serde_json::{Value, json};

use crate::config::NetworkKind;

/// What a runtime may ask for (CONVENTIONS.md of containernetworking/cni); it says nothing of the others. Not
/// `ipRanges`: a node's addresses are from its podCIDRs. In the embedded network `portMappings` also where nobody serves
/// them: a runtime keeps a `hostPort` that no plugin claims to itself, and the Pod would wait for connections that never come.
const fn capabilities(network: NetworkKind) -> &'static [&'static str] {
    match network {
        NetworkKind::Embedded => &["bandwidth", "ips", "mac", "portMappings"],
        // MidoNet has neither limits nor ports of the node.
        NetworkKind::Midonet => &["ips", "mac"],
    }
}

/// What the plugin has to know about this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniConfig<'a> {
    /// This node's podCIDRs.
    pub pod_cidrs: &'a [IpNet],
    /// The largest packet of a Pod, in bytes.
    pub mtu: u32,
    /// The agent's socket.
    pub socket: &'a Path,
    /// The IPAM plugin's type.
    pub ipam_type: &'a str,
    /// What carries Pods' packets.
    pub network: NetworkKind,
}

impl CniConfig<'_> {
    /// The file's contents.
    ///
    /// # Errors
    /// A podCIDR without an address for a Pod.
    pub fn render(&self) -> Result<String> {
        let ranges = self.pod_cidrs.iter().map(range).collect::<Result<Vec<_>>>()?;
        let routes: Vec<Value> =
            self.pod_cidrs.iter().map(|cidr| json!({"dst": default_route(cidr)})).collect();
        let capabilities = capabilities(self.network).iter().map(|name| (name, true));
        let config = json!({
            "cniVersion": "1.1.0",
            "name": CLUSTER_NETWORK,
            "plugins": [{
                "type": "midonet-kube-cni",
                "capabilities": capabilities.collect::<BTreeMap<_, _>>(),
                "mtu": self.mtu,
                "socket": self.socket,
                "ipam": {"type": self.ipam_type, "ranges": ranges, "routes": routes},
            }],
        });
        Ok(format!("{config:#}\n"))
    }

    /// Writes the file unless it already says this; returns whether it did.
    ///
    /// # Errors
    /// Names the file and what could not be done with it.
    pub fn write(&self, path: &Path) -> Result<bool> {
        let contents = self.render()?;
        if std::fs::read_to_string(path).is_ok_and(|now| now == contents) {
            return Ok(false);
        }
        atomic_file::replace(path, contents.as_bytes(), 0o600, Durability::Synced)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(true)
    }
}

/// How many Pods' addresses a podCIDR has.
///
/// # Errors
/// A podCIDR without an address for a Pod.
pub fn capacity(pod_cidr: &IpNet) -> Result<u128> {
    let set = range(pod_cidr)?;
    let ranges = Element::root(&set).items()?.iter().map(Range::read).collect::<Result<Vec<_>, _>>()?;
    Ok(RangeSet::new(ranges).map_err(anyhow::Error::msg)?.capacity())
}

/// host-local's "range set" of one podCIDR: the gateway's and the node's addresses are left out.
fn range(cidr: &IpNet) -> Result<Value> {
    Ok(json!([{
        "subnet": cidr.trunc(),
        "rangeStart": subnet::first_pod(*cidr)?,
        "gateway": subnet::gateway(*cidr)?,
    }]))
}

fn default_route(cidr: &IpNet) -> &'static str {
    match cidr.addr() {
        IpAddr::V4(_) => "0.0.0.0/0",
        IpAddr::V6(_) => "::/0",
    }
}

/// The names of the configurations that a runtime takes before this one: libcni sorts them by name.
pub(crate) fn before(own: &Path) -> Vec<String> {
    let (Some(directory), Some(own)) = (own.parent(), own.file_name()) else { return Vec::new() };
    let names = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let is_config = |name: &Path| {
        name.extension().is_some_and(|kind| ["conf", "conflist", "json"].iter().any(|known| kind == *known))
    };
    let mut before: Vec<String> = names
        .filter(|name| name.as_os_str() < own && is_config(Path::new(name)))
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    before.sort();
    before
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn config(pod_cidrs: &[IpNet]) -> CniConfig<'_> {
        CniConfig {
            pod_cidrs,
            mtu: 1450,
            socket: Path::new("/run/api"),
            ipam_type: "midonet-kube-ipam",
            network: NetworkKind::Embedded,
        }
    }

    #[test]
    fn both_families_get_a_range_and_a_default_route() {
        let cidrs = ["10.244.1.0/24", "fd44:0:0:1::/64"].map(|c| c.parse().unwrap());
        let config: Value = serde_json::from_str(&config(&cidrs).render().unwrap()).unwrap();
        assert_eq!(config["name"], "midonet-pod-network");
        assert_eq!(config["plugins"][0]["mtu"], 1450);
        let capabilities = &config["plugins"][0]["capabilities"];
        assert_eq!(*capabilities, json!({"bandwidth": true, "ips": true, "mac": true, "portMappings": true}));
        let ipam = &config["plugins"][0]["ipam"];
        assert_eq!(
            ipam["ranges"],
            json!([
                [{"subnet": "10.244.1.0/24", "rangeStart": "10.244.1.3", "gateway": "10.244.1.1"}],
                [{"subnet": "fd44:0:0:1::/64", "rangeStart": "fd44:0:0:1::3", "gateway": "fd44:0:0:1::1"}],
            ])
        );
        assert_eq!(ipam["routes"], json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]));
    }

    #[test]
    fn only_what_the_network_can_do_is_claimed() {
        let cidrs = ["10.244.1.0/24".parse().unwrap()];
        let config = CniConfig { network: NetworkKind::Midonet, ..config(&cidrs) };
        let config: Value = serde_json::from_str(&config.render().unwrap()).unwrap();
        assert_eq!(config["plugins"][0]["capabilities"], json!({"ips": true, "mac": true}));
    }

    #[test]
    fn a_range_has_room_for_all_but_network_gateway_node_and_broadcast() {
        for (cidr, want) in [
            ("10.244.1.0/24", 252),
            ("10.244.1.0/29", 4),
            ("fd44:0:0:1::/64", (1 << 64) - 3),
            ("fd44::/125", 5),
        ] {
            assert_eq!(capacity(&cidr.parse().unwrap()).unwrap(), want, "{cidr}");
        }
        assert!(capacity(&"10.244.1.0/30".parse().unwrap()).is_err());
    }

    #[test]
    fn is_written_once_whole_and_for_root_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("net.d/10-midonet.conflist");
        let cidrs = ["10.244.1.0/24".parse().unwrap()];
        assert!(config(&cidrs).write(&path).unwrap());
        assert!(!config(&cidrs).write(&path).unwrap());
        assert!(CniConfig { mtu: 1430, ..config(&cidrs) }.write(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file/10-midonet.conflist");
        std::fs::write(directory.path().join("file"), "").unwrap();
        let error = config(&["10.244.1.0/24".parse().unwrap()]).write(&path).unwrap_err().to_string();
        assert!(error.contains(&directory.path().join("file").display().to_string()), "{error}");
    }
}
