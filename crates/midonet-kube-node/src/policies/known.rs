//! How much is known of the objects that policies are made of.

/// How much is known of each kind: `None`: nothing; `false`: what is on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) policies: Option<bool>,
    pub(super) cluster_policies: Option<bool>,
    pub(super) namespaces: Option<bool>,
    pub(super) pods: Option<bool>,
    pub(super) nodes: Option<bool>,
}

impl Known {
    /// Whether all objects are known.
    pub(super) fn is_all(&self) -> bool {
        self.missing().is_none()
    }

    /// Whether it can be said what policies there are, if only as of some time ago.
    pub(super) fn has_policies(&self) -> bool {
        [self.policies, self.cluster_policies, self.namespaces].iter().all(Option::is_some)
    }

    /// What is missing, in words; `None`: nothing.
    pub(super) fn missing(&self) -> Option<String> {
        let kinds = [
            ("NetworkPolicies", self.policies),
            ("ClusterNetworkPolicies", self.cluster_policies),
            ("Namespaces", self.namespaces),
            ("Pods", self.pods),
            ("Nodes", self.nodes),
        ];
        let missing: Vec<&str> =
            kinds.iter().filter(|(_, known)| *known != Some(true)).map(|(kind, _)| *kind).collect();
        (!missing.is_empty()).then(|| format!("not all {} are known yet", missing.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_known_once_every_kind_is_and_policies_by_what_is_on_disk() {
        let mut known = Known::default();
        assert!(!known.is_all() && !known.has_policies());
        (known.policies, known.cluster_policies, known.namespaces) = (Some(false), Some(true), Some(false));
        assert!(!known.is_all() && known.has_policies());
        assert_eq!(
            known.missing().unwrap(),
            "not all NetworkPolicies, Namespaces, Pods, Nodes are known yet"
        );
        (known.policies, known.namespaces, known.pods, known.nodes) =
            (Some(true), Some(true), Some(true), Some(true));
        assert!(known.is_all() && known.has_policies());
    }
}
