//! The owner of a Pod's host interface, as its alias records it (`ip link` shows it). The kernel keeps it through
//! every restart, so that no database is needed.

use crate::pod::PodKey;

/// The longest alias in bytes. The kernel refuses one of IFALIASZ (256) bytes, and counts the zero byte that netlink
/// libraries end the attribute IFLA_IFALIAS with (`dev_set_alias`).
pub const MAX_LEN: usize = 254;

/// The CNI network of the cluster's Pods, which the agent configures; host-local's directory of
/// addresses has the same name.
pub const CLUSTER_NETWORK: &str = "midonet-pod-network";

/// Stands for what is not known or does not fit.
const UNKNOWN: &str = "-";

/// The owner of a host interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortAlias {
    /// The Pod.
    pub pod: PodKey,
    /// The CNI container id of the sandbox.
    pub container_id: String,
    /// The interface's name inside the Pod.
    pub ifname: String,
    /// The Pod's Kubernetes UID, if the runtime passed it.
    pub pod_uid: Option<String>,
    /// The CNI network's name, unless it is [`CLUSTER_NETWORK`].
    pub network: Option<String>,
}

impl PortAlias {
    /// The text for the kernel: `namespace/name containerid ifname uid`, and the network if it has a name of its own.
    ///
    /// At most [`MAX_LEN`] bytes. If that is not enough (a Pod's name alone may have 253 characters), first
    /// the UID and then the end of the name is left out; a shortened name ends in `~`.
    pub fn encode(&self) -> String {
        let tail = format!(" {} {}", self.container_id, self.ifname);
        let uid = self.pod_uid.as_deref().unwrap_or(UNKNOWN);
        let network = self.network.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let whole = format!("{}{tail} {uid}{network}", self.pod);
        if whole.len() <= MAX_LEN {
            return whole;
        }
        let mut key = self.pod.to_string();
        let space = MAX_LEN.saturating_sub(tail.len() + UNKNOWN.len() + 1 + network.len());
        if key.len() > space {
            let mut end = space.saturating_sub(1);
            while !key.is_char_boundary(end) {
                end -= 1;
            }
            key.truncate(end);
            key.push('~');
        }
        format!("{key}{tail} {UNKNOWN}{network}")
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for any other alias.
    pub fn parse(alias: &str) -> Option<Self> {
        let mut words = alias.split(' ');
        let (key, container_id, ifname, uid) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let network = words.next();
        let empty = [container_id, ifname, uid].contains(&"") || network == Some("");
        if empty || words.next().is_some() {
            return None;
        }
        Some(Self {
            pod: key.parse().ok()?,
            container_id: container_id.to_owned(),
            ifname: ifname.to_owned(),
            pod_uid: (uid != UNKNOWN).then(|| uid.to_owned()),
            network: network.map(str::to_owned),
        })
    }

    /// Whether the Pod's name is complete, so that the Pod can be found at the API server.
    pub fn is_whole(&self) -> bool {
        !self.pod.name.ends_with('~')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn alias(namespace: &str, name: &str, uid: Option<&str>) -> PortAlias {
        PortAlias {
            pod: PodKey::new(namespace, name),
            container_id: "c".repeat(64),
            ifname: "eth0".into(),
            pod_uid: uid.map(str::to_owned),
            network: None,
        }
    }

    #[test]
    fn a_long_name_first_costs_the_uid_and_then_is_shortened() {
        let uid = Some("0e646980-2007-550e-bb96-44dc505bd784");
        let long = alias("default", &"n".repeat(150), uid);
        assert_eq!(PortAlias::parse(&long.encode()), Some(PortAlias { pod_uid: None, ..long }));

        let longest = alias(&"s".repeat(63), &"n".repeat(253), uid);
        let text = longest.encode();
        assert_eq!(text.len(), MAX_LEN);
        let read = PortAlias::parse(&text).unwrap();
        assert!(!read.is_whole());
        assert_eq!(read.container_id, longest.container_id);
        let elsewhere = PortAlias { network: Some("other".into()), ..longest };
        let read = PortAlias::parse(&elsewhere.encode()).unwrap();
        assert_eq!((elsewhere.encode().len(), read.network), (MAX_LEN, Some("other".into())));
    }

    #[test]
    fn other_aliases_are_no_record() {
        for text in [
            "",
            "uplink",
            "to the switch, port 3 x",
            "a/b c eth0",
            "a/b c eth0 - x y",
            "a/b c eth0 - ",
            "a/b  eth0 -",
        ] {
            assert_eq!(PortAlias::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_fits_is_read_back(
            ns in "[a-z0-9]{1,20}",
            name in "[a-z0-9.-]{1,60}",
            uid in proptest::option::of("[a-f0-9-]{36}"),
            network in proptest::option::of("[a-z0-9.-]{1,30}"),
        ) {
            let record = PortAlias { network, ..alias(&ns, &name, uid.as_deref()) };
            prop_assert_eq!(PortAlias::parse(&record.encode()), Some(record));
        }
    }
}
