//! Which version of a policy is in force.

use nodeapi::v1;
use objects::{ClusterNetworkPolicy, Key, Kind, NetworkPolicy};
use tonic::Status;

use crate::agent::Agent;
use crate::policies::{Policies, PolicyName, Version};

/// Answers from what is known now.
///
/// # Errors
/// The request names no policy.
pub(super) fn version(
    agent: &Agent,
    policies: &Policies,
    request: &v1::GetPolicyVersionRequest,
) -> Result<v1::GetPolicyVersionReply, Status> {
    let missing = || Status::invalid_argument("policy: there is none");
    let (version, reason) = policies.version(&name(request.policy.as_ref().ok_or_else(missing)?)?);
    let message = |Version { uid, generation, audit }| v1::PolicyVersion { uid, generation, audit };
    Ok(v1::GetPolicyVersionReply {
        node: agent.node_name().to_owned(),
        version: version.map(message),
        in_force: reason.is_none(),
        reason: reason.unwrap_or_default(),
    })
}

/// The name of a policy.
///
/// # Errors
/// It has another kind, or no name.
pub(super) fn name(message: &v1::PolicyName) -> Result<PolicyName, Status> {
    let v1::PolicyName { kind, namespace, name } = message;
    if name.is_empty() {
        return Err(Status::invalid_argument("policy: it has no name"));
    }
    match kind.as_str() {
        kind if kind == NetworkPolicy::RESOURCE.kind && !namespace.is_empty() => {
            Ok(PolicyName::Network(Key::namespaced(namespace, name)))
        }
        kind if kind == ClusterNetworkPolicy::RESOURCE.kind && namespace.is_empty() => {
            Ok(PolicyName::Cluster(Key::new(name)))
        }
        _ => Err(Status::invalid_argument(format!(
            "policy: {kind:?} in namespace {namespace:?}: a NetworkPolicy has a namespace, a ClusterNetworkPolicy none, and \
             there are no others"
        ))),
    }
}
