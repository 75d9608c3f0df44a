//! What the agent asks of an API server, as RBAC knows it.

use std::fmt;

use crate::kind::Resource;
use crate::{Verb, kinds};

/// The namespace that every cluster has from its beginning on: its UID is taken for the cluster's, as
/// OpenTelemetry's k8s.cluster.uid is.
pub(crate) const KUBE_SYSTEM: &str = "kube-system";

/// What gives a server a kind.
pub(crate) const DEFINITION: Resource = Resource {
    group: "apiextensions.k8s.io",
    version: "v1",
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    namespaced: false,
};

/// A request of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) verb: &'static str,
    pub(crate) group: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) subresource: Option<&'static str>,
    /// The one object that it is about.
    pub(crate) object: Option<&'static str>,
}

pub(crate) const PATCH_POD_STATUS: Task =
    Task { subresource: Some("status"), ..Task::new("patch", "", "pods") };
pub(crate) const PATCH_NODE_STATUS: Task =
    Task { subresource: Some("status"), ..Task::new("patch", "", "nodes") };
pub(crate) const CREATE_EVENTS: Task = Task::new("create", "events.k8s.io", "events");
/// For a kind that a server may get at any time. Where this is not allowed, it is noticed later: it is asked for
/// periodically.
pub(crate) const WATCH_DEFINITION: Task =
    Task { object: Some("clusternetworkpolicies.policy.networking.k8s.io"), ..Task::watch(&DEFINITION) };
pub(crate) const GET_CLUSTER: Task = Task { object: Some(KUBE_SYSTEM), ..Task::new("get", "", "namespaces") };

impl Task {
    const fn new(verb: &'static str, group: &'static str, resource: &'static str) -> Self {
        Self { verb, group, resource, subresource: None, object: None }
    }

    pub(crate) const fn list(resource: &Resource) -> Self {
        Self::new("list", resource.group, resource.plural)
    }

    pub(crate) const fn watch(resource: &Resource) -> Self {
        Self::new("watch", resource.group, resource.plural)
    }

    /// What another program than the agent does with objects of a kind.
    pub(crate) const fn of(verb: &'static str, resource: &Resource) -> Self {
        Self::new(verb, resource.group, resource.plural)
    }

    /// What the agent does: it needs these permissions, and none besides. The ClusterRole in deploy/midonet-kube.yaml
    /// has them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let kinds = kinds::ALL.into_iter().flat_map(|kind| [Self::list(&kind), Self::watch(&kind)]);
        kinds.chain([PATCH_POD_STATUS, GET_CLUSTER, PATCH_NODE_STATUS, CREATE_EVENTS, WATCH_DEFINITION])
    }

    /// For counting.
    pub(crate) fn verb(&self) -> Verb {
        match self.verb {
            "watch" => Verb::Watch,
            "patch" | "update" | "delete" => Verb::Patch,
            "create" => Verb::Create,
            _ => Verb::List,
        }
    }
}

/// "list nodes", "patch pods/status", "get namespaces/kube-system".
impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        self.subresource.iter().chain(&self.object).try_for_each(|part| write!(f, "/{part}"))
    }
}
