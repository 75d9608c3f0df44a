//! What the agent asks of an API server, as RBAC knows it.

use std::fmt;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use crate::fault::Fault;
use crate::kind::Resource;
use crate::server::{KUBE_SYSTEM, Server};
use crate::{Verb, kinds};

/// A request of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Task {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: Option<&'static str>,
    /// The one object that it is about.
    object: Option<&'static str>,
}

pub(crate) const PATCH_POD_STATUS: Task =
    Task { subresource: Some("status"), ..Task::new("patch", "", "pods") };
pub(crate) const PATCH_NODE_STATUS: Task =
    Task { subresource: Some("status"), ..Task::new("patch", "", "nodes") };
pub(crate) const CREATE_EVENTS: Task = Task::new("create", "events.k8s.io", "events");
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

    /// What the agent does: it needs these permissions, and none besides. The ClusterRole in deploy/midonet-kube.yaml
    /// has them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let kinds = kinds::ALL.into_iter().flat_map(|kind| [Self::list(&kind), Self::watch(&kind)]);
        kinds.chain([PATCH_POD_STATUS, GET_CLUSTER, PATCH_NODE_STATUS, CREATE_EVENTS])
    }

    /// For counting.
    pub(crate) fn verb(&self) -> Verb {
        match self.verb {
            "watch" => Verb::Watch,
            "patch" => Verb::Patch,
            "create" => Verb::Create,
            _ => Verb::List,
        }
    }

    fn review(&self) -> SelfSubjectAccessReview {
        let attributes = ResourceAttributes {
            verb: Some(self.verb.into()),
            group: (!self.group.is_empty()).then(|| self.group.into()),
            resource: Some(self.resource.into()),
            subresource: self.subresource.map(Into::into),
            name: self.object.map(Into::into),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        };
        SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() }
    }
}

/// "list nodes", "patch pods/status", "get namespaces/kube-system".
impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        self.subresource.iter().chain(&self.object).try_for_each(|part| write!(f, "/{part}"))
    }
}

/// What of the agent's work the server does not allow, as far as it tells.
pub(crate) async fn denied(server: &Server) -> Vec<Fault> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(server.client.clone());
    let mut denied = Vec::new();
    for task in Task::all() {
        let answer = server.answer(task, reviews.create(&PostParams::default(), &task.review())).await;
        if let Some(status) = answer.ok().and_then(|review| review.status)
            && !status.allowed
        {
            let why = status.reason.filter(|reason| !reason.is_empty());
            let why = why.unwrap_or_else(|| "no role allows it".into());
            denied.push(Fault::forbidden(&server.place, task, &why));
        }
    }
    denied
}
