mod api;

use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::annotations::audit;
use super::defects::Defects;
use super::labels::LabelSelector;
use crate::kind::{Invalid, Key, Kind, Metadata, Resource};
use crate::network::Protocol;
use api::{ApiNetworkPolicy, Spec};

/// A NetworkPolicy (`networking.k8s.io/v1`).
///
/// What is wrong with a part of it makes that part match nothing: a policy never opens by mistake, and always isolates. With
/// a `podSelector` that cannot be read it applies to the Pods that the readable rest of the selector selects, and allows
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPolicy {
    /// What names it.
    pub key: Key,
    /// Its UID. A manifest may leave it out.
    pub uid: Option<Box<str>>,
    /// Its generation, which grows with each change of its specification; 0 if a manifest leaves it out.
    pub generation: i64,
    /// Which Pods of its namespace it applies to.
    pub pods: LabelSelector,
    /// What may come in; `None`: the policy says nothing of what comes in.
    pub ingress: Option<Box<[Rule]>>,
    /// What may go out; `None`: the policy says nothing of what goes out.
    pub egress: Option<Box<[Rule]>>,
    /// Whether what it would deny passes, and is only told (`midonet.org/policy-audit`).
    pub audit: bool,
    /// What of it matches nothing because it is wrong.
    pub defects: Box<[Invalid]>,
}

/// What is allowed: any of the peers at any of the ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// `None`: everybody. An empty list: nobody (all of it was wrong).
    pub peers: Option<Box<[Peer]>>,
    /// `None`: every port and protocol. An empty list: none (all of it was wrong).
    pub ports: Option<Box<[PolicyPort]>>,
}

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Peer {
    /// Pods with their own addresses (not `hostNetwork`).
    Pods {
        /// Of these namespaces; `None`: the policy's own.
        namespaces: Option<LabelSelector>,
        /// And of these.
        pods: LabelSelector,
    },
    /// Addresses, Pods' included.
    Block {
        /// These; no bits beyond the prefix are set.
        cidr: IpNet,
        /// But not these. They lie inside `cidr`.
        except: Box<[IpNet]>,
    },
}

/// A port of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PolicyPort {
    /// What it is of.
    pub protocol: Protocol,
    /// Which.
    pub ports: Ports,
}

/// Which ports of a protocol.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ports {
    /// Every one.
    All,
    /// From the first to the second, both included.
    Range(u16, u16),
    /// Those that containers of the destination Pod call so, of the rule's protocol.
    Named(Arc<str>),
}

impl Kind for NetworkPolicy {
    const RESOURCE: Resource = Resource {
        group: "networking.k8s.io",
        version: "v1",
        kind: "NetworkPolicy",
        plural: "networkpolicies",
        namespaced: true,
    };

    type Api = ApiNetworkPolicy;

    fn trim(metadata: Metadata, api: ApiNetworkPolicy) -> Result<Self, Invalid> {
        let mut defects = Defects::default();
        let Spec { pods, ingress, egress } = Spec::read(api.spec.as_ref(), &mut defects);
        let audit = audit(&metadata.annotations, &mut defects);
        Ok(Self {
            key: Key::of_metadata(&Self::RESOURCE, &metadata),
            uid: metadata.uid.map(String::into_boxed_str),
            generation: metadata.generation.unwrap_or_default(),
            pods,
            ingress,
            egress,
            audit,
            defects: defects.into_boxed(),
        })
    }

    fn key(&self) -> Key {
        self.key.clone()
    }

    fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
}

#[cfg(test)]
mod tests;
