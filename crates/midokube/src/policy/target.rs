//! Policies on the command line, as kubectl names them.

use std::fmt;
use std::str::FromStr;

use nodeapi::v1;

/// A kind of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Network,
    Cluster,
}

impl Kind {
    /// What manifests call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Network => "NetworkPolicy",
            Self::Cluster => "ClusterNetworkPolicy",
        }
    }

    fn of(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "networkpolicy" | "networkpolicies" | "netpol" => Some(Self::Network),
            "clusternetworkpolicy" | "clusternetworkpolicies" | "cnp" => Some(Self::Cluster),
            _ => None,
        }
    }
}

/// A policy: `networkpolicy/NAME`, `networkpolicy/NAMESPACE/NAME` or `clusternetworkpolicy/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) kind: Kind,
    /// `None`: of a ClusterNetworkPolicy, or it is not said.
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

impl Target {
    /// The same in a namespace, if it is in one and does not say which.
    pub(super) fn within(self, namespace: &str) -> Self {
        let namespace = match self.kind {
            Kind::Network => self.namespace.or_else(|| Some(namespace.to_owned())),
            Kind::Cluster => None,
        };
        Self { namespace, ..self }
    }

    pub(super) fn message(&self) -> v1::PolicyName {
        v1::PolicyName {
            kind: self.kind.name().to_owned(),
            namespace: self.namespace.clone().unwrap_or_default(),
            name: self.name.clone(),
        }
    }

    /// As the command line has it.
    pub(super) fn word(&self) -> String {
        let kind = self.kind.name().to_ascii_lowercase();
        match &self.namespace {
            Some(namespace) => format!("{kind}/{namespace}/{}", self.name),
            None => format!("{kind}/{}", self.name),
        }
    }
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "networkpolicy/NAME, networkpolicy/NAMESPACE/NAME or clusternetworkpolicy/NAME is expected";
        let mut parts = text.split('/');
        let kind = parts.next().and_then(Kind::of).ok_or(EXPECTED)?;
        let rest: Vec<String> = parts.map(str::to_owned).collect();
        if rest.iter().any(String::is_empty) {
            return Err(EXPECTED);
        }
        match (kind, rest.as_slice()) {
            (kind, [name]) => Ok(Self { kind, namespace: None, name: name.clone() }),
            (Kind::Network, [namespace, name]) => {
                Ok(Self { kind, namespace: Some(namespace.clone()), name: name.clone() })
            }
            _ => Err(EXPECTED),
        }
    }
}

/// `NetworkPolicy shop/db`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.name(), self.name),
            None => write!(f, "{} {}", self.kind.name(), self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_named_as_kubectl_does() {
        for (text, shown, word) in [
            ("networkpolicy/db", "NetworkPolicy here/db", "networkpolicy/here/db"),
            ("netpol/shop/db", "NetworkPolicy shop/db", "networkpolicy/shop/db"),
            ("ClusterNetworkPolicy/base", "ClusterNetworkPolicy base", "clusternetworkpolicy/base"),
        ] {
            let target = text.parse::<Target>().unwrap().within("here");
            assert_eq!((target.to_string().as_str(), target.word().as_str()), (shown, word));
            assert_eq!(target.word().parse(), Ok(target.clone()));
        }
        for bad in
            ["db", "pod/db", "networkpolicy/", "networkpolicy//db", "networkpolicy/a/b/c", "cnp/a/b", ""]
        {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
