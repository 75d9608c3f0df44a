//! Which of the agent's tasks an API server allows.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use crate::fault::Fault;
use crate::server::Server;
use crate::task::Task;

/// What of the agent's work the server does not allow, as far as it tells.
pub(crate) async fn denied(server: &Server) -> Vec<Fault> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(server.client.clone());
    let mut denied = Vec::new();
    for task in Task::all() {
        let answer = server.answer(task, reviews.create(&PostParams::default(), &review(task))).await;
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

fn review(task: Task) -> SelfSubjectAccessReview {
    let attributes = ResourceAttributes {
        verb: Some(task.verb.into()),
        group: (!task.group.is_empty()).then(|| task.group.into()),
        resource: Some(task.resource.into()),
        subresource: task.subresource.map(Into::into),
        name: task.object.map(Into::into),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        ..SelfSubjectAccessReviewSpec::default()
    };
    SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() }
}
